"""One configuration of a DNS server: what a Corefile says, with every plugin set up.

``server`` runs one instance at a time and puts another in its place on a reload. Sources: coredns
``core/dnsserver/register.go``, ``server.go``; coredns/caddy ``caddy.go`` (executeDirectives).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from netsim.base.errors import CorefileError
from netsim.base.rng import Rng
from netsim.clusterdns import corefile
from netsim.clusterdns.chain import (
    Block,
    Follow,
    Handler,
    Page,
    Process,
    Request,
    Setup,
    Varying,
    compile_chain,
)
from netsim.clusterdns.corefile import Controller, ServerBlock
from netsim.clusterdns.names import suffixes
from netsim.clusterdns.plugins import DIRECTIVES, PLUGINS, Plugin
from netsim.wire.dns import DS

ECHOED_OPTIONS = (3, 9, 10, 11, 12)
"""NSID, EXPIRE, COOKIE, TCP-KEEPALIVE and PADDING come back to the client (request/edns0.go)."""

LAST_PORT = 0xFFFF

_CHAOS_PLUGINS = frozenset({"chaos", "forward"})  # server.go EnableChaos

_TRACED = frozenset(
    {
        "bufsize", "prometheus", "errors", "any", "loadbalance", "autopath", "acl", "cache", "minimal",
        "k8s_external", "kubernetes", "loop",
    }
)  # fmt: skip
"""Plugins that tell ``grounds`` what their part in an answer rests on."""


class Zones:
    """What one port serves: zone → chain (None: a block without plugins)."""

    def __init__(self) -> None:
        self.chains: dict[str, Follow | None] = {}
        self.any_class = False

    def chain_for(self, request: Request) -> tuple[bool, Follow | None]:
        """Whether a zone holds the name, and the chain of the longest; DS is asked of the parent zone."""
        if len(self.chains) == 1 and "." in self.chains:
            return True, self.chains["."]
        child: Follow | None = None
        for suffix in suffixes(request.lower):
            if suffix in self.chains:
                chain = self.chains[suffix]
                if request.qtype != DS or chain is None:
                    return True, chain
                child = chain
        if child is not None:
            return True, child
        return "." in self.chains, self.chains.get(".")


class Instance:
    """A Corefile at work. Raises CorefileError, as CoreDNS would not start.

    ``zones`` says which chain serves a name on a port, ``pages`` what is served over HTTP, ``lameduck`` the
    seconds for which the server still answers when it is told to end.
    """

    def __init__(
        self,
        text: str,
        process: Process,
        rng: Rng,
        *,
        env: Mapping[str, str],
        name: str = corefile.DEFAULT_NAME,
    ) -> None:
        self.text = text
        self.zones: dict[int, Zones] = {}
        self.pages: list[Page] = []
        self.echoed = set(ECHOED_OPTIONS)
        self._readiness: dict[str, Callable[[], bool]] = {}
        self._lameduck = [0.0]
        self._startup: list[Callable[[], None]] = []
        self._process = process
        self._rng = rng
        self._name = name
        parsed = corefile.parse(text, DIRECTIVES, name=name, env=env, files=process.files)
        blocks = [self._block(block) for block in parsed]
        for plugin in PLUGINS:
            for index, (parts, block) in enumerate(zip(parsed, blocks, strict=True)):
                if plugin.name in parts.directives:
                    self._set_up(plugin, parts, block, index)
        for parts, block in zip(parsed, blocks, strict=True):
            self._bind(parts, block)
        for start in self._startup:
            start()

    @property
    def lameduck(self) -> float:
        return max(self._lameduck)

    @staticmethod
    def _block(parts: ServerBlock) -> Block:
        zones = tuple(address.zone for address in parts.zones)
        return Block(zones, tuple(sorted({address.port for address in parts.zones})), {})

    def _set_up(self, plugin: Plugin, parts: ServerBlock, block: Block, index: int) -> None:
        controller = Controller(parts.directives[plugin.name], self._name, block.zones)
        setup = Setup(
            self._process, block, self._rng.derive(f"{index}/{plugin.name}"), self._startup, self.pages,
            self._readiness, self._lameduck, self.echoed,
        )  # fmt: skip
        try:
            if plugin.parse is None:
                controller.next()
                raise controller.error(f"netsim does not build the plugin '{plugin.name}' yet")
            handlers = plugin.parse(controller, setup)
        except CorefileError as error:
            raise CorefileError(
                f"plugin/{plugin.name}: {error.message}", file=error.file, line=error.line
            ) from None
        if plugin.in_chain:
            block.handlers[plugin.name] = list(handlers)

    def _bind(self, parts: ServerBlock, block: Block) -> None:
        links: list[tuple[str, Handler | None]] = [
            (name, handler if handler is None or name in _TRACED else Varying(handler, self._process.grounds))
            for name, handlers in block.handlers.items()
            for handler in (handlers or (None,))
        ]
        chain = compile_chain(links)
        for address in parts.zones:
            if address.port > LAST_PORT:
                raise CorefileError(f"address {address.port}: invalid port")  # net.Listen
            zones = self.zones.setdefault(address.port, Zones())
            if address.zone in zones.chains:
                raise CorefileError(f"cannot serve {address} - it is already defined")
            zones.chains[address.zone] = chain
            zones.any_class = zones.any_class or not _CHAOS_PLUGINS.isdisjoint(parts.directives)


def start_up_lines(zones: Mapping[int, Zones]) -> Sequence[str]:
    """What CoreDNS prints when it listens: one line per zone (onstartup.go startUpZones)."""
    return [f"{zone}:{port}" for port, served in sorted(zones.items()) for zone in sorted(served.chains)]

"""traceroute (UDP probes with a rising TTL) and tracepath (iputils), and busybox's traceroute."""

from __future__ import annotations

from getopt import GetoptError, gnu_getopt
from typing import NamedTuple

from netsim.base.address import IpAddress
from netsim.programs.host import Endpoint, ProbeReply
from netsim.programs.ports import LAST_PORT
from netsim.programs.tools.call import Call, Failure
from netsim.programs.tools.hostview import interface_named
from netsim.programs.tools.names import NameNotFound, ReverseNames, addresses_of, family_of
from netsim.programs.tools.options import Options, read_options
from netsim.resolver.commands import Family

FIRST_PORT = 33434
"""The port of the first probe; each probe has the next (traceroute.c, DEF_START_PORT)."""
TRACEPATH_PORT = 44444
MARKS = {
    "host-unreachable": " !H", "net-unreachable": " !N", "protocol-unreachable": " !P",
    "fragmentation-needed": " !F", "admin-prohibited": " !X",
}  # fmt: skip
"""What follows the time of a probe that an error ended."""


class Settings(NamedTuple):
    hops: int
    first: int
    probes: int
    wait: float
    numeric: bool
    icmp: bool
    port: int


VALUES = {
    "f": "first_ttl", "g": "gate,...", "i": "device", "l": "flow_label", "m": "max_ttl", "M": "name",
    "N": "squeries", "p": "port", "q": "nqueries", "s": "src_addr", "t": "tos", "w": "MAX,HERE,NEAR",
    "z": "sendwait", "max-hops": "max_ttl", "queries": "nqueries", "wait": "MAX,HERE,NEAR", "port": "port",
}  # fmt: skip
"""What each option takes, as the usage calls it."""
SHORT, LONG = (
    "46dFITnreAUDi:m:N:p:t:l:w:q:s:z:f:g:M:",
    ("max-hops=", "queries=", "wait=", "icmp", "tcp", "port="),
)


async def traceroute(call: Call) -> int:
    if not call.context.busybox:
        _refuse_unknown(call)
    options = read_options(call, SHORT, LONG, code=2)
    if not options.operands:
        call.error(
            "Usage:\n  traceroute [ -nI ] [ -f first_ttl ] [ -m max_ttl ] [ -q nqueries ] [ -w wait ] host\n"
        )
        return 2
    target = options.operands[0]
    settings = Settings(
        hops=int(options.number("m", "max-hops", default=30, low=1, high=255)),
        first=int(options.number("f", default=1, low=1, high=255)),
        probes=int(options.number("q", "queries", default=3, low=1, high=10)),
        wait=options.number("w", "wait", default=5.0),
        numeric=options.has("n"),
        icmp=options.has("I", "icmp"),
        port=int(options.number("p", "port", default=FIRST_PORT, low=1, high=LAST_PORT)),
    )
    try:
        address = await _resolve(call, options, target)
    except NameNotFound as error:
        if call.context.busybox:
            raise Failure(f"bad address '{target}'") from None
        place = f'Cannot handle "host" cmdline arg `{target}\' on position 1 (argc {_argc_of_host(call)})'
        raise Failure(f"{target}: {error.reason}\n{place}", 2, bare=True) from None
    size = 46 if call.context.busybox else 60 if address.version == 4 else 80
    call.write(f"traceroute to {target} ({address}), {settings.hops} hops max, {size} byte packets\n")
    return await _Trace(call, settings, address).go()


async def _resolve(call: Call, options: Options, target: str) -> IpAddress:
    family = Family.INET6 if call.name.endswith("6") else family_of(options)
    return (await addresses_of(call, target, family=family, asked=Family.UNSPEC))[0]


def _refuse_unknown(call: Call) -> None:
    """Failure for an option that is not there or lacks its value, as clif.c of traceroute 2.1 words it."""
    for count in range(1, len(call.args) + 1):
        try:
            gnu_getopt(list(call.args[:count]), SHORT, LONG)
        except GetoptError as error:
            dashed = error.msg.split()[1]
            if "requires argument" not in error.msg:
                raise Failure(f"Bad option `{dashed}' (argc {count})", 2, bare=True) from None
            if count == len(call.args):
                usage = f"{dashed}{'=' if dashed.startswith('--') else ' '}{VALUES[error.opt]}"
                said = f"Option `{dashed}' (argc {count}) requires an argument: `{usage}'"
                raise Failure(said, 2, bare=True) from None


def _argc_of_host(call: Call) -> int:
    """Which word of the command line the first operand is (clif.c of traceroute 2.1 says it)."""
    for count in range(1, len(call.args)):
        try:
            if gnu_getopt(list(call.args[:count]), SHORT, LONG)[1]:
                return count
        except GetoptError:  # an option whose value is the next word
            continue
    return len(call.args)


class _Trace:
    def __init__(self, call: Call, settings: Settings, address: IpAddress) -> None:
        self.call = call
        self.settings = settings
        self.address = address
        self.names = ReverseNames(call)
        self.port = settings.port

    async def go(self) -> int:
        settings = self.settings
        for ttl in range(settings.first, settings.hops + 1):
            self.call.write(f"{ttl:2} ")
            ended = False
            last: IpAddress | None = None
            for _ in range(settings.probes):
                reply = await self.probe(ttl)
                if reply is None:
                    self.call.write(" *")
                    continue
                if reply.source != last:
                    self.call.write(f" {await self._name(reply.source)}")
                    last = reply.source
                self.call.write(f"  {reply.elapsed * 1000:.3f} ms{MARKS.get(reply.kind, '')}")
                ended = ended or reply.kind != "ttl-exceeded"
            self.call.write("\n")
            if ended:
                break
        return 0

    async def probe(self, ttl: int) -> ProbeReply | None:
        host, settings = self.call.host, self.settings
        try:
            if settings.icmp:
                reply = await host.ping(self.address, sequence=ttl, size=32, ttl=ttl, timeout=settings.wait)
                return ProbeReply(reply.kind, reply.source, reply.elapsed)
            self.port += 1
            return await host.probe(Endpoint(self.address, self.port - 1), ttl=ttl, timeout=settings.wait)
        except TimeoutError:
            return None
        except OSError as error:
            raise Failure(f"connect: {error.strerror}") from None

    async def _name(self, address: IpAddress) -> str:
        return str(address) if self.settings.numeric else f"{await self.names.name(address)} ({address})"


async def tracepath(call: Call) -> int:
    """tracepath from iputils: one probe a hop, and the MTU of the first link."""
    options = read_options(call, "46nbm:l:p:", code=2)
    if not options.operands:
        raise Failure("usage error: Destination required")
    numeric = options.has("n")
    target = options.operands[0]
    try:
        address = await _resolve(call, options, target)
    except NameNotFound as error:
        raise Failure(f"{target}: {error.reason}") from None
    route = call.host.route_to(address)
    view = interface_named(call.host, route.device) if route is not None else None
    mtu = view.mtu if view is not None else 65535
    hops = int(options.number("m", default=30, low=1, high=255))
    settings = Settings(hops, 1, 1, 1.0, numeric, False, TRACEPATH_PORT)
    trace = _Trace(call, settings, address)
    call.write(f" 1?: [LOCALHOST]{'':22}pmtu {mtu}\n")
    for ttl in range(1, settings.hops + 1):
        reply = await trace.probe(ttl)
        if reply is None:
            call.write(f"{ttl:2}:  no reply\n")
            continue
        name = str(reply.source) if numeric else await trace.names.name(reply.source)
        ended = reply.kind != "ttl-exceeded"
        reached = (
            " reached" if reply.kind == "port-unreachable" else MARKS.get(reply.kind, "") if ended else ""
        )
        call.write(f"{ttl:2}:  {name:<52}  {reply.elapsed * 1000:.3f}ms{reached or ' '}\n")
        if ended:
            call.write(f"     Resume: pmtu {mtu} hops {ttl} back {ttl} \n")
            return 0
    call.write(f"     Too many hops: pmtu {mtu}\n     Resume: pmtu {mtu} \n")
    return 1

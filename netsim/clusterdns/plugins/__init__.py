"""The plugins of CoreDNS, one module each, and the order of the chain.

``PLUGINS`` is CoreDNS's ``plugin.cfg`` (``core/dnsserver/zdirectives.go`` of 1.14.7): the order in which a
query meets the plugins, whatever the order in the Corefile is. A plugin without a ``parse`` exists in CoreDNS
and is not built here: a Corefile that uses it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NamedTuple, TypeAlias

from netsim.clusterdns.chain import Handler, Setup
from netsim.clusterdns.corefile import Controller

Parse: TypeAlias = Callable[[Controller, Setup], Sequence[Handler]]


def _module(name: str, function: str = "parse") -> Parse:
    """A function of a plugin's module, which is imported when a Corefile first uses it."""

    def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
        handlers: Sequence[Handler] = getattr(import_module(f"{__name__}.{name}"), function)(c, setup)
        return handlers

    return parse


class Plugin(NamedTuple):
    """One line of plugin.cfg. ``in_chain`` False is a plugin beside the chain (it never calls AddPlugin)."""

    name: str
    parse: Parse | None = None
    in_chain: bool = True


PLUGINS: tuple[Plugin, ...] = (
    Plugin("root"),
    Plugin("metadata", _module("settings", "metadata")),
    Plugin("geoip"),
    Plugin("cancel", _module("settings", "cancel")),
    Plugin("proxyproto"),
    Plugin("quic"),
    Plugin("grpc_server"),
    Plugin("https"),
    Plugin("https3"),
    Plugin("timeouts"),
    Plugin("multisocket", _module("settings", "multisocket"), in_chain=False),
    Plugin("reload", _module("reload"), in_chain=False),
    Plugin("nsid", _module("nsid")),
    Plugin("bufsize", _module("bufsize")),
    Plugin("bind", _module("settings", "bind"), in_chain=False),
    Plugin("debug", _module("settings", "debug"), in_chain=False),
    Plugin("trace"),
    Plugin("ready", _module("ready"), in_chain=False),
    Plugin("health", _module("health"), in_chain=False),
    Plugin("pprof"),
    Plugin("shed"),
    Plugin("prometheus", _module("prometheus")),
    Plugin("errors", _module("errors")),
    Plugin("log", _module("log")),
    Plugin("dnstap"),
    Plugin("local", _module("local")),
    Plugin("dns64"),
    Plugin("any", _module("any")),
    Plugin("chaos", _module("chaos")),
    Plugin("loadbalance", _module("loadbalance")),
    Plugin("tsig"),
    Plugin("rewrite", _module("rewrite")),
    Plugin("autopath", _module("autopath")),
    Plugin("acl", _module("acl")),
    Plugin("cache", _module("cache")),
    Plugin("header", _module("header")),
    Plugin("dnssec"),
    Plugin("tls"),
    Plugin("minimal", _module("minimal")),
    Plugin("template", _module("template")),
    Plugin("transfer", _module("transfer")),
    Plugin("hosts", _module("hosts")),
    Plugin("route53"),
    Plugin("azure"),
    Plugin("clouddns"),
    Plugin("k8s_external", _module("k8s_external")),
    Plugin("kubernetes", _module("kubernetes")),
    Plugin("file", _module("file")),
    Plugin("auto"),
    Plugin("secondary"),
    Plugin("etcd"),
    Plugin("loop", _module("loop")),
    Plugin("forward", _module("forward")),
    Plugin("grpc"),
    Plugin("erratic"),
    Plugin("whoami", _module("whoami")),
    Plugin("on"),
    Plugin("sign"),
    Plugin("view"),
    Plugin("nomad"),
)

DIRECTIVES = frozenset(plugin.name for plugin in PLUGINS)
"""The words that may begin a line of a server block."""

"""The plugins of CoreDNS, one module each, and the order of the chain.

``PLUGINS`` is CoreDNS's ``plugin.cfg`` (``core/dnsserver/zdirectives.go`` of 1.14.7): the order in which a
query meets the plugins, whatever the order in the Corefile is. A plugin without a ``parse`` exists in CoreDNS
and is not built here: a Corefile that uses it is refused.

=============  ====================================================================================
kubernetes     answers for the cluster's names
cache          keeps answers, caps TTLs
forward        asks other servers
loadbalance    shuffles addresses
errors, log    options are checked; no line is written yet
prometheus     serves /metrics with the version; nothing is counted yet
health, ready  serve /health and /ready, which always say OK; lameduck delays nothing
reload         options are checked; a running server keeps its Corefile
loop           accepted; no probe is sent yet
=============  ====================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from netsim.clusterdns.chain import Handler, Setup
from netsim.clusterdns.corefile import Controller
from netsim.clusterdns.plugins import (
    cache,
    errors,
    forward,
    health,
    kubernetes,
    loadbalance,
    log,
    loop,
    prometheus,
    ready,
    reload,
)


class Plugin(NamedTuple):
    """One line of plugin.cfg. ``in_chain`` False is a plugin beside the chain (it never calls AddPlugin)."""

    name: str
    parse: Callable[[Controller, Setup], Sequence[Handler]] | None = None
    in_chain: bool = True


PLUGINS: tuple[Plugin, ...] = (
    Plugin("root"),
    Plugin("metadata"),
    Plugin("geoip"),
    Plugin("cancel"),
    Plugin("proxyproto"),
    Plugin("quic"),
    Plugin("grpc_server"),
    Plugin("https"),
    Plugin("https3"),
    Plugin("timeouts"),
    Plugin("multisocket"),
    Plugin("reload", reload.parse, in_chain=False),
    Plugin("nsid"),
    Plugin("bufsize"),
    Plugin("bind"),
    Plugin("debug"),
    Plugin("trace"),
    Plugin("ready", ready.parse, in_chain=False),
    Plugin("health", health.parse, in_chain=False),
    Plugin("pprof"),
    Plugin("shed"),
    Plugin("prometheus", prometheus.parse),
    Plugin("errors", errors.parse),
    Plugin("log", log.parse),
    Plugin("dnstap"),
    Plugin("local"),
    Plugin("dns64"),
    Plugin("any"),
    Plugin("chaos"),
    Plugin("loadbalance", loadbalance.parse),
    Plugin("tsig"),
    Plugin("rewrite"),
    Plugin("autopath"),
    Plugin("acl"),
    Plugin("cache", cache.parse),
    Plugin("header"),
    Plugin("dnssec"),
    Plugin("tls"),
    Plugin("minimal"),
    Plugin("template"),
    Plugin("transfer"),
    Plugin("hosts"),
    Plugin("route53"),
    Plugin("azure"),
    Plugin("clouddns"),
    Plugin("k8s_external"),
    Plugin("kubernetes", kubernetes.parse),
    Plugin("file"),
    Plugin("auto"),
    Plugin("secondary"),
    Plugin("etcd"),
    Plugin("loop", loop.parse),
    Plugin("forward", forward.parse),
    Plugin("grpc"),
    Plugin("erratic"),
    Plugin("whoami"),
    Plugin("on"),
    Plugin("sign"),
    Plugin("view"),
    Plugin("nomad"),
)

DIRECTIVES = frozenset(plugin.name for plugin in PLUGINS)
"""The words that may begin a line of a server block."""

"""The plugins of CoreDNS, one module each, and the order of the chain.

``PLUGINS`` is CoreDNS's ``plugin.cfg`` (``core/dnsserver/zdirectives.go`` of 1.14.7): the order in which a
query meets the plugins, whatever the order in the Corefile is. A plugin without a ``parse`` exists in CoreDNS
and is not built here: a Corefile that uses it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from netsim.clusterdns.chain import Handler, Setup
from netsim.clusterdns.corefile import Controller
from netsim.clusterdns.plugins import (
    acl,
    any,
    autopath,
    bufsize,
    cache,
    errors,
    file,
    forward,
    health,
    hosts,
    k8s_external,
    kubernetes,
    loadbalance,
    log,
    loop,
    minimal,
    prometheus,
    ready,
    reload,
    rewrite,
    template,
    transfer,
    whoami,
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
    Plugin("bufsize", bufsize.parse),
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
    Plugin("any", any.parse),
    Plugin("chaos"),
    Plugin("loadbalance", loadbalance.parse),
    Plugin("tsig"),
    Plugin("rewrite", rewrite.parse),
    Plugin("autopath", autopath.parse),
    Plugin("acl", acl.parse),
    Plugin("cache", cache.parse),
    Plugin("header"),
    Plugin("dnssec"),
    Plugin("tls"),
    Plugin("minimal", minimal.parse),
    Plugin("template", template.parse),
    Plugin("transfer", transfer.parse),
    Plugin("hosts", hosts.parse),
    Plugin("route53"),
    Plugin("azure"),
    Plugin("clouddns"),
    Plugin("k8s_external", k8s_external.parse),
    Plugin("kubernetes", kubernetes.parse),
    Plugin("file", file.parse),
    Plugin("auto"),
    Plugin("secondary"),
    Plugin("etcd"),
    Plugin("loop", loop.parse),
    Plugin("forward", forward.parse),
    Plugin("grpc"),
    Plugin("erratic"),
    Plugin("whoami", whoami.parse),
    Plugin("on"),
    Plugin("sign"),
    Plugin("view"),
    Plugin("nomad"),
)

DIRECTIVES = frozenset(plugin.name for plugin in PLUGINS)
"""The words that may begin a line of a server block."""

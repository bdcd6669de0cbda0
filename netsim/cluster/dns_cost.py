"""What a lookup costs: the queries of each C library, and what would change their number.

Everything is measured: each lookup runs in the Pod, through kube-proxy, to CoreDNS and back, and is counted
in a capture. Variants are set up for real: another resolv.conf in the Pod, a cache of cluster DNS on its
node, a Corefile with autopath. The last one changes the cluster for good.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from typing import TYPE_CHECKING, NamedTuple

from netsim.base.cause import Cause, Stage
from netsim.capture.dissect import layers
from netsim.capture.record import PacketRecord
from netsim.cni.names import UPLINK, interface_mac, node_host
from netsim.objects.core import ConfigMap, Pod
from netsim.plan.delta import Delta
from netsim.plan.entries import Address, HostName, Interface, InterfaceKind
from netsim.programs.coredns import coredns
from netsim.programs.host import Invocation
from netsim.programs.resolve import RESOLV_CONF
from netsim.resolver import resolvconf
from netsim.resolver.commands import Libc, Lookup
from netsim.wire.dns import Message
from netsim.wire.tcp import Tcp
from netsim.wire.udp import Udp

if TYPE_CHECKING:
    from netsim.cluster.cluster import Cluster
    from netsim.cluster.hosts import HostHandle

DNS_PORT = 53
NODE_CACHE = IPv4Address("169.254.20.10")
"""Where NodeLocal DNSCache listens (kubernetes cluster/addons/dns/nodelocaldns)."""
OWNER = "dns cost"
LULL = 0.1
"""Virtual seconds in which the replies come that nobody waited for."""


class Cost(NamedTuple):
    """One lookup. ``packets`` are those of DNS at the Pod's eth0, both ways; ``reached`` counts the queries
    that came to a CoreDNS Pod."""

    libc: Libc
    lookup: Lookup
    packets: int
    reached: int


class Variant(NamedTuple):
    """What was changed, and what the lookup costs then; ``note`` says how it is done."""

    title: str
    costs: tuple[Cost, ...]
    note: str


class Report(NamedTuple):
    """One name, looked up from one Pod."""

    pod: str
    name: str
    conf: resolvconf.ResolvConf
    as_is: tuple[Cost, ...]
    variants: tuple[Variant, ...]


async def measure(cluster: Cluster, pod: str, names: Sequence[str], libcs: Sequence[Libc]) -> list[Report]:
    """Look the names up in every way; UsageError when there is no such Pod."""
    bench = _Bench(cluster, cluster.find(pod), libcs)
    as_is = {name: await bench.costs(name) for name in names}
    variants = {name: await bench.spellings(name, as_is[name]) for name in names}
    for step in (bench.with_ndots_of_one, bench.with_node_cache, bench.with_autopath):
        for name, variant in (await step(names)).items():
            variants[name].append(variant)
    return [Report(bench.pod.title, name, bench.conf, as_is[name], tuple(variants[name])) for name in names]


class _Bench:
    """A Pod whose lookups are counted."""

    def __init__(self, cluster: Cluster, pod: HostHandle, libcs: Sequence[Libc]) -> None:
        self.pod = pod
        self._cluster = cluster
        self._libcs = libcs
        self._file = pod.host.files.get(RESOLV_CONF, "")
        self.conf = resolvconf.parse(self._file, hostname=pod.host.name)

    async def costs(self, name: str) -> tuple[Cost, ...]:
        """A lookup of the name by each library."""
        return tuple([await self._cost(name, libc) for libc in self._libcs])

    async def _cost(self, name: str, libc: Libc) -> Cost:
        with self._cluster.capture() as packets:
            lookup = await self.pod.resolve(name, libc=libc)
            self._cluster.advance(LULL)
        own, servers = self.pod.plan_name, self._dns_pods()
        at_pod = [record for record in packets.records if record.port == (own, UPLINK) and _is_dns(record)]
        arrived = (r for r in packets.records if r.port.host in servers and not r.outbound)
        return Cost(libc, lookup, len(at_pod), sum(_queries(record) for record in arrived))

    def _dns_pods(self) -> set[HostName]:
        pods = self._cluster.store.list(Pod)
        names = [pod.metadata for pod in pods if pod.metadata.labels.get("k8s-app") == "kube-dns"]
        return {self._cluster.pod(f"{meta.namespace}/{meta.name}").plan_name for meta in names}

    # --- variants ------------------------------------------------------------------------------------

    async def spellings(self, name: str, as_is: Sequence[Cost]) -> list[Variant]:
        """The name as it stands, with a dot behind it; the same host by its whole name."""
        found = next((cost.lookup for cost in as_is if cost.lookup.error is None), None)
        whole = next((query.name for query in found.queries if query.answers), "") if found else ""
        variants = []
        if not name.endswith("."):
            note = "a trailing dot: no search list"
            variants.append(Variant(f"{name}.", await self.costs(f"{name}."), note))
        if whole and whole.rstrip(".") != name.rstrip("."):
            variants.append(Variant(whole, await self.costs(whole), "its whole name, and a dot"))
        return variants

    async def with_ndots_of_one(self, names: Sequence[str]) -> dict[str, Variant]:
        """``dnsConfig: {options: [{name: ndots, value: "1"}]}``."""
        if self.conf.ndots == 1:
            return {}
        costs = await self._under(resolvconf.render(self.conf._replace(ndots=1)), names)
        note = "in the Pod's dnsConfig: a name with a dot is first tried as it is"
        return {name: Variant("ndots:1", costs[name], note) for name in names}

    async def with_node_cache(self, names: Sequence[str]) -> dict[str, Variant]:
        """NodeLocal DNSCache on the Pod's node, which is asked instead of kube-dns, for the second time."""
        if not self.pod.node or not self.conf.nameservers:
            return {}
        self._start_node_cache(self.pod.node)
        text = resolvconf.render(self.conf._replace(nameservers=(NODE_CACHE,)))
        await self._under(text, names)
        costs = await self._under(text, names)
        note = "the second lookup: the node answers from its cache"
        return {name: Variant("node-local cache", costs[name], note) for name in names}

    async def with_autopath(self, names: Sequence[str]) -> dict[str, Variant]:
        """``autopath @kubernetes`` in the Corefile, with ``pods verified``; CoreDNS is started again."""
        config = self._cluster.store.find(ConfigMap, "coredns", "kube-system")
        before = config.data.get("Corefile", "") if config is not None else ""
        after = corefile_with_autopath(before)
        if config is None or after == before:
            return {}
        await self._restart_dns(config, after)
        note = "in the Corefile: the server walks the search list"
        return {name: Variant("autopath", await self.costs(name), note) for name in names}

    async def _restart_dns(self, config: ConfigMap, corefile: str) -> None:
        """What an operator does: edit the ConfigMap, and let the Deployment make the Pods anew."""
        self._cluster.store.update(replace(config, data={**config.data, "Corefile": corefile}))
        for pod in self._cluster.store.list(Pod):
            if pod.metadata.labels.get("k8s-app") == "kube-dns":
                await self._cluster.delete("pod", f"kube-system/{pod.metadata.name}", grace_seconds=0)

    async def _under(self, text: str, names: Sequence[str]) -> Mapping[str, tuple[Cost, ...]]:
        """What the names cost with another resolv.conf in the Pod."""
        files = self.pod.host.files
        files[RESOLV_CONF] = text
        try:
            return {name: await self.costs(name) for name in names}
        finally:
            files[RESOLV_CONF] = self._file

    def _start_node_cache(self, node: str) -> None:
        host, why, device = node_host(node), Cause(Stage.PLAN, "NodeLocal DNSCache"), "nodelocaldns"
        mac, address = interface_mac(host, device), IPv4Interface(f"{NODE_CACHE}/32")
        dummy = Interface(host, device, InterfaceKind.DUMMY, mac, OWNER, why)
        self._cluster.change_plan(Delta(put=(dummy, Address(host, device, address, OWNER, why))))
        view = self._cluster.plane.view(host, node)
        domain = self._cluster.topology.networking.dns_domain
        text = node_cache_corefile(domain, str(self.conf.nameservers[0]))
        services = {"corefile": text, "zone": self._cluster.zone, "address": NODE_CACHE}
        start = Invocation("k8s-dns-node-cache", services=services)
        self._cluster.plane.start(view, lambda cache: coredns(cache, start), "node-cache")


def _is_dns(record: PacketRecord) -> bool:
    """Whether a frame is UDP or TCP from or to port 53."""
    transports = [layer for layer in layers(record.data) if isinstance(layer, Udp | Tcp)]
    return any(DNS_PORT in (layer.source_port, layer.destination_port) for layer in transports)


def _queries(record: PacketRecord) -> int:
    return sum(isinstance(layer, Message) and not layer.response for layer in layers(record.data))


def corefile_with_autopath(text: str) -> str:
    """The Corefile with autopath for the clients that the plugin kubernetes knows; unchanged if it has it."""
    if re.search(r"^\s*autopath\b", text, re.MULTILINE):
        return text
    changed = re.sub(r"^([ \t]*)(kubernetes\b)", r"\1autopath @kubernetes\n\1\2", text, flags=re.MULTILINE)
    if re.search(r"^\s*pods\s", changed, re.MULTILINE):
        return re.sub(r"^([ \t]*)pods\s+\w+", r"\1pods verified", changed, flags=re.MULTILINE)
    return re.sub(r"^([ \t]*)(kubernetes\b[^{\n]*)(\{?)[ \t]*$", _with_pods, changed, flags=re.MULTILINE)


def _with_pods(found: re.Match[str]) -> str:
    indent, head, brace = found[1], found[2].rstrip(), found[3]
    return f"{indent}{head} {{\n{indent}    pods verified" + ("" if brace else f"\n{indent}}}")


def node_cache_corefile(domain: str, cluster_dns: str) -> str:
    """The Corefile of NodeLocal DNSCache (cluster/addons/dns/nodelocaldns/nodelocaldns.yaml)."""
    forward = f"    forward . {cluster_dns} {{\n        force_tcp\n    }}\n"
    cache = "    cache {\n        success 9984 30\n        denial 9984 5\n    }\n"
    zones = "".join(f"{zone}:53 {{\n    errors\n{cache}{forward}}}\n" for zone in (domain, *REVERSE))
    return f"{zones}.:53 {{\n    errors\n    cache 30\n{forward}}}\n"


REVERSE = ("in-addr.arpa", "ip6.arpa")

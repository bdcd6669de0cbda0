"""A dual-stack cluster as its users meet it: names, Services and packets of both families."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from netsim.capture.dissect import summarize
from netsim.cluster import Cluster, run
from netsim.cluster.network_tables import NETWORK_TABLES
from netsim.cluster.speakers import SpeakerId
from netsim.objects.core import Node, Pod, Service
from netsim.objects.discovery import EndpointSlice
from netsim.objects.topology import NETWORKS
from netsim.plan.entries import HostName
from netsim.resolver.commands import Family, Libc
from tests.cluster.test_cluster import plan_from_scratch
from tests.conftest import Combination

DUAL = """
apiVersion: netsim.dev/v1alpha1
kind: Topology
metadata: {name: dual}
spec:
  networking:
    podSubnet: 10.244.0.0/16,fd00:10:244::/56
    serviceSubnet: 10.96.0.0/16,fd00:10:96::/112
  external:
    hosts: [{name: site.example, address: "203.0.113.9,2001:db8::9", http: {80: "the site\\n"}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: c
          image: acme/web
          ports: [{containerPort: 80}]
          readinessProbe: {httpGet: {port: 80}}
---
apiVersion: v1
kind: Pod
metadata: {name: jump}
spec:
  nodeName: node1
  containers:
    - name: c
      image: ubuntu
      tty: true
      stdin: true
      env:
        - {name: PODS, valueFrom: {fieldRef: {fieldPath: status.podIPs}}}
        - {name: HOSTS, valueFrom: {fieldRef: {fieldPath: status.hostIPs}}}
---
apiVersion: v1
kind: Pod
metadata: {name: on-the-host}
spec: {nodeName: node2, hostNetwork: true, containers: [{name: c, image: ubuntu, tty: true, stdin: true}]}
"""
SERVICES = """---
apiVersion: v1
kind: Service
metadata: {name: both}
spec: {type: NodePort, ipFamilyPolicy: RequireDualStack, selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: four}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: six}
spec: {ipFamilies: [IPv6], selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: heads}
spec: {clusterIP: None, ipFamilyPolicy: PreferDualStack, selector: {app: web}, ports: [{port: 80}]}
"""


@pytest.fixture(scope="module")
def dual(combination: Combination) -> Iterator[Cluster]:
    """With each Pod network and in each mode of kube-proxy; nothing here changes it."""
    with run(DUAL + SERVICES, **combination._asdict()) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def overlay() -> Iterator[Cluster]:
    with run(DUAL + SERVICES) as cluster:
        yield cluster


def cluster_ips(cluster: Cluster, name: str) -> tuple[str, ...]:
    return cluster.store.get(Service, name, "default").spec.cluster_ips


def addresses_of(cluster: Cluster, pod: str) -> list[str]:
    return [entry.ip for entry in cluster.store.get(Pod, pod, "default").status.pod_ips]


def web(cluster: Cluster) -> list[Pod]:
    return [pod for pod in cluster.store.list(Pod) if pod.metadata.labels.get("app") == "web"]


def reached(cluster: Cluster, origin: str, target: str) -> str:
    """The result of connecting, and what the connection's end is."""
    handle = cluster.find(origin)
    connection = cluster.pump(handle.connect(target))
    return f"{connection.result} {connection.address.address if connection.address is not None else ''}"


def names_of(
    cluster: Cluster, name: str, *, family: Family = Family.UNSPEC, libc: Libc | None = None
) -> list[str]:
    lookup = cluster.pump(cluster.pod("jump").resolve(name, family=family, libc=libc))
    return [str(address) for address in lookup.addresses]


# --- addresses -------------------------------------------------------------------------------------------


def test_pods_nodes_and_services_have_addresses_of_both_families(dual: Cluster) -> None:
    for pod in dual.store.list(Pod):
        first, second = (entry.ip for entry in pod.status.pod_ips)
        assert pod.status.pod_ip == first
        assert (":" in first, ":" in second) == (False, True)
    node = dual.store.get(Node, "node1")
    assert node.internal_ips() == ("192.168.10.11", "fd00:192:168:10::11")
    assert node.spec.pod_cidrs == ("10.244.1.0/24", "fd00:10:244:1::/64")
    assert [":" in address for address in cluster_ips(dual, "both")] == [False, True]


def test_the_cluster_s_own_services_have_the_primary_family(dual: Cluster) -> None:
    for name, namespace in (("kubernetes", "default"), ("kube-dns", "kube-system")):
        spec = dual.store.get(Service, name, namespace).spec
        assert (spec.ip_families, spec.ip_family_policy) == (("IPv4",), "SingleStack")


def test_a_pod_finds_its_addresses_in_its_files_and_its_environment(dual: Cluster) -> None:
    jump, own = dual.pod("jump"), addresses_of(dual, "jump")
    hosts = dual.pump(jump.exec(["cat", "/etc/hosts"])).stdout
    assert hosts.endswith(f"{own[0]}\tjump\n{own[1]}\tjump\n")
    assert jump.env["PODS"] == ",".join(own)
    assert jump.env["HOSTS"] == "192.168.10.11,fd00:192:168:10::11"


def test_a_host_network_pod_has_its_node_s_addresses(dual: Cluster) -> None:
    assert addresses_of(dual, "on-the-host") == ["192.168.10.12", "fd00:192:168:10::12"]


# --- names -----------------------------------------------------------------------------------------------


def test_names_give_the_families_that_a_service_has(dual: Cluster) -> None:
    for name in ("both", "four", "six"):
        assert set(names_of(dual, name)) == set(cluster_ips(dual, name))
    assert names_of(dual, "four", family=Family.INET6) == []
    assert names_of(dual, "six", family=Family.INET) == []


def test_a_headless_service_gives_both_addresses_of_each_pod(dual: Cluster) -> None:
    wanted = {entry.ip for pod in web(dual) for entry in pod.status.pod_ips}
    assert len(wanted) == 4
    assert set(names_of(dual, "heads")) == wanted


@pytest.mark.parametrize("libc", [Libc.GLIBC, Libc.MUSL, Libc.GO, Libc.CARES])
def test_which_family_is_first_is_the_library_s_choice(dual: Cluster, libc: Libc) -> None:
    """A unique local address comes before IPv4 by RFC 3484, which is glibc's, and behind it by RFC 6724."""
    first = names_of(dual, "both", libc=libc)[0]
    assert (":" in first) is (libc is Libc.GLIBC)


def test_a_host_outside_has_a_name_with_both_addresses(dual: Cluster) -> None:
    assert set(names_of(dual, "site.example")) == {"203.0.113.9", "2001:db8::9"}
    assert names_of(dual, "site.example", family=Family.INET6) == ["2001:db8::9"]


def test_an_ipv6_address_has_a_name_again(dual: Cluster) -> None:
    address = cluster_ips(dual, "six")[0]
    done = dual.pump(dual.pod("jump").exec(["dig", "+short", "-x", address]))
    assert done.stdout == "six.default.svc.cluster.local.\n"


# --- packets ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["jump", "node/node1", "node/control", "on-the-host"])
def test_cluster_ips_of_both_families_are_reached_from_everywhere(dual: Cluster, origin: str) -> None:
    for name in ("both", "four", "six"):
        for address in cluster_ips(dual, name):
            target = f"[{address}]:80" if ":" in address else f"{address}:80"
            assert reached(dual, origin, target) == f"ok {address}"


def test_pods_on_every_node_are_reached_over_ipv6(dual: Cluster) -> None:
    assert {pod.spec.node_name for pod in web(dual)} == {"node1", "node2"}
    for pod in web(dual):
        address = pod.status.pod_ips[1].ip
        assert reached(dual, "jump", f"[{address}]:80") == f"ok {address}"


@pytest.mark.parametrize("origin", ["jump", "node/node2", "external/site.example"])
def test_node_ports_are_open_in_both_families(dual: Cluster, origin: str) -> None:
    port = dual.store.get(Service, "both", "default").spec.ports[0].node_port
    for address in dual.store.get(Node, "node1").internal_ips():
        target = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        assert reached(dual, origin, target) == f"ok {address}"


def test_an_ipv6_packet_between_nodes_has_an_ipv6_envelope(overlay: Cluster) -> None:
    away = next(pod for pod in web(overlay) if pod.spec.node_name == "node2")
    address = away.status.pod_ips[1].ip
    with overlay.capture("node1/eth0") as packets:
        reached(overlay, "jump", f"[{address}]:80")
    opening = [record for record in packets.records if "[SYN" in str(summarize(record.data))]
    assert len(opening) == 2
    for record, ends in zip(opening, (("11", "12"), ("12", "11")), strict=True):
        seen = summarize(record.data)
        assert (seen.source, seen.destination) == tuple(f"fd00:192:168:10::{end}" for end in ends)
        assert (seen.protocol, address in seen.info) == ("VXLAN", True)


def test_what_leaves_the_cluster_over_ipv6_has_the_node_s_address(dual: Cluster) -> None:
    reply = dual.pump(dual.pod("jump").get("http://[2001:db8::9]/"))
    assert (reply.status, reply.text) == (200, "the site\n")
    with dual.capture("site.example") as packets:
        assert reached(dual, "jump", "[2001:db8::9]:80") == "ok 2001:db8::9"
    opening = next(seen for r in packets.records if "[SYN]" in (seen := summarize(r.data)).info)
    assert (opening.source, opening.destination) == ("fd00:192:168:10::11", "2001:db8::9")


def test_a_large_answer_comes_through_the_smaller_tunnel() -> None:
    """The IPv6 tunnel carries 20 bytes less than a Pod's interface says (Packet Too Big)."""
    page = "x" * 20_000
    image = f'\n  images: {{"acme/web": {{http: {{80: "{page}"}}}}}}\n---'
    with run(DUAL.replace("\n---", image, 1) + SERVICES) as cluster:
        away = next(pod for pod in web(cluster) if pod.spec.node_name == "node2")
        for entry in away.status.pod_ips:
            host = f"[{entry.ip}]" if ":" in entry.ip else entry.ip
            reply = cluster.pump(cluster.pod("jump").get(f"http://{host}/"))
            assert (reply.status, len(reply.text)) == (200, 20_000)


def test_a_client_falls_back_to_the_other_family(dual: Cluster) -> None:
    """``lame`` has an IPv6 address at which nobody is."""
    jump = dual.pod("jump")
    (four,) = cluster_ips(dual, "four")
    before = jump.host.files["/etc/hosts"]
    jump.host.files["/etc/hosts"] = before + f"fd00:10:244:1::ffff\tlame\n{four}\tlame\n"
    try:
        connection = dual.pump(jump.connect("lame:80"))
    finally:
        jump.host.files["/etc/hosts"] = before
    assert connection.lookup is not None
    assert [str(address) for address in connection.lookup.addresses] == ["fd00:10:244:1::ffff", four]
    assert connection.result == "ok"
    assert str(connection.local).startswith(addresses_of(dual, "jump")[0])


# --- changes ---------------------------------------------------------------------------------------------


async def test_a_service_gets_its_second_family_while_the_cluster_runs() -> None:
    with run(DUAL + SERVICES) as cluster:
        (first,) = cluster_ips(cluster, "four")
        await cluster.apply(
            "apiVersion: v1\nkind: Service\nmetadata: {name: four}\n"
            "spec: {ipFamilyPolicy: PreferDualStack, selector: {app: web}, ports: [{port: 80}]}\n"
        )
        kept, second = cluster_ips(cluster, "four")
        assert kept == first
        assert reached(cluster, "jump", f"[{second}]:80") == f"ok {second}"
        cluster.scale("deploy/web", 0)
        assert reached(cluster, "jump", f"[{second}]:80") == f"refused {second}"


async def test_the_plan_of_all_deltas_is_the_plan_from_scratch(combination: Combination) -> None:
    with run(DUAL + SERVICES, **combination._asdict()) as cluster:
        for replicas in (4, 0, 3):
            cluster.scale("deploy/web", replicas)
        await cluster.delete("service", "both")
        await cluster.apply(
            "apiVersion: v1\nkind: Service\nmetadata: {name: four}\n"
            "spec: {ipFamilyPolicy: RequireDualStack, selector: {app: web}, ports: [{port: 80}]}\n"
        )
        await cluster.delete("pod", "jump")
        assert cluster.plan == plan_from_scratch(cluster)
        assert cluster.plan.entries == cluster.plane.entries


# --- what is said of it ----------------------------------------------------------------------------------


def test_every_table_is_printed_for_a_dual_stack_node(dual: Cluster) -> None:
    mode = dual.proxier.settings.mode
    tables = {name: table(dual, HostName("node1")) for name, table in NETWORK_TABLES.items()}
    over_bgp = dual.topology.networking.pod_network == "bgp"
    ways = {
        False: "via fd00:10:244:2:: dev flannel-v6.1 metric 1024 onlink",
        True: "via fd00:192:168:10::12 dev eth0 proto bird metric 32",
    }
    assert f"fd00:10:244:2::/64 {ways[over_bgp]}" in tables["routes6"]
    assert "inet6 fd00:10:244:1::1/64" in tables["addresses"]
    assert ("dst fd00:192:168:10::12" in tables["fdb"]) is not over_bgp
    assert ("Table master6:\nfd00:10:244::/64     unicast [control" in tables["bgp"]) is over_bgp
    address = cluster_ips(dual, "six")[0]
    shown = {"ip6tables": "iptables", "nftables": "nftables", "ipvs": "ipvs", "ipset": "ipvs"}
    for table, own in shown.items():
        assert (address in tables[table]) is (mode == own)
    rules = re.sub(r"\[\d+:\d+\]", "[0:0]", tables["ip6tables-counters"])
    assert rules.replace("[0:0] -A", "-A") == tables["ip6tables"]
    assert bool(rules) is (mode != "nftables")


def test_the_counters_of_ipvs_modes_rules_count_ipv6_packets() -> None:
    with run(DUAL + SERVICES, proxy_mode="ipvs") as cluster:
        address = cluster_ips(cluster, "six")[0]
        assert cluster.pump(cluster.pod("jump").get(f"http://[{address}]/")).status == 200
        node = HostName(cluster.store.get(Pod, "jump", "default").spec.node_name or "")
        counted = NETWORK_TABLES["ip6tables-counters"](cluster, node)
        six = "-A KUBE-SERVICES -m set --match-set KUBE-6-CLUSTER-IP dst,dst -j ACCEPT"
        (line,) = (line for line in counted.splitlines() if line.endswith(six))
        assert line == f"[1:64] {six}"  # a SYN with its MSS behind 40 octets of IPv6


def test_a_trace_names_who_has_which_ipv6_address(dual: Cluster) -> None:
    told = str(dual.pump(dual.pod("jump").trace("six:80")))
    assert "pod default/jump → svc default/six TCP" in told
    assert "result    ok" in told


def test_nothing_looks_broken(dual: Cluster) -> None:
    assert dual.findings() == []


@pytest.mark.parametrize("network", NETWORKS)
def test_a_lost_node_leaves_the_endpoints_of_both_families_and_comes_back_in_both(network: str) -> None:
    with run(DUAL + SERVICES, network=network) as cluster:
        before = NETWORK_TABLES["routes6"](cluster, HostName("node1"))
        cluster.fail_node("node2")
        cluster.advance(400.0)
        nodes = {
            slice_.address_type: {end.node_name for end in slice_.endpoints if end.conditions.ready}
            for slice_ in cluster.store.list(EndpointSlice)
            if slice_.service_name == "both"
        }
        assert set(nodes) == {"IPv4", "IPv6"}
        assert nodes["IPv4"] == nodes["IPv6"]
        assert "node2" not in nodes["IPv4"] and nodes["IPv4"]
        gone = "fd00:10:244:2::/64" not in NETWORK_TABLES["routes6"](cluster, HostName("node1"))
        assert gone is (network == "bgp"), (
            "flannel keeps what the API says of a node, BGP what it hears of it"
        )
        cluster.restore_node("node2")
        cluster.advance(100.0)
        assert NETWORK_TABLES["routes6"](cluster, HostName("node1")) == before
        assert cluster.plan == plan_from_scratch(cluster)


RACKS = DUAL.replace(
    "  external:",
    """\
  fabric:
    subnets:
      - {name: rack-a, cidr: "192.168.10.0/24,fd00:a::/64"}
      - {name: rack-b, cidr: "192.168.20.0/24,fd00:b::/64"}
  nodes:
    - {name: control, subnet: rack-a, controlPlane: true}
    - {name: node1, subnet: rack-a}
    - {name: node2, subnet: rack-b}
  external:""",
)


@pytest.mark.parametrize("network", NETWORKS)
def test_pods_in_two_subnets_reach_each_other_over_ipv6(network: str) -> None:
    """Over BGP with the router of the racks, which has a second speaker too."""
    with run(RACKS + SERVICES, network=network) as cluster:
        away = next(pod for pod in web(cluster) if pod.spec.node_name == "node2")
        address = away.status.pod_ips[1].ip
        assert reached(cluster, "jump", f"[{address}]:80") == f"ok {address}"
        six = cluster_ips(cluster, "six")[0]
        assert {reached(cluster, "node/control", f"[{six}]:80") for _ in range(8)} == {f"ok {six}"}


def test_reflectors_reflect_ipv6_routes() -> None:
    reflecting = DUAL.replace(
        "    podSubnet:", "    podNetwork: bgp\n    bgp: {peering: route-reflector}\n    podSubnet:"
    )
    with run(reflecting + SERVICES) as cluster:
        address = next(pod for pod in web(cluster) if pod.spec.node_name == "node2").status.pod_ips[1].ip
        assert reached(cluster, "jump", f"[{address}]:80") == f"ok {address}"
        assert "node2" not in sessions(cluster, "node1")


def sessions(cluster: Cluster, node: str) -> list[str]:
    """With whom a node's speaker of IPv6 routes has sessions."""
    assert cluster.speakers is not None
    control = cluster.speakers.controls[SpeakerId(HostName(node), 6)]
    return [peer.name for peer in control.settings.peers]


def test_ipv6_routes_travel_in_sessions_over_ipv6() -> None:
    with run(DUAL, network="bgp", capture=True) as cluster:
        assert cluster.packets is not None
        seen = [summarize(record.data) for record in cluster.packets.records]
        told = [one for one in seen if one.protocol == "BGP" and "announces fd00:10:244" in one.info]
        assert told
        assert all(":" in one.source and ":" in one.destination for one in told)
        assert any("announces fd00:10:244:2::/64 via fd00:192:168:10::12" in one.info for one in told)
        others = [one for one in seen if one.protocol == "BGP" and "announces 10.244" in one.info]
        assert others and not any(":" in one.source for one in others)

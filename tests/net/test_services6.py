"""Services in IPv6 on a node: over the bridge and by routing, NAT taken back, refusals, tunnels."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network, ip_address

import pytest

from netsim.plan.entries import InterfaceKind, Route, Schedule, Scope, Vxlan
from netsim.programs.host import Endpoint
from netsim.wire import ipv4, ipv6, udp, vxlan
from tests.net.network import CAUSE, OWNER, Network, dual_stack, mac_of, one_node, two_nodes, v6

VIP = "fd00:96::20"
PODS = IPv6Network("fd00::10:244:0:0/96")
P, Q, R = (v6(f"10.244.1.{number}") for number in (2, 3, 4))


def node(*, netfilter: bool = True) -> Network:
    """``node`` with Pods p, q and r on a bridge, and ``client`` behind it, outside the Pod network."""
    net = dual_stack(one_node(netfilter=netfilter))
    net.host("client")
    net.wire("client/eth0", "node/eth0")
    net.address("client/eth0", "fd08::2/64")
    net.address("node/eth0", "fd08::1/64")
    net.route("client", "default", "eth0", "fd08::1")
    return net


def sources(net: Network, port: str) -> set[str]:
    packets = net.packets6(port, outbound=False)
    return {str(ip_address(p.source)) for p in packets if p.protocol in (ipv4.TCP, ipv4.UDP)}


@pytest.mark.parametrize("protocol", [ipv4.TCP, ipv4.UDP], ids=["tcp", "udp"])
@pytest.mark.parametrize("schedule", [Schedule.RANDOM, Schedule.RR])
def test_a_pod_reaches_a_pod_of_its_own_node_through_the_service(schedule: Schedule, protocol: int) -> None:
    """The bridge runs the IPv6 hooks over the reply: bridge-nf-call-ip6tables."""
    net = node()
    net.interface("node/kube-ipvs0", kind=InterfaceKind.DUMMY)
    if schedule is Schedule.RR:
        net.address("node/kube-ipvs0", f"{VIP}/128")
    net.service(f"[{VIP}]:80", [f"[{Q}]:8080"], protocol=protocol, local_sources=PODS, schedule=schedule)
    net.serve("q", 8080, protocol=protocol)
    ask = net.ask if protocol == ipv4.TCP else net.ask_udp
    assert ask("p", f"[{VIP}]:80").startswith(f"q sees [{P}]:")
    assert sources(net, "p/eth0") == {VIP}


def test_without_br_netfilter_the_reply_comes_from_the_wrong_address() -> None:
    net = node(netfilter=False)
    net.service(f"[{VIP}]:80", [f"[{Q}]:8080"], local_sources=PODS)
    net.serve("q", 8080)
    assert net.ask("p", f"[{VIP}]:80", timeout=3) == "timeout"
    assert Q in sources(net, "p/eth0")


def test_a_pod_that_is_its_own_backend_is_masqueraded() -> None:
    net = node()
    net.service(f"[{VIP}]:80", [f"[{P}]:80"], local_sources=PODS)
    net.serve("p", 80)
    assert net.ask("p", f"[{VIP}]:80").startswith(f"p sees [{v6('10.244.1.1')}]:")


def test_a_client_outside_is_masqueraded_and_its_reply_translated_back() -> None:
    net = node()
    net.service(f"[{VIP}]:80", [f"[{Q}]:8080"], local_sources=PODS)
    net.serve("q", 8080)
    assert net.ask("client", f"[{VIP}]:80").startswith(f"q sees [{v6('10.244.1.1')}]:")
    assert sources(net, "client/eth0") == {VIP}
    flow = next(iter(net.stack("node").netfilter.conntrack))
    assert ip_address(flow.original.destination) == IPv6Address(VIP)
    assert (ip_address(flow.reply.source), flow.reply.source_port) == (IPv6Address(Q), 8080)


def test_the_node_itself_is_served() -> None:
    net = node()
    net.route("node", "default", "eth0", "fd08::2")
    net.service(f"[{VIP}]:80", [f"[{Q}]:8080"], local_sources=PODS)
    net.serve("q", 8080)
    assert net.ask("node", f"[{VIP}]:80").startswith("q sees ")


@pytest.mark.parametrize("who", ["p", "client", "node"])
def test_a_service_without_endpoints_refuses(who: str) -> None:
    net = node()
    net.route("node", "default", "eth0", "fd08::2")
    net.service(f"[{VIP}]:80", [], local_sources=PODS)
    assert net.ask(who, f"[{VIP}]:80") == "refused"


def test_an_error_about_a_translated_datagram_reaches_the_client() -> None:
    net = node()
    net.service(f"[{VIP}]:53", [f"[{Q}]:53"], protocol=ipv4.UDP, local_sources=PODS)
    assert net.ask_udp("p", f"[{VIP}]:53") == "refused"
    (error,) = [p for p in net.packets6("p/eth0", outbound=False) if p.payload[:2] == bytes([1, 4])]
    assert ip_address(ipv6.parse(error.payload[8:]).destination) == IPv6Address(VIP)


def test_a_large_datagram_is_translated_whole_and_goes_on_in_its_pieces() -> None:
    net = node()
    net.service(f"[{VIP}]:53", [f"[{Q}]:53"], protocol=ipv4.UDP, local_sources=PODS)

    async def talk() -> int:
        server = await net.programs("q").udp(53)
        client = await net.programs("p").udp(remote=Endpoint(IPv6Address(VIP), 53))
        await client.send(bytes(4000))
        got = await server.recv(timeout=5)
        await server.send(got.data, got.source)
        return len((await client.recv(timeout=5)).data)

    assert net.run(talk()) == 4000
    pieces = [p for p in net.packets6("q/eth0", outbound=False) if p.protocol == ipv6.FRAGMENT]
    assert [len(p.payload) for p in pieces] == [1456, 1456, 1120]
    assert {p.destination for p in pieces} == {IPv6Address(Q).packed}


def test_the_mtu_behind_a_service_is_learnt_for_the_services_address() -> None:
    """The error is about the translated packet; conntrack gives it back to the client as about its own."""
    net = node()
    net.host("far")
    net.wire("far/eth0", "node/eth1", mtu=1280)
    net.change(("interface", "far", "eth0"), mtu=1500)  # far says nothing of the small MTU
    net.address("far/eth0", "fd09::2/64")
    net.address("node/eth1", "fd09::1/64")
    net.route("far", "default", "eth0", "fd09::1")
    net.service(f"[{VIP}]:80", ["[fd09::2]:80"], local_sources=PODS)

    async def upload() -> int:
        listener = await net.programs("far").listen(80)
        stream = await net.programs("client").connect(Endpoint(IPv6Address(VIP), 80), timeout=5)
        accepted = await listener.accept()
        await stream.write(bytes(20_000))
        stream.close()
        got = 0
        while data := await accepted.read(timeout=60):
            got += len(data)
        return got

    assert net.run(upload()) == 20_000
    errors = [p for p in net.packets6("client/eth0", outbound=False) if p.payload[:1] == b"\x02"]
    assert errors and {ip_address(error.payload[8:][24:40]) for error in errors} == {IPv6Address(VIP)}
    assert net.stack("client")._mtu_for(IPv6Address(VIP).packed) == 1280


def test_a_shared_address_of_ipv6_is_the_hosts_own_and_no_neighbour_hears_of_it() -> None:
    net = node()
    net.shared("kube-ipvs0", VIP)
    net.route("client", f"{VIP}/128", "eth0")
    assert net.ping("client", VIP) == "host-unreachable from fd08::2"
    net.route("client", f"{VIP}/128", "eth0", "fd08::1")
    assert net.ping("client", VIP) == f"reply from {VIP}"


def two_nodes_on_ipv6() -> Network:
    """Flannel's dual stack: on each node a VXLAN interface for each family, of one VNI and port."""
    net = dual_stack(two_nodes())
    for number, name in ((1, "n1"), (2, "n2")):
        net.interface(
            f"{name}/flannel-v6.1", kind=InterfaceKind.VXLAN, mtu=1430,
            vxlan=Vxlan(1, 8472, IPv6Address(v6(f"192.168.0.{number}")), "eth0"),
        )  # fmt: skip
        net.address(f"{name}/flannel-v6.1", f"fd00:244::{number}/128")
    for here, there in ((1, 2), (2, 1)):
        remote, on = mac_of(f"n{there}/flannel-v6.1"), f"n{here}"
        net.put(
            Route(
                Scope(on), IPv6Network(f"{v6(f'10.244.{there}.0')}/112"), "flannel-v6.1", OWNER, CAUSE,
                IPv6Address(f"fd00:244::{there}"), onlink=True,
            )
        )  # fmt: skip
        net.neighbour(on, "flannel-v6.1", f"fd00:244::{there}", remote)
        net.fdb(on, "flannel-v6.1", remote, v6(f"192.168.0.{there}"))
    return net


def test_a_tunnel_has_envelopes_of_the_family_of_its_own_address() -> None:
    net = two_nodes_on_ipv6()
    net.serve("s", 80)
    assert net.ask("p", "10.244.2.2:80").startswith("s sees 10.244.1.2:")
    assert {p.protocol for p in net.packets("n1/eth0")} == {ipv4.UDP}
    net.wait(1)
    with net.forgetting():
        assert net.ask("p", f"[{v6('10.244.2.2')}]:80").startswith(f"s sees [{v6('10.244.1.2')}]:")
        assert net.packets("n1/eth0") == []
        envelopes = [p for p in net.packets6("n1/eth0", outbound=True) if p.protocol == ipv4.UDP]
    inner = [vxlan.parse(udp.parse(envelope.payload).payload).frame for envelope in envelopes]
    assert len(inner) >= 3 and {frame[12:14] for frame in inner} == {b"\x86\xdd"}
    ports = {udp.parse(envelope.payload).source_port for envelope in envelopes}
    assert len(ports) == 1, "one flow, one way"

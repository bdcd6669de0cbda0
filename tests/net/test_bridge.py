"""Bridging: learning, flooding, hairpin; and br_netfilter, without which a Service on one node hangs."""

from __future__ import annotations

import pytest

from netsim.net.device import BRIDGE_AGEING
from netsim.plan.entries import Action, Hook, HostName, InterfaceKind, Match
from netsim.wire import ethernet, icmp, ipv4, tcp
from tests.net.network import SERVICE, Network, add_node, mac_of, one_node
from tests.net.test_ip import errors


def switch(hosts: int = 3) -> Network:
    """``sw`` with hosts h1 10.0.0.1, h2 10.0.0.2 …"""
    net = Network()
    net.host("sw")
    net.interface("sw/br0", kind=InterfaceKind.BRIDGE)
    for number in range(1, hosts + 1):
        net.host(f"h{number}")
        net.interface(f"sw/p{number}", master="br0")
        net.wire(f"h{number}/eth0", f"sw/p{number}")
        net.address(f"h{number}/eth0", f"10.0.0.{number}/24")
    return net


def built(net: Network) -> set[str]:
    """The hosts that have been reached."""
    return {name for name, row in net.plane._rows.items() if row.stack is not None}


def arrived(net: Network, host: str) -> int:
    """How many IP packets came to a host's eth0."""
    return len(net.packets(f"{host}/eth0", outbound=False))


# --- a switch --------------------------------------------------------------------------------------------


def test_a_switch_asks_all_and_then_sends_to_one() -> None:
    net = switch()
    assert net.ping("h1", "10.0.0.2") == "reply from 10.0.0.2"
    questions = net.seen("h3/eth0", outbound=False)
    assert len(questions) == 1 and questions[0][:6] == b"\xff" * 6
    assert arrived(net, "h2") == 1 and arrived(net, "h3") == 0
    assert net.plane.learnt_entries(HostName("sw")) == tuple(
        sorted([(mac_of("h1/eth0"), "p1", "br0"), (mac_of("h2/eth0"), "p2", "br0")])
    )


def test_a_host_that_is_only_asked_in_passing_is_not_built() -> None:
    net = switch()
    net.ping("h1", "10.0.0.2")
    assert built(net) == {"h1", "h2", "sw"}


def test_an_unknown_mac_is_flooded_and_a_learnt_one_forgotten_after_five_minutes() -> None:
    net = switch()
    net.neighbour("h1", "eth0", "10.0.0.2", mac_of("h2/eth0"))
    net.neighbour("h2", "eth0", "10.0.0.1", mac_of("h1/eth0"))
    net.ping("h1", "10.0.0.2")
    assert arrived(net, "h3") == 1  # h2 had not been heard yet
    net.ping("h1", "10.0.0.2")
    assert arrived(net, "h3") == 1
    net.wait(BRIDGE_AGEING + 1)
    net.ping("h1", "10.0.0.2")
    assert arrived(net, "h3") == 2
    assert "h3" not in built(net)  # flooded to it, but for another's MAC


def test_a_frame_never_returns_through_the_port_it_came_by_unless_that_is_a_hairpin() -> None:
    net = switch(1)
    net.neighbour("h1", "eth0", "10.0.0.9", mac_of("nobody"))
    net.ping("h1", "10.0.0.9")
    assert net.seen("h1/eth0", outbound=False) == []
    net.change(("interface", "sw", "p1"), hairpin=True)
    net.ping("h1", "10.0.0.9")
    assert len(net.seen("h1/eth0", outbound=False)) == 1


def test_a_mac_that_moves_is_learnt_anew() -> None:
    net = switch()
    net.ping("h1", "10.0.0.2")
    net.remove(("link", "h2/eth0", "sw/p2"))
    net.wire("h2/eth0", "sw/p4")
    net.change(("interface", "sw", "p4"), master="br0")
    net.ping("h2", "10.0.0.3")
    assert (mac_of("h2/eth0"), "p4", "br0") in net.plane.learnt_entries(HostName("sw"))
    assert net.ping("h1", "10.0.0.2") == "reply from 10.0.0.2"


def test_a_port_that_leaves_takes_what_was_learnt_there() -> None:
    net = switch()
    net.ping("h1", "10.0.0.2")
    net.change(("interface", "sw", "p2"), master=None)
    assert [port for _, port, _ in net.plane.learnt_entries(HostName("sw"))] == ["p1"]
    assert net.ping("h1", "10.0.0.2") == "timeout"
    net.remove(("interface", "sw", "p1"))
    assert net.plane.learnt_entries(HostName("sw")) == ()


def test_ports_find_their_bridge_whichever_comes_first() -> None:
    net = Network()
    net.host("sw")
    for number in (1, 2):
        net.host(f"h{number}")
        net.interface(f"sw/p{number}", master="br0")
        net.wire(f"h{number}/eth0", f"sw/p{number}")
        net.address(f"h{number}/eth0", f"10.0.0.{number}/24")
    assert net.ping("h1", "10.0.0.2") == "host-unreachable from 10.0.0.1"  # no bridge yet: lost
    net.interface("sw/br0", kind=InterfaceKind.BRIDGE)
    assert net.ping("h1", "10.0.0.2") == "reply from 10.0.0.2"
    net.remove(("interface", "sw", "br0"))
    net.interface("sw/br0", kind=InterfaceKind.BRIDGE)
    assert net.ping("h1", "10.0.0.2") == "reply from 10.0.0.2"


# --- Pods on one node ------------------------------------------------------------------------------------


def test_pods_on_one_bridge_talk_past_the_nodes_routing() -> None:
    net = one_node()
    net.serve("q", 80)
    assert net.ask("p", "10.244.1.3:80").startswith("q sees 10.244.1.2:")
    assert {packet.ttl for packet in net.packets("q/eth0", outbound=False)} == {64}
    assert net.ping("p", "10.244.1.1") == "reply from 10.244.1.1"
    assert net.ping("node", "10.244.1.2") == "reply from 10.244.1.2"


@pytest.mark.parametrize("protocol", [ipv4.TCP, ipv4.UDP])
def test_a_service_on_the_same_bridge_is_bridged_with_the_ttl_as_it_was(protocol: int) -> None:
    """br_netfilter: DNAT in PREROUTING, then bridged to the Pod (br_nf_pre_routing_finish_bridge)."""
    net = one_node()
    net.serve("q", 8080, protocol=protocol)
    net.service(SERVICE, ["10.244.1.3:8080"], protocol=protocol)
    ask = net.ask if protocol == ipv4.TCP else net.ask_udp
    assert ask("p", SERVICE).startswith("q sees 10.244.1.2:")
    into_q = [p for p in net.packets("q/eth0", outbound=False) if p.protocol == protocol]
    assert {packet.ttl for packet in into_q} == {64}
    back = [p for p in net.packets("p/eth0", outbound=False) if p.protocol == protocol]
    assert {packet.source for packet in back} == {bytes([10, 96, 0, 20])}


def test_without_bridge_netfilter_the_reply_bypasses_the_nat_and_the_client_hangs() -> None:
    """bridge-nf-call-iptables=0: the answer goes straight from Pod to Pod, with the wrong source."""
    net = one_node(netfilter=False)
    net.serve("q", 8080)
    net.service(SERVICE, ["10.244.1.3:8080"])
    assert net.ask("p", SERVICE, timeout=10) == "timeout"
    answers = [p for p in net.packets("p/eth0", outbound=False) if p.protocol == ipv4.TCP]
    assert answers and {packet.source for packet in answers} == {bytes([10, 244, 1, 3])}
    said = [p for p in net.packets("p/eth0", outbound=True) if p.protocol == ipv4.TCP]
    assert tcp.RST in [tcp.parse(packet.payload).flags for packet in said]


def test_without_bridge_netfilter_a_service_on_another_bridge_still_works() -> None:
    net = one_node(netfilter=False)
    net.interface("node/cni1", kind=InterfaceKind.BRIDGE)
    net.address("node/cni1", "10.244.9.1/24")
    net.host("far")
    net.interface("node/veth-far", master="cni1")
    net.wire("far/eth0", "node/veth-far")
    net.address("far/eth0", "10.244.9.2/24")
    net.route("far", "default", "eth0", "10.244.9.1")
    net.serve("far", 8080)
    net.service(SERVICE, ["10.244.9.2:8080"])
    assert net.ask("p", SERVICE).startswith("far sees 10.244.1.2:")
    assert {p.ttl for p in net.packets("far/eth0", outbound=False)} == {63}


@pytest.mark.parametrize("netfilter", [True, False])
def test_a_pod_reaches_itself_through_its_service(netfilter: bool) -> None:
    """Hairpin: masqueraded, so that the answer comes back to the node, and out of the port it came in by."""
    net = one_node(netfilter=netfilter)
    net.serve("p", 8080)
    net.service(SERVICE, ["10.244.1.2:8080"])
    assert net.ask("p", SERVICE).startswith("p sees 10.244.1.1:")
    assert "hairpin: the endpoint is the client itself" in net.reasons()


def test_without_hairpin_mode_on_the_port_a_pod_does_not_reach_itself() -> None:
    net = one_node()
    net.change(("interface", "node", "veth-p"), hairpin=False)
    net.serve("p", 8080)
    net.service(SERVICE, ["10.244.1.2:8080"])
    assert net.ask("p", SERVICE, timeout=10) == "timeout"


def test_a_service_without_endpoints_refuses_a_pod() -> None:
    net = one_node()
    net.route("node", "default", "cni0")
    net.service(SERVICE, [])
    net.service("10.96.0.20:53", [], protocol=ipv4.UDP)
    assert net.ask("p", SERVICE) == "refused"
    assert net.ask_udp("p", "10.96.0.20:53") == "refused"
    assert set(errors(net, "p/eth0", outbound=False)) == {
        (icmp.UNREACHABLE, icmp.PORT, "10.244.1.1", "10.244.1.2")
    }


def test_a_bridged_packet_meets_the_forward_rules() -> None:
    net = one_node()
    net.serve("q", 80)
    net.rule("node", Hook.FORWARD, Action.DROP, Match(destination_port=80))
    assert net.ask("p", "10.244.1.3:80", timeout=5) == "timeout"
    net.change(("rule", "node", "FORWARD", "rule"), action=Action.REJECT)
    assert net.ask("p", "10.244.1.3:80") == "refused"
    net.change(("host", "node"), bridge_netfilter=False)
    assert net.ask("p", "10.244.1.3:80").startswith("q sees")


def test_bridge_netfilter_without_any_rule_bridges() -> None:
    net = one_node()
    assert net.ping("p", "10.244.1.3", size=4000) == "reply from 10.244.1.3"
    assert not net.stack("node").netfilter.active


def test_a_large_packet_to_a_service_on_the_same_bridge_comes_through_in_pieces() -> None:
    net = one_node()
    net.service(SERVICE, ["10.244.1.3:8080"], protocol=ipv4.UDP)
    net.serve("q", 8080, protocol=ipv4.UDP)

    async def ask() -> int:
        from ipaddress import IPv4Address

        from netsim.programs.host import Endpoint

        socket = await net.programs("p").udp(remote=Endpoint(IPv4Address("10.96.0.20"), 80))
        await socket.send(b"x" * 4000)
        return len((await socket.recv(timeout=5)).data)

    assert net.run(ask()) > 4000
    assert max(len(data) for data in net.seen("q/eth0")) <= 1514


def test_a_damaged_packet_is_not_bridged() -> None:
    net = one_node()
    net.service(SERVICE, ["10.244.1.3:8080"])
    from netsim.net.packet import Frame

    frame = ethernet.build(mac_of("q/eth0"), mac_of("p/eth0"), ethernet.ETHERTYPE_IPV4, b"\x45" + bytes(30))
    net.stack("node").receive("veth-p", Frame(frame, (), 0), 0.0)
    assert not net.stack("node").links.emitted


def test_pods_of_two_nodes_have_one_bridge_each() -> None:
    net = one_node()
    add_node(net, "other", 2, ["x"])
    assert net.ping("p", "10.244.2.2") == "net-unreachable from 10.244.1.1"


@pytest.mark.parametrize("tracked", [True, False])
def test_a_port_drops_what_is_larger_than_its_mtu(tracked: bool) -> None:
    net = one_node(netfilter=tracked)
    net.change(("interface", "node", "veth-q"), mtu=1400)
    net.change(("interface", "node", "cni0"), mtu=1400)
    assert net.ping("p", "10.244.1.3", size=1372, df=True) == "reply from 10.244.1.3"
    assert net.ping("p", "10.244.1.3", size=1373, df=True) == "timeout"

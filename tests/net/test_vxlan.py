"""VXLAN between two nodes: what the envelope says, who opens it, and whom a Pod sees."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from netsim.net.links import VXLAN_SOURCE_PORTS
from netsim.net.packet import Frame
from netsim.plan.entries import Action, Hook, Match, Vxlan
from netsim.wire import ethernet, icmp, ipv4, tcp, udp, vxlan
from tests.net.network import POD_SUBNET, SERVICE, Network, mac_of, two_nodes
from tests.net.test_ip import inject

N1, N2 = b"\xc0\xa8\x00\x01", b"\xc0\xa8\x00\x02"


def envelopes(net: Network) -> list[tuple[ipv4.Ipv4, udp.Udp, vxlan.Vxlan]]:
    """Of the packets that left n1, the VXLAN ones: outer header, UDP, VXLAN."""
    found = []
    for packet in net.packets("n1/eth0", outbound=True):
        if packet.protocol == ipv4.UDP:
            datagram = udp.parse(packet.payload)
            found.append((packet, datagram, vxlan.parse(datagram.payload)))
    return found


def test_pods_on_two_nodes_talk_through_the_tunnel() -> None:
    net = two_nodes()
    net.serve("s", 80)
    assert net.ask("p", "10.244.2.2:80").startswith("s sees 10.244.1.2:")
    outer, datagram, inner = envelopes(net)[0]
    assert (outer.source, outer.destination, outer.ttl, outer.dont_fragment) == (N1, N2, 64, False)
    assert datagram.destination_port == 8472 and inner.vni == 1
    frame = ethernet.parse(inner.frame)
    assert (frame.source, frame.destination) == (mac_of("n1/flannel.1"), mac_of("n2/flannel.1"))
    assert ipv4.parse(frame.payload).ttl == 63
    assert {p.ttl for p in net.packets("s/eth0", outbound=False)} == {62}


def test_nobody_on_the_underlay_sees_a_pod_address() -> None:
    net = two_nodes()
    net.ping("p", "10.244.2.2")
    seen = net.packets("n1/eth0")
    assert seen and {packet.source for packet in seen} == {N1, N2}


def test_one_flow_has_one_source_port_and_other_flows_have_others() -> None:
    """RFC 7348 section 4.1: a hash of the inner flow, for ECMP on the underlay."""
    net = two_nodes()
    net.serve("s", 80)
    for _ in range(12):
        net.ask("p", "10.244.2.2:80")
    ports: dict[int, set[int]] = {}
    for _, datagram, inner in envelopes(net):
        own = tcp.parse(ipv4.parse(inner.frame[14:]).payload).source_port
        ports.setdefault(own, set()).add(datagram.source_port)
    assert len(ports) == 12 and all(len(used) == 1 for used in ports.values())
    all_used = {port for used in ports.values() for port in used}
    assert len(all_used) > 6
    assert all(VXLAN_SOURCE_PORTS[0] <= port <= VXLAN_SOURCE_PORTS[1] for port in all_used)


def test_the_far_node_lets_the_inner_packet_in_at_its_tunnel_device() -> None:
    net = two_nodes()
    net.ping("p", "10.244.2.2")
    (request,) = net.packets("n2/flannel.1", outbound=False)
    assert request.source == bytes([10, 244, 1, 2])


def test_what_nobody_has_a_forwarding_entry_for_is_dropped() -> None:
    net = two_nodes()
    net.remove(("fdb", "@nodes", "flannel.1", mac_of("n2/flannel.1").hex()))
    assert net.ping("p", "10.244.2.2") == "timeout"
    assert envelopes(net) == []


def test_questions_are_not_flooded_through_the_tunnel() -> None:
    net = two_nodes()
    net.remove(("neighbour", "@nodes", "flannel.1", "10.244.2.0"))
    assert net.ping("p", "10.244.2.2") == "host-unreachable from 10.244.1.1"
    assert envelopes(net) == []


@pytest.mark.parametrize(
    "payload",
    [
        vxlan.build(2, bytes(60)),  # another network's
        b"\x00" * 40,  # the VNI flag is not set
        b"short",
    ],
)
def test_what_is_no_envelope_of_ours_is_swallowed(payload: bytes) -> None:
    net = two_nodes()
    net.ping("n1", "192.168.0.2")
    with net.forgetting():
        packet = ipv4.build(N2, N1, ipv4.UDP, udp.build(N2, N1, 40000, 8472, payload))
        inject(net, "n1/eth0", packet)
        assert net.seen("n1/flannel.1") == [] and net.seen("n1/eth0", outbound=True) == []


def test_a_datagram_to_another_port_is_not_the_tunnels() -> None:
    net = two_nodes()
    net.serve("n2", 4789, protocol=ipv4.UDP)
    assert net.ask_udp("n1", "192.168.0.2:4789").startswith("n2 sees")


def test_a_tunnel_may_move_to_another_port_and_network() -> None:
    net = two_nodes()
    for number, node in enumerate(("n1", "n2"), 1):
        settings = Vxlan(7, 4789, IPv4Address(f"192.168.0.{number}"), "eth0")
        net.change(("interface", node, "flannel.1"), vxlan=settings)
    assert net.ping("p", "10.244.2.2") == "reply from 10.244.2.2"
    assert {(datagram.destination_port, inner.vni) for _, datagram, inner in envelopes(net)} == {(4789, 7)}


def test_a_packet_too_large_for_the_tunnel_brings_fragmentation_needed() -> None:
    net = two_nodes()
    net.change(("interface", "p", "eth0"), mtu=1500)
    assert net.ping("p", "10.244.2.2", size=1423, df=True) == "fragmentation-needed from 10.244.1.1"
    assert net.ping("p", "10.244.2.2", size=1422, df=True) == "reply from 10.244.2.2"


def test_a_firewall_on_the_underlay_stops_the_tunnel_by_its_port_only() -> None:
    net = two_nodes()
    net.rule("n2", Hook.INPUT, Action.DROP, Match(protocol=ipv4.UDP, destination_port=8472))
    assert net.ping("p", "10.244.2.2") == "timeout"
    assert net.ping("n1", "192.168.0.2") == "reply from 192.168.0.2"


def test_a_node_reaches_a_far_pod_with_its_tunnel_address() -> None:
    net = two_nodes()
    net.serve("s", 80)
    assert net.ask("n1", "10.244.2.2:80").startswith("s sees 10.244.1.0:")


def test_a_pod_reaches_a_service_whose_endpoint_is_on_the_other_node() -> None:
    net = two_nodes()
    net.serve("s", 8080)
    net.service(SERVICE, ["10.244.2.2:8080"])
    assert net.ask("p", SERVICE).startswith("s sees 10.244.1.2:")


def test_a_node_reaches_a_service_whose_endpoint_is_far_masqueraded_with_its_tunnel_address() -> None:
    net = two_nodes()
    net.serve("s", 8080)
    net.service(SERVICE, ["10.244.2.2:8080"], local_sources=POD_SUBNET)
    net.route("n1", "default", "eth0", "192.168.0.254")
    assert net.ask("n1", SERVICE).startswith("s sees 10.244.1.0:")


def test_an_error_from_the_far_side_comes_back_through_the_tunnel() -> None:
    net = two_nodes()
    assert net.ask_udp("p", "10.244.2.2:53") == "refused"
    assert net.ping("p", "10.244.2.2", ttl=2) == "ttl-exceeded from 10.244.2.0"
    heard = [p for p in net.packets("p/eth0", outbound=False) if p.protocol == ipv4.ICMP]
    assert [icmp.parse(p.payload).type for p in heard] == [icmp.UNREACHABLE, icmp.TIME_EXCEEDED]


def test_an_inner_frame_for_another_mac_is_not_looked_at() -> None:
    net = two_nodes()
    inner = ethernet.build(mac_of("x"), mac_of("y"), ethernet.ETHERTYPE_IPV4, bytes(40))
    data = udp.build(N2, N1, 40000, 8472, vxlan.build(1, inner))
    frame = ethernet.build(
        mac_of("n1/eth0"), mac_of("n2/eth0"), ethernet.ETHERTYPE_IPV4, ipv4.build(N2, N1, ipv4.UDP, data)
    )
    net.stack("n1").receive("eth0", Frame(frame, (), 0), 0.0)
    assert [emitted.device for emitted in net.stack("n1").links.emitted] == ["flannel.1"]

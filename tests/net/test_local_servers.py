"""Virtual servers at a host's own addresses, as node ports are, and the loopback among those."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from netsim.net.family import family_of
from netsim.net.netfilter import Verdict
from netsim.net.packet import Frame, Packet
from netsim.plan.entries import (
    NODES,
    Backend,
    HostName,
    LocalAddresses,
    Masquerade,
    Schedule,
    Sysctl,
    VirtualServer,
)
from netsim.wire import ipv4, udp
from tests.net.network import CAUSE, OWNER, Network, endpoint, mac_of, one_node, two_nodes
from tests.net.test_netfilter import OUTSIDE, udp_ports, with_outside

PORT = 30001


def with_node_port(net: Network, *backends: str, loopback: bool = False, protocol: int = ipv4.TCP) -> Network:
    """A masquerading server at the port, on all nodes; every Pod listens on 8080."""
    servers = tuple(Backend(*endpoint(text)) for text in backends)
    net.put(
        VirtualServer(
            NODES,
            protocol,
            LocalAddresses(loopback),
            PORT,
            "svc web",
            servers,
            OWNER,
            CAUSE,
            masquerade=Masquerade.ALWAYS,
        )
    )
    return net


def served(*backends: str, loopback: bool = False) -> Network:
    """``out`` behind the node, and Pods p 10.244.1.2 and q 10.244.1.3 that listen on 8080."""
    net = with_outside(one_node())
    for pod in ("p", "q"):
        net.serve(pod, 8080)
    net.route("out", "10.244.0.0/16", "eth0", "203.0.113.254")
    return with_node_port(net, *backends, loopback=loopback)


@pytest.mark.parametrize("address", ["203.0.113.254", "10.244.1.1"])
def test_it_answers_at_each_of_the_hosts_addresses(address: str) -> None:
    assert served("10.244.1.3:8080").ask("out", f"{address}:{PORT}").startswith("q sees")


def test_it_does_not_answer_for_other_hosts() -> None:
    net = served("10.244.1.3:8080")
    assert net.ask("out", f"10.244.1.2:{PORT}") == "refused"  # p itself refuses
    assert net.ask("node", f"{OUTSIDE}:{PORT}") == "refused"


def test_the_backend_sees_the_host_and_the_client_the_address_that_it_asked() -> None:
    net = served("10.244.1.3:8080")
    assert net.ask("out", f"203.0.113.254:{PORT}").startswith("q sees 10.244.1.1:")
    replies = [p for p in net.packets("out/eth0", outbound=False) if p.protocol == ipv4.TCP]
    assert {(p.source, udp_ports(p)[0]) for p in replies} == {(bytes([203, 0, 113, 254]), PORT)}
    assert "marked for masquerade: whoever comes to this address" in net.reasons()


def test_another_port_and_another_protocol_are_not_its_own() -> None:
    net = served("10.244.1.3:8080")
    assert net.ask("out", f"203.0.113.254:{PORT + 1}") == "refused"
    assert net.ask_udp("out", f"203.0.113.254:{PORT}") == "refused"
    assert net.seen("q/eth0") == []


def test_without_backends_it_refuses_with_the_address_that_was_asked() -> None:
    net = served()
    assert net.ask("out", f"203.0.113.254:{PORT}") == "refused"
    (error,) = [p for p in net.packets("out/eth0", outbound=False) if p.protocol == ipv4.ICMP]
    assert error.source == bytes([203, 0, 113, 254])


def test_a_host_without_the_backend_passes_the_connection_on() -> None:
    net = two_nodes()
    net.serve("p", 8080)
    with_node_port(net, "10.244.1.2:8080")
    assert net.ask("n1", f"192.168.0.2:{PORT}").startswith("p sees 10.244.2.0:")  # n2's, in the tunnel


def test_a_server_at_one_address_comes_first() -> None:
    net = served("10.244.1.3:8080")
    net.service(f"203.0.113.254:{PORT}", ["10.244.1.2:8080"])
    assert net.ask("out", f"203.0.113.254:{PORT}").startswith("p sees")
    assert net.ask("out", f"10.244.1.1:{PORT}").startswith("q sees")


def test_a_program_of_the_host_reaches_it_by_the_hosts_address() -> None:
    net = served("10.244.1.3:8080")
    net.route("node", "default", "cni0")
    assert net.ask("node", f"10.244.1.1:{PORT}").startswith("q sees 10.244.1.1:")


def localnet(net: Network) -> Network:
    net.put(Sysctl(NODES, "route_localnet", 1, OWNER, CAUSE))
    return net


def test_at_the_loopback_it_answers_only_where_it_may() -> None:
    assert localnet(served("10.244.1.3:8080")).ask("node", f"127.0.0.1:{PORT}") == "refused"
    net = localnet(served("10.244.1.3:8080", loopback=True))
    assert net.ask("node", f"127.0.0.1:{PORT}").startswith("q sees 10.244.1.1:")


def test_without_route_localnet_its_replies_are_martians() -> None:
    net = served("10.244.1.3:8080", loopback=True)
    assert net.ask("node", f"127.0.0.1:{PORT}", timeout=5) == "timeout"
    assert [p for p in net.packets("q/eth0", outbound=True) if p.protocol == ipv4.TCP]
    localnet(net)
    assert net.ask("node", f"127.0.0.1:{PORT}").startswith("q sees")
    net.remove(("sysctl", NODES, "route_localnet"))
    assert net.ask("node", f"127.0.0.1:{PORT}", timeout=5) == "timeout"


def test_with_route_localnet_nobody_from_outside_gets_to_the_loopback() -> None:
    net = localnet(served("10.244.1.3:8080", loopback=True))
    net.serve("node", 53, protocol=ipv4.UDP)
    assert "node sees" in net.ask_udp("node", "127.0.0.1:53")
    source, loopback = bytes([203, 0, 113, 1]), bytes([127, 0, 0, 1])
    question = ipv4.build(source, loopback, ipv4.UDP, udp.build(source, loopback, 5000, 53, b"who"))
    frame = mac_of("node/eth9") + mac_of("out/eth0") + b"\x08\x00" + question
    net.stack("node").receive("eth9", Frame(frame, (), 0), net.now)
    net.plane.flush(HostName("node"))
    net.wait(1)
    assert net.packets("out/eth0", outbound=False) == []


@pytest.mark.parametrize(
    ("source", "loopback", "dropped"), [("203.0.113.1", "127.0.0.1", 1), ("2001:db8::1", "::1", 0)]
)
def test_what_comes_from_a_wire_to_the_loopback_meets_kube_firewall_in_ipv4_only(
    source: str, loopback: str, dropped: int
) -> None:
    net = localnet(served("10.244.1.3:8080", loopback=True))
    net.wait(1)  # the server of the net starts, or nobody awaits it
    ends = ip_address(source).packed, ip_address(loopback).packed
    ip = family_of(ends[0])
    question = ip.build(*ends, ipv4.UDP, udp.build(*ends, 5000, 53, b"who"))
    kind = {4: b"\x08\x00", 6: b"\x86\xdd"}[ip.number]
    frame = mac_of("node/eth9") + mac_of("out/eth0") + kind + question
    net.stack("node").receive("eth9", Frame(frame, (), 0), net.now)
    counted = net.plane.rule_counts(HostName("node"), ip.number).filter
    assert [came.amount.packets for came in counted if came.chain == "INPUT"] == [1] * dropped


def test_a_host_that_gets_an_address_serves_node_ports_there_at_once() -> None:
    """In the midst of a packet's hooks, which look the server up once."""
    net = with_outside(one_node())
    servers = (Backend(*endpoint("10.244.1.3:8080")),)
    net.put(
        VirtualServer(
            NODES, ipv4.UDP, LocalAddresses(), PORT, "svc web", servers, OWNER, CAUSE, Schedule.RR
        )
    )  # fmt: skip
    netfilter, late = net.stack("node").netfilter, "203.0.113.99"
    ends = ip_address(OUTSIDE).packed, ip_address(late).packed
    packet = Packet(ipv4.build(*ends, ipv4.UDP, udp.build(*ends, 5000, PORT, b"who")), (), 1, "eth9")
    assert netfilter.active and netfilter.prerouting(packet, net.now) is Verdict.ACCEPT
    net.address("node/eth9", f"{late}/24")
    assert netfilter.input(packet, net.now) is Verdict.RESEND

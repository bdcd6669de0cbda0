"""IPv6 packets through hosts: routes, hop limits, errors, pings, and NAT on the way."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Interface, IPv6Network

import pytest

from netsim.base.address import mac_from_name
from netsim.base.cause import Cause, Stage
from netsim.base.rng import Rng
from netsim.net.packet import Frame
from netsim.plan.delta import Delta
from netsim.plan.entries import (
    NODES,
    Address,
    Backend,
    Entry,
    Host,
    HostName,
    Interface,
    InterfaceKind,
    Link,
    Masquerade,
    Port,
    Role,
    Route,
    Scope,
    VirtualServer,
)
from netsim.planes.sim.plane import SimPlane
from netsim.wire import icmp6, ipv6, ndp, tcp

OWNER, CAUSE = "test", Cause(Stage.PLAN, "test")
CLIENT, ROUTER, INNER, SERVER = (IPv6Address(text) for text in ("fd01::2", "fd01::1", "fd02::1", "fd02::2"))
VIP = IPv6Address("fd00:96::80")


def network() -> SimPlane:
    """client (fd01::2) - router - server (fd02::2)."""
    plane = SimPlane(Rng(1))
    entries: list[Entry] = []
    for name, groups in (("client", ()), ("router", (NODES,)), ("server", ())):
        entries.append(
            Host(HostName(name), Role.NODE, name, OWNER, CAUSE, groups, forwarding=name == "router")
        )
    ends = {
        ("client", "eth0"): CLIENT, ("router", "eth0"): ROUTER,
        ("router", "eth1"): INNER, ("server", "eth0"): SERVER,
    }  # fmt: skip
    for (owner, device), address in ends.items():
        name, mac = HostName(owner), mac_from_name(f"{owner}/{device}")
        entries.append(Interface(name, device, InterfaceKind.VETH, mac, OWNER, CAUSE))
        entries.append(Address(name, device, IPv6Interface(f"{address}/64"), OWNER, CAUSE))
    for (a, b), via in (
        ((("client", "eth0"), ("router", "eth0")), ROUTER),
        ((("server", "eth0"), ("router", "eth1")), INNER),
    ):
        entries.append(Link(Port(HostName(a[0]), a[1]), Port(HostName(b[0]), b[1]), OWNER, CAUSE))
        scope = Scope(a[0])
        entries.append(Route(scope, IPv6Network("::/0"), a[1], OWNER, CAUSE, via))
    plane.apply(Delta(put=tuple(entries)))
    return plane


def sent(plane: SimPlane, data: bytes, watched: str = "client") -> list[ipv6.Ipv6]:
    """What a host gets after the client has sent a packet, neighbour discovery left out."""
    arrived: list[ipv6.Ipv6] = []
    stack = plane.stack(HostName(watched))
    receive = stack.receive

    def noted(device: str, frame: Frame, now: float) -> None:
        if not ndp.kind_of_frame(frame.data):
            arrived.append(ipv6.parse(frame.data[14:]))
        receive(device, frame, now)

    stack.receive = noted  # type: ignore[method-assign]
    plane.stack(HostName("client")).at(plane.now)
    plane.stack(HostName("client")).send(data, (CAUSE,))
    plane.flush(HostName("client"))
    plane.pump_until(lambda: False, plane.now + 5)
    return arrived


def echo(target: IPv6Address, *, hop_limit: int = 64) -> bytes:
    blank = bytes([icmp6.ECHO_REQUEST, 0, 0, 0, 0, 7, 0, 1]) + b"ping"
    checksum = ipv6.transport_checksum(CLIENT.packed, target.packed, ipv6.ICMPV6, blank)
    body = blank[:2] + checksum.to_bytes(2, "big") + blank[4:]
    return ipv6.build(CLIENT.packed, target.packed, ipv6.ICMPV6, body, hop_limit=hop_limit)


@pytest.mark.parametrize("target", [ROUTER, INNER, SERVER])
def test_hosts_answer_pings(target: IPv6Address) -> None:
    (reply,) = sent(network(), echo(target))
    assert (reply.source, reply.protocol, reply.payload[0]) == (target.packed, ipv6.ICMPV6, icmp6.ECHO_REPLY)
    assert ipv6.transport_checksum(reply.source, reply.destination, ipv6.ICMPV6, reply.payload) in (0, 0xFFFF)


@pytest.mark.parametrize(
    ("packet", "error"),
    [
        pytest.param(echo(SERVER, hop_limit=1), (icmp6.TIME_EXCEEDED, 0), id="hop limit"),
        pytest.param(echo(IPv6Address("fd09::1")), (icmp6.UNREACHABLE, icmp6.NO_ROUTE), id="no route"),
        pytest.param(echo(IPv6Address("fd02::77")), (icmp6.UNREACHABLE, icmp6.ADDRESS), id="no neighbour"),
    ],
)
def test_a_router_says_why_it_does_not_forward(packet: bytes, error: tuple[int, int]) -> None:
    (reply,) = sent(network(), packet)
    assert (reply.source, (reply.payload[0], reply.payload[1])) == (ROUTER.packed, error)
    quoted = ipv6.parse(reply.payload[8:])
    assert quoted._replace(hop_limit=0) == ipv6.parse(packet)._replace(hop_limit=0)


def service(*backends: Backend) -> VirtualServer:
    return VirtualServer(NODES, 6, VIP, 80, "svc web", backends, OWNER, CAUSE, masquerade=Masquerade.ALWAYS)


def syn() -> bytes:
    source, target = CLIENT.packed, VIP.packed
    segment = tcp.build(source, target, tcp.Tcp(40000, 80, 1, 0, tcp.SYN, 1000, 0))
    return ipv6.build(source, target, 6, segment)


def test_a_virtual_server_rewrites_and_masquerades_it() -> None:
    plane = network()
    plane.apply(Delta(put=(service(Backend(SERVER, 8080)),)))
    (packet,) = sent(plane, syn(), "server")
    assert (packet.source, packet.destination, packet.hop_limit) == (INNER.packed, SERVER.packed, 63)
    pseudo = ipv6.pseudo_header(packet.source, packet.destination, 6, len(packet.payload))
    assert tcp.parse(packet.payload, pseudo).destination_port == 8080


def test_one_without_backends_rejects_with_port_unreachable() -> None:
    plane = network()
    default = Route(Scope("router"), IPv6Network("::/0"), "eth1", OWNER, CAUSE, SERVER)
    plane.apply(Delta(put=(service(), default)))
    (reply,) = sent(plane, syn())
    assert (reply.payload[0], reply.payload[1]) == (icmp6.UNREACHABLE, icmp6.PORT)
    assert reply.payload[8:48][24:40] == VIP.packed

"""A small capture: a lookup through a Service, a connection through a tunnel, and what can go wrong."""

from __future__ import annotations

from ipaddress import IPv4Address

from netsim.base.address import BROADCAST, ZERO_MAC
from netsim.base.cause import Cause, Note, Notes, Stage
from netsim.capture.record import PacketRecord
from netsim.plan.entries import HostName, Port
from netsim.wire import arp, dns, ethernet, icmp, ipv4, tcp, udp, vxlan


def ip(text: str) -> bytes:
    return IPv4Address(text).packed


def mac(number: int) -> bytes:
    return bytes([2, 0, 0, 0, 0, number])


def note(where: str, stage: Stage, text: str) -> Note:
    return Note(where, Cause(stage, text))


def frame(packet: bytes, source: int = 2, destination: int = 1) -> bytes:
    return ethernet.build(mac(destination), mac(source), ethernet.ETHERTYPE_IPV4, packet)


def udp_frame(source: bytes, destination: bytes, sport: int, dport: int, payload: bytes) -> bytes:
    segment = udp.build(source, destination, sport, dport, payload)
    return frame(ipv4.build(source, destination, ipv4.UDP, segment))


def tcp_frame(source: bytes, destination: bytes, segment: tcp.Tcp) -> bytes:
    return frame(ipv4.build(source, destination, ipv4.TCP, tcp.build(source, destination, segment)))


def icmp_frame(source: bytes, destination: bytes, message: bytes) -> bytes:
    return frame(ipv4.build(source, destination, ipv4.ICMP, message))


def tunnelled(inner: bytes) -> bytes:
    return udp_frame(NODE1, NODE2, 40001, vxlan.LINUX_PORT, vxlan.build(1, inner))


POD, GATEWAY, WEB = ip("10.244.1.2"), ip("10.244.1.1"), ip("10.244.2.3")
DNS, DNS_POD = ip("10.96.0.10"), ip("10.244.0.2")
NODE1, NODE2 = ip("192.168.10.11"), ip("192.168.10.12")

JUMP = Port(HostName("dev/jump"), "eth0")
VETH = Port(HostName("node1"), "veth3f2a")
UPLINK = Port(HostName("node1"), "eth0")

NAMES = {
    POD: "pod dev/jump",
    WEB: "pod prod/ent-1",
    DNS: "svc kube-system/kube-dns",
    NODE1: "node node1",
    NODE2: "node node2",
}
INTERFACES = {JUMP: "pod dev/jump", UPLINK: "node node1, wire to rack-a"}

SEARCH = note(
    "pod dev/jump", Stage.RESOLVER, "search list 1 of 3: ent -> ent.dev.svc.cluster.local (ndots:5)"
)
DNAT = note("node node1", Stage.SERVICE, "svc kube-system/kube-dns:dns, chose 10.244.0.2:53 (1 of 2)")
ENCAP = note("node node1", Stage.ENCAP, "VXLAN vni 1 to 192.168.10.12")

QUERY = dns.query(0x1234, "ent.dev.svc.cluster.local.", dns.A)
REPLY = dns.build(
    dns.reply(
        dns.parse(QUERY),
        answers=(dns.Record("ent.dev.svc.cluster.local.", dns.A, dns.IN, 5, ip("10.96.7.7")),),
    )
)
SYN = tcp_frame(POD, WEB, tcp.Tcp(40000, 80, 7, 0, tcp.SYN, 64860, 1410))
GET = tcp_frame(
    POD,
    WEB,
    tcp.Tcp(40000, 80, 8, 101, tcp.PSH | tcp.ACK, 64860, None, b"GET / HTTP/1.1\r\nHost: ent\r\n\r\n"),
)
ASK = udp_frame(POD, DNS, 5353, 53, QUERY)
REFUSED = icmp.build_error(icmp.UNREACHABLE, icmp.PORT, ASK[ethernet.HEADER_LENGTH :])


def arp_frame(operation: int, sender: int, sender_ip: bytes, target: bytes, target_ip: bytes) -> bytes:
    message = arp.build(arp.Arp(operation, mac(sender), sender_ip, target, target_ip))
    destination = BROADCAST if operation == arp.REQUEST else target
    return ethernet.build(destination, mac(sender), ethernet.ETHERTYPE_ARP, message)


def dns_over_tcp(*messages: bytes) -> bytes:
    """The messages in one segment, each after its length."""
    payload = b"".join(len(message).to_bytes(2, "big") + message for message in messages)
    return tcp_frame(POD, DNS, tcp.Tcp(40000, 53, 1, 1, tcp.PSH | tcp.ACK, 500, None, payload))


def _records() -> list[PacketRecord]:
    rows: list[tuple[float, Port, bool, int, bytes, Notes]] = [
        (0.0, JUMP, True, 1, arp_frame(arp.REQUEST, 2, POD, ZERO_MAC, GATEWAY), ()),
        (0.0001, JUMP, False, 2, arp_frame(arp.REPLY, 1, GATEWAY, mac(2), POD), ()),
        (0.0002, JUMP, True, 3, ASK, (SEARCH,)),
        (0.00021, UPLINK, True, 3, udp_frame(POD, DNS_POD, 5353, 53, QUERY), (SEARCH, DNAT, DNAT)),
        (0.0004, JUMP, False, 4, udp_frame(DNS, POD, 53, 5353, REPLY), ()),
        (0.001, JUMP, True, 5, SYN, ()),
        (0.0010101, UPLINK, True, 5, tunnelled(SYN), (ENCAP,)),
        (0.0012, UPLINK, True, 6, tunnelled(GET), (ENCAP,)),
        (1.5, JUMP, True, 7, icmp_frame(POD, WEB, icmp.build_echo(icmp.ECHO_REQUEST, 1, 1, bytes(56))), ()),
        (86400.000000001, JUMP, False, 8, icmp_frame(NODE1, POD, REFUSED), ()),
    ]
    return [
        PacketRecord(time, port, out, data, notes, serial) for time, port, out, serial, data, notes in rows
    ]


RECORDS = _records()

"""Frames become layers, and the line that Wireshark's users expect."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.base.address import BROADCAST
from netsim.capture.dissect import Http, Malformed, layers, summarize
from netsim.capture.filter import parse_filter
from netsim.capture.record import packet_from_record
from netsim.capture.render import detail
from netsim.wire import arp, bgp, dns, ethernet, icmp, ipv4, tcp, udp, vxlan
from netsim.wire.bgp_attributes import AS_SEQUENCE, IGP, PathAttributes, Segment, prefix_from_network
from tests.capture.sample import (
    ASK,
    DNS,
    GET,
    NAMES,
    NODE1,
    NODE2,
    POD,
    QUERY,
    RECORDS,
    REPLY,
    SYN,
    WEB,
    dns_over_tcp,
    frame,
    icmp_frame,
    ip,
    mac,
    tcp_frame,
    tunnelled,
    udp_frame,
)

PODS = "10.244.1.2 → 10.244.2.3"
ASKED = "10.244.1.2 → 10.96.0.10"
MACS = "02:00:00:00:00:02 → 02:00:00:00:00:01"
LONG = ipv4.build(POD, WEB, ipv4.UDP, bytes(3000), identification=0xBEEF, dont_fragment=False)
FRAGMENTS = ipv4.fragment(LONG, 1500)
ENT = "ent.dev.svc.cluster.local."


def error(type_: int, code: int, about: bytes, mtu: int = 0) -> bytes:
    return icmp_frame(NODE1, POD, icmp.build_error(type_, code, about[ethernet.HEADER_LENGTH :], mtu))


def gratuitous(operation: int) -> bytes:
    message = arp.build(arp.Arp(operation, mac(2), POD, BROADCAST, POD))
    return ethernet.build(BROADCAST, mac(2), ethernet.ETHERTYPE_ARP, message)


def answered(rtype: int, *answers: dns.Record, **fields: object) -> bytes:
    query = dns.parse(dns.query(0xBEEF, ENT, rtype))
    return udp_frame(DNS, POD, 53, 5353, dns.build(dns.reply(query, answers=answers, **fields)))


def record(rtype: int, data: object, name: str = ENT) -> dns.Record:
    return dns.Record(name, rtype, dns.IN, 5, data)


SOA = record(dns.SOA, dns.Soa("ns.dns.cluster.local.", "hostmaster.cluster.local.", 1, 7200, 1800, 86400, 5))
REPLIED = "10.96.0.10 → 10.244.1.2 DNS Standard query response 0xbeef"

LINES = [
    (RECORDS[0].data, "02:00:00:00:00:02 → Broadcast ARP Who has 10.244.1.1? Tell 10.244.1.2"),
    (RECORDS[1].data, "02:00:00:00:00:01 → 02:00:00:00:00:02 ARP 10.244.1.1 is at 02:00:00:00:00:01"),
    (gratuitous(arp.REQUEST), "02:00:00:00:00:02 → Broadcast ARP Gratuitous ARP for 10.244.1.2 (Request)"),
    (gratuitous(arp.REPLY), "02:00:00:00:00:02 → Broadcast ARP Gratuitous ARP for 10.244.1.2 (Reply)"),
    (ASK, f"{ASKED} DNS Standard query 0x1234 A ent.dev.svc.cluster.local"),
    (
        udp_frame(DNS, POD, 53, 5353, REPLY),
        "10.96.0.10 → 10.244.1.2 DNS Standard query response 0x1234 A ent.dev.svc.cluster.local A 10.96.7.7",
    ),
    (
        answered(dns.A, rcode=dns.Rcode.NXDOMAIN, authority=(SOA,)),
        f"{REPLIED} No such name A ent.dev.svc.cluster.local SOA ns.dns.cluster.local",
    ),
    (
        answered(dns.AAAA, rcode=dns.Rcode.SERVFAIL),
        f"{REPLIED} Server failure AAAA ent.dev.svc.cluster.local",
    ),
    (
        answered(dns.A, record(dns.CNAME, "example.com."), record(dns.A, ip("203.0.113.80"), "example.com.")),
        f"{REPLIED} A ent.dev.svc.cluster.local CNAME example.com A 203.0.113.80",
    ),
    (
        answered(dns.SRV, record(dns.SRV, dns.Srv(0, 100, 80, "web-0.ent.dev.svc.cluster.local."))),
        f"{REPLIED} SRV ent.dev.svc.cluster.local SRV 0 100 80 web-0.ent.dev.svc.cluster.local",
    ),
    (answered(dns.TXT, record(dns.TXT, (b"a b",))), f"{REPLIED} TXT ent.dev.svc.cluster.local TXT"),
    (answered(65280, truncated=True), f"{REPLIED} TYPE65280 ent.dev.svc.cluster.local [truncated]"),
    (
        udp_frame(POD, DNS, 5353, 53, dns.query(1, ".", dns.NS, edns_size=1232)),
        f"{ASKED} DNS Standard query 0x0001 NS <Root> OPT",
    ),
    (dns_over_tcp(QUERY), f"{ASKED} DNS Standard query 0x1234 A ent.dev.svc.cluster.local"),
    (
        dns_over_tcp(QUERY, dns.query(2, "a.", dns.AAAA)),
        f"{ASKED} DNS Standard query 0x1234 A ent.dev.svc.cluster.local; Standard query 0x0002 AAAA a",
    ),
    (SYN, f"{PODS} TCP 40000 → 80 [SYN] Seq=7 Win=64860 Len=0 MSS=1410"),
    (
        tcp_frame(POD, WEB, tcp.Tcp(40000, 80, 8, 101, tcp.FIN | tcp.ACK, 501)),
        f"{PODS} TCP 40000 → 80 [FIN, ACK] Seq=8 Ack=101 Win=501 Len=0",
    ),
    (GET, f"{PODS} HTTP GET / HTTP/1.1"),
    (
        tcp_frame(WEB, POD, tcp.Tcp(80, 40000, 1, 1, tcp.ACK, 501, None, b"HTTP/1.1 404 Not Found\r\n")),
        "10.244.2.3 → 10.244.1.2 HTTP HTTP/1.1 404 Not Found",
    ),
    (udp_frame(POD, WEB, 5000, 6000, b"hello"), f"{PODS} UDP 5000 → 6000 Len=5"),
    (tunnelled(SYN), f"192.168.10.11 → 192.168.10.12 VXLAN vni 1 [{summarize(SYN)}]"),
    (RECORDS[8].data, f"{PODS} ICMP Echo (ping) request id=0x0001, seq=1, ttl=64"),
    (
        icmp_frame(WEB, POD, icmp.build_echo(icmp.ECHO_REPLY, 0x2A, 3, b"")),
        "10.244.2.3 → 10.244.1.2 ICMP Echo (ping) reply id=0x002a, seq=3, ttl=64",
    ),
    (
        error(icmp.UNREACHABLE, icmp.PORT, ASK),
        f"192.168.10.11 → 10.244.1.2 ICMP Destination unreachable (Port unreachable) "
        f"for [{ASKED} UDP 5353 → 53]",
    ),
    (
        error(icmp.UNREACHABLE, icmp.FRAGMENTATION_NEEDED, GET, mtu=1400),
        f"192.168.10.11 → 10.244.1.2 ICMP Destination unreachable (Fragmentation needed), "
        f"next hop MTU 1400 for [{PODS} TCP 40000 → 80]",
    ),
    (
        error(icmp.TIME_EXCEEDED, 0, RECORDS[8].data[: 14 + 28]),
        f"192.168.10.11 → 10.244.1.2 ICMP Time-to-live exceeded (Time to live exceeded in transit) "
        f"for [{PODS} ICMP]",
    ),
    (
        icmp_frame(NODE1, POD, icmp.build_error(icmp.UNREACHABLE, icmp.HOST, b"\0\0\0\5short")),
        "192.168.10.11 → 10.244.1.2 ICMP Destination unreachable (Host unreachable) "
        "for [malformed: ipv4: 5 bytes are too few for a 20-byte header]",
    ),
    (
        icmp_frame(NODE1, POD, icmp.build_echo(13, 0, 0, b"")),
        "192.168.10.11 → 10.244.1.2 ICMP Type 13, code 0",
    ),
    (
        frame(FRAGMENTS[0]),
        f"{PODS} IPv4 Fragmented IP protocol (proto=UDP, off=0, id=0xbeef, more to come)",
    ),
    (
        frame(FRAGMENTS[-1]),
        f"{PODS} IPv4 Fragmented IP protocol (proto=UDP, off=2960, id=0xbeef, the last)",
    ),
    (frame(ipv4.build(POD, WEB, 132, b"data")), f"{PODS} SCTP 4 bytes"),
    (frame(ipv4.build(POD, WEB, 99, b"data")), f"{PODS} protocol 99 4 bytes"),
    (
        ethernet.build(mac(1), mac(2), ethernet.ETHERTYPE_IPV6, bytes(40)),
        f"{MACS} IPv6 [malformed ipv6: version 0, not 6]",
    ),
    (ethernet.build(mac(1), mac(2), 0x88B5, b"lab"), f"{MACS} 0x88b5 3 bytes"),
    # What is damaged says so, behind whatever could still be read.
    (b"short", "? → ? Ethernet [malformed ethernet: 5 bytes are too few for a 14-byte header]"),
    (frame(b"\x45" + bytes(19)), f"{MACS} IPv4 [malformed ipv4: total length 0 in a packet of 20 bytes]"),
    (SYN[:-1] + b"!", f"{PODS} TCP [malformed tcp: wrong checksum]"),
    (
        udp_frame(POD, DNS, 5353, 53, b"no DNS"),
        f"{ASKED} DNS 5353 → 53 [malformed DNS: the message ends too early]",
    ),
    (
        udp_frame(POD, WEB, 40001, vxlan.IANA_PORT, b"short"),
        f"{PODS} VXLAN 40001 → 4789 [malformed vxlan: 5 bytes are too few for an 8-byte header]",
    ),
    (
        dns_over_tcp(b"no DNS"),
        f"{ASKED} TCP 40000 → 53 [PSH, ACK] Seq=1 Ack=1 Win=500 Len=8 "
        "[malformed DNS: the message ends too early]",
    ),
    (
        dns_over_tcp(QUERY)[:-5],
        f"{MACS} IPv4 [malformed ipv4: total length 85 in a packet of 80 bytes]",
    ),
]


@pytest.mark.parametrize(("data", "line"), LINES, ids=[line for _, line in LINES])
def test_the_line_of_a_frame(data: bytes, line: str) -> None:
    assert str(summarize(data)) == line


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (
            ASK,
            "pod dev/jump → svc kube-system/kube-dns DNS Standard query 0x1234 A ent.dev.svc.cluster.local",
        ),
        (
            tunnelled(GET),
            "node node1 → node node2 VXLAN vni 1 [pod dev/jump → pod prod/ent-1 HTTP GET / HTTP/1.1]",
        ),
        (
            error(icmp.UNREACHABLE, icmp.PORT, ASK),
            "node node1 → pod dev/jump ICMP Destination unreachable (Port unreachable) "
            "for [pod dev/jump → svc kube-system/kube-dns UDP 5353 → 53]",
        ),
        (RECORDS[0].data, "02:00:00:00:00:02 → Broadcast ARP Who has 10.244.1.1? Tell 10.244.1.2"),
    ],
)
def test_names_stand_for_the_addresses_they_know(data: bytes, line: str) -> None:
    assert str(summarize(data, NAMES)) == line


def test_layers_go_through_the_tunnel_to_the_innermost_header() -> None:
    kinds = [type(layer) for layer in layers(tunnelled(GET))]
    outer = [ethernet.Ethernet, ipv4.Ipv4, udp.Udp, vxlan.Vxlan]
    assert kinds == [*outer, ethernet.Ethernet, ipv4.Ipv4, tcp.Tcp, Http]


def bgp_frame(payload: bytes) -> bytes:
    return tcp_frame(NODE1, NODE2, tcp.Tcp(40000, bgp.PORT, 1, 1, tcp.ACK | tcp.PSH, 500, None, payload))


def test_bgp_messages_are_told_in_words() -> None:
    path = PathAttributes(origin=IGP, as_path=(), next_hop=NODE1, local_pref=100)
    pods = prefix_from_network(IPv4Network("10.244.1.0/24"))
    (update,) = bgp.build_updates(bgp.Update((), path, (pods,)))
    hello = bgp.build(bgp.Open(64512, 90, NODE1, ()))
    two = bgp_frame(hello + bgp.build(bgp.Keepalive()))
    assert str(summarize(two, NAMES)) == (
        "node node1 → node node2 BGP OPEN from AS 64512, identifier 192.168.10.11; KEEPALIVE"
    )
    told = "UPDATE announces 10.244.1.0/24 via 192.168.10.11, AS path empty"
    assert str(summarize(bgp_frame(update), NAMES)) == f"node node1 → node node2 BGP {told}"
    packet = packet_from_record(RECORDS[0]._replace(data=two))
    assert parse_filter("bgp").matches(packet) and not parse_filter("http").matches(packet)


def test_every_field_of_an_update_is_told_with_as_numbers_of_four_octets(
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = PathAttributes(origin=IGP, as_path=(Segment(AS_SEQUENCE, (4200000001,)),), next_hop=NODE1)
    pods = prefix_from_network(IPv4Network("10.244.1.0/24"))
    text = detail(bgp_frame(b"".join(bgp.build_updates(bgp.Update((), path, (pods,))))))
    assert "segment_value= [4200000001]" in text and "prefix    = 10.244.1.0/24" in text
    assert capfd.readouterr() == ("", "")


def test_what_is_no_bgp_on_its_port_is_a_segment_and_what_is_damaged_says_so() -> None:
    assert summarize(bgp_frame(b"rest of an UPDATE")).protocol == "TCP"
    assert summarize(bgp_frame(b"")).protocol == "TCP"
    cut = summarize(bgp_frame(bgp.MARKER + b"\x00\x13\x09"))
    assert (cut.protocol, cut.info.partition("[malformed ")[2]) == (
        "TCP",
        "bgp: Bad message type: message type 9]",
    )


def test_a_dns_message_cut_by_its_segment_is_left_to_the_reader() -> None:
    whole = dns_over_tcp(QUERY)[54:]
    cut = tcp_frame(POD, DNS, tcp.Tcp(40000, 53, 1, 1, tcp.ACK, 500, None, whole[:-5]))
    assert str(summarize(cut)) == f"{ASKED} TCP 40000 → 53 [ACK] Seq=1 Ack=1 Win=500 Len={len(whole) - 5}"


def test_layers_end_with_what_is_malformed() -> None:
    assert layers(SYN[:-1] + b"!")[-1] == Malformed("tcp", "wrong checksum")


@given(st.data())
def test_any_bytes_have_a_line(data: st.DataObject) -> None:
    sound = data.draw(st.sampled_from([line[0] for line in LINES]))
    at = data.draw(st.integers(0, len(sound)))
    patch = data.draw(st.binary(min_size=1, max_size=8))
    for damaged in (sound[:at], sound[:at] + patch + sound[at + len(patch) :], patch):
        assert " → " in str(summarize(damaged))

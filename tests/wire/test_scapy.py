"""Each codec against scapy: it reads what we build and agrees on every checksum, we read what it builds."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from scapy.layers import inet, l2
from scapy.layers import vxlan as scapy_vxlan
from scapy.packet import Raw

from netsim.base.address import render_ip, render_mac
from netsim.wire import arp, ethernet, icmp, ipv4, tcp, udp, vxlan
from tests.wire.strategies import addresses, longs, macs, octets, payloads, segments, words


def rebuilt(packet: Any) -> bytes:
    """The IP packet's bytes with its lengths and checksums computed anew by scapy."""
    packet = packet.copy()
    for layer in (packet, packet.payload):
        for field in ("chksum", "len"):
            layer.fields.pop(field, None)
    return bytes(packet)


def payload_of(layer: Any) -> bytes:
    return bytes(layer.payload)


def pseudo(source: bytes, destination: bytes, protocol: int, segment: bytes) -> bytes:
    return ipv4.pseudo_header(source, destination, protocol, len(segment))


@given(macs, macs, st.sampled_from([0x0800, 0x0806, 0x86DD, 0x88B5]), payloads)
def test_ethernet(destination: bytes, source: bytes, ethertype: int, payload: bytes) -> None:
    frame = ethernet.build(destination, source, ethertype, payload)
    assert frame == bytes(
        l2.Ether(dst=render_mac(destination), src=render_mac(source), type=ethertype) / Raw(payload)
    )
    assert ethernet.parse(frame) == ethernet.Ethernet(destination, source, ethertype, payload)


@given(st.builds(arp.Arp, words, macs, addresses, macs, addresses), st.binary(max_size=18))
def test_arp(message: arp.Arp, padding: bytes) -> None:
    data = arp.build(message)
    assert data == bytes(
        l2.ARP(
            op=message.operation,
            hwsrc=render_mac(message.sender_mac),
            psrc=render_ip(message.sender_ip),
            hwdst=render_mac(message.target_mac),
            pdst=render_ip(message.target_ip),
        )
    )
    assert arp.parse(data + padding) == message


@given(
    source=addresses,
    destination=addresses,
    protocol=st.sampled_from([99, 253, 254]),
    payload=payloads,
    ttl=octets,
    identification=words,
    tos=octets,
    dont_fragment=st.booleans(),
    more_fragments=st.booleans(),
    offset=st.integers(0, 0x1FFF),
    padding=st.binary(max_size=30),
)
def test_ipv4(
    source: bytes,
    destination: bytes,
    protocol: int,
    payload: bytes,
    ttl: int,
    identification: int,
    tos: int,
    dont_fragment: bool,
    more_fragments: bool,
    offset: int,
    padding: bytes,
) -> None:
    packet = ipv4.build(
        source,
        destination,
        protocol,
        payload,
        ttl=ttl,
        identification=identification,
        tos=tos,
        dont_fragment=dont_fragment,
        more_fragments=more_fragments,
        fragment_offset=offset * 8,
    )
    assert packet == bytes(
        inet.IP(
            src=render_ip(source),
            dst=render_ip(destination),
            proto=protocol,
            ttl=ttl,
            id=identification,
            tos=tos,
            flags=2 * dont_fragment + more_fragments,
            frag=offset,
        )
        / Raw(payload)
    )
    assert ipv4.parse(packet + padding) == ipv4.Ipv4(
        source,
        destination,
        protocol,
        ttl,
        identification,
        dont_fragment,
        more_fragments,
        offset * 8,
        tos,
        payload,
    )


def test_ipv4_options_are_skipped() -> None:
    built = inet.IP(
        src="10.0.0.1", dst="10.0.0.2", proto=99, options=[inet.IPOption_RR(), inet.IPOption_NOP()]
    )
    packet = ipv4.parse(bytes(built / Raw(b"payload")))
    assert packet.payload == b"payload"
    assert packet.source == bytes([10, 0, 0, 1])


@given(addresses, addresses, words, words, payloads)
def test_udp(
    source: bytes, destination: bytes, source_port: int, destination_port: int, payload: bytes
) -> None:
    segment = udp.build(source, destination, source_port, destination_port, payload)
    read = inet.IP(ipv4.build(source, destination, ipv4.UDP, segment))
    assert (read[inet.UDP].sport, read[inet.UDP].dport) == (source_port, destination_port)
    assert payload_of(read[inet.UDP]) == payload
    assert payload_of(inet.IP(rebuilt(read))) == segment
    parsed = udp.parse(segment, pseudo(source, destination, ipv4.UDP, segment))
    assert parsed == udp.Udp(source_port, destination_port, payload)


@given(addresses, addresses, segments)
def test_tcp(source: bytes, destination: bytes, segment: tcp.Tcp) -> None:
    data = tcp.build(source, destination, segment)
    read = inet.IP(ipv4.build(source, destination, ipv4.TCP, data))[inet.TCP]
    assert (read.sport, read.dport, read.seq, read.ack, int(read.flags), read.window) == segment[:6]
    assert read.options == ([] if segment.mss is None else [("MSS", segment.mss)])
    assert payload_of(read) == segment.payload
    whole = inet.IP(ipv4.build(source, destination, ipv4.TCP, data))
    assert payload_of(inet.IP(rebuilt(whole))) == data
    assert tcp.parse(data, pseudo(source, destination, ipv4.TCP, data)) == segment


def test_the_mss_is_found_among_other_options() -> None:
    options = [("NOP", None), ("SAckOK", b""), ("Timestamp", (7, 0)), ("MSS", 1410), ("WScale", 7)]
    built = inet.IP(src="10.0.0.1", dst="10.0.0.2") / inet.TCP(flags="S", options=options) / Raw(b"early")
    packet = ipv4.parse(bytes(built))
    segment = tcp.parse(packet.payload, pseudo(packet.source, packet.destination, ipv4.TCP, packet.payload))
    assert (segment.mss, segment.flags, segment.payload) == (1410, tcp.SYN, b"early")


@given(st.sampled_from([icmp.ECHO_REQUEST, icmp.ECHO_REPLY]), words, words, payloads)
def test_icmp_echo(type_: int, identifier: int, sequence: int, payload: bytes) -> None:
    data = icmp.build_echo(type_, identifier, sequence, payload)
    assert data == bytes(inet.ICMP(type=type_, id=identifier, seq=sequence) / Raw(payload))
    parsed = icmp.parse(data)
    assert (parsed.type, parsed.code, parsed.payload) == (type_, 0, payload)
    assert (parsed.identifier, parsed.sequence) == (identifier, sequence)


@given(addresses, addresses, st.binary(max_size=1200), st.integers(68, 1500))
def test_icmp_fragmentation_needed(source: bytes, destination: bytes, payload: bytes, mtu: int) -> None:
    original = ipv4.build(source, destination, ipv4.UDP, udp.build(source, destination, 1, 2, payload))
    data = icmp.build_error(icmp.UNREACHABLE, icmp.FRAGMENTATION_NEEDED, original + b"padding", mtu)
    quote = original[: icmp.QUOTE_LIMIT]
    assert data == bytes(inet.ICMP(type=3, code=4, nexthopmtu=mtu) / Raw(quote))
    parsed = icmp.parse(data)
    assert (parsed.type, parsed.code, parsed.mtu, parsed.payload) == (3, 4, mtu, quote)
    assert len(ipv4.build(source, destination, ipv4.ICMP, data)) <= 576


@given(st.integers(0, 0xFFFFFF), payloads)
def test_vxlan(vni: int, frame: bytes) -> None:
    data = vxlan.build(vni, frame)
    assert data == bytes(scapy_vxlan.VXLAN(vni=vni, flags=8) / Raw(frame))
    assert vxlan.parse(data) == vxlan.Vxlan(vni, frame)


@given(longs)
def test_flags_are_listed_in_the_order_of_their_bits(bits: int) -> None:
    names = tcp.render_flags(bits & 0x1FF).split(",") if bits & 0x1FF else []
    order = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "NS"]
    assert names == [name for place, name in enumerate(order) if bits >> place & 1]

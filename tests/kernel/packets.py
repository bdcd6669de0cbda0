"""Packets that begin a connection, and what comes of them, as bytes: TCP, UDP, SCTP, echo; IPv4 and IPv6.

Written apart from ``netsim.wire`` (but for the CRC of SCTP), for this is to judge netsim. Each connection has
a token that no address translation changes (TCP's sequence number, UDP's payload, SCTP's initiate tag, both
numbers of an echo request, whose ports are 0).
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple, TypeAlias

from netsim.wire import sctp

Ip: TypeAlias = IPv4Address | IPv6Address

TCP, UDP, SCTP, ICMP, ICMP6 = 6, 17, 132, 1, 58
TOKENS = {TCP: 4, UDP: 8, SCTP: 16, ICMP: 4, ICMP6: 4}  # where in a segment the token is
PROTOCOLS = {"TCP": TCP, "UDP": UDP, "SCTP": SCTP}
ETHERTYPES = {4: 0x0800, 6: 0x86DD}
ETHERNET = 14
SYN, RST, SYN_ACK = 0x02, 0x04, 0x12
INIT, INIT_ACK = 1, 2
UDP_BEGINS, UDP_ANSWERS = 0, 1
ECHO = {ICMP: (8, 0), ICMP6: (128, 129)}  # request and reply
UNREACHABLE = {ICMP: (3, 3), ICMP6: (1, 4)}  # type and code of "port unreachable": RFC 792, RFC 4443


class Packet(NamedTuple):
    """The first packet of a connection, or with ``answers`` the one that comes back for it; with ``resets`` a
    reset of TCP, which nobody is seen to get."""

    protocol: int
    source: Ip
    source_port: int
    target: Ip
    port: int
    token: int
    answers: bool = False
    resets: bool = False

    @property
    def answer(self) -> Packet:
        """What the one who got it would say."""
        return Packet(
            self.protocol, self.target, self.port, self.source, self.source_port, self.token, answers=True
        )


class Unreachable(NamedTuple):
    """An ICMP or ICMPv6 port unreachable about the packet of a token, and who sent it."""

    token: int
    source: Ip


def build(packet: Packet) -> bytes:
    """As bytes, without a link header."""
    segment = _segment(packet)
    source, target = packet.source.packed, packet.target.packed
    if packet.source.version == 4:
        header = struct.pack(
            ">BBHHHBBH4s4s", 0x45, 0, 20 + len(segment), 1, 0x4000, 64, packet.protocol, 0, source, target
        )
        header = header[:10] + struct.pack(">H", _checksum(header)) + header[12:]
    else:
        header = struct.pack(">IHBB16s16s", 6 << 28, len(segment), packet.protocol, 64, source, target)
    return header + segment


def frame(data: bytes, target: bytes, source: bytes) -> bytes:
    """Behind an Ethernet header."""
    return target + source + struct.pack(">H", ETHERTYPES[data[0] >> 4]) + data


def read(data: bytes) -> Packet | Unreachable | None:
    """What a packet is of those that matter here. AssertionError if a checksum is wrong."""
    if data[0] >> 4 == 4:
        length = (data[0] & 15) * 4
        protocol, source, target = data[9], data[12:16], data[16:20]
        segment = data[length : int.from_bytes(data[2:4], "big")]
        assert _checksum(data[:length]) == 0, "a wrong checksum of an IPv4 header"
    else:
        protocol, source, target = data[6], data[8:24], data[24:40]
        segment = data[40 : 40 + int.from_bytes(data[4:6], "big")]
    if protocol in UNREACHABLE and segment[0] not in ECHO[protocol]:
        token = _token(segment[8:]) if (segment[0], segment[1]) == UNREACHABLE[protocol] else None
        return Unreachable(token, ip_address(source)) if token is not None else None
    return read_segment(protocol, ip_address(source), ip_address(target), segment)


def read_segment(protocol: int, source: Ip, target: Ip, segment: bytes) -> Packet | None:
    """The packet of a transport header and what is behind it; None for others (a reset, say)."""
    if protocol not in TOKENS:
        return None
    begins, answers = _kind(protocol, segment)
    if not begins and not answers:
        return None
    _verify(protocol, source, target, segment)
    source_port, port = (0, 0) if protocol in ECHO else struct.unpack(">HH", segment[:4])
    token = _token_of_segment(protocol, segment)
    return Packet(protocol, source, source_port, target, port, token, answers=answers)


def _segment(packet: Packet) -> bytes:
    match packet.protocol:
        case 6:
            flags = RST if packet.resets else SYN_ACK if packet.answers else SYN
            acknowledged = packet.token + 1 if packet.answers else 0
            ports = struct.pack(">HHII", packet.source_port, packet.port, packet.token, acknowledged)
            segment, at = ports + struct.pack(">BBHHH", 5 << 4, flags, 64000, 0, 0), 16
        case 17:
            payload = struct.pack(">IB", packet.token, UDP_ANSWERS if packet.answers else UDP_BEGINS)
            segment = struct.pack(">HHHH", packet.source_port, packet.port, 8 + len(payload), 0) + payload
            at = 6
        case 1 | 58:
            kind = ECHO[packet.protocol][packet.answers]
            segment, at = struct.pack(">BBHI", kind, 0, 0, packet.token), 2
            if packet.protocol == ICMP:
                return segment[:at] + struct.pack(">H", _checksum(segment)) + segment[at + 2 :]
        case _:
            kind, tag = (INIT_ACK, packet.token) if packet.answers else (INIT, 0)
            chunk = struct.pack(">BBHIIHHI", kind, 0, 20, packet.token, 65536, 1, 1, 1)
            return sctp.build(packet.source_port, packet.port, tag, chunk)
    checksum = _checksum(_pseudo(packet.protocol, packet.source, packet.target, len(segment)) + segment)
    return segment[:at] + struct.pack(">H", checksum) + segment[at + 2 :]


def _kind(protocol: int, segment: bytes) -> tuple[bool, bool]:
    """Whether a segment begins a connection, and whether it answers to one."""
    if protocol == TCP:
        return segment[13] == SYN, segment[13] == SYN_ACK
    if protocol in ECHO:
        return segment[0] == ECHO[protocol][0], segment[0] == ECHO[protocol][1]
    if protocol == UDP:
        return segment[12] == UDP_BEGINS, segment[12] == UDP_ANSWERS
    return segment[12] == INIT, segment[12] == INIT_ACK


def _token_of_segment(protocol: int, segment: bytes) -> int:
    at = TOKENS[protocol]
    return int.from_bytes(segment[at : at + 4], "big")


def _token(quoted: bytes) -> int | None:
    """The token of a packet that an ICMP error quotes."""
    length, protocol = ((quoted[0] & 15) * 4, quoted[9]) if quoted[0] >> 4 == 4 else (40, quoted[6])
    return _token_of_segment(protocol, quoted[length:]) if protocol in TOKENS else None


def _verify(protocol: int, source: Ip, target: Ip, segment: bytes) -> None:
    if protocol == SCTP:
        sctp.parse(segment)
    else:
        pseudo = b"" if protocol == ICMP else _pseudo(protocol, source, target, len(segment))
        sound = _checksum(pseudo + segment) == 0
        assert sound, f"a wrong checksum in a packet from {source} to {target}"


def _pseudo(protocol: int, source: Ip, target: Ip, length: int) -> bytes:
    return source.packed + target.packed + struct.pack(">II", length, protocol)


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    padded = data + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF

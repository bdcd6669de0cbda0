"""What differs between IPv4 and IPv6 for layer 4: building and reading packets, and the words of ICMP.

A packet and a socket know their family (``Packet.ip``, ``TcpSocket.ip``), so that nobody asks for it packet
by packet. ``family_of`` finds it by a packed address.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

from netsim.base.errors import WireError
from netsim.wire import icmp, icmp6, ipv4, ipv6, tcp, udp

ANY = bytes(4)
ANY6 = bytes(16)
"""Bound to it, a socket takes packets of both families (net.ipv6.bindv6only = 0)."""

Header = ipv4.Ipv4 | ipv6.Ipv6
Message = icmp.Icmp | icmp6.Icmp6
Transport = tcp.Tcp | udp.Udp | icmp.Icmp | icmp6.Icmp6


class Ipv4Family:
    """IPv4 and ICMP. ``problems`` are the names of errors by type and code; ``build_echo`` and
    ``build_error`` take addresses for ICMPv6's checksum."""

    number = 4
    wildcards = (ANY6, ANY)
    header_length = ipv4.HEADER_LENGTH
    least_path_mtu = 552  # net.ipv4.route.min_pmtu
    default_mss = 536  # RFC 9293 section 3.7.1
    largest_payload = 0xFFFF - ipv4.HEADER_LENGTH
    icmp_protocol = ipv4.ICMP
    transports = (ipv4.TCP, ipv4.UDP, ipv4.ICMP)
    echo_request, echo_reply = icmp.ECHO_REQUEST, icmp.ECHO_REPLY
    problems: ClassVar = {
        (icmp.UNREACHABLE, icmp.NET): "net-unreachable",
        (icmp.UNREACHABLE, icmp.HOST): "host-unreachable",
        (icmp.UNREACHABLE, icmp.PORT): "port-unreachable",
        (icmp.UNREACHABLE, icmp.PROTOCOL): "protocol-unreachable",
        (icmp.UNREACHABLE, icmp.FRAGMENTATION_NEEDED): "fragmentation-needed",
        (icmp.UNREACHABLE, icmp.ADMIN_PROHIBITED): "admin-prohibited",
    }
    errors = (icmp.UNREACHABLE, icmp.TIME_EXCEEDED)
    time_exceeded = icmp.TIME_EXCEEDED

    parse = staticmethod(partial(ipv4.parse, verify=False))
    build = staticmethod(ipv4.build)

    @staticmethod
    def transport(header: Header) -> Transport | None:
        """The transport header of a whole packet of one of ``transports``; None when it is damaged."""
        payload, protocol = header.payload, header.protocol
        try:
            if protocol == ipv4.ICMP:
                return icmp.parse(payload)
            pseudo = ipv4.pseudo_header(header.source, header.destination, protocol, len(payload))
            return _READERS[protocol](payload, pseudo)
        except WireError:
            return None

    @staticmethod
    def build_echo(
        source: bytes, destination: bytes, kind: int, identifier: int, sequence: int, payload: bytes
    ) -> bytes:
        return icmp.build_echo(kind, identifier, sequence, payload)

    @staticmethod
    def build_error(source: bytes, destination: bytes, kind: int, code: int, about: bytes, mtu: int) -> bytes:
        """An ICMP error; ``kind`` and ``code`` are those of IPv4."""
        return icmp.build_error(kind, code, about, mtu)

    @staticmethod
    def header_length_of(packet: bytes) -> int:
        return (packet[0] & 0x0F) * 4


class Ipv6Family:
    """IPv6 and ICMPv6."""

    number = 6
    wildcards = (ANY6,)
    header_length = ipv6.HEADER_LENGTH
    least_path_mtu = 1280  # RFC 8201 section 4
    default_mss = 1220  # RFC 9293 section 3.7.1
    largest_payload = 0xFFFF
    icmp_protocol = ipv6.ICMPV6
    transports = (ipv4.TCP, ipv4.UDP, ipv6.ICMPV6)
    echo_request, echo_reply = icmp6.ECHO_REQUEST, icmp6.ECHO_REPLY
    problems: ClassVar = {
        (icmp6.UNREACHABLE, icmp6.NO_ROUTE): "net-unreachable",
        (icmp6.UNREACHABLE, icmp6.ADMIN_PROHIBITED): "admin-prohibited",
        (icmp6.UNREACHABLE, icmp6.ADDRESS): "host-unreachable",
        (icmp6.UNREACHABLE, icmp6.PORT): "port-unreachable",
        (icmp6.PACKET_TOO_BIG, 0): "fragmentation-needed",
        (icmp6.PARAMETER_PROBLEM, icmp6.UNKNOWN_NEXT_HEADER): "protocol-unreachable",
    }
    errors = icmp6.ERRORS
    time_exceeded = icmp6.TIME_EXCEEDED

    parse = staticmethod(ipv6.parse)

    @staticmethod
    def build(
        source: bytes, destination: bytes, protocol: int, payload: bytes,
        *, ttl: int = ipv6.DEFAULT_HOP_LIMIT, identification: int = 0, dont_fragment: bool = True,
    ) -> bytes:  # fmt: skip
        """A packet of this host; the other two arguments are IPv4's."""
        return ipv6.build(source, destination, protocol, payload, hop_limit=ttl)

    @staticmethod
    def transport(header: Header) -> Transport | None:
        """As for IPv4; a UDP checksum there must be (RFC 8200 section 8.1)."""
        payload, protocol = header.payload, header.protocol
        pseudo = ipv6.pseudo_header(header.source, header.destination, protocol, len(payload))
        try:
            if protocol == ipv6.ICMPV6:
                return icmp6.parse(payload, pseudo)
            if protocol == ipv4.UDP and payload[6:8] == b"\0\0":
                return None
            return _READERS[protocol](payload, pseudo)
        except WireError:
            return None

    build_echo = staticmethod(icmp6.build_echo)
    build_error = staticmethod(icmp6.build_error)

    @staticmethod
    def header_length_of(packet: bytes) -> int:
        return ipv6.HEADER_LENGTH


_READERS: dict[int, Callable[[bytes, bytes], Transport]] = {ipv4.TCP: tcp.parse, ipv4.UDP: udp.parse}
Family = Ipv4Family | Ipv6Family
IPV4, IPV6 = Ipv4Family(), Ipv6Family()
_FAMILIES: dict[int, Family] = {4: IPV4, 16: IPV6}


def family_of(address: bytes) -> Family:
    """The family of a packed address."""
    return _FAMILIES[len(address)]

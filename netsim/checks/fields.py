"""The fields of captured packets that checks may ask for, under the names that Wireshark gives them.

A packet has a field as often as it has the header: one with a VXLAN envelope has two ``ip.src``. Which fields
there are is one table.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from netsim.base.address import render_ip, render_mac
from netsim.base.errors import UsageError
from netsim.capture.dissect import Http, Layer, layers
from netsim.wire import arp, dns, ethernet, icmp, icmp6, ipv4, ipv6, ndp, tcp, udp, vxlan

Value = str | int
_Reader = Callable[[Any], Iterable[Value]]


def _flag(bit: int) -> _Reader:
    return lambda segment: [int(bool(segment.flags & bit))]


def _dns_addresses(rtype: int) -> _Reader:
    return lambda message: [dns.render_rdata(r) for r in message.answers if r.rtype == rtype]


def _ndp_target(kind: int) -> _Reader:
    return lambda message: [render_ip(message.target)] if message.type == kind else []


# Names are Wireshark's (its display filter reference); each reads from one kind of layer.
FIELDS: Mapping[str, tuple[type[Any] | tuple[type[Any], ...], _Reader]] = {
    "eth.src": (ethernet.Ethernet, lambda frame: [render_mac(frame.source)]),
    "eth.dst": (ethernet.Ethernet, lambda frame: [render_mac(frame.destination)]),
    "arp.opcode": (arp.Arp, lambda message: [message.operation]),
    "arp.src.proto_ipv4": (arp.Arp, lambda message: [render_ip(message.sender_ip)]),
    "arp.dst.proto_ipv4": (arp.Arp, lambda message: [render_ip(message.target_ip)]),
    "ip.src": (ipv4.Ipv4, lambda packet: [render_ip(packet.source)]),
    "ip.dst": (ipv4.Ipv4, lambda packet: [render_ip(packet.destination)]),
    "ip.addr": (ipv4.Ipv4, lambda packet: [render_ip(packet.source), render_ip(packet.destination)]),
    "ip.ttl": (ipv4.Ipv4, lambda packet: [packet.ttl]),
    "ip.proto": (ipv4.Ipv4, lambda packet: [packet.protocol]),
    "ip.flags.df": (ipv4.Ipv4, lambda packet: [int(packet.dont_fragment)]),
    "ip.flags.mf": (ipv4.Ipv4, lambda packet: [int(packet.more_fragments)]),
    "ipv6.src": (ipv6.Ipv6, lambda packet: [render_ip(packet.source)]),
    "ipv6.dst": (ipv6.Ipv6, lambda packet: [render_ip(packet.destination)]),
    "ipv6.addr": (ipv6.Ipv6, lambda packet: [render_ip(packet.source), render_ip(packet.destination)]),
    "ipv6.hlim": (ipv6.Ipv6, lambda packet: [packet.hop_limit]),
    "ipv6.nxt": (ipv6.Ipv6, lambda packet: [packet.protocol]),
    "ipv6.fraghdr.more": (ipv6.Fragment, lambda piece: [int(piece.more)]),
    "icmpv6.type": ((icmp6.Icmp6, ndp.Ndp), lambda message: [message.type]),
    "icmpv6.code": (icmp6.Icmp6, lambda message: [message.code]),
    "icmpv6.mtu": (icmp6.Icmp6, lambda error: [error.mtu] if error.type == icmp6.PACKET_TOO_BIG else []),
    "icmpv6.nd.ns.target_address": (ndp.Ndp, _ndp_target(ndp.SOLICITATION)),
    "icmpv6.nd.na.target_address": (ndp.Ndp, _ndp_target(ndp.ADVERTISEMENT)),
    "icmp.type": (icmp.Icmp, lambda message: [message.type]),
    "icmp.code": (icmp.Icmp, lambda message: [message.code]),
    "icmp.mtu": (icmp.Icmp, lambda message: [message.mtu] if message.type == icmp.UNREACHABLE else []),
    "udp.srcport": (udp.Udp, lambda datagram: [datagram.source_port]),
    "udp.dstport": (udp.Udp, lambda datagram: [datagram.destination_port]),
    "udp.port": (udp.Udp, lambda datagram: [datagram.source_port, datagram.destination_port]),
    "tcp.srcport": (tcp.Tcp, lambda segment: [segment.source_port]),
    "tcp.dstport": (tcp.Tcp, lambda segment: [segment.destination_port]),
    "tcp.port": (tcp.Tcp, lambda segment: [segment.source_port, segment.destination_port]),
    "tcp.flags.syn": (tcp.Tcp, _flag(tcp.SYN)),
    "tcp.flags.ack": (tcp.Tcp, _flag(tcp.ACK)),
    "tcp.flags.fin": (tcp.Tcp, _flag(tcp.FIN)),
    "tcp.flags.reset": (tcp.Tcp, _flag(tcp.RST)),
    "tcp.options.mss_val": (tcp.Tcp, lambda segment: [] if segment.mss is None else [segment.mss]),
    "vxlan.vni": (vxlan.Vxlan, lambda tunnel: [tunnel.vni]),
    "dns.qry.name": (dns.Message, lambda message: [q.name.rstrip(".") for q in message.questions]),
    "dns.qry.type": (dns.Message, lambda message: [q.qtype for q in message.questions]),
    "dns.flags.response": (dns.Message, lambda message: [int(message.response)]),
    "dns.flags.rcode": (dns.Message, lambda message: [int(message.rcode)] if message.response else []),
    "dns.a": (dns.Message, _dns_addresses(dns.A)),
    "dns.aaaa": (dns.Message, _dns_addresses(dns.AAAA)),
    "http.request.line": (Http, lambda http: [] if http.line.startswith("HTTP/") else [http.line]),
    "http.response.line": (Http, lambda http: [http.line] if http.line.startswith("HTTP/") else []),
}


def values(frame: bytes, field: str) -> list[Value]:
    """All values of a field in a frame, outermost first; UsageError for a field that is not in the table."""
    known = FIELDS.get(field)
    if known is None:
        near = difflib.get_close_matches(field, FIELDS, n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(near)}?" if near else f"the fields are {', '.join(FIELDS)}"
        raise UsageError(f"there is no field {field}", hint=hint)
    kind, read = known
    found: tuple[Layer, ...] = layers(frame)
    return [value for layer in found if isinstance(layer, kind) for value in read(layer)]


def equal(value: Value, wanted: Value) -> bool:
    """Numbers as numbers, texts without regard to case and to the dot at the end of a name."""
    if isinstance(value, int) and isinstance(wanted, int):
        return value == wanted
    return str(value).lower().rstrip(".") == str(wanted).lower().rstrip(".")

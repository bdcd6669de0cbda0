"""A frame as its layers, and as the one line that tcpdump and Wireshark would show for it.

``layers`` is what filters and checks look at; ``summarize`` is for people. Both take any bytes: what cannot
be read becomes a ``Malformed`` layer with its reason. Nothing is remembered from packet to packet, so TCP
numbers are the absolute ones and fragments stay fragments.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from netsim.base.address import BROADCAST, render_ip, render_mac
from netsim.base.errors import WireError
from netsim.wire import arp, dns, ethernet, icmp, icmp6, ipv4, ipv6, ndp, tcp, udp, vxlan

if TYPE_CHECKING:
    from netsim.wire import bgp

Names: TypeAlias = Mapping[bytes, str]
"""What to call packed addresses (``pod dev/jump``)."""

_DNS_PORT = 53
_BGP_PORT = 179
_VXLAN_PORTS = (vxlan.LINUX_PORT, vxlan.IANA_PORT)
_HTTP_LINE = re.compile(rb"([A-Z]{3,7} [^ \r\n]+ HTTP/1\.[01]|HTTP/1\.[01] \d{3}[^\r\n]*)\r\n")


class Http(NamedTuple):
    """The first line of a request or a response; its layer is the ``tcp.Tcp`` before it."""

    line: str


class Bgp(NamedTuple):
    """One BGP message, in words; AS numbers are taken to have four octets, as OPEN is not looked up."""

    text: str


class Malformed(NamedTuple):
    """What followed could not be read: ``header`` is the protocol that it should have been."""

    header: str
    reason: str


Layer: TypeAlias = (
    ethernet.Ethernet
    | arp.Arp
    | ipv4.Ipv4
    | ipv6.Ipv6
    | ipv6.Fragment
    | icmp.Icmp
    | icmp6.Icmp6
    | ndp.Ndp
    | udp.Udp
    | tcp.Tcp
    | vxlan.Vxlan
    | dns.Message
    | Http
    | Bgp
    | Malformed
)


class Summary(NamedTuple):
    """One line about a packet, in Wireshark's columns."""

    source: str
    destination: str
    protocol: str
    info: str

    def __str__(self) -> str:
        return f"{self.source} → {self.destination} {self.protocol} {self.info}"


# --- layers ---


def layers(frame: bytes) -> tuple[Layer, ...]:
    """The headers of a frame, outermost first, through VXLAN into the inner frame.

    A fragment ends with its IPv4 layer, or in IPv6 with its fragment header; a TCP segment that holds several
    DNS or BGP messages lists them all.
    """
    found: list[Layer] = []
    try:
        _read_ethernet(frame, found)
    except WireError as error:
        found.append(Malformed(error.header, str(error).removeprefix(f"{error.header}: ")))
    return tuple(found)


def _read_ethernet(frame: bytes, found: list[Layer]) -> None:
    outer = ethernet.parse(frame)
    found.append(outer)
    if outer.ethertype == ethernet.ETHERTYPE_ARP:
        found.append(arp.parse(outer.payload))
    elif outer.ethertype == ethernet.ETHERTYPE_IPV4:
        _read_ipv4(outer.payload, found)
    elif outer.ethertype == ethernet.ETHERTYPE_IPV6:
        _read_ipv6(outer.payload, found)


def _read_ipv4(data: bytes, found: list[Layer]) -> None:
    packet = ipv4.parse(data)
    found.append(packet)
    if _is_fragment(packet):
        return
    payload = packet.payload
    pseudo = ipv4.pseudo_header(packet.source, packet.destination, packet.protocol, len(payload))
    if packet.protocol == ipv4.UDP:
        _read_udp(udp.parse(payload, pseudo), found)
    elif packet.protocol == ipv4.TCP:
        _read_tcp(tcp.parse(payload, pseudo), found)
    elif packet.protocol == ipv4.ICMP:
        found.append(icmp.parse(payload))


def _read_ipv6(data: bytes, found: list[Layer]) -> None:
    packet = ipv6.parse(data)
    found.append(packet)
    payload = packet.payload
    pseudo = ipv6.pseudo_header(packet.source, packet.destination, packet.protocol, len(payload))
    if packet.protocol == ipv6.FRAGMENT:
        found.append(ipv6.parse_fragment(packet))
    elif packet.protocol == ipv4.UDP:
        _read_udp(udp.parse(payload, pseudo), found)
    elif packet.protocol == ipv4.TCP:
        _read_tcp(tcp.parse(payload, pseudo), found)
    elif packet.protocol == ipv6.ICMPV6:
        message = icmp6.parse(payload, pseudo)
        about_neighbours = message.type in (ndp.SOLICITATION, ndp.ADVERTISEMENT)
        found.append(ndp.parse(packet) if about_neighbours else message)


def _read_udp(datagram: udp.Udp, found: list[Layer]) -> None:
    found.append(datagram)
    if datagram.destination_port in _VXLAN_PORTS:
        tunnelled = vxlan.parse(datagram.payload)
        found.append(tunnelled)
        _read_ethernet(tunnelled.frame, found)
    elif _DNS_PORT in (datagram.source_port, datagram.destination_port):
        found.append(dns.parse(datagram.payload))


def _read_tcp(segment: tcp.Tcp, found: list[Layer]) -> None:
    found.append(segment)
    payload = segment.payload
    if _DNS_PORT in (segment.source_port, segment.destination_port):
        # RFC 1035 4.2.2: each message after its length. A message cut by the segment is not looked at.
        while len(payload) > 2:
            end = 2 + int.from_bytes(payload[:2], "big")
            if end > len(payload):
                return
            found.append(dns.parse(payload[2:end]))
            payload = payload[end:]
    elif _BGP_PORT in (segment.source_port, segment.destination_port):
        found += _bgp_messages(payload)
    elif line := _HTTP_LINE.match(payload):
        found.append(Http(line[1].decode("latin-1")))


def _bgp_messages(payload: bytes) -> list[Layer]:
    """The whole messages of a segment that begins with one."""
    from netsim.wire import bgp  # takes 9 ms, which few captures need

    if not payload.startswith(bgp.MARKER):
        return []
    return [Bgp(bgp.describe(_bgp_message(frame))) for frame in bgp.split(payload)[0]]


def _bgp_message(frame: bgp.Frame) -> bgp.Message:
    """The message; an UPDATE that says nothing of IPv4 routes may say something of IPv6 ones."""
    from netsim.wire import bgp

    message = bgp.parse(frame)
    if isinstance(message, bgp.Update) and not (message.announced or message.withdrawn):
        return bgp.parse(frame, family=6)
    return message


def _is_fragment(packet: ipv4.Ipv4) -> bool:
    return packet.more_fragments or packet.fragment_offset > 0


# --- one line ---


def summarize(frame: bytes, names: Names | None = None) -> Summary:
    """The line for a frame, with ``names`` instead of the addresses that they know."""
    return summary_of_layers(layers(frame), names or {})


def summary_of_layers(found: Sequence[Layer], names: Names) -> Summary:
    """The line for layers that ``layers`` gave; those of a tunnelled frame stand in brackets."""
    match found:
        case [ethernet.Ethernet() as frame, arp.Arp() as message, *_]:
            return _arp_summary(frame, message)
        case [ethernet.Ethernet(), ipv4.Ipv4() as packet, *rest]:
            protocol, info = _ipv4_info(packet, rest, names)
            return Summary(_name(packet.source, names), _name(packet.destination, names), protocol, info)
        case [ethernet.Ethernet(), ipv6.Ipv6() as packet, *rest]:
            protocol, info = _ipv6_info(packet, rest, names)
            return Summary(_name(packet.source, names), _name(packet.destination, names), protocol, info)
        case [ethernet.Ethernet() as frame, *rest]:
            protocol, info = _frame_info(frame, rest)
            return Summary(render_mac(frame.source), _mac(frame.destination), protocol, info)
        case [Malformed() as damage, *_]:
            return Summary("?", "?", "Ethernet", _damage(damage))
    return Summary("?", "?", "Ethernet", "no bytes")


_ETHERTYPES = {
    ethernet.ETHERTYPE_IPV4: "IPv4",
    ethernet.ETHERTYPE_ARP: "ARP",
    ethernet.ETHERTYPE_IPV6: "IPv6",
    0x8100: "VLAN",
    0x88CC: "LLDP",
}
_PROTOCOLS = {
    ipv4.ICMP: "ICMP",
    2: "IGMP",
    4: "IPIP",
    ipv4.TCP: "TCP",
    ipv4.UDP: "UDP",
    47: "GRE",
    50: "ESP",
    ipv6.ICMPV6: "ICMPv6",
    89: "OSPF",
    132: "SCTP",
}


def _frame_info(frame: ethernet.Ethernet, rest: Sequence[Layer]) -> tuple[str, str]:
    protocol = _ETHERTYPES.get(frame.ethertype, f"0x{frame.ethertype:04x}")
    if rest and isinstance(rest[0], Malformed):
        return protocol, _damage(rest[0])
    return protocol, f"{len(frame.payload)} bytes"


def _arp_summary(frame: ethernet.Ethernet, message: arp.Arp) -> Summary:
    sender, target = render_ip(message.sender_ip), render_ip(message.target_ip)
    if message.sender_ip == message.target_ip:
        kind = "Reply" if message.operation == arp.REPLY else "Request"
        info = f"Gratuitous ARP for {sender} ({kind})"
    elif message.operation == arp.REQUEST:
        info = f"Who has {target}? Tell {sender}"
    elif message.operation == arp.REPLY:
        info = f"{sender} is at {render_mac(message.sender_mac)}"
    else:
        info = f"operation {message.operation}"
    return Summary(render_mac(frame.source), _mac(frame.destination), "ARP", info)


def _ipv4_info(packet: ipv4.Ipv4, rest: Sequence[Layer], names: Names) -> tuple[str, str]:
    transport = _PROTOCOLS.get(packet.protocol, f"protocol {packet.protocol}")
    if _is_fragment(packet):
        return "IPv4", (
            f"Fragmented IP protocol (proto={transport}, off={packet.fragment_offset}, "
            f"id=0x{packet.identification:04x}, {'more to come' if packet.more_fragments else 'the last'})"
        )
    if rest and isinstance(rest[0], icmp.Icmp):
        return "ICMP", _icmp_info(rest[0], packet.ttl, names)
    return _transport_info(packet, transport, rest, names)


def _transport_info(
    packet: ipv4.Ipv4 | ipv6.Ipv6, transport: str, rest: Sequence[Layer], names: Names
) -> tuple[str, str]:
    match rest:
        case [udp.Udp() as datagram, *inner]:
            return _udp_info(datagram, inner, names)
        case [tcp.Tcp() as segment, *inner]:
            return _tcp_info(segment, inner)
        case [Malformed() as damage]:
            return transport, _damage(damage)
    return transport, f"{len(packet.payload)} bytes"


def _ipv6_info(packet: ipv6.Ipv6, rest: Sequence[Layer], names: Names) -> tuple[str, str]:
    transport = _PROTOCOLS.get(packet.protocol, f"next header {packet.protocol}")
    match rest:
        case [ipv6.Fragment() as piece]:
            carried = _PROTOCOLS.get(piece.protocol, f"next header {piece.protocol}")
            return "IPv6", (
                f"Fragmented IP protocol (proto={carried}, off={piece.offset}, "
                f"id=0x{piece.identification:08x}, {'more to come' if piece.more else 'the last'})"
            )
        case [ndp.Ndp() as message]:
            return "ICMPv6", _ndp_info(message, names)
        case [icmp6.Icmp6() as message]:
            return "ICMPv6", _icmp6_info(message, packet.hop_limit, names)
    return _transport_info(packet, transport, rest, names)


def _udp_info(datagram: udp.Udp, inner: Sequence[Layer], names: Names) -> tuple[str, str]:
    ports = f"{datagram.source_port} → {datagram.destination_port}"
    match inner:
        case [vxlan.Vxlan() as tunnel, *frame]:
            return "VXLAN", f"vni {tunnel.vni} [{summary_of_layers(frame, names)}]"
        case [dns.Message() as message]:
            return "DNS", _dns_info(message)
        case [Malformed(header="vxlan") as damage]:
            return "VXLAN", f"{ports} {_damage(damage)}"
        case [Malformed() as damage]:
            return "DNS", f"{ports} {_damage(damage)}"
    return "UDP", f"{ports} Len={len(datagram.payload)}"


def _tcp_info(segment: tcp.Tcp, inner: Sequence[Layer]) -> tuple[str, str]:
    match inner:
        case [Http() as http]:
            return "HTTP", http.line
        case [dns.Message(), *_]:
            return "DNS", "; ".join(_dns_info(layer) for layer in inner if isinstance(layer, dns.Message))
        case [Bgp(), *_]:
            return "BGP", "; ".join(layer.text for layer in inner if isinstance(layer, Bgp))
    flags = tcp.render_flags(segment.flags).replace(",", ", ")
    info = f"{segment.source_port} → {segment.destination_port} [{flags}] Seq={segment.sequence}"
    if segment.flags & tcp.ACK:
        info += f" Ack={segment.acknowledgement}"
    info += f" Win={segment.window} Len={len(segment.payload)}"
    if segment.mss is not None:
        info += f" MSS={segment.mss}"
    if inner and isinstance(inner[0], Malformed):
        info += f" {_damage(inner[0])}"
    return "TCP", info


_UNREACHABLE_CODES = {
    icmp.NET: "Network unreachable",
    icmp.HOST: "Host unreachable",
    icmp.PROTOCOL: "Protocol unreachable",
    icmp.PORT: "Port unreachable",
    icmp.FRAGMENTATION_NEEDED: "Fragmentation needed",
    9: "Network administratively prohibited",
    10: "Host administratively prohibited",
    icmp.ADMIN_PROHIBITED: "Communication administratively filtered",
}
_EXCEEDED_CODES = {0: "Time to live exceeded in transit", 1: "Fragment reassembly time exceeded"}


def _icmp_info(message: icmp.Icmp, ttl: int, names: Names) -> str:
    if message.type in (icmp.ECHO_REQUEST, icmp.ECHO_REPLY):
        kind = "request" if message.type == icmp.ECHO_REQUEST else "reply"
        numbers = f"id=0x{message.identifier:04x}, seq={message.sequence}, ttl={ttl}"
        return f"Echo (ping) {kind} {numbers}"
    if message.type == icmp.UNREACHABLE:
        info = f"Destination unreachable ({_UNREACHABLE_CODES.get(message.code, f'code {message.code}')})"
        if message.code == icmp.FRAGMENTATION_NEEDED:
            info += f", next hop MTU {message.mtu}"
    elif message.type == icmp.TIME_EXCEEDED:
        info = f"Time-to-live exceeded ({_EXCEEDED_CODES.get(message.code, f'code {message.code}')})"
    else:
        return f"Type {message.type}, code {message.code}"
    return f"{info} for [{_quote_info(message.payload, names)}]"


def _ndp_info(message: ndp.Ndp, names: Names) -> str:
    target = _name(message.target, names)
    if message.type == ndp.SOLICITATION:
        return f"Neighbor Solicitation for {target}" + (
            f" from {render_mac(message.mac)}" if message.mac is not None else ""
        )
    flags = ("rtr", message.router), ("sol", message.solicited), ("ovr", message.override)
    said = ", ".join(word for word, is_set in flags if is_set)
    return f"Neighbor Advertisement {target} ({said})" + (
        f" is at {render_mac(message.mac)}" if message.mac is not None else ""
    )


_UNREACHABLE6_CODES = {
    icmp6.NO_ROUTE: "no route to destination",
    icmp6.ADMIN_PROHIBITED: "Administratively prohibited",
    icmp6.ADDRESS: "Address unreachable",
    icmp6.PORT: "Port unreachable",
}


def _icmp6_info(message: icmp6.Icmp6, hop_limit: int, names: Names) -> str:
    code = f"code {message.code}"
    if message.type in (icmp6.ECHO_REQUEST, icmp6.ECHO_REPLY):
        kind = "request" if message.type == icmp6.ECHO_REQUEST else "reply"
        numbers = f"id=0x{message.identifier:04x}, seq={message.sequence}, hop limit={hop_limit}"
        return f"Echo (ping) {kind} {numbers}"
    if message.type == icmp6.UNREACHABLE:
        info = f"Destination Unreachable ({_UNREACHABLE6_CODES.get(message.code, code)})"
    elif message.type == icmp6.PACKET_TOO_BIG:
        info = f"Packet Too Big, MTU {message.mtu}"
    elif message.type == icmp6.TIME_EXCEEDED:
        info = f"Time Exceeded ({'hop limit exceeded in transit' if message.code == 0 else code})"
    elif message.type == icmp6.PARAMETER_PROBLEM:
        unknown = message.code == icmp6.UNKNOWN_NEXT_HEADER
        info = f"Parameter Problem ({'unrecognized Next Header type encountered' if unknown else code})"
    else:
        return f"Type {message.type}, {code}"
    return f"{info} for [{_quote6_info(message.payload, names)}]"


def _quote6_info(quote: bytes, names: Names) -> str:
    try:
        packet = ipv6.parse(quote.ljust(ipv6.HEADER_LENGTH + int.from_bytes(quote[4:6], "big"), b"\0"))
    except WireError as error:
        return f"malformed: {error}"
    return _packet_info(packet, names, ports=True)


def _quote_info(quote: bytes, names: Names) -> str:
    """The addresses and ports of the packet that an ICMP error is about, of which the rest may be cut off."""
    try:
        # A router's quote has the total length of the whole packet; its header checksum need not fit.
        packet = ipv4.parse(quote.ljust(int.from_bytes(quote[2:4], "big"), b"\0"), verify=False)
    except WireError as error:
        return f"malformed: {error}"
    return _packet_info(packet, names, ports=not packet.fragment_offset)


def _packet_info(packet: ipv4.Ipv4 | ipv6.Ipv6, names: Names, *, ports: bool) -> str:
    info = f"{_name(packet.source, names)} → {_name(packet.destination, names)} "
    info += _PROTOCOLS.get(packet.protocol, f"protocol {packet.protocol}")
    if ports and packet.protocol in (ipv4.TCP, ipv4.UDP):
        source, destination = (int.from_bytes(packet.payload[at : at + 2], "big") for at in (0, 2))
        info += f" {source} → {destination}"
    return info


_RCODES: dict[int, str] = {
    dns.Rcode.FORMERR: "Format error",
    dns.Rcode.SERVFAIL: "Server failure",
    dns.Rcode.NXDOMAIN: "No such name",
    dns.Rcode.NOTIMP: "Not implemented",
    dns.Rcode.REFUSED: "Refused",
    dns.Rcode.BADVERS: "Bad EDNS version",
}
_SHOWN_DATA = (dns.A, dns.AAAA, dns.CNAME, dns.NS, dns.PTR, dns.SRV, dns.MX)


def _dns_info(message: dns.Message) -> str:
    kind = "Standard query" if message.opcode == dns.QUERY else f"Opcode {message.opcode}"
    parts = [kind, "response" if message.response else "", f"0x{message.id:04x}"]
    if message.rcode != dns.Rcode.NOERROR:
        parts.append(_RCODES.get(message.rcode, f"rcode {message.rcode}"))
    parts += [f"{_dns_type(question.qtype)} {_dns_name(question.name)}" for question in message.questions]
    parts += [_dns_record(record) for record in (*message.answers, *message.authority, *message.additional)]
    if message.edns is not None:
        parts.append("OPT")
    if message.truncated:
        parts.append("[truncated]")
    return " ".join(part for part in parts if part)


def _dns_record(record: dns.Record) -> str:
    kind = _dns_type(record.rtype)
    if record.rtype in _SHOWN_DATA:
        return f"{kind} {_dns_name(dns.render_rdata(record))}"
    if record.rtype == dns.SOA:
        return f"{kind} {_dns_name(record.data.mname)}"
    return kind


def _dns_type(number: int) -> str:
    return dns.TYPE_NAMES.get(number, f"TYPE{number}")


def _dns_name(name: str) -> str:
    """Without the final dot, as Wireshark shows it; the root as such."""
    return name.removesuffix(".") or "<Root>"


def _name(address: bytes, names: Names) -> str:
    return names.get(address) or render_ip(address)


def _mac(address: bytes) -> str:
    return "Broadcast" if address == BROADCAST else render_mac(address)


def _damage(damage: Malformed) -> str:
    return f"[malformed {damage.header}: {damage.reason}]"

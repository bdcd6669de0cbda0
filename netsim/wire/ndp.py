"""Neighbour discovery (RFC 4861): who has an IPv6 address, and who says so. Of it, solicitations and
advertisements; options other than link-layer addresses are skipped.
"""

from __future__ import annotations

from typing import NamedTuple

from netsim.base.errors import WireError
from netsim.wire import ethernet, icmp6, ipv6

SOLICITATION = 135
ADVERTISEMENT = 136
HOP_LIMIT = 255  # what no router has passed on (section 7.1)
ALL_NODES = bytes.fromhex("ff02") + bytes(13) + b"\x01"
UNSPECIFIED = bytes(16)

_GROUP_MAC = b"\x33\x33"  # RFC 2464 section 7
_SOLICITED_NODE = bytes.fromhex("ff02 0000 0000 0000 0000 0001 ff")  # RFC 4291 section 2.7.1
_SOLICITED_NODE_MAC = _GROUP_MAC + b"\xff"
_ROUTER, _SOLICITED, _OVERRIDE = 0x80, 0x40, 0x20
_SOURCE_MAC, _TARGET_MAC = 1, 2  # option types
_OPTION_OF = {SOLICITATION: _SOURCE_MAC, ADVERTISEMENT: _TARGET_MAC}
_TYPE_AT = ethernet.HEADER_LENGTH + ipv6.HEADER_LENGTH
_TARGET_AT = slice(_TYPE_AT + 8, _TYPE_AT + 24)


class Ndp(NamedTuple):
    """One message. ``mac`` is the sender's, if it tells; the three flags are an advertisement's."""

    type: int
    target: bytes
    mac: bytes | None = None
    router: bool = False
    solicited: bool = False
    override: bool = False


def parse(packet: ipv6.Ipv6) -> Ndp:
    """Read a message and check what sections 7.1.1 and 7.1.2 ask to be checked."""
    pseudo = ipv6.pseudo_header(packet.source, packet.destination, ipv6.ICMPV6, len(packet.payload))
    message = icmp6.parse(packet.payload, pseudo)
    if message.type not in _OPTION_OF:
        raise WireError("ndp", f"ICMPv6 type {message.type} is no message about neighbours")
    if packet.hop_limit != HOP_LIMIT:
        raise WireError("ndp", f"hop limit {packet.hop_limit}: it comes from behind a router")
    target, options = message.payload[:16], message.payload[16:]
    if message.code or len(target) < 16 or target[0] == 0xFF:
        raise WireError("ndp", "no target, or one that is no single host's")
    flags = message.rest[0] if message.type == ADVERTISEMENT else 0
    if flags & _SOLICITED and packet.destination[0] == 0xFF:
        raise WireError("ndp", "an answer that is sent to a group")
    mac = _link_layer_address(options, _OPTION_OF[message.type])
    of_nobody = message.type == SOLICITATION and packet.source == UNSPECIFIED
    if of_nobody and (mac is not None or packet.destination != solicited_node(target)):
        raise WireError("ndp", "a question of nobody that is not one about its own address")
    return Ndp(
        message.type, target, mac, bool(flags & _ROUTER), bool(flags & _SOLICITED), bool(flags & _OVERRIDE)
    )


def _link_layer_address(options: bytes, wanted: int) -> bytes | None:
    found = None
    while options:
        length = options[1] * 8 if len(options) > 1 else 0
        if not length or length > len(options):
            raise WireError("ndp", "an option of length 0, or one that is cut")
        if options[0] == wanted and length == 8:
            found = options[2:8]
        options = options[length:]
    return found


def build(source: bytes, destination: bytes, message: Ndp) -> bytes:
    """The whole IPv6 packet."""
    flags = (
        (_ROUTER if message.router else 0)
        | (_SOLICITED if message.solicited else 0)
        | (_OVERRIDE if message.override else 0)
    )
    body = message.target
    if message.mac is not None:
        body += bytes((_OPTION_OF[message.type], 1)) + message.mac
    data = icmp6.build(source, destination, message.type, 0, flags << 24, body)
    return ipv6.build(source, destination, ipv6.ICMPV6, data, hop_limit=HOP_LIMIT)


def solicited_node(address: bytes) -> bytes:
    """The group in which the owner of an address listens for questions."""
    return _SOLICITED_NODE + address[-3:]


def group_mac(group: bytes) -> bytes:
    """The MAC to which packets for a group are sent."""
    return _GROUP_MAC + group[-4:]


ALL_NODES_MAC = group_mac(ALL_NODES)


def asks_in_group(mac: bytes, address: bytes) -> bool:
    """Whether a frame to this MAC may be a question for the address."""
    return mac[:3] == _SOLICITED_NODE_MAC and mac[3:6] == address[-3:]


def is_group(mac: bytes) -> bool:
    """Whether a MAC is that of a group of IPv6."""
    return mac[:2] == _GROUP_MAC


def kind_of_frame(data: bytes) -> int:
    """The message type of a frame that looks like neighbour discovery, 0 of any other."""
    if data[12:14] != b"\x86\xdd" or len(data) < _TARGET_AT.stop or data[20] != ipv6.ICMPV6:
        return 0
    return data[_TYPE_AT] if data[_TYPE_AT] in _OPTION_OF else 0


def target_of_frame(data: bytes) -> bytes:
    """The address that such a frame is about."""
    return data[_TARGET_AT]

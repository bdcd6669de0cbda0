"""BGP-4 messages (RFC 4271 section 4), and how they are cut out of a TCP byte stream.

Known beside the base protocol: capabilities (RFC 5492), multiprotocol unicast routes of IPv4 and IPv6 (RFC
4760, 2545), AS numbers of four octets (RFC 6793), route refresh (RFC 2918). A session speaks of one family of
routes, which its reader is told. Everything malformed raises ``BgpError`` with the code and
subcode of the NOTIFICATION that section 6 demands. What a message means is for ``net.bgp``.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias, assert_never

from netsim.base.address import render_ip
from netsim.wire import bgp_errors as errors
from netsim.wire.bgp_attributes import (
    AFIS,
    AS_TRANS,
    MAX_TWO_OCTET,
    NO_ATTRIBUTES,
    UNICAST,
    PathAttributes,
    Prefix,
    build_attributes,
    build_prefixes,
    build_reached,
    build_unreached,
    parse_attributes,
    parse_prefixes,
    render_path,
)
from netsim.wire.bgp_errors import BgpError, ErrorCode, error_text

PORT = 179
VERSION = 4
HEADER_LENGTH = 19
MAX_LENGTH = 4096
MARKER = b"\xff" * 16

OPEN, UPDATE, NOTIFICATION, KEEPALIVE, ROUTE_REFRESH = 1, 2, 3, 4, 5

CAPABILITIES = 2  # the optional parameter that holds them
MULTIPROTOCOL, ROUTE_REFRESH_CAPABILITY, FOUR_OCTET_AS = 1, 2, 65  # capability codes
_CAPABILITY_LENGTHS = {MULTIPROTOCOL: 4, ROUTE_REFRESH_CAPABILITY: 0, FOUR_OCTET_AS: 4}

_MIN_LENGTHS = {OPEN: 29, UPDATE: 23, NOTIFICATION: 21, KEEPALIVE: 19, ROUTE_REFRESH: 23}
_MAX_LENGTHS = {KEEPALIVE: 19, ROUTE_REFRESH: 23}
_HEADER = struct.Struct("!16sHB")
_OPEN = struct.Struct("!BHH4sB")
_ROOM = MAX_LENGTH - 23  # what withdrawn routes, attributes and prefixes of one UPDATE share
_LONGEST_PREFIX = 17
_MP_HEAD = 25  # of MP_REACH_NLRI with an IPv6 next hop: what stands before its prefixes


class Frame(NamedTuple):
    """A message of the stream that has not been read yet."""

    kind: int
    body: bytes


class Capability(NamedTuple):
    """One capability as it is announced (RFC 5492)."""

    code: int
    value: bytes


class Open(NamedTuple):
    """``my_as`` is the field of 16 bits; ``asn`` is the AS that the speaker is in. Times in seconds."""

    my_as: int
    hold_time: int
    identifier: bytes
    capabilities: tuple[Capability, ...] = ()
    version: int = VERSION

    @property
    def four_octet(self) -> bool:
        """Whether the speaker knows AS numbers of four octets."""
        return any(capability.code == FOUR_OCTET_AS for capability in self.capabilities)

    @property
    def asn(self) -> int:
        for capability in self.capabilities:
            if capability.code == FOUR_OCTET_AS:
                return int.from_bytes(capability.value, "big")
        return self.my_as

    def speaks(self, family: int) -> bool:
        """Whether it speaks of a family's unicast routes: of IPv4, as one that names no family does (RFC 4760
        section 8)."""
        named = [capability.value for capability in self.capabilities if capability.code == MULTIPROTOCOL]
        return UNICASTS[family].value in named or (family == 4 and not named)

    @property
    def route_refresh(self) -> bool:
        return any(capability.code == ROUTE_REFRESH_CAPABILITY for capability in self.capabilities)


class Update(NamedTuple):
    """Prefixes withdrawn, and prefixes announced with the attributes that they share."""

    withdrawn: tuple[Prefix, ...] = ()
    attributes: PathAttributes = NO_ATTRIBUTES
    announced: tuple[Prefix, ...] = ()


class Notification(NamedTuple):
    """The last message of a session: why it ends."""

    code: int
    subcode: int
    data: bytes = b""

    def __str__(self) -> str:
        return error_text(self.code, self.subcode)


class Keepalive(NamedTuple):
    """The peer is there."""


class RouteRefresh(NamedTuple):
    """The peer asks for all routes of a family once more (RFC 2918)."""

    afi: int
    safi: int


Message: TypeAlias = Open | Update | Notification | Keepalive | RouteRefresh


def multiprotocol(afi: int, safi: int) -> Capability:
    """The capability to speak of a family of routes (RFC 4760 section 8)."""
    return Capability(MULTIPROTOCOL, struct.pack("!HBB", afi, 0, safi))


UNICASTS = {family: multiprotocol(afi, UNICAST) for family, afi in AFIS.items()}


def standard_open(asn: int, hold_time: int, identifier: bytes, family: int = 4) -> Open:
    """The OPEN of a speaker of a family's unicast routes, four-octet AS numbers and route refresh."""
    capabilities = (
        UNICASTS[family],
        Capability(ROUTE_REFRESH_CAPABILITY, b""),
        Capability(FOUR_OCTET_AS, asn.to_bytes(4, "big")),
    )
    return Open(asn if asn <= MAX_TWO_OCTET else AS_TRANS, hold_time, identifier, capabilities)


# --- the stream --------------------------------------------------------------------------------------


def split(buffer: bytes) -> tuple[list[Frame], bytes]:
    """The messages that are whole, and the rest, which waits for more bytes.

    A wrong header raises BgpError when it is the first thing in the buffer. Behind whole messages it is
    left in the rest, so that those count before it does.
    """
    frames: list[Frame] = []
    at, end = 0, len(buffer)
    while True:
        try:
            length = _frame_length(buffer, at)
        except BgpError:
            if frames:
                break
            raise
        if length is None or at + length > end:
            break
        frames.append(Frame(buffer[at + 18], buffer[at + HEADER_LENGTH : at + length]))
        at += length
    return frames, buffer[at:]


def _frame_length(buffer: bytes, at: int) -> int | None:
    """The length of the message at ``at``, None while its header is not all there (section 6.1)."""
    marker = buffer[at : at + 16]
    if marker != MARKER[: len(marker)]:
        raise BgpError(ErrorCode.MESSAGE_HEADER, errors.NOT_SYNCHRONIZED, "the marker is not all ones")
    if len(buffer) - at < HEADER_LENGTH:
        return None
    _, length, kind = _HEADER.unpack_from(buffer, at)
    if HEADER_LENGTH <= length <= MAX_LENGTH and kind not in _MIN_LENGTHS:
        message = f"message type {kind}"
        raise BgpError(ErrorCode.MESSAGE_HEADER, errors.BAD_TYPE, message, data=bytes((kind,)))
    if not _MIN_LENGTHS.get(kind, HEADER_LENGTH) <= length <= _MAX_LENGTHS.get(kind, MAX_LENGTH):
        message = f"{length} octets in a message of type {kind}"
        data = length.to_bytes(2, "big")
        raise BgpError(ErrorCode.MESSAGE_HEADER, errors.BAD_LENGTH, message, data=data)
    return int(length)


def _framed(kind: int, body: bytes) -> bytes:
    return _HEADER.pack(MARKER, HEADER_LENGTH + len(body), kind) + body


# --- reading -----------------------------------------------------------------------------------------


def parse(frame: Frame, *, four_octet: bool = True, family: int = 4) -> Message:
    """Read one message; ``four_octet`` says how long the AS numbers of this session are, ``family`` of which
    routes it speaks."""
    kind, body = frame
    if kind == UPDATE:
        return _parse_update(body, four_octet, family)
    if kind == KEEPALIVE:
        return Keepalive()
    if kind == OPEN:
        return _parse_open(body)
    if kind == NOTIFICATION:
        return Notification(body[0], body[1], body[2:])
    return RouteRefresh(int.from_bytes(body[:2], "big"), body[3])


def _parse_open(body: bytes) -> Open:
    """RFC 4271 section 6.2; the identifier as RFC 6286 has it. Whether the AS is right the session knows."""
    version, my_as, hold_time, identifier, parameters_length = _OPEN.unpack_from(body)
    if version != VERSION:
        data = VERSION.to_bytes(2, "big")
        raise _open_error(errors.UNSUPPORTED_VERSION, f"version {version}", data=data)
    if parameters_length != len(body) - _OPEN.size:
        present = len(body) - _OPEN.size
        raise _open_error(0, f"{present} octets of parameters, and {parameters_length} said to be there")
    capabilities = tuple(
        capability
        for code, value in _pairs(body[_OPEN.size :], "an optional parameter")
        for capability in _parse_parameter(code, value)
    )
    message = Open(my_as, hold_time, identifier, capabilities)
    if 0 in (my_as, message.asn):
        raise _open_error(errors.BAD_PEER_AS, "AS 0")
    if hold_time in (1, 2):
        raise _open_error(errors.UNACCEPTABLE_HOLD_TIME, f"hold time {hold_time}")
    if identifier == bytes(4):
        raise _open_error(errors.BAD_IDENTIFIER, render_ip(identifier))
    return message


def _parse_parameter(code: int, value: bytes) -> list[Capability]:
    if code != CAPABILITIES:
        raise _open_error(errors.UNSUPPORTED_PARAMETER, f"optional parameter {code}")
    capabilities = [Capability(*pair) for pair in _pairs(value, "a capability")]
    for capability in capabilities:
        wanted = _CAPABILITY_LENGTHS.get(capability.code)
        if wanted is not None and len(capability.value) != wanted:
            raise _open_error(0, f"capability {capability.code} of {len(capability.value)} octets")
    return capabilities


def _pairs(data: bytes, what: str) -> list[tuple[int, bytes]]:
    """Values that each stand behind a code and a length, of one octet each."""
    pairs = []
    at = 0
    while at < len(data):
        after = at + 2 + data[at + 1] if at + 1 < len(data) else len(data) + 1
        if after > len(data):
            raise _open_error(0, f"{what} is cut off")
        pairs.append((data[at], data[at + 2 : after]))
        at = after
    return pairs


def _parse_update(body: bytes, four_octet: bool, family: int) -> Update:
    """RFC 4271 section 6.3. IPv4 prefixes in MP_REACH and MP_UNREACH count as those in their own fields;
    where a session speaks of IPv6, those are passed over."""
    end = len(body)
    attributes_at = 2 + int.from_bytes(body[:2], "big") + 2
    if attributes_at > end:
        raise _update_error(errors.MALFORMED_ATTRIBUTES, "the withdrawn routes are cut off")
    announced_at = attributes_at + int.from_bytes(body[attributes_at - 2 : attributes_at], "big")
    if announced_at > end:
        raise _update_error(errors.MALFORMED_ATTRIBUTES, "the path attributes are cut off")
    withdrawn = parse_prefixes(body[2 : attributes_at - 2])
    path, reached, unreached = parse_attributes(body[attributes_at:announced_at], four_octet, family)
    announced = parse_prefixes(body[announced_at:])
    if family != 4:
        withdrawn, announced, path = (), (), path._replace(next_hop=None)
    if reached is not None:
        if announced and path.next_hop != reached.next_hop:
            raise _update_error(errors.BAD_OPTIONAL, "IPv4 prefixes in two places with two next hops")
        path = path._replace(next_hop=reached.next_hop)
        announced += reached.prefixes
    if announced:
        _check_mandatory(path)
    return Update(withdrawn + unreached, path, announced)


def _check_mandatory(path: PathAttributes) -> None:
    """The first three attributes are ORIGIN, AS_PATH and NEXT_HOP, which every route has."""
    for index, value in enumerate(path[:3]):
        if value is None:
            code = index + 1
            data = bytes((code,))
            raise BgpError(
                ErrorCode.UPDATE_MESSAGE, errors.MISSING_WELL_KNOWN, f"no attribute {code}", data=data
            )


def _open_error(subcode: int, message: str, *, data: bytes = b"") -> BgpError:
    return BgpError(ErrorCode.OPEN_MESSAGE, subcode, message, data=data)


def _update_error(subcode: int, message: str) -> BgpError:
    return BgpError(ErrorCode.UPDATE_MESSAGE, subcode, message)


# --- writing -----------------------------------------------------------------------------------------


def build(message: Message, *, four_octet: bool = True) -> bytes:
    """One message. An Update must fit; ``build_updates`` splits one that does not."""
    match message:
        case Open():
            return _framed(OPEN, _build_open(message))
        case Update(withdrawn, path, announced):
            return _update(withdrawn, build_attributes(path, four_octet), announced, path.next_hop or b"")
        case Notification(code, subcode, data):
            return _framed(NOTIFICATION, bytes((code, subcode)) + data)
        case Keepalive():
            return _framed(KEEPALIVE, b"")
        case RouteRefresh(afi, safi):
            return _framed(ROUTE_REFRESH, struct.pack("!HBB", afi, 0, safi))
        case _:
            assert_never(message)


def _build_open(message: Open) -> bytes:
    capabilities = b"".join(bytes((code, len(value))) + value for code, value in message.capabilities)
    parameters = bytes((CAPABILITIES, len(capabilities))) + capabilities if capabilities else b""
    return (
        _OPEN.pack(message.version, message.my_as, message.hold_time, message.identifier, len(parameters))
        + parameters
    )


def _update(
    withdrawn: tuple[Prefix, ...], attributes: bytes, announced: tuple[Prefix, ...], next_hop: bytes = b""
) -> bytes:
    """IPv4 prefixes have fields of their own. IPv6 ones are attributes, the first of all (RFC 7606 section
    5.1), with their next hop."""
    first, last = build_prefixes(withdrawn), build_prefixes(announced)
    if _is_ipv6(withdrawn or announced):
        if announced:
            attributes = build_reached(next_hop, announced) + attributes
        if withdrawn:
            attributes = build_unreached(withdrawn) + attributes
        first = last = b""
    body = len(first).to_bytes(2, "big") + first + len(attributes).to_bytes(2, "big") + attributes + last
    return _framed(UPDATE, body)


def _is_ipv6(prefixes: Sequence[Prefix]) -> bool:
    return bool(prefixes) and len(prefixes[0].address) == 16


def build_updates(update: Update, *, four_octet: bool = True) -> list[bytes]:
    """As few messages as carry an Update of any number of prefixes; withdrawals come first.

    Attributes that leave no room for a prefix cannot be said: then the prefixes are withdrawn instead.
    """
    withdrawn, path, announced = update
    attributes = build_attributes(path, four_octet) if announced else b""
    extra = _MP_HEAD if _is_ipv6(withdrawn or announced) else 0
    room = _ROOM - len(attributes) - extra
    if room < _LONGEST_PREFIX:
        withdrawn, announced = withdrawn + announced, ()
    next_hop = path.next_hop or b""
    return [
        *(_update(some, b"", ()) for some in _portions(withdrawn, _ROOM - extra)),
        *(_update((), attributes, some, next_hop) for some in _portions(announced, room)),
    ]


def _portions(prefixes: tuple[Prefix, ...], room: int) -> list[tuple[Prefix, ...]]:
    """The prefixes in runs that fit into ``room`` octets."""
    portions = []
    start = used = 0
    for index, prefix in enumerate(prefixes):
        size = 1 + (prefix.length + 7 >> 3)
        if used + size > room:
            portions.append(prefixes[start:index])
            start, used = index, 0
        used += size
    if start < len(prefixes):
        portions.append(prefixes[start:])
    return portions


def describe(message: Message) -> str:
    """One line about a message, for captures and causes."""
    match message:
        case Open():
            return f"OPEN from AS {message.asn}, identifier {render_ip(message.identifier)}"
        case Update(withdrawn, path, announced):
            parts = []
            if withdrawn:
                parts.append(f"withdraws {_few(withdrawn)}")
            if announced:
                via = f" via {render_ip(path.next_hop)}" if path.next_hop is not None else ""
                parts.append(
                    f"announces {_few(announced)}{via}, AS path {render_path(path.as_path or ()) or 'empty'}"
                )
            return f"UPDATE {'; '.join(parts) or 'End-of-RIB'}"
        case Notification():
            return f"NOTIFICATION {message}"
        case Keepalive():
            return "KEEPALIVE"
        case RouteRefresh():
            return "ROUTE-REFRESH"
        case _:
            assert_never(message)


def _few(prefixes: tuple[Prefix, ...]) -> str:
    shown = ", ".join(str(prefix) for prefix in prefixes[:3])
    return shown if len(prefixes) <= 3 else f"{shown} and {len(prefixes) - 3} more"

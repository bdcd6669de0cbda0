"""What an UPDATE says: prefixes, and the path attributes that they share (RFC 4271 section 4.3).

``wire.bgp`` frames them into messages. Everything malformed raises BgpError with the subcode that section
6.3 demands. AS numbers are always the real ones, of up to 32 bits: towards a peer that knows only 16-bit
numbers, AS_TRANS and the AS4 attributes are put in, and taken out, here (RFC 6793).

Many speakers of one simulation read the same bytes, so what has been read or built once is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from ipaddress import ip_network
from typing import Any, NamedTuple

from netsim.base.address import IpNetwork, render_ip
from netsim.wire import bgp_errors as errors
from netsim.wire.bgp_errors import BgpError, ErrorCode

IPV4, IPV6, UNICAST = 1, 2, 1  # AFIs and SAFI (RFC 4760)
AFIS = {4: IPV4, 6: IPV6}
AS_TRANS = 23456  # RFC 6793 section 9
MAX_TWO_OCTET = 0xFFFF

OPTIONAL, TRANSITIVE, PARTIAL, EXTENDED_LENGTH = 0x80, 0x40, 0x20, 0x10

ORIGIN = 1
AS_PATH = 2
NEXT_HOP = 3
MED = 4
LOCAL_PREF = 5
ATOMIC_AGGREGATE = 6
AGGREGATOR = 7
COMMUNITIES = 8  # RFC 1997
ORIGINATOR_ID = 9  # RFC 4456
CLUSTER_LIST = 10
MP_REACH = 14  # RFC 4760
MP_UNREACH = 15
AS4_PATH = 17  # RFC 6793
AS4_AGGREGATOR = 18

IGP, EGP, INCOMPLETE = 0, 1, 2  # values of ORIGIN
AS_SET, AS_SEQUENCE = 1, 2
LONGEST_SEGMENT = 255
NO_EXPORT, NO_ADVERTISE, NO_EXPORT_SUBCONFED = 0xFFFFFF01, 0xFFFFFF02, 0xFFFFFF03  # RFC 1997

_WELL_KNOWN = TRANSITIVE
_OPTIONAL_TRANSITIVE = OPTIONAL | TRANSITIVE
_CATEGORY = OPTIONAL | TRANSITIVE
_FLAGS = {
    ORIGIN: _WELL_KNOWN,
    AS_PATH: _WELL_KNOWN,
    NEXT_HOP: _WELL_KNOWN,
    MED: OPTIONAL,
    LOCAL_PREF: _WELL_KNOWN,
    ATOMIC_AGGREGATE: _WELL_KNOWN,
    AGGREGATOR: _OPTIONAL_TRANSITIVE,
    COMMUNITIES: _OPTIONAL_TRANSITIVE,
    ORIGINATOR_ID: OPTIONAL,
    CLUSTER_LIST: OPTIONAL,
    MP_REACH: OPTIONAL,
    MP_UNREACH: OPTIONAL,
    AS4_PATH: _OPTIONAL_TRANSITIVE,
    AS4_AGGREGATOR: _OPTIONAL_TRANSITIVE,
}
_LENGTHS = {ORIGIN: 1, NEXT_HOP: 4, MED: 4, LOCAL_PREF: 4, ATOMIC_AGGREGATE: 0, ORIGINATOR_ID: 4}
# Of an address's first octet, by its length: multicast and reserved ones are no host's.
FIRST_MULTICAST = {4: 224, 16: 0xFF}
_BITS = {4: 32, 6: 128}
_NEXT_HOPS = {4: (4,), 6: (16, 32)}  # octets; the second half of 32 is link-local (RFC 2545 section 3)


class Prefix(NamedTuple):
    """A prefix: the packed network address, its bits behind ``length`` zero."""

    address: bytes
    length: int

    def __str__(self) -> str:
        return f"{render_ip(self.address)}/{self.length}"

    @property
    def network(self) -> IpNetwork:
        return _network(self)


@lru_cache(maxsize=65536)
def _network(prefix: Prefix) -> IpNetwork:
    return ip_network((prefix.address, prefix.length))


def prefix_from_network(network: IpNetwork) -> Prefix:
    """The prefix as it goes over the wire."""
    return Prefix(network.network_address.packed, network.prefixlen)


class Segment(NamedTuple):
    """A part of an AS_PATH: ``kind`` is AS_SEQUENCE (in order, nearest first) or AS_SET."""

    kind: int
    asns: tuple[int, ...]


class Aggregator(NamedTuple):
    """Who aggregated the route: AS number and packed BGP identifier."""

    asn: int
    address: bytes


class Attribute(NamedTuple):
    """An attribute that this codec does not know, as it came."""

    flags: int
    code: int
    value: bytes


class PathAttributes(NamedTuple):
    """The attributes of one route. None or empty means absent.

    Addresses and identifiers are packed. ``unknown`` are optional attributes that stay as they came;
    ``partial`` are the codes of known ones that some speaker on the way did not know (RFC 4271 section 5).
    """

    origin: int | None = None
    as_path: tuple[Segment, ...] | None = None
    next_hop: bytes | None = None
    med: int | None = None
    local_pref: int | None = None
    atomic_aggregate: bool = False
    aggregator: Aggregator | None = None
    communities: tuple[int, ...] = ()
    originator_id: bytes | None = None
    cluster_list: tuple[bytes, ...] = ()
    unknown: tuple[Attribute, ...] = ()
    partial: tuple[int, ...] = ()


NO_ATTRIBUTES = PathAttributes()


class MpReach(NamedTuple):
    """Unicast prefixes of the session's family that came in MP_REACH_NLRI, and their next hop."""

    next_hop: bytes
    prefixes: tuple[Prefix, ...]


class Attributes(NamedTuple):
    """Everything that stood in the attribute field of an UPDATE."""

    path: PathAttributes
    reached: MpReach | None = None
    unreached: tuple[Prefix, ...] = ()


# --- prefixes ----------------------------------------------------------------------------------------


def parse_prefixes(data: bytes, family: int = 4) -> tuple[Prefix, ...]:
    """Prefixes one behind the other; BgpError 3/10 for one longer than an address, or than what is left."""
    found, bits = [], _BITS[family]
    at, end = 0, len(data)
    while at < end:
        length = data[at]
        after = at + 1 + (length + 7 >> 3)
        if length > bits or after > end:
            raise _update_error(errors.INVALID_NETWORK, f"a prefix of {length} bits in {end - at} octets")
        found.append(_prefix(data[at:after], bits))
        at = after
    return tuple(found)


@lru_cache(maxsize=65536)
def _prefix(data: bytes, bits: int) -> Prefix:
    """One prefix; bits behind its length mean nothing (RFC 4271 section 4.3)."""
    length, size = data[0], bits // 8
    number = int.from_bytes(data[1:].ljust(size, b"\0"), "big") >> (bits - length) << (bits - length)
    return Prefix(number.to_bytes(size, "big"), length)


def build_prefixes(prefixes: Iterable[Prefix]) -> bytes:
    """Prefixes one behind the other, each as short as its length allows."""
    return b"".join(
        [bytes((length,)) + address[: length + 7 >> 3] for address, length in prefixes],
    )


# --- reading -----------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def parse_attributes(data: bytes, four_octet: bool, family: int = 4) -> Attributes:
    """Read the attribute field; ``four_octet`` says how long the AS numbers of this session are, and
    ``family`` of which prefixes it speaks."""
    seen: dict[int, Attribute] = {}
    unknown = []
    for attribute in _split(data):
        code = attribute.code
        if code in seen:
            raise _update_error(errors.MALFORMED_ATTRIBUTES, f"attribute {code} twice")
        seen[code] = attribute
        if code not in _FLAGS:
            _check_unknown(attribute)
            unknown.append(attribute)
            continue
        _check_known(attribute)
    fields: dict[str, Any] = {
        name: read(seen[code], four_octet) for code, (name, read) in _READERS.items() if code in seen
    }
    path = PathAttributes(
        **fields,
        unknown=tuple(unknown),
        partial=tuple(code for code in _READERS if code in seen and seen[code].flags & PARTIAL),
    )
    if not four_octet:
        path = _with_long_numbers(path, seen.get(AS4_PATH), seen.get(AS4_AGGREGATOR))
    reached, unreached = _reached(seen.get(MP_REACH), family), _unreached(seen.get(MP_UNREACH), family)
    return Attributes(path, reached, unreached)


def _split(data: bytes) -> list[Attribute]:
    attributes = []
    at, end = 0, len(data)
    while at < end:
        head = 4 if data[at] & EXTENDED_LENGTH else 3
        if at + head > end:
            raise _update_error(errors.MALFORMED_ATTRIBUTES, "an attribute's head is cut off")
        length = int.from_bytes(data[at + 2 : at + head], "big")
        after = at + head + length
        if after > end:
            raise _update_error(
                errors.MALFORMED_ATTRIBUTES, f"attribute {data[at + 1]} of {length} octets is cut off"
            )
        attributes.append(Attribute(data[at], data[at + 1], data[at + head : after]))
        at = after
    return attributes


def _check_unknown(attribute: Attribute) -> None:
    if not attribute.flags & OPTIONAL:
        raise _attribute_error(errors.UNRECOGNIZED_WELL_KNOWN, attribute, "is not known here")


def _check_known(attribute: Attribute) -> None:
    """Flags and length, where the length is fixed."""
    flags, code, value = attribute
    wanted = _FLAGS[code]
    if flags & _CATEGORY != wanted or (flags & PARTIAL and wanted != _OPTIONAL_TRANSITIVE):
        raise _attribute_error(errors.BAD_FLAGS, attribute, f"has flags 0x{flags:02x}")
    if len(value) != _LENGTHS.get(code, len(value)):
        raise _attribute_error(errors.BAD_ATTRIBUTE_LENGTH, attribute, f"has {len(value)} octets")


def _read_origin(attribute: Attribute, four_octet: bool) -> int:
    if attribute.value[0] > INCOMPLETE:
        raise _attribute_error(errors.INVALID_ORIGIN, attribute, f"is {attribute.value[0]}")
    return attribute.value[0]


def _read_as_path(attribute: Attribute, four_octet: bool) -> tuple[Segment, ...]:
    try:
        return _segments(attribute.value, 4 if four_octet else 2)
    except ValueError as error:
        raise _update_error(errors.MALFORMED_AS_PATH, str(error)) from None


def _segments(value: bytes, size: int) -> tuple[Segment, ...]:
    """Segments with AS numbers of ``size`` octets; ValueError says what is wrong with them.

    Confederation segments are for members only (RFC 5065 section 5); AS 0 is nobody's (RFC 7607).
    """
    segments = []
    at, end = 0, len(value)
    while at < end:
        if at + 2 > end:
            raise ValueError("a segment's head is cut off")
        kind, count = value[at], value[at + 1]
        after = at + 2 + count * size
        if kind not in (AS_SET, AS_SEQUENCE):
            raise ValueError(f"segment type {kind}")
        if count == 0 or after > end:
            raise ValueError(f"a segment of {count} AS numbers in {end - at} octets")
        asns = tuple(int.from_bytes(value[i : i + size], "big") for i in range(at + 2, after, size))
        if 0 in asns:
            raise ValueError("AS 0")
        segments.append(Segment(kind, asns))
        at = after
    return tuple(segments)


def _read_next_hop(attribute: Attribute, four_octet: bool) -> bytes:
    _check_next_hop(attribute.value, attribute)
    return attribute.value


def _check_next_hop(address: bytes, attribute: Attribute) -> None:
    """It must be a host's address (RFC 4271 section 6.3)."""
    if address[0] == 0 or address[0] >= FIRST_MULTICAST[len(address)]:
        raise _attribute_error(errors.INVALID_NEXT_HOP, attribute, f"is {render_ip(address)}")


def _read_number(attribute: Attribute, four_octet: bool) -> int:
    return int.from_bytes(attribute.value, "big")


def _read_flag(attribute: Attribute, four_octet: bool) -> bool:
    return True


def _read_aggregator(attribute: Attribute, four_octet: bool) -> Aggregator:
    size = 4 if four_octet else 2
    if len(attribute.value) != size + 4:
        raise _attribute_error(errors.BAD_ATTRIBUTE_LENGTH, attribute, f"has {len(attribute.value)} octets")
    return Aggregator(int.from_bytes(attribute.value[:size], "big"), attribute.value[size:])


def _read_communities(attribute: Attribute, four_octet: bool) -> tuple[int, ...]:
    return tuple(int.from_bytes(word, "big") for word in _words(attribute))


def _read_address(attribute: Attribute, four_octet: bool) -> bytes:
    return attribute.value


def _read_cluster_list(attribute: Attribute, four_octet: bool) -> tuple[bytes, ...]:
    return tuple(_words(attribute))


def _words(attribute: Attribute) -> Sequence[bytes]:
    value = attribute.value
    if not value or len(value) % 4:
        raise _attribute_error(errors.BAD_ATTRIBUTE_LENGTH, attribute, f"has {len(value)} octets")
    return [value[at : at + 4] for at in range(0, len(value), 4)]


_READERS: dict[int, tuple[str, Callable[[Attribute, bool], object]]] = {
    ORIGIN: ("origin", _read_origin),
    AS_PATH: ("as_path", _read_as_path),
    NEXT_HOP: ("next_hop", _read_next_hop),
    MED: ("med", _read_number),
    LOCAL_PREF: ("local_pref", _read_number),
    ATOMIC_AGGREGATE: ("atomic_aggregate", _read_flag),
    AGGREGATOR: ("aggregator", _read_aggregator),
    COMMUNITIES: ("communities", _read_communities),
    ORIGINATOR_ID: ("originator_id", _read_address),
    CLUSTER_LIST: ("cluster_list", _read_cluster_list),
}


def _with_long_numbers(
    path: PathAttributes, long_path: Attribute | None, long_aggregator: Attribute | None
) -> PathAttributes:
    """What a speaker of 16-bit numbers passed on in the AS4 attributes (RFC 6793 section 4.2.3).

    AS4 attributes that make no sense are passed over (section 6).
    """
    if path.aggregator is not None and long_aggregator is not None:
        if path.aggregator.asn != AS_TRANS:
            return path  # somebody on the way aggregated anew and left the AS4 attributes behind
        if len(long_aggregator.value) == 8:
            path = path._replace(aggregator=_read_aggregator(long_aggregator, True))
    if path.as_path is not None and long_path is not None:
        try:
            segments = _segments(long_path.value, 4)
        except ValueError:
            return path
        path = path._replace(as_path=_joined(path.as_path, segments))
    return path


def _joined(short: tuple[Segment, ...], long: tuple[Segment, ...]) -> tuple[Segment, ...]:
    """The AS_PATH with its tail taken from AS4_PATH, or as it is when that is the longer one."""
    missing = path_length(short) - path_length(long)
    if missing < 0:
        return short
    leading: list[Segment] = []
    for segment in short:
        if missing <= 0:
            break
        taken = segment if segment.kind == AS_SET else Segment(AS_SEQUENCE, segment.asns[:missing])
        leading.append(taken)
        missing -= path_length((taken,))
    if leading and long and leading[-1].kind == long[0].kind == AS_SEQUENCE:
        asns = leading[-1].asns + long[0].asns
        if len(asns) <= LONGEST_SEGMENT:
            return (*leading[:-1], Segment(AS_SEQUENCE, asns), *long[1:])
    return (*leading, *long)


def path_length(path: Iterable[Segment]) -> int:
    """How many AS hops a path counts for: an AS_SET is one (RFC 4271 section 9.1.2.2)."""
    return sum(len(segment.asns) if segment.kind == AS_SEQUENCE else 1 for segment in path)


def render_path(path: Iterable[Segment]) -> str:
    """``64512 64513 {64514 64515}``, as BIRD prints it."""
    words = []
    for kind, asns in path:
        text = " ".join(str(asn) for asn in asns)
        words.append(text if kind == AS_SEQUENCE else f"{{{text}}}")
    return " ".join(words)


def _reached(attribute: Attribute | None, family: int) -> MpReach | None:
    """RFC 4760 section 3. Families that were not agreed on are passed over."""
    if attribute is None:
        return None
    value = attribute.value
    if len(value) < 5 or 5 + value[3] > len(value):
        raise _attribute_error(errors.BAD_OPTIONAL, attribute, f"has {len(value)} octets")
    if (int.from_bytes(value[:2], "big"), value[2]) != (AFIS[family], UNICAST):
        return None
    if value[3] not in _NEXT_HOPS[family]:
        raise _attribute_error(errors.BAD_OPTIONAL, attribute, f"has a next hop of {value[3]} octets")
    next_hop = value[4 : 4 + _BITS[family] // 8]
    _check_next_hop(next_hop, attribute)
    return MpReach(next_hop, parse_prefixes(value[5 + value[3] :], family))


def _unreached(attribute: Attribute | None, family: int) -> tuple[Prefix, ...]:
    """RFC 4760 section 4."""
    if attribute is None:
        return ()
    value = attribute.value
    if len(value) < 3:
        raise _attribute_error(errors.BAD_OPTIONAL, attribute, f"has {len(value)} octets")
    if (int.from_bytes(value[:2], "big"), value[2]) != (AFIS[family], UNICAST):
        return ()
    return parse_prefixes(value[3:], family)


# --- writing -----------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def build_attributes(path: PathAttributes, four_octet: bool) -> bytes:
    """The attribute field, in ascending order of type codes as section 5 recommends."""
    built: list[tuple[int, bytes]] = [
        (code, _attribute(flags, code, value)) for flags, code, value in path.unknown
    ]

    def put(code: int, value: bytes) -> None:
        partial = PARTIAL if code in path.partial else 0
        built.append((code, _attribute(_FLAGS[code] | partial, code, value)))

    if path.origin is not None:
        put(ORIGIN, bytes((path.origin,)))
    if path.as_path is not None:
        put(AS_PATH, _build_segments(path.as_path, four_octet))
    if path.next_hop is not None and len(path.next_hop) == 4:  # another one is in MP_REACH_NLRI
        put(NEXT_HOP, path.next_hop)
    if path.med is not None:
        put(MED, path.med.to_bytes(4, "big"))
    if path.local_pref is not None:
        put(LOCAL_PREF, path.local_pref.to_bytes(4, "big"))
    if path.atomic_aggregate:
        put(ATOMIC_AGGREGATE, b"")
    if path.aggregator is not None:
        put(AGGREGATOR, _number(path.aggregator.asn, four_octet) + path.aggregator.address)
    if path.communities:
        put(COMMUNITIES, b"".join(value.to_bytes(4, "big") for value in path.communities))
    if path.originator_id is not None:
        put(ORIGINATOR_ID, path.originator_id)
    if path.cluster_list:
        put(CLUSTER_LIST, b"".join(path.cluster_list))
    if not four_octet:
        _put_long_numbers(path, put)
    built.sort(key=lambda item: item[0])
    return b"".join(data for _, data in built)


def build_reached(next_hop: bytes, prefixes: Iterable[Prefix]) -> bytes:
    """MP_REACH_NLRI of IPv6 prefixes (RFC 4760 section 3, RFC 2545)."""
    head = IPV6.to_bytes(2, "big") + bytes((UNICAST, len(next_hop))) + next_hop + b"\0"
    return _attribute(OPTIONAL, MP_REACH, head + build_prefixes(prefixes))


def build_unreached(prefixes: Iterable[Prefix]) -> bytes:
    """MP_UNREACH_NLRI of IPv6 prefixes (RFC 4760 section 4)."""
    head = IPV6.to_bytes(2, "big") + bytes((UNICAST,))
    return _attribute(OPTIONAL, MP_UNREACH, head + build_prefixes(prefixes))


def _put_long_numbers(path: PathAttributes, put: Callable[[int, bytes], None]) -> None:
    """What AS_TRANS hides goes beside it (RFC 6793 section 4.2.2)."""
    as_path = path.as_path or ()
    if any(asn > MAX_TWO_OCTET for segment in as_path for asn in segment.asns):
        put(AS4_PATH, _build_segments(as_path, True))
    if path.aggregator is not None and path.aggregator.asn > MAX_TWO_OCTET:
        put(AS4_AGGREGATOR, path.aggregator.asn.to_bytes(4, "big") + path.aggregator.address)


def _attribute(flags: int, code: int, value: bytes) -> bytes:
    if len(value) > 0xFF:
        return bytes((flags | EXTENDED_LENGTH, code)) + len(value).to_bytes(2, "big") + value
    return bytes((flags & ~EXTENDED_LENGTH, code, len(value))) + value


def _build_segments(path: Iterable[Segment], four_octet: bool) -> bytes:
    return b"".join(
        bytes((kind, len(asns))) + b"".join(_number(asn, four_octet) for asn in asns) for kind, asns in path
    )


def _number(asn: int, four_octet: bool) -> bytes:
    if four_octet:
        return asn.to_bytes(4, "big")
    return (asn if asn <= MAX_TWO_OCTET else AS_TRANS).to_bytes(2, "big")


# --- refusing ----------------------------------------------------------------------------------------


def _update_error(subcode: int, message: str) -> BgpError:
    return BgpError(ErrorCode.UPDATE_MESSAGE, subcode, message)


def _attribute_error(subcode: int, attribute: Attribute, message: str) -> BgpError:
    """The NOTIFICATION's data is the whole attribute (RFC 4271 section 6.3)."""
    flags, code, value = attribute
    data = bytes((flags, code)) + len(value).to_bytes(2 if flags & EXTENDED_LENGTH else 1, "big") + value
    return BgpError(ErrorCode.UPDATE_MESSAGE, subcode, f"attribute {code} {message}", data=data)

"""DNS messages (RFC 1035, 2782, 3596, 6891): bytes to values and back, and dig's text of a record.

For everything that speaks DNS: servers, resolvers, captures, tools. ``parse`` accepts bytes after the
last record, as miekg/dns and glibc do, and refuses everything else that is wrong with WireError. The
codec keeps no state, follows no CNAME and knows no zone.

Names are text, absolute, with a trailing dot, spelled as on the wire, escaped as ``dnsname`` says; the root
is ``.``.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from ipaddress import IPv6Address
from struct import Struct
from struct import error as StructError
from typing import Any, Final, NamedTuple, TypeAlias

from netsim.base.errors import WireError
from netsim.wire.dnsname import name_to_wire, parse_name, put_name, refuse

A: Final = 1
NS: Final = 2
CNAME: Final = 5
SOA: Final = 6
PTR: Final = 12
HINFO: Final = 13
MX: Final = 15
TXT: Final = 16
AAAA: Final = 28
SRV: Final = 33
OPT: Final = 41
DNAME: Final = 39
DS: Final = 43
IXFR: Final = 251
AXFR: Final = 252
ANY: Final = 255
CAA: Final = 257

IN: Final = 1
CHAOS: Final = 3

QUERY: Final = 0
"""The standard opcode."""

TYPE_NAMES: Final[dict[int, str]] = {
    1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 11: "WKS", 12: "PTR", 13: "HINFO", 14: "MINFO", 15: "MX",
    16: "TXT", 17: "RP", 18: "AFSDB", 24: "SIG", 25: "KEY", 28: "AAAA", 29: "LOC", 33: "SRV",
    35: "NAPTR", 36: "KX", 37: "CERT", 39: "DNAME", 41: "OPT", 42: "APL", 43: "DS", 44: "SSHFP",
    45: "IPSECKEY", 46: "RRSIG", 47: "NSEC", 48: "DNSKEY", 49: "DHCID", 50: "NSEC3", 51: "NSEC3PARAM",
    52: "TLSA", 53: "SMIMEA", 55: "HIP", 59: "CDS", 60: "CDNSKEY", 61: "OPENPGPKEY", 62: "CSYNC",
    63: "ZONEMD", 64: "SVCB", 65: "HTTPS", 99: "SPF", 108: "EUI48", 109: "EUI64", 249: "TKEY",
    250: "TSIG", 251: "IXFR", 252: "AXFR", 255: "ANY", 256: "URI", 257: "CAA",
}  # fmt: skip
TYPE_NUMBERS: Final[dict[str, int]] = {name: number for number, name in TYPE_NAMES.items()}
CLASS_NAMES: Final[dict[int, str]] = {1: "IN", 3: "CH", 4: "HS", 254: "NONE", 255: "ANY"}

MINIMUM_UDP_SIZE: Final = 512
"""What every resolver accepts without EDNS (RFC 1035 section 4.2.1), and the floor of an EDNS size."""
MAXIMUM_SIZE: Final = 65535
"""What the length prefix of DNS over TCP can say."""


class Rcode(IntEnum):
    """Response codes (RFC 1035 section 4.1.1; BADVERS: RFC 6891). Other numbers travel as plain int."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    BADVERS = 16


class Question(NamedTuple):
    """What is asked."""

    name: str
    qtype: int
    qclass: int = IN


class Srv(NamedTuple):
    """SRV data (RFC 2782)."""

    priority: int
    weight: int
    port: int
    target: str


class Soa(NamedTuple):
    """SOA data; times are seconds, ``minimum`` is the negative TTL (RFC 2308)."""

    mname: str
    rname: str
    serial: int
    refresh: int
    retry: int
    expire: int
    minimum: int


class Mx(NamedTuple):
    """MX data."""

    preference: int
    exchange: str


_Fields: TypeAlias = str | Srv | Soa | Mx | tuple[bytes, ...]


class Record(NamedTuple):
    """One resource record.

    ``data`` is the packed address of A and AAAA, the name of NS, CNAME and PTR, a Srv, Soa or Mx, a
    tuple of strings for TXT, and the bytes as they stand for every other type.
    """

    name: str
    rtype: int
    rclass: int
    ttl: int
    data: Any


class Edns(NamedTuple):
    """The OPT pseudo record (RFC 6891): the sender's UDP size, DO, and options (code, bytes)."""

    size: int = 1232
    version: int = 0
    do: bool = False
    options: tuple[tuple[int, bytes], ...] = ()


class Message(NamedTuple):
    """One DNS message. ``rcode`` includes the bits of the OPT record, which is not in ``additional``."""

    id: int
    rcode: int = Rcode.NOERROR
    opcode: int = QUERY
    response: bool = False
    authoritative: bool = False
    truncated: bool = False
    recursion_desired: bool = False
    recursion_available: bool = False
    authentic: bool = False
    checking_disabled: bool = False
    questions: tuple[Question, ...] = ()
    answers: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    edns: Edns | None = None


_HEADER = Struct("!HHHHHH")
_TYPE_CLASS = Struct("!HH")
_RECORD = Struct("!HHIH")
_SRV = Struct("!HHH")
_SOA = Struct("!IIIII")
_SHORT = Struct("!H")

_RCODES: dict[int, int] = {int(code): code for code in Rcode}
_DO = 0x8000
_NAME_TYPES = frozenset({NS, CNAME, PTR})
_INTERNET_TYPES = frozenset({A, AAAA, SRV})
"""Types whose data has its form in class IN alone; in other classes it stays bytes."""


# --- reading -------------------------------------------------------------------------------------------


def _address_length(rtype: int, data: bytes) -> bytes:
    if len(data) != (4 if rtype == A else 16):
        raise refuse(f"{TYPE_NAMES[rtype]} data has {len(data)} bytes")
    return data


def _parse_data(data: bytes, rtype: int, start: int, end: int) -> bytes | _Fields:
    if rtype in (A, AAAA):
        return _address_length(rtype, data[start:end])
    value: _Fields
    if rtype in _NAME_TYPES:
        value, stop = parse_name(data, start)
    elif rtype == SRV:
        priority, weight, port = _SRV.unpack_from(data, start)
        target, stop = parse_name(data, start + 6)
        value = Srv(priority, weight, port, target)
    elif rtype == SOA:
        mname, stop = parse_name(data, start)
        rname, stop = parse_name(data, stop)
        value = Soa(mname, rname, *_SOA.unpack_from(data, stop))
        stop += 20
    elif rtype == MX:
        exchange, stop = parse_name(data, start + 2)
        value = Mx(_SHORT.unpack_from(data, start)[0], exchange)
    elif rtype == TXT:
        return _parse_strings(data[start:end])
    else:
        return data[start:end]
    if stop != end:
        raise refuse(f"{TYPE_NAMES[rtype]} data has {end - start} bytes, its fields {stop - start}")
    return value


def parse_rdata(rtype: int, data: bytes) -> bytes | _Fields:
    """A record's data from its bytes in class IN, names uncompressed; WireError."""
    try:
        return _parse_data(data, rtype, 0, len(data))
    except StructError:
        raise refuse("the data ends too early") from None


def _parse_strings(data: bytes) -> tuple[bytes, ...]:
    strings = []
    offset = 0
    while offset < len(data):
        stop = offset + 1 + data[offset]
        strings.append(data[offset + 1 : stop])
        offset = stop
    if not strings or offset != len(data):
        raise refuse("TXT strings do not fill their record")
    return tuple(strings)


def _parse_options(data: bytes) -> tuple[tuple[int, bytes], ...]:
    options = []
    offset = 0
    while offset < len(data):
        code, length = _TYPE_CLASS.unpack_from(data, offset)
        value = data[offset + 4 : offset + 4 + length]
        if len(value) != length:
            raise refuse("an EDNS option runs past its record")
        options.append((code, value))
        offset += 4 + length
    return tuple(options)


def parse(data: bytes) -> Message:
    """Read one message; WireError when it is not one."""
    try:
        return _parse(data)
    except StructError:
        raise refuse("the message ends too early") from None


def _parse(data: bytes) -> Message:
    identifier, flags, question_count, answered, authorities, more = _HEADER.unpack_from(data)
    offset = 12
    questions = []
    for _ in range(question_count):
        name, offset = parse_name(data, offset)
        qtype, qclass = _TYPE_CLASS.unpack_from(data, offset)
        offset += 4
        questions.append(Question(name, qtype, qclass))
    rcode = flags & 0xF
    edns = None
    answers: list[Record] = []
    authority: list[Record] = []
    additional: list[Record] = []
    if answered or authorities or more:
        first = questions[0].name if questions else ""
        offset = _parse_section(data, offset, answered, first, answers)
        offset = _parse_section(data, offset, authorities, first, authority)
        _parse_section(data, offset, more, first, additional)
        edns, high = _take_edns(additional)
        rcode |= high << 4
    return Message(
        identifier, _RCODES.get(rcode, rcode), flags >> 11 & 0xF, bool(flags & 0x8000), bool(flags & 0x400),
        bool(flags & 0x200), bool(flags & 0x100), bool(flags & 0x80), bool(flags & 0x20), bool(flags & 0x10),
        tuple(questions), tuple(answers), tuple(authority), tuple(additional), edns,
    )  # fmt: skip


def _parse_section(data: bytes, offset: int, count: int, first: str, records: list[Record]) -> int:
    """Append ``count`` records and give the offset after them. ``first`` is the question's name."""
    for _ in range(count):
        if first and data[offset : offset + 2] == b"\xc0\x0c":  # most owners are the question's name
            name, offset = first, offset + 2
        elif data[offset : offset + 1] == b"\0":
            name, offset = ".", offset + 1
        else:
            name, offset = parse_name(data, offset)
        rtype, rclass, ttl, length = _RECORD.unpack_from(data, offset)
        offset += 10
        end = offset + length
        if end > len(data):
            raise refuse("record data runs past the end")
        kept = rclass != IN and (rtype in _INTERNET_TYPES or length == 0)  # CHAOS; RFC 2136's deletions
        value = data[offset:end] if kept else _parse_data(data, rtype, offset, end)
        records.append(Record(name, rtype, rclass, ttl, value))
        offset = end
    return offset


def _take_edns(additional: list[Record]) -> tuple[Edns | None, int]:
    """Move the OPT record out of the additional section; its upper rcode bits come second."""
    found = [index for index, record in enumerate(additional) if record.rtype == OPT]
    if not found:
        return None, 0
    if len(found) > 1:
        raise refuse("two OPT records")  # RFC 6891 section 6.1.1
    opt = additional.pop(found[0])
    if opt.name != ".":
        raise refuse("an OPT record not at the root")
    edns = Edns(opt.rclass, opt.ttl >> 16 & 0xFF, opt.ttl & _DO != 0, _parse_options(opt.data))
    return edns, opt.ttl >> 24


# --- writing -------------------------------------------------------------------------------------------


def _put_data(out: bytearray, data: _Fields, table: dict[str, int] | None) -> None:
    match data:
        case str():
            put_name(out, data, table)
        case Srv(priority, weight, port, target):
            out += _SRV.pack(priority, weight, port)
            put_name(out, target, table, compress=False)  # RFC 2782
        case Soa():
            put_name(out, data.mname, table)
            put_name(out, data.rname, table)
            out += _SOA.pack(*data[2:])
        case Mx(preference, exchange):
            out += _SHORT.pack(preference)
            put_name(out, exchange, table)
        case _:
            if not data or max(map(len, data)) > 255:
                raise refuse("TXT wants at least one string, none over 255 bytes")
            for string in data:
                out.append(len(string))
                out += string


def _put_record(out: bytearray, record: Record, table: dict[str, int] | None) -> None:
    name, rtype, rclass, ttl, data = record
    if table is None:
        out += name_to_wire(name)
    else:
        put_name(out, name, table)
    if type(data) is bytes:
        if rclass == IN and rtype in (A, AAAA):
            _address_length(rtype, data)
        out += _RECORD.pack(rtype, rclass, ttl, len(data))
        out += data
        return
    out += _RECORD.pack(rtype, rclass, ttl, 0)
    start = len(out)
    _put_data(out, data, table)
    _SHORT.pack_into(out, start - 2, len(out) - start)


def _opt_bytes(edns: Edns, rcode: int) -> bytes:
    options = b"".join(_TYPE_CLASS.pack(code, len(value)) + value for code, value in edns.options)
    ttl = rcode >> 4 << 24 | edns.version << 16 | (_DO if edns.do else 0)
    return b"\0" + _RECORD.pack(OPT, edns.size, ttl, len(options)) + options


def build(message: Message, *, limit: int | None = None, uncompressed: int = 0) -> bytes:
    """Write one message; WireError when it cannot be written.

    ``limit`` bounds the bytes: records are kept whole, in order, answer before authority before
    additional, until one does not fit; then TC is set and the rest left out. The OPT record always stays.
    A message of at most ``uncompressed`` bytes is written without compression. miekg/dns
    ``Msg.Truncate(size)``, and so CoreDNS, is ``build(limit=size, uncompressed=size)``.
    """
    opt = b"" if message.edns is None else _opt_bytes(message.edns, message.rcode)
    if message.rcode > 0xF and not opt:
        raise refuse(f"rcode {message.rcode} needs an OPT record")
    try:
        if uncompressed:
            wire = _assemble_plain(message, opt)
            if len(wire) <= uncompressed:
                return wire
        wire, complete = _assemble(message, opt, limit)
        if not complete:
            wire = wire[:2] + bytes([wire[2] | 0x02]) + wire[3:]
    except StructError as error:
        raise refuse(f"a field is out of range: {error}") from None
    return wire


def length(message: Message) -> int:
    """The bytes of a message without compression; 0 for one that cannot be written (miekg/dns Msg.Len)."""
    try:
        if message.edns is None and not message.authority and not message.additional and message.rcode <= 0xF:
            size = _plain_length(message.questions, message.answers)
            if size:
                return size
        return len(build(message, uncompressed=MAXIMUM_SIZE))
    except WireError:
        return 0


def _plain_length(questions: Sequence[Question], answers: Sequence[Record]) -> int:
    """The same for a message with nothing but addresses, without writing it; 0 for any other."""
    size = 12
    for name, _, _ in questions:
        size += len(name_to_wire(name)) + 4
    for name, rtype, rclass, _, data in answers:
        if rclass != IN or rtype not in (A, AAAA) or type(data) is not bytes:
            return 0
        size += len(name_to_wire(name)) + 10 + len(_address_length(rtype, data))
    return size


def _assemble_plain(message: Message, opt: bytes) -> bytes:
    """The bytes without compression."""
    out = bytearray(12)
    for name, qtype, qclass in message.questions:
        out += name_to_wire(name)
        out += _TYPE_CLASS.pack(qtype, qclass)
    answers, authority, additional = message.answers, message.authority, message.additional
    for section in (answers, authority, additional):
        for record in section:
            _put_record(out, record, None)
    out += opt
    _HEADER.pack_into(
        out, 0, message.id, flags_of(message), len(message.questions), len(answers), len(authority),
        len(additional) + (1 if opt else 0),
    )  # fmt: skip
    return bytes(out)


def _assemble(message: Message, opt: bytes, limit: int | None) -> tuple[bytes, bool]:
    """The bytes with compression, and whether every record is in them."""
    table: dict[str, int] = {}
    out = bytearray(12)
    for question in message.questions:
        put_name(out, question.name, table)
        out += _TYPE_CLASS.pack(question.qtype, question.qclass)
    room = None if limit is None else limit - len(opt)
    counts = [0, 0, 0]
    full = False
    for index, section in enumerate((message.answers, message.authority, message.additional)):
        for record in () if full else section:
            mark = len(out)
            _put_record(out, record, table)
            if room is not None and len(out) > room:
                del out[mark:]
                full = True
                break
            counts[index] += 1
    out += opt
    if opt:
        counts[2] += 1
    _HEADER.pack_into(out, 0, message.id, flags_of(message), len(message.questions), *counts)
    return bytes(out), not full


def flags_of(message: Message) -> int:
    """The header's second word."""
    return (
        message.response << 15 | message.opcode << 11 | message.authoritative << 10
        | message.truncated << 9 | message.recursion_desired << 8 | message.recursion_available << 7
        | message.authentic << 5 | message.checking_disabled << 4 | message.rcode & 0xF
    )  # fmt: skip


def query(
    id: int, name: str, qtype: int, *, recursion_desired: bool = True, edns_size: int | None = None,
    authentic: bool = False,
) -> bytes:  # fmt: skip
    """The bytes of a question in class IN, as a stub resolver asks it."""
    edns = None if edns_size is None else Edns(edns_size)
    return build(
        Message(
            id, recursion_desired=recursion_desired, authentic=authentic,
            questions=(Question(name, qtype),), edns=edns,
        )
    )  # fmt: skip


def reply(query: Message, **fields: Any) -> Message:
    """An answer to ``query``: its id, opcode, RD, CD and first question, and the ``fields`` given."""
    asked = query.opcode == QUERY  # as miekg/dns Msg.SetReply: only a QUERY has its flags copied
    return Message(
        query.id, opcode=query.opcode, response=True, recursion_desired=asked and query.recursion_desired,
        checking_disabled=asked and query.checking_disabled, questions=query.questions[:1],
    )._replace(**fields)  # fmt: skip


# --- text ----------------------------------------------------------------------------------------------


def type_name(number: int) -> str:
    """``A``, ``SRV``, or ``TYPE1234`` (RFC 3597)."""
    return TYPE_NAMES.get(number) or f"TYPE{number}"


def type_number(text: str) -> int | None:
    """The number of ``a``, ``SRV`` or ``TYPE1234``; None when it is none."""
    word = text.upper()
    if word.startswith("TYPE") and word[4:].isdecimal():
        number = int(word[4:])
        return number if number < 1 << 16 else None
    return TYPE_NUMBERS.get(word)


def class_name(number: int) -> str:
    """``IN``, or ``CLASS1234`` (RFC 3597)."""
    return CLASS_NAMES.get(number) or f"CLASS{number}"


def rcode_name(number: int) -> str:
    """``NXDOMAIN``, or ``RCODE11``."""
    return _RCODES[number].name if number in _RCODES else f"RCODE{number}"  # type: ignore[attr-defined]


def _render_string(data: bytes) -> str:
    body = "".join(
        f"\\{chr(byte)}" if byte in b'"\\' else chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03d}"
        for byte in data
    )
    return f'"{body}"'


def render_rdata(record: Record) -> str:
    """A record's data in presentation form."""
    match record.data:
        case str(name):
            return name
        case bytes(data) if record.rtype == A and len(data) == 4:
            return ".".join(map(str, data))
        case bytes(data) if record.rtype == AAAA and len(data) == 16:
            return str(IPv6Address(data))
        case bytes(data):
            return _render_rare(record.rtype, data)
        case Srv() | Soa() | Mx() as fields:
            return " ".join(map(str, fields))
        case strings:
            return " ".join(map(_render_string, strings))


def _render_rare(rtype: int, data: bytes) -> str:
    """Types that the codec keeps as bytes: dnslib's text, or RFC 3597's for what it does not know."""
    from dnslib import RDMAP, DNSBuffer

    try:
        if rtype == DNAME:
            return parse_name(data, 0)[0]
        if rtype == HINFO:
            return " ".join(map(_render_string, _parse_strings(data)))
    except WireError:
        return _render_unknown(data)
    known = RDMAP.get(type_name(rtype))
    if known is not None and data:
        try:
            return str(known.parse(DNSBuffer(data), len(data)))
        except Exception:  # dnslib raises anything on bytes that are not what their type promises
            pass
    return _render_unknown(data)


def _render_unknown(data: bytes) -> str:
    return f"\\# {len(data)} {data.hex().upper()}".rstrip()


def _pad(text: str, column: int) -> str:
    """``text`` and tabs up to ``column``; one blank when it is already there (BIND's masterdump)."""
    target = max(column, len(text.expandtabs(8)) + 1)
    tabs = target // 8 - len(text.expandtabs(8)) // 8
    return text + "\t" * tabs if tabs else text + " "


def render_question(question: Question) -> str:
    """A question as dig prints it, class at column 32."""
    line = _pad(question.name, 32) + class_name(question.qclass)
    return f";{_pad(line, 40)}{type_name(question.qtype)}"


def render_record(record: Record) -> str:
    """One line as dig prints it, columns at 24, 32, 40 and 48."""
    fields: Sequence[str] = (
        record.name, str(record.ttl), class_name(record.rclass), type_name(record.rtype),
    )  # fmt: skip
    line = ""
    for field, column in zip(fields, (24, 32, 40, 48), strict=True):
        line = _pad(line + field, column)
    return line + render_rdata(record)

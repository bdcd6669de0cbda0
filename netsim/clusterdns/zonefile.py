"""Records in presentation form: lines of a zone file (RFC 1035 section 5) to records.

For the plugins ``file`` and ``template``. ``$ORIGIN``, ``$TTL`` and ``$INCLUDE`` are read, ``$GENERATE`` is
refused. A record without a TTL has that of the record before, of ``$TTL``, or 3600. Source: miekg/dns
``scan.go``, ``scan_rr.go``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Any, NamedTuple

from netsim.base.errors import WireError
from netsim.wire import dns
from netsim.wire.dns import IN, Mx, Record, Soa, Srv
from netsim.wire.dnsname import name_to_wire
from netsim.wire.rare import rdata_from_words

RP = 17
SPF = 99

DEFAULT_TTL = 3600
MAXIMUM_INCLUDES = 7  # scan.go maxIncludeDepth

_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|((?:[^\s"();\\]|\\.)+)|([();])', re.DOTALL)
_ESCAPE = re.compile(r"\\(\d{3}|.)", re.DOTALL)
_TTL = re.compile(r"(?:\d+[smhdw]?)+", re.IGNORECASE)
_TTL_PART = re.compile(r"(\d+)([smhdw]?)", re.IGNORECASE)
_CLASSES = {name: number for number, name in dns.CLASS_NAMES.items() if name in ("IN", "CH", "HS")}
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class Word(NamedTuple):
    """A word of a record; ``quoted`` ones are texts even where they look like something else."""

    text: str
    quoted: bool = False


class _Line(NamedTuple):
    """The words of one record, whether the line began with a blank, and its number."""

    words: tuple[Word, ...]
    indented: bool
    number: int


def _lines(text: str) -> Iterator[_Line]:
    """Records, each on one line or over several between parentheses, without comments."""
    words: list[Word] = []
    depth, first, indented = 0, 0, False
    for number, line in enumerate(text.splitlines(), 1):
        if not words:
            first, indented = number, line[:1] in (" ", "\t")
        position = 0
        while position < len(line):
            found = _WORD.search(line, position)
            if found is None:
                break
            position = found.end()
            if found[3] == ";":
                break
            if found[3] is not None:
                depth += 1 if found[3] == "(" else -1
            elif found[1] is not None:
                words.append(Word(found[1], True))
            else:
                words.append(Word(found[2]))
        if depth < 0:
            raise WireError("zone", f"line {number}: extra closing brace")
        if words and depth == 0:
            yield _Line(tuple(words), indented, first)
            words = []
    if depth:
        raise WireError("zone", "unbalanced brace at the end")
    if words:
        yield _Line(tuple(words), indented, first)


class _Reader:
    """Where a zone file stands: origin, TTL and owner carry from line to line."""

    def __init__(self, origin: str, files: Mapping[str, str]) -> None:
        self._origin = origin
        self._files = files
        self._ttl: int | None = None
        self._last_ttl = DEFAULT_TTL
        self._owner = ""

    def records(self, text: str, depth: int = 0) -> Iterator[Record]:
        for line in _lines(text):
            try:
                if line.words[0].text.startswith("$") and not line.words[0].quoted:
                    yield from self._directive([word.text for word in line.words], depth)
                else:
                    yield self._record(line)
            except (WireError, ValueError, IndexError) as error:
                problem = error.args[0] if error.args else "a word is missing"
                raise WireError("zone", f"line {line.number}: {problem}") from None

    def _directive(self, words: Sequence[str], depth: int) -> Iterator[Record]:
        match words:
            case ["$ORIGIN", name]:
                self._origin = self._name(name)
            case ["$TTL", ttl] if _TTL.fullmatch(ttl):
                self._ttl = seconds(ttl)
            case ["$INCLUDE", path, *origin]:
                if path not in self._files:
                    raise WireError("zone", f"failed to open {path}")
                if depth >= MAXIMUM_INCLUDES:
                    raise WireError("zone", "too deeply nested $INCLUDE")
                reader = _Reader(self._name(origin[0]) if origin else self._origin, self._files)
                reader._ttl = self._ttl
                yield from reader.records(self._files[path], depth + 1)
            case _:
                raise WireError("zone", f"{words[0]} is not read")

    def _record(self, line: _Line) -> Record:
        words = list(line.words)
        if not line.indented:
            self._owner = self._name(words.pop(0).text)
        ttl: int | None = None
        rclass = IN
        while True:
            word = words.pop(0).text
            if word.upper() in _CLASSES:
                rclass = _CLASSES[word.upper()]
                continue
            if _TTL.fullmatch(word) and ttl is None:
                ttl = seconds(word)
                continue
            break
        rtype = dns.type_number(word)
        if rtype is None:
            raise WireError("zone", f"unknown RR type {word!r}")
        if ttl is None:
            ttl = self._last_ttl if self._ttl is None else self._ttl
        self._last_ttl = ttl
        return Record(self._owner, rtype, rclass, ttl, self._data(rtype, words))

    def _name(self, text: str) -> str:
        if text == "@":
            return self._origin
        name = text if text.endswith(".") and not text.endswith("\\.") else (
            f"{text}." if self._origin == "." else f"{text}.{self._origin}"
        )  # fmt: skip
        name_to_wire(name)
        return name

    def _data(self, rtype: int, words: Sequence[Word]) -> Any:
        texts = [word.text for word in words]
        if texts[0] == "\\#":
            data = bytes.fromhex("".join(texts[2:]))
            if len(data) != int(texts[1]):
                raise WireError("zone", "the length does not fit the data")
            return dns.parse_rdata(rtype, data)
        read = _READERS.get(rtype)
        if read is None:
            return rdata_from_words(dns.type_name(rtype), texts, self._name)
        if len(texts) > _MOST_WORDS.get(rtype, len(texts)):
            raise WireError("zone", "garbage after rdata")
        return read(self._name, texts)


def seconds(text: str) -> int:
    """``3600``, ``1h30m``."""
    return sum(int(number) * _UNITS[unit.lower()] for number, unit in _TTL_PART.findall(text))


def _string(text: str) -> bytes:
    plain = _ESCAPE.sub(lambda m: chr(int(m[1])) if len(m[1]) == 3 else m[1], text)
    return plain.encode("latin-1", "replace") if plain.isascii() or "\\" in text else plain.encode()


def _character_string(text: str) -> bytes:
    data = _string(text)
    if len(data) > 255:
        raise WireError("zone", "a text is longer than 255 bytes")
    return len(data).to_bytes(1, "big") + data


_Naming = Callable[[str], str]


def _soa(name: _Naming, words: Sequence[str]) -> Soa:
    serial, *times = words[2:7]
    return Soa(name(words[0]), name(words[1]), int(serial), *map(seconds, times))


def _srv(name: _Naming, words: Sequence[str]) -> Srv:
    return Srv(int(words[0]), int(words[1]), int(words[2]), name(words[3]))


def _caa(name: _Naming, words: Sequence[str]) -> bytes:
    return bytes([int(words[0])]) + _character_string(words[1]) + _string(words[2])


def _one_name(name: _Naming, words: Sequence[str]) -> str:
    return name(words[0])


_READERS: dict[int, Callable[[_Naming, Sequence[str]], Any]] = {
    dns.A: lambda name, words: IPv4Address(words[0]).packed,
    dns.AAAA: lambda name, words: IPv6Address(words[0]).packed,
    dns.NS: _one_name,
    dns.CNAME: _one_name,
    dns.PTR: _one_name,
    dns.DNAME: lambda name, words: name_to_wire(name(words[0])),
    dns.SOA: _soa,
    dns.MX: lambda name, words: Mx(int(words[0]), name(words[1])),
    dns.SRV: _srv,
    dns.TXT: lambda name, words: tuple(_string(word) for word in words),
    dns.HINFO: lambda name, words: _character_string(words[0]) + _character_string(" ".join(words[1:])),
    dns.CAA: _caa,
    RP: lambda name, words: name_to_wire(name(words[0])) + name_to_wire(name(words[1])),
    SPF: lambda name, words: b"".join(map(_character_string, words)),
}

_MOST_WORDS = {
    dns.A: 1, dns.AAAA: 1, dns.NS: 1, dns.CNAME: 1, dns.PTR: 1, dns.DNAME: 1, dns.SOA: 7, dns.MX: 2,
    dns.SRV: 4, dns.CAA: 3, RP: 2,
}  # fmt: skip


def parse_zone(text: str, origin: str, files: Mapping[str, str]) -> list[Record]:
    """All records of a zone file; WireError with the line when one cannot be read."""
    return list(_Reader(origin, files).records(text))


def parse_record(text: str) -> Record:
    """One record; WireError when the text is not one (dns.NewRR)."""
    records = parse_zone(text, ".", {})
    if not records:
        raise WireError("zone", "no record")
    record = records[0]
    dns.build(dns.Message(0, answers=(record,)))  # numbers out of range, texts that are too long
    return record

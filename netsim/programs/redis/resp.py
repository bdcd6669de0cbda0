"""RESP 2, the protocol of Redis: commands as a server reads them, replies as both sides write and read them.

Pure: bytes in, values out, nothing waits. The rules are those of Redis 7.0's ``networking.c``
(processInlineBuffer, processMultibulkBuffer) and ``sds.c`` (sdssplitargs), its errors in their words.
"""

from __future__ import annotations

import re
from typing import NamedTuple, TypeAlias

from netsim.base.errors import WireError

LINE_LIMIT = 65536
"""Octets of an inline command or a length line (PROTO_INLINE_MAX_SIZE)."""
BULK_LIMIT = 16 << 20
"""Octets of one word; Redis has 512 MiB (proto-max-bulk-len), more than an emulated Pod should hold."""
COUNT_LIMIT = (1 << 31) - 1
"""Words of one command (INT_MAX)."""

Words: TypeAlias = tuple[bytes, ...]


class Status(NamedTuple):
    """A simple string, ``+OK``."""

    text: bytes


class ErrorReply(NamedTuple):
    """An error, without its ``-``: ``ERR syntax error``."""

    text: str


class NilArray(NamedTuple):
    """``*-1``."""


class Raw(NamedTuple):
    """What goes out as it is; empty: no reply at all."""

    data: bytes


Reply: TypeAlias = "Status | ErrorReply | NilArray | Raw | int | bytes | tuple[Reply, ...] | None"
"""A bulk string is bytes, a missing one None, an array a tuple."""

OK = Status(b"OK")
SYNTAX_ERROR = "ERR syntax error"
NOT_AN_INTEGER = "ERR value is not an integer or out of range"


class CommandRefused(Exception):
    """A command answers with an error instead of a value; ``text`` is the error's, code word included."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def integer_from_word(word: bytes) -> int | None:
    """A 64-bit integer as string2ll (util.c) takes it: no blank, plus sign or leading zero."""
    if not re.fullmatch(rb"0|-?[1-9][0-9]{0,18}", word):
        return None
    number = int(word)
    return number if -(1 << 63) <= number < 1 << 63 else None


def encode(reply: Reply) -> bytes:
    """A reply's bytes."""
    match reply:
        case None:
            return b"$-1\r\n"
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(reply), reply)
        case int():
            return b":%d\r\n" % reply
        case Raw(data):
            return data
        case Status(text):
            return b"+%b\r\n" % text
        case ErrorReply(message):
            line = message.encode("utf-8", "surrogateescape").replace(b"\r", b" ").replace(b"\n", b" ")
            return b"-%b\r\n" % line
        case NilArray():
            return b"*-1\r\n"
    return b"*%d\r\n" % len(reply) + b"".join(map(encode, reply))


def encode_command(*words: bytes) -> bytes:
    """A command as clients send it: an array of bulk strings."""
    return encode(words)


class Command(NamedTuple):
    """One command, and the octets that it took. No words: a blank line or an empty array, to be ignored."""

    words: Words
    raw: bytes


class CommandParser:
    """Commands out of a stream of bytes: arrays of bulk strings, or inline ones as typed into telnet."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> Command | None:
        """The next whole command, or None until more bytes come; WireError for what is not RESP."""
        parsed = self._array() if self._buffer.startswith(b"*") else self._inline()
        if parsed is None:
            return None
        words, end = parsed
        raw, self._buffer = self._buffer[:end], self._buffer[end:]
        return Command(words, raw)

    def _inline(self) -> tuple[Words, int] | None:
        end = self._buffer.find(b"\n")
        if end < 0:
            if len(self._buffer) > LINE_LIMIT:
                raise WireError("RESP", "too big inline request")
            return None
        words = split_words(self._buffer[:end].removesuffix(b"\r"))
        if words is None:
            raise WireError("RESP", "unbalanced quotes in request")
        return words, end + 1

    def _array(self) -> tuple[Words, int] | None:
        line = self._line(1, "mbulk")
        if line is None:
            return None
        text, position = line
        count = integer_from_word(text)
        if count is None or count > COUNT_LIMIT:
            raise WireError("RESP", "invalid multibulk length")
        words = []
        for _ in range(count):
            word = self._bulk(position)
            if word is None:
                return None
            words.append(word[0])
            position = word[1]
        return tuple(words), position

    def _bulk(self, start: int) -> tuple[bytes, int] | None:
        line = self._line(start + 1, "bulk")
        if line is None:
            return None
        mark = self._buffer[start : start + 1]
        if mark != b"$":
            raise WireError("RESP", f"expected '$', got '{mark.decode('latin-1')}'")
        text, position = line
        length = integer_from_word(text)
        if length is None or not 0 <= length <= BULK_LIMIT:
            raise WireError("RESP", "invalid bulk length")
        if len(self._buffer) < position + length + 2:
            return None
        return self._buffer[position : position + length], position + length + 2

    def _line(self, start: int, what: str) -> tuple[bytes, int] | None:
        """The text up to the next CRLF, and where what follows it begins."""
        end = self._buffer.find(b"\r", start)
        if end < 0 and len(self._buffer) - start > LINE_LIMIT:
            raise WireError("RESP", f"too big {what} count string")
        if end < 0 or end + 2 > len(self._buffer):
            return None
        return self._buffer[start:end], end + 2


BLANKS = b" \t\n\r\v\f\0"
ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"|\'((?:[^\'\\]|\\\'|\\(?!\'))*)\'|([^\s\0"\']+)', re.DOTALL)
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)


def split_words(line: bytes) -> Words | None:
    """Words with quotes as sdssplitargs splits them; None when quotes are unbalanced or run into a word."""
    words: list[bytes] = []
    position = 0
    while True:
        while position < len(line) and line[position] in BLANKS:
            position += 1
        if position == len(line):
            return tuple(words)
        word = b""
        while position < len(line) and line[position] not in BLANKS:
            match = _QUOTED.match(line, position)
            if match is None:
                return None
            double, single, plain = match.groups()
            position = match.end()
            if plain is not None:
                word += plain
                continue
            word += _ESCAPE.sub(_unescape, double) if double is not None else single.replace(b"\\'", b"'")
            if position < len(line) and line[position] not in BLANKS:
                return None
        words.append(word)


def _unescape(match: re.Match[bytes]) -> bytes:
    if match[1]:
        return bytes([int(match[1], 16)])
    return ESCAPES.get(match[2], match[2])


class ReplyParser:
    """Replies out of a stream of bytes, as a client reads them."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> None:
        self._buffer += data

    @property
    def rest(self) -> bytes:
        """What came behind the last whole reply."""
        return self._buffer

    def next(self) -> tuple[Reply] | None:
        """The next whole reply in a 1-tuple, or None until more bytes come; WireError for what is none."""
        parsed = self._value(0)
        if parsed is None:
            return None
        reply, end = parsed
        self._buffer = self._buffer[end:]
        return (reply,)

    def _value(self, start: int) -> tuple[Reply, int] | None:
        end = self._buffer.find(b"\r\n", start)
        if end < 0:
            if len(self._buffer) - start > LINE_LIMIT:
                raise WireError("RESP", "too big a reply line")
            return None
        mark, text, position = self._buffer[start : start + 1], self._buffer[start + 1 : end], end + 2
        if mark == b"+":
            return Status(text), position
        if mark == b"-":
            return ErrorReply(text.decode("utf-8", "surrogateescape")), position
        number = integer_from_word(text) if mark in (b":", b"$", b"*") else None
        if number is None:
            raise WireError("RESP", f"not a reply: {self._buffer[start : start + 20]!r}")
        if mark == b":":
            return number, position
        return self._bulk(number, position) if mark == b"$" else self._elements(number, position)

    def _bulk(self, length: int, position: int) -> tuple[Reply, int] | None:
        if length < 0:
            return None, position
        end = position + length
        return (self._buffer[position:end], end + 2) if len(self._buffer) >= end + 2 else None

    def _elements(self, count: int, position: int) -> tuple[Reply, int] | None:
        if count < 0:
            return NilArray(), position
        elements: list[Reply] = []
        for _ in range(count):
            parsed = self._value(position)
            if parsed is None:
                return None
            elements.append(parsed[0])
            position = parsed[1]
        return tuple(elements), position

"""RDB, the snapshot that a full resynchronization sends: strings and lists of all databases, both ways.

``dump`` writes the oldest forms that every Redis since 2.6 reads (raw strings, plain lists, CRC-64).
``load`` reads also what Redis 7.0 writes: integers and LZF in place of strings, ziplists, listpacks and
quicklists; it refuses types that this Redis does not hold. The format is that of rdb.c, ziplist.c and
listpack.c.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from netsim.base.errors import WireError
from netsim.programs.redis.keyspace import DATABASES, Database

MAGIC = b"REDIS"
VERSION = 9
LATEST = 10
"""The newest version that is read: Redis 7.0's."""
AUX, RESIZE_DB, EXPIRE_MS, EXPIRE_S, SELECT_DB, END = 0xFA, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF
IDLE, FREQUENCY = 0xF8, 0xF9
STRING, LIST, ZIPLIST, QUICKLIST, QUICKLIST_2 = 0, 1, 10, 14, 18
PLAIN_NODE = 1
"""A node of a QUICKLIST_2 that is one big element, not a listpack."""
CRC_POLYNOMIAL = 0x95AC9329AC4BC9B5
"""Jones' CRC-64, reflected (crc64.c)."""


def dump(databases: list[Database]) -> bytes:
    """All databases as one RDB file."""
    out = MAGIC + b"%04d" % VERSION
    for index, database in enumerate(databases):
        if database.values:
            out += bytes([SELECT_DB]) + _length(index)
        for key, value in database.values.items():
            if isinstance(value, bytes):
                out += bytes([STRING]) + _string(key) + _string(value)
            else:
                out += bytes([LIST]) + _string(key) + _length(len(value)) + b"".join(map(_string, value))
    out += bytes([END])
    return out + crc64(out).to_bytes(8, "little")


def _length(number: int) -> bytes:
    if number < 1 << 6:
        return bytes([number])
    if number < 1 << 14:
        return (number | 0x4000).to_bytes(2, "big")
    return b"\x80" + number.to_bytes(4, "big")


def _string(text: bytes) -> bytes:
    return _length(len(text)) + text


def load(data: bytes) -> list[Database]:
    """The databases of an RDB file; WireError for what is damaged, or holds what is not known here."""
    if data[:5] != MAGIC or not data[5:9].isdigit() or not 1 <= int(data[5:9]) <= LATEST:
        raise WireError("RDB", f"Can't handle RDB format {data[:9]!r}")
    databases = [Database() for _ in range(DATABASES)]
    reader = _Reader(data, 9)
    current = databases[0]
    while (opcode := reader.byte()) != END:
        if opcode == SELECT_DB:
            index = reader.length()
            if index >= DATABASES:
                raise WireError("RDB", f"database {index} is out of range")
            current = databases[index]
        elif opcode == AUX:
            reader.string(), reader.string()
        elif opcode == RESIZE_DB:
            reader.length(), reader.length()
        elif opcode in (EXPIRE_MS, EXPIRE_S):
            reader.take(8 if opcode == EXPIRE_MS else 4)  # nothing expires here
        elif opcode in (IDLE, FREQUENCY):
            reader.length() if opcode == IDLE else reader.byte()
        else:
            key = reader.string()
            current.values[key] = reader.value(opcode)
    _check_sum(data, reader.position)
    return databases


def _check_sum(data: bytes, end: int) -> None:
    """Since version 5 a checksum follows; zero means that there is none."""
    if int(data[5:9]) < 5:
        return
    stored = int.from_bytes(data[end : end + 8], "little")
    if len(data) != end + 8 or (stored and stored != crc64(data[:end])):
        raise WireError("RDB", "Wrong RDB checksum")


class _Reader:
    """A place in an RDB file."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self.position = position

    def take(self, count: int) -> bytes:
        part = self._data[self.position : self.position + count]
        if len(part) < count:
            raise WireError("RDB", "Unexpected EOF")
        self.position += count
        return part

    def byte(self) -> int:
        return self.take(1)[0]

    def length(self) -> int:
        number, encoded = self._length()
        if encoded:
            raise WireError("RDB", "a length was expected")
        return number

    def _length(self) -> tuple[int, bool]:
        """A length, or the number of a special encoding."""
        first = self.byte()
        match first >> 6:
            case 0:
                return first & 0x3F, False
            case 1:
                return (first & 0x3F) << 8 | self.byte(), False
            case 2:
                return int.from_bytes(self.take(8 if first == 0x81 else 4), "big"), False
        return first & 0x3F, True

    def string(self) -> bytes:
        number, encoded = self._length()
        if not encoded:
            return self.take(number)
        if number < 3:
            return b"%d" % int.from_bytes(self.take(1 << number), "little", signed=True)
        if number > 3:
            raise WireError("RDB", f"unknown string encoding {number}")
        packed, whole = self.length(), self.length()
        return unpack_lzf(self.take(packed), whole)

    def value(self, kind: int) -> bytes | list[bytes]:
        match kind:
            case 0:
                return self.string()
            case 1:
                return [self.string() for _ in range(self.length())]
            case 10:
                return list(_ziplist(self.string()))
            case 14:
                return [element for _ in range(self.length()) for element in _ziplist(self.string())]
            case 18:
                return [element for _ in range(self.length()) for element in self._node()]
        raise WireError("RDB", f"values of type {kind} are not known here")

    def _node(self) -> list[bytes]:
        if self.length() == PLAIN_NODE:
            return [self.string()]
        return list(_listpack(self.string()))


INTEGER_SIZES = {0xC0: 2, 0xD0: 4, 0xE0: 8, 0xF0: 3, 0xFE: 1}
"""Ziplist: encoding → octets of the integer that follows."""


def _ziplist(data: bytes) -> Iterator[bytes]:
    reader = _Reader(data, 10)
    while True:
        first = reader.byte()
        if first == 0xFF:
            return
        if first == 0xFE:
            reader.take(4)  # the length of the entry before, in its long form
        kind = reader.byte()
        if kind >> 6 == 0:
            yield reader.take(kind & 0x3F)
        elif kind >> 6 == 1:
            yield reader.take((kind & 0x3F) << 8 | reader.byte())
        elif kind == 0x80:
            yield reader.take(int.from_bytes(reader.take(4), "big"))
        elif kind in INTEGER_SIZES:
            yield b"%d" % int.from_bytes(reader.take(INTEGER_SIZES[kind]), "little", signed=True)
        elif 0xF1 <= kind <= 0xFD:
            yield b"%d" % ((kind & 0x0F) - 1)
        else:
            raise WireError("RDB", f"unknown ziplist encoding {kind:#x}")


LISTPACK_INTEGERS = {0xF1: 2, 0xF2: 3, 0xF3: 4, 0xF4: 8}


def _listpack(data: bytes) -> Iterator[bytes]:
    reader = _Reader(data, 6)
    while True:
        start = reader.position
        kind = reader.byte()
        if kind == 0xFF:
            return
        if kind < 0x80:
            yield b"%d" % kind
        elif kind < 0xC0:
            yield reader.take(kind & 0x3F)
        elif kind < 0xE0:
            number = (kind & 0x1F) << 8 | reader.byte()
            yield b"%d" % (number - (1 << 13) if number >= 1 << 12 else number)
        elif kind < 0xF0:
            yield reader.take((kind & 0x0F) << 8 | reader.byte())
        elif kind == 0xF0:
            yield reader.take(int.from_bytes(reader.take(4), "little"))
        elif kind in LISTPACK_INTEGERS:
            yield b"%d" % int.from_bytes(reader.take(LISTPACK_INTEGERS[kind]), "little", signed=True)
        else:
            raise WireError("RDB", f"unknown listpack encoding {kind:#x}")
        reader.take(_backlen_size(reader.position - start))


def _backlen_size(length: int) -> int:
    """Octets of the length that stands behind each entry, seven bits in each (lpEncodeBacklen)."""
    return 1 if length < 128 else 2 if length < 1 << 14 else 3 if length < 1 << 21 else 4


def unpack_lzf(data: bytes, size: int) -> bytes:
    """LibLZF: runs of literals, and references to what came before (lzf_d.c)."""
    out = bytearray()
    reader = _Reader(data, 0)
    while reader.position < len(data):
        control = reader.byte()
        if control < 32:
            out += reader.take(control + 1)
            continue
        count = control >> 5
        if count == 7:
            count += reader.byte()
        start = len(out) - ((control & 0x1F) << 8) - reader.byte() - 1
        if start < 0:
            raise WireError("RDB", "Invalid LZF compressed string")
        for position in range(start, start + count + 2):
            out.append(out[position])
    if len(out) != size:
        raise WireError("RDB", "Invalid LZF compressed string")
    return bytes(out)


@cache
def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (CRC_POLYNOMIAL if byte & 1 else 0)
        table.append(byte)
    return tuple(table)


def crc64(data: bytes) -> int:
    """``crc64(b"123456789")`` is 0xe9c6d914c4b8d9ca (crc64.c's own test)."""
    table, value = _crc_table(), 0
    for byte in data:
        value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value

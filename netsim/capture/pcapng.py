"""pcapng files (draft-ietf-opsawg-pcapng): written block by block, and read back.

The writer is netsim's own, because what it needs together is in no library: interface names and
descriptions, nanoseconds, directions, a name for each address before the first packet, and a comment per
packet that says why the packet is there. The same records always give the same bytes.

The reader takes these files and those of other programs: both byte orders, any time resolution, several
sections; blocks that it does not know it skips. Damage raises WireError.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from netsim.base.errors import WireError
from netsim.capture.record import CapturedPacket, PacketRecord, reasons_from_notes
from netsim.plan.entries import Port

NANOSECONDS = 1_000_000_000
EPOCH = 1_767_225_600 * NANOSECONDS
"""When the virtual clock shows 0, in Unix nanoseconds: 2026-01-01T00:00:00Z."""

APPLICATION = "netsim"

_SECTION, _INTERFACE, _SIMPLE, _NAMES, _PACKET = 0x0A0D0D0A, 1, 3, 4, 6
_MAGIC = 0x1A2B3C4D
_ETHERNET = 1  # LINKTYPE_ETHERNET
_NAME_IPV4, _NAME_IPV6 = 1, 2
_OPT_COMMENT, _SHB_APPLICATION, _EPB_FLAGS, _EPB_PACKET_ID = 1, 4, 2, 5
_IF_NAME, _IF_DESCRIPTION, _IF_TSRESOL, _IF_TSOFFSET = 2, 3, 9, 14
_INBOUND, _OUTBOUND = 1, 2
_OPTION_LIMIT = 0xFFFF
_NAMES_PER_BLOCK = 1000  # Wireshark refuses blocks of more than 16 MiB

# --- writing: little-endian, whatever machine it runs on ---

_BLOCK_HEAD = struct.Struct("<II")
_LENGTH = struct.Struct("<I")
_OPTION_HEAD = struct.Struct("<HH")
_EPB_HEAD = struct.Struct("<7I")
_EPB_OPTION_FLAGS = struct.Struct("<HHI")
_EPB_OPTION_PACKET_ID = struct.Struct("<HHQ")
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")  # by length modulo 4
_END_OF_OPTIONS = bytes(4)


def write_pcapng(
    target: str | Path | BinaryIO,
    records: Sequence[PacketRecord],
    names: Mapping[bytes, str] | None = None,
    interfaces: Mapping[Port, str] | None = None,
    *,
    application: str = APPLICATION,
) -> None:
    """Write a capture to a path or an open binary file.

    ``names`` gives packed addresses a name, ``interfaces`` gives ports a description; only the ports that
    records name are written, in the order in which they first speak. A record's serial becomes the packet
    id, so that ``frame.packet_id == 7`` follows a packet over its hops. ``application`` is the program and
    its version, and starts with ``netsim``: by that the reader knows the epoch.
    """
    if isinstance(target, str | Path):
        with open(target, "wb") as file:
            file.writelines(_blocks(records, names or {}, interfaces or {}, application))
    else:
        target.writelines(_blocks(records, names or {}, interfaces or {}, application))


def _blocks(
    records: Sequence[PacketRecord],
    names: Mapping[bytes, str],
    interfaces: Mapping[Port, str],
    application: str,
) -> Iterator[bytes]:
    section = struct.pack("<IHHq", _MAGIC, 1, 0, -1)
    yield _block(_SECTION, section + _options((_SHB_APPLICATION, application.encode())))
    numbers: dict[Port, int] = {}
    for record in records:
        if record.port not in numbers:
            numbers[record.port] = len(numbers)
            yield _interface_block(record.port, interfaces.get(record.port, ""))
    yield from _name_blocks(names)
    for record in records:
        yield _packet_block(numbers[record.port], record)


def _block(kind: int, body: bytes) -> bytes:
    length = 12 + len(body)
    return _BLOCK_HEAD.pack(kind, length) + body + _LENGTH.pack(length)


def _options(*options: tuple[int, bytes]) -> bytes:
    return b"".join(_option(code, value) for code, value in options) + _END_OF_OPTIONS


def _option(code: int, value: bytes) -> bytes:
    if len(value) > _OPTION_LIMIT:
        value = value[:_OPTION_LIMIT].decode("utf-8", "ignore").encode()
    return _OPTION_HEAD.pack(code, len(value)) + value + _PADDING[len(value) & 3]


def _interface_block(port: Port, description: str) -> bytes:
    options = [(_IF_NAME, str(port).encode())]
    if description:
        options.append((_IF_DESCRIPTION, description.encode()))
    options.append((_IF_TSRESOL, b"\x09"))
    no_snap_length = struct.pack("<HHI", _ETHERNET, 0, 0)
    return _block(_INTERFACE, no_snap_length + _options(*options))


def _name_blocks(names: Mapping[bytes, str]) -> Iterator[bytes]:
    """Wireshark learns names as it reads: they stand before the packets."""
    ordered = sorted(names.items())
    for start in range(0, len(ordered), _NAMES_PER_BLOCK):
        records = (
            _option(_NAME_IPV4 if len(address) == 4 else _NAME_IPV6, address + name.encode() + b"\0")
            for address, name in ordered[start : start + _NAMES_PER_BLOCK]
        )
        yield _block(_NAMES, b"".join(records) + _END_OF_OPTIONS)


def _packet_block(number: int, record: PacketRecord) -> bytes:
    time, _, outbound, data, notes, serial = record
    # The epoch is added as an integer: seconds since 1970 as a float resolve no better than 200 ns.
    ticks = EPOCH + round(time * NANOSECONDS)
    options = _EPB_OPTION_FLAGS.pack(_EPB_FLAGS, 4, _OUTBOUND if outbound else _INBOUND)
    if serial:
        options += _EPB_OPTION_PACKET_ID.pack(_EPB_PACKET_ID, 8, serial)
    for reason in reasons_from_notes(notes):
        options += _option(_OPT_COMMENT, reason.encode())
    size = len(data)
    padding = _PADDING[size & 3]
    length = 28 + size + len(padding) + len(options) + 4 + 4
    head = _EPB_HEAD.pack(_PACKET, length, number, ticks >> 32, ticks & 0xFFFFFFFF, size, size)
    return b"".join((head, data, padding, options, _END_OF_OPTIONS, _LENGTH.pack(length)))


# --- reading ---


class Capture(NamedTuple):
    """A capture file: its packets, and what it says about addresses and interfaces.

    ``started`` is when ``time`` is 0, in Unix nanoseconds: the epoch of a netsim capture, the first packet
    of any other. ``interfaces`` maps names to descriptions.
    """

    packets: tuple[CapturedPacket, ...]
    names: dict[bytes, str]
    interfaces: dict[str, str]
    application: str
    started: int


def read_pcapng(path: str | Path) -> Capture:
    """Read a file; WireError when it is damaged or no pcapng, OSError when it cannot be opened."""
    return parse_pcapng(Path(path).read_bytes())


def parse_pcapng(data: bytes) -> Capture:
    """Read the bytes of a file."""
    _refuse_other_formats(data)
    reader = _Reader()
    at = 0
    while at < len(data):
        at = reader.take_block(data, at)
    return reader.capture()


class _Interface(NamedTuple):
    name: str
    link_type: int
    snap_length: int
    ticks_per_second: int
    offset: int  # seconds


class _Reader:
    """Takes the blocks of a file one by one; each section starts its own byte order and interfaces."""

    def __init__(self) -> None:
        self._order = "<"
        self._interfaces: list[_Interface] = []
        self._descriptions: dict[str, str] = {}
        self._names: dict[bytes, str] = {}
        self._application: str | None = None
        self._packets: list[tuple[int, CapturedPacket]] = []  # Unix nanoseconds, and the rest
        self._take: dict[int, Callable[[bytes], None]] = {
            _SECTION: self._take_section,
            _INTERFACE: self._take_interface,
            _SIMPLE: self._take_simple_packet,
            _NAMES: self._take_names,
            _PACKET: self._take_packet,
        }

    def take_block(self, data: bytes, at: int) -> int:
        """Read the block at ``at`` and return where the next one starts."""
        if data[at : at + 4] == _SECTION_BYTES:
            self._order = _byte_order(data, at)
        kind, length = self._unpack("II", data[at : at + 8], f"the block at byte {at}")
        body = data[at + 8 : at + length - 4]
        if length < 12 or length % 4 or data[at + length - 4 : at + length] != data[at + 4 : at + 8]:
            if at + length > len(data):
                raise WireError("pcapng", f"the file is cut short in the block at byte {at}")
            raise WireError("pcapng", f"the block at byte {at} contradicts its own length {length}")
        take = self._take.get(kind)
        if take is not None:
            take(body)
        return at + length

    def capture(self) -> Capture:
        """All that was read."""
        application = self._application or ""
        started = (
            EPOCH if application.startswith(APPLICATION) else min((ns for ns, _ in self._packets), default=0)
        )
        packets = tuple(
            packet._replace(time=(nanoseconds - started) / NANOSECONDS)
            for nanoseconds, packet in self._packets
        )
        return Capture(packets, self._names, self._descriptions, application, started)

    def _unpack(self, layout: str, data: bytes, where: str) -> tuple[int, ...]:
        try:
            return struct.unpack_from(self._order + layout, data)
        except struct.error:
            raise WireError("pcapng", f"the file is cut short in {where}") from None

    def _take_section(self, body: bytes) -> None:
        _, major, _, _ = self._unpack("IHHq", body, "a section header")
        if major != 1:
            raise WireError("pcapng", f"version {major} of the format is not known")
        self._interfaces = []
        if self._application is None:
            options = dict(self._options(body[16:]))
            self._application = _text(options.get(_SHB_APPLICATION, b""))

    def _take_interface(self, body: bytes) -> None:
        link_type, _, snap_length = self._unpack("HHI", body, "an interface description")
        options = dict(self._options(body[8:]))
        name = _text(options.get(_IF_NAME, b"")) or f"interface {len(self._interfaces)}"
        offset = self._unpack("q", options.get(_IF_TSOFFSET, bytes(8)), "a time offset")[0]
        resolution = options.get(_IF_TSRESOL, b"\x06")[:1]
        if not resolution:
            raise WireError("pcapng", f"{name} has an empty time resolution")
        exponent = resolution[0] & 0x7F
        ticks = 2**exponent if resolution[0] & 0x80 else 10**exponent
        self._interfaces.append(_Interface(name, link_type, snap_length, ticks, offset))
        self._descriptions.setdefault(name, _text(options.get(_IF_DESCRIPTION, b"")))

    def _take_names(self, body: bytes) -> None:
        for kind, value in self._options(body):
            size = {_NAME_IPV4: 4, _NAME_IPV6: 16}.get(kind)
            if size is not None:
                self._names.setdefault(value[:size], _text(value[size:].split(b"\0")[0]))

    def _take_packet(self, body: bytes) -> None:
        number, high, low, size, _ = self._unpack("IIIII", body, "a packet block")
        interface = self._interface(number)
        data = body[20 : 20 + size]
        if len(data) < size:
            raise WireError("pcapng", f"a packet of {size} bytes in a block of {len(body)}")
        ticks = (high << 32) + low
        nanoseconds = ticks * NANOSECONDS // interface.ticks_per_second + interface.offset * NANOSECONDS
        reasons: list[str] = []
        outbound = None
        serial = 0
        for code, value in self._options(body[20 + size + (-size & 3) :]):
            if code == _OPT_COMMENT:
                reasons += _text(value).splitlines()
            elif code == _EPB_FLAGS:
                direction = self._unpack("I", value, "packet flags")[0] & 3
                outbound = {_INBOUND: False, _OUTBOUND: True}.get(direction)
            elif code == _EPB_PACKET_ID:
                serial = self._unpack("Q", value, "a packet id")[0]
        packet = CapturedPacket(0.0, interface.name, outbound, data, tuple(reasons), serial)
        self._packets.append((nanoseconds, packet))

    def _take_simple_packet(self, body: bytes) -> None:
        """A block without a time: it gets that of the packet before."""
        size = self._unpack("I", body, "a simple packet block")[0]
        interface = self._interface(0)
        if interface.snap_length:
            size = min(size, interface.snap_length)
        data = body[4 : 4 + size]
        if len(data) < size:
            raise WireError("pcapng", f"a packet of {size} bytes in a block of {len(body)}")
        nanoseconds = self._packets[-1][0] if self._packets else 0
        self._packets.append((nanoseconds, CapturedPacket(0.0, interface.name, None, data, ())))

    def _interface(self, number: int) -> _Interface:
        if number >= len(self._interfaces):
            raise WireError("pcapng", f"a packet on interface {number}, which is not described")
        interface = self._interfaces[number]
        if interface.link_type != _ETHERNET:
            raise WireError(
                "pcapng",
                f"{interface.name} has link type {interface.link_type}, and only Ethernet (1) can be read: "
                "capture on one interface, not on 'any'",
            )
        return interface

    def _options(self, data: bytes) -> Iterable[tuple[int, bytes]]:
        """Options, or name records, which look the same; both may end without an end mark."""
        at = 0
        while at < len(data):
            code, length = self._unpack("HH", data[at : at + 4], "an option")
            if code == 0:
                return
            value = data[at + 4 : at + 4 + length]
            if len(value) < length:
                raise WireError("pcapng", f"an option of {length} bytes runs past its block")
            yield code, value
            at += 4 + length + (-length & 3)


_SECTION_BYTES = struct.pack("<I", _SECTION)  # a palindrome: the same in both byte orders
_OLD_MAGICS = tuple(bytes.fromhex(text) for text in ("a1b2c3d4", "d4c3b2a1", "a1b23c4d", "4d3cb2a1"))


def _byte_order(data: bytes, at: int) -> str:
    magic = data[at + 8 : at + 12]
    for order in "<>":
        if magic == struct.pack(f"{order}I", _MAGIC):
            return order
    raise WireError("pcapng", f"the section at byte {at} has no byte-order magic")


def _refuse_other_formats(data: bytes) -> None:
    if data[:4] in _OLD_MAGICS:
        raise WireError(
            "pcapng",
            "this is a libpcap file, the older format; convert it with Wireshark's "
            "'editcap -F pcapng OLD.pcap NEW.pcapng' and read the new file",
        )
    if data[:4] != _SECTION_BYTES:
        raise WireError("pcapng", "this is not a pcapng file: it does not start with a section header")


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace").rstrip("\0")

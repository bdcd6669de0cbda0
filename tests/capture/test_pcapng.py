"""Capture files: what is written is read back, to the nanosecond, and damage is named."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.base.cause import Stage
from netsim.base.errors import WireError
from netsim.capture.pcapng import EPOCH, Capture, parse_pcapng, read_pcapng, write_pcapng
from netsim.capture.record import CapturedPacket, PacketRecord, packet_from_record
from netsim.plan.entries import HostName, Port
from tests.capture.sample import ENCAP, INTERFACES, JUMP, NAMES, RECORDS, note


def written(
    records: list[PacketRecord],
    names: Mapping[bytes, str] | None = None,
    interfaces: Mapping[Port, str] | None = None,
) -> bytes:
    file = io.BytesIO()
    write_pcapng(file, records, names, interfaces)
    return file.getvalue()


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    length = struct.pack(f"{order}I", 12 + len(body))
    return struct.pack(f"{order}I", kind) + length + body + length


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(order: str = "<", options: bytes = b"") -> bytes:
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1) + options, order)


def interface(order: str = "<", options: bytes = b"", link_type: int = 1, snap_length: int = 0) -> bytes:
    return block(1, struct.pack(f"{order}HHI", link_type, 0, snap_length) + options, order)


def packet(ticks: int, data: bytes, order: str = "<", options: bytes = b"", number: int = 0) -> bytes:
    head = struct.pack(f"{order}IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
    return block(6, head + data + bytes(-len(data) % 4) + options, order)


# --- our own files ---


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "walk.pcapng"
    write_pcapng(path, RECORDS, NAMES, INTERFACES, application="netsim 1.2.3")
    assert read_pcapng(path) == Capture(
        packets=tuple(packet_from_record(record) for record in RECORDS),
        names=NAMES,
        interfaces={"dev/jump/eth0": "pod dev/jump", "node1/eth0": "node node1, wire to rack-a"},
        application="netsim 1.2.3",
        started=EPOCH,
    )


def test_a_path_and_an_open_file_get_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "walk.pcapng"
    write_pcapng(str(path), RECORDS, NAMES, INTERFACES)
    assert path.read_bytes() == written(RECORDS, names=NAMES, interfaces=INTERFACES)


def test_the_order_of_mappings_does_not_reach_the_file() -> None:
    names, interfaces = list(NAMES.items()), list(INTERFACES.items())
    random.Random(1).shuffle(names)
    interfaces.reverse()
    assert written(RECORDS, names=dict(names), interfaces=dict(interfaces)) == written(
        RECORDS, names=NAMES, interfaces=INTERFACES
    )


def test_the_first_bytes_are_those_of_the_format() -> None:
    record = PacketRecord(1.000000001, Port(HostName("n"), "e0"), True, b"frame", (ENCAP,), 9)
    comment = b"node node1: encap: VXLAN vni 1 to 192.168.10.12"
    ticks = 1_767_225_601_000_000_001
    assert written([record], names={bytes(4): "nobody"}) == b"".join(
        [
            section(options=option(4, b"netsim") + bytes(4)),
            interface(options=option(2, b"n/e0") + option(9, b"\x09") + bytes(4)),
            block(4, option(1, bytes(4) + b"nobody\0") + bytes(4)),
            packet(
                ticks,
                b"frame",
                options=option(2, b"\2\0\0\0")
                + option(5, b"\x09" + bytes(7))
                + option(1, comment)
                + bytes(4),
            ),
        ]
    )


@given(st.integers(0, 10**9), st.integers(0, 10**6))
def test_a_nanosecond_survives_for_eleven_days(nanosecond: int, second: int) -> None:
    exact = second * 10**9 + nanosecond
    record = PacketRecord(exact / 10**9, JUMP, True, b"", ())
    data = written([record])
    high, low = struct.unpack_from("<II", data, data.index(struct.pack("<I", 6), 28 + 12) + 12)
    assert (high << 32) + low == EPOCH + exact
    assert parse_pcapng(data).packets[0].time == record.time


def test_many_names_are_spread_over_blocks_and_all_read_back() -> None:
    names = {number.to_bytes(4, "big"): f"pod {number}" for number in range(2500)}
    names[bytes(15) + b"\1"] = "itself"
    assert parse_pcapng(written(RECORDS, names=names)).names == names


def test_a_comment_too_long_for_the_format_is_cut_between_characters() -> None:
    record = PacketRecord(0.0, JUMP, True, b"", (note("pod", Stage.PROGRAM, "→" * 30000),))
    (read,) = parse_pcapng(written([record])).packets
    assert read.reasons == ("pod: program: " + "→" * 21840,)


def test_a_capture_of_nothing_is_a_capture() -> None:
    assert parse_pcapng(written([])) == Capture((), {}, {}, "netsim", EPOCH)


# --- files of other programs ---


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_are_read(order: str) -> None:
    flags = option(2, struct.pack(f"{order}I", 1), order)
    comments = option(1, b"first\nsecond", order) + option(1, b"third", order)
    data = (
        section(order, option(4, b"dumpcap", order))
        + interface(order, option(2, b"eth0", order) + option(3, b"uplink", order))
        + packet(5_000_001, b"one", order, flags + comments + bytes(4))
        + packet(5_250_001, b"four", order)
    )
    assert parse_pcapng(data) == Capture(
        packets=(
            CapturedPacket(0.0, "eth0", False, b"one", ("first", "second", "third")),
            CapturedPacket(0.25, "eth0", None, b"four", ()),
        ),
        names={},
        interfaces={"eth0": "uplink"},
        application="dumpcap",
        started=5_000_001_000,
    )


@pytest.mark.parametrize(
    ("resolution", "ticks_per_second"),
    [(b"", 10**6), (option(9, b"\x06"), 10**6), (option(9, b"\x03"), 1000), (option(9, b"\x8a"), 1024)],
)
def test_the_time_resolution_is_honoured(resolution: bytes, ticks_per_second: int) -> None:
    first = 1_700_000_000 * ticks_per_second
    data = section() + interface(options=resolution)
    data += packet(first, b"") + packet(first + ticks_per_second // 2, b"")
    capture = parse_pcapng(data)
    assert capture.started == 1_700_000_000 * 10**9
    assert [one.time for one in capture.packets] == [0.0, 0.5]


def test_the_time_offset_is_honoured() -> None:
    data = section() + interface(options=option(14, struct.pack("<q", -100))) + packet(200_000_000, b"")
    assert parse_pcapng(data).started == 100 * 10**9


def test_each_section_has_its_own_interfaces_and_byte_order() -> None:
    data = (
        section() + interface(options=option(2, b"a")) + packet(0, b"1")
        + section(">") + interface(">", option(2, b"b", ">")) + packet(0, b"2", ">")
    )  # fmt: skip
    assert [(one.interface, one.data) for one in parse_pcapng(data).packets] == [("a", b"1"), ("b", b"2")]


def test_unknown_blocks_and_options_are_skipped() -> None:
    data = section(options=option(2, b"x86")) + block(0x0BAD, b"whatever") + interface()
    data += block(5, bytes(16)) + packet(0, b"data", options=option(7, b"????") + bytes(4))
    assert parse_pcapng(data).packets == (CapturedPacket(0.0, "interface 0", None, b"data", ()),)


def test_a_simple_packet_is_as_long_as_the_snap_length_and_has_the_time_of_the_one_before() -> None:
    data = section() + interface(snap_length=3) + packet(7_000_000, b"abc") + packet(8_000_000, b"abc")
    data += block(3, struct.pack("<I", 5) + b"def\0")
    assert parse_pcapng(data).packets[-1] == CapturedPacket(1.0, "interface 0", None, b"def", ())


# --- damage ---

SOUND = section() + interface()

DAMAGED: list[tuple[bytes, str]] = [
    (b"", "this is not a pcapng file: it does not start with a section header"),
    (b"not a capture", "this is not a pcapng file: it does not start with a section header"),
    (
        bytes.fromhex("d4c3b2a1"),
        "this is a libpcap file, the older format; convert it with Wireshark's "
        "'editcap -F pcapng OLD.pcap NEW.pcapng' and read the new file",
    ),
    (section()[:8] + bytes(20), "the section at byte 0 has no byte-order magic"),
    (section()[:12] + b"\2" + section()[13:], "version 2 of the format is not known"),
    (SOUND + packet(0, b"data")[:-1], "the file is cut short in the block at byte 48"),
    (SOUND + b"\6\0\0", "the file is cut short in the block at byte 48"),
    (SOUND + block(6, b"")[:-4] + bytes(4), "the block at byte 48 contradicts its own length 12"),
    (SOUND + struct.pack("<III", 6, 8, 8), "the block at byte 48 contradicts its own length 8"),
    (SOUND + block(6, bytes(8)), "the file is cut short in a packet block"),
    (section() + packet(0, b""), "a packet on interface 0, which is not described"),
    (SOUND + block(6, struct.pack("<5I", 0, 0, 0, 9, 9) + b"data"), "a packet of 9 bytes in a block of 24"),
    (SOUND + block(3, struct.pack("<I", 9) + b"data"), "a packet of 9 bytes in a block of 8"),
    (
        SOUND + packet(0, b"", options=struct.pack("<HH", 1, 99)),
        "an option of 99 bytes runs past its block",
    ),
    (SOUND + packet(0, b"", options=option(2, b"\1")), "the file is cut short in packet flags"),
    (section() + interface(options=option(9, b"")), "interface 0 has an empty time resolution"),
    (
        section() + interface(options=option(2, b"any"), link_type=113) + packet(0, b""),
        "any has link type 113, and only Ethernet (1) can be read: capture on one interface, not on 'any'",
    ),
]


@pytest.mark.parametrize(("data", "message"), DAMAGED, ids=[text[:30] for _, text in DAMAGED])
def test_the_error_says_what_is_wrong(data: bytes, message: str) -> None:
    with pytest.raises(WireError) as caught:
        parse_pcapng(data)
    assert str(caught.value) == f"pcapng: {message}"


@given(st.data())
def test_damaged_files_raise_nothing_but_wire_error(data: st.DataObject) -> None:
    sound = written(RECORDS[:4], names=NAMES, interfaces=INTERFACES)
    at = data.draw(st.integers(0, len(sound)))
    patch = data.draw(st.binary(min_size=1, max_size=8))
    for damaged in (sound[:at], sound[:at] + patch + sound[at + len(patch) :]):
        try:
            parse_pcapng(damaged)
        except WireError as error:
            assert error.header == "pcapng"

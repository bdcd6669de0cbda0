"""Wireshark's own program reads our captures: what we meant is what it shows."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from netsim.capture.dissect import summarize
from netsim.capture.pcapng import write_pcapng
from netsim.capture.profile import PROFILE, write_profile
from netsim.capture.record import reasons_from_notes
from tests.capture.sample import INTERFACES, NAMES, RECORDS

pytestmark = pytest.mark.needs("tshark")


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "walk.pcapng"
    write_pcapng(path, RECORDS, NAMES, INTERFACES, application="netsim 1.2.3")
    return path


def tshark(capture: Path, *arguments: str, profile: bool = True) -> list[list[str]]:
    """The rows that tshark prints, split at tabs, under the profile that stands beside the capture."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": str(capture.parent)}
    chosen: tuple[str, ...] = ()
    if profile:
        environment["WIRESHARK_CONFIG_DIR"] = str(write_profile(capture))
        chosen = ("-C", PROFILE)
    done = subprocess.run(
        ["tshark", *chosen, "-r", str(capture), *arguments], capture_output=True, text=True, env=environment
    )
    complaints = [line for line in done.stderr.splitlines() if "Running as user" not in line]
    assert (done.returncode, complaints) == (0, [])
    return [line.split("\t") for line in done.stdout.splitlines()]


def fields(capture: Path, *names: str, where: str = "") -> list[list[str]]:
    chosen = [part for name in names for part in ("-e", name)]
    return tshark(capture, "-T", "fields", *chosen, *(("-Y", where) if where else ()))


def test_interfaces_directions_and_packet_ids_are_those_of_the_records(capture: Path) -> None:
    names = ("frame.interface_name", "frame.interface_description", "frame.packet_flags_direction")
    assert fields(capture, *names, "frame.packet_id") == [
        [
            str(record.port),
            INTERFACES[record.port],
            "0x00000002" if record.outbound else "0x00000001",
            str(record.serial),
        ]
        for record in RECORDS
    ]


def test_comments_are_the_reasons(capture: Path) -> None:
    shown = tshark(capture, "-T", "fields", "-e", "frame.comment", "-E", "aggregator=|")
    assert shown == [["|".join(reasons_from_notes(record.notes))] for record in RECORDS]


def test_times_count_from_the_epoch_to_the_nanosecond(capture: Path) -> None:
    epoch = datetime(2026, 1, 1, tzinfo=UTC)
    for record, (shown,) in zip(RECORDS, fields(capture, "frame.time_epoch"), strict=True):
        seconds, nanoseconds = map(int, shown.split("."))
        elapsed = datetime.fromtimestamp(seconds, UTC) - epoch
        assert elapsed // timedelta(seconds=1) * 10**9 + nanoseconds == round(record.time * 10**9)


def test_every_checksum_is_right_outside_and_inside_the_tunnel(capture: Path) -> None:
    headers = ("ip", "udp", "tcp", "icmp")
    statuses = fields(capture, *(f"{header}.checksum.status" for header in headers))
    assert statuses[6] == ["1,1", "1", "1", ""]
    assert {status for row in statuses for column in row for status in column.split(",") if status} == {"1"}
    assert fields(capture, "frame.number", where="_ws.malformed") == []


def test_vxlan_on_linux_port_is_decoded_with_the_profile_only(capture: Path) -> None:
    assert fields(capture, "vxlan.vni", "ip.dst", where="vxlan") == [
        ["1", "192.168.10.12,10.244.2.3"],
        ["1", "192.168.10.12,10.244.2.3"],
    ]
    assert tshark(capture, "-Y", "vxlan", profile=False) == []


def test_columns_show_names_interfaces_and_reasons(capture: Path) -> None:
    rows = [" ".join(row).split() for row in tshark(capture, "-T", "tabs", "-Y", "dns")]
    text = " ".join(rows[1])
    assert "node1/eth0 Outbound pod dev/jump" in text
    assert "DNS" in text
    assert text.endswith("chose 10.244.0.2:53 (1 of 2)")


def test_the_packet_id_follows_a_packet_into_the_tunnel(capture: Path) -> None:
    assert fields(capture, "frame.number", where="frame.packet_id == 5") == [["6"], ["7"]]


def test_the_application_is_named(capture: Path) -> None:
    done = subprocess.run(["capinfos", str(capture)], capture_output=True, text=True, check=True)
    assert "Capture application: netsim 1.2.3" in " ".join(done.stdout.split())


def test_our_protocol_column_is_wiresharks(capture: Path) -> None:
    """Except for tunnels, of which Wireshark names what is inside and netsim what is on the wire."""
    shown = [row[0] for row in fields(capture, "_ws.col.Protocol")]
    ours = [summarize(record.data).protocol for record in RECORDS]
    assert ours[6:8] == ["VXLAN", "VXLAN"]
    assert [*ours[:6], "TCP", "HTTP", *ours[8:]] == shown

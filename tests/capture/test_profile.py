"""The Wireshark profile stands beside the capture and is the same each time."""

from __future__ import annotations

from pathlib import Path

from netsim.capture.profile import wireshark_command, write_profile


def test_the_profile_stands_beside_the_capture(tmp_path: Path) -> None:
    root = write_profile(tmp_path / "walk.pcapng")
    assert root == tmp_path / "walk.wireshark"
    files = {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}
    assert set(files) == {"profiles/netsim/preferences", "profiles/netsim/decode_as_entries"}
    assert files["profiles/netsim/decode_as_entries"] == "decode_as_entry: udp.port,8472,(none),VXLAN\n"


def test_each_capture_has_its_own_and_the_same(tmp_path: Path) -> None:
    first, second = (write_profile(tmp_path / name) for name in ("walk.pcapng", "other.pcapng"))
    assert first != second
    assert (first / "profiles/netsim/preferences").read_text() == (
        second / "profiles/netsim/preferences"
    ).read_text()
    assert write_profile(str(tmp_path / "walk.pcapng")) == first


def test_the_command_is_quoted_for_the_shell() -> None:
    assert wireshark_command("my walk.pcapng", Path("my walk.wireshark")) == (
        "WIRESHARK_CONFIG_DIR='my walk.wireshark' wireshark -C netsim -r 'my walk.pcapng'"
    )

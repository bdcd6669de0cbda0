"""The Wireshark profile stands beside the capture and is the same each time."""

from __future__ import annotations

from pathlib import Path

from netsim.capture.profile import write_profile


def test_the_profile_stands_beside_the_capture(tmp_path: Path) -> None:
    root = write_profile(tmp_path / "walk.pcapng")
    assert root == tmp_path / "netsim-wireshark"
    files = {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}
    assert set(files) == {"profiles/netsim/preferences", "profiles/netsim/decode_as_entries"}
    assert files["profiles/netsim/decode_as_entries"] == "decode_as_entry: udp.port,8472,(none),VXLAN\n"


def test_a_second_capture_in_the_directory_shares_it(tmp_path: Path) -> None:
    first = write_profile(tmp_path / "walk.pcapng")
    preferences = (first / "profiles/netsim/preferences").read_text()
    assert write_profile(str(tmp_path / "other.pcapng")) == first
    assert (first / "profiles/netsim/preferences").read_text() == preferences

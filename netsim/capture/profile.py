"""A Wireshark configuration beside a capture, so that it opens as it is meant to be read.

Wireshark does not know VXLAN on Linux's port 8472, leaves checksums unchecked, shows addresses where the
capture holds names, and hides comments. The profile ``netsim`` changes just that::

    WIRESHARK_CONFIG_DIR=netsim-wireshark wireshark -C netsim -r walk.pcapng

A packet that was captured at several interfaces looks to Wireshark's TCP analysis like a retransmission;
the filter ``frame.interface_name == "node1/eth0"`` leaves one copy of each.
"""

from __future__ import annotations

from pathlib import Path

from netsim.wire import vxlan

PROFILE = "netsim"
DIRECTORY = "netsim-wireshark"

_COLUMNS = (
    ("No.", "%m"),
    ("Time", "%t"),
    ("Interface", "%Cus:frame.interface_name:0:R"),
    ("Direction", "%Cus:frame.packet_flags_direction:0:R"),
    ("Source", "%s"),
    ("Destination", "%d"),
    ("Protocol", "%p"),
    ("Length", "%L"),
    ("Info", "%i"),
    ("Why", "%Cus:frame.comment:0:R"),
)

_PREFERENCES = """\
# Written by netsim beside its captures.
ip.check_checksum: TRUE
udp.check_checksum: TRUE
tcp.check_checksum: TRUE
nameres.network_name: TRUE
nameres.use_external_name_resolver: FALSE
nameres.dns_pkt_addr_resolution: FALSE
gui.column.format: {columns}
"""


def write_profile(capture: str | Path) -> Path:
    """Write the configuration into the capture's directory; returns the WIRESHARK_CONFIG_DIR to set."""
    root = Path(capture).parent / DIRECTORY
    folder = root / "profiles" / PROFILE
    folder.mkdir(parents=True, exist_ok=True)
    columns = ", ".join(f'"{title}", "{content}"' for title, content in _COLUMNS)
    (folder / "preferences").write_text(_PREFERENCES.format(columns=columns), encoding="utf-8")
    (folder / "decode_as_entries").write_text(
        f"decode_as_entry: udp.port,{vxlan.LINUX_PORT},(none),VXLAN\n", encoding="utf-8"
    )
    return root

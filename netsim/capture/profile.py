"""A Wireshark configuration beside a capture, so that it opens as it is meant to be read.

Wireshark does not know VXLAN on Linux's port 8472, leaves checksums unchecked, shows addresses where the
capture holds names, and hides comments. The profile ``netsim`` changes just that::

    WIRESHARK_CONFIG_DIR=walk.wireshark wireshark -C netsim -r walk.pcapng

A packet that was captured at several interfaces looks to Wireshark's TCP analysis like a retransmission, so
the profile switches that analysis off. The filter ``frame.interface_name == "node1/eth0"`` leaves one copy of
each packet, for those who want it on. For the same reason Redis is read packet by packet: behind a snapshot,
which has no end that Wireshark knows, it would wait for more and take every copy for a contradiction.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from netsim.wire import vxlan

PROFILE = "netsim"
SUFFIX = ".wireshark"

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
    ("Why", "%Cus:frame.comment:-1:R"),  # the last one: what was decided here
)

_PREFERENCES = """\
# Written by netsim beside its captures.
ip.check_checksum: TRUE
udp.check_checksum: TRUE
tcp.check_checksum: TRUE
tcp.analyze_sequence_numbers: FALSE
resp.desegment_data: FALSE
nameres.network_name: TRUE
nameres.use_external_name_resolver: FALSE
nameres.dns_pkt_addr_resolution: FALSE
gui.column.format: {columns}
"""


def write_profile(capture: str | Path) -> Path:
    """Write the configuration beside the capture; returns the WIRESHARK_CONFIG_DIR to set.

    It is named after the capture, so that two captures, or two users in ``/tmp``, share nothing.
    """
    root = Path(capture).with_suffix(SUFFIX)
    folder = root / "profiles" / PROFILE
    folder.mkdir(parents=True, exist_ok=True)
    columns = ", ".join(f'"{title}", "{content}"' for title, content in _COLUMNS)
    (folder / "preferences").write_text(_PREFERENCES.format(columns=columns), encoding="utf-8")
    (folder / "decode_as_entries").write_text(
        f"decode_as_entry: udp.port,{vxlan.LINUX_PORT},(none),VXLAN\n", encoding="utf-8"
    )
    return root


def wireshark_command(capture: str | Path, config: Path) -> str:
    """The line for the shell that opens a capture under the configuration that ``write_profile`` gave."""
    directory, file = shlex.quote(str(config)), shlex.quote(str(capture))
    return f"WIRESHARK_CONFIG_DIR={directory} wireshark -C {PROFILE} -r {file}"

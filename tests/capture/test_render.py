"""What ``netsim capture show`` prints."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from netsim.capture.filter import parse_filter
from netsim.capture.record import PacketRecord, packet_from_record
from netsim.capture.render import Line, detail, lines, render_list
from tests.capture.sample import ASK, JUMP, NAMES, QUERY, RECORDS, SYN, dns_over_tcp, tunnelled

if TYPE_CHECKING:
    from tests.conftest import Golden

PACKETS = [packet_from_record(record) for record in RECORDS]


def test_a_list(golden: Golden) -> None:
    golden("list.txt", render_list(list(lines(PACKETS))))


def test_a_list_with_names_and_reasons(golden: Golden) -> None:
    golden("list-with-reasons.txt", render_list(list(lines(PACKETS, names=NAMES)), reasons=True))


def test_a_filtered_list_keeps_the_numbers_of_the_whole() -> None:
    listed = list(lines(PACKETS, where=parse_filter("vxlan")))
    assert [line.number for line in listed] == [7, 8]
    assert listed[0] == Line(
        7, PACKETS[6].time, "node1/eth0", "out", listed[0].summary, PACKETS[6].reasons, packet=5
    )


def test_an_unknown_direction_is_a_dash_and_unknown_packets_have_no_column() -> None:
    packet = packet_from_record(PacketRecord(0.0, JUMP, True, SYN, ()))._replace(outbound=None)
    (text,) = render_list(list(lines([packet]))).splitlines()
    assert text.startswith("1  0.000000  dev/jump/eth0  -    10.244.1.2 → 10.244.2.3 TCP ")


def test_a_list_of_nothing_is_empty() -> None:
    assert render_list([]) == ""


def test_the_detail_of_a_tunnelled_packet_reaches_the_inner_headers() -> None:
    text = detail(tunnelled(SYN))
    assert text.count("###[ Ethernet ]###") == 2
    for words in (
        "###[ VXLAN ]###",
        "vni       = 0x1",
        "src       = 192.168.10.11",
        "dst       = 10.244.2.3",
    ):
        assert words in text


def test_the_detail_of_a_query_reaches_its_name_over_udp_and_tcp() -> None:
    for data in (ASK, dns_over_tcp(QUERY)):
        text = detail(data)
        assert "###[ DNS" in text
        assert "b'ent.dev.svc.cluster.local.'" in text


def test_lists_do_without_scapy() -> None:
    program = (
        "import sys; from netsim.capture import render, filter, pcapng, profile\n"
        "render.summarize(bytes(60)); sys.exit('scapy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)

"""The filter language lets through what it says, and explains what it does not understand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netsim.base.errors import UsageError
from netsim.capture.filter import parse_filter
from netsim.capture.record import packet_from_record
from tests.capture.sample import RECORDS

if TYPE_CHECKING:
    from tests.conftest import Golden

ARP = {1, 2}
DNS = {3, 4, 5}
TUNNEL = {7, 8}
TCP = {6, *TUNNEL}
ICMP = {9, 10}
EVERYTHING = ARP | DNS | TCP | ICMP


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("", EVERYTHING),
        ("arp", ARP),
        ("dns", DNS),
        ("udp", DNS | TUNNEL),
        ("tcp", TCP),
        ("http", {8}),
        ("bgp", set()),
        ("vxlan", TUNNEL),
        ("icmp", ICMP),
        ("host 10.244.1.1", ARP),
        ("host 192.168.10.12", TUNNEL),
        ("host 10.244.2.3", TCP | {9}),
        ("net 192.168.10.12/32", TUNNEL),
        ("net 192.168.10.0/24 and tcp", TUNNEL),
        ("net 10.244.2.2/31", TCP | {9}),
        ("net fd00::/8", set()),
        ("net 0.0.0.0/0", EVERYTHING),
        ("port 53", DNS),
        ("port 8472", TUNNEL),
        ("port 80", TCP),
        ("port 81", set()),
        ("interface node1/eth0", {4, *TUNNEL}),
        ("interface node1", {4, *TUNNEL}),
        ("interface dev/jump", EVERYTHING - {4, *TUNNEL}),
        ("packet 5", {6, 7}),
        ("not tcp", EVERYTHING - TCP),
        ("not not tcp", TCP),
        ("tcp and not vxlan", {6}),
        ("tcp && !vxlan", {6}),
        ("arp or icmp", ARP | ICMP),
        ("arp || icmp", ARP | ICMP),
        ("arp or tcp and vxlan", ARP | TUNNEL),
        ("(arp or tcp) and vxlan", TUNNEL),
        ("not arp and icmp", ICMP),
        ("not (arp or dns or (tcp))", ICMP),
        ("  host 10.244.1.2   and not(arp or port 53)", EVERYTHING - ARP - DNS),
    ],
)
def test_a_filter_lets_through(text: str, numbers: set[int]) -> None:
    wanted = parse_filter(text)
    packets = [packet_from_record(record) for record in RECORDS]
    assert {number for number, packet in enumerate(packets, 1) if wanted.matches(packet)} == numbers


def test_errors_teach_the_language(golden: Golden) -> None:
    texts = [
        "tpc",
        "10.96.0.10",
        "eth0",
        "tcp port 80",
        "tcp and",
        "and tcp",
        "(tcp or udp",
        "tcp)",
        "()",
        "not",
        "host",
        "host and tcp",
        "net 10.96.0.1/16",
        "net",
        "host dev/jump",
        "port dns",
        "port 65536",
        "interface",
        "packet one",
    ]
    messages = []
    for text in texts:
        with pytest.raises(UsageError) as caught:
            parse_filter(text)
        messages.append(str(caught.value))
    golden("filter-errors.txt", "\n".join(messages) + "\n")

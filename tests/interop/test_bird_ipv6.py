"""BIRD judges how our speaker tells IPv6 routes: a session of its own for them, as Calico's bird6 has.

The session itself goes over this machine's IPv4 loopback addresses, of which there are many; next hops are
those of a network that BIRD counts as reachable.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path

import pytest

from netsim.net.bgp.events import Originated, Withdrawn
from netsim.net.bgp.settings import PeerSettings
from tests.interop.bird import Bird, Wire, wait_until

pytestmark = pytest.mark.needs("bird", "birdc")

US, OUR_NEXT_HOP = "127.0.0.11", IPv6Address("fd00:9::11")
THEIR_AS, THEIR_NEXT_HOP = 64512, "fd00:9::2"
PREFIXES = {f"fd00:10:244:{number:x}::/64" for number in range(1, 600)}
BOTH_ASES = pytest.mark.parametrize("asn", [THEIR_AS, 65001, 4200000001], ids=["iBGP", "eBGP", "long AS"])


@pytest.fixture
def open_things() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def _bird(folder: Path, things: ExitStack, asn: int, channels: str) -> Bird:
    bird = Bird(
        folder / "bird6",
        'protocol static hops6 { ipv6; route fd00:9::/64 via "lo"; }\n'
        "protocol static origin { ipv6; route fd00:20:1::/64 blackhole; route fd00:20:2::/80 blackhole; }\n"
        f"protocol bgp ours {{ local HERE as {THEIR_AS}; neighbor {US} as {asn}; multihop; passive on;\n"
        f"  {channels} }}\n",
    )
    things.callback(bird.stop)
    return bird.start()


SIX = (
    "ipv6 { import all; export where source = RTS_STATIC && dest = RTD_BLACKHOLE;"
    f" next hop address {THEIR_NEXT_HOP}; }};"
)
FOUR = "ipv4 { import all; export none; };"


def _speaker(bird: Bird, things: ExitStack, asn: int) -> Wire:
    peer = PeerSettings(IPv4Address(bird.address), THEIR_AS, "bird")
    wire = Wire(US, asn, {bird: peer}, family=6, speaks_at=OUR_NEXT_HOP)
    things.callback(wire.close)
    return wire.start()


def _has(bird: Bird) -> set[str]:
    shown = bird.ask("show route protocol ours")
    return {line.split()[0] for line in shown.splitlines() if line.startswith("fd00:")}


@BOTH_ASES
def test_routes_go_both_ways_and_are_withdrawn_both_ways(
    tmp_path: Path, open_things: ExitStack, asn: int
) -> None:
    bird = _bird(tmp_path, open_things, asn, SIX)
    ours = _speaker(bird, open_things, asn)
    for prefix in sorted(PREFIXES):
        ours.feed(Originated(IPv6Network(prefix)))
    learnt = {"fd00:20:1::/64": THEIR_NEXT_HOP, "fd00:20:2::/80": THEIR_NEXT_HOP}
    wait_until(lambda: bool(bird.ask("show status")) and ours.routes == learnt, "we have BIRD's", ours)
    wait_until(lambda: _has(bird) == PREFIXES, "BIRD has ours", ours)
    shown = bird.ask("show route all fd00:10:244:1::/64")
    path = "" if asn == THEIR_AS else f"{asn}"
    assert f"BGP.as_path: {path}\n" in shown and f"BGP.next_hop: {OUR_NEXT_HOP}\n" in shown, shown

    gone = sorted(PREFIXES)[1:]
    for prefix in gone:
        ours.feed(Withdrawn(IPv6Network(prefix)))
    wait_until(lambda: _has(bird) == PREFIXES - set(gone), "BIRD has one route", ours)
    bird.ask("disable origin")
    wait_until(lambda: bool(bird.ask("show status")) and not ours.routes, "we have none of BIRD's", ours)
    assert "Received" not in bird.ask("show protocols ours")


def test_a_neighbour_with_ipv4_routes_too_has_the_session_for_ipv6_ones(
    tmp_path: Path, open_things: ExitStack
) -> None:
    """Capabilities: what both sides name is spoken, the rest is left out."""
    bird = _bird(tmp_path, open_things, THEIR_AS, FOUR + SIX)
    ours = _speaker(bird, open_things, THEIR_AS)
    wait_until(lambda: bool(bird.ask("show status")) and len(ours.routes) == 2, "we have BIRD's", ours)
    assert "Multiprotocol" in bird.ask("show protocols all ours")


def test_a_neighbour_for_ipv4_routes_alone_is_refused(tmp_path: Path, open_things: ExitStack) -> None:
    bird = _bird(tmp_path, open_things, THEIR_AS, FOUR)
    ours = _speaker(bird, open_things, THEIR_AS)
    missing = "<RMT> ours: Error: Required capability missing"
    wait_until(lambda: missing in bird.log.read_text(), "BIRD was told why", ours)
    assert not ours.routes

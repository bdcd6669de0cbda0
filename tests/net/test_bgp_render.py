"""What birdc would print of a speaker, beside golden files; tests/interop holds them to the real birdc."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from netsim.net.bgp.events import NextHopResolved, Originated
from netsim.net.bgp.render import Way, render_protocols, render_routes
from netsim.net.bgp.settings import PeerSettings
from tests.conftest import Golden
from tests.net.bgp_dialogue import announce, route
from tests.net.bgp_network import PROMPT, Site


def on_eth0(next_hop: IPv4Address) -> Way | None:
    if next_hop == IPv4Address("10.0.9.9"):
        return Way(IPv4Address("10.0.0.254"), "eth0")
    return None if next_hop == IPv4Address("10.0.8.8") else Way(next_hop, "eth0")


def site() -> Site:
    """A router with every kind of neighbour: established, dead, passive, failing, refusing."""
    found = Site()
    peers = [
        PeerSettings(IPv4Address("10.0.0.2"), 64512, "node2"),
        PeerSettings(IPv4Address("10.0.0.3"), 65003, "tor"),
        PeerSettings(IPv4Address("10.0.0.4"), 64512, passive=True),
        PeerSettings(IPv4Address("10.0.0.5"), 64512, "off"),
        PeerSettings(IPv4Address("10.0.0.6"), 64512, "wrong_as"),
        PeerSettings(IPv4Address("10.0.0.7"), 64512, "nowhere"),
    ]
    found.router("10.0.0.1", 64512, peers, timers=PROMPT)
    us = IPv4Address("10.0.0.1")
    found.router("10.0.0.2", 64512, [PeerSettings(us, 64512)], timers=PROMPT)
    found.router("10.0.0.3", 65003, [PeerSettings(us, 64512)], timers=PROMPT)
    found.router("10.0.0.5", 64512, [], timers=PROMPT)
    found.router("10.0.0.6", 64999, [PeerSettings(us, 64512)], timers=PROMPT)
    found.start("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.6")
    return found


def test_protocols(golden: Golden) -> None:
    running = site()
    running["10.0.0.1"].originate("10.244.1.0/24")
    golden("bgp_protocols.txt", render_protocols(running.run(1.5)["10.0.0.1"].speaker))


def test_routes(golden: Golden) -> None:
    running = site()
    speaker = running["10.0.0.1"].speaker
    running["10.0.0.1"].originate("10.244.1.0/24")
    running["10.0.0.3"].originate("10.244.3.0/24", "0.0.0.0/0")
    running.run(1.25)
    internal = IPv4Address("10.0.0.2").packed
    for update in (
        announce("10.244.2.0/24", "10.244.3.0/24"),
        announce("10.244.9.0/24", attributes=route(65001, 65002, via="10.0.9.9", origin=1)),
        announce("10.244.8.0/24", attributes=route(via="10.0.8.8", origin=2)),
    ):
        speaker.rib.receive(internal, update, 3723.0045)
    speaker.feed(NextHopResolved(IPv4Address("10.0.8.8"), None), 3723.0045)
    speaker.feed(NextHopResolved(IPv4Address("10.0.9.9"), 20), 3723.0045)
    golden("bgp_routes.txt", render_routes(speaker, on_eth0))


def test_a_speaker_that_knows_nothing() -> None:
    lonely = Site().router("10.0.0.1", 64512, []).speaker
    assert render_protocols(lonely) == "Name       Proto      Table      State  Since         Info\n"
    assert render_routes(lonely, on_eth0) == "Table master4:\n"
    lonely.feed(Originated(IPv4Network("10.0.0.0/8")), 0.0)
    assert "static1" in render_protocols(lonely)

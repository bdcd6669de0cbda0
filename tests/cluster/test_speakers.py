"""The cluster runs the BGP daemons that the plan wants, and those alone."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

import pytest

from netsim.base.cause import Cause, Stage
from netsim.base.rng import Rng
from netsim.cluster.speakers import SpeakerId, Speakers
from netsim.cni.fabric import fabric_entries
from netsim.net.bgp.settings import PeerSettings
from netsim.objects.topology import Topology
from netsim.plan.delta import Delta, Plan
from netsim.plan.entries import NODES, Entry, HostName, Key, Peer, Scope, Speaker
from netsim.planes.sim.plane import SimPlane

ADDRESSES = {"control": "192.168.10.10", "node1": "192.168.10.11", "node2": "192.168.10.12"}
OWNER, WHY = "test", Cause(Stage.PLAN, "test")
PODS = "10.244.1.0/24"


class Site:
    """A fabric, and the daemons on it."""

    def __init__(self) -> None:
        self.plan, self.plane = Plan(), SimPlane(Rng(1))
        self.speakers = Speakers(self.plan, self.plane)
        self.apply(*fabric_entries(Topology()))

    def apply(self, *put: Entry, remove: tuple[Key, ...] = ()) -> None:
        delta = Delta(put, remove)
        self.plan.apply(delta)
        self.plane.apply(delta)
        self.speakers.follow(delta)

    def peers(self, name: str) -> list[PeerSettings]:
        return list(self.speakers.controls[SpeakerId(HostName(name))].settings.peers)

    def learnt(self, name: str) -> set[str]:
        routes = self.plane.host(HostName(name)).routes()
        return {route.destination for route in routes if route.protocol == "bird"}

    def settle(self, *lost: str) -> None:
        limit = self.plane.now + 100.0
        assert self.plane.pump_until(lambda: self.speakers.settled(lost), limit), self.speakers.waiting(lost)


def speaker(name: str, *prefixes: str) -> Speaker:
    networks = tuple(IPv4Network(prefix) for prefix in prefixes)
    return Speaker(HostName(name), 64512, IPv4Address(ADDRESSES[name]), OWNER, WHY, networks)


def peer(on: str, name: str, **more: bool) -> Peer:
    return Peer(Scope(on), IPv4Address(ADDRESSES[name]), 64512, name, OWNER, WHY, **more)  # type: ignore[arg-type]


@pytest.fixture
def site() -> Iterator[Site]:
    """node1, which has a prefix, and node2 have a session."""
    made = Site()
    made.apply(speaker("node1", PODS), speaker("node2"), peer(NODES, "node1"), peer(NODES, "node2"))
    made.settle()
    yield made
    made.plane.stop()


def test_a_peer_of_a_group_is_one_of_all_its_hosts_but_itself(site: Site) -> None:
    assert [found.name for found in site.peers("node1")] == ["node2"]
    assert [found.name for found in site.peers("node2")] == ["node1"]
    assert site.learnt("node2") == {PODS}


@pytest.mark.parametrize("early", [True, False], ids=["before the others", "after the others"])
def test_a_speaker_knows_the_peers_that_came_before_it_and_hears_of_later_ones(early: bool) -> None:
    site = Site()
    third = [speaker("control"), peer(NODES, "control")]
    rest: list[Entry] = [speaker("node1", PODS), peer(NODES, "node1"), speaker("node2"), peer(NODES, "node2")]
    for entry in (*third, *rest) if early else (*rest, *third):
        site.apply(entry)
    site.settle()
    assert {found.name for found in site.peers("control")} == {"node1", "node2"}
    assert site.learnt("control") == site.learnt("node2") == {PODS}
    site.plane.stop()


def test_a_hosts_own_peer_comes_before_its_groups_and_gives_way_to_it_again(site: Site) -> None:
    own = peer("node1", "node2", client=True)
    site.apply(own)
    assert [found.client for found in site.peers("node1")] == [True]
    site.apply(remove=(own.key,))
    assert [found.client for found in site.peers("node1")] == [False]
    site.apply(remove=(peer(NODES, "node2").key,))
    assert site.peers("node1") == []
    site.plane.pump_until(lambda: False, site.plane.now + 1.0)
    assert site.learnt("node2") == set()


def test_of_two_the_one_with_the_higher_address_connects() -> None:
    site = Site()
    both = [peer(NODES, name, higher_connects=True) for name in ("node1", "node2")]
    site.apply(speaker("node1"), speaker("node2"), *both)
    assert [found.passive for found in site.peers("node1")] == [True]
    assert [found.passive for found in site.peers("node2")] == [False]
    site.plane.stop()


def test_a_speaker_that_is_set_up_otherwise_begins_anew(site: Site) -> None:
    site.apply(speaker("node1", "10.244.9.0/24"))
    assert site.speakers.waiting(()) != []
    site.settle()
    assert site.learnt("node2") == {"10.244.9.0/24"}


def test_a_speaker_that_goes_says_so_and_is_waited_for_no_more(site: Site) -> None:
    site.apply(remove=(speaker("node1").key, peer(NODES, "node1").key))
    site.settle()
    assert [own.host for own in site.speakers.controls] == ["node2"]
    assert site.learnt("node2") == set()
    assert site.plane.host(HostName("node1")).listening() == ()


def test_what_is_lost_is_not_waited_for_and_what_is_not_is_named(site: Site) -> None:
    site.apply(remove=(speaker("node1").key,))  # its peer entry stays
    site.plane.pump_until(lambda: False, site.plane.now + 5.0)
    (line,) = site.speakers.waiting(())
    assert line.startswith("BGP session of node2 with node1 (192.168.10.11): ")
    assert not site.speakers.settled(())
    assert site.speakers.settled(("node1",)) and site.speakers.waiting(("node1",)) == []


def test_it_has_settled_a_second_after_the_last_route_has_changed(site: Site) -> None:
    changed = max(c.speaker.changed_at for c in site.speakers.controls.values() if c.speaker is not None)
    assert site.plane.now == pytest.approx(changed + 1.0)
    before = site.speakers.version
    site.plane.pump_until(lambda: False, site.plane.now + 200.0)
    assert site.speakers.version == before  # keepalives change nothing

"""The routing tables: what comes in, what is kept, who is told; and that no order of events matters."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.net.bgp.decision import Source
from netsim.net.bgp.events import InstallRoute, RemoveRoute
from netsim.net.bgp.policy import Neighbour, prepended
from netsim.net.bgp.rib import Rib
from netsim.net.bgp.settings import SpeakerSettings
from netsim.wire import bgp
from netsim.wire.bgp_attributes import (
    AS_SEQUENCE,
    AS_SET,
    NO_ADVERTISE,
    NO_EXPORT,
    NO_EXPORT_SUBCONFED,
    Attribute,
    PathAttributes,
    Prefix,
    Segment,
)
from tests.net.bgp_dialogue import announce, prefix, route, withdraw

OWN = SpeakerSettings(64512, IPv4Address("10.0.0.100"))
US = OWN.identifier.packed


def neighbour(number: int, kind: str, *, allowed: int = 0, next_hop_self: bool = False) -> Neighbour:
    """10.0.0.``number``: ``external``, ``internal`` or ``client``."""
    address = IPv4Address(f"10.0.0.{number}").packed
    source = Source(address, f"peer{number}", kind == "external", kind == "client", address, US)
    return Neighbour(source, next_hop_self, allowed)


EXTERNAL = neighbour(1, "external")
INTERNAL = neighbour(2, "internal")
CLIENT = neighbour(3, "client")
OTHER_EXTERNAL = neighbour(4, "external")
OTHER_INTERNAL = neighbour(5, "internal")
OTHER_CLIENT = neighbour(6, "client")
ALL = (EXTERNAL, INTERNAL, CLIENT, OTHER_EXTERNAL, OTHER_INTERNAL, OTHER_CLIENT)
P = prefix("10.99.0.0/16")


def rib_of(*neighbours: Neighbour) -> Rib:
    rib = Rib(OWN)
    for one in neighbours:
        rib.peer_up(one)
    return rib


def passed_on(origin: Neighbour, attributes: PathAttributes, to: Neighbour) -> PathAttributes | None:
    """What ``to`` is told when ``origin`` announces a route."""
    rib = rib_of(origin, to)
    rib.receive(origin.source.peer, announce(str(P), attributes=attributes), 0.0)
    news = rib.settle().news.get(to.source.peer)
    if news is None:
        return None
    assert news.withdrawn == []
    ((told, prefixes),) = news.announced.items()
    assert prefixes == [P]
    return told


def accepted(origin: Neighbour, attributes: PathAttributes) -> PathAttributes | None:
    """What counts here of a route that ``origin`` announces."""
    rib = rib_of(origin)
    rib.receive(origin.source.peer, announce(str(P), attributes=attributes), 0.0)
    rib.settle()
    return rib.best[P].path.attributes if P in rib.best else None


# --- in ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allowed", "times", "taken"), [(0, 0, True), (0, 1, False), (1, 1, True), (1, 2, False)]
)
def test_a_route_through_our_own_as_is_refused_unless_allowed(allowed: int, times: int, taken: bool) -> None:
    origin = neighbour(1, "external", allowed=allowed)
    attributes = route(65001, *[64512] * times, 65002)
    assert (accepted(origin, attributes) is not None) is taken


@pytest.mark.parametrize(
    "attributes",
    [route(via="10.0.0.100"), route(originator_id=US), route(cluster_list=(b"\1\1\1\1", US))],
    ids=["next hop", "ORIGINATOR_ID", "CLUSTER_LIST"],
)
def test_a_route_that_comes_back_to_us_is_refused(attributes: PathAttributes) -> None:
    assert accepted(INTERNAL, attributes) is None
    assert accepted(INTERNAL, route()) is not None


def test_a_refused_route_takes_the_earlier_ones_place() -> None:
    rib = rib_of(EXTERNAL)
    peer = EXTERNAL.source.peer
    rib.receive(peer, announce(str(P), attributes=route(65001)), 0.0)
    assert [type(command) for command in rib.settle().routes] == [InstallRoute]
    rib.receive(peer, announce(str(P), attributes=route(65001, 64512)), 1.0)
    assert rib.settle().routes == [RemoveRoute(P.network)]
    rib.receive(peer, withdraw(str(P)), 2.0)
    assert rib.settle() == ([], {})


def test_what_is_an_ases_own_affair_is_not_taken_from_an_external_peer() -> None:
    attributes = route(65001, local_pref=500, originator_id=b"\1\1\1\1", cluster_list=(b"\2\2\2\2",), med=7)
    assert accepted(EXTERNAL, attributes) == route(65001, local_pref=100, med=7)
    assert accepted(INTERNAL, route(65001, local_pref=500)) == route(65001, local_pref=500)
    assert accepted(INTERNAL, route(65001)) == route(65001, local_pref=100)


def test_prefixes_that_are_no_unicast_routes_are_passed_over() -> None:
    rib = rib_of(EXTERNAL)
    rib.receive(EXTERNAL.source.peer, announce("224.0.0.0/4", "10.0.0.0/8", attributes=route(65001)), 0.0)
    assert [command.prefix for command in rib.settle().routes] == [IPv4Network("10.0.0.0/8")]


# --- out ---------------------------------------------------------------------------------------------

WHO_HEARS = [
    # from, to, hears
    (EXTERNAL, OTHER_EXTERNAL, True),
    (EXTERNAL, INTERNAL, True),
    (EXTERNAL, CLIENT, True),
    (INTERNAL, EXTERNAL, True),
    (INTERNAL, OTHER_INTERNAL, False),
    (INTERNAL, CLIENT, True),
    (CLIENT, EXTERNAL, True),
    (CLIENT, INTERNAL, True),
    (CLIENT, OTHER_CLIENT, True),
]


@pytest.mark.parametrize(
    ("origin", "to", "hears"), WHO_HEARS, ids=[f"{a.source.title}-{b.source.title}" for a, b, _ in WHO_HEARS]
)
def test_who_hears_of_whose_routes(origin: Neighbour, to: Neighbour, hears: bool) -> None:
    assert (passed_on(origin, route(65001), to) is not None) is hears


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.source.title)
def test_nobody_hears_its_own_route_back(one: Neighbour) -> None:
    rib = rib_of(one)
    rib.receive(one.source.peer, announce(str(P), attributes=route(65001)), 0.0)
    assert rib.settle().news == {}


def test_external_peers_get_our_as_in_front_and_ourselves_as_next_hop() -> None:
    attributes = route(65001, via="10.9.9.9", med=5, local_pref=300, communities=(65001 << 16 | 7,))
    told = passed_on(INTERNAL, attributes, EXTERNAL)
    assert told == route(64512, 65001, via="10.0.0.100", communities=(65001 << 16 | 7,))


def test_internal_peers_get_an_external_route_as_it_came() -> None:
    attributes = route(65001, via="10.9.9.9", med=5)
    assert passed_on(EXTERNAL, attributes, INTERNAL) == attributes._replace(local_pref=100)
    selfish = neighbour(7, "internal", next_hop_self=True)
    told = passed_on(EXTERNAL, attributes, selfish)
    assert told is not None and told.next_hop == US


def test_a_reflected_route_says_where_it_began_and_who_reflected_it() -> None:
    told = passed_on(CLIENT, route(via="10.9.9.9"), INTERNAL)
    assert told == route(via="10.9.9.9", local_pref=100, originator_id=CLIENT.source.peer, cluster_list=(US,))
    again = passed_on(CLIENT, route(originator_id=b"\7\7\7\7", cluster_list=(b"\1\1\1\1",)), INTERNAL)
    assert again is not None
    assert (again.originator_id, again.cluster_list) == (b"\7\7\7\7", (US, b"\1\1\1\1"))


@pytest.mark.parametrize(
    ("community", "external", "internal"),
    [
        (NO_EXPORT, False, True),
        (NO_EXPORT_SUBCONFED, False, True),
        (NO_ADVERTISE, False, False),
        (7, True, True),
    ],
)
def test_well_known_communities_keep_a_route_in(community: int, external: bool, internal: bool) -> None:
    attributes = route(65001, communities=(community,))
    assert (passed_on(EXTERNAL, attributes, OTHER_EXTERNAL) is not None) is external
    assert (passed_on(EXTERNAL, attributes, INTERNAL) is not None) is internal


def test_unknown_attributes_travel_on_if_transitive_and_are_marked_partial() -> None:
    attributes = route(65001, unknown=(Attribute(0xC0, 32, b"large"), Attribute(0x80, 200, b"local")))
    told = passed_on(EXTERNAL, attributes, INTERNAL)
    assert told is not None and told.unknown == (Attribute(0xE0, 32, b"large"),)


def test_routes_of_our_own_go_to_everybody() -> None:
    rib = rib_of(EXTERNAL, INTERNAL, CLIENT)
    rib.originate(P, 0.0)
    news = rib.settle().news
    told = {peer: list(found.announced) for peer, found in news.items()}
    assert told == {
        EXTERNAL.source.peer: [route(64512, via="10.0.0.100")],
        INTERNAL.source.peer: [route(via="10.0.0.100", local_pref=100)],
        CLIENT.source.peer: [route(via="10.0.0.100", local_pref=100)],
    }


def test_a_full_first_segment_gets_a_new_one_before_it() -> None:
    full = Segment(AS_SEQUENCE, (7,) * 255)
    assert prepended(1, (full,)) == (Segment(AS_SEQUENCE, (1,)), full)
    assert prepended(1, ()) == (Segment(AS_SEQUENCE, (1,)),)
    assert prepended(1, (Segment(AS_SET, (7,)),)) == (Segment(AS_SEQUENCE, (1,)), Segment(AS_SET, (7,)))


def test_our_own_route_stands_in_the_table_by_itself_and_a_learnt_one_gives_way() -> None:
    rib = rib_of(INTERNAL)
    rib.receive(INTERNAL.source.peer, announce(str(P)), 0.0)
    (installed,) = rib.settle().routes
    assert isinstance(installed, InstallRoute)
    assert str(installed.cause) == "route: learnt by BGP from peer2"
    rib.originate(P, 1.0)
    assert rib.settle().routes == [RemoveRoute(P.network)]
    rib.withdraw(P)
    assert [type(command) for command in rib.settle().routes] == [InstallRoute]
    rib.withdraw(P)
    assert rib.settle() == ([], {})


def test_the_cause_of_a_route_says_why_it_is_the_best() -> None:
    rib = rib_of(EXTERNAL, OTHER_EXTERNAL)
    rib.receive(EXTERNAL.source.peer, announce(str(P), attributes=route(65001, 65009)), 0.0)
    rib.receive(OTHER_EXTERNAL.source.peer, announce(str(P), attributes=route(65004, via="10.0.0.4")), 0.0)
    (installed,) = rib.settle().routes
    assert isinstance(installed, InstallRoute)
    assert installed.next_hop == IPv4Address("10.0.0.4")
    wanted = "learnt by BGP from peer4, AS path 65004, best of 2: shortest AS path"
    assert installed.cause.text == wanted


def test_the_same_announcement_again_changes_nothing() -> None:
    rib = rib_of(EXTERNAL, INTERNAL)
    rib.receive(EXTERNAL.source.peer, announce(str(P), attributes=route(65001)), 0.0)
    rib.settle()
    rib.receive(EXTERNAL.source.peer, announce(str(P), attributes=route(65001)), 5.0)
    assert rib.settle() == ([], {})
    assert rib.best[P].path.since == 0.0


def test_a_peer_that_asks_for_a_refresh_hears_everything_once_more() -> None:
    rib = rib_of(EXTERNAL, INTERNAL)
    rib.receive(EXTERNAL.source.peer, announce(str(P), "10.98.0.0/16", attributes=route(65001)), 0.0)
    first = rib.settle().news[INTERNAL.source.peer]
    rib.refresh(INTERNAL.source.peer)
    assert rib.settle().news == {INTERNAL.source.peer: first}


# --- any order ---------------------------------------------------------------------------------------

PREFIXES = [prefix(text) for text in ("10.1.0.0/16", "10.2.0.0/16", "10.2.0.0/24", "0.0.0.0/0")]


class Act(NamedTuple):
    """One thing that a peer does: an UPDATE, or None to end its session and begin it anew."""

    peer: int
    update: bgp.Update | None


def routes_of(number: int) -> st.SearchStrategy[PathAttributes]:
    small = st.integers(0, 1)
    return st.builds(
        lambda hops, origin, med, pref, own: route(
            *hops, *([64512] if own else []), via=f"10.0.0.{number}", origin=origin, med=med, local_pref=pref
        ),
        st.lists(st.integers(1, 3), min_size=1, max_size=2),
        small,
        st.none() | small,
        st.sampled_from([None, 100, 200]),
        st.integers(0, 5).map(lambda chance: chance == 0),
    )


@st.composite
def acts(draw: st.DrawFn) -> list[Act]:
    found = []
    for _ in range(draw(st.integers(1, 12))):
        peer = draw(st.integers(0, len(ALL) - 1))
        some = st.lists(st.sampled_from(PREFIXES), max_size=3, unique=True).map(tuple)
        update = bgp.Update(draw(some), draw(routes_of(peer + 1)), draw(some))
        found.append(Act(peer, update if draw(st.integers(0, 9)) else None))
    return found


class Listeners:
    """What the peers know when they take every word that they are told."""

    def __init__(self, rib: Rib) -> None:
        self.rib = rib
        self.known: dict[bytes, dict[Prefix, PathAttributes]] = {one.source.peer: {} for one in ALL}
        self.table: dict[IPv4Network, IPv4Address] = {}

    def settle(self) -> None:
        changes = self.rib.settle()
        for command in changes.routes:
            if isinstance(command, InstallRoute):
                self.table[command.prefix] = command.next_hop
            else:
                del self.table[command.prefix]
        for peer, news in changes.news.items():
            for gone in news.withdrawn:
                del self.known[peer][gone]  # only what was announced is withdrawn
            for attributes, prefixes in news.announced.items():
                for one in prefixes:
                    assert self.known[peer].get(one) != attributes, "said twice"
                    self.known[peer][one] = attributes


def play(script: list[Act], *, settle_each: bool) -> Listeners:
    rib = rib_of(*ALL)
    listeners = Listeners(rib)
    for now, act in enumerate(script):
        peer = ALL[act.peer].source.peer
        if act.update is not None:
            rib.receive(peer, act.update, float(now))
        else:
            rib.peer_down(peer)
            listeners.known[peer] = {}
            rib.peer_up(ALL[act.peer])
        if settle_each:
            listeners.settle()
    listeners.settle()
    return listeners


def best_of(rib: Rib) -> dict[Prefix, tuple[PathAttributes, bytes]]:
    return {one: (d.path.attributes, d.path.source.peer) for one, d in sorted(rib.best.items())}


@given(acts(), st.data())
def test_whatever_the_order_between_peers_the_outcome_is_the_same(
    script: list[Act], data: st.DataObject
) -> None:
    """Each peer's own words stay in order, as TCP keeps them; those of different peers mix in any way."""
    queues = {number: [act for act in script if act.peer == number] for number in range(len(ALL))}
    mixed = []
    while any(queues.values()):
        number = data.draw(st.sampled_from([n for n, queue in queues.items() if queue]))
        mixed.append(queues[number].pop(0))
    one = play(script, settle_each=data.draw(st.booleans()))
    other = play(mixed, settle_each=data.draw(st.booleans()))
    assert best_of(one.rib) == best_of(other.rib)
    assert one.table == other.table
    assert one.known == other.known == one.rib.adj_out


@given(acts())
def test_only_the_last_words_count(script: list[Act]) -> None:
    """The tables are those of a speaker that heard each peer's final routes and nothing before."""
    played = play(script, settle_each=True)
    fresh = rib_of(*ALL)
    for number, one in enumerate(ALL):
        final: dict[Prefix, PathAttributes] = {}
        for act in script:
            if act.peer != number:
                continue
            if act.update is None:
                final.clear()
                continue
            for gone in act.update.withdrawn:
                final.pop(gone, None)
            final.update(dict.fromkeys(act.update.announced, act.update.attributes))
        for which, attributes in final.items():
            fresh.receive(one.source.peer, bgp.Update((), attributes, (which,)), 0.0)
    fresh.settle()
    assert best_of(played.rib) == best_of(fresh)
    assert played.rib.adj_out == fresh.adj_out


@given(acts())
def test_when_all_peers_are_gone_nothing_is_left(script: list[Act]) -> None:
    played = play(script, settle_each=True)
    for one in ALL:
        played.rib.peer_down(one.source.peer)
        played.known[one.source.peer] = {}
    played.settle()
    assert (played.rib.best, played.table, played.rib.prefixes()) == ({}, {}, [])

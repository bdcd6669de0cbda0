"""Values that hypothesis draws for BGP messages. AS numbers fit the session: ``attributes(long=False)``."""

from __future__ import annotations

from hypothesis import strategies as st

from netsim.wire import bgp
from netsim.wire.bgp_attributes import (
    AGGREGATOR,
    AS_SEQUENCE,
    AS_SET,
    COMMUNITIES,
    OPTIONAL,
    PARTIAL,
    TRANSITIVE,
    Aggregator,
    Attribute,
    PathAttributes,
    Prefix,
    Segment,
)
from tests.wire.strategies import longs, words

identifiers = st.integers(1, 0xFFFFFFFF).map(lambda number: number.to_bytes(4, "big"))
hosts = st.integers(1 << 24, (224 << 24) - 1).map(lambda number: number.to_bytes(4, "big"))
short_asns = st.integers(1, 0xFFFF)
asns = st.one_of(short_asns, st.integers(0x10000, 0xFFFFFFFF))


def _prefix(number: int, length: int) -> Prefix:
    return Prefix((number >> 32 - length << 32 - length).to_bytes(4, "big"), length)


prefixes = st.builds(_prefix, longs, st.integers(0, 32))
prefix_tuples = st.lists(prefixes, max_size=8).map(tuple)


def as_paths(numbers: st.SearchStrategy[int]) -> st.SearchStrategy[tuple[Segment, ...]]:
    segment = st.builds(
        Segment, st.sampled_from([AS_SEQUENCE, AS_SET]), st.lists(numbers, min_size=1, max_size=5).map(tuple)
    )
    return st.lists(segment, max_size=3).map(tuple)


unknown_attributes = st.lists(
    st.builds(
        Attribute,
        st.sampled_from([OPTIONAL, OPTIONAL | TRANSITIVE, OPTIONAL | TRANSITIVE | PARTIAL]),
        st.sampled_from([16, 32, 40, 200]),
        st.binary(max_size=20),
    ),
    max_size=2,
    unique_by=lambda attribute: attribute.code,
).map(lambda found: tuple(sorted(found, key=lambda attribute: attribute.code)))


@st.composite
def attributes(draw: st.DrawFn, long: bool = True) -> PathAttributes:
    """The attributes of a route, without those that a session of 16-bit numbers cannot carry whole."""
    numbers = asns if long else short_asns
    aggregator = draw(st.none() | st.builds(Aggregator, numbers, identifiers))
    communities = draw(st.lists(longs, max_size=4).map(tuple))
    present = [AGGREGATOR] * (aggregator is not None) + [COMMUNITIES] * bool(communities)
    partial = draw(st.sets(st.sampled_from(present))) if present else set()
    return PathAttributes(
        origin=draw(st.integers(0, 2)),
        as_path=draw(as_paths(numbers)),
        next_hop=draw(hosts),
        med=draw(st.none() | longs),
        local_pref=draw(st.none() | longs),
        atomic_aggregate=draw(st.booleans()),
        aggregator=aggregator,
        communities=communities,
        originator_id=draw(st.none() | identifiers),
        cluster_list=draw(st.lists(identifiers, max_size=3).map(tuple)),
        unknown=draw(unknown_attributes),
        partial=tuple(sorted(partial)),
    )


def updates(long: bool = True) -> st.SearchStrategy[bgp.Update]:
    some = st.lists(prefixes, min_size=1, max_size=8).map(tuple)
    announcing = st.tuples(prefix_tuples, attributes(long), some).map(lambda fields: bgp.Update(*fields))
    return st.one_of(announcing, prefix_tuples.map(bgp.Update))


capabilities = st.one_of(
    st.sampled_from(tuple(bgp.UNICASTS.values())),
    st.builds(bgp.multiprotocol, words, st.integers(0, 255)),
    st.just(bgp.Capability(bgp.ROUTE_REFRESH_CAPABILITY, b"")),
    st.builds(lambda asn: bgp.Capability(bgp.FOUR_OCTET_AS, asn.to_bytes(4, "big")), asns),
    st.builds(bgp.Capability, st.integers(128, 255), st.binary(max_size=12)),
)
hold_times = st.just(0) | st.integers(3, 0xFFFF)
opens = st.tuples(short_asns, hold_times, identifiers, st.lists(capabilities, max_size=5).map(tuple)).map(
    lambda fields: bgp.Open(*fields)
)
notifications = st.builds(bgp.Notification, st.integers(1, 7), st.integers(0, 11), st.binary(max_size=30))
refreshes = st.builds(bgp.RouteRefresh, words, st.integers(0, 255))


def messages(long: bool = True) -> st.SearchStrategy[bgp.Message]:
    return st.one_of(opens, updates(long), notifications, st.just(bgp.Keepalive()), refreshes)

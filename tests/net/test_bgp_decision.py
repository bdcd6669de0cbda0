"""The best of several BGP routes: each rule by itself, and that their order of arrival plays no part."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.net.bgp.decision import RULES, Path, Source, decide
from netsim.wire.bgp_attributes import AS_SEQUENCE, AS_SET, PathAttributes, Segment
from tests.net.bgp_dialogue import route

OUR_OWN = Path(route(via="0.0.0.0"), Source(b"", "", False, False, b"\0\0\0\1"), 0.0)


def path(number: int, attributes: PathAttributes, *, external: bool = False, identifier: int = 9) -> Path:
    """A route from the peer 10.0.0.``number``."""
    peer = IPv4Address(f"10.0.0.{number}").packed
    return Path(
        attributes, Source(peer, f"peer{number}", external, False, identifier.to_bytes(4, "big")), 0.0
    )


HOPS = {IPv4Address("10.9.0.1").packed: 5, IPv4Address("10.9.0.2").packed: 7}
SET = (Segment(AS_SET, (1, 2, 3)), Segment(AS_SEQUENCE, (4,)))
# The better route comes first; it is worse by every later rule, so that the named one must decide.
CASES: list[tuple[str, Path, Path]] = [
    ("our own", OUR_OWN, path(1, route(via="10.9.0.1", local_pref=500))),
    (
        "highest LOCAL_PREF",
        path(2, route(1, 2, via="10.9.0.2", local_pref=200)),
        path(1, route(1, via="10.9.0.1")),
    ),
    (
        "shortest AS path",
        path(2, route(1, via="10.9.0.2", origin=2)),
        path(1, route(1, 2, via="10.9.0.1", origin=0)),
    ),
    (
        "shortest AS path",
        path(2, route(via="10.9.0.2", as_path=SET)),  # a set counts once
        path(1, route(1, 2, 3, via="10.9.0.1")),
    ),
    (
        "lowest ORIGIN",
        path(2, route(1, via="10.9.0.2", origin=0, med=5)),
        path(1, route(1, via="10.9.0.1", origin=1)),
    ),
    ("lowest MED", path(2, route(1, med=1)), path(1, route(1, med=2), external=True)),
    ("lowest MED", path(2, route(1)), path(1, route(1, med=2), external=True)),  # none is 0
    (
        "external over internal",
        path(2, route(1, via="10.9.0.2"), external=True),
        path(1, route(1, via="10.9.0.1")),
    ),
    (
        "external over internal",  # MEDs of two neighbouring ASes are not compared
        path(2, route(1, med=50), external=True),
        path(1, route(2, med=10)),
    ),
    (
        "nearest next hop",
        path(2, route(via="10.9.0.1"), identifier=9),
        path(1, route(via="10.9.0.2"), identifier=8),
    ),
    (
        "lowest BGP identifier",
        path(2, route(cluster_list=(b"\1\1\1\1",)), identifier=8),
        path(1, route(), identifier=9),
    ),
    (
        "lowest BGP identifier",  # a reflected route counts as its originator's
        path(2, route(originator_id=b"\0\0\0\7", cluster_list=(b"\1\1\1\1",)), identifier=10),
        path(1, route(), identifier=8),
    ),
    (
        "shortest CLUSTER_LIST",
        path(2, route(cluster_list=(b"\1\1\1\1",))),
        path(1, route(cluster_list=(b"\1\1\1\1", b"\2\2\2\2"))),
    ),
    ("lowest peer address", path(1, route()), path(2, route())),
]


@pytest.mark.parametrize(("rule", "better", "worse"), CASES, ids=[case[0] for case in CASES])
def test_the_rule_decides(rule: str, better: Path, worse: Path) -> None:
    for both in ((better, worse), (worse, better)):
        decision = decide(both, HOPS)
        assert decision is not None
        assert (decision.path, decision.of, decision.rule) == (better, 2, rule)


def test_every_rule_has_a_case() -> None:
    assert {rule for rule, _, _ in CASES} == {name for name, _ in RULES}


def test_a_route_whose_next_hop_is_unreachable_does_not_count() -> None:
    first, second = path(1, route(via="10.9.0.1")), path(2, route(via="10.9.0.2"))
    decision = decide([first, second], {IPv4Address("10.9.0.1").packed: None})
    assert decision is not None
    assert (decision.path, decision.of) == (second, 1)
    assert decide([first], {IPv4Address("10.9.0.1").packed: None}) is None
    assert decide([], {}) is None


def test_routes_of_our_own_need_no_next_hop() -> None:
    decision = decide([OUR_OWN], {OUR_OWN.attributes.next_hop or b"": None})
    assert decision is not None and decision.path is OUR_OWN


@st.composite
def rivals(draw: st.DrawFn) -> list[Path]:
    """Routes of different peers that are alike enough for every rule to matter."""
    small = st.integers(0, 1)
    numbers = draw(st.lists(st.integers(1, 6), min_size=1, max_size=6, unique=True))
    return [
        path(
            number,
            route(
                *draw(st.lists(st.integers(1, 3), min_size=1, max_size=2)),
                via=f"10.9.0.{draw(st.integers(1, 2))}",
                local_pref=100 + draw(small),
                origin=draw(small),
                med=draw(st.none() | st.integers(0, 2)),
                cluster_list=(b"\1\1\1\1",) * draw(small),
                originator_id=draw(st.none() | st.just(b"\0\0\0\5")),
            ),
            external=draw(st.booleans()),
            identifier=draw(st.integers(4, 6)),
        )
        for number in numbers
    ]


@given(rivals(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_plays_no_part(paths: list[Path], random: st.DataObject) -> None:
    shuffled = list(paths)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert decide(paths, HOPS) == decide(shuffled, HOPS)


@given(rivals())
def test_the_best_beats_or_equals_every_other_by_preference_length_and_origin(paths: list[Path]) -> None:
    def rank(one: Path) -> Sequence[int]:
        attributes = one.attributes
        hops = sum(len(segment.asns) for segment in attributes.as_path or ())
        return (-(attributes.local_pref or 0), hops, attributes.origin or 0)

    decision = decide(paths, HOPS)
    assert decision is not None
    assert rank(decision.path) == min(rank(one) for one in paths)

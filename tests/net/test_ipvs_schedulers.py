"""IPVS schedulers, one by one: the order in which they pick, and what a change of the list does to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.net.ipvs_schedulers import (
    MAGLEV_SIZE,
    SCHEDULERS,
    Opening,
    Scheduler,
    Server,
    destination_slots,
    hsiphash_u32,
    maglev_slots,
    source_slots,
)
from netsim.plan.entries import Schedule

OPENING = Opening(bytes([10, 244, 0, 2]), 40000, bytes([10, 96, 0, 20]))


def servers(**weights: int) -> list[Server]:
    """Servers by letter, with their weights, in the order of the kernel's list."""
    return [Server(bytes([10, 244, 1, ord(name)]), 8080, name, weight) for name, weight in weights.items()]


def scheduler_of(schedule: Schedule, listed: Sequence[Server]) -> Scheduler:
    scheduler = SCHEDULERS[schedule]()
    scheduler.changed((), listed)
    return scheduler


def picks(scheduler: Scheduler, listed: Sequence[Server], count: int) -> str:
    """The labels of ``count`` picks; ``-`` where nobody was picked."""
    found = (scheduler.pick(listed, OPENING) for _ in range(count))
    return "".join(server.label if server is not None else "-" for server in found)


@pytest.mark.parametrize(
    ("schedule", "weights", "expected"),
    [
        (Schedule.RR, {"a": 1, "b": 1, "c": 1}, "abcabcabc"),
        (Schedule.RR, {"a": 5, "b": 1, "c": 3}, "abcabcabc"),
        (Schedule.RR, {"a": 1, "b": 0, "c": 1}, "acacacaca"),
        (Schedule.RR, {"a": 0, "b": 0}, "---------"),
        (Schedule.RR, {}, "---------"),
        (Schedule.WRR, {"a": 1, "b": 1, "c": 1}, "abcabcabc"),
        (Schedule.WRR, {"a": 4, "b": 3, "c": 2}, "aababcabc"),
        (Schedule.WRR, {"a": 4, "b": 2}, "aabaabaab"),
        (Schedule.WRR, {"a": 1, "b": 0, "c": 2}, "caccaccac"),
        (Schedule.WRR, {"a": 0}, "---------"),
        (Schedule.WRR, {}, "---------"),
    ],
)
def test_round_robin_goes_in_this_order(schedule: Schedule, weights: dict[str, int], expected: str) -> None:
    listed = servers(**weights)
    assert picks(scheduler_of(schedule, listed), listed, 9) == expected


@given(st.lists(st.integers(0, 12), min_size=1, max_size=6))
def test_weighted_round_robin_gives_each_its_weight_in_every_cycle(weights: list[int]) -> None:
    listed = servers(**{chr(97 + number): weight for number, weight in enumerate(weights)})
    cycle = sum(weights)
    if not cycle:
        assert picks(scheduler_of(Schedule.WRR, listed), listed, 3) == "---"
        return
    found = Counter(picks(scheduler_of(Schedule.WRR, listed), listed, 2 * cycle))
    assert found == Counter({server.label: 2 * server.weight for server in listed if server.weight})


@pytest.mark.parametrize(
    ("picked", "change", "expected"),
    [
        ("ab", lambda a, b, c, n: [n, a, b, c], "cnabcn"),
        ("ab", lambda a, b, c, n: [a, c], "cacaca"),
        ("a", lambda a, b, c, n: [b, c], "bcbcbc"),
        ("abc", lambda a, b, c, n: [a, b], "ababab"),
        ("a", lambda a, b, c, n: [n, b, c], "bcnbcn"),
        ("ab", lambda a, b, c, n: [n, c], "cncncn"),
        ("ab", lambda a, b, c, n: [], "------"),
    ],
    ids=["one-more", "the-last-gone", "the-first-gone", "the-tail-gone", "replaced", "two-gone", "all-gone"],
)
def test_a_change_of_the_list_leaves_round_robin_its_place(picked, change, expected) -> None:  # type: ignore[no-untyped-def]  # a table of lambdas
    a, b, c, n = servers(a=1, b=1, c=1, n=1)
    before = [a, b, c]
    scheduler = scheduler_of(Schedule.RR, before)
    assert picks(scheduler, before, len(picked)) == picked
    after = change(a, b, c, n)
    scheduler.changed(before, after)
    assert picks(scheduler, after, 6) == expected


def test_a_change_of_the_list_begins_weighted_round_robin_at_its_head() -> None:
    before = servers(a=1, b=1, c=1)
    scheduler = scheduler_of(Schedule.WRR, before)
    assert picks(scheduler, before, 2) == "ab"
    scheduler.changed(before, before[:2])
    assert picks(scheduler, before[:2], 4) == "abab"


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [(Schedule.LC, "b"), (Schedule.WLC, "a"), (Schedule.SED, "a"), (Schedule.NQ, "d")],
)
def test_connection_counts_decide(schedule: Schedule, expected: str) -> None:
    a, b, c, d = listed = servers(a=9, b=1, c=1, d=1)
    a.active, b.active, c.active = 2, 1, 1
    b.inactive, c.inactive, d.inactive = 1, 3, 600
    assert picks(scheduler_of(schedule, listed), listed, 1) == expected


@pytest.mark.parametrize("schedule", [Schedule.LC, Schedule.WLC, Schedule.SED, Schedule.NQ])
def test_of_equals_the_first_is_picked_and_none_without_weight(schedule: Schedule) -> None:
    listed = servers(a=0, b=1, c=1)
    assert picks(scheduler_of(schedule, listed), listed, 2) == "bb"
    assert picks(scheduler_of(schedule, servers(a=0)), servers(a=0), 1) == "-"


def test_source_hashing_keeps_a_client_and_uses_the_weights() -> None:
    listed = servers(a=1, b=3)
    slots = source_slots(listed)
    assert Counter(server.label for server in slots) == {"a": 64, "b": 192}
    assert "".join(server.label for server in slots[:8]) == "abbbabbb"
    scheduler = scheduler_of(Schedule.SH, listed)
    for last in range(50):
        opening = OPENING._replace(source=bytes([10, 244, 0, last]))
        first = scheduler.pick(listed, opening)
        assert scheduler.pick(listed, opening._replace(source_port=1)) is first


def test_destination_hashing_gives_one_address_one_server() -> None:
    listed = servers(a=1, b=7)
    assert Counter(server.label for server in destination_slots(listed)) == {"a": 128, "b": 128}
    scheduler = scheduler_of(Schedule.DH, listed)
    clients = [OPENING._replace(source=bytes([10, 0, 0, last])) for last in range(20)]
    assert len({scheduler.pick(listed, opening) for opening in clients}) == 1


@pytest.mark.parametrize("schedule", [Schedule.SH, Schedule.DH, Schedule.MH])
def test_a_hashed_server_without_weight_is_not_replaced_by_another(schedule: Schedule) -> None:
    (server,) = listed = servers(a=1)
    scheduler = scheduler_of(schedule, listed)
    server.weight = 0
    assert scheduler.pick(listed, OPENING) is None
    scheduler.changed(listed, [])
    assert scheduler.pick([], OPENING) is None


def test_maglev_shares_its_table_out_evenly_and_moves_little_when_one_leaves() -> None:
    listed = servers(a=1, b=1, c=1, d=1)
    full = maglev_slots(listed)
    assert len(full) == MAGLEV_SIZE
    assert all(abs(count - MAGLEV_SIZE / 4) < 2 for count in Counter(full).values())
    rest = maglev_slots(listed[:-1])
    moved = sum(1 for old, new in zip(full, rest, strict=True) if old is not listed[-1] and old is not new)
    assert moved < MAGLEV_SIZE / 4


def test_maglev_weights_are_shares() -> None:
    found = Counter(server.label for server in maglev_slots(servers(a=2, b=4, c=0)))
    assert found["b"] / found["a"] == pytest.approx(2, rel=0.01)
    assert "c" not in found


def test_maglev_hashes_the_client_port() -> None:
    listed = servers(a=1, b=1, c=1)
    scheduler = scheduler_of(Schedule.MH, listed)
    found = {scheduler.pick(listed, OPENING._replace(source_port=port)) for port in range(40000, 40050)}
    assert len(found) == 3


@pytest.mark.parametrize("schedule", [Schedule.SH, Schedule.DH, Schedule.MH])
def test_an_ipv6_address_is_hashed_as_the_exclusive_or_of_its_words(schedule: Schedule) -> None:
    listed = servers(a=1, b=1, c=1, d=1, e=1)
    scheduler = scheduler_of(schedule, listed)
    for last in range(50):
        short, prefix = bytes([10, 244, 3, last]), bytes.fromhex("20010db8000a00000000000f")
        rest = int.from_bytes(short, "big") ^ 0x20010DB8 ^ 0x000A0000 ^ 0x0000000F
        long = prefix + rest.to_bytes(4, "big")
        asked = scheduler.pick(listed, Opening(short, 40000, short))
        assert scheduler.pick(listed, Opening(long, 40000, long)) is asked


def test_hsiphash_agrees_with_the_kernels_own_test_vector() -> None:
    key = (0x0706050403020100, 0x0F0E0D0C0B0A0908)
    assert hsiphash_u32(0x03020100, key) == 0x88D38328  # lib/tests/siphash_kunit.c, on 64 bits


@given(
    st.sampled_from([schedule for schedule in Schedule if schedule is not Schedule.RANDOM]),
    st.lists(st.integers(0, 3), max_size=5),
)
def test_whoever_is_picked_is_in_the_list_and_has_weight(schedule: Schedule, weights: list[int]) -> None:
    listed = servers(**{chr(97 + number): weight for number, weight in enumerate(weights)})
    scheduler = scheduler_of(schedule, listed)
    for _ in range(8):
        server = scheduler.pick(listed, OPENING)
        assert server is None or (server in listed and server.weight > 0)
        if schedule in (Schedule.RR, Schedule.WRR, Schedule.LC, Schedule.WLC, Schedule.SED, Schedule.NQ):
            assert (server is None) is not any(weights)

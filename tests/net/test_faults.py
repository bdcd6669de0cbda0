"""The fault rule as a machine: what it has against a frame, and how often."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.base.rng import Rng
from netsim.net.faults import Direction, Fault, FaultRule
from netsim.net.packet import Frame
from netsim.plan.entries import HostName, Port

SENDER = Port(HostName("a"), "eth0")
FRAME = Frame(bytes(60), (), 1)
LOST, PASSES = None, 0.0


def delays(rule: FaultRule, count: int, *, outbound: bool = True) -> list[float | None]:
    """What becomes of so many frames: ``LOST``, or the seconds that each is late."""
    verdicts = [rule.judge(SENDER, FRAME, outbound=outbound) for _ in range(count)]
    return [PASSES if verdict is None else verdict.delay for verdict in verdicts]


@pytest.mark.parametrize(
    ("fault", "out", "inwards"),
    [
        (Fault("all", loss=1.0), [LOST] * 3, [LOST] * 3),
        (Fault("out", loss=1.0, direction=Direction.OUT), [LOST] * 3, [PASSES] * 3),
        (Fault("in", loss=1.0, direction=Direction.IN), [PASSES] * 3, [LOST] * 3),
        (Fault("first", loss=1.0, limit=1), [LOST, PASSES, PASSES], [PASSES] * 3),
        (Fault("late", delay=0.2), [0.2] * 3, [0.2] * 3),
        (Fault("two late", delay=0.2, limit=2), [0.2, 0.2, PASSES], [PASSES] * 3),
        (Fault("lost before late", loss=1.0, delay=0.2), [LOST] * 3, [LOST] * 3),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
def test_a_rule_harms_what_it_is_for(
    fault: Fault, out: list[float | None], inwards: list[float | None]
) -> None:
    rule = FaultRule(fault, Rng(1))
    assert delays(rule, 3) == out
    assert delays(rule, 3, outbound=False) == inwards
    assert rule.suffered == sum(delay != PASSES for delay in out + inwards)


def test_the_cause_names_the_fault() -> None:
    lost = FaultRule(Fault("link a: loss 100%", loss=1.0), Rng(1)).judge(SENDER, FRAME, outbound=True)
    late = FaultRule(Fault("link a: delay 0.2 s", delay=0.2), Rng(1)).judge(SENDER, FRAME, outbound=True)
    assert lost is not None and str(lost.cause) == "fault: lost on link a: loss 100%"
    assert late is not None and str(late.cause) == "fault: 0.2 s late on link a: delay 0.2 s"


@given(seed=st.integers(0, 2**32), loss=st.floats(0.05, 0.95), limit=st.none() | st.integers(1, 40))
def test_chance_takes_its_part_and_no_more_than_the_limit(seed: int, loss: float, limit: int | None) -> None:
    rule = FaultRule(Fault("x", loss=loss, limit=limit), Rng(seed))
    lost = delays(rule, 1000).count(LOST)
    assert rule.suffered == lost
    assert lost == limit if limit is not None and limit <= 5 else lost <= (limit or 1000)
    if limit is None:
        assert abs(lost - 1000 * loss) < 100  # more than six standard deviations


@given(
    seed=st.integers(0, 2**32),
    chosen=st.lists(st.booleans(), min_size=1, max_size=60),
    loss=st.sampled_from([0.2, 0.5, 1.0]),
)
def test_a_frame_that_is_not_meant_costs_no_throw_of_the_dice(
    seed: int, chosen: list[bool], loss: float
) -> None:
    answers = iter(chosen)
    picky = FaultRule(Fault("x", loss=loss), Rng(seed), lambda sender, frame: next(answers))
    seen = delays(picky, len(chosen))
    plain = FaultRule(Fault("x", loss=loss), Rng(seed))
    assert [delay for delay, wanted in zip(seen, chosen, strict=True) if wanted] == delays(plain, sum(chosen))
    assert {delay for delay, wanted in zip(seen, chosen, strict=True) if not wanted} <= {PASSES}

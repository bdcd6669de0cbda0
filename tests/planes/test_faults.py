"""Fault rules on the wires of a plane: what is sent is lost, late or there, and nothing else happens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from netsim.base.cause import Stage
from netsim.base.rng import Rng
from netsim.capture.record import PacketRecord
from netsim.net.faults import Direction, Fault, FaultRule
from netsim.planes.sim.faults import PlacedFault
from tests.net.network import Network, through_a_router

HOSTS = ("a", "b", "router", "nobody")
DIRECTIONS = st.sampled_from(Direction)


def talk(*placed: PlacedFault) -> list[PacketRecord]:
    """What is seen when two hosts talk through a router, by TCP and ICMP."""
    net = through_a_router()
    for fault in placed:
        net.plane.put_fault(fault)
    net.serve("b", 80)
    for _ in range(2):
        net.ask("a", "10.0.1.1:80")
    for size in (56, 1400):
        net.ping("a", "10.0.1.1", size=size)
    return net.recorder.records


def placed(rule: FaultRule, host: str) -> PlacedFault:
    """The rule on all wires of a host."""
    return PlacedFault(rule, lambda near, far: near.host == host)


@st.composite
def harmless(draw: st.DrawFn) -> PlacedFault:
    """A rule that is for no packet, on no wire, or does nothing."""
    loss, delay = draw(st.sampled_from([0.0, 0.3, 1.0])), draw(st.sampled_from([0.0, 0.1]))
    fault = Fault("x", loss, delay, draw(DIRECTIONS), draw(st.none() | st.integers(1, 3)))
    how = draw(st.sampled_from(["nobody", "no packet", "nothing"]))
    if how == "nothing":
        return placed(FaultRule(fault._replace(loss=0.0, delay=0.0), Rng(1)), draw(st.sampled_from(HOSTS)))
    if how == "no packet":
        return placed(FaultRule(fault, Rng(1), lambda *_: False), draw(st.sampled_from(HOSTS)))
    return placed(FaultRule(fault, Rng(1)), "nobody")


@given(st.lists(harmless(), min_size=1, max_size=3))
def test_rules_without_effect_leave_every_record_as_it_is(rules: list[PlacedFault]) -> None:
    undisturbed = talk()
    assert len(undisturbed) > 50
    assert talk(*rules) == undisturbed


@given(
    seed=st.integers(0, 2**32),
    loss=st.sampled_from([0.1, 0.5, 1.0]),
    direction=DIRECTIONS,
    limit=st.none() | st.integers(1, 5),
)
def test_what_enters_a_wire_is_lost_or_arrives(
    seed: int, loss: float, direction: Direction, limit: int | None
) -> None:
    rule = FaultRule(Fault("x", loss, direction=direction, limit=limit), Rng(seed))
    records = [r for r in talk(placed(rule, "b")) if str(r.port) in ("b/eth0", "router/eth1")]
    lost = [record for record in records if record.notes[-1].cause.stage is Stage.FAULT]
    assert len(lost) == rule.suffered
    assert limit is None or rule.suffered <= limit
    assert all(record.outbound for record in lost)
    senders = {Direction.OUT: {"b/eth0"}, Direction.IN: {"router/eth1"}}.get(
        direction, {"b/eth0", "router/eth1"}
    )
    assert {str(record.port) for record in lost} <= senders
    for near, far in (("b/eth0", "router/eth1"), ("router/eth1", "b/eth0")):
        sent = [record.data for record in records if str(record.port) == near and record.outbound]
        sent = [data for data in sent if data not in [record.data for record in lost]]
        got = [record.data for record in records if str(record.port) == far and not record.outbound]
        assert [data for data in got if data in sent] == sent


@given(delay=st.sampled_from([0.01, 0.2, 1.5]), direction=st.sampled_from([Direction.IN, Direction.OUT]))
def test_what_is_late_is_late_by_just_that(delay: float, direction: Direction) -> None:
    rule = FaultRule(Fault("x", delay=delay, direction=direction), Rng(1))
    records = talk(placed(rule, "b"))
    times: dict[tuple[int, bytes], list[float]] = {}
    for record in records:
        if str(record.port) in ("b/eth0", "router/eth1"):
            times.setdefault((record.serial, record.data), []).append(record.time)
    late = [record for record in records if any(n.cause.stage is Stage.FAULT for n in record.notes)]
    assert (
        rule.suffered
        == len({(r.serial, r.data) for r in late if str(r.port) in ("b/eth0", "router/eth1")})
        > 0
    )
    gaps = {round(max(seen) - min(seen), 6) for seen in times.values()}
    assert {round(gap - delay, 6) for gap in gaps if gap >= delay} == {0.001}


def test_a_rule_that_is_taken_back_harms_no_more() -> None:
    net = through_a_router()
    net.serve("b", 80)
    fault = placed(FaultRule(Fault("x", loss=1.0), Rng(1)), "b")
    net.plane.put_fault(fault)
    assert "reply" not in net.ping("a", "10.0.1.1")
    net.plane.remove_fault(fault)
    assert net.ask("a", "10.0.1.1:80").startswith("b sees")


def test_a_wire_that_is_laid_while_a_rule_stands_has_it_too() -> None:
    net = Network()
    for name in ("a", "b"):
        net.host(name)
    rule = FaultRule(Fault("x", loss=1.0), Rng(1))
    net.plane.put_fault(placed(rule, "b"))
    net.wire("a/eth0", "b/eth0")
    net.address("a/eth0", "10.0.0.1/24")
    net.address("b/eth0", "10.0.0.2/24")
    assert "reply" not in net.ping("a", "10.0.0.2")
    assert rule.suffered

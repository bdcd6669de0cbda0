"""topology-mode Auto: which zone each endpoint is meant for, and what is told of it.

The tables follow what ``k8s.io/endpointslice/topologycache`` is tested for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from netsim.controllers.zonehints import EXCLUDED, Shares, allot, cpu_shares, is_overloaded, is_wanted
from netsim.objects.core import Node, NodeStatus
from netsim.objects.discovery import Endpoint, EndpointConditions
from netsim.objects.meta import Condition, Object, ObjectMeta
from netsim.objects.quantity import milli_value
from tests.controllers.world import World, dual, pod, service

ZONE_LABEL = "topology.kubernetes.io/zone"
MODE, OLD_MODE = "service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints"
WEB = {"app": "web"}


def endpoints(text: str) -> tuple[Endpoint, ...]:
    """``a`` is an endpoint in zone a, ``a>b`` one that is meant for zone b, ``a!`` one that is not ready,
    ``-`` one without a zone."""
    made = []
    for number, word in enumerate(text.split()):
        home, _, meant = word.removesuffix("!").partition(">")
        made.append(
            Endpoint(
                (f"10.0.0.{number}",),
                EndpointConditions(ready=not word.endswith("!")),
                zone=None if home == "-" else home,
                rest={"hints": {"forZones": [{"name": meant}]}} if meant else {},
            )
        )
    return tuple(made)


def words(made: Sequence[Endpoint]) -> str:
    return " ".join(
        (held.zone or "-")
        + ("" if held.conditions.ready else "!")
        + "".join(f">{zone['name']}" for zone in held.rest.get("hints", {}).get("forZones", ()))
        for held in made
    )


HALF, THIRD = {"a": 0.5, "b": 0.5}, {"a": 0.35, "b": 0.35, "c": 0.3}


@pytest.mark.parametrize(
    ("shares", "changing", "given", "by_zone"),
    [
        pytest.param({"a": 0.45, "b": 0.55}, ["a b"], ["a>a b>b"], {"a": 1, "b": 1}, id="one each"),
        pytest.param(HALF, ["a b b! a!"], ["a>a b>b b! a!"], {"a": 1, "b": 1}, id="only ready ones count"),
        pytest.param(HALF, ["a a a b"], ["a>b a>a a>a b>b"], {"a": 2, "b": 2}, id="the first move"),
        pytest.param({"a": 0.4, "b": 0.6}, ["a a", "b b b"], ["a>a a>a", "b>b b>b b>b"], {"a": 2, "b": 3},
                     id="fits"),
        pytest.param(THIRD, ["a b", "c c a", "a a", "b c a"],
                     ["a>b b>b", "c>c c>c a>a", "a>a a>a", "b>b c>c a>a"], {"a": 4, "b": 3, "c": 3},
                     id="over several slices"),
        pytest.param(THIRD, ["a a a"], ["a>b a>c a>a"], {"a": 1, "b": 1, "c": 1}, id="all from one zone"),
        pytest.param(HALF, ["c a a b"], ["c>c a>a a>a b>b"], {"a": 2, "b": 1, "c": 1},
                     id="a zone that has no share keeps its own"),
        pytest.param({"a": 0.75, "b": 0.25}, ["a a b b"], ["a>a a>a b>a b>b"], {"a": 3, "b": 1},
                     id="by the share of CPU"),
    ],
)  # fmt: skip
def test_endpoints_of_slices_that_change_are_allotted(
    shares: Shares, changing: list[str], given: list[str], by_zone: Mapping[str, int]
) -> None:
    found = allot([endpoints(text) for text in changing], [], shares)
    assert ([words(piece) for piece in found.changing], found.by_zone) == (given, by_zone)


@pytest.mark.parametrize(
    ("changing", "unchanged", "given", "left"),
    [
        pytest.param("", "a>a b>b", "", "a>a b>b", id="nothing to do"),
        pytest.param("a b", "a>a b>b", "a>a b>b", "a>a b>b", id="what stands is counted"),
        pytest.param("a a", "a>a a>a b>b b>b", "a>b a>a", "a>a a>a b>b b>b", id="only what changes moves"),
        pytest.param("", "a>a b", "", "a>a b>b", id="one without a hint has the slice written anew"),
        pytest.param("", "a>a b>z", "", "a>a b>b", id="a hint for a zone that is gone"),
        pytest.param("", "a>a a>a a>a a>a b!", "", "a>b a>b a>a a>a b!", id="more than a zone may have"),
        pytest.param("b b", "a>a a>a", "b>b b>b", "a>a a>a", id="as much as a zone may have"),
    ],
)
def test_slices_that_fit_are_left_alone(changing: str, unchanged: str, given: str, left: str) -> None:
    found = allot([endpoints(changing)], [endpoints(unchanged)], HALF)
    assert [words(piece) for piece in (*found.changing, *found.unchanged)] == [given, left]


@pytest.mark.parametrize(
    ("shares", "held", "why"),
    [
        (
            None,
            "a b",
            "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes",
        ),
        (THIRD, "a b c!", "Insufficient number of endpoints (2 endpoints, 3 zones)"),
        (HALF, "", "Insufficient number of endpoints (0 endpoints, 2 zones)"),
        (HALF, "a b -", "One or more endpoints do not have a zone specified"),
        (
            {"a": 0.67, "b": 0.33},
            "a b",
            "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold "
            "(2 endpoints, 2 zones)",
        ),
    ],
)  # fmt: skip
def test_where_zones_cannot_be_served_nobody_has_a_hint(shares: Shares | None, held: str, why: str) -> None:
    hinted = " ".join(f"{word}>a" if word[-1] not in "!-" else word for word in held.split())
    found = allot([endpoints(held)] if "-" in held else [], [endpoints(hinted)], shares)
    assert (found.by_zone, found.refusal) == (None, why)
    assert [words(piece) for piece in found.unchanged] == [held]


def test_a_slice_with_an_endpoint_that_has_no_zone_keeps_what_stands() -> None:
    """Only slices that are to be written are looked at."""
    found = allot([], [endpoints("a>a b>b a>a ->b")], HALF)
    assert found.refusal == ""


@pytest.mark.parametrize(
    ("shares", "by_zone", "over"),
    [
        (HALF, {}, False),
        (None, {"a": 1}, True),
        (HALF, {"a": 2, "b": 2}, False),
        (HALF, {"a": 4, "b": 3}, False),
        (HALF, {"a": 3, "b": 2}, True),
        (HALF, {"a": 4, "b": 1}, True),
        (HALF, {"a": 2}, True),
        (THIRD, {"a": 4, "b": 3, "c": 3}, False),
        (THIRD, {"a": 4, "b": 4, "c": 2}, True),
    ],
)
def test_a_service_is_overloaded_when_a_zone_has_too_few(
    shares: Shares | None, by_zone: Mapping[str, int], over: bool
) -> None:
    assert is_overloaded(by_zone, shares) is over


# --- nodes


def zoned(
    name: str, zone: str = "a", cpu: object = "1", *, ready: str = "True", label: str | None = None
) -> Node:
    labels = {**({ZONE_LABEL: zone} if zone else {}), **({label: ""} if label else {})}
    status = NodeStatus(
        conditions=(Condition("Ready", ready),), rest={"allocatable": {"cpu": cpu}} if cpu else {}
    )
    return Node(metadata=ObjectMeta(name=name, labels=labels), status=status)


TWO = (zoned("n1", "a"), zoned("n2", "b"))


@pytest.mark.parametrize(
    ("nodes", "shares"),
    [
        (TWO, {"a": 0.5, "b": 0.5}),
        ((*TWO, zoned("n3", "b", "2000m")), {"a": 0.25, "b": 0.75}),
        ((zoned("n1", "a", 3), zoned("n2", "b", "1")), {"a": 0.75, "b": 0.25}),
        ((*TWO, zoned("n3", "c", ready="False")), {"a": 0.5, "b": 0.5}),
        ((*TWO, zoned("n3", "", ready="Unknown")), {"a": 0.5, "b": 0.5}),
        *(((*TWO, zoned("n3", "", label=label)), {"a": 0.5, "b": 0.5}) for label in EXCLUDED),
        ((*TWO, zoned("n3", "")), None),
        ((*TWO, zoned("n3", "b", None)), None),
        ((*TWO, zoned("n3", "b", "0")), None),
        ((zoned("n1", "a"), zoned("n2", "a")), None),
        ((), None),
    ],
)
def test_shares_are_those_of_ready_workers_with_zone_and_cpu(
    nodes: Sequence[Node], shares: Shares | None
) -> None:
    assert cpu_shares(nodes) == shares


@pytest.mark.parametrize(
    ("quantity", "thousandths"),
    [
        (4, 4000), ("4", 4000), ("3920m", 3920), ("1.5", 1500), (0.5, 500), (".5", 500), ("2k", 2_000_000),
        ("1Ki", 1_024_000), ("1e3", 1_000_000), ("1E", 10**21), ("100u", 1), ("1n", 1), ("many", 0), ("", 0),
    ],
)  # fmt: skip
def test_a_quantity_in_thousandths(quantity: object, thousandths: int) -> None:
    assert milli_value(quantity) == thousandths


@pytest.mark.parametrize(
    ("annotations", "wanted"),
    [
        ({MODE: "Auto"}, True),
        ({MODE: "auto"}, True),
        ({MODE: "AUTO"}, False),
        ({MODE: "Disabled"}, False),
        ({OLD_MODE: "Auto"}, True),
        ({OLD_MODE: "Disabled", MODE: "Auto"}, False),
        ({OLD_MODE: "Auto", MODE: "Disabled"}, True),
        ({}, False),
    ],
)
def test_the_older_annotation_goes_first(annotations: Mapping[str, str], wanted: bool) -> None:
    assert is_wanted(annotations) is wanted


# --- the controller


def zone_world(*placed: str) -> World:
    """Two zones of one node each, and a Pod of the Service on each node that is named."""
    world = World(*TWO, nodes=0)
    for number, name in enumerate(placed):
        world.add(placed_pod(f"p{number}", name))
    return world


def placed_pod(name: str, node: str) -> Object:
    made = pod(name, labels=WEB)
    return replace(made, spec=replace(made.spec, node_name=node))


def auto(**annotations: str) -> Object:
    made = service("web", WEB)
    wanted = annotations or {MODE: "Auto"}
    return replace(made, metadata=replace(made.metadata, annotations=wanted))


def hints(world: World) -> str:
    (piece,) = world.slices("web")
    return words(piece.endpoints)


def told(world: World) -> list[tuple[str, str]]:
    return [
        (event.reason, event.message.removesuffix(", addressType: IPv4"))
        for event in world.store.events.listed(world.now)
        if event.reporting_component == "endpoint-slice-controller"
    ]


def test_hints_come_with_the_endpoint_that_suffices_and_are_told_of_once() -> None:
    world = zone_world("n1")
    world.add(auto())
    assert hints(world) == "a"
    assert told(world)[-1] == (
        "TopologyAwareHintsDisabled",
        "Insufficient number of endpoints (1 endpoints, 2 zones)",
    )
    world.add(placed_pod("q", "n1"))
    assert hints(world) == "a>b a>a"
    world.add(placed_pod("r", "n2"), placed_pod("s", "n2"))
    assert hints(world) == "a>a a>a b>b b>b"
    assert [reason for reason, _ in told(world)].count("TopologyAwareHintsEnabled") == 1


def test_hints_go_with_the_annotation() -> None:
    world = zone_world("n1", "n2")
    world.add(auto())
    assert hints(world) == "a>a b>b"
    held = world.service("web")
    world.store.update(replace(held, metadata=replace(held.metadata, annotations={})))
    world.settle()
    assert hints(world) == "a b"
    assert told(world)[-1] == ("TopologyAwareHintsDisabled", "Topology Aware Hints has been disabled")


def set_ready(world: World, name: str, status: str) -> None:
    held = world.store.get(Node, name)
    conditions = (Condition("Ready", status),)
    world.store.update(replace(held, status=replace(held.status, conditions=conditions)))
    world.settle()


def test_a_lost_zone_takes_the_hints_of_services_that_have_some() -> None:
    world = zone_world("n1", "n1")
    world.add(auto())
    assert hints(world) == "a>b a>a"
    set_ready(world, "n2", "Unknown")
    assert hints(world) == "a a"
    assert told(world)[-1][0] == "TopologyAwareHintsDisabled"


def test_a_service_without_hints_does_not_see_that_zones_suffice_again() -> None:
    """It is looked at with its next change, as only overloaded Services are queued for a node."""
    world = zone_world("n1", "n1")
    world.add(auto())
    set_ready(world, "n2", "False")
    set_ready(world, "n2", "True")
    assert hints(world) == "a a"
    world.add(placed_pod("q", "n2"), placed_pod("r", "n2"))
    assert hints(world) == "a>a a>a b>b b>b"


def test_each_family_has_hints_of_its_own_and_both_are_told_of_once() -> None:
    world = World(*TWO, nodes=0, networking=dual())
    world.add(placed_pod("p", "n1"), placed_pod("q", "n2"))
    made = service("web", WEB, ip_family_policy="PreferDualStack")
    world.add(replace(made, metadata=replace(made.metadata, annotations={MODE: "Auto"})))
    pieces = world.slices("web")
    assert {piece.address_type: words(piece.endpoints) for piece in pieces} == {
        "IPv4": "a>a b>b",
        "IPv6": "a>a b>b",
    }
    assert told(world) == [("TopologyAwareHintsEnabled", "Topology Aware Hints has been enabled")]
    set_ready(world, "n2", "Unknown")
    assert [reason for reason, _ in told(world)[1:]] == ["TopologyAwareHintsDisabled"] * 2  # for each family

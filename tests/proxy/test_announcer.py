"""Who answers for a load balancer's address."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.objects.core import Node, NodeStatus, Service, ServiceStatus
from netsim.objects.discovery import EndpointConditions
from netsim.objects.meta import Condition, Object, ObjectMeta
from netsim.plan.delta import Delta, Plan
from netsim.plan.entries import Announcement, HostName, Port
from netsim.proxy.announcer import EXCLUDE_LABEL, Announcer
from netsim.store.store import StoreEvent
from tests.proxy.objects import (
    GONE,
    LEAVING,
    READY,
    STARTING,
    added,
    deleted,
    endpoint,
    modified,
    service,
    slice_of,
)
from tests.proxy.test_proxier import events

NAMES = tuple(f"node{number}" for number in range(1, 6))
ADDRESS = "198.51.100.1"
SLICE = slice_of("prod/ent", "a", endpoint("10.244.1.2"))


def node(name: str, *, ready: str = "True", **labels: str) -> Node:
    meta = ObjectMeta(name=name, labels={key.replace("__", "/"): value for key, value in labels.items()})
    return Node(metadata=meta, status=NodeStatus(conditions=(Condition("Ready", ready),)))


def excluded(name: str) -> Node:
    return replace(node(name), metadata=ObjectMeta(name=name, labels={EXCLUDE_LABEL: ""}))


def balancer(address: str = ADDRESS, name: str = "prod/ent", cluster_ip: str = "10.96.0.20") -> Service:
    made = service(name, cluster_ip)
    status = ServiceStatus({"loadBalancer": {"ingress": [{"ip": address}] if address else []}})
    return replace(made, spec=replace(made.spec, type="LoadBalancer"), status=status)


class Site:
    """An announcer, and the plan that its deltas add up to."""

    def __init__(self, *objects: Object) -> None:
        uplinks = {name: Port(HostName(name), "eth0") for name in NAMES[:4]}  # node5 is on another wire
        self.announcer = Announcer(uplinks)
        self.plan = Plan()
        self.feed(*map(added, objects))

    def feed(self, *happened: StoreEvent) -> Delta:
        delta = Delta()
        for event in happened:
            delta = self.announcer.feed(event)
            self.plan.apply(delta)
        return delta

    def announced(self) -> dict[str, str]:
        entries = [entry for entry in self.plan if isinstance(entry, Announcement)]
        assert all(entry.interface == "eth0" for entry in entries)
        return {str(entry.address): entry.host for entry in entries}


def test_with_policy_local_one_of_those_with_an_endpoint_is_elected() -> None:
    local = balancer()
    local = replace(local, spec=replace(local.spec, external_traffic_policy="Local"))
    winner = elected(ADDRESS, *NAMES[:4])
    other = next(name for name in NAMES[:4] if name != winner)
    away = replace(endpoint("10.244.1.2"), node_name=other)
    site = Site(local, slice_of("prod/ent", "a", away), *map(node, NAMES[:4]))
    assert site.announced() == {ADDRESS: other}
    site.feed(modified(balancer()))
    assert site.announced() == {ADDRESS: winner}
    nowhere = replace(endpoint("10.244.1.2"), node_name=NAMES[4])
    site.feed(modified(local), modified(slice_of("prod/ent", "a", nowhere)))
    assert site.announced() == {}


def elected(address: str, *names: str) -> str:
    """As MetalLB's speakers agree on it: the first by the hash of node and address."""
    return min(names, key=lambda name: hashlib.sha256(f"{name}#{address}".encode()).hexdigest())


def test_one_node_announces_an_address() -> None:
    site = Site(*map(node, NAMES), balancer(), SLICE)
    assert site.announced() == {ADDRESS: elected(ADDRESS, *NAMES[:4])}


def test_the_reason_names_node_address_and_service() -> None:
    site = Site(node("node1"), balancer(), SLICE)
    (entry,) = site.plan
    assert entry.cause.text == "node1 is elected to announce 198.51.100.1 of svc prod/ent"


def test_the_addresses_are_spread_over_the_nodes() -> None:
    hosts = set()
    for number in range(1, 30):
        site = Site(*map(node, NAMES), balancer(f"198.51.100.{number}"), SLICE)
        hosts.update(site.announced().values())
    assert hosts == set(NAMES[:4])


@pytest.mark.parametrize(
    "other",
    [node("node2", ready="False"), node("node2", ready="Unknown"), excluded("node2"), node("node5")],
    ids=["not ready", "unknown", "excluded", "on another wire"],
)
def test_a_node_that_may_not_announce_is_passed_over(other: Node) -> None:
    for number in range(1, 9):
        site = Site(node("node1"), other, balancer(f"198.51.100.{number}"), SLICE)
        assert set(site.announced().values()) == {"node1"}


def test_without_an_eligible_node_nobody_announces() -> None:
    site = Site(excluded("node1"), balancer(), SLICE)
    assert site.announced() == {}
    site.feed(modified(node("node1")))
    assert site.announced() == {ADDRESS: "node1"}


@pytest.mark.parametrize(
    ("conditions", "announces"),
    [(READY, True), (LEAVING, True), (STARTING, False), (GONE, False), (EndpointConditions(), True)],
)
def test_an_address_is_announced_while_an_endpoint_serves(
    conditions: EndpointConditions, announces: bool
) -> None:
    site = Site(node("node1"), balancer(), slice_of("prod/ent", "a", endpoint("10.244.1.2", conditions)))
    assert bool(site.announced()) is announces


def test_another_node_takes_over_when_the_elected_one_is_gone() -> None:
    site = Site(*map(node, NAMES), balancer(), SLICE)
    first = site.announced()[ADDRESS]
    delta = site.feed(modified(node(first, ready="Unknown")))
    left = [name for name in NAMES[:4] if name != first]
    assert site.announced() == {ADDRESS: elected(ADDRESS, *left)}
    assert len(delta.put) == len(delta.remove) == 1
    site.feed(modified(node(first)))
    assert site.announced() == {ADDRESS: first}, "the same nodes elect the same one"


def test_what_changes_no_election_is_an_empty_delta() -> None:
    site = Site(*map(node, NAMES), balancer(), SLICE)
    other = next(name for name in NAMES[:4] if name != site.announced()[ADDRESS])
    assert not site.feed(modified(balancer()))
    assert not site.feed(modified(SLICE))
    assert not site.feed(modified(node(other, ready="False")))
    assert not site.feed(added(service("dev/other", "10.96.0.21")))


def test_a_service_that_goes_takes_its_announcement() -> None:
    site = Site(node("node1"), balancer(), SLICE)
    site.feed(deleted(balancer()))
    assert len(site.plan) == 0


@st.composite
def objects(draw: st.DrawFn) -> Object:
    kind = draw(st.sampled_from(("node", "service", "slice")))
    number = draw(st.integers(1, 3))
    if kind == "node":
        name = f"node{number}"
        return draw(st.sampled_from((node(name), node(name, ready="False"), excluded(name))))
    if kind == "service":
        address = draw(st.sampled_from(("", f"198.51.100.{number}", f"198.51.100.{10 + number}")))
        return balancer(address, f"prod/s{number}", f"10.96.0.{number}")
    conditions = draw(st.sampled_from((READY, STARTING, LEAVING)))
    return slice_of(f"prod/s{number}", draw(st.sampled_from("xy")), endpoint("10.244.1.2", conditions))


@given(st.lists(st.tuples(objects(), st.booleans()), max_size=25))
def test_the_sum_of_the_deltas_is_the_plan_from_scratch(steps: list[tuple[Object, bool]]) -> None:
    history, live = events(steps)
    grown = Site()
    for event in history:
        before = dict(grown.plan.entries)
        delta = grown.feed(event)
        assert all(before.get(entry.key) != entry for entry in delta.put), "a put that changes nothing"
        assert all(key in before for key in delta.remove), "a removal of what does not stand"
    assert grown.plan == Site(*reversed(live.values())).plan
    assert all(IPv4Address(address) for address in grown.announced())

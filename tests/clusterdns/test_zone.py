"""The indexes of the zone: any sequence of changes leads to the same answers as starting anew."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.clusterdns.zone import KubernetesZone, dashed
from netsim.objects.core import Pod, Service, ServicePort, ServiceSpec
from netsim.objects.discovery import EndpointSlice
from netsim.objects.meta import EMPTY, Object, ObjectMeta, ObjectRef
from netsim.objects.multicluster import CLUSTER_LABEL, SERVICE_NAME_LABEL, ServiceImport, ServiceImportSpec
from netsim.store.store import EventType, StoreEvent
from tests.clusterdns.world import (
    World,
    endpoint,
    endpoint_slice,
    external,
    namespace,
    pod,
    service,
)

COREFILE = """. {
    k8s_external ext.example {
        headless
    }
    kubernetes cluster.local clusterset.local in-addr.arpa ip6.arpa {
        pods verified
        multicluster clusterset.local
    }
}
"""

spaces = st.sampled_from(["a", "b"])
refs = st.builds("{}/{}".format, spaces, st.sampled_from(["x", "y"]))
addresses = st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1"])
ports = st.sampled_from([(), (("http", 80),), (("http", 80), ("dns", 53))])

services = st.one_of(
    st.builds(lambda ref, ip, some: service(ref, ip, *some), refs, addresses | st.just("None"), ports),
    st.builds(lambda ref, ip, more: service(ref, ip, ("http", 80), more=[more]), refs, addresses, addresses),
    st.builds(
        external, refs, st.sampled_from(["x.a.svc.cluster.local", "y.b.svc.cluster.local", "10.0.0.9"])
    ),
)
endpoints = st.builds(
    lambda address, ready, hostname, name: endpoint(address, ready=ready, hostname=hostname, pod=name),
    addresses,
    st.sampled_from([True, True, None, False]),
    st.none() | st.sampled_from(["h0", "h1"]),
    st.sampled_from(["", "p0"]),
)
slices = st.builds(
    lambda ref, some, used, suffix: endpoint_slice(ref, *some, ports=used, suffix=suffix),
    refs,
    st.lists(endpoints, max_size=3),
    ports,
    st.sampled_from(["1", "2"]),
)
exposed = st.builds(
    lambda obj, ip: replace(obj, spec=replace(obj.spec, external_ips=(ip,))), services, addresses
)
imports = st.builds(
    lambda ref, kind, ip: ServiceImport(
        metadata=ObjectMeta(name=ref[2:], namespace=ref[:1]),
        spec=ServiceImportSpec(kind, () if kind == "Headless" else (ip,), (ServicePort(80, "http"),)),
    ),
    refs,
    st.sampled_from(["ClusterSetIP", "Headless"]),
    addresses,
)
imported = st.builds(
    lambda obj, ref, cluster: replace(
        obj,
        metadata=replace(obj.metadata, labels={SERVICE_NAME_LABEL: ref[2:], CLUSTER_LABEL: cluster}),
    ),
    slices,
    refs,
    st.sampled_from(["east", "west"]),
)
orphans = slices.map(lambda obj: replace(obj, metadata=replace(obj.metadata, labels=EMPTY)))
moved = st.builds(
    lambda obj, ref: replace(obj, metadata=replace(obj.metadata, name=f"{ref[2:]}-1", namespace=ref[:1])),
    slices,
    refs,
)
pods = st.builds(
    lambda ref, address, phase, deleted: pod(ref, address, phase=phase, deleted=deleted),
    refs,
    addresses | st.just(""),
    st.sampled_from(["Running", "Running", "Pending", "Failed"]),
    st.booleans(),
)
objects = st.one_of(
    services, exposed, slices, moved, orphans, imports, imported, pods, st.builds(namespace, spaces)
)
changes = st.lists(st.tuples(st.booleans(), objects), max_size=25)

QUESTIONS = (
    [
        (f"{left}{name}.{space}.{zone}.", qtype)
        for zone, left in (
            ("ext.example", ""),
            ("ext.example", "h0."),
            ("svc.clusterset.local", ""),
            ("svc.clusterset.local", "h0.east."),
        )
        for space in "ab"
        for name in "xy"
        for qtype in ("A", "SRV")
    ]
    + [
        (f"{left}{name}.{space}.svc.cluster.local.", qtype)
        for space in "ab"
        for name in "xy"
        for left in ("", "h0.", "p0.", "10-0-0-1.", "fd00--1.", "_http._tcp.")
        for qtype in ("A", "AAAA", "SRV", "CNAME", "TXT")
    ]
    + [
        ("a.svc.cluster.local.", "A"),
        ("10-0-0-1.a.pod.cluster.local.", "A"),
        ("fd00--1.b.pod.cluster.local.", "AAAA"),
        ("1.0.0.10.in-addr.arpa.", "PTR"),
        ("3.0.0.10.in-addr.arpa.", "PTR"),
        ("1." + "0." * 27 + "0.0.d.f.ip6.arpa.", "PTR"),
    ]
)


def answers(world: World) -> list[bytes]:
    """Every reply as it is on the wire, the order of the records included."""
    replies = []
    for name, qtype in QUESTIONS:
        world.ask(name, qtype)
        replies.append(world.data)
    return replies


def final(steps: Iterable[tuple[bool, Object]]) -> dict[ObjectRef, Object]:
    left: dict[ObjectRef, Object] = {}
    for deleted, obj in steps:
        if deleted:
            left.pop(obj.ref, None)
        else:
            left[obj.ref] = obj
    return left


@given(changes, st.randoms(use_true_random=False))
def test_a_sequence_of_changes_answers_as_the_zone_from_scratch(
    steps: list[tuple[bool, Object]], random: Random
) -> None:
    world = World(COREFILE, ())
    present: set[ObjectRef] = set()
    for deleted, obj in steps:
        if not deleted:
            world.apply(obj)
            present.add(obj.ref)
        elif obj.ref in present:
            world.delete(obj)
            present.discard(obj.ref)
    left = list(final(steps).values())
    random.shuffle(left)
    assert answers(world) == answers(World(COREFILE, left))


def test_the_questions_of_the_property_have_answers() -> None:
    world = World(
        COREFILE,
        [
            namespace("a"),
            service("a/x", "10.0.0.1", ("http", 80)),
            endpoint_slice("a/x", endpoint("10.0.0.3", hostname="h0")),
            pod("a/p", "10.0.0.1"),
            ServiceImport(
                metadata=ObjectMeta(name="y", namespace="a"),
                spec=ServiceImportSpec("ClusterSetIP", ("10.0.0.2",), (ServicePort(80, "http"),)),
            ),
        ],
    )
    found = [question for question in QUESTIONS if world.ask(*question).answers]
    assert len(found) == 13


def test_one_changed_endpoint_leaves_the_other_entries_alone() -> None:
    many = [endpoint(f"10.0.{n // 250}.{n % 250}") for n in range(1000)]
    zone = KubernetesZone()
    zone.feed(StoreEvent(EventType.ADDED, endpoint_slice("a/x", *many)))
    untouched = zone._slices_at["10.0.1.1"]
    zone.feed(StoreEvent(EventType.MODIFIED, endpoint_slice("a/x", *many[:-1], endpoint("10.9.9.9"))))
    assert zone._slices_at["10.0.1.1"] is untouched
    assert [view.key for view in zone.slices_at("10.9.9.9")] == [("a", "x-1")]
    assert zone.slices_at("10.0.3.249") == []


def test_a_slice_that_is_given_to_another_service_leaves_the_first() -> None:
    headless = [service("a/x", "None"), service("a/y", "None")]
    world = World(COREFILE, [namespace("a"), *headless, endpoint_slice("a/x", endpoint("10.0.0.1"))])
    given = endpoint_slice("a/y", endpoint("10.0.0.1"))
    world.apply(replace(given, metadata=replace(given.metadata, name="x-1")))
    assert world.ask("x.a.svc.cluster.local.").answers == ()
    assert len(world.ask("y.a.svc.cluster.local.").answers) == 1


class TestSerial:
    """The SOA serial is the Unix time of the last change that DNS shows (controller.go detectChanges)."""

    START = 1767225600

    @staticmethod
    def zone() -> KubernetesZone:
        zone = KubernetesZone()
        zone.feed(StoreEvent(EventType.ADDED, service("a/x", "10.0.0.1", ("http", 80))), 10.0)
        zone.feed(StoreEvent(EventType.ADDED, endpoint_slice("a/x", endpoint("10.0.0.3"))), 20.0)
        zone.feed(StoreEvent(EventType.ADDED, pod("a/p", "10.0.0.4")), 30.0)
        return zone

    def test_it_is_the_time_of_the_last_change(self) -> None:
        assert self.zone().serial(pods=False) == self.START + 20
        assert self.zone().serial(pods=True) == self.START + 30

    @pytest.mark.parametrize(
        ("obj", "counts"),
        [
            (service("a/x", "10.0.0.1", ("http", 81)), True),
            (service("a/x", "10.0.0.1", ("http", 80), team="b"), False),
            (endpoint_slice("a/x", endpoint("10.0.0.5")), True),
            (endpoint_slice("a/x", endpoint("10.0.0.3"), endpoint("10.0.0.6", ready=False)), False),
            (pod("a/p", "10.0.0.4", phase="Pending"), False),
            (pod("a/p", "10.0.0.5"), True),
        ],
    )
    def test_an_update_counts_when_records_change(self, obj: Object, counts: bool) -> None:
        zone = self.zone()
        before = zone.serial(pods=True)
        zone.feed(StoreEvent(EventType.MODIFIED, obj), 99.0)
        assert (zone.serial(pods=True) != before) is counts

    def test_a_deletion_counts(self) -> None:
        zone = self.zone()
        zone.feed(StoreEvent(EventType.DELETED, service("a/x")), 99.0)
        assert zone.serial(pods=False) == self.START + 99

    def test_without_a_time_it_is_the_objects_creation(self) -> None:
        zone = KubernetesZone()
        made = Service(metadata=ObjectMeta("x", "a", creation_timestamp=42.0), spec=ServiceSpec())
        zone.feed(StoreEvent(EventType.ADDED, made))
        assert zone.serial(pods=False) == self.START + 42

    def test_it_never_goes_back(self) -> None:
        zone = self.zone()
        zone.feed(StoreEvent(EventType.MODIFIED, endpoint_slice("a/x", endpoint("10.0.0.9"))))
        assert zone.serial(pods=False) == self.START + 20


def test_kinds_that_dns_does_not_know_are_passed_over() -> None:
    zone = KubernetesZone()
    revision = zone.revision
    zone.feed(StoreEvent(EventType.ADDED, Object(metadata=ObjectMeta("x"))))
    assert zone.revision == revision


@pytest.mark.parametrize(
    ("address", "label"), [("10.0.0.1", "10-0-0-1"), ("fd00::1", "fd00--1"), ("fd00::", "fd00--0")]
)
def test_an_address_becomes_a_label(address: str, label: str) -> None:
    assert dashed(address) == label


def test_a_pod_without_address_is_not_indexed() -> None:
    zone = KubernetesZone()
    zone.feed(StoreEvent(EventType.ADDED, Pod(metadata=ObjectMeta("p", "a"))))
    zone.feed(StoreEvent(EventType.ADDED, EndpointSlice(metadata=ObjectMeta("s", "a"))))
    assert (zone.pods, zone.slices) == ({}, {})

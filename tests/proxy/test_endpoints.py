"""Which endpoints of which slices may be used: Kubernetes pkg/proxy/endpointslicecache.go, topology.go."""

from __future__ import annotations

from dataclasses import replace

import pytest

from netsim.objects.core import ObjectReference
from netsim.objects.discovery import Endpoint, EndpointConditions, EndpointPort
from netsim.proxy.endpoints import SliceTable, categorize
from tests.proxy.objects import GONE, HTTP, LEAVING, READY, STARTING, endpoint, slice_of

PORT = ("http", "TCP")
SERVICE = ("prod", "ent")
UNKNOWN = EndpointConditions()


def targets(table: SliceTable, port: tuple[str, str] = PORT) -> list[str]:
    return [found.target for found in table.endpoints(SERVICE, port)]


@pytest.mark.parametrize(
    ("conditions", "wanted"),
    [
        pytest.param([READY, READY], [0, 1], id="ready ones are used"),
        pytest.param([UNKNOWN], [0], id="unknown is ready"),
        pytest.param([READY, LEAVING], [0], id="a terminating one is left alone while another is ready"),
        pytest.param([STARTING, LEAVING], [1], id="without ready ones, those that terminate and serve"),
        pytest.param([LEAVING, LEAVING, GONE], [0, 1], id="all that terminate and serve"),
        pytest.param([EndpointConditions(ready=False)], [], id="serving but neither ready nor terminating"),
        pytest.param([EndpointConditions(ready=False, terminating=True)], [0], id="unknown is serving"),
        pytest.param([STARTING, GONE], [], id="none"),
        pytest.param([], [], id="no endpoints"),
    ],
)
def test_usable_endpoints(conditions: list[EndpointConditions], wanted: list[int]) -> None:
    table = SliceTable()
    table.put(slice_of("prod/ent", "a", *(endpoint(f"10.244.1.{n}", c) for n, c in enumerate(conditions))))
    lists = categorize(table.endpoints(SERVICE, PORT), uses_cluster=True, uses_local=False)
    assert lists.any == bool(wanted)
    assert [one.target for one in lists.cluster] == [f"10.244.1.{n}:8080" for n in wanted]


def test_endpoints_are_in_the_order_of_their_text() -> None:
    table = SliceTable()
    table.put(slice_of("prod/ent", "a", *(endpoint(f"10.244.1.{n}") for n in (2, 10, 1))))
    assert targets(table) == ["10.244.1.10:8080", "10.244.1.1:8080", "10.244.1.2:8080"]


def test_slices_of_a_service_merge_and_an_endpoint_counts_once() -> None:
    table = SliceTable()
    table.put(slice_of("prod/ent", "b", endpoint("10.244.1.1", STARTING), endpoint("10.244.1.3")))
    table.put(slice_of("prod/ent", "a", endpoint("10.244.1.1"), endpoint("10.244.1.2")))
    assert targets(table) == ["10.244.1.1:8080", "10.244.1.2:8080", "10.244.1.3:8080"]
    assert all(one.ready for one in table.endpoints(SERVICE, PORT))


def test_ports_join_by_name_and_protocol() -> None:
    table = SliceTable()
    ports = (HTTP, EndpointPort("dns", 53, "UDP"), EndpointPort("dns", 5353, "TCP"), EndpointPort("all"))
    table.put(slice_of("prod/ent", "a", endpoint("10.244.1.1"), ports=ports))
    assert targets(table, ("dns", "UDP")) == ["10.244.1.1:53"]
    assert targets(table, ("dns", "TCP")) == ["10.244.1.1:5353"]
    assert targets(table, ("all", "TCP")) == []
    assert targets(table, ("", "TCP")) == []


def test_only_the_first_address_of_an_endpoint_counts() -> None:
    table = SliceTable()
    table.put(slice_of("prod/ent", "a", Endpoint(("10.244.1.1", "10.244.1.9")), Endpoint(())))
    assert targets(table) == ["10.244.1.1:8080"]


def test_ipv6_slices_and_slices_of_no_service_are_left_out() -> None:
    table = SliceTable()
    six = replace(slice_of("prod/ent", "six", endpoint("2001:db8::1")), address_type="IPv6")
    assert table.put(six) == []
    orphan = slice_of("prod/ent", "orphan", endpoint("10.244.1.1"))
    assert table.put(replace(orphan, metadata=replace(orphan.metadata, labels={}))) == []
    assert targets(table) == []


def test_a_slice_that_changes_its_service_touches_both() -> None:
    table = SliceTable()
    moved = slice_of("prod/ent", "a", endpoint("10.244.1.1"))
    assert table.put(moved) == [SERVICE]
    labels = {"kubernetes.io/service-name": "other"}
    moved = replace(moved, metadata=replace(moved.metadata, labels=labels))
    assert table.put(moved) == [SERVICE, ("prod", "other")]
    assert targets(table) == []
    assert table.remove(moved) == [("prod", "other")]
    assert table.remove(moved) == []


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (ObjectReference("Pod", "prod", "ent-1"), "pod prod/ent-1"),
        (ObjectReference("Node", name="node1"), "node node1"),
        (None, ""),
    ],
)
def test_a_backend_is_named_after_what_runs_there(target: ObjectReference | None, name: str) -> None:
    table = SliceTable()
    table.put(slice_of("prod/ent", "a", Endpoint(("10.244.1.1",), target_ref=target)))
    (found,) = table.endpoints(SERVICE, PORT)
    assert found.backend.name == name

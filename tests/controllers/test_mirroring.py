"""Endpoints that users write reach DNS and kube-proxy as EndpointSlices."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import pytest

from netsim.controllers.mirroring import LEADER_ANNOTATION, MIRRORING_CONTROLLER, NOT_MIRRORED, SKIP_LABEL
from netsim.objects.core import EndpointAddress, Endpoints, EndpointsPort, EndpointSubset
from netsim.objects.discovery import (
    MANAGED_BY_LABEL,
    SERVICE_NAME_LABEL,
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
)
from netsim.objects.meta import ObjectMeta
from tests.controllers.world import World, service

HTTP = (EndpointsPort(8080, "http"),)


def written(*subsets: EndpointSubset, **meta: dict[str, str]) -> Endpoints:
    return Endpoints(metadata=ObjectMeta(name="ext", namespace="dev", **meta), subsets=subsets)  # type: ignore[arg-type]


def subset(
    *addresses: str, unready: tuple[str, ...] = (), ports: tuple[EndpointsPort, ...] = HTTP
) -> EndpointSubset:
    return EndpointSubset(
        tuple(EndpointAddress(ip) for ip in addresses), tuple(EndpointAddress(ip) for ip in unready), ports
    )


def test_a_written_endpoints_is_mirrored() -> None:
    world = World(
        service("ext"), written(subset("192.0.2.1", unready=("192.0.2.2",)), labels={"team": "shop"})
    )
    (piece,) = world.slices("ext")
    assert piece.ports == (EndpointPort("http", 8080),)
    assert piece.endpoints == (
        Endpoint(("192.0.2.1",), EndpointConditions(ready=True)),
        Endpoint(("192.0.2.2",), EndpointConditions(ready=False)),
    )
    assert piece.metadata.name.startswith("ext-")
    assert piece.metadata.labels == {
        "team": "shop",
        SERVICE_NAME_LABEL: "ext",
        MANAGED_BY_LABEL: MIRRORING_CONTROLLER,
    }
    owner = piece.metadata.controller()
    assert owner is not None
    assert (owner.kind, owner.uid) == ("Endpoints", world.endpoints("ext").metadata.uid)


def test_of_a_subset_a_thousand_addresses_are_mirrored_whatever_their_families() -> None:
    pairs = ((f"10.9.{number >> 8}.{number & 255}", f"2001:db8::{number:x}") for number in range(1, 601))
    world = World(service("ext"), written(subset(*chain.from_iterable(pairs))))
    held = {piece.address_type: len(piece.endpoints) for piece in world.slices("ext")}
    assert held == {"IPv4": 500, "IPv6": 500}


def test_annotations_are_mirrored_but_for_those_of_kubectl_and_of_the_last_change() -> None:
    given = {"team": "shop", **dict.fromkeys(NOT_MIRRORED, "…")}
    world = World(service("ext"), written(subset("192.0.2.1"), annotations=given))
    assert [piece.metadata.annotations for piece in world.slices("ext")] == [{"team": "shop"}]
    original = world.endpoints("ext")
    world.apply(replace(original, metadata=replace(original.metadata, annotations={"team": "web"})))
    assert [piece.metadata.annotations for piece in world.slices("ext")] == [{"team": "web"}]


def test_ports_without_addresses_have_no_slice() -> None:
    world = World(service("ext"), written(subset("192.0.2.1")))
    assert len(world.slices("ext")) == 1
    world.apply(replace(world.endpoints("ext"), subsets=(subset(),)))
    assert world.slices("ext") == []


def test_each_set_of_ports_has_a_slice_that_follows_its_subset() -> None:
    metrics = (EndpointsPort(9090, "metrics"),)
    world = World(service("ext"), written(subset("192.0.2.1"), subset("192.0.2.2", ports=metrics)))
    assert [(p.ports[0].port, len(p.endpoints)) for p in world.slices("ext")] == [(8080, 1), (9090, 1)]
    names = [p.metadata.name for p in world.slices("ext")]
    found = world.endpoints("ext")
    world.store.update(replace(found, subsets=(subset("192.0.2.1", "192.0.2.3"), subset("192.0.2.4"))))
    world.settle()
    (piece,) = world.slices("ext")
    assert piece.metadata.name == names[0]
    assert world.ready_addresses("ext") == ["192.0.2.1", "192.0.2.3", "192.0.2.4"]


def test_each_family_of_addresses_has_a_slice_of_its_own() -> None:
    world = World(service("ext"), written(subset("2001:db8::1", "192.0.2.1")))
    held = {piece.address_type: piece.endpoints[0].addresses for piece in world.slices("ext")}
    assert held == {"IPv4": ("192.0.2.1",), "IPv6": ("2001:db8::1",)}
    world.apply(written(subset("192.0.2.1")))
    assert [piece.address_type for piece in world.slices("ext")] == ["IPv4"]


@pytest.mark.parametrize(
    "endpoints",
    [
        pytest.param(written(subset("192.0.2.1"), labels={SKIP_LABEL: "true"}), id="told not to"),
        pytest.param(
            written(subset("192.0.2.1"), annotations={LEADER_ANNOTATION: "{}"}), id="an election's lock"
        ),
    ],
)
def test_some_endpoints_are_not_mirrored(endpoints: Endpoints) -> None:
    assert World(service("ext"), endpoints).slices("ext") == []


def test_endpoints_without_a_service_or_of_one_with_a_selector_are_not_mirrored() -> None:
    world = World(written(subset("192.0.2.1")))
    assert list(world.store.list(EndpointSlice)) == []
    world.add(service("ext"))
    assert world.ready_addresses("ext") == ["192.0.2.1"]
    found = world.service("ext")
    world.store.update(replace(found, spec=replace(found.spec, selector={"app": "web"})))
    world.settle()
    (piece,) = world.slices("ext")
    assert piece.metadata.labels[MANAGED_BY_LABEL] != MIRRORING_CONTROLLER
    assert piece.endpoints == ()


def test_a_mirror_goes_with_its_original() -> None:
    world = World(service("ext"), written(subset("192.0.2.1")))
    world.delete("Endpoints", "ext")
    assert world.slices("ext") == []
    world.add(written(subset("192.0.2.1")))
    world.delete("Service", "ext")
    assert list(world.store.list(EndpointSlice)) == []


def test_a_spoilt_mirror_is_put_right() -> None:
    world = World(service("ext"), written(subset("192.0.2.1")))
    (piece,) = world.slices("ext")
    world.store.update(replace(piece, endpoints=()))
    world.settle()
    assert world.ready_addresses("ext") == ["192.0.2.1"]
    world.store.remove(world.slices("ext")[0].ref)
    world.settle()
    assert world.ready_addresses("ext") == ["192.0.2.1"]

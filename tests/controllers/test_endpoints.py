"""EndpointSlices and Endpoints: who is in them, with which conditions, ports and names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from netsim.controllers.endpoints import OVER_CAPACITY
from netsim.controllers.serving import HEADLESS_LABEL
from netsim.controllers.slicing import MOST_PER_SLICE, pack
from netsim.objects.core import (
    Container,
    ContainerPort,
    Endpoints,
    EndpointsPort,
    Node,
    ObjectReference,
    Pod,
    PodSpec,
    Service,
    ServicePort,
)
from netsim.objects.discovery import (
    MANAGED_BY_LABEL,
    SERVICE_NAME_LABEL,
    SLICE_CONTROLLER,
    Endpoint,
    EndpointPort,
    EndpointSlice,
)
from netsim.objects.meta import ObjectMeta, ObjectRef
from tests.controllers.world import World, deployment, node, pod, service, small

WEB = {"app": "web"}
PORTS = (EndpointPort("http", 8080),)


def conditions(world: World, name: str = "web") -> dict[str, tuple[bool | None, bool | None, bool | None]]:
    return {
        endpoint.target_ref.name: (
            endpoint.conditions.ready,
            endpoint.conditions.serving,
            endpoint.conditions.terminating,
        )
        for piece in world.slices(name)
        for endpoint in piece.endpoints
        if endpoint.target_ref is not None
    }


def only(world: World, name: str = "web") -> EndpointSlice:
    (piece,) = world.slices(name)
    return piece


def relabel(world: World, name: str, labels: Mapping[str, str]) -> None:
    found = world.pod(name)
    world.store.update(replace(found, metadata=replace(found.metadata, labels=labels)))
    world.settle()


# --- who is in


def test_all_labels_of_the_selector_must_match() -> None:
    world = World(
        pod("both", labels={"app": "web", "tier": "front"}),
        pod("one", labels={"app": "web"}),
        pod("elsewhere", "prod", labels={"app": "web", "tier": "front"}),
        service("web", {"app": "web", "tier": "front"}),
    )
    assert list(conditions(world)) == ["both"]


def test_a_relabelled_pod_comes_and_goes() -> None:
    world = World(pod("a", labels=WEB), service("web", WEB))
    relabel(world, "a", {"app": "debug"})
    assert conditions(world) == {}
    relabel(world, "a", WEB)
    assert list(conditions(world)) == ["a"]


def test_a_changed_selector_changes_the_endpoints() -> None:
    world = World(pod("a", labels=WEB), pod("b", labels={"app": "db"}), service("web", WEB))
    found = world.service("web")
    world.store.update(replace(found, spec=replace(found.spec, selector={"app": "db"})))
    world.settle()
    assert list(conditions(world)) == ["b"]


def test_a_pod_without_address_or_at_its_end_is_not_in() -> None:
    world = World(pod("a", labels=WEB), service("web", WEB), kubelet=False)
    assert conditions(world) == {}
    for phase in ("Succeeded", "Failed"):
        world.report(world.pod("a").ref, ready=False, addresses=("10.244.0.9",), phase=phase)
        world.settle()
        assert conditions(world) == {}
        assert world.endpoints("web").subsets == ()


def test_a_service_without_pods_has_one_empty_slice_and_empty_endpoints() -> None:
    world = World(service("web", WEB))
    assert (only(world).endpoints, only(world).ports) == ((), ())
    assert world.endpoints("web").subsets == ()


def test_services_without_selector_are_left_alone() -> None:
    own = EndpointSlice(
        metadata=ObjectMeta(name="mine", namespace="dev", labels={SERVICE_NAME_LABEL: "bare"}),
        endpoints=(Endpoint(("192.0.2.1",)),),
    )
    world = World(service("bare"), own, service("out", WEB, type="ExternalName", external_name="example.com"))
    assert [piece.metadata.name for piece in world.slices("bare")] == ["mine"]
    assert world.slices("out") == []
    assert list(world.store.list(Endpoints)) == []


# --- conditions


def test_conditions_of_a_ready_an_unready_and_a_leaving_pod() -> None:
    world = World(
        pod("up", labels=WEB), pod("down", labels=WEB), pod("leaving", labels=WEB), service("web", WEB)
    )
    world.report(world.pod("down").ref, ready=False)
    world.store.delete(world.pod("leaving").ref, 0.0)
    world.manager.step(0.0)
    assert conditions(world) == {
        "up": (True, True, False),
        "down": (False, False, False),
        "leaving": (False, True, True),
    }


def test_publish_not_ready_addresses_publishes_them_as_ready() -> None:
    world = World(
        pod("down", labels=WEB),
        pod("leaving", labels=WEB),
        service("web", WEB, publish_not_ready_addresses=True),
    )
    world.report(world.pod("down").ref, ready=False)
    world.store.delete(world.pod("leaving").ref, 0.0)
    world.manager.step(0.0)
    assert conditions(world) == {"down": (True, False, False), "leaving": (True, True, True)}
    assert [len(s.addresses) for s in world.endpoints("web").subsets] == [2]


def test_endpoints_keep_unready_pods_apart_and_leave_out_leaving_ones() -> None:
    world = World(
        pod("up", labels=WEB), pod("down", labels=WEB), pod("leaving", labels=WEB), service("web", WEB)
    )
    world.report(world.pod("down").ref, ready=False)
    world.store.delete(world.pod("leaving").ref, 0.0)
    world.manager.step(0.0)
    (subset,) = world.endpoints("web").subsets
    assert [a.ip for a in subset.addresses] == [world.pod("up").status.pod_ip]
    assert [a.ip for a in subset.not_ready_addresses] == [world.pod("down").status.pod_ip]
    assert subset.ports == (EndpointsPort(8080, "http"),)


# --- what an endpoint says


def test_an_endpoint_names_its_pod_node_and_zone() -> None:
    world = World(
        node("z", labels={"topology.kubernetes.io/zone": "zone-a"}),
        pod("a", labels=WEB),
        service("web", WEB),
        nodes=0,
    )
    (endpoint,) = only(world).endpoints
    assert (endpoint.node_name, endpoint.zone) == ("z", "zone-a")
    assert endpoint.addresses == ("10.244.0.2",)
    assert endpoint.target_ref == ObjectReference("Pod", "dev", "a", world.pod("a").metadata.uid)
    (address,) = world.endpoints("web").subsets[0].addresses
    assert (address.ip, address.node_name) == ("10.244.0.2", "z")
    assert address.target_ref == endpoint.target_ref


def test_a_node_that_gets_a_zone_gives_it_to_its_endpoints() -> None:
    world = World(pod("a", labels=WEB), service("web", WEB), nodes=1)
    assert only(world).endpoints[0].zone is None
    held = world.store.get(Node, "node1")
    labels = {"topology.kubernetes.io/zone": "zone-b"}
    world.store.update(replace(held, metadata=replace(held.metadata, labels=labels)))
    world.settle()
    assert only(world).endpoints[0].zone == "zone-b"


HERE_ZONE, HERE_NODE = {"forZones": [{"name": "zone-a"}]}, {"forNodes": [{"name": "z"}]}


@pytest.mark.parametrize(
    ("wish", "hints"),
    [
        ("PreferSameNode", {**HERE_ZONE, **HERE_NODE}),
        ("PreferSameZone", HERE_ZONE),
        ("PreferClose", HERE_ZONE),
        (None, None),
    ],
)
def test_a_traffic_distribution_gives_ready_endpoints_hints(
    wish: str | None, hints: dict[str, object] | None
) -> None:
    rest = {"trafficDistribution": wish} if wish else {}
    world = World(
        node("z", labels={"topology.kubernetes.io/zone": "zone-a"}),
        pod("a", labels=WEB),
        pod("b", labels=WEB),
        service("web", WEB, rest=rest),
        nodes=0,
    )
    assert [endpoint.rest.get("hints") for endpoint in only(world).endpoints] == [hints, hints]
    world.report(world.pod("a").ref, ready=False)
    world.settle()
    found = {e.target_ref.name: e.rest.get("hints") for e in only(world).endpoints if e.target_ref}
    assert found == {"a": None, "b": hints}


def test_endpoints_that_are_published_unready_have_hints_too() -> None:
    """A ready endpoint without a hint would have kube-proxy ignore all of them."""
    world = World(
        node("z", labels={"topology.kubernetes.io/zone": "zone-a"}),
        pod("a", labels=WEB),
        service("web", WEB, rest={"trafficDistribution": "PreferClose"}, publish_not_ready_addresses=True),
        nodes=0,
    )
    world.report(world.pod("a").ref, ready=False)
    world.settle()
    (endpoint,) = only(world).endpoints
    assert (endpoint.conditions.ready, endpoint.rest.get("hints")) == (True, HERE_ZONE)


def test_the_annotation_topology_mode_goes_before_it() -> None:
    world = World(pod("a", labels=WEB), service("web", WEB, rest={"trafficDistribution": "PreferSameNode"}))
    assert "hints" in only(world).endpoints[0].rest
    held = world.service("web")
    meta = replace(held.metadata, annotations={"service.kubernetes.io/topology-mode": "Auto"})
    world.store.update(replace(held, metadata=meta))
    world.settle()
    assert "hints" not in only(world).endpoints[0].rest


@pytest.mark.parametrize(
    ("hostname", "subdomain", "published"),
    [("ent-0", "web", "ent-0"), ("ent-0", "other", None), ("ent-0", "", None), ("", "web", None)],
)
def test_a_hostname_is_published_only_below_the_service_that_is_its_subdomain(
    hostname: str, subdomain: str, published: str | None
) -> None:
    spec = PodSpec(containers=(Container("c"),), hostname=hostname, subdomain=subdomain)
    world = World(pod("a", labels=WEB, spec=spec), service("web", WEB, cluster_ip="None", ports=()))
    assert only(world).endpoints[0].hostname == published
    assert world.endpoints("web").subsets[0].addresses[0].hostname == (published or "")


# --- ports


def with_port(number: int, name: str = "http", protocol: str = "TCP") -> PodSpec:
    return PodSpec(containers=(Container("c", ports=(ContainerPort(number, name, protocol),)),))


def test_a_named_target_port_is_the_pod_s_own_number_and_separates_slices() -> None:
    world = World(
        pod("old", labels=WEB, spec=with_port(8080)),
        pod("new", labels=WEB, spec=with_port(9090)),
        pod("older", labels=WEB, spec=with_port(8080)),
        service("web", WEB),
    )
    found = {
        piece.ports[0].port: [e.target_ref.name for e in piece.endpoints if e.target_ref]
        for piece in world.slices("web")
    }
    assert found == {8080: ["old", "older"], 9090: ["new"]}
    assert [(s.ports[0].port, len(s.addresses)) for s in world.endpoints("web").subsets] == [
        (8080, 2),
        (9090, 1),
    ]


@pytest.mark.parametrize(
    "spec", [with_port(8080, "other"), with_port(8080, "http", "UDP"), PodSpec(containers=(Container("c"),))]
)
def test_a_pod_without_the_named_port_is_in_a_slice_without_ports_and_in_no_endpoints(spec: PodSpec) -> None:
    world = World(pod("a", labels=WEB, spec=spec), service("web", WEB))
    assert (only(world).ports, len(only(world).endpoints)) == ((), 1)
    assert world.endpoints("web").subsets == ()


@pytest.mark.parametrize(("target", "number"), [(None, 80), (8000, 8000), ("http", 8080)])
def test_a_target_port_is_a_number_a_name_or_the_port(target: int | str | None, number: int) -> None:
    ports = (ServicePort(80, "p", target_port=target, app_protocol="http"),)
    world = World(pod("a", labels=WEB), service("web", WEB, ports=ports))
    assert only(world).ports == (EndpointPort("p", number, "TCP", "http"),)


def test_a_sidecar_s_ports_have_names_too() -> None:
    sidecar = Container("s", ports=(ContainerPort(9000, "http"),), rest={"restartPolicy": "Always"})
    once = Container("i", ports=(ContainerPort(7000, "http"),))
    spec = PodSpec(containers=(Container("c"),), init_containers=(once, sidecar))
    world = World(pod("a", labels=WEB, spec=spec), service("web", WEB))
    assert only(world).ports == (EndpointPort("http", 9000),)


def test_a_service_without_ports_has_addresses_only() -> None:
    world = World(pod("a", labels=WEB), service("web", WEB, cluster_ip="None", ports=()))
    assert (only(world).ports, len(only(world).endpoints)) == ((), 1)
    (subset,) = world.endpoints("web").subsets
    assert (subset.ports, len(subset.addresses)) == ((), 1)


# --- metadata


def test_a_slice_is_named_after_its_service_which_owns_it() -> None:
    world = World(service("ent", WEB, labels={"team": "shop"}))
    piece = only(world, "ent")
    assert piece.metadata.name.startswith("ent-")
    assert len(piece.metadata.name) == len("ent-") + 5
    assert piece.metadata.labels == {
        "team": "shop",
        SERVICE_NAME_LABEL: "ent",
        MANAGED_BY_LABEL: SLICE_CONTROLLER,
    }
    owner = piece.metadata.controller()
    assert owner is not None
    assert (owner.kind, owner.uid) == ("Service", world.service("ent").metadata.uid)


def test_endpoints_have_the_service_s_name_and_labels() -> None:
    found = World(service("ent", WEB, labels={"team": "shop"})).endpoints("ent")
    assert found.metadata.labels["team"] == "shop"
    assert found.metadata.labels["endpoints.kubernetes.io/managed-by"] == "endpoint-controller"


def test_headless_services_mark_their_endpoints() -> None:
    world = World(service("h", WEB, cluster_ip="None"), service("ent", WEB))
    assert only(world, "h").metadata.labels[HEADLESS_LABEL] == ""
    assert world.endpoints("h").metadata.labels[HEADLESS_LABEL] == ""
    assert HEADLESS_LABEL not in only(world, "ent").metadata.labels
    assert HEADLESS_LABEL not in world.endpoints("ent").metadata.labels


def test_new_labels_of_a_service_reach_its_endpoints() -> None:
    world = World(pod("a", labels=WEB), service("web", WEB))
    found = world.service("web")
    world.store.update(replace(found, metadata=replace(found.metadata, labels={"team": "shop"})))
    world.settle()
    assert only(world).metadata.labels["team"] == "shop"
    assert world.endpoints("web").metadata.labels["team"] == "shop"
    assert len(only(world).endpoints) == 1


def test_both_go_with_their_service() -> None:
    world = World(pod("a", labels=WEB), service("web", WEB))
    world.delete("Service", "web")
    assert list(world.store.list(EndpointSlice)) == []
    assert list(world.store.list(Endpoints)) == []


def test_what_somebody_spoils_is_put_right() -> None:
    world = World(pod("a", labels=WEB), service("web", WEB))
    good, subsets = only(world), world.endpoints("web").subsets
    world.store.update(replace(good, endpoints=()))
    world.store.update(replace(world.endpoints("web"), subsets=()))
    world.settle()
    assert only(world).endpoints == good.endpoints
    assert world.endpoints("web").subsets == subsets
    world.store.remove(only(world).ref)
    world.store.remove(world.endpoints("web").ref)
    world.settle()
    assert only(world).endpoints == good.endpoints
    assert world.endpoints("web").subsets == subsets


# --- sizes


def test_slices_hold_at_most_a_hundred_endpoints_and_endpoints_a_thousand() -> None:
    world = World(deployment("web", 1050), service("web", WEB), networking=small("10.0.0.0/8", 20))
    assert [len(piece.endpoints) for piece in world.slices("web")] == [100] * 10 + [50]
    found = world.endpoints("web")
    assert [len(subset.addresses) for subset in found.subsets] == [1000]
    assert found.metadata.annotations[OVER_CAPACITY] == "truncated"
    world.scale("web", 990)
    assert OVER_CAPACITY not in world.endpoints("web").metadata.annotations
    assert len(world.ready_addresses("web")) == 990


def test_truncated_endpoints_prefer_ready_addresses() -> None:
    world = World(deployment("web", 1010), service("web", WEB), networking=small("10.0.0.0/8", 20))
    for made in world.pods()[:30]:
        world.report(made.ref, ready=False)
    world.settle()
    (subset,) = world.endpoints("web").subsets
    assert (len(subset.addresses), len(subset.not_ready_addresses)) == (980, 20)


# --- packing


def endpoint(uid: str) -> Endpoint:
    return Endpoint(("10.0.0.1",), target_ref=ObjectReference("Pod", "dev", uid, uid))


def endpoints(first: int, end: int) -> dict[str, Endpoint]:
    return {str(number): endpoint(str(number)) for number in range(first, end)}


def piece(name: str, held: Mapping[str, Endpoint], ports: tuple[EndpointPort, ...] = PORTS) -> EndpointSlice:
    return EndpointSlice(metadata=ObjectMeta(name=name), endpoints=tuple(held.values()), ports=ports)


def sizes(pieces: list[EndpointSlice]) -> dict[str, int]:
    return {p.metadata.name: len(p.endpoints) for p in pieces}


def test_a_slice_that_needs_no_change_is_left_alone() -> None:
    packing = pack(
        {PORTS: endpoints(0, 150)}, [piece("a", endpoints(0, 100)), piece("b", endpoints(100, 150))]
    )
    assert (packing.create, packing.update, packing.delete) == ([], [], [])


def test_a_slice_that_changes_anyway_is_filled_first() -> None:
    existing = [piece("a", endpoints(0, 90)), piece("b", endpoints(100, 150))]
    packing = pack({PORTS: {**endpoints(0, 90), **endpoints(101, 160)}}, existing)
    assert sizes(packing.update) == {"b": 59}


def test_new_endpoints_go_where_they_come_closest_to_filling_a_slice() -> None:
    existing = [
        piece("a", endpoints(0, 80)),
        piece("b", endpoints(100, 190)),
        piece("c", endpoints(200, 299)),
    ]
    held = {**endpoints(0, 80), **endpoints(100, 190), **endpoints(200, 299)}
    assert sizes(pack({PORTS: {**held, **endpoints(400, 405)}}, existing).update) == {"b": 95}
    packing = pack({PORTS: {**held, **endpoints(400, 430)}}, existing)
    assert (sizes(packing.update), [len(new) for _, new in packing.create]) == ({}, [30])


def test_names_of_slices_that_go_are_used_again() -> None:
    other = (EndpointPort("http", 9090),)
    packing = pack({other: endpoints(0, 3)}, [piece("a", endpoints(0, 3))])
    assert [(p.metadata.name, p.ports, len(p.endpoints)) for p in packing.update] == [("a", other, 3)]
    assert (packing.create, packing.delete) == ([], [])


def test_the_last_slice_stays_as_an_empty_one() -> None:
    packing = pack({}, [piece("a", endpoints(0, 3)), piece("b", endpoints(3, 5))])
    assert [(p.metadata.name, p.ports, p.endpoints) for p in packing.update] == [("a", (), ())]
    assert [p.metadata.name for p in packing.delete] == ["b"]
    again = pack({}, [piece("a", {}, ())])
    assert (again.create, again.update, again.delete) == ([], [], [])


def test_no_slice_is_over_full() -> None:
    packing = pack({PORTS: endpoints(0, 250)}, [piece("a", endpoints(0, 60))])
    assert [len(new) for _, new in packing.create] == [MOST_PER_SLICE, 90]


# --- scope


def test_a_change_to_one_pod_touches_its_services_only() -> None:
    world = World(
        deployment("web", 2), deployment("db", 2), service("web", WEB), service("db", {"app": "db"})
    )
    watch = world.store.watch(EndpointSlice, Endpoints)
    watch.drain()
    first = next(made for made in world.pods() if made.metadata.labels["app"] == "web")
    world.report(first.ref, ready=False)
    world.settle()
    touched = {event.object.metadata.labels.get(SERVICE_NAME_LABEL, "web") for event in watch.drain()}
    assert touched == {"web"}
    assert world.store.find_ref(ObjectRef(Service.kind, "dev", "db")) is not None
    assert isinstance(world.pods()[0], Pod)

"""What the store promises to everybody who writes to it or watches it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.base.errors import AlreadyExists, Conflict, NotFound, UsageError
from netsim.base.rng import Rng
from netsim.objects.core import (
    ConfigMap,
    Namespace,
    Node,
    Pod,
    PodSpec,
    PodStatus,
    Service,
    ServicePort,
    ServiceSpec,
)
from netsim.objects.discovery import SERVICE_NAME_LABEL, EndpointSlice
from netsim.objects.meta import Object, ObjectMeta, ObjectRef, OwnerReference
from netsim.store.indexes import Index
from netsim.store.selectors import parse_selector
from netsim.store.store import EventType, Store, StoreEvent, Watch


def pod(name: str = "", namespace: str = "dev", *, node: str = "", **labels: str) -> Pod:
    return Pod(
        metadata=ObjectMeta(name=name, namespace=namespace, labels=labels), spec=PodSpec(node_name=node)
    )


def service(name: str, selector: Mapping[str, str], namespace: str = "dev") -> Service:
    return Service(metadata=ObjectMeta(name=name, namespace=namespace), spec=ServiceSpec(selector=selector))


def names(objects: object) -> list[str]:
    return [obj.metadata.name for obj in objects]  # type: ignore[attr-defined]


def types(events: list[StoreEvent]) -> list[EventType]:
    return [event.type for event in events]


@pytest.fixture
def store() -> Store:
    return Store(Rng(1))


# --- create


def test_create_fills_what_the_server_fills(store: Store) -> None:
    meta = store.create(pod("a"), now=2.5).metadata
    assert (meta.generation, meta.creation_timestamp) == (1, 2.5)
    assert meta.resource_version == store.revision == 1
    assert len(meta.uid) == 36


def test_a_uid_depends_on_seed_name_and_incarnation_only(store: Store) -> None:
    first = store.create(pod("a"), 0).metadata.uid
    elsewhere = Store(Rng(1))
    elsewhere.create(pod("unrelated"), 0)
    assert elsewhere.create(pod("a"), 9).metadata.uid == first
    assert Store(Rng(2)).create(pod("a"), 0).metadata.uid != first
    store.remove(ObjectRef("Pod", "dev", "a"))
    assert store.create(pod("a"), 0).metadata.uid != first


def test_generated_names_are_seeded_per_prefix(store: Store) -> None:
    template = Pod(metadata=ObjectMeta(generate_name="web-7d4-", namespace="dev"))
    made = [store.create(template, 0).metadata.name for _ in range(3)]
    assert len(set(made)) == 3
    assert all(len(name) == len("web-7d4-") + 5 and not set(name[8:]) & set("aeiou013") for name in made)
    other = Store(Rng(1))
    other.create(Pod(metadata=ObjectMeta(generate_name="other-", namespace="dev")), 0)
    assert [other.create(template, 0).metadata.name for _ in range(3)] == made


def test_a_name_is_required(store: Store) -> None:
    with pytest.raises(UsageError, match="Pod: name or generateName is required"):
        store.create(pod(), 0)


@pytest.mark.parametrize(
    ("action", "error", "message"),
    [
        (lambda s: s.create(pod("a"), 0), AlreadyExists, 'pods "a" already exists'),
        (lambda s: s.get(Pod, "b", "dev"), NotFound, 'pods "b" not found'),
        (lambda s: s.update(pod("b")), NotFound, 'pods "b" not found'),
        (
            lambda s: s.delete(ObjectRef("Deployment", "dev", "x"), 0),
            NotFound,
            'deployments.apps "x" not found',
        ),
        (
            lambda s: s.remove(ObjectRef("EndpointSlice", "dev", "x")),
            NotFound,
            'endpointslices.discovery.k8s.io "x" not found',
        ),
    ],
)
def test_errors_are_worded_as_the_api_server_words_them(
    store: Store, action: Callable[[Store], object], error: type[Exception], message: str
) -> None:
    store.create(pod("a"), 0)
    with pytest.raises(error) as raised:
        action(store)
    assert str(raised.value) == message


# --- update


def test_an_update_that_changes_nothing_is_no_event(store: Store) -> None:
    made = store.create(pod("a", app="web"), 0)
    watch = store.watch()
    watch.drain()
    again = store.update(pod("a", app="web"))
    assert again == made
    assert watch.drain() == []
    assert store.revision == 1


def test_generation_rises_with_the_spec_only(store: Store) -> None:
    made = store.create(pod("a"), 0)
    relabelled = store.update(replace(made, metadata=replace(made.metadata, labels={"x": "y"})))
    assert (relabelled.metadata.generation, relabelled.metadata.resource_version) == (1, 2)
    running = store.update(replace(relabelled, status=PodStatus(phase="Running")))
    assert running.metadata.generation == 1
    bound = store.update(replace(running, spec=replace(running.spec, node_name="n1")))
    assert bound.metadata.generation == 2


def test_the_server_keeps_its_own_fields_over_an_update(store: Store) -> None:
    made = store.create(pod("a"), 1.0)
    meta = store.update(pod("a", app="web")).metadata
    assert (meta.uid, meta.creation_timestamp, meta.labels) == (made.metadata.uid, 1.0, {"app": "web"})


def test_an_update_from_a_stale_copy_is_a_conflict(store: Store) -> None:
    stale = store.create(pod("a"), 0)
    store.update(pod("a", app="web"))
    with pytest.raises(Conflict) as raised:
        store.update(replace(stale, status=PodStatus(phase="Running")))
    assert str(raised.value) == (
        'Operation cannot be fulfilled on pods "a": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )


# --- delete


def test_a_running_pod_stays_until_its_kubelet_removes_it(store: Store) -> None:
    ref = store.create(pod("a", node="n1"), 0).ref
    watch = store.watch(Pod)
    watch.drain()
    store.delete(ref, now=10.0)
    meta = store.get(Pod, "a", "dev").metadata
    assert (meta.deletion_timestamp, meta.deletion_grace_period_seconds) == (40.0, 30)
    store.delete(ref, now=11.0)  # a second request does not prolong it
    store.remove(ref)
    assert types(watch.drain()) == [EventType.MODIFIED, EventType.DELETED]
    assert store.find(Pod, "a", "dev") is None


def test_a_shorter_grace_period_brings_the_end_forward(store: Store) -> None:
    ref = store.create(pod("a", node="n1"), 0).ref
    store.delete(ref, now=10.0)
    store.delete(ref, now=12.0, grace_seconds=1)
    assert store.get(Pod, "a", "dev").metadata.deletion_timestamp == 13.0


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(pod("a"), id="no node has it"),
        pytest.param(replace(pod("a", node="n1"), status=PodStatus(phase="Succeeded")), id="it has ended"),
        pytest.param(service("a", {}), id="not a Pod"),
    ],
)
def test_what_nothing_holds_goes_at_once(store: Store, made: Object) -> None:
    ref = store.create(made, 0).ref
    store.delete(ref, 0)
    assert store.find_ref(ref) is None


def test_force_deletion_removes_a_running_pod(store: Store) -> None:
    ref = store.create(pod("a", node="n1"), 0).ref
    store.delete(ref, 0, grace_seconds=0)
    assert store.find_ref(ref) is None


def test_a_namespace_terminates_until_it_is_removed(store: Store) -> None:
    ref = store.create(Namespace(metadata=ObjectMeta(name="dev")), 0).ref
    assert not store.terminating("dev")
    store.delete(ref, 5.0)
    assert store.terminating("dev")
    store.remove(ref)
    assert not store.terminating("dev")


def test_finalizers_hold_an_object_until_the_last_is_gone(store: Store) -> None:
    meta = ObjectMeta(name="a", namespace="dev", finalizers=("netsim.dev/one", "netsim.dev/two"))
    ref = store.create(ConfigMap(metadata=meta), 0).ref
    store.delete(ref, 3.0)
    store.update(ConfigMap(metadata=replace(meta, finalizers=("netsim.dev/two",))))
    assert store.get_ref(ref).metadata.deletion_timestamp == 3.0
    store.update(ConfigMap(metadata=replace(meta, finalizers=())))
    assert store.find_ref(ref) is None


@pytest.mark.parametrize("ends_first", [True, False])
def test_a_pod_with_a_finalizer_goes_when_it_has_ended_and_that_is_gone(
    store: Store, ends_first: bool
) -> None:
    made = pod("a", node="n1")
    made = replace(made, metadata=replace(made.metadata, finalizers=("batch.kubernetes.io/job-tracking",)))
    ref = store.create(made, 0).ref
    store.delete(ref, now=10.0)
    if ends_first:
        store.delete(ref, 12.0, grace_seconds=0)
        assert store.get_ref(ref).metadata.deletion_grace_period_seconds == 0
    held = store.get_ref(ref)
    store.update(replace(held, metadata=replace(held.metadata, finalizers=())))
    if not ends_first:
        assert store.find_ref(ref) is not None
        store.delete(ref, 12.0, grace_seconds=0)
    assert store.find_ref(ref) is None


# --- watch


def test_a_watch_begins_with_what_exists_and_tells_each_change_once(store: Store) -> None:
    store.create(pod("a"), 0)
    store.create(service("s", {}), 0)
    watch = store.watch(Pod)
    store.update(pod("a", app="web"))
    store.remove(ObjectRef("Pod", "dev", "a"))
    events = watch.drain()
    assert types(events) == [EventType.ADDED, EventType.MODIFIED, EventType.DELETED]
    assert events[1].old is not None
    assert events[1].old.metadata.labels == {}
    assert events[2].object.metadata.resource_version == store.revision
    assert watch.drain() == []


def test_a_closed_watch_hears_nothing(store: Store) -> None:
    watch = store.watch()
    watch.close()
    store.create(pod("a"), 0)
    assert not watch


# --- reading


def test_lists_are_in_creation_order_whatever_happened_since(store: Store) -> None:
    for name in ("c", "a", "b"):
        store.create(pod(name, app="web"), 0)
    store.update(pod("c", app="db"))
    store.update(pod("c", app="web"))
    assert names(store.list(Pod)) == ["c", "a", "b"]
    assert names(store.list(Pod, "dev", parse_selector("app=web"))) == ["c", "a", "b"]
    assert names(store.pods_selected(service("s", {"app": "web"}))) == ["c", "a", "b"]


def test_a_service_without_selector_selects_nothing(store: Store) -> None:
    store.create(pod("a", app="web"), 0)
    assert store.pods_selected(service("s", {})) == []


def test_services_are_found_from_a_pod_s_labels(store: Store) -> None:
    store.create(service("both", {"app": "web", "tier": "front"}), 0)
    store.create(service("one", {"tier": "front"}), 0)
    store.create(service("elsewhere", {"tier": "front"}, namespace="prod"), 0)
    store.create(service("other", {"tier": "back"}), 0)
    assert names(store.services_selecting(pod("p", app="web", tier="front"))) == ["both", "one"]
    assert names(store.services_selecting(pod("p", tier="front"))) == ["one"]


def test_slices_are_found_by_their_service(store: Store) -> None:
    labels = {SERVICE_NAME_LABEL: "ent"}
    store.create(EndpointSlice(metadata=ObjectMeta(name="ent-1", namespace="dev", labels=labels)), 0)
    store.create(EndpointSlice(metadata=ObjectMeta(name="ent-2", namespace="prod", labels=labels)), 0)
    assert names(store.slices_of(ObjectRef("Service", "dev", "ent"))) == ["ent-1"]


def test_dependents_are_found_by_their_owner(store: Store) -> None:
    owner = store.create(service("s", {}), 0)
    ref = OwnerReference("v1", "Service", "s", owner.metadata.uid, controller=True)
    store.create(ConfigMap(metadata=ObjectMeta(name="c", namespace="dev", owner_references=(ref,))), 0)
    loose = replace(ref, controller=False)
    store.create(ConfigMap(metadata=ObjectMeta(name="d", namespace="dev", owner_references=(loose,))), 0)
    assert names(store.owned_by(owner.metadata.uid)) == ["c", "d"]
    assert names(store.owned(ConfigMap, owner.metadata.uid)) == ["c"]
    assert store.find_uid(owner.metadata.uid) is owner


# --- indexes against a plain scan

PODS = st.tuples(
    st.sampled_from("abcd"),
    st.sampled_from(["", "n1", "n2"]),
    st.sampled_from(["web", "db"]),
    st.sampled_from(["Running", "Failed"]),
)


@given(st.lists(st.tuples(st.sampled_from(["put", "delete", "remove"]), PODS), max_size=30))
def test_indexes_agree_with_a_scan_and_watches_with_the_store(
    steps: list[tuple[str, tuple[str, str, str, str]]],
) -> None:
    store = Store(Rng(1))
    watch = store.watch(Pod)
    mirror: dict[ObjectRef, Object] = {}
    for verb, (name, node, app, phase) in steps:
        wanted = replace(pod(name, node=node, app=app), status=PodStatus(phase=phase))
        exists = store.find_ref(wanted.ref) is not None
        if verb == "put":
            _ = store.update(wanted) if exists else store.create(wanted, 0)
        elif exists:
            _ = store.delete(wanted.ref, 0) if verb == "delete" else store.remove(wanted.ref)
        _replay(watch, mirror)
        pods = store.list(Pod)
        assert mirror == {p.ref: p for p in pods}
        for choice in ("n1", "n2"):
            bound = [p for p in pods if p.spec.node_name == choice]
            assert list(store.pods_on(choice)) == bound
            alive = [p for p in bound if p.status.phase == "Running" and not p.metadata.deletion_timestamp]
            assert store.count(Index.LOAD, "", choice) == len(alive)
        selected = [p for p in pods if p.metadata.labels["app"] == "web"]
        assert list(store.pods_selected(service("s", {"app": "web"}))) == selected
        assert list(store.list(Pod, "dev", parse_selector("app=web"))) == selected


def _replay(watch: Watch, mirror: dict[ObjectRef, Object]) -> None:
    for event in watch.drain():
        assert (event.type is EventType.ADDED) == (event.object.ref not in mirror)
        if event.type is EventType.DELETED:
            del mirror[event.object.ref]
        else:
            mirror[event.object.ref] = event.object


def test_an_object_with_the_same_key_twice_is_found_once(store: Store) -> None:
    ports = (ServicePort(80, "a"), ServicePort(81, "b"))
    made = store.create(replace(service("s", {}), spec=ServiceSpec(type="NodePort", ports=ports)), 0)
    assert store.count(Index.NODE_PORT, "TCP", 0) == 1
    store.update(replace(made, spec=ServiceSpec(type="ClusterIP", ports=ports)))
    assert store.count(Index.NODE_PORT, "TCP", 0) == 0


def test_node_pod_cidrs_are_indexed(store: Store) -> None:
    node = store.create(Node(metadata=ObjectMeta(name="n1")), 0)
    store.update(replace(node, spec=replace(node.spec, pod_cidr="10.244.0.0/24")))
    assert store.count(Index.POD_CIDR, "10.244.0.0/24") == 1
    store.remove(node.ref)
    assert store.count(Index.POD_CIDR, "10.244.0.0/24") == 0

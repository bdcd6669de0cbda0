"""Whatever is declared in whatever order, the controllers come to rest, at the right place, the same way."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from netsim.base.errors import ApiError
from netsim.controllers.podstate import is_ready
from netsim.objects.core import Namespace, Pod, Service
from netsim.objects.discovery import EndpointSlice
from netsim.objects.meta import Object, ObjectMeta, ObjectRef
from netsim.store.admission import apply, delete
from netsim.store.selectors import has_all
from tests.controllers.world import World, deployment, pod, service, small

APPS = st.sampled_from(["web", "db", "api"])
NAMESPACES = st.sampled_from(["dev", "prod"])
Step = Callable[[World], None]


def _apply(obj: Object) -> Step:
    return lambda world: void(apply(world.store, obj, world.now))


def _delete(kind: str, namespace: str, name: str) -> Step:
    return lambda world: delete(world.store, ObjectRef(kind, namespace, name), world.now)


def _pod_event(number: int, verb: str) -> Step:
    """The kubelet or a user does something to one of the Pods."""

    def step(world: World) -> None:
        pods = world.pods()
        if not pods:
            return
        chosen = pods[number % len(pods)]
        if verb == "delete":
            world.store.delete(chosen.ref, world.now)
        elif verb == "relabel":
            labels = {**chosen.metadata.labels, "app": "other"}
            world.store.update(replace(chosen, metadata=replace(chosen.metadata, labels=labels)))
        elif chosen.status.pod_ip:
            world.report(chosen.ref, ready=verb == "ready", phase="Failed" if verb == "fail" else "Running")

    return step


def void(_: object) -> None:
    pass


STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(
        lambda app, count, ns, image: _apply(deployment(app, count, ns, image=image)),
        APPS,
        st.integers(0, 4),
        NAMESPACES,
        st.sampled_from(["v1", "v2"]),
    ),
    st.builds(
        lambda app, ns, headless, publish: _apply(
            service(
                app,
                {"app": app},
                ns,
                cluster_ip="None" if headless else "",
                publish_not_ready_addresses=publish,
            )
        ),
        APPS,
        NAMESPACES,
        st.booleans(),
        st.booleans(),
    ),
    st.builds(lambda app, ns: _apply(pod("lone", ns, labels={"app": app})), APPS, NAMESPACES),
    st.builds(
        _delete,
        st.sampled_from(["Deployment", "Service", "Pod"]),
        NAMESPACES,
        st.sampled_from(["web", "db", "lone"]),
    ),
    st.builds(lambda ns: _delete("Namespace", "", ns), NAMESPACES),
    st.builds(lambda ns: _apply(Namespace(metadata=ObjectMeta(name=ns))), NAMESPACES),
    st.builds(
        _pod_event, st.integers(0, 20), st.sampled_from(["ready", "unready", "fail", "delete", "relabel"])
    ),
)


@settings(max_examples=150)
@given(st.lists(st.tuples(STEPS, st.booleans()), max_size=14))
def test_endpoint_slices_hold_exactly_the_ready_pods_that_match(steps: list[tuple[Step, bool]]) -> None:
    world = World(networking=small("10.0.0.0/16", 20))
    for step, settles in steps:
        try:
            step(world)
        except ApiError:
            continue  # refused, as an API server refuses what is not there or may not change
        if settles:
            world.settle()
    world.settle()
    assert world.settle() is False
    for found in world.store.list(Service):
        expected = {
            made.status.pod_ip
            for made in world.pods(found.metadata.namespace)
            if has_all(made.metadata.labels, found.spec.selector)
            and made.status.phase == "Running"
            and (is_ready(made) or found.spec.publish_not_ready_addresses)
        }
        listed = world.ready_addresses(found.metadata.name, found.metadata.namespace)
        assert sorted(listed) == sorted(expected)
    services = {found.metadata.uid for found in world.store.list(Service)}
    for piece in world.store.list(EndpointSlice):
        owner = piece.metadata.controller()
        assert owner is not None
        assert owner.uid in services


@settings(max_examples=40)
@given(st.lists(st.tuples(APPS, st.integers(0, 4)), max_size=10))
def test_the_end_does_not_depend_on_when_the_controllers_ran(scales: list[tuple[str, int]]) -> None:
    """The number of Pods, of ready addresses and of slices is the same, settled after each step or once."""
    often, once = World(), World()
    for world in (often, once):
        for app in ("web", "db", "api"):
            apply(world.store, deployment(app, 1), 0.0)
            apply(world.store, service(app, {"app": app}), 0.0)
        for app, count in scales:
            apply(world.store, deployment(app, count), 0.0)
            if world is often:
                world.settle()
        world.settle()
    for app in ("web", "db", "api"):
        assert len(often.ready_addresses(app)) == len(once.ready_addresses(app))
        assert often.service(app).spec.cluster_ip == once.service(app).spec.cluster_ip


DUMP = """
from tests.controllers.world import World, deployment, service
world = World(deployment("web", 3), service("web", {"app": "web", "tier": "x"}), deployment("db", 2), seed=7)
world.scale("web", 1)
for obj in world.store.everything():
    print(obj.ref, obj.metadata.uid, obj.metadata.resource_version)
    print(getattr(obj, "spec", None))
"""


def test_the_same_seed_gives_the_same_cluster_whatever_the_hash_seed() -> None:
    def dump(hash_seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.run(
            [sys.executable, "-c", DUMP], env=environment, capture_output=True, text=True, check=True
        ).stdout

    first = dump("1")
    assert first.count("\nPod dev/web-") == 1
    assert dump("2") == first


def test_a_thousand_pods_behind_two_hundred_services_settle_in_about_a_second() -> None:
    objects: list[Object] = []
    for number in range(200):
        name = f"app{number}"
        objects += [deployment(name, 5), service(name, {"app": name})]
    world = World(networking=small("10.0.0.0/8", 20), nodes=10)
    began = time.process_time()
    world.add(*objects)
    took = time.process_time() - began
    assert sum(is_ready(made) for made in world.store.list(Pod)) == 1000
    assert all(len(world.ready_addresses(f"app{number}")) == 5 for number in range(200))
    assert took < 3.0  # about 0.5 s on an idle core; more is a scan that grew

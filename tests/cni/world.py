"""Nodes, Pods and the Pod network between them, for the tests of every Pod network."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network
from typing import TypeVar

from hypothesis import strategies as st

from netsim.cni.fabric import fabric_entries
from netsim.cni.networks import pod_network
from netsim.objects.core import Node, Pod, PodIP, PodSpec, PodStatus
from netsim.objects.core import NodeSpec as KubeNodeSpec
from netsim.objects.meta import Object, ObjectMeta
from netsim.objects.topology import DEFAULT_NODES, Topology
from netsim.plan.delta import Delta, Plan
from netsim.plan.entries import HostName
from netsim.store.store import EventType, StoreEvent

E = TypeVar("E")
PODS = IPv4Network("10.244.0.0/16")


def node(name: str, pod_cidr: str) -> Node:
    return Node(metadata=ObjectMeta(name=name), spec=KubeNodeSpec(pod_cidr=pod_cidr))


def pod(name: str, node_name: str, ip: str, *, phase: str = "Running", host_network: bool = False) -> Pod:
    return Pod(
        metadata=ObjectMeta(name=name, namespace="dev"),
        spec=PodSpec(node_name=node_name, host_network=host_network),
        status=PodStatus(phase=phase, pod_ip=ip),
    )


NODE1 = node("node1", "10.244.1.0/24")
NODE2 = node("node2", "10.244.2.0/24")
JUMP = pod("jump", "node1", "10.244.1.5")
JUMP_HOST = HostName("dev/jump")


class Cluster:
    """A Pod network over a fabric, and the plan that they add up to."""

    def __init__(self, topology: Topology | None = None) -> None:
        self.topology = topology or Topology()
        self.network = pod_network(self.topology)
        self.fabric = Plan(fabric_entries(self.topology))
        self.plan = Plan(self.fabric)

    def feed(self, kind: EventType, *objects: Object) -> Delta:
        delta = Delta()
        for obj in objects:
            delta = self.network.feed(StoreEvent(kind, obj))
            self.plan.apply(delta)
        return delta

    def added(self, *objects: Object) -> Delta:
        return self.feed(EventType.ADDED, *objects)

    def modified(self, *objects: Object) -> Delta:
        return self.feed(EventType.MODIFIED, *objects)

    def deleted(self, *objects: Object) -> Delta:
        return self.feed(EventType.DELETED, *objects)

    def of(self, kind: type[E], scope: str) -> list[E]:
        """The Pod network's entries of one kind on one host or group."""
        own = [entry for entry in self.plan if entry.owner == "cni" and isinstance(entry, kind)]
        return [entry for entry in own if scope in (getattr(entry, "on", ""), getattr(entry, "host", ""))]


NAMES = tuple(spec.name for spec in DEFAULT_NODES)


@st.composite
def nodes(draw: st.DrawFn) -> Node:
    name = draw(st.sampled_from(NAMES))
    own = 10 * (1 + NAMES.index(name))  # two nodes never have one podCIDR
    made = node(name, draw(st.sampled_from((f"10.244.{own}.0/24", f"10.244.{own}.0/25", ""))))
    if not made.spec.pod_cidr or not draw(st.booleans()):
        return made
    return replace(made, spec=replace(made.spec, pod_cidrs=(made.spec.pod_cidr, f"fd00:10:244:{own}::/64")))


@st.composite
def pods(draw: st.DrawFn) -> Pod:
    number = draw(st.integers(1, 2))
    name = draw(st.sampled_from((*NAMES, "")))
    third = 10 * (1 + NAMES.index(name)) if name in NAMES else 99
    ip = draw(st.sampled_from((f"10.244.{third}.{number + 1}", f"10.244.{third}.{number + 20}", "")))
    phase = draw(st.sampled_from(("Running", "Running", "Succeeded")))
    made = pod(f"pod-{number}", name, ip, phase=phase, host_network=draw(st.integers(0, 9)) == 0)
    if not ip or not draw(st.booleans()):
        return made
    both = (PodIP(ip), PodIP(f"fd00:10:244:{third}::{number + 1}"))
    return replace(made, status=replace(made.status, pod_ips=both))


steps = st.lists(st.tuples(nodes() | pods(), st.integers(0, 3)), max_size=30)

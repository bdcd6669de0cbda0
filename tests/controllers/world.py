"""A store with all controllers and a kubelet that makes every Pod ready at once, for the tests here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

from netsim.base.errors import AllocationError
from netsim.base.rng import Rng
from netsim.controllers.ipam import PodAddresses
from netsim.controllers.manager import Manager
from netsim.controllers.standard import standard_controllers
from netsim.objects.apps import Deployment, DeploymentSpec, PodTemplateSpec, ReplicaSet
from netsim.objects.core import (
    Container,
    ContainerPort,
    Endpoints,
    Namespace,
    Node,
    NodeAddress,
    NodeSpec,
    NodeStatus,
    Pod,
    PodIP,
    PodSpec,
    Service,
    ServicePort,
    ServiceSpec,
    Taint,
)
from netsim.objects.discovery import EndpointSlice
from netsim.objects.meta import Condition, LabelSelector, Object, ObjectMeta, ObjectRef
from netsim.objects.topology import Networking
from netsim.store.admission import apply
from netsim.store.store import Store

CONTROL_PLANE = Taint("node-role.kubernetes.io/control-plane", "NoSchedule")
HTTP = ContainerPort(8080, "http")


def node(
    name: str,
    *,
    labels: Mapping[str, str] | None = None,
    taints: tuple[Taint, ...] = (),
    cordoned: bool = False,
    address: str = "192.168.10.10",
) -> Node:
    return Node(
        metadata=ObjectMeta(name=name, labels=labels or {}),
        spec=NodeSpec(taints=taints, unschedulable=cordoned),
        status=NodeStatus(addresses=(NodeAddress("InternalIP", address),)),
    )


def pod(
    name: str,
    namespace: str = "dev",
    *,
    labels: Mapping[str, str] | None = None,
    spec: PodSpec | None = None,
) -> Pod:
    default = PodSpec(containers=(Container("c", ports=(HTTP,)),))
    return Pod(metadata=ObjectMeta(name=name, namespace=namespace, labels=labels or {}), spec=spec or default)


def deployment(
    name: str, replicas: int = 1, namespace: str = "dev", *, image: str = "acme/shop:v1", **more: object
) -> Deployment:
    labels = {"app": name}
    template = PodTemplateSpec(
        ObjectMeta(labels=labels), PodSpec(containers=(Container("c", image, ports=(HTTP,)),))
    )
    spec = DeploymentSpec(replicas, LabelSelector(labels), template, **more)  # type: ignore[arg-type]
    return Deployment(metadata=ObjectMeta(name=name, namespace=namespace), spec=spec)


def service(
    name: str,
    selector: Mapping[str, str] | None = None,
    namespace: str = "dev",
    *,
    labels: Mapping[str, str] | None = None,
    ports: tuple[ServicePort, ...] = (ServicePort(80, "http", target_port="http"),),
    **more: object,
) -> Service:
    return Service(
        metadata=ObjectMeta(name=name, namespace=namespace, labels=labels or {}),
        spec=ServiceSpec(selector=selector or {}, ports=ports, **more),  # type: ignore[arg-type]
    )


class World:
    """``kubelet`` False leaves every Pod as the controllers leave it; ``graceful`` leaves one that is being
    deleted until ``gone``."""

    def __init__(
        self,
        *objects: Object,
        networking: Networking | None = None,
        seed: int = 1,
        kubelet: bool = True,
        graceful: bool = False,
        nodes: int = 2,
    ) -> None:
        self.store = Store(Rng(seed).derive("store"))
        self.manager = Manager(
            self.store, standard_controllers(networking or Networking(), Rng(seed).derive("controllers"))
        )
        self.addresses = PodAddresses(self.store)
        self.now = 0.0
        self.runs_kubelet = kubelet
        self._graceful = graceful
        self._pods = self.store.watch(Pod)
        self._holding: dict[ObjectRef, str] = {}
        for name in ("default", "dev", "prod"):
            self.store.create(Namespace(metadata=ObjectMeta(name=name)), 0.0)
        for number in range(1, nodes + 1):
            self.store.create(node(f"node{number}", address=f"192.168.10.{10 + number}"), 0.0)
        self.add(*objects)

    def add(self, *objects: Object) -> None:
        for obj in objects:
            self.store.create(obj, self.now)
        self.settle()

    def settle(self, *, at: float | None = None) -> bool:
        """Step controllers and kubelet until both are quiet; says whether anything changed."""
        if at is not None:
            self.now = at
        before = self.store.revision
        self.manager.step(self.now)
        while self.runs_kubelet and self._pods:
            self._run_kubelet()
            self.manager.step(self.now)
        return self.store.revision != before

    def _run_kubelet(self) -> None:
        for ref in dict.fromkeys(event.object.ref for event in self._pods.drain()):
            found = self.store.find(Pod, ref.name, ref.namespace)
            if found is None or (ref in self._holding and self._holding[ref] != found.metadata.uid):
                self.addresses.release(ref)
                self._holding.pop(ref, None)
            if found is None:
                continue
            if found.metadata.deletion_timestamp is not None:
                if not self._graceful:
                    self.store.remove(ref)
            elif found.spec.node_name and found.status.phase == "Pending":
                self._holding[ref] = found.metadata.uid
                self._start(found)

    def _start(self, found: Pod) -> None:
        try:
            addresses = self.addresses.allocate(found.spec.node_name, found.ref)
        except AllocationError:
            return
        self.report(found.ref, ready=True, addresses=tuple(map(str, addresses)))

    def report(
        self, ref: ObjectRef, *, ready: bool, addresses: tuple[str, ...] = (), phase: str = "Running"
    ) -> None:
        """What the kubelet says of a Pod."""
        found = self.store.get(Pod, ref.name, ref.namespace)
        ips = tuple(map(PodIP, addresses)) or found.status.pod_ips or (PodIP(""),)
        condition = Condition("Ready", "True" if ready else "False", last_transition_time=self.now)
        others = tuple(c for c in found.status.conditions if c.type != "Ready")
        status = replace(
            found.status, phase=phase, pod_ip=ips[0].ip, pod_ips=ips, conditions=(*others, condition)
        )
        self.store.update(replace(found, status=status))

    # --- looking

    def names(self) -> list[str]:
        """The Pods in creation order; those being deleted with an exclamation mark."""
        return [
            f"{pod.metadata.name}{'!' if pod.metadata.deletion_timestamp is not None else ''}"
            for pod in self.pods()
        ]

    def pods(self, namespace: str | None = None) -> list[Pod]:
        return list(self.store.list(Pod, namespace))

    def pod(self, name: str, namespace: str = "dev") -> Pod:
        return self.store.get(Pod, name, namespace)

    def replica_sets(self, name: str, namespace: str = "dev") -> list[ReplicaSet]:
        owner = self.store.get(Deployment, name, namespace)
        return list(self.store.owned(ReplicaSet, owner.metadata.uid))

    def deployment(self, name: str, namespace: str = "dev") -> Deployment:
        return self.store.get(Deployment, name, namespace)

    def service(self, name: str, namespace: str = "dev") -> Service:
        return self.store.get(Service, name, namespace)

    def slices(self, name: str, namespace: str = "dev") -> list[EndpointSlice]:
        return list(self.store.slices_of(ObjectRef(Service.kind, namespace, name)))

    def endpoints(self, name: str, namespace: str = "dev") -> Endpoints:
        return self.store.get(Endpoints, name, namespace)

    def ready_addresses(self, name: str, namespace: str = "dev") -> list[str]:
        return [
            address
            for piece in self.slices(name, namespace)
            for endpoint in piece.endpoints
            if endpoint.conditions.ready
            for address in endpoint.addresses
        ]

    # --- changing

    def cordon(self, name: str) -> None:
        found = self.store.get(Node, name)
        self.store.update(replace(found, spec=replace(found.spec, unschedulable=True)))
        self.settle()

    def scale(self, name: str, replicas: int, namespace: str = "dev") -> None:
        found = self.deployment(name, namespace)
        self.store.update(replace(found, spec=replace(found.spec, replicas=replicas)))
        self.settle()

    def delete(self, kind: str, name: str, namespace: str = "dev") -> None:
        self.store.delete(ObjectRef(kind, namespace, name), self.now)
        self.settle()

    def apply(self, obj: Object) -> None:
        apply(self.store, obj, self.now)
        self.settle()

    def ready(self, *names: str, namespace: str = "dev") -> None:
        """The kubelet says that these Pods have become ready."""
        for name in names:
            self.report(ObjectRef(Pod.kind, namespace, name), ready=True, addresses=("10.244.9.9",))
        self.settle()

    def end(self, name: str, phase: str = "Succeeded", namespace: str = "dev") -> None:
        """The kubelet says that all of a Pod's containers have ended."""
        self.report(ObjectRef(Pod.kind, namespace, name), ready=False, phase=phase)
        self.settle()

    def gone(self, *names: str, namespace: str = "dev") -> None:
        """The kubelet says that these Pods, which were being deleted, have ended."""
        for name in names:
            self.store.remove(ObjectRef(Pod.kind, namespace, name))
        self.settle()


def dual(pods: str = "fd00:10:244::/56", services: str = "fd00:10:96::/112") -> Networking:
    """Networking of both families."""
    return Networking(pod_subnet6=IPv6Network(pods), service_subnet6=IPv6Network(services))


def small(pod_subnet: str = "10.244.0.0/16", mask: int = 24, services: str = "10.96.0.0/16") -> Networking:
    """Networking with other ranges."""
    return Networking(
        pod_subnet=IPv4Network(pod_subnet), node_cidr_mask_size=mask, service_subnet=IPv4Network(services)
    )

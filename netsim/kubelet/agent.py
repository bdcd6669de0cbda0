"""The kubelet of every node: takes the Pods that are bound to it, and gives each an address and a ``Worker``.

``cluster`` steps it with the store's changes. It writes Pod status into the store and nothing else; the Pod's
network comes from the plan, which follows from that status. A Pod that is being deleted is brought to its end
within its grace period, and its object goes when nothing of it runs any more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from netsim.base.errors import AllocationError, UsageError
from netsim.cni.names import node_host
from netsim.controllers.ipam import PodAddresses
from netsim.controllers.nodelifecycle import ready_condition
from netsim.kubelet.worker import KubeletSettings, Surroundings, Worker
from netsim.objects.core import ConfigMap, HostIP, Node, Pod, PodIP, Secret
from netsim.objects.meta import Object, ObjectRef
from netsim.planes.protocol import Plane
from netsim.programs.host import Host, Invocation
from netsim.store.events import Reporter
from netsim.store.store import EventType, Store, StoreEvent

__all__ = ["Kubelet", "KubeletSettings"]


class Kubelet:
    """All nodes' kubelets. ``changed`` is called whenever it wrote to the store outside of ``step``."""

    def __init__(
        self,
        store: Store,
        plane: Plane,
        addresses: PodAddresses,
        settings: KubeletSettings,
        changed: Callable[[], None],
    ) -> None:
        self._store = store
        self._plane = plane
        self._addresses = addresses
        self._cut_off: set[str] = set()
        self._around = Surroundings(store, plane, settings, changed, lambda node: node not in self._cut_off)
        self._workers: dict[ObjectRef, Worker] = {}
        self._views: dict[str, Host] = {}
        self._refused: dict[ObjectRef, None] = {}

    # --- the store's changes -------------------------------------------------------------------------

    def feed(self, events: Sequence[StoreEvent], now: float) -> None:
        """Act on changes of Pods, and of what their volumes hold; other kinds are passed over."""
        for event in events:
            if isinstance(event.object, Pod):
                self._pod(event.object.ref, event.type is EventType.DELETED, now)
            elif isinstance(event.object, ConfigMap | Secret):
                for worker in self._workers.values():
                    worker.sync(event.object.ref, now)

    def _pod(self, ref: ObjectRef, deleted: bool, now: float) -> None:
        pod = self._store.find(Pod, ref.name, ref.namespace)
        worker = self._workers.get(ref)
        if worker is not None and (deleted or pod is None or pod.metadata.uid != worker.pod.metadata.uid):
            self._drop(ref, worker, now)
            worker = None
        if pod is None:
            self._refused.pop(ref, None)
            self._addresses.release(ref)
        elif pod.spec.node_name in self._cut_off:
            return
        elif pod.metadata.deletion_timestamp is not None:
            self._bring_to_end(pod, worker, now)
        elif worker is not None:
            worker.update(pod, now)
        elif pod.spec.node_name and pod.status.phase == "Pending":
            self._admit(pod, now)

    def _bring_to_end(self, pod: Pod, worker: Worker | None, now: float) -> None:
        """Stop what runs; then the object may go."""
        if worker is None:
            self._finished(pod.ref, pod.metadata.uid)
        else:
            grace = float(pod.metadata.deletion_grace_period_seconds or 0)
            worker.update(pod, now)
            worker.terminate(grace, partial(self._finished, pod.ref, pod.metadata.uid))

    def _finished(self, ref: ObjectRef, uid: str) -> None:
        found = self._store.find(Pod, ref.name, ref.namespace)
        if found is not None and found.metadata.uid == uid:
            self._store.delete(ref, self._plane.now, 0)
            self._around.changed()

    def _admit(self, pod: Pod, now: float) -> None:
        """Take a Pod that is bound to one of the nodes: give it an address, and start it a second later."""
        node = self._store.find(Node, pod.spec.node_name)
        if node is None:
            return
        ref = pod.ref
        view = self._view(node)
        if view is None:
            return
        try:
            addresses = [str(address) for address in self._addresses.allocate(pod.spec.node_name, ref)]
        except AllocationError as error:
            self._refused[ref] = None
            text = f"Failed to create pod sandbox: {error}"
            self._record(node, pod, "FailedCreatePodSandBox", text, warning=True)
            return
        self._refused.pop(ref, None)
        worker = self._workers[ref] = Worker(pod, view, self._around, now)
        placed = replace(
            pod.status,
            pod_ip=addresses[0],
            pod_ips=tuple(map(PodIP, addresses)),
            host_ip=node.internal_ip(),
            host_ips=tuple(map(HostIP, node.internal_ips())),
            start_time=now,
        )
        worker.start(placed, now)

    def _view(self, node: Node) -> Host | None:
        """The kubelet's own processes on a node; None for one that has no machine."""
        name = node.metadata.name
        if name not in self._views:
            try:
                self._views[name] = self._plane.view(node_host(name), name)
            except UsageError:
                return None
        return self._views[name]

    def disconnect(self, node: str) -> None:
        """A node's kubelet does not hear of the API server any more, nor that of it. Its Pods go on."""
        self._cut_off.add(node)

    def reconnect(self, node: str, now: float) -> None:
        """It hears again: it does what has been asked of it since, and says how its Pods are."""
        self._cut_off.discard(node)
        for pod in self._store.pods_on(node):
            self._pod(pod.ref, False, now)
            worker = self._workers.get(pod.ref)
            if worker is not None:
                worker.report(now)
        found = self._store.find(Node, node)
        held = ready_condition(found) if found is not None else None
        if found is not None and held is not None and held.last_transition_time == now:
            self._record(found, found, "NodeReady", f"Node {node} status is now: NodeReady")

    def _record(self, node: Node, about: Object, reason: str, message: str, *, warning: bool = False) -> None:
        """Record an Event that a node's kubelet tells."""
        by, now = Reporter("kubelet", node.metadata.name), self._plane.now
        self._store.events.record(about, reason, message, by=by, now=now, warning=warning)

    def is_cut_off(self, pod: Pod) -> bool:
        """Whether nothing is heard of the Pod's node."""
        return pod.spec.node_name in self._cut_off

    def stop(self) -> None:
        """Report nothing more: the plane is about to stop everything."""
        for worker in self._workers.values():
            worker.abandon()

    def _drop(self, ref: ObjectRef, worker: Worker, now: float) -> None:
        del self._workers[ref]
        worker.close()
        self._addresses.release(ref)
        for refused in list(self._refused):
            waiting = self._store.find(Pod, refused.name, refused.namespace)
            if waiting is not None:
                self._admit(waiting, now)

    # --- what others ask -----------------------------------------------------------------------------

    def host_of(self, ref: ObjectRef) -> Host | None:
        """Where a running Pod's programs run; None before it has started and after it is gone."""
        worker = self._workers.get(ref)
        return worker.host if worker is not None else None

    def invocation_of(self, ref: ObjectRef) -> Invocation | None:
        """How the Pod's first container was started, for commands run beside it."""
        worker = self._workers.get(ref)
        return worker.invocation() if worker is not None else None

    def starting(self) -> list[ObjectRef]:
        """Pods that were taken and whose containers have not started yet."""
        return [ref for ref, worker in self._workers.items() if worker.starting]

    def hopeless(self, ref: ObjectRef) -> str:
        """Why a Pod will not become ready by itself; empty when it is, or still may become so."""
        pod = self._store.find(Pod, ref.name, ref.namespace)
        if pod is not None and self.is_cut_off(pod):
            return "" if pod.condition("Ready") else f"nothing is heard of its node {pod.spec.node_name}"
        worker = self._workers.get(ref)
        return worker.hopeless(self._plane.now) if worker is not None else self._without_node(pod)

    def _without_node(self, pod: Pod | None) -> str:
        """Why no node takes a Pod that names its node."""
        if pod is None or not pod.spec.node_name:
            return ""
        node = self._store.find(Node, pod.spec.node_name)
        if node is None:
            nodes = ", ".join(node.metadata.name for node in self._store.list(Node))
            return f"it is bound to node {pod.spec.node_name}, which does not exist (the nodes are {nodes})"
        if self._view(node) is None:
            return f"it is bound to node {pod.spec.node_name}, which is not in the Topology"
        return ""

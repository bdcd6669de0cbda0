"""One cluster: every room's component, fed and stepped in the right order.

The way of the data is DESIGN.md's: controllers and kubelet write the store; DNS, proxy and Pod network
read its events; the deltas of the last two make the plan; the plane follows the plan. ``Cluster`` is also
what users of the Python API hold.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import finalize, ref

from netsim.base.errors import ConvergenceError, Problem, UsageError
from netsim.base.rng import Rng
from netsim.capture.record import Recorder
from netsim.cluster.corefile import CorefileProjection
from netsim.cluster.events import told
from netsim.cluster.faults import FailedChange, Faults, LinkHandle
from netsim.cluster.furniture import dns_service_ip, furniture, proxy_settings, uplinks
from netsim.cluster.health_checks import HealthChecks
from netsim.cluster.hosts import HostHandle
from netsim.cluster.names import OWNER_KINDS, address_names, find_pod, kind_names, near_object
from netsim.cluster.outages import heard, silenced, tainted, uplink_of
from netsim.cluster.packets import Packets
from netsim.cluster.programs import image_program, pod_services, start_infrastructure
from netsim.cluster.rollback import roll_back
from netsim.cluster.templates import with_image
from netsim.cluster.udp_cleanup import UdpCleanup
from netsim.clusterdns.zone import KubernetesZone
from netsim.cni.fabric import ROUTER, fabric_entries, upstream_resolver
from netsim.cni.names import node_host, pod_host
from netsim.cni.networks import pod_network
from netsim.controllers.ipam import PodAddresses
from netsim.controllers.manager import Manager
from netsim.controllers.standard import standard_controllers
from netsim.kubelet.agent import Kubelet, KubeletSettings
from netsim.objects.apps import Deployment, ReplicaSet
from netsim.objects.core import Event, Namespace, Node, Pod, Service
from netsim.objects.manifest import Existing, Loaded, load
from netsim.objects.meta import Condition, Object, ObjectRef
from netsim.objects.node_tables import table_named
from netsim.objects.topology import EVERY_NODE
from netsim.objects.workloads import ReplicationController, StatefulSet
from netsim.plan.delta import Delta, Plan
from netsim.plan.entries import Announcement, HostName, Link, Port, Role
from netsim.plan.entries import Host as PlannedHost
from netsim.planes.sim.plane import SimPlane
from netsim.programs.host import Program
from netsim.programs.images import libc_of
from netsim.proxy.announcer import Announcer
from netsim.proxy.proxier import Proxier
from netsim.store import admission
from netsim.store.store import Store

if TYPE_CHECKING:
    from netsim.cluster.speakers import Speakers

T = TypeVar("T")
CONVERGENCE_LIMIT = 300.0  # virtual seconds
TERMINAL_PHASES = ("Succeeded", "Failed")


class Cluster:
    """A running cluster. ``proxiers`` are kube-proxy for each family, ``proxier`` is that of the primary one,
    IPv4; ``converged_at`` is the virtual second at which it had settled first; ``speakers``
    are the BGP daemons, None without BGP; ``packets`` are those of the whole run, if it is captured."""

    def __init__(self, loaded: Loaded, *, seed: int | None = None, programs: Mapping[str, Program]) -> None:
        topology = loaded.topology if seed is None else loaded.topology._replace(seed=seed)
        rng = Rng(topology.seed)
        self.topology = topology
        self.warnings: list[Problem] = list(loaded.warnings)
        self.converged_at = 0.0
        self.failed_changes: list[FailedChange] = []
        self.faults = Faults(self)
        self.store = Store(rng.derive("store"))
        self.plan = Plan()
        self.plane = SimPlane(rng.derive("plane"))
        self.zone = KubernetesZone()
        self.proxiers = tuple(map(Proxier, proxy_settings(topology)))
        self.proxier = self.proxiers[0]
        self._followers = [*(proxier.feed for proxier in self.proxiers), pod_network(topology).feed]
        self._health_checks = HealthChecks(
            self.proxiers, self.plane, {node.name: node_host(node.name) for node in topology.nodes}
        )
        self._udp_cleanup = UdpCleanup(self.proxiers, self.plane, topology)
        if topology.load_balancer is not None:
            self._followers.append(Announcer(uplinks(topology)).feed)
        controllers = standard_controllers(topology.networking, rng, topology.load_balancer)
        self._manager = Manager(self.store, controllers)
        self._addresses = PodAddresses(self.store)
        self._watch = self.store.watch()
        self._stepping = False
        self._poked = False
        self._asleep_until: float | None = None
        self._at_exit = finalize(self, _close_what_is_left, ref(self))
        self._settled_at: tuple[int, int] | None = None
        self._cut_links: dict[str, Link] = {}
        self.packets: Packets | None = None
        self.speakers: Speakers | None = None
        if topology.networking.pod_network == "bgp":
            from netsim.cluster.speakers import Speakers

            self.speakers = Speakers(self.plan, self.plane)
        self.kubelet = Kubelet(
            self.store, self.plane, self._addresses, self._kubelet_settings(programs), self._poke
        )
        self._corefiles = CorefileProjection(self.plane, self.store, self.kubelet.host_of)
        self._apply_delta(Delta(put=fabric_entries(topology)))
        start_infrastructure(topology, self.plane)
        for obj in furniture(topology):
            self.store.create(obj, 0.0)
        for obj in loaded.objects:
            admission.apply(self.store, obj, 0.0)
        self._step()

    def __repr__(self) -> str:
        nodes, pods = len(self.topology.nodes), self.store.size(Pod)
        return f"<Cluster {self.topology.name}: {nodes} nodes, {pods} Pods, at {self.now:.1f} s>"

    def _kubelet_settings(self, programs: Mapping[str, Program]) -> KubeletSettings:
        topology = self.topology
        return KubeletSettings(
            str(dns_service_ip(topology)),
            topology.networking.dns_domain,
            f"nameserver {upstream_resolver(topology)}\n",
            _host_name,
            image_program(topology, programs),
            partial(libc_of, topology_images=topology.images),
            partial(pod_services, self.store, self.zone),
        )

    # --- stepping ------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Virtual seconds since the cluster began."""
        return self.plane.now

    def _poke(self) -> None:
        """Step once for all that happens at this instant."""
        if not self._poked:
            self._poked = True
            self.plane.call_at(self.now, self._poked_step)

    def _poked_step(self) -> None:
        self._poked = False
        self._settled_at = None
        self._step()

    def _step(self) -> None:
        """Carry every change of the store to whom it concerns, until nothing changes any more."""
        if self._stepping:
            return
        self._stepping = True
        try:
            while not self._manager.idle or self._watch:
                self._manager.step(self.now)
                events = self._watch.drain()
                for event in events:
                    self.zone.feed(event, self.now)
                    self._corefiles.feed(event, self.now)
                    for follow in self._followers:
                        self._apply_delta(follow(event))
                    self._health_checks.feed(event)
                    self._udp_cleanup.feed(event)
                self.kubelet.feed(events, self.now)
        finally:
            self._stepping = False
        deadline = self._manager.deadline()
        if deadline is not None and deadline != self._asleep_until:
            self._asleep_until = deadline
            self.plane.call_at(deadline, self._wake)

    def _wake(self) -> None:
        self._asleep_until = None
        self._manager.step(self.now)
        self._step()

    def change_plan(self, delta: Delta) -> None:
        """Change the network itself. What a component of the cluster owns is not for others to change."""
        self._apply_delta(delta)

    def _apply_delta(self, delta: Delta) -> None:
        if delta:
            self.plan.apply(delta)
            self.plane.apply(delta)
            if self.speakers is not None:
                self.speakers.follow(delta)

    def waiting(self) -> list[str]:
        """What is still on its way to where it should be, and will get there by itself."""
        stuck = {wait.subject for wait in (*self._manager.waits(), *self._addresses.waits()) if wait.blocked}
        waiting = [str(wait) for wait in self._manager.waits() if not wait.blocked]
        for pod in self.store.list(Pod):
            if pod.metadata.deletion_timestamp is not None:
                if not self.kubelet.is_cut_off(pod):
                    waiting.append(f"{pod.ref}: is being terminated")
                continue
            if pod.status.phase in TERMINAL_PHASES or pod.condition("Ready") or pod.ref in stuck:
                continue
            if not self.kubelet.hopeless(pod.ref):
                waiting.append(f"{pod.ref}: its containers are starting")
        if self.speakers is not None:
            waiting += self.speakers.waiting(self._cut_links)
        return waiting

    def _settled(self) -> bool:
        speakers = self.speakers
        looked_at = (self.store.revision, speakers.version if speakers is not None else 0)
        if self._poked or self._settled_at == looked_at:
            return False
        self._settled_at = looked_at
        return (speakers is None or speakers.settled(self._cut_links)) and not self.waiting()

    def settle(self) -> None:
        """Let virtual time pass until the cluster has converged; ConvergenceError says what waits."""
        limit = self.now + CONVERGENCE_LIMIT
        while True:
            self._settled_at = None
            if not self.plane.pump_until(self._settled, limit) and self.waiting():
                raise ConvergenceError(self.now, self.waiting())
            self.advance(0.0)  # what started at this very moment opens its sockets, or ends
            if not self.waiting():
                return

    def advance(self, seconds: float) -> None:
        """Let that many virtual seconds pass."""
        self.plane.pump_until(lambda: False, self.now + seconds)

    def pump(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Let virtual time pass until the coroutine has its result: the core of every call here."""
        return self.plane.pump(coroutine)

    def close(self) -> None:
        """Stop every program; the cluster cannot be used afterwards."""
        self._at_exit.detach()
        self.kubelet.stop()
        self.plane.stop()

    # --- changing ------------------------------------------------------------------------------------

    async def apply(self, source: str, *, settle: bool = True) -> None:
        """Apply manifests (a path, or YAML text), as ``kubectl apply`` does; then let the cluster settle.

        Here and below: with ``settle`` False it only begins, and goes on as time passes.
        """
        loaded = load([source], existing=self._existing())
        self.warnings.extend(loaded.warnings)
        self.apply_objects(loaded.objects, settle=settle)

    def apply_objects(self, objects: Iterable[Object], *, settle: bool = True) -> None:
        """Apply objects that have been read and checked; then let the cluster settle."""
        for obj in objects:
            admission.apply(self.store, obj, self.now)
        self._changed(settle)

    def _existing(self) -> Existing:
        addresses = {
            ip: f"{service.metadata.namespace}/{service.metadata.name}"
            for service in self.store.list(Service)
            for ip in service.spec.cluster_ips
            if ip != "None"
        }
        node_ports = {
            (port.protocol, port.node_port): f"{service.metadata.namespace}/{service.metadata.name}"
            for service in self.store.list(Service)
            for port in service.spec.ports
            if port.node_port
        }
        namespaces = [namespace.metadata.name for namespace in self.store.list(Namespace)]
        uids = {obj.metadata.uid for obj in self.store.everything()}
        return Existing(self.topology, namespaces, addresses, node_ports, uids)

    async def delete(
        self, kind: str, name: str, *, grace_seconds: int | None = None, settle: bool = True
    ) -> None:
        """Delete ``("pod", "dev/jump")``; then let the cluster settle.

        ``grace_seconds`` overrides a Pod's own grace period; 0 is ``kubectl delete --force``.
        """
        namespace, _, plain = name.rpartition("/")
        ref = self._ref(kind, namespace or "default", plain)
        admission.delete(self.store, ref, self.now, grace_seconds)
        self._changed(settle)

    def scale(self, target: str, replicas: int, *, settle: bool = True) -> None:
        """Set the replicas of ``deploy/prod/web``; then let the cluster settle."""
        found = self._workload(target)
        if replicas < 0:
            raise UsageError(f"{target} cannot have {replicas} replicas")
        match found:
            case Deployment():
                self.store.update(replace(found, spec=replace(found.spec, replicas=replicas)))
            case ReplicaSet():
                self.store.update(replace(found, spec=replace(found.spec, replicas=replicas)))
            case ReplicationController():
                self.store.update(replace(found, spec=replace(found.spec, replicas=replicas)))
            case StatefulSet():
                self.store.update(replace(found, spec=replace(found.spec, replicas=replicas)))
            case _:
                hint = "write deploy/NAMESPACE/NAME, or rs, rc, sts"
                raise UsageError(f"there is no {target} to scale", hint=hint)
        self._changed(settle)

    def rollback(self, target: str, to_revision: int | None = None, *, settle: bool = True) -> str:
        """Give ``deploy/prod/web`` (or sts, ds) an earlier template, the last one when no revision is named;
        then let the cluster settle. Says what ``kubectl rollout undo`` says."""
        found = self._workload(target)
        if found is None:
            raise UsageError(f"there is no {target} to roll back", hint="write deploy/NAMESPACE/NAME")
        said = roll_back(self.store, found, to_revision)
        self._changed(settle)
        return said

    def set_image(
        self, target: str, image: str, container: str | None = None, *, settle: bool = True
    ) -> None:
        """Give the template of ``deploy/prod/web`` another image, in one container or in all of them, as
        ``kubectl set image`` does; then let the cluster settle."""
        found = self._workload(target)
        if found is None:
            raise UsageError(f"there is no {target} to update", hint="write deploy/NAMESPACE/NAME")
        self.store.update(with_image(found, image, container))
        self._changed(settle)

    def _workload(self, target: str) -> Object | None:
        """What ``deploy/prod/web`` names; None when there is no such thing."""
        kind, _, rest = target.partition("/")
        namespace, _, name = rest.rpartition("/")
        owner = OWNER_KINDS.get(kind.lower())
        return self.store.find(owner, name, namespace or "default") if owner is not None else None

    def set_condition(self, pod: str, kind: str, true: bool, *, settle: bool = True) -> None:
        """Write a condition of a Pod, as whoever is behind a readiness gate does; then let it settle."""
        found = find_pod(self.store, pod)
        condition = Condition(kind, "True" if true else "False", last_transition_time=self.now)
        others = tuple(held for held in found.status.conditions if held.type != kind)
        status = replace(found.status, conditions=(*others, condition))
        self.store.update(replace(found, status=status))
        self._changed(settle)

    def fail_node(self, name: str) -> None:
        """Cut a node off: its link is gone, and nothing is heard of its kubelet; what runs on it goes on.

        What follows takes its time, as ``advance`` lets it pass: see ``controllers.nodelifecycle``.
        """
        self.node(name)
        if name in self._cut_links:
            return
        link = uplink_of(self.plan, name)
        self._cut_links[name] = link
        self._apply_delta(Delta(remove=(link.key,)))
        self.kubelet.disconnect(name)
        self.store.update(silenced(self.store.get(Node, name), self.now))
        self._changed(settle=False)

    def restore_node(self, name: str, *, settle: bool = True) -> None:
        """Give a node that was cut off its link back: it is heard again; then let the cluster settle."""
        self.node(name)
        link = self._cut_links.pop(name, None)
        if link is None:
            return
        self._apply_delta(Delta(put=(link,)))
        self.store.update(heard(self.store.get(Node, name), self.now))
        self.kubelet.reconnect(name, self.now)
        self._changed(settle)

    def link(self, name: str, other: str | None = None) -> LinkHandle:
        """The wire of a node, Pod, external host or ``router`` (its eth0), another of its interfaces
        (``router/wan``), or the wire between two (``"node1", "rack-a"``): for ``fault``. A workload
        (``deploy/prod/web``) stands for the wires of its Pods, as they come and go."""
        return LinkHandle(self.faults, (name,) if other is None else (name, other))

    @contextmanager
    def conntrack_race(self, node: str = EVERY_NODE) -> Iterator[None]:
        """While the block runs, a node (``*``: each of them) loses the second of two UDP packets that one
        socket sends to a Service at one instant, as Linux before 5.0 does on two processors."""
        end = self.faults.begin_race(node)
        try:
            yield
        finally:
            end()

    def taint(self, node: str, text: str, *, settle: bool = True) -> None:
        """As ``kubectl taint``: ``key=value:Effect``, ``key:Effect-`` takes it back. Then let it settle."""
        self.node(node)
        self.store.update(tainted(self.store.get(Node, node), text))
        self._changed(settle)

    def _changed(self, settle: bool) -> None:
        self._step()
        if settle:
            self.settle()

    def _ref(self, kind: str, namespace: str, name: str) -> ObjectRef:
        for obj in self.store.everything():
            same = obj.metadata.name == name and obj.metadata.namespace in ("", namespace)
            if same and kind.lower() in kind_names(obj.kind):
                return obj.ref
        hint = near_object(self.store, kind, namespace, name)
        raise UsageError(f'{kind} "{name}" not found in namespace {namespace}', hint=hint)

    # --- using ---------------------------------------------------------------------------------------

    def pod(self, name: str, namespace: str = "default") -> HostHandle:
        """A Pod as kubectl users name it: ``dev/jump``, ``jump``, ``deploy/web`` (one of its Pods)."""
        pod = find_pod(self.store, name, namespace)
        host = self.kubelet.host_of(pod.ref)
        if host is None:
            reason = self.kubelet.hopeless(pod.ref) or f"its phase is {pod.status.phase}"
            raise UsageError(f"Pod {pod.metadata.namespace}/{pod.metadata.name} does not run: {reason}")
        title = f"{pod.metadata.namespace}/{pod.metadata.name}"
        return HostHandle(self, host, title, _host_name(pod), self.kubelet.invocation_of(pod.ref))

    def node(self, name: str) -> HostHandle:
        """A node of the Topology."""
        names = [node.name for node in self.topology.nodes]
        if name not in names:
            raise UsageError(f"there is no node {name}", hint=f"the nodes are {', '.join(names)}")
        return self.host(node_host(name))

    def external(self, name: str) -> HostHandle:
        """A host outside the cluster."""
        names = [host.name for host in self.topology.external_hosts]
        if name not in names:
            raise UsageError(f"there is no external host {name}", hint=f"there are {', '.join(names)}")
        return self.host(HostName(name))

    def host(self, name: HostName) -> HostHandle:
        """A node, router or external host by its name in the plan."""
        return HostHandle(self, self.plane.host(name), str(name), name, None)

    def find(self, name: str, namespace: str = "default") -> HostHandle:
        """``dev/jump``, ``node/node1`` or ``external/client``: whatever a command may run on."""
        kind, _, rest = name.partition("/")
        if kind in ("node", "external") and rest:
            return self.node(rest) if kind == "node" else self.external(rest)
        if name == ROUTER and self.store.find(Pod, name, namespace) is None:
            raise UsageError(
                "nothing runs on the router", hint="netsim show routes --node router shows its table"
            )
        outside = any(host.name == name for host in self.topology.external_hosts)
        if outside and self.store.find(Pod, name, namespace) is None:
            raise UsageError(f"there is no Pod {name}", hint=f"the host outside is external/{name}")
        return self.pod(name, namespace)

    def events(self, about: str = "", namespace: str | None = None) -> list[Event]:
        """What the cluster's components told, the newest last: of ``pod/dev/jump``, of one namespace or all.

        What was told an hour ago is forgotten, as by the API server.
        """
        return told(self.store, self.now, about, namespace)

    def table(self, name: str, node: str | None = None) -> str:
        """What ``netsim show`` prints of a node's table at this moment, in the format of the tool that people
        know: ``("iptables-counters", "node1")``. Without a node, those of all, one under the other.

        Raises UsageError when there is no such table or node.
        """
        from netsim.cluster.network_tables import joined, node_tables

        return joined(*node_tables(self, table_named(name), node))

    @contextmanager
    def capture(self, *ports: str, probes: bool = False) -> Iterator[Packets]:
        """Record packets while the block runs: at ``node1/eth0``, ``dev/jump`` (its eth0), ``jump`` in the
        namespace default, or anywhere.

        The packets of the kubelet's probes are left out unless ``probes`` asks for them.
        """
        recorder = Recorder([self.port(port) for port in ports] or None, probes=probes)
        packets = Packets(recorder, self.plan, self.names)
        with self.plane.recording(recorder):
            yield packets

    def port(self, text: str) -> Port:
        """The interface that ``node1/eth0``, ``dev/jump/eth0`` or ``dev/jump`` names; a Pod of the namespace
        default needs none, where no node, router or external host has its name."""
        hosts = {str(entry.name): entry for entry in self.plan if isinstance(entry, PlannedHost)}
        if hosts.keys().isdisjoint((text, text.rpartition("/")[0])):
            pod = pod_host("default", text)
            text = text if hosts.keys().isdisjoint((pod, pod.rpartition("/")[0])) else pod
        head, _, tail = text.rpartition("/")
        if text in hosts:
            return Port(HostName(text), "eth0")
        if head in hosts:
            known = {d.name for d in self.plane.stack(HostName(head)).links.devices.values()}
            if tail in known:
                return Port(HostName(head), tail)
            raise UsageError(f"{head} has no interface {tail}", hint=f"it has {', '.join(sorted(known))}")
        roles = (Role.NODE, Role.POD)
        examples = [f"{entry.name}/eth0" for entry in hosts.values() if entry.role in roles]
        raise UsageError(f"there is no interface {text}", hint=f"write for example {examples[0]}")

    def names(self) -> dict[bytes, str]:
        """What readers call each address."""
        return address_names(self.topology, self.store, self.plan)

    def findings(self) -> list[str]:
        """What looks broken although nothing asked: see ``netsim.cluster.findings``."""
        from netsim.cluster.findings import divided, findings

        waits = (*self._manager.waits(), *self._addresses.waits())
        announced = [entry.address for entry in self.plan if isinstance(entry, Announcement)]
        speaking = [own.host for own in self.speakers.controls] if self.speakers is not None else ()
        found = findings(self.store, self.kubelet, waits, announced)
        return [*found, *divided(self.topology, speaking), *self.faults.findings()]


def _close_what_is_left(cluster: ref[Cluster]) -> None:
    """At the interpreter's exit, while programs can still be stopped in order; nothing if it is gone."""
    left = cluster()
    if left is not None:
        left.close()


def _host_name(pod: Pod) -> HostName:
    """The host in the plan on which a Pod's programs run."""
    if pod.spec.host_network:
        return node_host(pod.spec.node_name)
    return pod_host(pod.metadata.namespace, pod.metadata.name)

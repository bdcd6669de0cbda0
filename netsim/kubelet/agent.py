"""The kubelet of every node: gives a bound Pod its address and files, runs its containers, says how they are.

``cluster`` steps it with the store's changes. It writes Pod status into the store and nothing else; the
Pod's network comes from the plan, which follows from that status. A Pod's life here: an address at once,
its containers one second later (the images are on the node), restarts with the kubelet's back-off,
and at its deletion an immediate end (every program here obeys SIGTERM at once).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

from netsim.base.errors import AllocationError, PodStartError
from netsim.controllers.ipam import PodAddresses
from netsim.kubelet import status
from netsim.kubelet.environment import container_environment
from netsim.kubelet.files import hosts_file, pod_hostname, service_account_files
from netsim.objects.core import Container, Node, Pod, PodIP, PodStatus, Service
from netsim.objects.meta import ObjectRef
from netsim.plan.entries import HostName
from netsim.planes.protocol import Plane
from netsim.programs.host import Host, Identity, Invocation, PortSpec, Program, Task
from netsim.resolver.resolvconf import pod_resolv_conf
from netsim.store.store import EventType, Store, StoreEvent

# From the binding to the running container when the image is on the node: sandbox, CNI and start. The
# kubelet's own service level is 5 s without image pulls (sig-scalability pod startup latency SLO).
START_SECONDS = 1.0
RELIST_SECONDS = 1.0  # pkg/kubelet: plegRelistPeriod, after which an ended container is seen
INITIAL_BACKOFF = 10.0  # pkg/kubelet: backOffPeriod
MAX_BACKOFF = 300.0  # pkg/kubelet: MaxCrashLoopBackOff
NODE_HOSTS = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
BACKOFF_RESET = 600.0  # twice MAX_BACKOFF without a crash forgets the history


class KubeletSettings(NamedTuple):
    """``host_name`` names a Pod's host in the plan, ``program`` what an image runs, ``services`` what
    ``cluster`` grants to a Pod's programs; ``node_resolv_conf`` is the file on every node."""

    cluster_dns: str
    cluster_domain: str
    node_resolv_conf: str
    host_name: Callable[[Pod], HostName]
    program: Callable[[str], Program]
    services: Callable[[Pod], Mapping[str, Any]]


@dataclass(slots=True)
class ContainerRun:
    """One container of a running Pod. ``state`` is running, waiting or terminated."""

    spec: Container
    state: str = "waiting"
    reason: str = "ContainerCreating"
    exit_code: int = 0
    restarts: int = 0
    started_at: float = 0.0
    ended_at: float | None = None
    backoff: float = 0.0
    task: Task[int] | None = None


@dataclass(slots=True)
class PodRun:
    """A Pod that a node has taken."""

    pod: Pod
    host: Host | None = None
    environments: dict[str, dict[str, str]] = field(default_factory=dict)
    containers: list[ContainerRun] = field(default_factory=list)
    refused: str = ""  # why its sandbox cannot be made
    ended: bool = False


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
        self._settings = settings
        self._changed = changed
        self._runs: dict[ObjectRef, PodRun] = {}
        self._refused: dict[ObjectRef, None] = {}

    # --- the store's changes -------------------------------------------------------------------------

    def feed(self, events: Sequence[StoreEvent], now: float) -> None:
        """Act on changes of Pods; other kinds are passed over."""
        for event in events:
            if isinstance(event.object, Pod):
                self._pod(event.object.ref, event.type is EventType.DELETED, now)

    def _pod(self, ref: ObjectRef, deleted: bool, now: float) -> None:
        pod = self._store.find(Pod, ref.name, ref.namespace)
        run = self._runs.get(ref)
        if run is not None and (deleted or pod is None or pod.metadata.uid != run.pod.metadata.uid):
            self._stop(ref, run, now)
            run = None
        if pod is None:
            self._refused.pop(ref, None)
            self._addresses.release(ref)
        elif pod.metadata.deletion_timestamp is not None:
            if run is not None:
                self._stop(ref, run, now)
            self._store.remove(ref)
        elif run is not None:
            run.pod = pod
        elif pod.spec.node_name and pod.status.phase == "Pending":
            self._admit(pod, now)

    def _admit(self, pod: Pod, now: float) -> None:
        """Take a Pod that is bound to one of the nodes: give it an address, and start it a second later."""
        if self._store.find(Node, pod.spec.node_name) is None:
            return
        ref = pod.ref
        try:
            address = str(self._addresses.allocate(pod.spec.node_name, ref))
        except AllocationError:
            self._refused[ref] = None
            return
        self._refused.pop(ref, None)
        run = PodRun(pod, containers=[ContainerRun(container) for container in pod.spec.containers])
        self._runs[ref] = run
        node = self._store.get(Node, pod.spec.node_name)
        placed = replace(
            pod.status,
            pod_ip=address,
            pod_ips=(PodIP(address),),
            host_ip=node.internal_ip(),
            start_time=now,
        )
        self._write(run, placed, now)
        delay = START_SECONDS * (1 + len(pod.spec.init_containers))
        self._plane.call_at(now + delay, partial(self._start, ref, pod.metadata.uid, now + delay))

    def _stop(self, ref: ObjectRef, run: PodRun, now: float) -> None:
        run.ended = True
        del self._runs[ref]
        if run.host is not None:
            self._plane.close_view(run.host)
        self._addresses.release(ref)
        for refused in list(self._refused):
            waiting = self._store.find(Pod, refused.name, refused.namespace)
            if waiting is not None:
                self._admit(waiting, now)

    # --- containers ----------------------------------------------------------------------------------

    def _start(self, ref: ObjectRef, uid: str, now: float) -> None:
        run = self._runs.get(ref)
        if run is None or run.pod.metadata.uid != uid:
            return
        pod, domain = run.pod, self._settings.cluster_domain
        try:
            hostname, files = pod_hostname(pod, domain), self._files(pod)
        except PodStartError as error:
            run.refused = str(error)
            self._write(run, pod.status, now)
            self._changed()
            return
        run.host = self._plane.view(self._settings.host_name(pod), hostname)
        run.host.files.update(files)
        run.host.files["/etc/hostname"] = f"{hostname}\n"
        for container in run.containers:
            run.environments[container.spec.name] = self._environment(run.pod, container.spec)
            self._run(run, container, now)
        self._write(run, run.pod.status, now)
        self._changed()

    def _files(self, pod: Pod) -> dict[str, str]:
        """What the kubelet mounts into the Pod; raises PodStartError."""
        settings = self._settings
        node_file = settings.node_resolv_conf
        conf = pod_resolv_conf(pod, node_file, (settings.cluster_dns,), settings.cluster_domain)
        return {
            "/etc/resolv.conf": conf.written(node_file),
            "/etc/hosts": hosts_file(pod, settings.cluster_domain, NODE_HOSTS),
            **service_account_files(pod),
        }

    def _environment(self, pod: Pod, container: Container) -> dict[str, str]:
        services = self._store.list(Service)
        return dict(container_environment(pod, container, services))

    def _run(self, run: PodRun, container: ContainerRun, now: float) -> None:
        assert run.host is not None
        spec = container.spec
        start = self._invocation(run, spec)
        program = self._settings.program(spec.image)
        title = " ".join((*spec.command, *spec.args)) or spec.image
        container.state, container.reason, container.started_at = "running", "", now
        container.task = self._plane.start(
            run.host, partial(self._guarded, run, container, program, start), title
        )

    async def _guarded(
        self, run: PodRun, container: ContainerRun, program: Program, start: Invocation, host: Host
    ) -> int:
        """Run a container's program and note how it ended; a socket error ends it with exit code 1."""
        try:
            code = await program(host, start)
        except OSError:
            code = 1
        self._ended(run, container, code, host.now())
        return code

    def _invocation(self, run: PodRun, spec: Container) -> Invocation:
        pod = run.pod
        identity = Identity(
            pod.metadata.name,
            pod.metadata.namespace,
            pod.spec.node_name,
            pod.status.pod_ip,
            pod.metadata.labels,
        )
        return Invocation(
            spec.image,
            spec.name,
            spec.command,
            spec.args,
            tuple(PortSpec(port.container_port, port.name, port.protocol) for port in spec.ports),
            run.environments[spec.name],
            identity,
            spec.stdin,
            spec.tty,
            self._settings.services(pod),
        )

    def _ended(self, run: PodRun, container: ContainerRun, code: int, now: float) -> None:
        if run.ended:
            return
        container.state, container.exit_code, container.ended_at = "terminated", code, now
        container.reason = "Completed" if code == 0 else "Error"
        policy = run.pod.spec.restart_policy
        if policy == "Always" or (policy == "OnFailure" and code != 0):
            if now - container.started_at > BACKOFF_RESET:
                container.backoff = 0.0
            delay = RELIST_SECONDS
            if container.restarts:
                delay = container.backoff = min(container.backoff * 2 or INITIAL_BACKOFF, MAX_BACKOFF)
                container.state, container.reason = "waiting", "CrashLoopBackOff"
            self._plane.call_at(now + delay, partial(self._restart, run, container))
        self._write(run, run.pod.status, now)
        self._changed()

    def _restart(self, run: PodRun, container: ContainerRun) -> None:
        if run.ended or run.host is None:
            return
        now = run.host.now()
        container.restarts += 1
        self._run(run, container, now)
        self._write(run, run.pod.status, now)
        self._changed()

    # --- status --------------------------------------------------------------------------------------

    def _write(self, run: PodRun, base: PodStatus, now: float) -> None:
        """Write the Pod's status as its containers are now."""
        current = self._store.find(Pod, run.pod.metadata.name, run.pod.metadata.namespace)
        if current is None or current.metadata.uid != run.pod.metadata.uid:
            return
        reported = status.pod_status(
            run.pod, run.containers, replace(base, message=run.refused, reason=""), now
        )
        run.pod = self._store.update(replace(current, status=reported))

    # --- what others ask -----------------------------------------------------------------------------

    def host_of(self, ref: ObjectRef) -> Host | None:
        """Where a running Pod's programs run; None before it has started and after it is gone."""
        run = self._runs.get(ref)
        return run.host if run is not None else None

    def invocation_of(self, ref: ObjectRef) -> Invocation | None:
        """How the Pod's first container was started, for commands run beside it."""
        run = self._runs.get(ref)
        if run is None or run.host is None:
            return None
        return self._invocation(run, run.containers[0].spec)

    def starting(self) -> list[ObjectRef]:
        """Pods that were taken and whose containers have not started yet."""
        return [ref for ref, run in self._runs.items() if run.host is None and not run.refused]

    def hopeless(self, ref: ObjectRef) -> str:
        """Why a Pod will not become ready by itself; empty when it is, or still may become so."""
        run = self._runs.get(ref)
        if run is None:
            return self._without_node(ref)
        if run.refused:
            return run.refused
        for container in run.containers:
            if container.restarts and container.state != "running":
                return (
                    f"container {container.spec.name} ({container.spec.image}) ended with exit code "
                    f"{container.exit_code} {container.restarts + 1} times: {container.reason}"
                )
        return ""

    def _without_node(self, ref: ObjectRef) -> str:
        """Why no node takes a Pod that names its node."""
        pod = self._store.find(Pod, ref.name, ref.namespace)
        if pod is None or not pod.spec.node_name or self._store.find(Node, pod.spec.node_name) is not None:
            return ""
        nodes = ", ".join(node.metadata.name for node in self._store.list(Node))
        return f"it is bound to node {pod.spec.node_name}, which does not exist (the nodes are {nodes})"

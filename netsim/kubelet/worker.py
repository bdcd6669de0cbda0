"""One Pod on its node: its containers are started in order, kept running, probed, and brought to their end.

``agent`` makes a ``Worker`` for each Pod that a node takes and tells it when to end. A worker runs as
processes on the kubelet's own view of the node, so that its probes leave from there; it writes the Pod's
status into the store and nothing else. Source: pkg/kubelet/kuberuntime/kuberuntime_manager.go
(computePodActions, doBackOff) and kuberuntime_container.go (killContainer).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import IPv4Address
from typing import Any, NamedTuple

from netsim.base.errors import HostGone, PodStartError, UsageError
from netsim.kubelet import events, status
from netsim.kubelet.environment import environment_of, expanded
from netsim.kubelet.files import NODE_HOSTS, hosts_file, pod_hostname, service_account_files
from netsim.kubelet.hooks import pre_stop
from netsim.kubelet.probes import (
    LIVENESS,
    READINESS,
    STARTUP,
    Answer,
    Prober,
    ProbeSpec,
    Target,
    Verdict,
    failing_probe,
    probe_specs,
)
from netsim.kubelet.volumes import Volumes, takes_from, until_sync
from netsim.objects.core import Container, Pod, PodStatus
from netsim.objects.defaults import TERMINATION_MESSAGE_PATH
from netsim.objects.meta import ObjectRef
from netsim.plan.entries import HostName
from netsim.planes.protocol import Plane
from netsim.programs.host import Host, Identity, Invocation, PortSpec, Program, Task
from netsim.programs.images import flavour_of
from netsim.programs.shell import run_command
from netsim.programs.terminal import Outcome
from netsim.programs.waiting import within
from netsim.resolver.commands import Libc
from netsim.resolver.resolvconf import pod_resolv_conf
from netsim.store.events import Reporter
from netsim.store.store import Store

# From the binding to the running container when the image is on the node: sandbox, CNI and start. The
# kubelet's own service level is 5 s without image pulls (sig-scalability pod startup latency SLO).
START_SECONDS = 1.0
RELIST_SECONDS = 1.0  # pkg/kubelet: plegRelistPeriod, after which an ended container is seen
INITIAL_BACKOFF = 10.0  # pkg/kubelet: backOffPeriod
MAX_BACKOFF = 300.0  # pkg/kubelet: MaxCrashLoopBackOff
BACKOFF_RESET = 600.0  # twice MAX_BACKOFF without a crash forgets the history
SYNC_AGAIN = 10.0  # pkg/kubelet: backOffPeriod, after which a Pod that could not be synced is tried again
MINIMUM_GRACE = 2.0  # kuberuntime: minimumGracePeriodInSeconds, however much of the grace a hook has used
SIGKILLED = 137  # 128 + SIGKILL
# A container that has run so long without becoming ready is named, and not waited for: there is no such
# number in Kubernetes, where one may wait for ever.
PATIENCE = 120.0


class KubeletSettings(NamedTuple):
    """``host_name`` names a Pod's host in the plan, ``program`` and ``libc`` what an image runs and by whose
    resolver, ``services`` what ``cluster`` grants to a Pod's programs; ``node_resolv_conf`` is the file on
    every node."""

    cluster_dns: str
    cluster_domain: str
    node_resolv_conf: str
    host_name: Callable[[Pod], HostName]
    program: Callable[[str], Program]
    libc: Callable[[str], Libc]
    services: Callable[[Pod], Mapping[str, Any]]


class Surroundings(NamedTuple):
    """What all workers share. ``changed`` is called after each write to the store; ``connected`` says
    whether a node reaches the API server."""

    store: Store
    plane: Plane
    settings: KubeletSettings
    changed: Callable[[], None]
    connected: Callable[[str], bool]


@dataclass(slots=True)
class ContainerRun:
    """One container of a Pod. ``state`` is running, waiting or terminated; ``last`` how the run before ended;
    ``killed`` the exit code that it gets when its program is ended from outside; ``message`` its last
    words; ``refused`` why it cannot be created."""

    spec: Container
    init: bool = False
    state: str = "waiting"
    reason: str = "ContainerCreating"
    message: str = ""
    exit_code: int = 0
    restarts: int = 0
    started_at: float = 0.0
    ended_at: float | None = None
    started: bool = False
    ready: bool = False
    last: Mapping[str, Any] | None = None
    backoff: float = 0.0
    killed: int = 0
    refused: str = ""
    failed_a_probe: bool = False
    task: Task[int] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    probers: dict[str, Prober] = field(default_factory=dict)

    @property
    def is_sidecar(self) -> bool:
        """An init container that goes on running (restartPolicy Always)."""
        return self.init and self.spec.rest.get("restartPolicy") == "Always"

    @property
    def running(self) -> bool:
        return self.state == "running"


class Worker:
    """One Pod that a node has taken. ``refused`` says why its sandbox cannot be made."""

    def __init__(self, pod: Pod, kubelet: Host, around: Surroundings, now: float) -> None:
        self.pod = pod
        self.host: Host | None = None
        self.refused = ""
        self._kubelet = kubelet
        self._around = around
        self._volumes = Volumes(around.store, self._tell)
        self._admitted = now
        first = "PodInitializing" if pod.spec.init_containers else "ContainerCreating"
        self._init = [
            ContainerRun(spec, init=True, reason="PodInitializing") for spec in pod.spec.init_containers
        ]
        self._main = [ContainerRun(spec, reason=first) for spec in pod.spec.containers]
        self._tasks: list[Task[Any]] = []
        self._stopping = False
        self._gone = False

    # --- what the agent calls ------------------------------------------------------------------------

    def start(self, base: PodStatus, now: float) -> None:
        """Report the Pod as placed, and begin."""
        self._report(now, base)
        self._process(self._live, "starts")

    def update(self, pod: Pod, now: float) -> None:
        """The Pod's object has changed: perhaps a readiness gate."""
        self.pod = pod
        if pod.spec.rest.get("readinessGates") and not self._gone:
            self._report(now)

    def sync(self, changed: ObjectRef, now: float) -> None:
        """A ConfigMap or Secret has changed: the Pod's files follow when the kubelet next syncs it."""
        if (host := self.host) is not None and takes_from(self.pod, changed):
            then = now + until_sync(host, now)
            self._around.plane.call_at(then, partial(self._sync, changed, host), background=True)

    def terminate(self, grace: float, finished: Callable[[], None]) -> None:
        """Bring the Pod to its end within its grace period; ``finished`` is called when nothing runs."""
        if not self._stopping:
            self._stopping = True
            self._process(partial(self._terminate, grace, finished), "stops")

    def close(self) -> None:
        """End everything at once: the Pod is gone."""
        self._gone = True
        for container in self._all:
            self._stop_probing(container)
        for task in self._tasks:
            task.cancel()
        if self.host is not None:
            self._around.plane.close_view(self.host)

    def report(self, now: float) -> None:
        """Write the status again, for the node that has come back."""
        if not self._gone:
            self._report(now)

    def abandon(self) -> None:
        """Write nothing more: everything is about to be stopped."""
        self._gone = True

    # --- what others ask -----------------------------------------------------------------------------

    def invocation(self) -> Invocation | None:
        """How the first container was started, for commands run beside it."""
        return self._invocation(self._main[0]) if self.host is not None else None

    @property
    def starting(self) -> bool:
        """Whether its containers have not been started yet."""
        return self.host is None and not (self.refused or self._volumes.refused)

    def hopeless(self, now: float) -> str:
        """Why the Pod will not become ready by itself; empty when it is, or still may become so."""
        if self.refused or self._volumes.refused or self._stopping:
            return self.refused or self._volumes.refused
        for container in self._all:
            if container.refused:
                return f"container {container.spec.name} cannot be created: {container.refused}"
            if container.restarts and not container.running:
                words = f": {container.message}" if container.message else ""
                return (
                    f"container {container.spec.name} ({container.spec.image}) ended with exit code "
                    f"{container.exit_code} {container.restarts + 1} times: {container.reason}{words}"
                )
        waiting = next((c for c in self._all if c.running and not c.ready), None)
        if waiting is not None and now - waiting.started_at >= PATIENCE:
            return _why_not_ready(waiting, now)
        gates = status.closed_gates(self.pod)
        if gates and all(container.ready for container in self._main):
            return ", ".join(gates)
        return ""

    # --- the course of its life ----------------------------------------------------------------------

    @property
    def _all(self) -> Sequence[ContainerRun]:
        return [*self._init, *self._main]

    def _process(self, run: Callable[[Host], Coroutine[Any, Any, Any]], what: str) -> None:
        meta = self.pod.metadata
        title = f"kubelet: {meta.namespace}/{meta.name} {what}"
        self._tasks.append(self._around.plane.start(self._kubelet, run, title))

    async def _live(self, kubelet: Host) -> int:
        """From the binding to the running containers: sandbox, init containers in order, all others."""
        await kubelet.sleep(START_SECONDS)
        await self._volumes.set_up(kubelet, lambda: self.pod)
        if self._set_up(kubelet.now()) and await self._initialise(kubelet):
            for container in self._main:
                self._run(container, kubelet.now())
            self._report(kubelet.now())
            for container in self._main:
                self._supervised(container)
        return 0

    def _sync(self, changed: ObjectRef, host: Host) -> None:
        if not self._around.connected(self.pod.spec.node_name):
            self.sync(changed, self._around.plane.now)
        elif not self._gone:
            self._volumes.refresh(self.pod, [c.spec for c in self._all if c.running], host)

    def _set_up(self, now: float) -> bool:
        """Make the sandbox: the Pod's host with its name and files."""
        pod, domain = self.pod, self._around.settings.cluster_domain
        try:
            hostname, files = pod_hostname(pod, domain), self._files(pod)
        except PodStartError as error:
            self.refused = str(error)
            self._tell(events.refused(error))
            self._report(now)
            return False
        self.host = self._around.plane.view(self._around.settings.host_name(pod), hostname)
        self.host.libc = self._around.settings.libc(pod.spec.containers[0].image)
        self.host.files.update(files | {"/etc/hostname": f"{hostname}\n"})
        return True

    def _files(self, pod: Pod) -> dict[str, str]:
        """What the kubelet mounts into the Pod; raises PodStartError."""
        settings = self._around.settings
        node_file = settings.node_resolv_conf
        conf = pod_resolv_conf(pod, node_file, (settings.cluster_dns,), settings.cluster_domain)
        for event in conf.events:
            self._tell(events.of_dns(event))
        return {
            "/etc/resolv.conf": conf.written(node_file),
            "/etc/hosts": hosts_file(pod, settings.cluster_domain, NODE_HOSTS),
            **service_account_files(pod),
        }

    async def _initialise(self, kubelet: Host) -> bool:
        """Run the init containers in order; says whether the main ones may start."""
        for container in self._init:
            self._run(container, kubelet.now())
            self._report(kubelet.now())
            if container.is_sidecar:
                self._supervised(container)
                while not container.started:
                    await kubelet.sleep(RELIST_SECONDS)
                continue
            while await self._outcome_of(container, kubelet):
                if self.pod.spec.restart_policy == "Never":
                    return False
                await self._back_off(container, kubelet)
                self._run(container, kubelet.now())
                self._report(kubelet.now())
            await kubelet.sleep(RELIST_SECONDS)
        return True

    def _supervised(self, container: ContainerRun) -> None:
        async def supervise(kubelet: Host) -> int:
            while self._restarts(container, await self._outcome_of(container, kubelet)):
                await self._back_off(container, kubelet)
                self._run(container, kubelet.now())
                self._report(kubelet.now())
            return 0

        self._process(supervise, f"keeps {container.spec.name}")

    def _restarts(self, container: ContainerRun, code: int) -> bool:
        """Whether an ended container is started again (ShouldContainerBeRestarted)."""
        if self._stopping:
            return False
        policy = self.pod.spec.restart_policy
        if policy == "Always" or container.is_sidecar:
            return True
        return policy == "OnFailure" and (code != 0 or container.failed_a_probe)

    async def _back_off(self, container: ContainerRun, kubelet: Host) -> None:
        """Wait before the next start: not at first, then ever longer."""
        if kubelet.now() - container.started_at > BACKOFF_RESET:
            container.backoff = 0.0
        delay = RELIST_SECONDS
        if container.restarts:
            delay = container.backoff = min(container.backoff * 2 or INITIAL_BACKOFF, MAX_BACKOFF)
            container.last = status.state_details(container)
            container.state, container.reason = "waiting", "CrashLoopBackOff"
            self._tell(events.backing_off(container.spec.name, self.pod), container)
            self._report(kubelet.now())
        await kubelet.sleep(delay)
        container.restarts += 1

    # --- one run of a container ----------------------------------------------------------------------

    def _run(self, container: ContainerRun, now: float) -> None:
        assert self.host is not None
        spec = container.spec
        if container.state == "terminated":
            container.last = status.state_details(container)
        try:
            container.env, container.refused = environment_of(self._around.store, self.pod, spec), ""
        except PodStartError as error:
            container.state, container.reason, container.refused = "waiting", error.reason, error.message
            self._tell(events.not_created(error), container)
            return
        container.state, container.reason, container.started_at = "running", "", now
        container.killed, container.failed_a_probe = 0, False
        for told in (events.pulled(spec.image), events.CREATED, events.STARTED):
            self._tell(told, container)
        self._volumes.mount(spec, self.host)
        start = self._invocation(container)
        program = self._around.settings.program(spec.image)
        title = " ".join((*start.command, *start.args)) or spec.image
        guarded = partial(self._guarded, container, program, start)
        container.task = self._around.plane.start(self.host, guarded, title)
        self._probe(container, now)
        if not container.started or not container.ready:
            self._look_again_in_time(now)

    async def _guarded(self, container: ContainerRun, program: Program, start: Invocation, host: Host) -> int:
        """Run a container's program and note how it ended; a socket error ends it with exit code 1."""
        code: int | None = None
        try:
            code = await program(host, start)
        except OSError:
            code = 1
        finally:
            if not self._gone:
                self._ended(container, container.killed if code is None else code, host.now())
        return code

    def _ended(self, container: ContainerRun, code: int, now: float) -> None:
        container.state, container.exit_code, container.ended_at = "terminated", code, now
        container.reason = "Completed" if code == 0 else "Error"
        container.message = self._last_words(container)
        container.started = container.ready = False
        self._stop_probing(container)
        self._report(now)

    def _last_words(self, container: ContainerRun) -> str:
        """What the program has left in its terminationMessagePath. CoreDNS leaves there what it logs last; a
        real one only logs it, and so ``hopeless`` tells it, and the status does not."""
        assert self.host is not None
        path = container.spec.rest.get("terminationMessagePath", TERMINATION_MESSAGE_PATH)
        return str(self.host.files.pop(path, "")).strip()

    async def _outcome_of(self, container: ContainerRun, kubelet: Host) -> int:
        """Try again to create the container as long as it is refused, and wait until it has ended."""
        while container.refused and not self._stopping:
            await kubelet.sleep(SYNC_AGAIN, background=True)
            self._run(container, kubelet.now())
            self._report(kubelet.now())
        return await self._end_of(container)

    async def _end_of(self, container: ContainerRun) -> int:
        """Wait until the container's program has ended; its exit code."""
        if container.task is not None:
            try:
                await container.task.join()
            except UsageError as error:
                if not container.task.cancelled and not isinstance(error, HostGone):
                    raise
        return container.exit_code

    def _invocation(self, container: ContainerRun) -> Invocation:
        pod, spec = self.pod, container.spec
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
            expanded(spec.command, container.env),
            expanded(spec.args, container.env),
            tuple(PortSpec(port.container_port, port.name, port.protocol) for port in spec.ports),
            container.env,
            identity,
            spec.stdin,
            spec.tty,
            self._around.settings.services(pod),
            to_completion=not container.is_sidecar
            and (container.init or pod.spec.restart_policy != "Always"),
        )

    # --- probes --------------------------------------------------------------------------------------

    def _probe(self, container: ContainerRun, now: float) -> None:
        """Begin to probe a container that has just started (worker.go).

        Probes tick from the moment at which the Pod was admitted; a readiness probe is also made as soon as
        the container has started (UpdatePodStatus triggers it), and ticks from there.
        """
        if container.init and not container.is_sidecar:
            container.started = True
            return
        specs = probe_specs(container.spec)
        container.started = STARTUP not in specs
        container.ready = container.started and READINESS not in specs
        title = f"{self.pod.metadata.namespace}/{self.pod.metadata.name}"
        run = partial(self._command, container)
        address = IPv4Address(self.pod.status.pod_ip)
        target = Target(title, container.spec, address, self._kubelet, run)
        for kind, spec in specs.items():
            asks = partial(self._asks, container, spec)
            failed, judged = partial(self._failed, container), partial(self._judged, container)
            prober = Prober(spec, self._around.plane, target, asks=asks, failed=failed, judged=judged)
            container.probers[kind] = prober
            if kind == READINESS and container.started:
                prober.begin(now)
            else:
                prober.begin(
                    self._admitted + (now - self._admitted) // spec.period * spec.period + spec.period
                )

    def _asks(self, container: ContainerRun, spec: ProbeSpec) -> bool:
        """Whether a probe is made at this tick."""
        running_for = int(self._around.plane.now - container.started_at)
        if not container.running or running_for < spec.initial_delay:
            return False
        return container.started != (spec.kind == STARTUP)

    def _failed(self, container: ContainerRun, spec: ProbeSpec, verdict: Verdict) -> None:
        """One attempt of a probe has failed; perhaps nothing follows from it."""
        self._tell(events.unhealthy(spec, verdict), container)

    def _judged(self, container: ContainerRun, spec: ProbeSpec, verdict: Verdict) -> None:
        """A probe has made up its mind."""
        now = self._around.plane.now
        succeeded = verdict.answer is Answer.SUCCESS
        if spec.kind == READINESS:
            container.ready = succeeded
        elif not succeeded:
            container.failed_a_probe = True
            grace = self.pod.spec.termination_grace_period_seconds if spec.grace is None else spec.grace
            restarts = self._restarts(container, SIGKILLED)
            told = events.failed_for_good(container.spec.name, spec, restarts=restarts)
            kill = partial(self._kill, container, float(grace), told=told)
            self._process(kill, f"kills {container.spec.name}")
        elif spec.kind == STARTUP:
            container.started = True
            if READINESS in container.probers:
                container.probers[READINESS].begin(now)
            else:
                container.ready = True
        self._report(now)

    def _stop_probing(self, container: ContainerRun, *kinds: str) -> None:
        for kind in kinds or (*container.probers,):
            if kind in container.probers:
                container.probers[kind].stop()

    async def _command(self, container: ContainerRun, argv: tuple[str, ...], timeout: float) -> Outcome:
        """Run a command in the container, as a process of its own; TimeoutError when it takes too long."""
        if self.host is None or self._gone or not container.running:
            raise UsageError("the container does not run")
        identity = self._invocation(container).identity
        flavour = flavour_of(container.spec.image)

        async def run(host: Host) -> Outcome:
            return await run_command(host, argv, env=container.env, identity=identity, flavour=flavour)

        task = self._around.plane.start(self.host, run, " ".join(argv))
        try:
            return await within(self._kubelet, timeout, task.join())
        finally:
            task.cancel()

    def _look_again_in_time(self, now: float) -> None:
        """Whoever waits for the Pod hears when it has tried long enough."""
        self._around.plane.call_at(now + PATIENCE, self._around.changed, background=True)

    # --- the end -------------------------------------------------------------------------------------

    async def _terminate(self, grace: float, finished: Callable[[], None], kubelet: Host) -> int:
        """Stop the main containers side by side, then sidecars from the last to the first, all within the
        grace period."""
        self._tasks[0].cancel()
        end = kubelet.now() + grace
        was_running = any(container.running for container in self._all)
        for container in self._all:
            self._stop_probing(container, LIVENESS, STARTUP)
        plain = [container for container in self._all if not container.is_sidecar]
        stops = [kubelet.spawn(self._kill(c, grace, kubelet), f"stops {c.spec.name}") for c in plain]
        for stop in stops:
            await stop.join()
        for container in reversed([c for c in self._init if c.is_sidecar]):
            await self._kill(container, max(end - kubelet.now(), 0.0), kubelet)
        if was_running:
            await kubelet.sleep(RELIST_SECONDS)
        finished()
        return 0

    async def _kill(
        self, container: ContainerRun, grace: float, kubelet: Host, *, told: events.Told | None = None
    ) -> int:
        """preStop hook, SIGTERM, and SIGKILL at the end of the grace period (killContainer)."""
        if not container.running:
            return 0
        self._tell(told or events.stopping(container.spec.name), container)
        began = kubelet.now()
        if grace > 0:
            run = partial(self._command, container)
            target = Target("", container.spec, IPv4Address(self.pod.status.pod_ip), kubelet, run)
            await pre_stop(container.spec, target, grace)
        if not container.running or container.task is None:
            return 0
        container.task.terminate()
        left = max(grace - (kubelet.now() - began), MINIMUM_GRACE)
        try:
            await within(kubelet, left, self._end_of(container))
        except TimeoutError:
            container.killed = SIGKILLED
            container.task.cancel()
        return 0

    # --- status and Events ---------------------------------------------------------------------------

    def _tell(self, told: events.Told, container: ContainerRun | None = None) -> None:
        """Record an Event about the Pod or one of its containers."""
        node = self.pod.spec.node_name
        if not self._around.connected(node):
            return
        self._around.store.events.record(
            self.pod,
            told.reason,
            told.message,
            by=Reporter("kubelet", node),
            now=self._around.plane.now,
            warning=told.warning,
            field=events.field_of(container.spec.name, init=container.init) if container is not None else "",
        )

    def _report(self, now: float, base: PodStatus | None = None) -> None:
        """Write the Pod's status as its containers are now."""
        if self._gone or not self._around.connected(self.pod.spec.node_name):
            return
        meta = self.pod.metadata
        current = self._around.store.find(Pod, meta.name, meta.namespace)
        if current is None or current.metadata.uid != meta.uid:
            return
        held = replace(current.status if base is None else base, message=self.refused, reason="")
        containers = status.Containers(self._init, self._main)
        reported = status.pod_status(current, containers, held, now)
        before = self._around.store.revision
        self.pod = self._around.store.update(replace(current, status=reported))
        if self._around.store.revision != before:
            self._around.changed()


def _why_not_ready(container: ContainerRun, now: float) -> str:
    """What keeps a container that runs from being ready."""
    name = container.spec.name
    if failing := failing_probe(container.probers):
        return f"container {name} runs, but its {failing}"
    if container.init:
        return f"init container {name} has been running for {now - container.started_at:.0f} s"
    return ""

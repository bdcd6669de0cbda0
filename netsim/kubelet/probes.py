"""Probes: what they ask of a container, when, and what follows from the answers.

``Prober`` repeats one probe of one run of a container, on the plane's time; its worker hears of every change
of mind. The packets are real, from the node to the Pod, and marked as a probe's, so that captures can leave
them out. Source: pkg/kubelet/prober (worker.go, prober.go) and pkg/probe. gRPC probes are not modelled.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from functools import partial
from ipaddress import IPv4Address
from typing import Any, NamedTuple
from urllib.parse import urljoin

from netsim.base.cause import Cause, Stage
from netsim.base.errors import UsageError, WireError
from netsim.objects.core import Container
from netsim.planes.protocol import Call, Plane
from netsim.programs.host import Endpoint, Host
from netsim.programs.http import REDIRECTS, Headers, fetch, parse_url
from netsim.programs.terminal import Outcome as CommandOutcome

STARTUP, LIVENESS, READINESS = "startup", "liveness", "readiness"
KINDS = (STARTUP, LIVENESS, READINESS)
HANDLERS = ("httpGet", "tcpSocket", "exec")
MOST_REDIRECTS = 10  # net/http's default policy, which pkg/probe/http keeps for redirects to the same host
AGENT: Headers = (("User-Agent", "kube-probe/1.35"), ("Accept", "*/*"))


class ProbeSpec(NamedTuple):
    """A probe as declared, with the API's defaults. Times are seconds; ``grace`` overrides the Pod's."""

    kind: str
    handler: str
    target: Mapping[str, Any]
    initial_delay: float
    period: float
    timeout: float
    success_threshold: int
    failure_threshold: int
    grace: int | None


class Answer(Enum):
    SUCCESS = "success"
    FAILURE = "failure"
    UNKNOWN = "unknown"  # the probe itself could not be made: nothing follows from it


class Verdict(NamedTuple):
    """What came of one attempt; ``text`` says of a failure what the kubelet's event says."""

    answer: Answer
    text: str = ""


class Target(NamedTuple):
    """What is probed, and from where. ``run`` runs a command in the container."""

    title: str
    container: Container
    address: IPv4Address
    node: Host
    run: Callable[[tuple[str, ...], float], Awaitable[CommandOutcome]]


def probe_specs(container: Container) -> dict[str, ProbeSpec]:
    """The probes of a container by kind; those that are not modelled are left out."""
    found: dict[str, ProbeSpec] = {}
    for kind in KINDS:
        settings: Mapping[str, Any] = container.rest.get(f"{kind}Probe") or {}
        handler = next((name for name in HANDLERS if name in settings), None)
        if handler is not None:
            found[kind] = ProbeSpec(
                kind,
                handler,
                settings[handler] or {},
                settings.get("initialDelaySeconds", 0),
                settings.get("periodSeconds", 10),
                settings.get("timeoutSeconds", 1),
                settings.get("successThreshold", 1),
                settings.get("failureThreshold", 3),
                settings.get("terminationGracePeriodSeconds"),
            )
    return found


async def attempt(spec: ProbeSpec, target: Target) -> Verdict:
    """Ask once."""
    cause = Cause(Stage.PROBE, f"{spec.kind} probe of {target.title}, container {target.container.name}")
    if spec.handler == "exec":
        return await _exec(spec, target)
    port = _port(spec.target.get("port", 0), target.container)
    if port is None:
        return Verdict(Answer.UNKNOWN, f"couldn't find port: {spec.target.get('port')!r}")
    if spec.handler == "tcpSocket":
        return await _tcp(spec, target, port, cause)
    return await _http(spec, target, port, cause)


def _port(port: int | str, container: Container) -> int | None:
    """A number, or that of the container's port of this name (pkg/probe/util.go, ResolveContainerPort)."""
    if isinstance(port, int):
        return port
    return next((held.container_port for held in container.ports if held.name == port), None)


async def _tcp(spec: ProbeSpec, target: Target, port: int, cause: Cause) -> Verdict:
    where = Endpoint(IPv4Address(spec.target.get("host") or target.address), port)
    try:
        stream = await target.node.connect(where, timeout=spec.timeout, cause=cause)
    except OSError as error:
        return Verdict(Answer.FAILURE, _dial(where, error))
    stream.close()
    return Verdict(Answer.SUCCESS)


async def _http(spec: ProbeSpec, target: Target, port: int, cause: Cause) -> Verdict:
    """Success is any status from 200 to 399; redirects to the same host are followed (pkg/probe/http)."""
    scheme = spec.target.get("scheme", "HTTP").lower()
    host = spec.target.get("host") or str(target.address)
    path = "/" + spec.target.get("path", "/").removeprefix("/")
    url = first = f"{scheme}://{host}:{port}{path}"
    given = tuple((item["name"], item["value"]) for item in spec.target.get("httpHeaders") or ())
    named = {name.lower() for name, _ in given}
    headers = (*given, *(pair for pair in AGENT if pair[0].lower() not in named))
    for _ in range(MOST_REDIRECTS):
        try:
            reply = await fetch(target.node, url, headers=headers, timeout=spec.timeout, cause=cause)
        except (OSError, WireError, ValueError) as error:
            return Verdict(Answer.FAILURE, f'Get "{first}": {_go_error(target, port, error)}')
        location = reply.head.header("location")
        following = urljoin(url, location)
        if reply.status not in REDIRECTS or not location or parse_url(following).host != host:
            break
        url = following
    if 200 <= reply.status < 400:
        return Verdict(Answer.SUCCESS)
    return Verdict(Answer.FAILURE, f"HTTP probe failed with statuscode: {reply.status}")


async def _exec(spec: ProbeSpec, target: Target) -> Verdict:
    command = tuple(spec.target.get("command") or ())
    try:
        outcome = await target.run(command, spec.timeout)
    except UsageError:
        return Verdict(Answer.UNKNOWN, "the container is gone")
    except TimeoutError:
        text = f'command timed out: "{" ".join(command)}" timed out after {spec.timeout:g}s'
        return Verdict(Answer.FAILURE, text)
    if outcome.exit == 0:
        return Verdict(Answer.SUCCESS)
    said = (outcome.stdout + outcome.stderr).strip()
    return Verdict(Answer.FAILURE, said or f"command terminated with exit code {outcome.exit}")


def _dial(where: Endpoint, error: OSError) -> str:
    """A failure to connect as Go's net package words it."""
    if isinstance(error, TimeoutError):
        return f"dial tcp {where}: i/o timeout"
    return f"dial tcp {where}: connect: {(error.strerror or str(error)).lower()}"


def _go_error(target: Target, port: int, error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
    if isinstance(error, ConnectionRefusedError):
        return _dial(Endpoint(target.address, port), error)
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return f"net/http: HTTP/1.x transport connection broken: {error}"


class Prober:
    """One probe of one run of a container.

    ``failed`` is called with each failure, ``judged`` with each change of mind: a success or a failure that
    came as often in a row as its threshold says. After a liveness or startup probe has spoken so, it asks no
    more (``onHold`` in worker.go).
    """

    def __init__(
        self,
        spec: ProbeSpec,
        plane: Plane,
        target: Target,
        *,
        asks: Callable[[], bool],
        failed: Callable[[ProbeSpec, Verdict], None],
        judged: Callable[[ProbeSpec, Verdict], None],
    ) -> None:
        self.spec = spec
        self.last = Verdict(Answer.UNKNOWN)
        self._plane = plane
        self._target = target
        self._asks = asks
        self._failed = failed
        self._judged = judged
        self._run = 0
        self._decided: Answer | None = None
        self._call: Call | None = None
        self._stopped = False

    def begin(self, at: float) -> None:
        """Ask for the first time at that time, and then once in every period."""
        if self._call is not None:
            self._call.cancel()
        self._call = self._plane.call_at(at, partial(self._tick, at))

    def stop(self) -> None:
        """Ask no more."""
        self._stopped = True
        if self._call is not None:
            self._call.cancel()

    def _tick(self, at: float) -> None:
        if self._asks():
            title = f"kubelet: {self.spec.kind} probe of {self._target.title}"
            self._plane.start(self._target.node, partial(self._ask, at), title)
        else:
            self._wait(at)

    async def _ask(self, at: float, node: Host) -> int:
        verdict = await attempt(self.spec, self._target)
        if not self._stopped:
            self._hear(verdict)
        if not self._stopped:
            self._wait(at)
        return 0

    def _hear(self, verdict: Verdict) -> None:
        if verdict.answer is Answer.UNKNOWN:
            self.last = verdict
            return
        self._run = self._run + 1 if verdict.answer is self.last.answer else 1
        self.last = verdict
        succeeded = verdict.answer is Answer.SUCCESS
        if not succeeded:
            self._failed(self.spec, verdict)
        threshold = self.spec.success_threshold if succeeded else self.spec.failure_threshold
        if self._run < threshold:
            return
        if verdict.answer is not self._decided:
            self._decided = verdict.answer
            self._judged(self.spec, verdict)
        if self.spec.kind == STARTUP or (self.spec.kind == LIVENESS and not succeeded):
            self.stop()

    def _wait(self, at: float) -> None:
        """Until the next tick. One that came while the last attempt still ran is made up for at once."""
        following = at + self.spec.period
        steady = self._decided is Answer.SUCCESS and self.last.answer is Answer.SUCCESS
        when = max(following, self._plane.now)
        self._call = self._plane.call_at(when, partial(self._tick, following), background=steady)


def failing_probe(probers: Mapping[str, Prober]) -> str:
    """Which probe keeps a container from being ready, and what it said last; empty when none does."""
    for kind in (STARTUP, READINESS):
        prober = probers.get(kind)
        if prober is not None and prober.last.answer is not Answer.SUCCESS and prober.last.text:
            return f"{kind} probe fails: {prober.last.text}"
    return ""

"""Runs the checks of a cluster's Topology and says how they went, as values, as JSON and as text.

``netsim run``, labs and the pytest plugin call ``run_checks`` or, for one check, ``run_check``. A check that
cannot be carried out (it names a Pod that is not there) has failed, with the reason; it does not end the run.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from netsim.base.errors import NetsimError, Source
from netsim.capture.record import PacketRecord
from netsim.checks.targets import book_of
from netsim.checks.verbs import VERBS, wait_for
from netsim.checks.walk import walk
from netsim.cluster.changes import title
from netsim.objects.topology import Change, Check, Fault
from netsim.plan.entries import HostName

if TYPE_CHECKING:
    from netsim.cluster.cluster import Cluster

T = TypeVar("T")
DETAIL = "detail"
"""The key of ``observed`` under which the reason of a failure stands."""
EXPECTS_NO_ERROR = ("expected", "error", None)
NO_ERROR = "none (the name resolves)"


class CheckResult(NamedTuple):
    """How one check went. ``expected`` and ``observed`` are JSON values by ``expect`` key."""

    name: str
    passed: bool
    expected: Mapping[str, Any]
    observed: Mapping[str, Any]
    walk: tuple[str, ...]
    source: Source

    def to_json(self) -> dict[str, Any]:
        """As ``netsim run --output json`` prints it."""
        return {
            "name": self.name,
            "passed": self.passed,
            "expected": dict(self.expected),
            "observed": dict(self.observed),
            "walk": list(self.walk),
        }


class Report(NamedTuple):
    """How all checks of a Topology went, in their order in the file. Times are virtual seconds."""

    topology: str
    seed: int
    converged_at: float
    checks: tuple[CheckResult, ...]

    @property
    def passed(self) -> int:
        return sum(check.passed for check in self.checks)

    @property
    def failed(self) -> int:
        return len(self.checks) - self.passed

    def to_json(self) -> dict[str, Any]:
        """A JSON document, the same for the same Topology and seed."""
        return {
            "topology": self.topology,
            "seed": self.seed,
            "converged_at": self.converged_at,
            "passed": self.passed,
            "failed": self.failed,
            "checks": [check.to_json() for check in self.checks],
        }


# --- running ---------------------------------------------------------------------------------------------


def run_checks(cluster: Cluster) -> Report:
    """Run the checks of the cluster's Topology: those without ``at`` first, the others at their time.

    Those that are for other modes of kube-proxy are left out.
    """
    mode = cluster.topology.networking.kube_proxy_mode
    checks = [check for check in cluster.topology.checks if not check.modes or mode in check.modes]
    results: dict[int, CheckResult] = {}
    for index in sorted(range(len(checks)), key=lambda index: checks[index].at or 0.0):
        results[index] = run_check(cluster, checks[index])
    _await_changes(cluster)
    failed = [_failed_change(change, reason) for change, reason in cluster.failed_changes]
    return Report(
        cluster.topology.name,
        cluster.topology.seed,
        round(cluster.converged_at, 9),
        (*(results[index] for index in range(len(checks))), *failed),
    )


def _await_changes(cluster: Cluster) -> None:
    """Let time pass until the last of the Topology's changes has been made, and the last of its faults has
    begun, or has failed to."""
    topology = cluster.topology
    times = [change.at for change in topology.changes] + [fault.at for fault in topology.faults]
    left = cluster.converged_at + max(times, default=0.0) - cluster.now
    if left >= 0 and times:
        cluster.advance(left)


def _failed_change(change: Change | Fault, reason: str) -> CheckResult:
    """A change that could not be made, or a fault that could not begin, told as a check is."""
    expected = {"fault": "begun"} if isinstance(change, Fault) else {"change": "made"}
    return CheckResult(title(change), False, expected, {DETAIL: reason}, (), change.source)


def run_check(cluster: Cluster, check: Check) -> CheckResult:
    """Carry out one check and judge it; its ``at`` is waited for."""
    verb = VERBS[check.verb]
    expect = verb.expectation(check)
    records: Sequence[PacketRecord] = ()
    try:
        wait_for(cluster, check)
        with cluster.capture() as packets:
            records = packets.records
            seen = _result_of(verb.observe(cluster, check))
        holds, observed = verb.judge(seen, expect, book_of(cluster))
    except NetsimError as error:
        passed, observed = False, {DETAIL: str(error)}
    else:
        passed = holds is not check.negate
        if not passed and (detail := verb.detail(seen)):
            observed[DETAIL] = detail
    expected = {"not": expect} if check.negate else expect
    lines = () if passed else walk(records, cluster.names(), _origin(cluster, check))
    return CheckResult(check.name, passed, expected, observed, lines, check.source)


def _origin(cluster: Cluster, check: Check) -> HostName | None:
    """The host on which a check began, None when there is no such host."""
    try:
        return cluster.find(check.origin).plan_name if check.origin else None
    except NetsimError:
        return None


def _result_of(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits in virtual time only, and so never for an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError("a check waited for something outside of the cluster")


# --- text ------------------------------------------------------------------------------------------------


def render_report(report: Report) -> str:
    """The report as plain text: a line per check, and below each failed one what was seen instead."""
    lines = [line for check in report.checks for line in _check_lines(check)]
    lines.append(_summary(report))
    return "".join(f"{line}\n" for line in lines)


def _summary(report: Report) -> str:
    run = f"{report.topology}, seed {report.seed}, converged at {report.converged_at:g} s"
    if not report.checks:
        return f"no checks ({run})"
    failed = f", {report.failed} failed" if report.failed else ""
    return f"{report.passed} of {len(report.checks)} checks passed{failed} ({run})"


def _check_lines(check: CheckResult) -> Iterator[str]:
    if check.passed:
        yield f"ok    {check.name}"
        return
    yield f"FAIL  {check.name}"
    yield f"        at        {check.source}"
    yield from _aligned("expected", check.expected)
    yield from _aligned("observed", check.observed)
    for number, line in enumerate(check.walk):
        yield f"        {'walk' if not number else '':<9} {line}"


def _aligned(title: str, values: Mapping[str, Any]) -> Iterator[str]:
    for key, value in values.items():
        text = f"{key}: {NO_ERROR if (title, key, value) == EXPECTS_NO_ERROR else render_value(value)}"
        first, *more = text.splitlines() or [""]
        yield f"        {title:<9} {first}"
        for line in more:
            yield f"        {'':<9}   {line}"
        title = ""


def render_value(value: Any) -> str:
    """A JSON value as people write it: ``[a, b]``, ``{a: 1}``, nothing for null."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {render_value(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(render_value, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "none" if value is None else str(value)

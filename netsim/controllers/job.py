"""Job: Pods that run to their end, as many at a time and as many in all as declared.

A failed Pod is followed by another one, after a time that doubles with each failure, up to ``backoffLimit``.
An ended Pod is counted once: it holds a finalizer until it is. Source: kube-controller-manager
``pkg/controller/job/job_controller.go`` (syncJob, manageJob), ``indexed_job_utils.go`` and
``backoff_utils.go``. The failure and success policies of ``rest`` are not modelled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from netsim.controllers.controller import Create, Delete, Outcome, Update, Wait, Write
from netsim.controllers.ownership import owners_concerned
from netsim.controllers.pods import pod_of
from netsim.controllers.podstate import is_ready, is_terminal
from netsim.objects.codec import time_from_text
from netsim.objects.core import EnvVar, Pod, PodSpec
from netsim.objects.meta import Condition, LabelSelector, ObjectRef
from netsim.objects.workloads import Job, JobSpec, JobStatus
from netsim.store.reader import Reader
from netsim.store.store import StoreEvent

TRACKING = "batch.kubernetes.io/job-tracking"
UID_LABEL, NAME_LABEL = "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"
OLD_UID_LABEL, OLD_NAME_LABEL = "controller-uid", "job-name"
INDEX = "batch.kubernetes.io/job-completion-index"
INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
DEFAULT_BACKOFF_LIMIT = 6  # apis/batch/v1/defaults.go
FIRST_BACKOFF = 10.0  # DefaultJobPodFailureBackOff
LONGEST_BACKOFF = 600.0  # MaxJobPodFailureBackOff
HOPELESS_FAILURES = 3  # a Job that failed as often is said to fail, and not waited for any more


class JobController:
    """Subjects are the Jobs."""

    name = "job-controller"
    kinds = (Job.kind, Pod.kind)

    def subjects(self, event: StoreEvent, reader: Reader) -> Iterable[ObjectRef]:
        """The Job itself, or the one that manages the Pod."""
        return owners_concerned(event, Job)

    def reconcile(self, subject: ObjectRef, reader: Reader, now: float) -> Outcome:
        """Count what has ended, and make Pods until there are enough completions or too many failures."""
        found = reader.find(Job, subject.name, subject.namespace)
        if found is None or found.metadata.deletion_timestamp is not None:
            return Outcome()
        pods = reader.owned(Pod, found.metadata.uid)
        round_ = _Round(replace(found, spec=_with_selector(found)), pods, now)
        round_.work()
        updated = replace(round_.job, status=round_.status())
        writes = list(round_.writes)
        if updated != found:
            writes.append(Update(updated))
        return Outcome(writes, round_.deadline, [round_.wait] if round_.wait is not None else [])


def _with_selector(job: Job) -> JobSpec:
    """The spec with the selector and labels that the API server gives a Job (generateSelector)."""
    spec, uid = job.spec, job.metadata.uid
    if spec.selector is not None:
        return spec
    name = job.metadata.name
    own = {UID_LABEL: uid, OLD_UID_LABEL: uid, NAME_LABEL: name, OLD_NAME_LABEL: name}
    meta = spec.template.metadata
    template = replace(spec.template, metadata=replace(meta, labels={**meta.labels, **own}))
    return replace(spec, selector=LabelSelector({UID_LABEL: uid}), template=template)


def _index(pod: Pod) -> int:
    return int(pod.metadata.annotations.get(INDEX, "-1"))


def _ended_at(pod: Pod) -> float:
    """When its last container ended (getFinishedTime)."""
    states = (status.rest.get("state") or {} for status in pod.status.container_statuses)
    ended = [state["terminated"].get("finishedAt") for state in states if "terminated" in state]
    times = [time_from_text(at) if isinstance(at, str) else float(at) for at in ended if at is not None]
    changes = [held.last_transition_time or 0.0 for held in pod.status.conditions if held.type == "Ready"]
    return max(times or changes, default=pod.metadata.creation_timestamp or 0.0)


def _has_failed(pod: Pod) -> bool:
    """Also one that is being deleted: it is replaced at once (podReplacementPolicy TerminatingOrFailed)."""
    if pod.status.phase == "Failed":
        return True
    return pod.metadata.deletion_timestamp is not None and pod.status.phase != "Succeeded"


@dataclass(slots=True)
class _Round:
    """One look at a Job. ``succeeded`` and ``failed`` count all that have ended so far."""

    job: Job
    pods: Sequence[Pod]
    now: float
    succeeded: int = field(init=False)
    failed: int = field(init=False)
    indexes: set[int] = field(init=False)  # those completed, of an Indexed Job
    active: list[Pod] = field(init=False)
    verdict: tuple[Condition, ...] = ()
    started: float | None = field(init=False)
    writes: list[Write] = field(default_factory=list)
    deleted: set[ObjectRef] = field(default_factory=set)
    deadline: float | None = None
    wait: Wait | None = None

    def __post_init__(self) -> None:
        status = self.job.status
        self.active = [p for p in self.pods if not is_terminal(p) and p.metadata.deletion_timestamp is None]
        self.indexes = set(_numbers(status.completed_indexes))
        self.succeeded, self.failed = status.succeeded, status.failed
        self.started = status.start_time
        for pod in self.pods:
            if TRACKING not in pod.metadata.finalizers:
                continue
            if pod.status.phase == "Succeeded":
                self._count_success(pod)
            elif _has_failed(pod):
                self.failed += 1
            else:
                continue
            finalizers = tuple(held for held in pod.metadata.finalizers if held != TRACKING)
            self.writes.append(Update(replace(pod, metadata=replace(pod.metadata, finalizers=finalizers))))

    def _count_success(self, pod: Pod) -> None:
        if self._is_indexed:
            self.indexes.add(_index(pod))
            self.succeeded = len(self.indexes)
        else:
            self.succeeded += 1

    @property
    def _is_indexed(self) -> bool:
        return self.job.spec.completion_mode == "Indexed"

    # --- what is to be done

    def work(self) -> None:
        """All that is due now."""
        spec, status = self.job.spec, self.job.status
        if self.job.condition("Complete") or self.job.condition("Failed"):
            self._clean_up()
            return
        if self.job.condition("FailureTarget"):
            held = next(c for c in status.conditions if c.type == "FailureTarget")
            self._end("Failed", held.reason, held.message)
            return
        if self.started is None and not spec.suspend:
            self.started = self.now
        failure = self._failure()
        if failure is not None:
            self._delete(self.active)
            self._end("Failed", *failure)
        elif spec.suspend:
            self._delete(self.active)
            self.started = None
        elif self._is_complete():
            self._end("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
        else:
            self._manage()

    def _failure(self) -> tuple[str, str] | None:
        """Why the Job is given up, if it is."""
        spec = self.job.spec
        limit = DEFAULT_BACKOFF_LIMIT if spec.backoff_limit is None else spec.backoff_limit
        restarts = sum(
            status.restart_count
            for pod in self.active
            for status in (*pod.status.container_statuses, *pod.status.init_container_statuses)
        )
        too_often = restarts > 0 if limit == 0 else restarts >= limit
        if self.failed > limit or (spec.template.spec.restart_policy == "OnFailure" and too_often):
            return "BackoffLimitExceeded", "Job has reached the specified backoff limit"
        if spec.active_deadline_seconds is not None and self.started is not None and not spec.suspend:
            end = self.started + spec.active_deadline_seconds
            if end <= self.now:
                return "DeadlineExceeded", "Job was active longer than specified deadline"
            self.deadline = end
        return None

    def _is_complete(self) -> bool:
        wanted = self.job.spec.completions
        if wanted is None:
            return self.succeeded > 0 and not self.active
        return self.succeeded >= wanted

    def _end(self, kind: str, reason: str, message: str) -> None:
        """Finish the Job: first it says so, and once none of its Pods is left that runs, it is finished."""
        first = "FailureTarget" if kind == "Failed" else "SuccessCriteriaMet"
        self._delete(self.active)
        running = any(not is_terminal(pod) for pod in self.pods)
        kinds = (first,) if running else (first, kind)
        self.verdict = tuple(Condition(each, "True", reason, message, self.now) for each in kinds)

    def _clean_up(self) -> None:
        """Delete the finished Job ttlSecondsAfterFinished later (pkg/controller/ttlafterfinished)."""
        ttl = self.job.spec.ttl_seconds_after_finished
        held = self.job.status.conditions
        ends = [c.last_transition_time or 0.0 for c in held if c.type in ("Complete", "Failed")]
        if ttl is None or not ends:
            return
        if ends[0] + ttl <= self.now:
            self.writes.append(Delete(self.job.ref))
        else:
            self.deadline = ends[0] + ttl

    def _manage(self) -> None:
        """Bring the number of running Pods to what it shall be."""
        spec = self.job.spec
        parallelism = 1 if spec.parallelism is None else spec.parallelism
        if spec.completions is not None:
            wanted = min(spec.completions - self.succeeded, parallelism)
        else:
            wanted = len(self.active) if self.succeeded else parallelism
        if len(self.active) > wanted:
            self._delete(sorted(self.active, key=is_ready)[: len(self.active) - wanted])
            return
        lacking = wanted - len(self.active)
        again = self._may_go_on_at() if lacking else self.now
        if again > self.now:
            self.deadline = again if self.deadline is None else min(self.deadline, again)
            text = f"{self.failed} of its Pods failed; the next one is made {again - self.now:.0f} s from now"
            self.wait = Wait(self.job.ref, text, blocked=self.failed >= HOPELESS_FAILURES)
        elif self._is_indexed:
            held = {*self.indexes, *(_index(pod) for pod in self.active)}
            missing = [number for number in range(spec.completions or 0) if number not in held]
            self.writes += [Create(self._new_pod(number)) for number in missing[:lacking]]
        else:
            self.writes += [Create(self._new_pod()) for _ in range(lacking)]

    def _may_go_on_at(self) -> float:
        """When the next Pod may be made: later the more have failed since the last success."""
        failures: list[float] = []
        for pod in sorted((pod for pod in self.pods if is_terminal(pod)), key=_ended_at):
            failures = [*failures, _ended_at(pod)] if pod.status.phase == "Failed" else []
        if not failures:
            return self.now
        return failures[-1] + min(FIRST_BACKOFF * 2.0 ** (len(failures) - 1), LONGEST_BACKOFF)

    def _delete(self, pods: Iterable[Pod]) -> None:
        for pod in pods:
            if pod.ref not in self.deleted:
                self.deleted.add(pod.ref)
                self.writes.append(Delete(pod.ref))

    # --- what is made

    def _new_pod(self, number: int | None = None) -> Pod:
        job, template = self.job, self.job.spec.template
        template = replace(template, metadata=replace(template.metadata, finalizers=(TRACKING,)))
        if number is None:
            return pod_of(job, template)
        mark = {INDEX: str(number)}
        name = f"{job.metadata.name}-{number}"
        spec = _with_index(replace(template.spec, hostname=name))
        return pod_of(job, template, prefix=f"{name}-", labels=mark, annotations=mark, spec=spec)

    def status(self) -> JobStatus:
        """What there is, and how the Job stands."""
        spec, old = self.job.spec, self.job.status
        running = [pod for pod in self.active if pod.ref not in self.deleted]
        conditions = self._conditions()
        complete = any(condition.type == "Complete" for condition in self.verdict)
        return replace(
            old,
            active=len(running),
            ready=sum(is_ready(pod) for pod in running),
            terminating=sum(
                not is_terminal(p) and p.metadata.deletion_timestamp is not None for p in self.pods
            ),
            succeeded=self.succeeded,
            failed=self.failed,
            completed_indexes=_ranges(self.indexes) if spec.completion_mode == "Indexed" else "",
            start_time=self.started,
            completion_time=self.now if complete else old.completion_time,
            conditions=conditions,
        )

    def _conditions(self) -> tuple[Condition, ...]:
        held = {condition.type: condition for condition in self.job.status.conditions}
        for condition in self.verdict:
            held.setdefault(condition.type, condition)
        was_suspended = "Suspended" in held and held["Suspended"].status == "True"
        if self.job.spec.suspend and not was_suspended:
            text = "Job suspended"
            held["Suspended"] = Condition("Suspended", "True", "JobSuspended", text, self.now)
        elif was_suspended and not self.job.spec.suspend:
            held["Suspended"] = Condition("Suspended", "False", "JobResumed", "Job resumed", self.now)
        return tuple(held.values())


def _with_index(spec: PodSpec) -> PodSpec:
    """The spec with the index in the environment of every container (addCompletionIndexEnvVariables)."""
    source: Mapping[str, Any] = {"fieldRef": {"fieldPath": f"metadata.labels['{INDEX}']"}}
    variable = EnvVar(INDEX_VARIABLE, rest={"valueFrom": source})

    def told(containers: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(replace(container, env=(*container.env, variable)) for container in containers)

    return replace(spec, containers=told(spec.containers), init_containers=told(spec.init_containers))


def _numbers(ranges: str) -> Iterable[int]:
    """``0,2-4`` → 0, 2, 3, 4"""
    for part in filter(None, ranges.split(",")):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def _ranges(numbers: set[int]) -> str:
    """0, 2, 3, 4 → ``0,2-4``"""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ",".join(str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts)

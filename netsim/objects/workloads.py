"""The other objects that make Pods: v1 ReplicationController, apps/v1 StatefulSet and DaemonSet with the
ControllerRevisions of their templates, and batch/v1 Job. Deployment and ReplicaSet are in ``apps``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from netsim.objects.apps import PodTemplateSpec, ReplicaSetStatus
from netsim.objects.meta import EMPTY, Condition, LabelSelector, Object


@dataclass(frozen=True, slots=True)
class ReplicationControllerSpec:
    replicas: int = 1
    selector: Mapping[str, str] = EMPTY
    template: PodTemplateSpec = PodTemplateSpec()
    min_ready_seconds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationController(Object):
    """Its status has the fields of a ReplicaSet's."""

    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "ReplicationController"

    spec: ReplicationControllerSpec = ReplicationControllerSpec()
    status: ReplicaSetStatus = ReplicaSetStatus()


@dataclass(frozen=True, slots=True)
class StatefulSetSpec:
    """``rest`` holds ``updateStrategy``, ``ordinals``, ``revisionHistoryLimit`` and what concerns volumes."""

    replicas: int = 1
    selector: LabelSelector = LabelSelector()
    template: PodTemplateSpec = PodTemplateSpec()
    service_name: str = ""
    pod_management_policy: str = "OrderedReady"  # OrderedReady, Parallel
    min_ready_seconds: int = 0
    rest: Mapping[str, Any] = EMPTY


@dataclass(frozen=True, slots=True)
class StatefulSetStatus:
    """``current_revision`` and ``update_revision`` name ControllerRevisions."""

    replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    current_replicas: int = 0
    updated_replicas: int = 0
    current_revision: str = ""
    update_revision: str = ""
    observed_generation: int = 0
    rest: Mapping[str, Any] = EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class StatefulSet(Object):
    api_version: ClassVar[str] = "apps/v1"
    kind: ClassVar[str] = "StatefulSet"

    spec: StatefulSetSpec = StatefulSetSpec()
    status: StatefulSetStatus = StatefulSetStatus()


@dataclass(frozen=True, slots=True)
class DaemonSetSpec:
    """``rest`` holds ``updateStrategy`` and ``revisionHistoryLimit``."""

    selector: LabelSelector = LabelSelector()
    template: PodTemplateSpec = PodTemplateSpec()
    min_ready_seconds: int = 0
    rest: Mapping[str, Any] = EMPTY


@dataclass(frozen=True, slots=True)
class DaemonSetStatus:
    """The numbers are of nodes."""

    current_number_scheduled: int = 0
    number_misscheduled: int = 0
    desired_number_scheduled: int = 0
    number_ready: int = 0
    updated_number_scheduled: int = 0
    number_available: int = 0
    number_unavailable: int = 0
    observed_generation: int = 0
    rest: Mapping[str, Any] = EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonSet(Object):
    api_version: ClassVar[str] = "apps/v1"
    kind: ClassVar[str] = "DaemonSet"

    spec: DaemonSetSpec = DaemonSetSpec()
    status: DaemonSetStatus = DaemonSetStatus()


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerRevision(Object):
    """One version of the Pod template of a StatefulSet or DaemonSet; ``data`` is a patch of that object."""

    api_version: ClassVar[str] = "apps/v1"
    kind: ClassVar[str] = "ControllerRevision"

    data: Mapping[str, Any] = EMPTY
    revision: int = 0


@dataclass(frozen=True, slots=True)
class JobSpec:
    """``completions`` None: one Pod that succeeds completes the Job. ``rest`` holds the failure policies."""

    parallelism: int | None = None
    completions: int | None = None
    backoff_limit: int | None = None
    active_deadline_seconds: int | None = None
    ttl_seconds_after_finished: int | None = None
    completion_mode: str = ""  # NonIndexed, Indexed
    suspend: bool = False
    selector: LabelSelector | None = None
    template: PodTemplateSpec = PodTemplateSpec()
    rest: Mapping[str, Any] = EMPTY


@dataclass(frozen=True, slots=True)
class JobStatus:
    """``succeeded`` and ``failed`` count ended Pods, also those that are gone."""

    active: int = 0
    ready: int | None = None
    terminating: int | None = None
    succeeded: int = 0
    failed: int = 0
    completed_indexes: str = ""
    start_time: float | None = None
    completion_time: float | None = None
    conditions: tuple[Condition, ...] = ()
    rest: Mapping[str, Any] = EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Object):
    api_version: ClassVar[str] = "batch/v1"
    kind: ClassVar[str] = "Job"

    spec: JobSpec = JobSpec()
    status: JobStatus = JobStatus()

    def condition(self, kind: str) -> bool:
        """Whether the condition of that type (``Complete``, ``Failed``, ``Suspended``) is True."""
        return any(c.type == kind and c.status == "True" for c in self.status.conditions)

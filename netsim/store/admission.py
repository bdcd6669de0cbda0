"""What the API server does between a request and the store: ``apply`` and ``delete`` as users ask for them.

``cluster`` and ``api`` call these; controllers write to the store directly. Documents were read, filled with
defaults and validated before (``objects.manifest``): here is what needs the other objects, and what an update
must keep or may not change.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from netsim.base.errors import Forbidden, Invalid, NotFound
from netsim.objects.apps import Deployment, ReplicaSet
from netsim.objects.codec import document_from_value
from netsim.objects.core import Namespace, Pod, PodSpec, Service, ServiceSpec, Toleration
from netsim.objects.meta import Object, ObjectMeta, ObjectRef
from netsim.objects.rules.service_addresses import SINGLE_STACK
from netsim.objects.workloads import DaemonSet, Job, JobSpec, StatefulSet, StatefulSetSpec
from netsim.store.reader import Reader
from netsim.store.resources import resource_of
from netsim.store.store import Store

T = TypeVar("T", bound=Object)

IMMORTAL_NAMESPACES = ("default", "kube-system", "kube-public")  # admission/plugin/namespace/lifecycle
TOLERATION_SECONDS = 300  # --default-not-ready-toleration-seconds, --default-unreachable-toleration-seconds
_CONTROLLERS_ANNOTATIONS = "deployment.kubernetes.io/"
_POD_UPDATE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_STATEFUL_SET_UPDATE = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)
_JOB_LABELS = (
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name",
    "controller-uid",
    "job-name",
)
_FIXED_VALUE = "may not change once set"
_MAY_CHANGE = ("ordinals", "updateStrategy", "revisionHistoryLimit", "persistentVolumeClaimRetentionPolicy")


class Applied(NamedTuple):
    """What ``kubectl apply`` says: the object as stored, and ``created``, ``configured`` or ``unchanged``."""

    object: Object
    verb: str

    def __str__(self) -> str:
        resource, _, group = resource_of(self.object.kind).partition(".")
        singular = self.object.kind.lower() if resource != "endpoints" else resource
        return f"{singular}{f'.{group}' if group else ''}/{self.object.metadata.name} {self.verb}"


def apply(store: Store, obj: Object, now: float) -> Applied:
    """Create the object, or bring what is declared of it up to date.

    An update keeps the status and what was allocated. Raises NotFound when the namespace does not exist,
    Forbidden when it is being deleted, Invalid when a field may not change.
    """
    obj = admitted(obj)
    old = store.find_ref(obj.ref) if obj.metadata.name else None
    if old is None:
        _check_namespace(store, obj)
        return Applied(store.create(obj, now), "created")
    new = carried_over(old, obj)
    _check_update(old, new)
    stored = store.update(new)
    changed = stored.metadata.resource_version != old.metadata.resource_version
    return Applied(stored, "configured" if changed else "unchanged")


def admitted(obj: T) -> T:
    """The object as admission changes it: a Pod leaves a lost node after five minutes, if it does not say
    itself when (plugin/pkg/admission/defaulttolerationseconds)."""
    if not isinstance(obj, Pod):
        return obj
    added = tuple(
        Toleration(key, "Exists", "", "NoExecute", TOLERATION_SECONDS)
        for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
        if not any(
            held.key in (key, "") and held.effect in ("NoExecute", "") for held in obj.spec.tolerations
        )
    )
    if not added:
        return obj
    return replace(obj, spec=replace(obj.spec, tolerations=(*obj.spec.tolerations, *added)))


def delete(store: Store, ref: ObjectRef, now: float, grace_seconds: int | None = None) -> None:
    """Delete an object as a user asks for it; raises NotFound, and Forbidden for the first namespaces."""
    if ref.kind == Namespace.kind and ref.name in IMMORTAL_NAMESPACES:
        raise Forbidden(resource_of(ref.kind), ref.name, "this namespace may not be deleted")
    store.delete(ref, now, grace_seconds)


def carried_over(old: Object, new: T) -> T:
    """The new declaration with what users do not declare: status, allocations, owners."""
    kept: dict[str, Any] = {"metadata": _metadata(old.metadata, new.metadata)}
    if hasattr(old, "status"):
        kept["status"] = old.status
    if isinstance(old, Service) and isinstance(new, Service):
        kept["spec"] = _service_spec(old.spec, new.spec)
    if isinstance(old, Pod) and isinstance(new, Pod) and not new.spec.node_name:
        kept["spec"] = replace(new.spec, node_name=old.spec.node_name)
    if isinstance(old, Job) and isinstance(new, Job) and new.spec.selector is None:
        kept["spec"] = _job_spec(old.spec, new.spec)
    return replace(new, **kept)


def _metadata(old: ObjectMeta, new: ObjectMeta) -> ObjectMeta:
    controllers = {k: v for k, v in old.annotations.items() if k.startswith(_CONTROLLERS_ANNOTATIONS)}
    return replace(
        new,
        annotations={**controllers, **new.annotations},
        owner_references=new.owner_references or old.owner_references,
        finalizers=new.finalizers or old.finalizers,
    )


def _job_spec(old: JobSpec, new: JobSpec) -> JobSpec:
    """The new spec with the selector, and with the labels that came with it."""
    given = {key: value for key, value in old.template.metadata.labels.items() if key in _JOB_LABELS}
    meta = new.template.metadata
    labels = {**meta.labels, **given} if given else meta.labels
    template = replace(new.template, metadata=replace(meta, labels=labels))
    return replace(new, selector=old.selector, template=template)


def _service_spec(old: ServiceSpec, new: ServiceSpec) -> ServiceSpec:
    """The new spec with the old allocations (registry/core/service/storage, patchAllocatedValues)."""
    if "ExternalName" in (old.type, new.type):
        return new
    spec = new
    if not new.cluster_ip and not new.cluster_ips:
        spec = replace(spec, cluster_ip=old.cluster_ip, cluster_ips=old.cluster_ips)
    spec = replace(
        spec,
        cluster_ips=spec.cluster_ips or (old.cluster_ips if spec.cluster_ip == old.cluster_ip else ()),
        ip_families=new.ip_families or old.ip_families,
        ip_family_policy=new.ip_family_policy or old.ip_family_policy,
    )
    if spec.ip_family_policy == SINGLE_STACK:  # clear intent, where the fields themselves did not change
        addresses, families = spec.cluster_ips, spec.ip_families
        spec = replace(
            spec,
            cluster_ips=addresses[:1] if addresses == old.cluster_ips else addresses,
            ip_families=families[:1] if families == old.ip_families else families,
        )
    if "ClusterIP" in (old.type, new.type):
        return spec
    given = {(port.port, port.protocol): port.node_port for port in old.ports}
    ports = (replace(p, node_port=p.node_port or given.get((p.port, p.protocol))) for p in spec.ports)
    return replace(spec, ports=tuple(ports))


def _check_namespace(reader: Reader, obj: Object) -> None:
    namespace = obj.metadata.namespace
    if not namespace:
        return
    if reader.find(Namespace, namespace) is None:
        raise NotFound(resource_of(Namespace.kind), namespace)
    if reader.terminating(namespace):
        why = f"unable to create new content in namespace {namespace} because it is being terminated"
        raise Forbidden(resource_of(obj.kind), obj.metadata.name, why)


def _check_update(old: Object, new: Object) -> None:
    """Raise Invalid for a change that the API server refuses."""
    match old, new:
        case (Deployment() | ReplicaSet() | DaemonSet(), Deployment() | ReplicaSet() | DaemonSet()):
            _check_same(new, "selector", old.spec.selector, new.spec.selector)
        case StatefulSet(), StatefulSet():
            if _lasting(old.spec) != _lasting(new.spec):
                raise Invalid(new.kind, new.metadata.name, "spec", f"Forbidden: {_STATEFUL_SET_UPDATE}")
        case Job(), Job():
            _check_same(new, "selector", old.spec.selector, new.spec.selector)
            _check_same(new, "template", old.spec.template, new.spec.template)
            _check_same(new, "completionMode", old.spec.completion_mode, new.spec.completion_mode)
        case Service(), Service():
            held = old.spec.cluster_ip
            if held and "ExternalName" not in (old.spec.type, new.spec.type):
                _check_families(old.spec, new)
                _check_addresses(old.spec, new)
        case Pod(), Pod():
            if _fixed(old.spec) != _fixed(new.spec):
                raise Invalid(new.kind, new.metadata.name, "spec", f"Forbidden: {_POD_UPDATE}")


def _check_families(old: ServiceSpec, service: Service) -> None:
    """What of a Service's families may not change (alloc.go, initIPFamilyFields; validation.go,
    validateUpgradeDowngradeIPFamilies)."""
    new = service.spec
    policy, families = new.ip_family_policy, new.ip_families
    for what, before, after in (
        ("cluster IP", old.cluster_ips, new.cluster_ips),
        ("IP family", old.ip_families, families),
    ):
        several = "cluster IPs" if what == "cluster IP" else "IP families"
        why = ""
        if policy == SINGLE_STACK and len(after) > 1:
            why = f"must be 'RequireDualStack' or 'PreferDualStack' when multiple {several} are specified"
        elif policy not in ("", SINGLE_STACK) and 0 < len(after) < len(before):
            why = f"must be 'SingleStack' to release the secondary {what}"
        if why:
            raise _invalid(service, "spec.ipFamilyPolicy", policy, why)
    if old.cluster_ip == "None" or not old.ip_families or not families:
        return
    if len(families) == len(old.ip_families) and families != old.ip_families:
        raise _invalid(service, "spec.ipFamilies[0]", families, _FIXED_VALUE)
    if families[0] != old.ip_families[0]:  # the API server shows the addresses here
        raise _invalid(service, "spec.ipFamilies[0]", new.cluster_ips, _FIXED_VALUE)


def _check_addresses(old: ServiceSpec, service: Service) -> None:
    """A ClusterIP may not change (validateUpgradeDowngradeClusterIPs)."""
    new = service.spec
    given = new.cluster_ips or (new.cluster_ip,)
    for index, (before, after) in enumerate(zip(old.cluster_ips or (old.cluster_ip,), given, strict=False)):
        if before != after:
            raise _invalid(service, f"spec.clusterIPs[{index}]", given, _FIXED_VALUE)


def _invalid(service: Service, field: str, value: str | tuple[str, ...], why: str) -> Invalid:
    shown = json.dumps(value, separators=(",", ":"))
    return Invalid(service.kind, service.metadata.name, field, f"Invalid value: {shown}: {why}")


def _check_same(obj: Object, field: str, old: Any, new: Any) -> None:
    """``ValidateImmutableField``"""
    if old != new:
        value = new if isinstance(new, str) else document_from_value(new)
        why = f"Invalid value: {json.dumps(value, separators=(',', ':'))}: field is immutable"
        raise Invalid(obj.kind, obj.metadata.name, f"spec.{field}", why)


def _lasting(spec: StatefulSetSpec) -> tuple[Any, ...]:
    """What of a StatefulSet may not change (ValidateStatefulSetUpdate)."""
    rest = {key: value for key, value in spec.rest.items() if key not in _MAY_CHANGE}
    return spec.selector, spec.service_name, spec.pod_management_policy, rest


def _fixed(spec: PodSpec) -> PodSpec:
    """A Pod's spec without what may change while it exists."""
    return replace(
        spec,
        containers=tuple(replace(container, image="") for container in spec.containers),
        init_containers=tuple(replace(container, image="") for container in spec.init_containers),
        tolerations=(),
        rest={key: value for key, value in spec.rest.items() if key != "activeDeadlineSeconds"},
    )

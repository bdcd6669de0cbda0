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
from netsim.objects.core import Namespace, Pod, PodSpec, Service, ServiceSpec
from netsim.objects.meta import Object, ObjectMeta, ObjectRef
from netsim.store.reader import Reader
from netsim.store.resources import resource_of
from netsim.store.store import Store

T = TypeVar("T", bound=Object)

IMMORTAL_NAMESPACES = ("default", "kube-system", "kube-public")  # admission/plugin/namespace/lifecycle
_CONTROLLERS_ANNOTATIONS = "deployment.kubernetes.io/"
_POD_UPDATE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


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
    old = store.find_ref(obj.ref) if obj.metadata.name else None
    if old is None:
        _check_namespace(store, obj)
        return Applied(store.create(obj, now), "created")
    new = carried_over(old, obj)
    _check_update(old, new)
    stored = store.update(new)
    changed = stored.metadata.resource_version != old.metadata.resource_version
    return Applied(stored, "configured" if changed else "unchanged")


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
    return replace(new, **kept)


def _metadata(old: ObjectMeta, new: ObjectMeta) -> ObjectMeta:
    controllers = {k: v for k, v in old.annotations.items() if k.startswith(_CONTROLLERS_ANNOTATIONS)}
    return replace(
        new,
        annotations={**controllers, **new.annotations},
        owner_references=new.owner_references or old.owner_references,
        finalizers=new.finalizers or old.finalizers,
    )


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
        case (Deployment() | ReplicaSet(), Deployment() | ReplicaSet()):
            if old.spec.selector != new.spec.selector:
                value = json.dumps(document_from_value(new.spec.selector), separators=(",", ":"))
                why = f"Invalid value: {value}: field is immutable"
                raise Invalid(new.kind, new.metadata.name, "spec.selector", why)
        case Service(), Service():
            held = old.spec.cluster_ip
            if held and "ExternalName" not in (old.spec.type, new.spec.type) and new.spec.cluster_ip != held:
                value = json.dumps([new.spec.cluster_ip])
                why = f"Invalid value: {value}: may not change once set"
                raise Invalid(new.kind, new.metadata.name, "spec.clusterIPs[0]", why)
        case Pod(), Pod():
            if _fixed(old.spec) != _fixed(new.spec):
                raise Invalid(new.kind, new.metadata.name, "spec", f"Forbidden: {_POD_UPDATE}")


def _fixed(spec: PodSpec) -> PodSpec:
    """A Pod's spec without what may change while it exists."""
    return replace(
        spec,
        containers=tuple(replace(container, image="") for container in spec.containers),
        init_containers=tuple(replace(container, image="") for container in spec.init_containers),
        tolerations=(),
        rest={key: value for key, value in spec.rest.items() if key != "activeDeadlineSeconds"},
    )

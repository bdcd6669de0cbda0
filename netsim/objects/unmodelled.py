"""What a real cluster would act on and netsim does not: the warnings of every run.

``manifest`` asks for each object. A connection that succeeds here and that a real cluster would deny is a lie
unless it is announced; so whatever changes the network and is not modelled stands in these tables, and leaves
them when it is built. Kinds and fields that have no part in the network are not mentioned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from netsim.objects.field_errors import render_path
from netsim.objects.yaml_tree import Path

_NO_ADMISSION = "it changes and refuses nothing here"

KINDS: dict[str, str] = {
    "CronJob": "it makes no Jobs here",
    "HorizontalPodAutoscaler": "the number of replicas stays as declared",
    "Ingress": "nothing serves its rules here",
    "MutatingWebhookConfiguration": _NO_ADMISSION,
    "NetworkPolicy": "traffic that it would deny passes here",
    "ServiceCIDR": "Services get addresses of the Topology's serviceSubnet only",
    "ValidatingAdmissionPolicy": _NO_ADMISSION,
    "ValidatingAdmissionPolicyBinding": _NO_ADMISSION,
    "ValidatingWebhookConfiguration": _NO_ADMISSION,
}
"""Built-in kinds that are kept but not acted on, and what follows from that."""


class Unmodelled(NamedTuple):
    """``where`` is the field; ``message`` what netsim leaves out, and what follows from that."""

    where: Path
    message: str


def kind_warning(kind: str) -> str:
    """The warning for a built-in kind that netsim does not model, or nothing if it has no part in the
    network."""
    consequence = KINDS.get(kind)
    return f"netsim does not model {kind} yet; {consequence}" if consequence else ""


def foreign_warning(api_version: str, kind: str) -> str:
    """The warning for a kind of a group that Kubernetes itself does not serve."""
    return f"netsim does not know {kind} of {api_version}; it is kept, and nothing acts on it"


def field_warnings(document: Mapping[str, Any]) -> list[Unmodelled]:
    """The fields of an object, of a modelled kind and with its defaults, that netsim does not model."""
    match document["kind"]:
        case "Service":
            return list(_service(document["spec"]))
        case "Pod":
            return list(_pod(document["spec"], ("spec",)))
        case "Job":
            return [*_job(document["spec"]), *_template(document)]
        case "DaemonSet" | "Deployment" | "ReplicaSet" | "ReplicationController" | "StatefulSet":
            return list(_template(document))
        case "EndpointSlice":
            return list(_endpoint_slice(document))
        case _:
            return []


def _service(spec: Mapping[str, Any]) -> Iterator[Unmodelled]:
    where: Path = ("spec",)
    for index, port in enumerate(spec.get("ports", ())):
        if port["protocol"] == "SCTP":
            yield _value((*where, "ports", index, "protocol"), "SCTP", "nothing answers on this port")


def _template(document: Mapping[str, Any]) -> Iterator[Unmodelled]:
    return _pod(document["spec"]["template"]["spec"], ("spec", "template", "spec"))


def _job(spec: Mapping[str, Any]) -> Iterator[Unmodelled]:
    for field in ("podFailurePolicy", "backoffLimitPerIndex"):
        if field in spec:
            yield _field(("spec", field), "failed Pods count towards backoffLimit alone")
    if "successPolicy" in spec:
        yield _field(("spec", "successPolicy"), "the Job is complete with all its completions")
    if "managedBy" in spec:
        yield _field(("spec", "managedBy"), "the Job controller acts on the Job")


def _pod(spec: Mapping[str, Any], where: Path) -> Iterator[Unmodelled]:
    for field in ("affinity", "topologySpreadConstraints"):
        if spec.get(field):
            yield _field((*where, field), "Pods may run on other nodes than in a real cluster")
    for field in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(field, ())):
            yield from _container(container, (*where, field, index))


_WITHOUT_PROBE = {
    "readinessProbe": "the container counts as ready as soon as it runs",
    "livenessProbe": "the container is not restarted by it",
    "startupProbe": "the container counts as started as soon as it runs",
}


_UNMODELLED_SOURCES = {"resourceFieldRef", "fileKeyRef"}  # of a variable


def _container(container: Mapping[str, Any], where: Path) -> Iterator[Unmodelled]:
    for field, consequence in _WITHOUT_PROBE.items():
        if "grpc" in container.get(field, ()):
            yield _field((*where, field, "grpc"), consequence)
    if (container.get("lifecycle") or {}).get("postStart"):
        yield _field((*where, "lifecycle", "postStart"), "it is not run")
    for index, port in enumerate(container.get("ports", ())):
        if port.get("hostPort") and port["hostPort"] != port.get("containerPort"):
            at = (*where, "ports", index, "hostPort")
            yield _field(at, "the container is reachable by its Pod's address only")
    for index, variable in enumerate(container.get("env", ())):
        for source in _UNMODELLED_SOURCES & (variable.get("valueFrom") or {}).keys():
            at = (*where, "env", index, "valueFrom", source)
            yield _field(at, f"the container does not get {variable.get('name', 'it')}")


def _endpoint_slice(document: Mapping[str, Any]) -> Iterator[Unmodelled]:
    if document.get("addressType") == "FQDN":
        yield _value(("addressType",), document["addressType"], "its endpoints are not used")


def _field(where: Path, consequence: str) -> Unmodelled:
    return Unmodelled(where, f"netsim does not model {render_path(where)} yet; {consequence}")


def _value(where: Path, value: str, consequence: str) -> Unmodelled:
    return Unmodelled(where, f"netsim does not model {render_path(where)} {value} yet; {consequence}")

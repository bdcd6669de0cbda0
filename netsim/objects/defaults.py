"""The defaults that the API server fills in, for the kinds that netsim models.

``manifest`` calls ``set_defaults`` on a document that was read strictly and before it is validated, as the
API server does; the document is changed in place. From ``SetDefaults_…`` in Kubernetes'
``pkg/apis/core/v1/defaults.go``, ``pkg/apis/apps/v1/defaults.go``, ``pkg/apis/batch/v1/defaults.go`` and
``pkg/apis/discovery/v1/defaults.go``. What needs the cluster (addresses, node ports, service accounts) is
not a default: controllers and the store see to it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

Document = dict[str, Any]

NAMESPACE = "default"
NAME_LABEL = "kubernetes.io/metadata.name"
AFFINITY_SECONDS = 10800  # DefaultClientIPServiceAffinitySeconds
GRACE_PERIOD_SECONDS = 30  # DefaultTerminationGracePeriodSeconds
SCHEDULER = "default-scheduler"  # DefaultSchedulerName
JOB_BACKOFF_LIMIT = 6  # SetDefaults_Job
MAX_INT32 = 2**31 - 1
TERMINATION_MESSAGE_PATH = "/dev/termination-log"  # TerminationMessagePathDefault

_PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_EXTERNAL_TYPES = ("NodePort", "LoadBalancer")


def set_defaults(document: Document) -> None:
    """Fill in the defaults of a document's kind; other kinds are left as they are."""
    setter = _BY_KIND.get(document["kind"])
    if setter is not None:
        setter(document)


def _service(document: Document) -> None:
    spec = document.setdefault("spec", {})
    _default(spec, "sessionAffinity", "None")
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    elif spec["sessionAffinity"] == "ClientIP":
        config = spec.get("sessionAffinityConfig", {}).get("clientIP", {})
        if "timeoutSeconds" not in config:
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}}
    _default(spec, "type", "ClusterIP")
    for port in spec.get("ports", ()):
        _default(port, "protocol", "TCP")
        _default(port, "targetPort", port.get("port", 0))
    if spec["type"] in _EXTERNAL_TYPES or (spec["type"] == "ClusterIP" and spec.get("externalIPs")):
        _default(spec, "externalTrafficPolicy", "Cluster")
    if spec["type"] in ("ClusterIP", *_EXTERNAL_TYPES):
        _default(spec, "internalTrafficPolicy", "Cluster")
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)


def _deployment(document: Document) -> None:
    spec = document.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    strategy = spec.setdefault("strategy", {})
    _default(strategy, "type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    _pod_template(spec)


def _replica_set(document: Document) -> None:
    spec = document.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    _pod_template(spec)


def _replication_controller(document: Document) -> None:
    spec = document.setdefault("spec", {})
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    if labels:
        _default(spec, "selector", dict(labels))
        _default(document.setdefault("metadata", {}), "labels", dict(labels))
    spec.setdefault("replicas", 1)
    if "template" in spec:
        _pod_template(spec)


def _stateful_set(document: Document) -> None:
    spec = document.setdefault("spec", {})
    _default(spec, "podManagementPolicy", "OrderedReady")
    strategy = spec.setdefault("updateStrategy", {})
    _default(strategy, "type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("partition", 0)
        rolling.setdefault("maxUnavailable", 1)  # MaxUnavailableStatefulSet is on since 1.35
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    _default(retention, "whenDeleted", "Retain")
    _default(retention, "whenScaled", "Retain")
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    _pod_template(spec)


def _daemon_set(document: Document) -> None:
    spec = document.setdefault("spec", {})
    strategy = spec.setdefault("updateStrategy", {})
    _default(strategy, "type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)
    spec.setdefault("revisionHistoryLimit", 10)
    _pod_template(spec)


def _job(document: Document) -> None:
    spec = document.setdefault("spec", {})
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", JOB_BACKOFF_LIMIT if "backoffLimitPerIndex" not in spec else MAX_INT32)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    replace_when = "Failed" if "podFailurePolicy" in spec else "TerminatingOrFailed"
    spec.setdefault("podReplacementPolicy", replace_when)
    _pod_template(spec)
    labels = (spec["template"].get("metadata") or {}).get("labels")
    if labels:
        _default(document.setdefault("metadata", {}), "labels", dict(labels))


def _pod_template(spec: Document) -> None:
    _pod_spec(spec.setdefault("template", {}).setdefault("spec", {}))


def _pod(document: Document) -> None:
    spec = document.setdefault("spec", {})
    _pod_spec(spec)
    spec.setdefault("enableServiceLinks", True)
    for container in (*spec.get("containers", ()), *spec.get("initContainers", ())):
        _requests_from_limits(container)
        if spec.get("hostNetwork"):
            for port in container.get("ports", ()):
                _default(port, "hostPort", port.get("containerPort", 0))


def _requests_from_limits(container: Document) -> None:
    resources = container.get("resources", {})
    if resources.get("limits"):
        resources["requests"] = {**resources["limits"], **resources.get("requests", {})}


def _pod_spec(spec: Document) -> None:
    _default(spec, "dnsPolicy", "ClusterFirst")
    _default(spec, "restartPolicy", "Always")
    spec.setdefault("securityContext", {})
    spec.setdefault("terminationGracePeriodSeconds", GRACE_PERIOD_SECONDS)
    _default(spec, "schedulerName", SCHEDULER)
    for container in (*spec.get("containers", ()), *spec.get("initContainers", ())):
        _container(container)


def _container(container: Document) -> None:
    _default(container, "imagePullPolicy", _pull_policy(container.get("image", "")))
    _default(container, "terminationMessagePath", TERMINATION_MESSAGE_PATH)
    _default(container, "terminationMessagePolicy", "File")
    for port in container.get("ports", ()):
        _default(port, "protocol", "TCP")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if name in container:
            _probe(container[name])


def _probe(probe: Document) -> None:
    for field, value in _PROBE.items():
        _default(probe, field, value)
    if "httpGet" in probe:
        _default(probe["httpGet"], "path", "/")
        _default(probe["httpGet"], "scheme", "HTTP")


def _pull_policy(image: str) -> str:
    """``Always`` for ``:latest``, which is also what no tag means, unless a digest names the image."""
    name, _, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return "Always" if tag == "latest" or not (tag or digest) else "IfNotPresent"


def _secret(document: Document) -> None:
    """``stringData`` is written over ``data`` (Convert_v1_Secret_To_core_Secret)."""
    _default(document, "type", "Opaque")
    plain = document.pop("stringData", None) or {}
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in plain.items()}
    if encoded:
        document["data"] = {**(document.get("data") or {}), **encoded}


def _namespace(document: Document) -> None:
    metadata = document.setdefault("metadata", {})
    if metadata.get("name"):
        metadata.setdefault("labels", {})[NAME_LABEL] = metadata["name"]


def _endpoints(document: Document) -> None:
    for subset in document.get("subsets", ()):
        for port in subset.get("ports", ()):
            _default(port, "protocol", "TCP")


def _endpoint_slice(document: Document) -> None:
    for port in document.get("ports", ()):
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")


def _default(document: Document, field: str, value: Any) -> None:
    """Set a field that is absent or has Go's zero value."""
    if not document.get(field):
        document[field] = value


_BY_KIND: dict[str, Callable[[Document], None]] = {
    "DaemonSet": _daemon_set,
    "Deployment": _deployment,
    "EndpointSlice": _endpoint_slice,
    "Endpoints": _endpoints,
    "Job": _job,
    "Namespace": _namespace,
    "Pod": _pod,
    "ReplicaSet": _replica_set,
    "ReplicationController": _replication_controller,
    "Secret": _secret,
    "Service": _service,
    "StatefulSet": _stateful_set,
}

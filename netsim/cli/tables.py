"""Objects as ``kubectl get`` prints them.

Columns and cells follow Kubernetes' pkg/printers/internalversion/printers.go; ages follow
k8s.io/apimachinery/pkg/util/duration, the layout k8s.io/cli-runtime/pkg/printers/tabwriter.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from netsim.objects.apps import Deployment
from netsim.objects.core import Endpoints, Node, Pod, Service
from netsim.objects.meta import LabelSelector, Object

NONE = "<none>"
PADDING = 3  # tabwriterPadding
MINIMUM_WIDTH = 6  # tabwriterMinWidth
ENDPOINTS_SHOWN = 3  # formatEndpoints: "+ 2 more..." after that many
ROLE_LABEL = "node-role.kubernetes.io/"


class Table(NamedTuple):
    """How one kind is printed: ``cells`` gives a row; the last ``wide`` columns need ``-o wide``."""

    cls: type[Object]
    columns: Sequence[str]
    cells: Callable[[Any, float], Sequence[str]]
    wide: int = 0


def render_objects(
    table: Table, objects: Iterable[Object], now: float, *, wide: bool, namespaces: bool
) -> str:
    """The table of those objects at virtual time ``now``; ``namespaces`` adds the column of ``-A``."""
    shown = len(table.columns) - (0 if wide else table.wide)
    rows = [["NAMESPACE", *table.columns[:shown]] if namespaces else list(table.columns[:shown])]
    for item in objects:
        cells = list(table.cells(item, now))[:shown]
        rows.append([item.metadata.namespace, *cells] if namespaces else cells)
    return render_columns(rows)


def render_columns(rows: Sequence[Sequence[str]]) -> str:
    """Cells in columns, three spaces apart, as kubectl's tab writer lays them out."""
    widths = [
        max(MINIMUM_WIDTH, *(len(cell) + PADDING for cell in column)) for column in zip(*rows, strict=True)
    ]
    lines = []
    for row in rows:
        padded = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        lines.append("".join([*padded, row[-1]]) + "\n")
    return "".join(lines)


def render_age(created: float | None, now: float) -> str:
    """``duration.HumanDuration`` of the time since ``created``."""
    if created is None:
        return "<unknown>"
    seconds = max(0, int(now - created))
    minutes, hours = seconds // 60, seconds // 3600
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return _two_units(minutes, "m", seconds % 60, "s")
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return _two_units(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 24 * 8:
        return _two_units(hours // 24, "d", hours % 24, "h")
    return f"{hours // 24}d"


def _two_units(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


def _age(item: Object, now: float) -> str:
    return render_age(item.metadata.creation_timestamp, now)


def _pod(pod: Pod, now: float) -> Sequence[str]:
    statuses = pod.status.container_statuses
    ready = sum(status.ready for status in statuses)
    return (
        pod.metadata.name,
        f"{ready}/{len(pod.spec.containers)}",
        _pod_status(pod),
        str(sum(status.restart_count for status in statuses)),
        _age(pod, now),
        pod.status.pod_ip or NONE,
        pod.spec.node_name or NONE,
        NONE,
        NONE,
    )


def _pod_status(pod: Pod) -> str:
    """printPod's STATUS: the first container's reason to wait or to have ended, or the phase."""
    if pod.metadata.deletion_timestamp is not None:
        return "Terminating"
    reason = pod.status.reason or pod.status.phase
    for status in reversed(pod.status.container_statuses):
        state: Mapping[str, Any] = status.rest.get("state") or {}
        waiting, terminated = state.get("waiting") or {}, state.get("terminated") or {}
        if waiting.get("reason"):
            reason = waiting["reason"]
        elif terminated.get("reason"):
            reason = terminated["reason"]
        elif terminated:
            reason = f"ExitCode:{terminated.get('exitCode', 0)}"
    return reason


def _service(service: Service, now: float) -> Sequence[str]:
    spec = service.spec
    external = {"LoadBalancer": "<pending>", "ExternalName": spec.external_name}.get(spec.type, NONE)
    if spec.external_ips and spec.type != "ExternalName":
        external = ",".join(spec.external_ips)
    ports = ",".join(
        f"{port.port}{f':{port.node_port}' if port.node_port else ''}/{port.protocol}" for port in spec.ports
    )
    return (
        service.metadata.name,
        spec.type,
        spec.cluster_ip or NONE,
        external,
        ports or NONE,
        _age(service, now),
        _labels(spec.selector),
    )


def _endpoints(endpoints: Endpoints, now: float) -> Sequence[str]:
    listed: list[str] = []
    for subset in endpoints.subsets:
        if not subset.ports:
            listed += [address.ip for address in subset.addresses]
        for port in subset.ports:
            listed += [f"{address.ip}:{port.port}" for address in subset.addresses]
    text = ",".join(listed[:ENDPOINTS_SHOWN])
    if len(listed) > ENDPOINTS_SHOWN:
        text += f" + {len(listed) - ENDPOINTS_SHOWN} more..."
    return endpoints.metadata.name, text or NONE, _age(endpoints, now)


def _node(node: Node, now: float) -> Sequence[str]:
    ready = next((c.status for c in node.status.conditions if c.type == "Ready"), "Unknown")
    status = {"True": "Ready", "False": "NotReady"}.get(ready, "Unknown")
    if node.spec.unschedulable:
        status += ",SchedulingDisabled"
    roles = sorted(
        label.removeprefix(ROLE_LABEL) for label in node.metadata.labels if label.startswith(ROLE_LABEL)
    )
    external = next((a.address for a in node.status.addresses if a.type == "ExternalIP"), "")
    info: Mapping[str, Any] = node.status.rest.get("nodeInfo") or {}
    return (
        node.metadata.name,
        status,
        ",".join(roles) or NONE,
        _age(node, now),
        info.get("kubeletVersion", ""),
        node.internal_ip() or NONE,
        external or NONE,
        info.get("osImage") or "<unknown>",
        info.get("kernelVersion") or "<unknown>",
        info.get("containerRuntimeVersion") or "<unknown>",
    )


def _deployment(deployment: Deployment, now: float) -> Sequence[str]:
    status, containers = deployment.status, deployment.spec.template.spec.containers
    return (
        deployment.metadata.name,
        f"{status.ready_replicas}/{deployment.spec.replicas}",
        str(status.updated_replicas),
        str(status.available_replicas),
        _age(deployment, now),
        ",".join(container.name for container in containers),
        ",".join(container.image for container in containers),
        _selector(deployment.spec.selector),
    )


def _labels(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or NONE


def _selector(selector: LabelSelector) -> str:
    """metav1.FormatLabelSelector."""
    terms = [f"{key}={value}" for key, value in selector.match_labels.items()]
    for requirement in selector.match_expressions:
        values = f" ({','.join(sorted(requirement.values))})" if requirement.values else ""
        word = {"In": " in", "NotIn": " notin", "Exists": "", "DoesNotExist": ""}[requirement.operator]
        bang = "!" if requirement.operator == "DoesNotExist" else ""
        terms.append(f"{bang}{requirement.key}{word}{values}")
    return ",".join(sorted(terms)) or NONE


PODS = Table(
    Pod,
    ("NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE", "NOMINATED NODE", "READINESS GATES"),
    _pod,
    wide=4,
)
SERVICES = Table(
    Service,
    ("NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE", "SELECTOR"),
    _service,
    wide=1,
)
ENDPOINTS = Table(Endpoints, ("NAME", "ENDPOINTS", "AGE"), _endpoints)
NODES = Table(
    Node,
    (
        "NAME", "STATUS", "ROLES", "AGE", "VERSION",
        "INTERNAL-IP", "EXTERNAL-IP", "OS-IMAGE", "KERNEL-VERSION", "CONTAINER-RUNTIME",
    ),
    _node,
    wide=5,
)  # fmt: skip
DEPLOYMENTS = Table(
    Deployment,
    ("NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "CONTAINERS", "IMAGES", "SELECTOR"),
    _deployment,
    wide=3,
)

OBJECT_TABLES = {
    "pods": PODS,
    "services": SERVICES,
    "endpoints": ENDPOINTS,
    "nodes": NODES,
    "deployments": DEPLOYMENTS,
}

"""Objects as ``kubectl get`` prints them.

``cli`` and ``checks`` call ``render_table`` and ``table_rows`` with one of ``TABLES``; what a cell says is in
Kubernetes' ``pkg/printers/internalversion/printers.go``, how ages read in apimachinery
``util/duration``, how columns stand in cli-runtime ``pkg/printers/tabwriter.go``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from netsim.controllers.podstate import is_terminal
from netsim.objects.apps import Deployment, ReplicaSet
from netsim.objects.codec import time_from_text
from netsim.objects.core import (
    ConfigMap,
    Container,
    ContainerStatus,
    Endpoints,
    Namespace,
    Node,
    Pod,
    Secret,
    Service,
)
from netsim.objects.discovery import EndpointSlice
from netsim.objects.meta import LabelSelector, Object
from netsim.objects.workloads import DaemonSet, Job, ReplicationController, StatefulSet
from netsim.store.reader import Reader
from netsim.store.selectors import selector_from_label_selector, selector_from_labels

NONE, UNSET, UNKNOWN, PENDING = "<none>", "<unset>", "<unknown>", "<pending>"
MINIMUM_WIDTH, PADDING = 6, 3  # tabwriterMinWidth, tabwriterPadding
MOST_LISTED = 3  # formatEndpoints: what is more is "+ 2 more..."
LOAD_BALANCER_WIDTH = 16  # loadBalancerWidth: a longer EXTERNAL-IP is cut, but for -o wide
ROLE_PREFIX, ROLE_LABEL = "node-role.kubernetes.io/", "kubernetes.io/role"

Cells = Sequence[str]


class Table(NamedTuple):
    """How one kind is printed. ``cells`` gives a row; the last ``wide`` columns are those of ``-o wide``."""

    kind: type[Object]
    titles: Sequence[str]
    cells: Callable[[Any, float, bool], Cells]
    wide: int = 0


def render_table(
    table: Table,
    objects: Iterable[Object],
    *,
    now: float,
    scoped: bool = False,
    wide: bool = False,
    labels: bool = False,
    prefix: str = "",
) -> str:
    """Those objects in their order; the empty string when there are none: kubectl then prints no table.

    ``now`` is in virtual seconds. ``scoped`` adds the namespace, as ``kubectl get -A`` does, ``labels`` the
    column of ``--show-labels``; ``prefix`` stands before each name when tables of several kinds are printed.
    """
    rows = [
        [*_scope(table, scoped, obj.metadata.namespace), prefix + name, *cells, *_labels(obj, labels)]
        for obj in objects
        for name, *cells in [table.cells(obj, now, wide)[: _shown(table, wide)]]
    ]
    titles = [*_titles(table, scoped, wide), *(["LABELS"] if labels else [])]
    return render_columns([titles, *rows]) if rows else ""


def table_rows(
    table: Table, reader: Reader, namespace: str | None, *, now: float, wide: bool = False
) -> list[dict[str, str]]:
    """The objects of one namespace, or (None) of all, as plain values by their column's title in lower case.

    They come in the order of the API server's keys: by namespace, then by name.
    """
    scoped = namespace is None
    objects = reader.list(table.kind, namespace if table.kind.namespaced else None)
    ordered = sorted(objects, key=lambda obj: (obj.metadata.namespace, obj.metadata.name))
    titles = [title.lower() for title in _titles(table, scoped, wide)]
    rows = (
        [*_scope(table, scoped, obj.metadata.namespace), *table.cells(obj, now, wide)[: _shown(table, wide)]]
        for obj in ordered
    )
    return [dict(zip(titles, row, strict=True)) for row in rows]


def render_columns(rows: Sequence[Cells]) -> str:
    """Cells under each other, every column but the last padded to its widest cell and three spaces."""
    widths = [
        max(MINIMUM_WIDTH, *(len(cell) + PADDING for cell in column)) for column in zip(*rows, strict=True)
    ]
    widths[-1] = 0
    lines = ("".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "".join(f"{line}\n" for line in lines)


def render_age(since: float | None, now: float) -> str:
    """The time since a moment as kubectl abbreviates it: ``90s``, ``5m3s``, ``3h20m``, ``12d``, ``2y40d``."""
    if since is None:
        return UNKNOWN
    seconds = max(int(now - since), 0)
    minutes, hours, days, years = seconds // 60, seconds // 3600, seconds // 86400, seconds // 31536000
    if seconds < 2 * 60:
        return f"{seconds}s"
    if minutes < 10:
        return _two_units(minutes, "m", seconds % 60, "s")
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return _two_units(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two_units(days, "d", hours % 24, "h")
    if years < 2:
        return f"{days}d"
    return _two_units(years, "y", days % 365, "d") if years < 8 else f"{years}y"


def _two_units(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


# --- rows


def _shown(table: Table, wide: bool) -> int:
    """How many of the columns are printed."""
    return len(table.titles) - (0 if wide else table.wide)


def _titles(table: Table, scoped: bool, wide: bool) -> list[str]:
    return [*_scope(table, scoped, "NAMESPACE"), *table.titles[: _shown(table, wide)]]


def _scope(table: Table, scoped: bool, cell: str) -> list[str]:
    """The first column, which only a listing of all namespaces has."""
    return [cell] if scoped and table.kind.namespaced else []


def _labels(obj: Object, shown: bool) -> list[str]:
    """``labels.FormatLabels``"""
    return [str(selector_from_labels(obj.metadata.labels)) or NONE] if shown else []


def _age(obj: Object, now: float) -> str:
    return render_age(obj.metadata.creation_timestamp, now)


def _listed(items: Sequence[str]) -> str:
    """The first three, and how many more."""
    more = f" + {len(items) - MOST_LISTED} more..." if len(items) > MOST_LISTED else ""
    return ",".join(items[:MOST_LISTED]) + more


# --- Pods


def _pod(pod: Pod, now: float, _wide: bool) -> Cells:
    """``printPod``"""
    sidecars = [
        status
        for spec, status in zip(pod.spec.init_containers, pod.status.init_container_statuses, strict=False)
        if spec.rest.get("restartPolicy") == "Always"
    ]
    statuses = (*sidecars, *pod.status.container_statuses)
    initializing = _initializing(pod)
    running = [status for status in statuses if status.ready and "running" in _state(status)]
    return (
        pod.metadata.name,
        f"{len(running)}/{len(pod.spec.containers) + len(sidecars)}",
        _pod_status(pod, initializing, any_running=bool(running)),
        _restarts(pod.status.init_container_statuses if initializing else statuses, now),
        _age(pod, now),
        pod.status.pod_ip or NONE,
        pod.spec.node_name or NONE,
        NONE,
        _gates(pod),
    )


def _state(status: ContainerStatus) -> Mapping[str, Any]:
    return status.rest.get("state") or {}


def _initializing(pod: Pod) -> str:
    """What the first init container that is not done holds the Pod up with; empty when none does."""
    statuses = pod.status.init_container_statuses
    if pod.condition("Initialized"):
        return ""
    for number, (spec, status) in enumerate(zip(pod.spec.init_containers, statuses, strict=False)):
        state = _state(status)
        if (state.get("terminated") or {}).get("exitCode") == 0:
            continue
        if spec.rest.get("restartPolicy") == "Always" and status.started:
            continue
        reason = _container_reason(state)
        waits = not reason or reason == "PodInitializing"
        return f"Init:{number}/{len(pod.spec.init_containers)}" if waits else f"Init:{reason}"
    return ""


def _pod_status(pod: Pod, initializing: str, *, any_running: bool) -> str:
    """The STATUS column: the first container's reason to wait or to have ended, or else the phase."""
    if pod.metadata.deletion_timestamp is not None and not is_terminal(pod):
        return "Terminating"
    if initializing:
        return initializing
    reasons = (_container_reason(_state(status)) for status in pod.status.container_statuses)
    reason = next(filter(None, reasons), pod.status.reason or pod.status.phase)
    if reason == "Completed" and any_running:
        return "Running" if pod.condition("Ready") else "NotReady"
    return reason


def _gates(pod: Pod) -> str:
    """How many readiness gates are open, of how many."""
    kinds = [gate["conditionType"] for gate in pod.spec.rest.get("readinessGates") or ()]
    return f"{sum(pod.condition(kind) for kind in kinds)}/{len(kinds)}" if kinds else NONE


def _container_reason(state: Mapping[str, Any]) -> str:
    """Why a container does not run; empty while it does."""
    waiting, terminated = state.get("waiting") or {}, state.get("terminated")
    if waiting.get("reason"):
        return str(waiting["reason"])
    if terminated is None:
        return ""
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _restarts(statuses: Iterable[ContainerStatus], now: float) -> str:
    """The RESTARTS column: how many, and how long ago the last container ended."""
    count = 0
    ends: list[float] = []
    for status in statuses:
        count += status.restart_count
        ended = ((status.rest.get("lastState") or {}).get("terminated") or {}).get("finishedAt")
        if ended is not None:
            ends.append(time_from_text(ended) if isinstance(ended, str) else float(ended))
    return f"{count} ({render_age(max(ends), now)} ago)" if count and ends else str(count)


# --- Services and their endpoints


def _service(service: Service, now: float, wide: bool) -> Cells:
    spec = service.spec
    ports = ",".join(
        f"{port.port}:{port.node_port}/{port.protocol}" if port.node_port else f"{port.port}/{port.protocol}"
        for port in spec.ports
    )
    return (
        service.metadata.name,
        spec.type,
        spec.cluster_ip or NONE,
        _external_ip(service, wide),
        ports or NONE,
        _age(service, now),
        str(selector_from_labels(spec.selector)) or NONE,
    )


def _external_ip(service: Service, wide: bool) -> str:
    spec = service.spec
    if spec.type == "ExternalName":
        return spec.external_name
    if spec.type != "LoadBalancer":
        return ",".join(spec.external_ips) or NONE
    ingress = (service.status.rest.get("loadBalancer") or {}).get("ingress") or ()
    given = ",".join(sorted({entry.get("ip") or entry.get("hostname", "") for entry in ingress} - {""}))
    if not wide and len(given) > LOAD_BALANCER_WIDTH:
        given = f"{given[: LOAD_BALANCER_WIDTH - 3]}..."
    return ",".join(filter(None, (given, *spec.external_ips))) or PENDING


def _endpoints(endpoints: Endpoints, now: float, _wide: bool) -> Cells:
    addresses = [
        f"[{address.ip}]{suffix}" if suffix and ":" in address.ip else f"{address.ip}{suffix}"
        for subset in endpoints.subsets
        for suffix in ([f":{port.port}" for port in subset.ports] or [""])
        for address in subset.addresses
    ]
    text = _listed(addresses) if endpoints.subsets else NONE
    return endpoints.metadata.name, text, _age(endpoints, now)


def _endpoint_slice(piece: EndpointSlice, now: float, _wide: bool) -> Cells:
    ports = [str(port.port) if port.port is not None else port.name or "*" for port in piece.ports]
    addresses = [address for endpoint in piece.endpoints for address in endpoint.addresses]
    return (
        piece.metadata.name,
        piece.address_type,
        _listed(ports) or UNSET,
        _listed(addresses) or UNSET,
        _age(piece, now),
    )


# --- Nodes


def _node(node: Node, now: float, _wide: bool) -> Cells:
    info: Mapping[str, Any] = node.status.rest.get("nodeInfo") or {}
    external = next((a.address for a in node.status.addresses if a.type == "ExternalIP"), "")
    return (
        node.metadata.name,
        _node_status(node),
        ",".join(_roles(node.metadata.labels)) or NONE,
        _age(node, now),
        str(info.get("kubeletVersion", "")),
        node.internal_ip() or NONE,
        external or NONE,
        info.get("osImage") or UNKNOWN,
        info.get("kernelVersion") or UNKNOWN,
        info.get("containerRuntimeVersion") or UNKNOWN,
    )


def _node_status(node: Node) -> str:
    ready = next((c.status for c in node.status.conditions if c.type == "Ready"), None)
    word = "Unknown" if ready is None else "Ready" if ready == "True" else "NotReady"
    return f"{word},SchedulingDisabled" if node.spec.unschedulable else word


def _roles(labels: Mapping[str, str]) -> list[str]:
    named = [key.removeprefix(ROLE_PREFIX) for key in labels if key.startswith(ROLE_PREFIX)]
    return sorted(dict.fromkeys(filter(None, [*named, labels.get(ROLE_LABEL, "")])))


# --- Namespaces, ConfigMaps and Secrets


def _namespace(namespace: Namespace, now: float, _wide: bool) -> Cells:
    leaving = namespace.metadata.deletion_timestamp is not None
    return namespace.metadata.name, "Terminating" if leaving else "Active", _age(namespace, now)


def _config_map(config_map: ConfigMap, now: float, _wide: bool) -> Cells:
    count = len(config_map.data) + len(config_map.binary_data)
    return config_map.metadata.name, str(count), _age(config_map, now)


def _secret(secret: Secret, now: float, _wide: bool) -> Cells:
    return secret.metadata.name, secret.type, str(len(secret.data)), _age(secret, now)


# --- workloads


def _deployment(deployment: Deployment, now: float, _wide: bool) -> Cells:
    status = deployment.status
    return (
        deployment.metadata.name,
        f"{status.ready_replicas}/{deployment.spec.replicas}",
        str(status.updated_replicas),
        str(status.available_replicas),
        _age(deployment, now),
        *_template(deployment.spec.template.spec.containers, deployment.spec.selector),
    )


def _replica_set(replica_set: ReplicaSet, now: float, _wide: bool) -> Cells:
    status = replica_set.status
    return (
        replica_set.metadata.name,
        str(replica_set.spec.replicas),
        str(status.replicas),
        str(status.ready_replicas),
        _age(replica_set, now),
        *_template(replica_set.spec.template.spec.containers, replica_set.spec.selector),
    )


def _replication_controller(controller: ReplicationController, now: float, _wide: bool) -> Cells:
    status = controller.status
    return (
        controller.metadata.name,
        str(controller.spec.replicas),
        str(status.replicas),
        str(status.ready_replicas),
        _age(controller, now),
        *_containers(controller.spec.template.spec.containers),
        str(selector_from_labels(controller.spec.selector)) or NONE,
    )


def _stateful_set(stateful_set: StatefulSet, now: float, _wide: bool) -> Cells:
    return (
        stateful_set.metadata.name,
        f"{stateful_set.status.ready_replicas}/{stateful_set.spec.replicas}",
        _age(stateful_set, now),
        *_containers(stateful_set.spec.template.spec.containers),
    )


def _daemon_set(daemon_set: DaemonSet, now: float, _wide: bool) -> Cells:
    status, pod = daemon_set.status, daemon_set.spec.template.spec
    return (
        daemon_set.metadata.name,
        str(status.desired_number_scheduled),
        str(status.current_number_scheduled),
        str(status.number_ready),
        str(status.updated_number_scheduled),
        str(status.number_available),
        str(selector_from_labels(pod.node_selector)) or NONE,
        _age(daemon_set, now),
        *_template(pod.containers, daemon_set.spec.selector),
    )


def _job(job: Job, now: float, _wide: bool) -> Cells:
    return (
        job.metadata.name,
        _job_status(job),
        _completions(job),
        _duration(job, now),
        _age(job, now),
        *_template(job.spec.template.spec.containers, job.spec.selector or LabelSelector()),
    )


def _job_status(job: Job) -> str:
    """What it does at the moment; the first of these that holds (printJob)."""
    for kind in ("Complete", "Failed"):
        if job.condition(kind):
            return kind
    if job.metadata.deletion_timestamp is not None:
        return "Terminating"
    for kind in ("Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if job.condition(kind):
            return kind
    return "Running"


def _completions(job: Job) -> str:
    succeeded, wanted = job.status.succeeded, job.spec.completions
    if wanted is not None:
        return f"{succeeded}/{wanted}"
    parallelism = job.spec.parallelism or 0
    return f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"


def _duration(job: Job, now: float) -> str:
    started, ended = job.status.start_time, job.status.completion_time
    if started is None:
        return ""
    return render_age(started, now if ended is None else ended)


def _containers(containers: Sequence[Container]) -> Cells:
    return (
        ",".join(container.name for container in containers),
        ",".join(container.image for container in containers),
    )


def _template(containers: Sequence[Container], selector: LabelSelector) -> Cells:
    return (*_containers(containers), str(selector_from_label_selector(selector)) or NONE)


_WORKLOAD_WIDE = ("CONTAINERS", "IMAGES", "SELECTOR")
_POD_WIDE = ("IP", "NODE", "NOMINATED NODE", "READINESS GATES")
_NODE_WIDE = ("INTERNAL-IP", "EXTERNAL-IP", "OS-IMAGE", "KERNEL-VERSION", "CONTAINER-RUNTIME")

TABLES: Mapping[str, Table] = {
    "pods": Table(Pod, ("NAME", "READY", "STATUS", "RESTARTS", "AGE", *_POD_WIDE), _pod, wide=4),
    "services": Table(
        Service,
        ("NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE", "SELECTOR"),
        _service,
        wide=1,
    ),
    "endpoints": Table(Endpoints, ("NAME", "ENDPOINTS", "AGE"), _endpoints),
    "endpointslices": Table(
        EndpointSlice, ("NAME", "ADDRESSTYPE", "PORTS", "ENDPOINTS", "AGE"), _endpoint_slice
    ),
    "nodes": Table(Node, ("NAME", "STATUS", "ROLES", "AGE", "VERSION", *_NODE_WIDE), _node, wide=5),
    "namespaces": Table(Namespace, ("NAME", "STATUS", "AGE"), _namespace),
    "configmaps": Table(ConfigMap, ("NAME", "DATA", "AGE"), _config_map),
    "secrets": Table(Secret, ("NAME", "TYPE", "DATA", "AGE"), _secret),
    "deployments": Table(
        Deployment,
        ("NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", *_WORKLOAD_WIDE),
        _deployment,
        wide=3,
    ),
    "replicasets": Table(
        ReplicaSet, ("NAME", "DESIRED", "CURRENT", "READY", "AGE", *_WORKLOAD_WIDE), _replica_set, wide=3
    ),
    "replicationcontrollers": Table(
        ReplicationController,
        ("NAME", "DESIRED", "CURRENT", "READY", "AGE", *_WORKLOAD_WIDE),
        _replication_controller,
        wide=3,
    ),
    "statefulsets": Table(
        StatefulSet, ("NAME", "READY", "AGE", "CONTAINERS", "IMAGES"), _stateful_set, wide=2
    ),
    "daemonsets": Table(
        DaemonSet,
        (
            *("NAME", "DESIRED", "CURRENT", "READY", "UP-TO-DATE", "AVAILABLE", "NODE SELECTOR", "AGE"),
            *_WORKLOAD_WIDE,
        ),
        _daemon_set,
        wide=3,
    ),
    "jobs": Table(Job, ("NAME", "STATUS", "COMPLETIONS", "DURATION", "AGE", *_WORKLOAD_WIDE), _job, wide=3),
}
"""By the plural name that ``kubectl get`` takes."""

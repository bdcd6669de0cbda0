"""What looks broken although no check asked: Services that nobody answers, Pods that cannot run.

``Cluster.findings`` calls this after convergence; ``netsim run`` prints the lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from netsim.controllers.controller import Wait
from netsim.kubelet.agent import Kubelet
from netsim.objects.core import Pod, Service
from netsim.objects.discovery import EndpointSlice
from netsim.store.reader import Reader


def findings(reader: Reader, kubelet: Kubelet, waits: Iterable[Wait]) -> list[str]:
    """One line per thing that looks broken, Pods first, then Services."""
    lines = [f"{wait.subject}: {wait.text}" for wait in waits if wait.blocked]
    for pod in reader.list(Pod):
        reason = kubelet.hopeless(pod.ref)
        if reason:
            lines.append(f"{pod.ref}: cannot become ready: {reason}")
    for service in reader.list(Service):
        lines.extend(_service(reader, kubelet, service))
    return lines


def _service(reader: Reader, kubelet: Kubelet, service: Service) -> Iterator[str]:
    if service.spec.type == "ExternalName":
        return
    ref = service.ref
    slices = reader.slices_of(ref)
    pods = reader.pods_selected(service)
    if service.spec.selector and not pods:
        wanted = ",".join(f"{key}={value}" for key, value in sorted(service.spec.selector.items()))
        yield f"{ref}: its selector {wanted} matches no Pod{_near(reader, service)}"
    for port in service.spec.ports:
        if isinstance(port.target_port, str) and pods and not _declared(pods, port.target_port):
            yield f"{ref}: no Pod that it selects has a port named {port.target_port!r}"
    ready = {address for slice_ in slices for address in _ready_addresses(slice_)}
    if not ready:
        effect = "its name gives NXDOMAIN" if service.headless else "connections are refused (ICMP)"
        yield f"{ref}: has no ready endpoints: {effect}"
    for pod in pods:
        if pod.status.pod_ip in ready:
            yield from _deaf(kubelet, service, pod, slices)


def _deaf(kubelet: Kubelet, service: Service, pod: Pod, slices: Iterable[EndpointSlice]) -> Iterator[str]:
    """Ports on which a ready Pod does not listen although the Service sends connections there."""
    host = kubelet.host_of(pod.ref)
    if host is None:
        return
    open_ports = {(protocol, endpoint.port) for protocol, endpoint in host.listening()}
    wanted = {
        (port.protocol.lower(), port.port)
        for slice_ in slices
        if any(pod.status.pod_ip in endpoint.addresses for endpoint in slice_.endpoints)
        for port in slice_.ports
        if port.port is not None
    }
    for protocol, number in sorted(wanted - open_ports):
        listens = ", ".join(f"{port}/{name}" for name, port in sorted(open_ports)) or "no port"
        effect = "the client gets its RST" if protocol == "tcp" else "the client gets ICMP port unreachable"
        yield (
            f"{service.ref}: {pod.ref} is ready but does not listen on {number}/{protocol} "
            f"(it listens on {listens}): {effect}"
        )


def _declared(pods: Iterable[Pod], name: str) -> bool:
    return any(
        port.name == name for pod in pods for container in pod.spec.containers for port in container.ports
    )


def _ready_addresses(slice_: EndpointSlice) -> Iterator[str]:
    for endpoint in slice_.endpoints:
        if endpoint.conditions.ready is not False:
            yield from endpoint.addresses


def _near(reader: Reader, service: Service) -> str:
    """Pods of the namespace that carry one of the selector's keys, which is where a typo shows."""
    for pod in reader.list(Pod, service.metadata.namespace):
        for key in service.spec.selector:
            if key in pod.metadata.labels:
                return f" ({pod.metadata.name} has {key}={pod.metadata.labels[key]})"
    return ""

"""What looks broken although no check asked: Services that nobody answers, Pods that cannot run.

``Cluster.findings`` calls this after convergence; ``netsim run`` prints the lines.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from ipaddress import ip_address
from typing import TypeAlias

from netsim.base.address import IpAddress
from netsim.cni.fabric import ROUTER
from netsim.controllers.controller import Wait
from netsim.kubelet.agent import Kubelet
from netsim.kubelet.probes import LIVENESS, probe_specs
from netsim.objects.core import Pod, Service
from netsim.objects.discovery import SERVICE_NAME_LABEL, EndpointSlice
from netsim.objects.meta import ObjectRef
from netsim.objects.sources import TEXT
from netsim.objects.spelling import nearest
from netsim.objects.topology import Topology
from netsim.plan.entries import HostName
from netsim.programs.host import Host
from netsim.proxy.announcer import EXCLUDE_LABEL
from netsim.proxy.service_port import load_balancer_vips
from netsim.store.reader import Reader

_PortNumber: TypeAlias = tuple[str, int]  # ("tcp", 80)


def findings(
    reader: Reader, kubelet: Kubelet, waits: Iterable[Wait], announced: Collection[IpAddress]
) -> list[str]:
    """One line per thing that looks broken, Pods first, then Services; with its place, if it has a file.

    ``announced`` are the load balancer addresses for which a node answers.
    """
    blocked = [wait for wait in waits if wait.blocked]
    lines = [f"{_place(reader, wait.subject)}{wait}" for wait in blocked]
    waiting = {wait.subject for wait in blocked}
    for pod in reader.list(Pod):
        reason = kubelet.hopeless(pod.ref)
        if reason:
            lines.append(f"{_place(reader, pod.ref)}{pod.ref}: cannot become ready: {reason}")
        else:
            lines.extend(f"{_place(reader, pod.ref)}{pod.ref}: {text}" for text in _doomed(kubelet, pod))
    for service in reader.list(Service):
        place = _place(reader, service.ref)
        lines.extend(f"{place}{service.ref}: {text}" for text in _service(reader, kubelet, service))
        if service.spec.type == "LoadBalancer" and service.ref not in waiting:
            missing = _load_balancer(reader, service, announced)
            lines.extend(f"{place}{service.ref}: {text}" for text in missing)
    return lines


def divided(topology: Topology, speaking: Collection[HostName]) -> list[str]:
    """What keeps the Pods of two subnets apart over BGP: a router that is between them and does not speak."""
    subnets = list(dict.fromkeys(node.subnet for node in topology.nodes))
    if topology.networking.pod_network != "bgp" or len(subnets) == 1 or ROUTER in speaking:
        return []
    peering = topology.networking.bgp.peering
    return [
        f"Pods in subnets {', '.join(subnets)} do not reach each other: the router between them has no "
        f"routes to Pods with bgp.peering {peering}; with tor it has"
    ]


def _place(reader: Reader, ref: ObjectRef) -> str:
    """``shop.yaml:12:1: ``: where the object, or else the owner that made it, was written in a file."""
    found = reader.find_ref(ref)
    while found is not None and found.source is None:
        owner = found.metadata.controller()
        found = reader.find_uid(owner.uid) if owner is not None else None
    if found is None or found.source is None or found.source.path == TEXT:
        return ""
    return f"{found.source}: "


def _service(reader: Reader, kubelet: Kubelet, service: Service) -> Iterator[str]:
    if service.spec.type == "ExternalName":
        return
    slices = reader.slices_of(service.ref)
    pods = reader.pods_selected(service)
    if service.spec.selector and not pods:
        wanted = ",".join(f"{key}={value}" for key, value in sorted(service.spec.selector.items()))
        yield f"its selector {wanted} matches no Pod{_near(reader, service)}"
    for port in service.spec.ports:
        if isinstance(port.target_port, str) and pods and not _declared(pods, port.target_port):
            yield f"no Pod that it selects has a port named {port.target_port!r}"
    ready = {address for slice_ in slices for address in _ready_addresses(slice_)}
    if not ready:
        effect = "its name gives NXDOMAIN" if service.headless else "connections are refused (ICMP)"
        hand_made = not service.spec.selector and not slices
        why = (
            f"no selector, and no EndpointSlice with its {SERVICE_NAME_LABEL}"
            if hand_made
            else "no ready endpoints"
        )
        yield f"has {why}: {effect}"
    yield from _deaf(kubelet, [pod for pod in pods if pod.status.pod_ip in ready], slices)


def _load_balancer(reader: Reader, service: Service, announced: Collection[IpAddress]) -> Iterator[str]:
    addresses = [ip_address(text) for text in load_balancer_vips(service)]
    implementation = service.spec.rest.get("loadBalancerClass")
    if not addresses:
        why = (
            f"nobody here serves the loadBalancerClass {implementation}"
            if implementation
            else "the Topology has no loadBalancer pool"
        )
        yield f"its EXTERNAL-IP stays <pending>: {why}"
    for address in addresses:
        ready = any(True for slice_ in reader.slices_of(service.ref) for _ in _ready_addresses(slice_))
        if ready and address not in announced:
            yield (
                f"no node announces {address}: none on the subnet of the pool is Ready and without the label "
                f"{EXCLUDE_LABEL}"
            )


def _deaf(kubelet: Kubelet, pods: Sequence[Pod], slices: Iterable[EndpointSlice]) -> Iterator[str]:
    """Ports to which the Service sends connections although ready Pods do not listen there."""
    targets: dict[str, set[_PortNumber]] = {}  # of each endpoint address
    for slice_ in slices:
        ports = {(port.protocol.lower(), port.port) for port in slice_.ports if port.port is not None}
        for address in (address for endpoint in slice_.endpoints for address in endpoint.addresses):
            targets.setdefault(address, set()).update(ports)
    deaf: dict[_PortNumber, list[tuple[Pod, str]]] = {}
    for pod in pods:
        host = kubelet.host_of(pod.ref)
        if host is None:
            continue
        open_ports = _open_ports(host)
        listens = _written(open_ports) or "no port"
        for target in targets.get(pod.status.pod_ip, set()) - open_ports:
            deaf.setdefault(target, []).append((pod, listens))
    for (protocol, number), found in sorted(deaf.items(), key=lambda item: item[0]):
        pod, listens = found[0]
        effect = "the client gets its RST" if protocol == "tcp" else "the client gets ICMP port unreachable"
        if len(pods) == 1:
            who = f"{pod.ref} is ready but does not listen on {number}/{protocol}"
        else:
            who = (
                f"{len(found)} of {len(pods)} ready Pods do not listen on {number}/{protocol}, "
                f"for example {pod.ref}"
            )
        yield f"{who} (it listens on {listens}): {effect}"


def _doomed(kubelet: Kubelet, pod: Pod) -> Iterator[str]:
    """Liveness probes that will have containers killed: nothing listens where they ask, and something does
    elsewhere. A Pod that listens nowhere may only be slow."""
    host = kubelet.host_of(pod.ref)
    if host is None or pod.status.phase != "Running":
        return
    open_ports = _open_ports(host)
    for container in pod.spec.containers:
        probe = probe_specs(container).get(LIVENESS)
        if probe is None or "port" not in probe.target or probe.target.get("host") or not open_ports:
            continue
        named = {port.name: port.container_port for port in container.ports}
        port = named.get(probe.target["port"], probe.target["port"])
        if ("tcp", port) not in open_ports:
            yield (
                f"container {container.name} will be restarted again and again: its liveness probe asks "
                f"{port}/tcp, where nothing listens (it listens on {_written(open_ports)})"
            )


def _open_ports(host: Host) -> set[_PortNumber]:
    return {(protocol, endpoint.port) for protocol, endpoint in host.listening()}


def _written(ports: Iterable[_PortNumber]) -> str:
    return ", ".join(f"{number}/{protocol}" for protocol, number in sorted(ports))


def _declared(pods: Iterable[Pod], name: str) -> bool:
    return any(
        port.name == name for pod in pods for container in pod.spec.containers for port in container.ports
    )


def _ready_addresses(slice_: EndpointSlice) -> Iterator[str]:
    for endpoint in slice_.endpoints:
        if endpoint.conditions.ready is not False:
            yield from endpoint.addresses


def _near(reader: Reader, service: Service) -> str:
    """A Pod of the namespace with a label that the selector may have meant, which is where a typo shows; else
    the namespaces whose Pods it would match."""
    pods = reader.list(Pod, service.metadata.namespace)
    for key, value in sorted(service.spec.selector.items()):
        with_key = {pod.metadata.labels[key]: pod for pod in pods if key in pod.metadata.labels}
        if value not in with_key and (meant := nearest(value, with_key)):
            return f" ({with_key[meant].metadata.name} has {key}={meant})"
        with_value = {
            name: pod for pod in pods for name, text in pod.metadata.labels.items() if text == value
        }
        if key not in with_value and (meant := nearest(key, with_value)):
            return f" ({with_value[meant].metadata.name} has {meant}={value})"
    wanted = service.spec.selector.items()
    elsewhere = {pod.metadata.namespace for pod in reader.list(Pod) if wanted <= pod.metadata.labels.items()}
    if elsewhere:
        others = ", ".join(sorted(elsewhere))
        return f" of its own namespace (those of {others} do, which a Service does not reach)"
    return ""

"""The core/v1 objects that netsim models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from netsim.objects.meta import EMPTY, Condition, Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace(Object):
    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Namespace"
    namespaced: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class Taint:
    key: str
    effect: str  # NoSchedule, PreferNoSchedule, NoExecute
    value: str = ""
    rest: Mapping[str, Any] = EMPTY


@dataclass(frozen=True, slots=True)
class NodeSpec:
    pod_cidr: str = ""
    pod_cidrs: tuple[str, ...] = ()
    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()
    rest: Mapping[str, Any] = EMPTY


@dataclass(frozen=True, slots=True)
class NodeAddress:
    type: str  # InternalIP, ExternalIP, Hostname
    address: str


@dataclass(frozen=True, slots=True)
class NodeStatus:
    addresses: tuple[NodeAddress, ...] = ()
    conditions: tuple[Condition, ...] = ()
    rest: Mapping[str, Any] = EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class Node(Object):
    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Node"
    namespaced: ClassVar[bool] = False

    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    def internal_ip(self) -> str:
        """The InternalIP address of the primary family, or the empty string."""
        return next((a.address for a in self.status.addresses if a.type == "InternalIP"), "")

    def internal_ips(self) -> tuple[str, ...]:
        """The InternalIP addresses, that of the primary family first."""
        return tuple(a.address for a in self.status.addresses if a.type == "InternalIP")


@dataclass(frozen=True, slots=True)
class ContainerPort:
    container_port: int
    name: str = ""
    protocol: str = "TCP"
    host_port: int | None = None
    host_ip: str = ""
    rest: Mapping[str, Any] = EMPTY


@dataclass(frozen=True, slots=True)
class EnvVar:
    """``rest`` may hold ``valueFrom``."""

    name: str
    value: str = ""
    rest: Mapping[str, Any] = EMPTY


@dataclass(frozen=True, slots=True)
class Container:
    name: str
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    ports: tuple[ContainerPort, ...] = ()
    env: tuple[EnvVar, ...] = ()
    stdin: bool = False
    tty: bool = False
    rest: Mapping[str, Any] = EMPTY


@dataclass(frozen=True, slots=True)
class DNSConfigOption:
    name: str
    value: str | None = None


@dataclass(frozen=True, slots=True)
class PodDNSConfig:
    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[DNSConfigOption, ...] = ()


@dataclass(frozen=True, slots=True)
class HostAlias:
    ip: str
    hostnames: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Toleration:
    key: str = ""
    operator: str = "Equal"  # Equal, Exists
    value: str = ""
    effect: str = ""
    toleration_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class PodSpec:
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    restart_policy: str = "Always"
    termination_grace_period_seconds: int = 30
    dns_policy: str = "ClusterFirst"
    dns_config: PodDNSConfig | None = None
    host_aliases: tuple[HostAlias, ...] = ()
    host_network: bool = False
    hostname: str = ""
    subdomain: str = ""
    set_hostname_as_fqdn: bool = False
    node_name: str = ""
    node_selector: Mapping[str, str] = EMPTY
    tolerations: tuple[Toleration, ...] = ()
    enable_service_links: bool = True
    rest: Mapping[str, Any] = EMPTY


@dataclass(frozen=True, slots=True)
class PodIP:
    ip: str


@dataclass(frozen=True, slots=True)
class HostIP:
    ip: str


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    """``state`` is running, waiting or terminated; ``reason`` as ``kubectl get pods`` shows it."""

    name: str
    image: str = ""
    ready: bool = False
    restart_count: int = 0
    started: bool = False
    rest: Mapping[str, Any] = EMPTY  # state, lastState in API form


@dataclass(frozen=True, slots=True)
class PodStatus:
    phase: str = "Pending"  # Pending, Running, Succeeded, Failed, Unknown
    pod_ip: str = ""
    pod_ips: tuple[PodIP, ...] = ()
    host_ip: str = ""
    host_ips: tuple[HostIP, ...] = ()
    start_time: float | None = None
    conditions: tuple[Condition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    reason: str = ""
    message: str = ""
    rest: Mapping[str, Any] = EMPTY

    def address_of(self, family: str) -> str:
        """The Pod's address of a family (``IPv4``, ``IPv6``), or the empty string."""
        wanted = family == "IPv6"
        return next((address for address in self.addresses() if (":" in address) is wanted), "")

    def addresses(self) -> tuple[str, ...]:
        """Its addresses, that of the primary family first; none before it has them."""
        own = tuple(entry.ip for entry in self.pod_ips if entry.ip)
        return own or ((self.pod_ip,) if self.pod_ip else ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod(Object):
    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Pod"

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    def condition(self, kind: str) -> bool:
        """Whether the condition of that type (``Ready``, ``PodScheduled`` …) is True."""
        return any(c.type == kind and c.status == "True" for c in self.status.conditions)


@dataclass(frozen=True, slots=True)
class ServicePort:
    """``target_port`` is a number or the name of a container port; None means ``port``."""

    port: int
    name: str = ""
    protocol: str = "TCP"
    target_port: int | str | None = None
    node_port: int | None = None
    app_protocol: str = ""
    rest: Mapping[str, Any] = EMPTY


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """``cluster_ip`` is empty until allocated, ``None`` (the word) for a headless Service."""

    type: str = "ClusterIP"
    selector: Mapping[str, str] = EMPTY
    cluster_ip: str = ""
    cluster_ips: tuple[str, ...] = ()
    ports: tuple[ServicePort, ...] = ()
    external_name: str = ""
    external_ips: tuple[str, ...] = ()
    session_affinity: str = "None"
    internal_traffic_policy: str = ""
    external_traffic_policy: str = ""
    publish_not_ready_addresses: bool = False
    ip_families: tuple[str, ...] = ()
    ip_family_policy: str = ""
    rest: Mapping[str, Any] = EMPTY


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    rest: Mapping[str, Any] = EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class Service(Object):
    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Service"

    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()

    @property
    def headless(self) -> bool:
        return self.spec.cluster_ip == "None"


@dataclass(frozen=True, slots=True)
class ObjectReference:
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    rest: Mapping[str, Any] = EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Object):
    """Something that happened to an object, ``count`` times between two moments, in virtual seconds.

    ``reporting_component`` says who reports it, ``reporting_instance`` on which node; ``rest`` has both again
    as the older field ``source``.
    """

    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Event"

    involved_object: ObjectReference = ObjectReference()
    reason: str = ""
    message: str = ""
    first_timestamp: float | None = None
    last_timestamp: float | None = None
    count: int = 0
    type: str = "Normal"  # or Warning
    reporting_component: str = ""
    reporting_instance: str = ""


@dataclass(frozen=True, slots=True)
class EndpointAddress:
    ip: str
    hostname: str = ""
    node_name: str | None = None
    target_ref: ObjectReference | None = None


@dataclass(frozen=True, slots=True)
class EndpointsPort:
    port: int
    name: str = ""
    protocol: str = "TCP"
    app_protocol: str = ""


@dataclass(frozen=True, slots=True)
class EndpointSubset:
    addresses: tuple[EndpointAddress, ...] = ()
    not_ready_addresses: tuple[EndpointAddress, ...] = ()
    ports: tuple[EndpointsPort, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints(Object):
    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Endpoints"

    subsets: tuple[EndpointSubset, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigMap(Object):
    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "ConfigMap"

    data: Mapping[str, str] = EMPTY
    binary_data: Mapping[str, str] = EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret(Object):
    """``data`` is in base64, as in the API; what a file has as ``stringData`` is in it."""

    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Secret"

    data: Mapping[str, str] = EMPTY
    type: str = "Opaque"

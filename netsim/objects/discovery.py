"""The discovery.k8s.io/v1 objects that netsim models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from netsim.objects.core import ObjectReference
from netsim.objects.meta import EMPTY, Object

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"
SLICE_CONTROLLER = "endpointslice-controller.k8s.io"
TOPOLOGY_MODE = ("service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints")
"""The annotation of a Service that asks for hints by the zones' CPUs, and its older name."""


@dataclass(frozen=True, slots=True)
class EndpointConditions:
    """None is "unknown": consumers read it as ready, serving, and not terminating."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    addresses: tuple[str, ...]
    conditions: EndpointConditions = EndpointConditions()
    hostname: str | None = None
    node_name: str | None = None
    zone: str | None = None
    target_ref: ObjectReference | None = None
    rest: Mapping[str, Any] = EMPTY


@dataclass(frozen=True, slots=True)
class EndpointPort:
    """``port`` None means all ports; an absent ``name`` is the empty string."""

    name: str = ""
    port: int | None = None
    protocol: str = "TCP"
    app_protocol: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSlice(Object):
    api_version: ClassVar[str] = "discovery.k8s.io/v1"
    kind: ClassVar[str] = "EndpointSlice"

    address_type: str = "IPv4"
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()

    @property
    def service_name(self) -> str:
        """The Service that this slice belongs to, or the empty string."""
        return self.metadata.labels.get(SERVICE_NAME_LABEL, "")

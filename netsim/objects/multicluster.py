"""The Service of several clusters (multicluster.x-k8s.io/v1alpha1, KEP-1645), as its controllers import it.

It is a custom resource: nothing is defaulted or validated here, and it is no kind of ``codec``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from netsim.objects.codec import value_from_document
from netsim.objects.core import ServicePort
from netsim.objects.meta import EMPTY, Object, ObjectMeta

SERVICE_NAME_LABEL = "multicluster.kubernetes.io/service-name"
CLUSTER_LABEL = "multicluster.kubernetes.io/source-cluster"


@dataclass(frozen=True, slots=True)
class ServiceImportSpec:
    """``type`` is ClusterSetIP, with ``ips``, or Headless."""

    type: str = ""
    ips: tuple[str, ...] = ()
    ports: tuple[ServicePort, ...] = ()
    rest: Mapping[str, Any] = EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceImport(Object):
    api_version: ClassVar[str] = "multicluster.x-k8s.io/v1alpha1"
    kind: ClassVar[str] = "ServiceImport"

    spec: ServiceImportSpec = ServiceImportSpec()


def service_import(document: Mapping[str, Any]) -> ServiceImport:
    """The object that a document describes."""
    spec = document.get("spec", {})
    return ServiceImport(
        metadata=value_from_document(ObjectMeta, document["metadata"]),
        spec=ServiceImportSpec(
            type=spec.get("type", ""),
            ips=tuple(spec.get("ips", ())),
            ports=tuple(value_from_document(ServicePort, port) for port in spec.get("ports", ())),
        ),
    )

"""envvar-cases.json: Services and a Pod, and the variables of its container."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from netsim.base.errors import PodStartError
from netsim.kubelet.environment import (
    SOURCE_ANNOTATION,
    container_environment,
    service_environment,
    visible_services,
)
from netsim.objects.codec import object_from_document, value_from_document
from netsim.objects.core import Container, Pod, PodSpec, Service
from netsim.objects.meta import ObjectMeta
from tests.conformance.case import Case, Difference, compare

Json = Mapping[str, Any]


def cases(content: Sequence[Json]) -> Iterator[Case]:
    """One case per Pod."""
    for number, case in enumerate(content, 1):
        yield Case(f"environment/{number}", case["id"], partial(_run, case))


def _service(item: Json) -> Service:
    ports = [{"protocol": "TCP", **port} for port in item["ports"]]
    spec = {"type": item.get("type", "ClusterIP"), "clusterIP": item["clusterIP"], "ports": ports}
    metadata = {"name": item["name"], "namespace": item["namespace"]}
    found = object_from_document({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
    assert isinstance(found, Service)
    return found


def _run(case: Json) -> list[Difference]:
    services = [_service(item) for item in case["services"]]
    space, links = case["pod_namespace"], case["enable_service_links"]
    annotations = {SOURCE_ANNOTATION: "file"} if case.get("static_pod") else {}
    pod = Pod(
        metadata=ObjectMeta(name="web-0", namespace=space, annotations=annotations),
        spec=PodSpec(enable_service_links=links),
    )
    container = value_from_document(Container, {"name": "app", "env": list(case["container_env"])})
    error = None
    environment: dict[str, str] = {}
    try:
        read = services if case.get("services_synced", True) else None
        environment = container_environment(pod, container, read)
    except PodStartError as refused:
        error = refused.message.removeprefix("Error: ")
    found = compare("error", case.get("expect_error"), error)
    if "expect_env" in case:
        found += compare("environment", case["expect_env"], environment)
    if "expect_env_ordered" in case:
        ordered = [list(pair) for pair in service_environment(services).items()]
        found += compare("order of the Services' variables", case["expect_env_ordered"], ordered)
    if "visible_services" in case:
        visible = sorted(
            f"{service.metadata.namespace}/{service.metadata.name}"
            for service in visible_services(services, space, links)
        )
        found += compare("visible Services", case["visible_services"], visible)
    return found

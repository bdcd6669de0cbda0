"""Documents and objects are two forms of one thing: nothing is lost on the way."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from netsim.base.errors import Source
from netsim.objects import known_fields
from netsim.objects.apps import Deployment, ReplicaSet
from netsim.objects.codec import (
    KINDS,
    class_of_kind,
    document_from_object,
    key_from_name,
    object_from_document,
    render_time,
    time_from_text,
    value_from_document,
)
from netsim.objects.core import Container, ContainerStatus, Pod, PodSpec, PodStatus, Service, ServiceSpec
from netsim.objects.discovery import EndpointPort, EndpointSlice
from netsim.objects.meta import EMPTY, Object, ObjectMeta
from tests.objects.strategies import objects

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "dev", "labels": {"app": "web"}},
    "spec": {
        "replicas": 0,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "containers": [
                    {
                        "name": "web",
                        "image": "nginx",
                        "ports": [{"containerPort": 80, "name": "http", "protocol": "TCP"}],
                        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                    }
                ],
                "restartPolicy": "Always",
                "terminationGracePeriodSeconds": 0,
                "dnsPolicy": "ClusterFirst",
                "dnsConfig": {"options": [{"name": "ndots", "value": ""}]},
                "enableServiceLinks": False,
                "volumes": [{"name": "data", "emptyDir": {}}],
            },
        },
        "strategy": {"type": "Recreate"},
    },
}


@given(objects(with_rest=True))
def test_an_object_survives_its_document(item: Object) -> None:
    document = json.loads(json.dumps(document_from_object(item)))
    assert object_from_document(document) == item


@given(objects(with_rest=False))
def test_every_field_has_the_name_and_the_type_that_kubernetes_gives_it(item: Object) -> None:
    _, mistakes = known_fields.conform(document_from_object(item))
    assert mistakes == []


def test_a_document_survives_its_object() -> None:
    assert document_from_object(object_from_document(DEPLOYMENT)) == DEPLOYMENT


def test_fields_that_no_class_names_are_kept_where_they_were() -> None:
    item = object_from_document(DEPLOYMENT)
    assert isinstance(item, Deployment)
    assert item.spec.rest == {"strategy": {"type": "Recreate"}}
    assert item.spec.template.spec.rest == {"volumes": [{"name": "data", "emptyDir": {}}]}


def test_the_source_comes_along_and_does_not_count_in_comparisons() -> None:
    source = Source("web.yaml", 1, 1)
    item = object_from_document(DEPLOYMENT, source)
    assert item.source == source
    assert item == object_from_document(DEPLOYMENT)


def test_null_is_absent() -> None:
    spec = value_from_document(ServiceSpec, {"clusterIP": None, "ports": None, "loadBalancerIP": None})
    assert spec == ServiceSpec()


def test_an_unknown_field_of_a_class_that_keeps_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="PodDNSConfig has no field 'nameserver'"):
        value_from_document(PodSpec, {"dnsConfig": {"nameserver": []}})


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("name", "name"),
        ("api_version", "apiVersion"),
        ("pod_cidr", "podCIDR"),
        ("pod_cidrs", "podCIDRs"),
        ("cluster_ip", "clusterIP"),
        ("cluster_ips", "clusterIPs"),
        ("pod_ip", "podIP"),
        ("host_ip", "hostIP"),
        ("external_ips", "externalIPs"),
        ("ip_families", "ipFamilies"),
        ("ip", "ip"),
        ("dns_policy", "dnsPolicy"),
        ("set_hostname_as_fqdn", "setHostnameAsFQDN"),
    ],
)
def test_names_in_documents(name: str, key: str) -> None:
    assert key_from_name(name) == key


@pytest.mark.parametrize(
    ("item", "path", "value"),
    [
        (ReplicaSet(), ("status", "replicas"), 0),
        (EndpointSlice(ports=(EndpointPort(port=80),)), ("ports", 0, "name"), ""),
        (
            Pod(status=PodStatus(container_statuses=(ContainerStatus("web"),))),
            ("status", "containerStatuses", 0, "restartCount"),
            0,
        ),
        (Service(), ("spec", "sessionAffinity"), "None"),
    ],
)
def test_what_the_api_always_prints_is_there(item: Object, path: tuple[Any, ...], value: object) -> None:
    found: Any = document_from_object(item)
    for step in path:
        found = found[step]
    assert found == value


def test_what_is_empty_is_left_out() -> None:
    document = document_from_object(Pod(metadata=ObjectMeta(name="x"), spec=PodSpec(hostname="")))
    assert document["metadata"] == {"name": "x"}
    assert "hostname" not in document["spec"]
    assert "tolerations" not in document["spec"]


def test_times_are_rfc_3339_in_documents_and_virtual_seconds_in_objects() -> None:
    document = document_from_object(Pod(metadata=ObjectMeta(name="x", creation_timestamp=65.9)))
    assert document["metadata"]["creationTimestamp"] == "2026-01-01T00:01:05Z"
    assert object_from_document(document).metadata.creation_timestamp == 65.0
    assert time_from_text(render_time(3600.0)) == 3600.0


def test_a_resource_version_is_text_in_documents() -> None:
    document = document_from_object(Pod(metadata=ObjectMeta(name="x", resource_version=7)))
    assert document["metadata"]["resourceVersion"] == "7"
    assert object_from_document(document).metadata.resource_version == 7


@pytest.mark.parametrize("cls", KINDS, ids=lambda cls: cls.kind)
def test_every_kind_is_found_by_its_name(cls: type[Object]) -> None:
    assert class_of_kind(cls.api_version, cls.kind) is cls
    assert known_fields.is_built_in(cls.api_version, cls.kind)
    assert known_fields.is_namespaced(cls.kind) is cls.namespaced


def test_a_kind_at_another_version_is_not_found() -> None:
    assert class_of_kind("v1", "Deployment") is None


def test_the_shared_empty_mapping_stays_empty() -> None:
    with pytest.raises(TypeError, match="must stay empty"):
        EMPTY["x"] = 1  # type: ignore[index]  # a Mapping cannot be assigned to; this one is a dict inside
    with pytest.raises(TypeError, match="must stay empty"):
        EMPTY.setdefault("x", 1)  # type: ignore[attr-defined]
    assert Container("a").rest == {}

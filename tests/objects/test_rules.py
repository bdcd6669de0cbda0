"""Limits and forms that take more than a line to write down, and what is read although it looks odd."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from netsim.base.errors import ManifestError, UsageError
from netsim.objects.core import Pod
from netsim.objects.field_errors import FieldErrors
from netsim.objects.known_fields import built_in_kinds, conform, versions_of
from netsim.objects.manifest import load
from netsim.objects.rules import endpoints, meta, names, pod
from netsim.objects.spelling import did_you_mean

POD: dict[str, Any] = {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst"}


def messages(errors: FieldErrors) -> list[str]:
    return [error.message for error in errors.items]


def test_a_slice_has_a_thousand_endpoints_at_most() -> None:
    errors = FieldErrors()
    document = {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}] * 1001}
    endpoints.check_endpoint_slice(document, errors)
    assert messages(errors) == ["endpoints: Too many: 1001: must have at most 1000 items"]


def test_an_endpoint_has_a_hundred_addresses_at_most() -> None:
    errors = FieldErrors()
    document = {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"] * 101}]}
    endpoints.check_endpoint_slice(document, errors)
    assert messages(errors) == ["endpoints[0].addresses: Too many: 101: must have at most 100 items"]


def test_addresses_of_type_fqdn_are_names() -> None:
    errors = FieldErrors()
    document = {"addressType": "FQDN", "endpoints": [{"addresses": ["db.example.com"]}]}
    endpoints.check_endpoint_slice(document, errors)
    assert messages(errors) == []


def test_annotations_have_a_quarter_of_a_mebibyte() -> None:
    errors = FieldErrors()
    meta.check_annotations({"a": "x" * 256 * 1024}, ("metadata", "annotations"), errors)
    assert messages(errors) == ["metadata.annotations: Too long: may not be more than 262144 bytes"]


def test_a_config_map_has_a_mebibyte() -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: big}\ndata: {a: %s}\n" % (
        "x" * (1024 * 1024 + 1)
    )
    with pytest.raises(ManifestError, match="data: Too long: may not be more than 1048576 bytes"):
        load([text])


@pytest.mark.parametrize(
    ("searches", "detail"),
    [
        (["a"] * 33, "must not have more than 32 search paths"),
        (
            ["a" * 63 + "." + "b" * 63] * 17,
            "must not have more than 2048 characters (including spaces) in the search list",
        ),
    ],
)
def test_a_search_list_has_limits(searches: list[str], detail: str) -> None:
    errors = FieldErrors()
    spec = {**POD, "dnsConfig": {"searches": searches}, "containers": []}
    pod.check_pod_spec(spec, ("spec",), errors, is_pod=True)
    assert any(message.endswith(detail) for message in messages(errors))


@pytest.mark.parametrize(
    ("expression", "labels", "matches"),
    [
        ({"operator": "In", "values": ["a", "b"]}, {"key": "b"}, True),
        ({"operator": "In", "values": ["a", "b"]}, {}, False),
        ({"operator": "NotIn", "values": ["a"]}, {"key": "b"}, True),
        ({"operator": "NotIn", "values": ["a"]}, {}, True),
        ({"operator": "NotIn", "values": ["a"]}, {"key": "a"}, False),
        ({"operator": "Exists"}, {"key": ""}, True),
        ({"operator": "Exists"}, {}, False),
        ({"operator": "DoesNotExist"}, {}, True),
        ({"operator": "DoesNotExist"}, {"key": "a"}, False),
    ],
)
def test_selector_expressions(expression: dict[str, Any], labels: dict[str, str], matches: bool) -> None:
    selector = {"matchExpressions": [{"key": "key", **expression}]}
    assert meta.selector_matches(selector, labels) is matches


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("010.000.0.08", "10.0.0.8"),
        ("::1", "::1"),
        ("10.0.0.256", None),
        ("1.2.3", None),
    ],
)
def test_zeros_in_front_of_an_addresss_numbers_do_not_count(text: str, address: str | None) -> None:
    found = names.sloppy_address(text)
    assert (None if found is None else str(found)) == address


def test_a_link_local_multicast_address_of_ipv6_is_no_endpoint() -> None:
    (wrong,) = names.endpoint_address("ff02::1")
    assert wrong == "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"


def test_null_is_absent_and_in_a_list_it_is_empty_as_in_go() -> None:
    document, mistakes = conform(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "a", "creationTimestamp": None, "labels": {"x": None}},
            "spec": {"containers": [None], "dnsConfig": {"searches": [None]}},
        }
    )
    assert mistakes == []
    assert document["metadata"] == {"name": "a", "labels": {"x": ""}}
    assert document["spec"] == {"containers": [{}], "dnsConfig": {"searches": [""]}}


def test_quantities_are_text_or_numbers() -> None:
    limits = {"cpu": 1, "memory": "1Gi", "example.com/x": 0.5}
    container = {"name": "a", "image": "b", "resources": {"limits": limits}}
    _, mistakes = conform({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [container]}})
    assert mistakes == []


def test_requests_are_the_limits_unless_they_are_said() -> None:
    resources = "{limits: {cpu: 2, memory: 1Gi}, requests: {cpu: 1}}"
    spec = f"{{containers: [{{name: a, image: b, resources: {resources}}}]}}"
    (item,) = load([f"apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {spec}\n"]).objects
    assert isinstance(item, Pod)
    assert item.spec.containers[0].rest["resources"]["requests"] == {"cpu": 1, "memory": "1Gi"}


def test_every_kind_that_is_warned_of_is_a_kind() -> None:
    from netsim.objects import unmodelled

    assert set(unmodelled.KINDS) <= set(built_in_kinds())


def test_the_newest_version_of_a_kind_comes_first() -> None:
    assert versions_of("HorizontalPodAutoscaler") == ["autoscaling/v2", "autoscaling/v1"]
    assert versions_of("Event") == ["v1", "events.k8s.io/v1"]
    assert versions_of("Foo") == []


@pytest.mark.parametrize(
    ("word", "hint"),
    [("replica", "replicas"), ("ContainerPort", "containerPort"), ("imge", "image"), ("zzz", ""), ("", "")],
)
def test_the_nearest_word(word: str, hint: str) -> None:
    wanted = f'did you mean "{hint}"?' if hint else ""
    assert did_you_mean(word, ["replicas", "containerPort", "image", "selector"]) == wanted


def test_a_file_that_cannot_be_read_is_a_wrong_call() -> None:
    path = Path("/proc/self/mem")  # reading its beginning is an input/output error, even for root
    with pytest.raises(UsageError, match="cannot read /proc/self/mem: Input/output error"):
        load([path])

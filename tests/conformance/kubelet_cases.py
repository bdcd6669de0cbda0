"""kubelet-dns-cases.json: a Pod and its node, and the Pod's resolv.conf, or its hostname and /etc/hosts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from netsim.kubelet.files import hosts_file, pod_hostname, pod_names
from netsim.objects.codec import object_from_document
from netsim.objects.core import Pod
from netsim.resolver.resolvconf import pod_resolv_conf
from tests.conformance.case import Case, Difference, compare

Json = Mapping[str, Any]


def cases(content: Sequence[Json]) -> Iterator[Case]:
    """One case per Pod."""
    counts: dict[str, int] = {}
    for case in content:
        kind = case.get("kind", "resolv.conf")
        counts[kind] = counts.get(kind, 0) + 1
        run = _hosts if kind == "hosts" else _resolv_conf
        yield Case(f"{kind}/{counts[kind]}", case["id"], partial(run, case))


def _pod(case: Json) -> Pod:
    document = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": case.get("pod_name", "web-0"), "namespace": case["namespace"], "uid": "u"},
        "spec": {"dnsPolicy": "ClusterFirst", "nodeName": "<node name>", **case.get("pod_spec", {})},
        "status": {"podIPs": [{"ip": address} for address in case.get("pod_ips", ())]},
    }
    pod = object_from_document(document)
    assert isinstance(pod, Pod)
    return pod


def _resolv_conf(case: Json) -> list[Difference]:
    expected = case["expect_resolv_conf"]
    got = pod_resolv_conf(
        _pod(case),
        case["node_resolv_conf"] or None,
        case["cluster_dns"],
        case["cluster_domain"],
        node_ips=case.get("node_ips", ()),
    )
    order = sorted if expected["options_unordered"] else list
    events = [
        event.reason if event.reason == "MissingClusterDNS" else f"{event.reason}: {event.message}"
        for event in got.events
    ]
    found = compare("nameservers", expected["nameservers"], list(got.nameservers))
    found += compare("searches", expected["searches"], list(got.searches))
    found += compare("options", order(expected["options"]), order(got.options))
    found += compare("events", expected["events"], events)
    if not expected["options_unordered"]:
        found += compare("text", expected["text"], got.text)
    return found


def _hosts(case: Json) -> list[Difference]:
    pod, domain = _pod(case), case["cluster_domain"]
    found = compare(
        "/etc/hosts", case["expect_etc_hosts"], hosts_file(pod, domain, case.get("node_etc_hosts", ""))
    )
    found += compare("hostname", case["expect_hostname"], pod_hostname(pod, domain))
    if "expect_fqdn" in case:
        found += compare("FQDN", case["expect_fqdn"], pod_names(pod, domain).fqdn)
    return found

"""The hostname and the hosts file of a Pod."""

from __future__ import annotations

from typing import Any

import pytest

from netsim.base.errors import PodStartError
from netsim.kubelet.files import hosts_file, pod_hostname, pod_names
from netsim.objects.core import HostAlias, Pod, PodIP, PodSpec, PodStatus
from netsim.objects.meta import ObjectMeta

STANDING = """\
# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""


def pod(name: str = "web-0", ips: tuple[str, ...] = ("10.244.1.5",), **spec: Any) -> Pod:
    return Pod(
        metadata=ObjectMeta(name=name, namespace="dev"),
        spec=PodSpec(node_name="node1", **spec),
        status=PodStatus(pod_ips=tuple(PodIP(ip) for ip in ips)),
    )


def test_a_pod_knows_its_own_name() -> None:
    assert hosts_file(pod(), "cluster.local") == f"{STANDING}10.244.1.5\tweb-0\n"


def test_a_subdomain_gives_a_full_name_for_each_address() -> None:
    text = hosts_file(pod(ips=("10.244.1.5", "fd00::5"), subdomain="ent"), "cluster.local")
    full = "web-0.ent.dev.svc.cluster.local\tweb-0"
    assert text == f"{STANDING}10.244.1.5\t{full}\nfd00::5\t{full}\n"


def test_host_aliases_follow_behind_a_comment() -> None:
    aliases = (HostAlias("192.0.2.5", ("a", "b.example")), HostAlias("192.0.2.5", ("c",)))
    assert hosts_file(pod(host_aliases=aliases), "cluster.local") == (
        f"{STANDING}10.244.1.5\tweb-0\n\n"
        "# Entries added by HostAliases.\n192.0.2.5\ta\tb.example\n192.0.2.5\tc\n"
    )


def test_a_host_network_pod_has_the_nodes_file_and_name() -> None:
    shared = pod(host_network=True, host_aliases=(HostAlias("192.0.2.5", ("a",)),))
    assert hosts_file(shared, "cluster.local", "127.0.0.1\tlocalhost\n") == (
        "# Kubernetes-managed hosts file (host network).\n127.0.0.1\tlocalhost\n\n"
        "# Entries added by HostAliases.\n192.0.2.5\ta\n"
    )
    assert pod_hostname(shared, "cluster.local") == "node1"


@pytest.mark.parametrize(
    ("name", "spec", "hostname"),
    [
        ("web-0", {}, "web-0"),
        ("web-0", {"hostname": "alpha"}, "alpha"),
        ("web-0", {"subdomain": "ent"}, "web-0"),
        ("web-0", {"subdomain": "ent", "set_hostname_as_fqdn": True}, "web-0.ent.dev.svc.cluster.local"),
        ("web-0", {"set_hostname_as_fqdn": True}, "web-0"),
        ("web.v2.example", {}, "web.v2.example"),
        ("a" * 62 + "-b", {}, "a" * 62),
        ("a" * 61 + ".-" + "b" * 9, {}, "a" * 61),
        ("web-0", {"rest": {"hostnameOverride": "other"}, "subdomain": "ent"}, "other"),
    ],
)
def test_the_hostname(name: str, spec: dict[str, Any], hostname: str) -> None:
    assert pod_hostname(pod(name, **spec), "cluster.local") == hostname


def test_the_full_name() -> None:
    assert pod_names(pod(subdomain="ent"), "k8s.example").fqdn == "web-0.ent.dev.svc.k8s.example"
    assert pod_names(pod(), "k8s.example").fqdn == "web-0"


def test_a_full_name_above_64_characters_cannot_be_the_hostname() -> None:
    fits = pod("a" * 34, subdomain="ent", set_hostname_as_fqdn=True)
    too_long = pod("a" * 39, subdomain="ent", set_hostname_as_fqdn=True)
    assert len(pod_hostname(fits, "cluster.local")) == 60
    with pytest.raises(PodStartError) as caught:
        pod_hostname(too_long, "cluster.local")
    assert str(caught.value) == (
        "FailedCreatePodSandBox: Failed to create pod sandbox: failed to construct FQDN from pod hostname "
        f"and cluster domain, FQDN {'a' * 39}.ent.dev.svc.cluster.local is too long (64 characters is the "
        "max, 65 characters requested)"
    )

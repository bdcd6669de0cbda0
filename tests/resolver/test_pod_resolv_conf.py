"""The resolv.conf that the kubelet gives a Pod: policies, dnsConfig, limits, Events."""

from __future__ import annotations

import pytest

from netsim.base.errors import PodStartError
from netsim.objects.core import DNSConfigOption, Pod, PodDNSConfig, PodSpec
from netsim.objects.meta import ObjectMeta
from netsim.resolver.resolvconf import PodResolvConf, pod_resolv_conf

NODE_FILE = "nameserver 192.0.2.53\nsearch corp.example\noptions timeout:1 rotate\n"
CLUSTER_TEXT = """\
search dev.svc.cluster.local svc.cluster.local cluster.local corp.example
nameserver 10.96.0.10
options ndots:5
"""
NODE_TEXT = "search corp.example\nnameserver 192.0.2.53\noptions timeout:1 rotate\n"


def conf(
    policy: str = "ClusterFirst",
    config: PodDNSConfig | None = None,
    *,
    host_network: bool = False,
    node_file: str | None = NODE_FILE,
    cluster_dns: tuple[str, ...] = ("10.96.0.10",),
    domain: str = "cluster.local",
    node_ips: tuple[str, ...] = (),
) -> PodResolvConf:
    spec = PodSpec(dns_policy=policy, dns_config=config, host_network=host_network)
    pod = Pod(metadata=ObjectMeta(name="web-0", namespace="dev", uid="u-1"), spec=spec)
    return pod_resolv_conf(pod, node_file, cluster_dns, domain, node_ips=node_ips)


@pytest.mark.parametrize(
    ("policy", "host_network", "text"),
    [
        ("ClusterFirst", False, CLUSTER_TEXT),
        ("ClusterFirst", True, NODE_TEXT),
        ("ClusterFirstWithHostNet", True, CLUSTER_TEXT),
        ("Default", False, NODE_TEXT),
        ("None", False, ""),
        ("Bogus", False, CLUSTER_TEXT),
        ("Bogus", True, CLUSTER_TEXT),
    ],
)
def test_the_policy_chooses_the_file(policy: str, host_network: bool, text: str) -> None:
    assert conf(policy, host_network=host_network).text == text


def test_a_node_domain_of_the_cluster_is_not_repeated() -> None:
    assert conf(node_file="search svc.cluster.local x.example\n").searches == (
        "dev.svc.cluster.local",
        "svc.cluster.local",
        "cluster.local",
        "x.example",
    )


def test_without_a_cluster_domain_only_the_nodes_is_searched() -> None:
    assert conf(domain="").searches == ("corp.example",)


def test_without_cluster_dns_the_node_serves_and_an_event_says_so() -> None:
    missing = conf(cluster_dns=())
    assert missing.text == NODE_TEXT
    (event,) = missing.events
    assert event.reason == "MissingClusterDNS"
    assert event.message == (
        'pod: "web-0_dev(u-1)". kubelet does not have ClusterDNS IP configured and cannot create Pod using '
        '"ClusterFirst" policy. Falling back to "Default" policy.'
    )


@pytest.mark.parametrize(
    ("node_ips", "nameservers"),
    [((), ("127.0.0.1",)), (("192.0.2.1", "fd00::1"), ("127.0.0.1", "::1")), (("fd00::1",), ("::1",))],
)
def test_an_empty_resolv_conf_flag_points_at_loopback(
    node_ips: tuple[str, ...], nameservers: tuple[str, ...]
) -> None:
    default = conf("Default", node_file=None, node_ips=node_ips)
    assert (default.nameservers, default.searches) == (nameservers, (".",))
    assert conf(node_file=None).searches == ("dev.svc.cluster.local", "svc.cluster.local", "cluster.local")


def test_dns_config_is_appended_and_its_options_win() -> None:
    config = PodDNSConfig(
        nameservers=("10.96.0.10", "10.96.0.11"),
        searches=("cluster.local", "my.example", "corp.example."),
        options=(DNSConfigOption("ndots", "2"), DNSConfigOption("edns0")),
    )
    assert conf(config=config).text == (
        "search dev.svc.cluster.local svc.cluster.local cluster.local corp.example my.example corp.example.\n"
        "nameserver 10.96.0.10\nnameserver 10.96.0.11\n"
        "options ndots:2 edns0\n"
    )


def test_a_merged_option_without_a_value_loses_its_colon() -> None:
    node_file = "nameserver 192.0.2.53\noptions attempts:\n"
    assert conf("Default", node_file=node_file).options == ("attempts:",)
    assert conf("Default", PodDNSConfig(), node_file=node_file).options == ("attempts",)


def test_policy_none_takes_dns_config_alone_and_adds_no_ndots() -> None:
    config = PodDNSConfig(nameservers=("1.1.1.1",), searches=("my.example",))
    assert conf("None", config).text == "search my.example\nnameserver 1.1.1.1\n"


def test_the_nodes_file_is_read_as_the_kubelet_reads_it() -> None:
    node_file = (
        " # a comment\n\tnameserver 192.0.2.1 # behind\ndomain ignored.example\nsortlist 10.0.0.0/8\n"
        "search first.example\n search a.example. . b.example # main\n"
        "options ndots:1\noptions ndots:3 edns0\n"
    )
    assert conf("Default", node_file=node_file).text == (
        "search a.example b.example # main\nnameserver 192.0.2.1\noptions ndots:3 edns0\n"
    )


def test_a_nameserver_line_without_an_address_keeps_pods_from_starting() -> None:
    with pytest.raises(PodStartError) as caught:
        conf(node_file="nameserver\n")
    assert caught.value.reason == "FailedCreatePodSandBox"
    assert caught.value.message == "Failed to create pod sandbox: nameserver list is empty"


def test_the_fourth_nameserver_is_left_out_with_an_event() -> None:
    four = conf("None", PodDNSConfig(nameservers=("1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4")))
    assert four.nameservers == ("1.1.1.1", "1.1.1.2", "1.1.1.3")
    (event,) = four.events
    assert event.reason == "DNSConfigForming"
    assert event.message == (
        "Nameserver limits were exceeded, some nameservers have been omitted, "
        "the applied nameserver line is: 1.1.1.1 1.1.1.2 1.1.1.3"
    )


def test_search_limits_are_32_domains_253_characters_each_and_2048_in_all() -> None:
    def searched(*domains: str) -> PodResolvConf:
        return conf("None", PodDNSConfig(searches=domains))

    assert searched(*(f"d{n}" for n in range(32))).events == ()
    many = searched(*(f"d{n}" for n in range(33)))
    assert len(many.searches) == 32
    assert many.events[0].message.startswith("Search Line limits were exceeded, some search paths have been ")
    assert searched("a", "b" * 253, "c").searches == ("a", "b" * 253, "c")
    assert searched("a", "b" * 254, "c").searches == ("a", "c")
    letters = "abcdefghijklmnop"
    exact = tuple(letter * 127 for letter in letters)  # 16 * 127 + 15 blanks = 2047
    assert searched(*exact).events == ()
    assert searched(*exact, "q").searches == exact


def test_an_empty_result_is_the_nodes_file_copied() -> None:
    assert conf("None").written(NODE_FILE) == NODE_FILE
    assert conf().written(NODE_FILE) == CLUSTER_TEXT

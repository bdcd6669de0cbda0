"""The nftables rendering: names and texts as kube-proxy and nft have them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network

import pytest

from netsim.plan.entries import PodTraffic
from netsim.proxy.proxier import Proxier
from netsim.proxy.render_nftables import endpoint_chain, render_nftables, service_chain
from netsim.proxy.settings import NFTABLES, ProxySettings
from tests.proxy.test_render_iptables import PLACE, SETTINGS, policies, port_called, small_cluster

NFT = SETTINGS._replace(mode=NFTABLES, service_cidrs=(IPv4Network("10.96.0.0/16"),))
OWN = (IPv4Address("192.168.10.11"), IPv4Address("10.244.1.1"))


def rendered(proxier: Proxier, settings: ProxySettings = NFT, pods: PodTraffic | None = PLACE.pods) -> str:
    return render_nftables(proxier.service_ports(), settings, PLACE._replace(pods=pods), OWN)


@pytest.mark.parametrize(
    ("name", "target", "chain"),
    [
        pytest.param("ns1/svc1:p80", "", "service-ULMVA6XW-ns1/svc1/tcp/p80", id="service"),
        pytest.param(
            "ns1/svc1:p80",
            "10.180.0.1:80",
            "endpoint-5OJB2KTY-ns1/svc1/tcp/p80__10.180.0.1/80",
            id="endpoint",
        ),
        pytest.param(
            "ns1/svc1:p80",
            "[fd00:10:180::1]:80",
            re.compile(r"endpoint-[A-Z2-7]{8}-ns1/svc1/tcp/p80__fd00\.10\.180\.\.1/80"),
            id="endpoint of IPv6",
        ),
    ],
)
def test_chains_have_the_names_that_every_cluster_has(
    name: str, target: str, chain: str | re.Pattern[str]
) -> None:
    port = port_called(name)
    got = endpoint_chain(port, target) if target else service_chain(port)
    assert got == chain if isinstance(chain, str) else chain.fullmatch(got)


def test_long_names_are_cut() -> None:
    port = port_called(f"{'n' * 63}/{'s' * 63}:{'p' * 63}")
    target = "[2001:db8:1111:2222:3333:4444:5555:6666]:65535"
    assert len(endpoint_chain(port, target)) == len("endpoint-") + 240
    assert endpoint_chain(port, target).endswith("...")


def test_a_small_cluster(golden: Callable[[str, str], None]) -> None:
    golden("nftables-small-cluster.txt", rendered(small_cluster()))


def test_policies_source_ranges_and_affinity(golden: Callable[[str, str], None]) -> None:
    golden("nftables-policies.txt", rendered(policies()))


def test_a_cluster_without_services_at_every_address(golden: Callable[[str, str], None]) -> None:
    golden("nftables-empty.txt", rendered(Proxier(NFT), NFT._replace(node_port_addresses=("0.0.0.0/0",))))


@pytest.mark.parametrize(
    ("pods", "outsiders", "insiders"),
    [
        (PodTraffic(SETTINGS.cluster_cidr), "ip saddr != 10.244.0.0/16 jump", "ip saddr 10.244.0.0/16 goto"),
        (PodTraffic(device="lo"), 'iif != "lo" jump', 'iif "lo" goto'),
        (PodTraffic(device="veth+"), 'iifname != "veth*" jump', 'iifname "veth*" goto'),
    ],
    ids=["source", "bridge", "prefix"],
)
def test_pods_are_told_by_source_or_interface(pods: PodTraffic, outsiders: str, insiders: str) -> None:
    text = rendered(policies(), pods=pods)
    assert text.count(outsiders) == 4, "of the four Services that a ClusterIP leads to endpoints of"
    assert text.count(insiders) == 2, "of the two Services with endpoints and policy Local outside"


def in_order(text: str) -> str:
    """The text with the elements of each set in the order of their texts."""

    def ordered(found: re.Match[str]) -> str:
        return " | ".join(sorted(re.split(r",\s+", found.group(1))))

    return re.sub(r"elements = \{ ([^}]*) \}", ordered, text)


@pytest.mark.needs("nft", "unshare", "root", "netns")
@pytest.mark.parametrize(
    "make", [small_cluster, policies, lambda: Proxier(NFT)], ids=["small", "policies", "empty"]
)
@pytest.mark.parametrize(
    "where", [(), ("0.0.0.0/0",), ("192.168.10.0/24", "10.0.0.0/8")], ids=["own", "all", "some"]
)
def test_the_kernel_takes_the_rules_and_prints_them_back_unchanged(
    make: Callable[[], Proxier], where: tuple[str, ...]
) -> None:
    text = rendered(make(), NFT._replace(node_port_addresses=where))
    script = f"nft -c -f - <<'EOF' && nft -f - <<'EOF' && nft list ruleset\n{text}EOF\n{text}EOF\n"
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", script],
        env={**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert in_order(done.stdout) == in_order(text)

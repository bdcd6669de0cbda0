"""Names of hosts and interfaces fit Linux and do not collide."""

from __future__ import annotations

import re

import pytest

from netsim.cni.names import INTERFACE_NAME_LIMIT, host_veth, interface_mac, node_host, pod_host, switch_port


def test_a_pods_host_is_named_as_kubectl_users_name_the_pod() -> None:
    assert pod_host("dev", "jump") == "dev/jump"
    assert node_host("node1") == "node1"


def test_the_nodes_end_of_a_pods_veth_is_named_as_the_bridge_plugin_does() -> None:
    assert re.fullmatch("veth[0-9a-f]{8}", host_veth(pod_host("dev", "jump")))
    assert host_veth(pod_host("dev", "jump")) != host_veth(pod_host("prod", "jump"))


@pytest.mark.parametrize("host", ["node1", "router", "www.example.com"])
def test_a_switch_port_is_named_after_a_host_whose_name_fits(host: str) -> None:
    assert switch_port(host) == host


@pytest.mark.parametrize("host", ["ip-10-0-0-17.eu-west-1.compute.internal", "br0", "lo"])
def test_other_switch_ports_have_a_hash(host: str) -> None:
    name = switch_port(host)
    assert name != host
    assert len(name) <= INTERFACE_NAME_LIMIT
    assert re.fullmatch(r"[^/]+-[0-9a-f]{8}", name)


def test_macs_are_local_unicast_and_stable() -> None:
    mac = interface_mac("node1", "eth0")
    assert mac[0] & 0b11 == 0b10
    assert mac == interface_mac("node1", "eth0")
    assert mac != interface_mac("node2", "eth0")

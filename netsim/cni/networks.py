"""The Pod networks that a Topology may ask for by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from netsim.cni.bgp import BgpNetwork, bgp_settings
from netsim.cni.overlay import Overlay, overlay_settings
from netsim.cni.podnetwork import PodNetwork
from netsim.objects.topology import Topology

POD_NETWORKS: Mapping[str, Callable[[Topology], PodNetwork]] = {
    "overlay": lambda topology: Overlay(overlay_settings(topology)),
    "bgp": lambda topology: BgpNetwork(bgp_settings(topology)),
}


def pod_network(topology: Topology) -> PodNetwork:
    """The one that the Topology names; raises PlanError as ``fabric.node_addresses`` does."""
    return POD_NETWORKS[topology.networking.pod_network](topology)

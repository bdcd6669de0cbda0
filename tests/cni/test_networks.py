"""What every Pod network must keep: small deltas that add up to the plan from scratch."""

from __future__ import annotations

from ipaddress import IPv6Network

import pytest
from hypothesis import given

from netsim.cni.networks import POD_NETWORKS
from netsim.objects.meta import Object, ObjectRef
from netsim.objects.topology import DEFAULT_SUBNET, DEFAULT_SUBNET6, NETWORKS, Bgp, Networking, Topology
from tests.cni.world import Cluster, steps

SETTINGS = {
    "overlay": Networking(),
    "dual-stack": Networking(
        pod_subnet6=IPv6Network("fd00:10:244::/56"), service_subnet6=IPv6Network("fd00:10:96::/112")
    ),
    **{
        f"dual-stack {peering}": Networking(
            pod_network="bgp",
            bgp=Bgp(peering=peering),
            pod_subnet6=IPv6Network("fd00:10:244::/56"),
            service_subnet6=IPv6Network("fd00:10:96::/112"),
        )
        for peering in ("full-mesh", "route-reflector", "tor")
    },
    "full-mesh": Networking(pod_network="bgp"),
    "route-reflector": Networking(pod_network="bgp", bgp=Bgp(peering="route-reflector")),
    "tor": Networking(pod_network="bgp", bgp=Bgp(peering="tor")),
}


def test_every_network_that_a_topology_may_name_is_there() -> None:
    assert tuple(POD_NETWORKS) == NETWORKS


@pytest.mark.parametrize("networking", SETTINGS.values(), ids=SETTINGS)
@given(steps=steps)
def test_the_sum_of_the_deltas_is_the_plan_from_scratch(
    networking: Networking, steps: list[tuple[Object, int]]
) -> None:
    live: dict[ObjectRef, Object] = {}
    subnet = DEFAULT_SUBNET._replace(cidr6=DEFAULT_SUBNET6 if networking.dual_stack else None)
    topology = Topology(networking=networking, subnets=(subnet,))
    grown, fresh = Cluster(topology), Cluster(topology)
    for obj, coin in steps:
        before = dict(grown.plan.entries)
        old = live.get(obj.ref)
        if coin == 0 and old is not None:
            delta = grown.deleted(live.pop(obj.ref))
        else:
            delta = grown.modified(obj) if old is not None else grown.added(obj)
            live[obj.ref] = obj
        assert all(before.get(entry.key) != entry for entry in delta.put), "a put that changes nothing"
        assert all(key in before for key in delta.remove), "a removal of what does not stand"
    fresh.added(*reversed(live.values()))
    assert grown.plan == fresh.plan

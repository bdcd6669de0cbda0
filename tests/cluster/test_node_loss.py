"""What follows the loss of a node, and when: endpoints, DNS, kube-proxy's tables, and routes over BGP.

The limits are those of Kubernetes and BGP, as ``controllers.nodelifecycle`` and RFC 4271 have them: a node is
looked at every 5 s and lost 50 s after it was heard, which is every 10 s; a Pod tolerates that for 300 s; a
neighbour sends a KEEPALIVE within every third of the hold time, and is given up after that time in silence.
"""

from __future__ import annotations

from collections.abc import Callable

from netsim.cluster import Cluster, run
from netsim.cluster.network_tables import proxy
from netsim.controllers.nodelifecycle import HEARTBEAT_PERIOD, MONITOR_GRACE_PERIOD, MONITOR_PERIOD
from netsim.objects.core import Pod, Service
from netsim.plan.entries import HostName
from tests.cluster.sites import client, web
from tests.conftest import Combination

SITE = (
    web(replicas=4)
    + client("node1")
    + """
---
apiVersion: v1
kind: Service
metadata: {name: peers}
spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}
"""
)
LOST, OTHER = "node2", "node1"
TOLERATION = 300.0  # admission: DefaultTolerationSeconds
HOLD_TIME = 90.0  # RFC 4271 section 10
START = 1.0  # of a Pod


def endpoints(cluster: Cluster) -> set[str]:
    slices = cluster.store.slices_of(cluster.store.get(Service, "web", "default").ref)
    listed = [endpoint for piece in slices for endpoint in piece.endpoints if endpoint.conditions.ready]
    return {address for endpoint in listed for address in endpoint.addresses}


def answers(cluster: Cluster) -> set[str]:
    return {str(address) for address in cluster.pump(cluster.pod("client").resolve("peers")).addresses}


def in_the_tables(cluster: Cluster, addresses: set[str]) -> set[str]:
    text = proxy(cluster, HostName(OTHER))
    return {address for address in addresses if f"{address}:80" in text}


def way_there(cluster: Cluster, lost: str) -> bool:
    return any(route.destination == lost for route in cluster.plane.host(HostName(OTHER)).routes())


def after(cluster: Cluster, failed: float, reached: Callable[[], bool]) -> float:
    """Seconds from the failure until something is so."""
    assert cluster.plane.pump_until(reached, failed + 500.0)
    return cluster.now - failed


def test_endpoints_names_tables_and_routes_follow_within_the_times_of_kubernetes_and_bgp(
    combination: Combination,
) -> None:
    with run(SITE, **combination._asdict()) as cluster:
        dead = {
            pod.status.pod_ip
            for pod in cluster.store.list(Pod, "default")
            if pod.spec.node_name == LOST and pod.metadata.name.startswith("web")
        }
        alive = endpoints(cluster) - dead
        assert (len(dead), len(alive)) == (2, 2)
        (prefix,) = {f"{address.rpartition('.')[0]}.0/24" for address in dead}
        assert in_the_tables(cluster, dead) == dead <= answers(cluster)
        assert way_there(cluster, prefix)

        cluster.fail_node(LOST)
        failed = cluster.now
        noticed = after(cluster, failed, lambda: endpoints(cluster) == alive)
        longest = MONITOR_GRACE_PERIOD + MONITOR_PERIOD
        assert longest - HEARTBEAT_PERIOD - MONITOR_PERIOD <= noticed <= longest
        assert in_the_tables(cluster, dead) == set()
        assert answers(cluster) == alive
        assert way_there(cluster, prefix), "flannel's routes stay, and BGP has its hold time"

        if combination.network == "bgp":
            forgotten = after(cluster, failed, lambda: not way_there(cluster, prefix))
            assert HOLD_TIME * 2 / 3 <= forgotten <= HOLD_TIME
        replaced = after(cluster, failed, lambda: len(endpoints(cluster)) == 4)
        assert round(replaced - noticed - TOLERATION, 2) == START
        assert endpoints(cluster) == answers(cluster) == in_the_tables(cluster, endpoints(cluster))
        assert way_there(cluster, prefix) is (combination.network == "overlay")

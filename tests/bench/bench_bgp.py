"""How long BGP takes to settle: 50 nodes that have all sessions and all routes, by the way they peer.

``make bench`` prints CPU time, and the sessions and learnt routes that it was spent on. The same nodes over
the overlay stand beside it.
"""

from __future__ import annotations

import time

import pytest

from netsim.cluster import run

NODES = 50
FILE = """
apiVersion: netsim.dev/v1alpha1
kind: Topology
spec:
  networking: {{podNetwork: {network}, bgp: {{peering: {peering}}}}}
  nodes:
    - {{name: control, controlPlane: true}}
{nodes}
"""


@pytest.mark.parametrize(
    ("network", "peering", "sessions"),
    [
        ("overlay", "full-mesh", 0),
        ("bgp", "full-mesh", NODES * (NODES - 1) // 2),
        ("bgp", "route-reflector", NODES - 1),
        ("bgp", "tor", NODES),
    ],
    ids=["overlay", "full mesh", "reflector", "router of the rack"],
)
def test_fifty_nodes_settle(
    network: str, peering: str, sessions: int, request: pytest.FixtureRequest
) -> None:
    nodes = "\n".join(f"    - {{name: node{number}}}" for number in range(1, NODES))
    began = time.process_time()
    with run(FILE.format(network=network, peering=peering, nodes=nodes)) as cluster:
        spent = time.process_time() - began
        controls = cluster.speakers.controls if cluster.speakers is not None else {}
        standing = sum(len(control.settings.peers) for control in controls.values()) // 2
        routes = [route for own in controls for route in cluster.plane.host(own.host).routes()]
        learnt = sum(route.protocol == "bird" for route in routes)
    print(f"\n{request.node.callspec.id}: {spent:.2f} s, {standing} sessions, {learnt} routes")
    assert standing == sessions

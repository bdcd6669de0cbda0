"""The composition root: the only room that knows all others, and the public Python API.

``cluster`` wires store, controllers, DNS, proxy, Pod network, kubelet and plane together; ``hosts`` holds
what a user does from a Pod, a node or an outside host; ``run`` opens a cluster from files.
"""

from netsim.cluster.cluster import Cluster
from netsim.cluster.run import run

__all__ = ["Cluster", "run"]

"""Pod networks and the wires under the nodes, as plan entries.

``fabric`` lays the underlay that the Topology describes. ``overlay`` is flannel's VXLAN network; a Pod
network is one module on top of ``podnetwork`` (which follows Pods and Nodes) and ``bridge`` (how a Pod is
plugged into its node). ``masquerade`` is the address translation for what leaves the Pod network, and
``names`` says how hosts and interfaces are called. Nothing here knows a Service.
"""

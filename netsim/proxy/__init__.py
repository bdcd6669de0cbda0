"""kube-proxy: Services and EndpointSlices in, virtual servers of the plan out.

``proxier`` follows the store and emits deltas; ``service_port`` and ``endpoints`` hold what it knows, and
which endpoints may be used where; ``settings`` is kube-proxy's configuration. ``ruleset`` turns one port of
a Service into plan entries; ``ruleset_ipvs`` is where IPVS mode differs in what it does.
``render_iptables`` and ``render_nftables`` print the same knowledge as the rules that kube-proxy would
write on a node, ``render_ipvs`` as those of IPVS mode with their sets. ``announcer`` is not kube-proxy's:
it elects the node that answers for a load balancer's address. Nothing here keeps state of connections.
"""

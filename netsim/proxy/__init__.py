"""kube-proxy: Services and EndpointSlices in, virtual servers of the plan out.

``proxier`` follows the store and emits deltas; ``service_port`` and ``endpoints`` hold what it knows, and
which endpoints may be used; ``ruleset`` turns one port of a Service into plan entries. ``render_iptables``
prints the same knowledge as the rules that kube-proxy would write, ``render_ipvs`` as those of IPVS mode with
their sets; ``ruleset_ipvs`` is where that mode differs in what it does. ``announcer``
is not kube-proxy's: it elects the node that answers for a load balancer's address. Nothing here keeps state
of connections.
"""

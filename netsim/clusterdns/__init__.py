"""CoreDNS in one process: the Corefile, the plugin chain, and the names of a Kubernetes cluster.

``zone`` holds what the API says, fed one store event at a time and shared by all DNS servers of a cluster;
``corefile`` reads a Corefile, ``plugins`` has one module per plugin and the chain's order; ``server`` is the
machine that takes a query's bytes and gives a reply's. Sockets are for ``programs.dns``.
"""

"""A Linux-like host, in bytes: interfaces, bridge, routes, neighbours, netfilter, conntrack, UDP, TCP, VXLAN.

A plane drives one ``Stack`` per host: it hands in frames and calls, and takes out frames, woken sockets
and a deadline. Nothing here knows Kubernetes, and nothing reads a clock: time is an argument.

Addresses inside this room are packed ``bytes``, as they stand in headers.
"""

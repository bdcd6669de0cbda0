"""The desired network: keyed entries of plain values, and the deltas between two plans.

``cni`` and ``proxy`` write entries, ``cluster`` adds them up, a plane applies them. An entry says what
should stand on a host in the words of Linux networking; no entry knows what a Service or a Pod is.
"""

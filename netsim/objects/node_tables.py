"""The tables of a node: what each is called, which command prints it on a real node, and who fills it.

``netsim show``, the ``table`` check and ``Cluster.table`` take these names; ``cluster.network_tables`` prints
them.
"""

from __future__ import annotations

from netsim.base.errors import UsageError

NODE_TABLES = {  # and the command that prints each on a real node
    "routes": "ip route",
    "routes6": "ip -6 route",
    "neighbours": "ip neigh",
    "addresses": "ip addr",
    "fdb": "bridge fdb",
    "proxy": "iptables-save",  # or, in another mode, what PROXY_COMMANDS says
    "iptables": "iptables-save",
    "ip6tables": "ip6tables-save",
    "iptables-counters": "iptables-save -c",
    "ip6tables-counters": "ip6tables-save -c",
    "nftables": "nft list ruleset",
    "ipvs": "ipvsadm -Ln",
    "ipvs-stats": "ipvsadm -Ln --stats",
    "ipvs-connections": "ipvsadm -Lnc",
    "ipset": "ipset list",
    "conntrack": "conntrack -L",
    "conntrack-stats": "conntrack -S",
    "bgp": "birdc show protocols; birdc show route",
}
MODES = {  # of kube-proxy, that have something in each table
    "iptables": ("iptables", "ipvs"),
    "ip6tables": ("iptables", "ipvs"),
    "iptables-counters": ("iptables", "ipvs"),
    "ip6tables-counters": ("iptables", "ipvs"),
    "nftables": ("nftables",),
    "ipvs": ("ipvs",),
    "ipvs-stats": ("ipvs",),
    "ipvs-connections": ("ipvs",),
    "ipset": ("ipvs",),
}
PROXY_COMMANDS = {mode: NODE_TABLES[mode] for mode in ("ipvs", "nftables")}
BGP, PROXY = "bgp", "proxy"
OTHER_NAMES = {"neighbors": "neighbours", "neigh": "neighbours", "route": "routes"}


def table_named(name: str) -> str:
    """The table that a word names; UsageError with what comes near when there is none."""
    found = OTHER_NAMES.get(name, name)
    if found in NODE_TABLES:
        return found
    from difflib import get_close_matches

    near = get_close_matches(name, (*NODE_TABLES, *OTHER_NAMES), n=3)
    hint = f"did you mean {', '.join(near)}?" if near else f"the tables are {', '.join(NODE_TABLES)}"
    raise UsageError(f"a node has no table {name!r}", hint=hint)

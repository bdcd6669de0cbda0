"""ip (iproute2): ``address``, ``link``, ``route``, ``neighbour``; it shows and does not change anything."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Interface, ip_address, ip_interface, ip_network
from itertools import zip_longest

from netsim.base.address import BROADCAST, ZERO_MAC, IpAddress, render_mac
from netsim.programs.host import InterfaceView, NeighbourView, RouteView
from netsim.programs.tools.call import Call
from netsim.programs.tools.hostview import is_own, network6_of, network_of, scope_of, source_for

OBJECTS = {
    "address": "address",
    "link": "link",
    "route": "route",
    "neighbour": "neighbour",
    "neighbor": "neighbour",
}
SHOW = ("show", "list", "lst")
CHANGES = ("add", "del", "delete", "set", "change", "replace", "flush", "append")
KERNEL_METRIC6, METRIC6 = 256, 1024
"""The metrics that routes of IPv6 have without being given one (IP6_RT_PRIO_ADDRCONF, IP6_RT_PRIO_USER)."""
JSON = ("j", "js", "jso", "json")
KNOWN_OPTIONS = (
    "0", "4", "6", "B", "M", "Numeric", "Version", "all", "batch", "brief", "color", "details", "echo",
    "family", "force", "help", "human-readable", "iec", "json", "loops", "netns", "oneline", "pretty",
    "rcvbuf", "resolve", "statistics", "stats", "timestamp", "tshort",
)  # fmt: skip
"""What may stand before the object, each shortened at will (iproute2 6.1, ip/ip.c)."""
NOT_PERMITTED = 2
"""What iproute2 ends with when the kernel refuses."""


async def ip(call: Call) -> int:
    """``ip [-4 | -6] [-br] [-o] [-d] [-s] OBJECT [show [dev NAME | …] | get ADDRESS]``."""
    words = list(call.args)
    flags = set()
    while words and words[0].startswith("-"):
        word = words.pop(0)
        if not any(name.startswith(word.lstrip("-")) for name in KNOWN_OPTIONS):
            call.error(f'Option "-{word.lstrip("-")}" is unknown, try "ip -help".\n')
            return 255
        flags.add(_flag(word))
    if not flags.isdisjoint(JSON):
        call.error("ip: netsim prints text only; leave -json away\n")
        return 255
    if "V" in flags:
        call.write("ip utility, iproute2-6.1.0\n")
        return 0
    if not words or words[0] == "help":
        call.error(
            "Usage: ip [ OPTIONS ] OBJECT { COMMAND | help }\n"
            "OBJECT := { address | link | route | neighbour }\n"
        )
        return 255
    kind = next((full for name, full in OBJECTS.items() if name.startswith(words[0])), None)
    if kind is None:
        call.error(f'Object "{words[0]}" is unknown, try "ip help".\n')
        return 1
    rest = words[1:]
    if rest and any(change == rest[0] for change in CHANGES):
        call.error("RTNETLINK answers: Operation not permitted\n")
        return NOT_PERMITTED
    if rest and any(word.startswith(rest[0]) for word in SHOW) and rest[0] not in ("dev",):
        rest = rest[1:]
    show = {"address": _address, "link": _link, "route": _route, "neighbour": _neighbour}[kind]
    return show(call, rest, frozenset(flags))


def _flag(word: str) -> str:
    """An option by its shortest name: ``-br``, ``-brief`` and ``--brief`` are one."""
    name = word.lstrip("-")
    for full, short in (
        ("brief", "br"),
        ("oneline", "o"),
        ("details", "d"),
        ("statistics", "s"),
        ("Version", "V"),
    ):
        if name and full.startswith(name):
            return short
    return name


def _chosen(call: Call, words: list[str]) -> tuple[InterfaceView, ...]:
    """The interfaces that ``[dev] NAME``, ``type`` and ``master`` select, all without them.

    Complains when there is none of that name.
    """
    views = call.host.interfaces()
    if words[:1] == ["type"]:
        return tuple(view for view in views if view.kind == words[1])
    if words[:1] == ["master"]:
        return tuple(view for view in views if view.master == words[1])
    names = [word for word in words if word not in ("dev", "up", "scope", "global", "primary")]
    if not names:
        return views
    chosen = tuple(view for view in views if view.name == names[0])
    if not chosen:
        call.error(f'Device "{names[0]}" does not exist.\n')
    return chosen


# --- address and link ------------------------------------------------------------------------------------


def _title(view: InterfaceView) -> str:
    if view.peer_index is not None:
        return f"{view.name}@if{view.peer_index}"
    return view.name


def _flags_of(view: InterfaceView) -> str:
    if view.kind == "dummy":  # made and never set up, as kube-ipvs0 is
        return "BROADCAST,NOARP"
    return "LOOPBACK,UP,LOWER_UP" if view.kind == "loopback" else "BROADCAST,MULTICAST,UP,LOWER_UP"


def _state(view: InterfaceView) -> str:
    if view.kind == "dummy":
        return "DOWN"
    return "UNKNOWN" if view.kind in ("loopback", "vxlan") else "UP"


def _head(view: InterfaceView, *, mode: bool) -> str:
    master = f" master {view.master}" if view.master else ""
    link_mode = " mode DEFAULT" if mode else ""
    discipline = "noop" if view.kind == "dummy" else "noqueue"
    return (
        f"{view.ifindex}: {_title(view)}: <{_flags_of(view)}> mtu {view.mtu} qdisc {discipline}{master} "
        f"state {_state(view)}{link_mode} group default qlen 1000\n"
    )


def _hardware(view: InterfaceView) -> str:
    kind, broadcast = ("loopback", ZERO_MAC) if view.kind == "loopback" else ("ether", BROADCAST)
    namespace = " link-netnsid 0" if view.peer_index is not None else ""
    return f"    link/{kind} {render_mac(view.mac)} brd {render_mac(broadcast)}{namespace}\n"


def _address_line(view: InterfaceView, cidr: str) -> str:
    if ":" in cidr:
        return f"    inet6 {cidr} scope {scope_of(ip_interface(cidr).ip)} \n"
    scope = "host" if view.kind == "loopback" else "global"
    interface = IPv4Interface(cidr)
    spread = view.kind != "loopback" and interface.network.prefixlen < 31
    broadcast = f" brd {interface.network.broadcast_address}" if spread else ""
    return f"    inet {cidr}{broadcast} scope {scope} {view.name}\n"


LIFETIME = "       valid_lft forever preferred_lft forever\n"


def _address(call: Call, words: list[str], flags: frozenset[str]) -> int:
    views = _chosen(call, words)
    for view in views:
        cidrs = sorted(view.addresses, key=lambda cidr: ":" in cidr)
        cidrs = [cidr for cidr in cidrs if not flags & {"4", "6"} or (":" in cidr) is ("6" in flags)]
        if "br" in flags:
            call.write(f"{_title(view):<16} {_state(view):<14} {''.join(f'{cidr} ' for cidr in cidrs)}\n")
        elif "o" in flags:
            for cidr in cidrs:
                line = f"{_address_line(view, cidr)}{LIFETIME}".strip().replace("\n", "\\")
                call.write(f"{view.ifindex}: {view.name}    {line}\n")
        elif cidrs or not flags & {"4", "6"}:
            hardware = "" if flags & {"4", "6"} else _hardware(view)
            lines = "".join(_address_line(view, cidr) + LIFETIME for cidr in cidrs)
            call.write(_head(view, mode=False) + hardware + lines)
    return 0 if views else 1


def _link(call: Call, words: list[str], flags: frozenset[str]) -> int:
    views = _chosen(call, words)
    for view in views:
        if "br" in flags:
            mac = render_mac(view.mac)
            call.write(f"{_title(view):<16} {_state(view):<14} {mac} <{_flags_of(view)}> \n")
        else:
            text = _head(view, mode=True) + _hardware(view)
            if "d" in flags and view.kind != "loopback":
                text += f"    {view.kind} \n"
            call.write(text if "o" not in flags else text.rstrip("\n").replace("\n", "\\") + "\n")
    return 0 if views else 1


# --- route and neighbour ---------------------------------------------------------------------------------


def _render_route(route: RouteView) -> str:
    parts = [route.destination]
    if route.via:
        parts.append(f"via {route.via}")
    parts.append(f"dev {route.device}")
    if route.protocol not in ("", "boot"):
        parts.append(f"proto {route.protocol}")
    if not route.via and route.scope:
        parts.append(f"scope {route.scope}")
    if route.source:
        parts.append(f"src {route.source}")
    if route.metric:
        parts.append(f"metric {route.metric}")
    if route.onlink:
        parts.append("onlink")
    return " ".join(parts) + " \n"


def _render_route6(route: RouteView) -> str:
    """As ``ip -6 route``: the kernel gives a metric to each route, and scope and source are not told."""
    kernel = route.protocol == "kernel"
    metric = route.metric or (KERNEL_METRIC6 if kernel else METRIC6)
    plain = route._replace(
        destination=route.destination.removesuffix("/128"), scope="", source="", metric=0, onlink=False
    )
    onlink = "onlink " if route.onlink else ""
    return f"{_render_route(plain).rstrip()} metric {metric} {onlink}pref medium\n"


def _route(call: Call, words: list[str], flags: frozenset[str]) -> int:
    if words[:1] == ["get"]:
        return _route_get(call, words[1:])
    ipv6 = "6" in flags
    network = network6_of if ipv6 else network_of
    routes: Iterable[RouteView] = sorted(
        call.host.routes(6 if ipv6 else 4),
        key=lambda route: (int(network(route).network_address), network(route).prefixlen),
    )
    if ipv6:  # the kernel walks its tree, which has the default route last
        routes = sorted(routes, key=lambda route: route.destination == "default")
    for word, value in zip_longest(words, words[1:], fillvalue=""):
        if word == "dev":
            routes = [route for route in routes if route.device == value]
        elif word == "via":
            routes = [route for route in routes if route.via == value]
        elif word == "table" and value == "local":
            routes = []
        elif word == "default" or "/" in word:
            default = "::/0" if ipv6 else "0.0.0.0/0"
            wanted = ip_network(default if word == "default" else word, strict=False)
            routes = [route for route in routes if network(route) == wanted]
    call.write("".join(map(_render_route6 if ipv6 else _render_route, routes)))
    return 0


def _route_get(call: Call, words: list[str]) -> int:
    try:
        address = ip_address(words[0] if words else "")
    except ValueError:
        call.error(f'Error: any valid prefix is expected rather than "{" ".join(words[:1])}".\n')
        return 1
    host = call.host
    if address.version == 6:
        return _route_get6(call, address)
    if is_own(host, address):
        call.write(f"local {address} dev lo src {address} uid 0 \n    cache <local> \n")
        return 0
    route = host.route_to(address)
    if route is None:
        call.error("RTNETLINK answers: Network is unreachable\n")
        return NOT_PERMITTED
    via = f"via {route.via} " if route.via else ""
    call.write(f"{address} {via}dev {route.device} src {source_for(host, address)} uid 0 \n    cache \n")
    return 0


def _route_get6(call: Call, address: IpAddress) -> int:
    host = call.host
    if is_own(host, address):
        own = "dev lo table local proto kernel"
        call.write(f"local {address} from :: {own} src {address} metric 0 pref medium\n")
        return 0
    route = host.route_to(address)
    if route is None:
        call.error("RTNETLINK answers: Network is unreachable\n")
        return NOT_PERMITTED
    way = _render_route6(route._replace(destination=f"{address} from ::"))
    before, _, after = way.partition(" metric ")
    call.write(f"{before} src {source_for(host, address)} metric {after}")
    return 0


def _render_neighbour(view: NeighbourView, *, device: bool) -> str:
    where = f" dev {view.device}" if device else ""
    mac = f" lladdr {render_mac(view.mac)}" if view.mac is not None else ""
    router = " router" if view.router else ""
    return f"{view.address}{where}{mac}{router} {view.state} \n"


def _neighbour(call: Call, words: list[str], flags: frozenset[str]) -> int:
    device = words[words.index("dev") + 1] if "dev" in words[:-1] else ""
    for view in call.host.neighbours():
        if flags & {"4", "6"} and (":" in view.address) is not ("6" in flags):
            continue
        if not device or view.device == device:
            call.write(_render_neighbour(view, device=not device))
    return 0

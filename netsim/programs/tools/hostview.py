"""What several tools read off a host's tables: the way to an address, the addresses that are its own."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from netsim.programs.host import Host, InterfaceView, RouteView


def network_of(route: RouteView) -> IPv4Network:
    return IPv4Network("0.0.0.0/0" if route.destination == "default" else route.destination)


def interface_named(host: Host, name: str) -> InterfaceView | None:
    return next((view for view in host.interfaces() if view.name == name), None)


def ipv4_interfaces(view: InterfaceView) -> list[IPv4Interface]:
    """The IPv4 addresses of an interface, with their prefix lengths."""
    return [IPv4Interface(cidr) for cidr in view.addresses if ":" not in cidr]


def is_own(host: Host, address: IPv4Address) -> bool:
    """Whether an address is one of the host's, loopback included."""
    return address.is_loopback or any(
        cidr.ip == address for view in host.interfaces() for cidr in ipv4_interfaces(view)
    )


def source_for(host: Host, address: IPv4Address) -> str:
    """The address that a packet to ``address`` leaves with; empty without a route."""
    route = host.route_to(address)
    if route is None:
        return ""
    if route.source:
        return route.source
    view = interface_named(host, route.device)
    cidrs = ipv4_interfaces(view) if view is not None else []
    via = IPv4Address(route.via) if route.via else address
    near = next((cidr for cidr in cidrs if via in cidr.network), None) or next(iter(cidrs), None)
    return str(near.ip) if near is not None else ""

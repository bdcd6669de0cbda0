"""What several tools read off a host's tables: the way to an address, the addresses that are its own."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_address, ip_interface

from netsim.base.address import IpAddress
from netsim.programs.host import Host, InterfaceView, RouteView


def network_of(route: RouteView) -> IPv4Network:
    """Of a route of IPv4."""
    return IPv4Network("0.0.0.0/0" if route.destination == "default" else route.destination)


def network6_of(route: RouteView) -> IPv6Network:
    """Of a route of IPv6."""
    return IPv6Network("::/0" if route.destination == "default" else route.destination)


def interface_named(host: Host, name: str) -> InterfaceView | None:
    return next((view for view in host.interfaces() if view.name == name), None)


def ipv4_interfaces(view: InterfaceView) -> list[IPv4Interface]:
    """The IPv4 addresses of an interface, with their prefix lengths."""
    return [IPv4Interface(cidr) for cidr in view.addresses if ":" not in cidr]


def ipv6_interfaces(view: InterfaceView) -> list[IPv6Interface]:
    """The IPv6 addresses of an interface, with their prefix lengths."""
    return [IPv6Interface(cidr) for cidr in view.addresses if ":" in cidr]


def scope_of(address: IpAddress) -> str:
    """The word of ``ip address`` for where an address counts."""
    if address.is_loopback:
        return "host"
    return "link" if address.version == 6 and address.is_link_local else "global"


def is_own(host: Host, address: IpAddress) -> bool:
    """Whether an address is one of the host's, loopback included."""
    return address.is_loopback or any(
        ip_interface(cidr).ip == address for view in host.interfaces() for cidr in view.addresses
    )


def source_for(host: Host, address: IpAddress) -> str:
    """The address that a packet to ``address`` leaves with; empty without a route."""
    route = host.route_to(address)
    if route is None:
        return ""
    if route.source:
        return route.source
    view = interface_named(host, route.device)
    if view is None:
        return ""
    if address.version == 6:
        return _nearest(ipv6_interfaces(view), address)
    cidrs = ipv4_interfaces(view)
    via = ip_address(route.via) if route.via else address
    near = next((cidr for cidr in cidrs if via in cidr.network), None) or next(iter(cidrs), None)
    return str(near.ip) if near is not None else ""


def _nearest(cidrs: list[IPv6Interface], address: IpAddress) -> str:
    """The address with most leading bits in common, within its prefix (RFC 6724 section 5, rule 8)."""

    def common(cidr: IPv6Interface) -> int:
        return min(128 - (int(cidr.ip) ^ int(address)).bit_length(), cidr.network.prefixlen)

    return str(max(cidrs, key=common).ip) if cidrs else ""

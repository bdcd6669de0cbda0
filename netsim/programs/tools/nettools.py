"""The older commands of net-tools: ifconfig, route, arp."""

from __future__ import annotations

from ipaddress import IPv4Interface

from netsim.base.address import render_mac
from netsim.programs.host import InterfaceView
from netsim.programs.tools.call import Call
from netsim.programs.tools.hostview import (
    interface_named,
    ipv4_interfaces,
    ipv6_interfaces,
    network_of,
    scope_of,
)
from netsim.programs.tools.options import read_options

_SCOPES = {"global": "0x0", "host": "0x10", "link": "0x20"}  # net-tools: lib/inet6.c


async def ifconfig(call: Call) -> int:
    """Interfaces and their addresses; the counters, which a host does not keep, are left out."""
    names = [arg for arg in call.args if not arg.startswith("-")]
    if not names:
        for view in sorted(call.host.interfaces(), key=lambda view: view.name):
            call.write(_ifconfig(view, busybox=call.context.busybox))
        return 0
    view_or_none = interface_named(call.host, names[0])
    if view_or_none is None:
        call.error(f"{names[0]}: error fetching interface information: Device not found\n")
        return 1
    call.write(_ifconfig(view_or_none, busybox=call.context.busybox))
    return 0


def _ifconfig(view: InterfaceView, *, busybox: bool) -> str:
    loopback = view.kind == "loopback"
    cidrs = ipv4_interfaces(view)
    if busybox:
        kind = "Local Loopback  " if loopback else f"Ethernet  HWaddr {render_mac(view.mac).upper()}  "
        text = f"{view.name:<10}Link encap:{kind}\n"
        for cidr in cidrs:
            broadcast = "" if loopback else f"  Bcast:{cidr.network.broadcast_address}"
            text += f"          inet addr:{cidr.ip}{broadcast}  Mask:{cidr.netmask}\n"
        for cidr6 in ipv6_interfaces(view):
            text += f"          inet6 addr: {cidr6} Scope:{scope_of(cidr6.ip).capitalize()}\n"
        flags = "UP LOOPBACK RUNNING" if loopback else "UP BROADCAST RUNNING MULTICAST"
        return f"{text}          {flags}  MTU:{view.mtu}  Metric:1\n\n"
    flags = "73<UP,LOOPBACK,RUNNING>" if loopback else "4163<UP,BROADCAST,RUNNING,MULTICAST>"
    text = f"{view.name}: flags={flags}  mtu {view.mtu}\n"
    for cidr in cidrs:
        text += f"        inet {cidr.ip}  netmask {cidr.netmask}{_broadcast(cidr, loopback=loopback)}\n"
    for cidr6 in ipv6_interfaces(view):
        scope, length = scope_of(cidr6.ip), cidr6.network.prefixlen
        text += f"        inet6 {cidr6.ip}  prefixlen {length}  scopeid {_SCOPES[scope]}<{scope}>\n"
    if loopback:
        return f"{text}        loop  txqueuelen 1000  (Local Loopback)\n\n"
    return f"{text}        ether {render_mac(view.mac)}  txqueuelen 1000  (Ethernet)\n\n"


def _broadcast(cidr: IPv4Interface, *, loopback: bool) -> str:
    if loopback:
        return ""
    spread = cidr.network.broadcast_address if cidr.network.prefixlen < 31 else "0.0.0.0"
    return f"  broadcast {spread}"


async def route(call: Call) -> int:
    options = read_options(call, "neFCv")
    if options.operands:
        call.error("SIOCADDRT: Operation not permitted\n")
        return 7
    write_routes(call, numeric=options.has("n"), columns=" Metric Ref    Use", values=" 0      0        0")
    return 0


def write_routes(call: Call, *, numeric: bool, columns: str, values: str) -> None:
    """The kernel's routes as ``route`` and ``netstat -r`` print them, with their own last columns."""
    titles = "Destination     Gateway         Genmask         Flags"
    call.write(f"Kernel IP routing table\n{titles}{columns} Iface\n")
    for view in sorted(call.host.routes(), key=lambda view: network_of(view)):
        network = network_of(view)
        flags = "U" + ("G" if view.via else "") + ("H" if network.prefixlen == 32 else "")
        default = "0.0.0.0" if numeric else "default"
        destination = default if network.prefixlen == 0 else str(network.network_address)
        gateway = view.via or "0.0.0.0"
        call.write(
            f"{destination:<15} {gateway:<15} {network.netmask!s:<15} {flags:<5}{values} {view.device}\n"
        )


async def arp(call: Call) -> int:
    known = [view for view in call.host.neighbours() if view.mac is not None and ":" not in view.address]
    if call.context.busybox:
        for view in known:
            permanent = " PERM" if view.state == "PERMANENT" else ""
            mac = render_mac(view.mac or b"")
            call.write(f"? ({view.address}) at {mac} [ether] {permanent} on {view.device}\n")
        return 0
    if known:
        call.write("Address                  HWtype  HWaddress           Flags Mask            Iface\n")
    for view in known:
        flags = "CM" if view.state == "PERMANENT" else "C"
        mac = render_mac(view.mac or b"")
        call.write(f"{view.address:<24} ether   {mac:<19} {flags:<21} {view.device}\n")
    return 0

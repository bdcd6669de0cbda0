"""ss (iproute2) and netstat (net-tools): what listens here. Established connections are not listed."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address

from netsim.programs.host import Endpoint
from netsim.programs.tools.call import Call
from netsim.programs.tools.options import Options, read_options

DUAL_STACK = IPv6Address("::")
BACKLOG = {"tcp": 128, "udp": 0}


def _listening(call: Call, *, tcp: bool, udp: bool) -> list[tuple[str, Endpoint]]:
    """UDP before TCP, as ss prints them, each by port."""
    sockets = call.host.listening()
    chosen = [socket for socket in sockets if (socket[0] == "tcp" and tcp) or (socket[0] == "udp" and udp)]
    return sorted(chosen, key=lambda socket: socket[0] != "udp")


def _of_families(options: Options, sockets: Iterable[tuple[str, Endpoint]]) -> list[tuple[str, Endpoint]]:
    """Those of ``-4`` or ``-6``; a socket at ``::`` is one of IPv6."""
    four, six = options.has("4", "ipv4"), options.has("6", "ipv6")
    return [socket for socket in sockets if four is six or (socket[1].address.version == 6) is six]


async def ss(call: Call) -> int:
    long = ("tcp", "udp", "listening", "all", "numeric", "processes", "no-header", "ipv4", "ipv6", "summary")
    options = read_options(call, "tulanpHeimo46s", long, code=255)
    tcp, udp = options.has("t", "tcp"), options.has("u", "udp")
    if not tcp and not udp:
        tcp = udp = True
    shown = _listening(call, tcp=tcp, udp=udp) if options.has("l", "listening", "a", "all") else []
    shown = _of_families(options, shown)
    rows = [_row(protocol, local) for protocol, local in shown]
    if not options.has("H", "no-header"):
        rows.insert(
            0, ("Netid", "State", "Recv-Q", "Send-Q", ("Local Address", "Port"), ("Peer Address", "Port"))
        )
    near = max((len(row[4][0]) for row in rows), default=0)
    near_port = max((len(row[4][1]) for row in rows), default=0)
    far = max((len(row[5][0]) for row in rows), default=0)
    for index, (netid, state, received, sent, local, peer) in enumerate(rows):
        process = "" if index or options.has("H", "no-header") else "Process"
        kind = f"{netid:<5} " if tcp and udp else ""
        call.write(
            f"{kind}{state:<6} {received:<6} {sent:<6} "
            f"{local[0]:>{near}}:{local[1]:<{near_port}} {peer[0]:>{far}}:{peer[1]:<4}{process:<7}\n"
        )
    return 0


def _row(protocol: str, local: Endpoint) -> tuple[str, str, str, str, tuple[str, str], tuple[str, str]]:
    state = "LISTEN" if protocol == "tcp" else "UNCONN"
    here, there = str(local.address), "0.0.0.0"
    if local.address == DUAL_STACK:
        here = there = "*"
    elif local.address.version == 6:
        here, there = f"[{here}]", "[::]"
    return protocol, state, "0", str(BACKLOG[protocol]), (here, str(local.port)), (there, "*")


async def netstat(call: Call) -> int:
    long = ("tcp", "udp", "listening", "all", "numeric", "route", "program", "programs")
    options = read_options(call, "tulanprei46", long)
    if options.has("r", "route"):
        from netsim.programs.tools.nettools import write_routes

        write_routes(
            call,
            numeric=options.has("n", "numeric"),
            columns="   MSS Window  irtt",
            values="     0 0          0",
        )
        return 0
    tcp, udp = options.has("t", "tcp"), options.has("u", "udp")
    if not tcp and not udp:
        tcp = udp = True
    call.write("Active Internet connections (only servers)\n")
    call.write("Proto Recv-Q Send-Q Local Address           Foreign Address         State      \n")
    if not options.has("l", "listening", "a", "all"):
        return 0
    shown = _of_families(options, _listening(call, tcp=tcp, udp=udp))
    for protocol, local in sorted(shown, key=lambda socket: (socket[0], socket[1].address.version)):
        state = "LISTEN" if protocol == "tcp" else ""
        family, nobody = ("6", "::") if local.address.version == 6 else ("", "0.0.0.0")
        if call.context.busybox:
            family = ""
        here, there = f"{local.address}:{local.port}", f"{nobody}:*"
        call.write(f"{protocol + family:<5}      0      0 {here:<23} {there:<23} {state:<11}\n")
    return 0

"""ss (iproute2) and netstat (net-tools): what listens here. Established connections are not listed."""

from __future__ import annotations

from netsim.programs.host import Endpoint
from netsim.programs.tools.call import Call
from netsim.programs.tools.options import read_options

BACKLOG = {"tcp": 128, "udp": 0}


def _listening(call: Call, *, tcp: bool, udp: bool) -> list[tuple[str, Endpoint]]:
    """UDP before TCP, as ss prints them, each by port."""
    sockets = call.host.listening()
    chosen = [socket for socket in sockets if (socket[0] == "tcp" and tcp) or (socket[0] == "udp" and udp)]
    return sorted(chosen, key=lambda socket: socket[0] != "udp")


async def ss(call: Call) -> int:
    long = ("tcp", "udp", "listening", "all", "numeric", "processes", "no-header", "ipv4", "summary")
    options = read_options(call, "tulanpHeimo46s", long, code=255)
    tcp, udp = options.has("t", "tcp"), options.has("u", "udp")
    if not tcp and not udp:
        tcp = udp = True
    shown = _listening(call, tcp=tcp, udp=udp) if options.has("l", "listening", "a", "all") else []
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
    here = (str(local.address), str(local.port))
    return protocol, state, "0", str(BACKLOG[protocol]), here, ("0.0.0.0", "*")


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
    for protocol, local in sorted(_listening(call, tcp=tcp, udp=udp), key=lambda socket: socket[0] != "tcp"):
        state = "LISTEN" if protocol == "tcp" else ""
        call.write(f"{protocol:<5}      0      0 {local!s:<23} {'0.0.0.0:*':<23} {state:<11}\n")
    return 0

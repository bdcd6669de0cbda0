"""agnhost, the Kubernetes project's test image: ``pause``, ``netexec``, ``serve-hostname``, ``connect``,
``liveness``, ``test-webserver`` and ``porter``.

The endpoints and texts follow kubernetes test/images/agnhost, as far as they concern the network; its
other subcommands end with exit code 1.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from netsim.base.cause import Cause, Stage
from netsim.programs.clock import wall_clock
from netsim.programs.host import Datagram, Endpoint, Host, Invocation, Stream
from netsim.programs.http import LookupFailed, resolve_name
from netsim.programs.http_server import Request, Response
from netsim.programs.ports import port_to_open
from netsim.programs.servers import Reply, idle, option, serve_ports, serve_udp, static_files

LIVES = 10.0
"""Seconds (liveness/server.go)."""


class Verdict(NamedTuple):
    """The end of ``agnhost connect``: its exit code and the line on stderr."""

    exit: int
    message: str = ""


async def agnhost(host: Host, start: Invocation) -> int:
    """Run the subcommand that the arguments name; without one, pause."""
    args = start.args[1:] if start.args[:1] in (("agnhost",), ("/agnhost",)) else start.args
    match args[:1]:
        case () | ("pause",):
            return await idle(host, start)
        case ("netexec",):
            return await netexec(host, args[1:])
        case ("serve-hostname",):
            return await serve_hostname(host, args[1:])
        case ("connect",):
            return (await connect(host, args[1:])).exit
        case ("liveness",):
            return await liveness(host)
        case ("test-webserver",):
            port = port_to_open(option(args, "port") or "80")
            return await serve_ports(host, {port: static_files(host, "", {}, "agnhost")}, "test-webserver")
        case ("porter",):
            return await porter(host, start)
    return 1


async def liveness(host: Host) -> int:
    """The example of the documentation's liveness probes: /healthz on 8080 fails from the tenth second on."""
    began = host.now()

    def handle(request: Request) -> Response:
        elapsed = host.now() - began
        if request.path == "/started":
            return Response(f"{elapsed:.9f}s")
        if elapsed > LIVES:
            return Response(f"error: {elapsed:.6f}", 500)
        return Response("ok")

    return await serve_ports(host, {8080: handle}, "liveness")


async def porter(host: Host, start: Invocation) -> int:
    """A page on each port that a variable SERVE_PORT_<n> names: the variable's value."""
    pages = {
        port_to_open(name.removeprefix("SERVE_PORT_")): text
        for name, text in start.env.items()
        if name.startswith("SERVE_PORT_")
    }

    def handle(request: Request) -> Response:
        return Response(pages[request.server.port])

    return await serve_ports(host, dict.fromkeys(pages, handle), "porter")


async def netexec(host: Host, args: tuple[str, ...] = ()) -> int:
    """HTTP on ``--http-port`` (8080) and UDP on ``--udp-port`` (8081; -1 switches it off)."""
    udp_port = option(args, "udp-port") or "8081"
    if udp_port != "-1":
        sock = await host.udp(port_to_open(udp_port))
        host.spawn(serve_udp(sock, _udp_commands(host), "netexec"), "netexec udp")

    def handle(request: Request) -> Response:
        match request.path:
            case "/hostname" | "/hostName":
                return Response(host.name)
            case "/clientip":
                return Response(str(request.client))
            case "/echo":
                code = request.query("code", "200")
                return Response(request.query("msg"), int(code) if code.isdecimal() else 200)
            case "/healthz":
                return Response("")
            case "/header":
                return Response(request.header(request.query("key")))
        return Response(f"NOW: {wall_clock(host):%Y-%m-%d %H:%M:%S.%f +0000 UTC}")

    port = port_to_open(option(args, "http-port") or "8080")
    return await serve_ports(host, {port: handle}, "netexec")


def _udp_commands(host: Host) -> Reply:
    """What netexec says to ``hostname``, ``echo TEXT`` and ``clientip``; to others, nothing."""

    def reply(datagram: Datagram) -> bytes:
        command, _, rest = datagram.data.decode("utf-8", "replace").strip().partition(" ")
        replies = {"hostname": host.name, "echo": rest, "clientip": str(datagram.source)}
        return replies.get(command.lower(), "").encode()

    return reply


async def serve_hostname(host: Host, args: tuple[str, ...] = ()) -> int:
    """The hostname on port 9376: over HTTP, or raw with ``--tcp`` and ``--udp``."""
    port = port_to_open(option(args, "port") or "9376")
    tcp, udp = (any(arg in (f"--{word}", f"--{word}=true") for arg in args) for word in ("tcp", "udp"))
    if not (tcp or udp):
        return await serve_ports(host, {port: lambda request: Response(host.name)}, "serve-hostname")
    if udp:
        answers = serve_udp(await host.udp(port), lambda datagram: host.name.encode(), "serve-hostname")
        host.spawn(answers, "serve-hostname udp")
    if not tcp:
        return await idle(host, Invocation("agnhost"))
    listener = await host.listen(port)
    try:
        while True:
            host.spawn(_tell_hostname(await listener.accept(), host), "serve-hostname client")
    finally:
        listener.close()


async def _tell_hostname(stream: Stream, host: Host) -> None:
    try:
        await stream.write(host.name.encode(), cause=Cause(Stage.PROGRAM, "serve-hostname answers"))
    except OSError:
        return  # the client is gone
    finally:
        stream.close()


async def connect(host: Host, args: tuple[str, ...]) -> Verdict:
    """``agnhost connect HOST:PORT``: DNS, TIMEOUT, REFUSED or OTHER on stderr, and exit 1, when it fails."""
    target = next((arg for arg in args if not arg.startswith("-")), "")
    name, colon, port = target.rpartition(":")
    if not colon:
        return Verdict(1, f"UNKNOWN: address {target}: missing port in address")
    timeout = _seconds(option(args, "timeout"))
    try:
        remote = Endpoint((await resolve_name(host, name))[0], port_to_open(port))
        cause = Cause(Stage.PROGRAM, f"agnhost connect {target}")
        if option(args, "protocol") == "udp":
            await _ask_udp(host, remote, timeout, cause)
        else:
            (await host.connect(remote, timeout=timeout, cause=cause)).close()
    except LookupFailed:
        return Verdict(1, f"DNS: lookup {name}: no such host")
    except ConnectionRefusedError:
        return Verdict(1, "REFUSED")
    except TimeoutError:
        return Verdict(1, "TIMEOUT")
    except OSError as error:
        return Verdict(1, f"OTHER: {(error.strerror or str(error)).lower()}")
    return Verdict(0)


def _seconds(text: str) -> float | None:
    """A Go duration of one unit (``500ms``, ``3s``, ``1m``); None for what is none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text)
    return float(match[1]) * {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}[match[2]] if match else None


async def _ask_udp(host: Host, remote: Endpoint, timeout: float | None, cause: Cause) -> None:
    sock = await host.udp(remote=remote)
    try:
        await sock.send(b"hostname\n", cause=cause)
        await sock.recv(timeout=timeout)
    finally:
        sock.close()

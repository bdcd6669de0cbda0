"""agnhost, the Kubernetes project's test image: ``pause``, ``netexec``, ``serve-hostname`` and ``connect``.

The endpoints and texts follow kubernetes test/images/agnhost, as far as they concern the network; its
other subcommands end with exit code 1.
"""

from __future__ import annotations

from typing import NamedTuple

from netsim.base.cause import Cause, Stage
from netsim.programs.clock import wall_clock
from netsim.programs.host import Endpoint, Host, Invocation, Stream, UdpSocket
from netsim.programs.http import LookupFailed, resolve_ipv4
from netsim.programs.http_server import Request, Response
from netsim.programs.servers import CANNOT_BIND, idle, option, serve_ports


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
    return 1


async def netexec(host: Host, args: tuple[str, ...] = ()) -> int:
    """HTTP on ``--http-port`` (8080) and UDP on ``--udp-port`` (8081; -1 switches it off)."""
    udp_port = int(option(args, "udp-port") or 8081)
    if udp_port != -1:
        try:
            sock = await host.udp(udp_port)
        except OSError:
            return CANNOT_BIND
        host.spawn(_udp_commands(sock, host), "netexec udp")

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

    return await serve_ports(host, {int(option(args, "http-port") or 8080): handle}, "netexec")


async def _udp_commands(sock: UdpSocket, host: Host) -> None:
    try:
        while True:
            datagram = await sock.recv()
            command, _, rest = datagram.data.decode("utf-8", "replace").strip().partition(" ")
            reply = {"hostname": host.name, "echo": rest, "clientip": str(datagram.source)}.get(
                command.lower(), ""
            )
            if reply:
                cause = Cause(Stage.PROGRAM, f"netexec answers {command.lower()}")
                await sock.send(reply.encode(), datagram.source, cause=cause)
    finally:
        sock.close()


async def serve_hostname(host: Host, args: tuple[str, ...] = ()) -> int:
    """The hostname on port 9376: over HTTP, or raw with ``--tcp`` and ``--udp``."""
    port = int(option(args, "port") or 9376)
    raw_tcp, raw_udp = (any(arg in (f"--{word}", f"-{word}", f"--{word}=true") for arg in args)
                        for word in ("tcp", "udp"))  # fmt: skip
    if not (raw_tcp or raw_udp):
        return await serve_ports(host, {port: lambda request: Response(host.name)}, "serve-hostname")
    try:
        if raw_udp:
            host.spawn(_udp_hostname(await host.udp(port), host), "serve-hostname udp")
        if not raw_tcp:
            return await idle(host, Invocation("agnhost"))
        listener = await host.listen(port)
    except OSError:
        return CANNOT_BIND
    try:
        while True:
            host.spawn(_tell_hostname(await listener.accept(), host), "serve-hostname client")
    finally:
        listener.close()


async def _tell_hostname(stream: Stream, host: Host) -> None:
    try:
        await stream.write(host.name.encode(), cause=Cause(Stage.PROGRAM, "serve-hostname answers"))
    except ConnectionError:
        return
    finally:
        stream.close()


async def _udp_hostname(sock: UdpSocket, host: Host) -> None:
    try:
        while True:
            datagram = await sock.recv()
            cause = Cause(Stage.PROGRAM, "serve-hostname answers")
            await sock.send(host.name.encode(), datagram.source, cause=cause)
    finally:
        sock.close()


async def connect(host: Host, args: tuple[str, ...]) -> Verdict:
    """``agnhost connect HOST:PORT``: DNS, TIMEOUT, REFUSED or OTHER on stderr, and exit 1, when it fails."""
    target = next((arg for arg in args if not arg.startswith("-")), "")
    name, colon, port = target.rpartition(":")
    if not colon or not port.isdecimal():
        return Verdict(1, f"UNKNOWN: address {target}: missing port in address")
    timeout = option(args, "timeout").removesuffix("s")
    try:
        remote = Endpoint((await resolve_ipv4(host, name))[0], int(port))
        cause = Cause(Stage.PROGRAM, f"agnhost connect {target}")
        if option(args, "protocol") == "udp":
            await _ask_udp(host, remote, float(timeout) if timeout else None, cause)
        else:
            (await host.connect(remote, timeout=float(timeout) if timeout else None, cause=cause)).close()
    except LookupFailed:
        return Verdict(1, f"DNS: lookup {name}: no such host")
    except ConnectionRefusedError:
        return Verdict(1, "REFUSED")
    except TimeoutError:
        return Verdict(1, "TIMEOUT")
    except OSError as error:
        return Verdict(1, f"OTHER: {(error.strerror or str(error)).lower()}")
    return Verdict(0)


async def _ask_udp(host: Host, remote: Endpoint, timeout: float | None, cause: Cause) -> None:
    sock = await host.udp(remote=remote)
    try:
        await sock.send(b"hostname\n", cause=cause)
        await sock.recv(timeout=timeout)
    finally:
        sock.close()

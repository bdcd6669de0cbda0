"""dftd/telnet-server, the sample application of a book on operations: telnet on 2323, metrics on 9000.

Commands, replies and the names of the metrics are those of the project's telnet/server.go and
metrics/server.go; the banner is another. TELNET_PORT and METRIC_PORT move the ports, as there.
"""

from __future__ import annotations

import errno

from netsim.base.cause import Cause, Stage
from netsim.programs.clock import wall_clock
from netsim.programs.host import Host, Invocation, Stream
from netsim.programs.http_server import Request, Response, serve_http
from netsim.programs.ports import port_to_open
from netsim.programs.servers import CANNOT_BIND
from netsim.programs.terminal import bytes_from_text, text_from_bytes

TELNET_PORT = "2323"
METRIC_PORT = "9000"
LINE_LIMIT = 65536
"""Octets after which a line that does not end is given up; the project reads on."""

BANNER = "\x1b[33m*** DFTD telnet server ***\r\n\x1b[0m\r\n"
PROMPT = ">"
HELP = (
    "Command Help:\r\n1) (q)uit -- quits\r\n2) (d)ate -- prints the current datetime\r\n"
    "3) (y)ell for sysop -- gets the sysop\r\n4) (?) help -- prints this message\r\n"
)
QUIT = frozenset({"quit", "q"})

METRICS = {
    "telnet_server_active_connections": ("gauge", "The number of active connections"),
    "telnet_server_connection_errors_total": ("counter", "The total number of errors"),
    "telnet_server_connection_total": ("counter", "The total number of connections"),
    "telnet_server_unknown_commands_total": ("counter", "The total number of unknown commands entered"),
}


async def telnet_server(host: Host, start: Invocation) -> int:
    """Serve until cancelled; 1 when a port is taken."""
    server = _Server(host)
    try:
        listener = await host.listen(port_to_open(start.env.get("TELNET_PORT", TELNET_PORT)))
        metrics = await host.listen(port_to_open(start.env.get("METRIC_PORT", METRIC_PORT)))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return CANNOT_BIND
    host.spawn(serve_http(host, metrics, server.page, server="telnet-server"), "telnet-server: metrics")
    try:
        while True:
            host.spawn(server.talk(await listener.accept()), "telnet-server: session")
    finally:
        listener.close()


class _Server:
    """The sessions and what is counted of them."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._counts = dict.fromkeys(METRICS, 0)

    def page(self, request: Request) -> Response:
        """/metrics in Prometheus's text format (exposition format 0.0.4)."""
        if request.path != "/metrics":
            return Response("404 page not found\n", 404)
        lines = []
        for name, (kind, meaning) in METRICS.items():
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}", f"{name} {self._counts[name]}"]
        text = "".join(f"{line}\n" for line in lines)
        return Response(text, content_type="text/plain; version=0.0.4; charset=utf-8")

    def _count(self, what: str, by: int = 1) -> None:
        self._counts[f"telnet_server_{what}"] += by

    async def talk(self, stream: Stream) -> None:
        """One session. Whoever leaves without ``quit`` counts as an error."""
        self._count("connection_total")
        self._count("active_connections")
        try:
            if not await self._converse(stream):
                self._count("connection_errors_total")
        except OSError:
            self._count("connection_errors_total")
        finally:
            self._count("active_connections", -1)
            stream.close()

    async def _converse(self, stream: Stream) -> bool:
        """Answer line by line; whether the session ended with ``quit``."""
        await _say(stream, BANNER + PROMPT, "greets")
        unread = b""
        while True:
            while b"\n" not in unread:
                data = await stream.read()
                unread += data
                if not data or len(unread) > LINE_LIMIT:
                    return False
            line, _, unread = unread.partition(b"\n")
            command = text_from_bytes(line).rstrip("\r\n")
            if command in QUIT:
                await _say(stream, "Good Bye!\r\n", "answers quit")
                return True
            await _say(stream, self._answer(command) + PROMPT, f"answers {command[:20]}")

    def _answer(self, command: str) -> str:
        match command:
            case "date" | "d":
                now = wall_clock(self._host)
                return f"\x1b[44;37;1m{now:%a %b} {now.day} {now:%H:%M:%S} +0000 UTC {now.year}\x1b[0m\r\n"
            case "yell for sysop" | "y":
                return "Yelling for the SysOp\r\n"
            case "dftd":
                return "You have unlocked God mode!\r\n"
            case "help" | "?":
                return HELP
        self._count("unknown_commands_total")
        return f"{command.upper()}\r\n"


async def _say(stream: Stream, text: str, why: str) -> None:
    await stream.write(bytes_from_text(text), cause=Cause(Stage.PROGRAM, f"telnet-server {why}"))

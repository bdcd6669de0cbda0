"""The server programs that images run: whoami, pages, web servers, http-echo.

Each is a ``Program``, or a function that builds one. They open their ports before anything else and then
serve until cancelled; a port that is taken ends them with exit code 1, as it ends the real ones.
``agnhost`` and ``redis`` have modules of their own.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import TypeAlias

from netsim.base.cause import Cause, Stage
from netsim.programs.host import Datagram, Endpoint, Host, Identity, Invocation, Program, UdpSocket
from netsim.programs.http_server import Handler, Request, Response, serve_http
from netsim.programs.ports import port_to_open
from netsim.programs.waiting import forever

Reply: TypeAlias = Callable[[Datagram], bytes]

CANNOT_BIND = 1
"""Exit code of a server whose port is taken."""

WELCOME_TO_NGINX = """<!DOCTYPE html>
<html>
<head><title>Welcome to nginx!</title></head>
<body>
<h1>Welcome to nginx!</h1>
<p>The web server works. This is the page that it serves while there is no other.</p>
</body>
</html>
"""
IT_WORKS = "<html><body><h1>It works!</h1></body></html>\n"
"""httpd's own index.html."""

CONTENT_TYPES = {
    "html": "text/html", "htm": "text/html", "json": "application/json", "css": "text/css", "xml": "text/xml",
    "js": "application/javascript", "txt": "text/plain",
}  # fmt: skip


async def serve_ports(host: Host, handlers: Mapping[int, Handler], server: str) -> int:
    """Open every port, serve each with its handler, and wait until cancelled; 1 when a port is taken."""
    try:
        listeners = [(await host.listen(port), handler) for port, handler in handlers.items()]
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return CANNOT_BIND
    tasks = [
        host.spawn(serve_http(host, listener, handler, server=server), server)
        for listener, handler in listeners
    ]
    try:
        await forever(host)
    finally:
        for task in tasks:
            task.cancel()
    return 0


async def serve_udp(sock: UdpSocket, reply: Reply, server: str) -> None:
    """Answer each datagram with one, unless the reply is empty, until cancelled."""
    try:
        while True:
            datagram = await sock.recv()
            data = reply(datagram)
            if data:
                cause = Cause(Stage.PROGRAM, f"{server} answers {datagram.source}")
                await _send(sock, data, datagram.source, cause)
    finally:
        sock.close()


async def _send(sock: UdpSocket, data: bytes, to: Endpoint, cause: Cause) -> None:
    try:
        await sock.send(data, to, cause=cause)
    except OSError:
        return  # no way back to the client: a server goes on with the next one


def addresses_of(host: Host) -> list[str]:
    """The host's addresses without prefix lengths, loopback first."""
    return [cidr.partition("/")[0] for interface in host.interfaces() for cidr in interface.addresses]


def own_address(host: Host, identity: Identity) -> str:
    """The Pod's address, or the first one of a host that is no Pod."""
    if identity.pod_ip:
        return identity.pod_ip
    return next((text for text in addresses_of(host) if not text.startswith("127.")), "")


def fill_page(template: str, host: Host, identity: Identity) -> str:
    """A page of a Topology with its placeholders filled in; other braces stay as they are."""
    values = {
        "{hostname}": host.name,
        "{pod}": identity.pod,
        "{namespace}": identity.namespace,
        "{node}": identity.node,
        "{ip}": own_address(host, identity),
    }
    for placeholder, value in values.items():
        template = template.replace(placeholder, value)
    return template


def pages(
    texts: Mapping[int, str], server: str = "netsim", *, starts_after: float = 0.0, answers_after: float = 0.0
) -> Program:
    """A program that serves one page, with placeholders, on each port, whatever the path.

    ``starts_after`` seconds pass before it listens, ``answers_after`` before each answer.
    """

    async def run(host: Host, start: Invocation) -> int:
        def handler_for(template: str) -> Handler:
            text = fill_page(template, host, start.identity)
            response = Response(text, content_type=_type_of_text(text))

            async def think(request: Request) -> Response:
                await host.sleep(answers_after)
                return response

            return think if answers_after else lambda request: response

        if starts_after:
            await host.sleep(starts_after)
        return await serve_ports(host, {port: handler_for(text) for port, text in texts.items()}, server)

    return run


def _type_of_text(text: str) -> str:
    start = text.lstrip()[:9].lower()
    if start.startswith(("<!doctype", "<html")):
        return "text/html"
    return "application/json" if start.startswith(("{", "[")) else "text/plain; charset=utf-8"


def web_server(server: str, root: str, welcome: str, *, port: int = 80) -> Program:
    """A static web server: ``welcome`` until a program writes files under ``root``."""

    async def run(host: Host, start: Invocation) -> int:
        handler = static_files(host, root, {"index.html": welcome}, server)
        return await serve_ports(host, {port: handler}, server)

    return run


def static_files(host: Host, root: str, built_in: Mapping[str, str], server: str) -> Handler:
    """Serve ``host.files`` under ``root``; ``built_in`` has pages, by path below root, for want of files."""

    def handle(request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return _error_page(405, "Not Allowed", server)
        path = request.path.removeprefix("/")
        if not path or path.endswith("/"):
            path += "index.html"
        text = host.files.get(f"{root}/{path}", built_in.get(path))
        if text is None:
            return _error_page(404, "Not Found", server)
        return Response(text, content_type=CONTENT_TYPES.get(path.rpartition(".")[2], "text/plain"))

    return handle


def _error_page(status: int, reason: str, server: str) -> Response:
    body = (
        f"<html>\r\n<head><title>{status} {reason}</title></head>\r\n<body>\r\n"
        f"<center><h1>{status} {reason}</h1></center>\r\n"
        f"<hr><center>{server}</center>\r\n</body>\r\n</html>\r\n"
    )
    return Response(body, status, "text/html")


def whoami_text(host: Host, identity: Identity) -> str:
    """Who this is: the lines that every whoami answer starts with."""
    lines = [f"Hostname: {host.name}"]
    if identity.pod:
        lines += [f"Pod: {identity.pod}", f"Namespace: {identity.namespace}", f"Node: {identity.node}"]
    lines += [f"IP: {text}" for text in addresses_of(host)]
    return "".join(f"{line}\n" for line in lines)


def whoami_handler(host: Host, identity: Identity) -> Handler:
    """Answer every request with who answers, who asked from where, and the request as it came."""

    def handle(request: Request) -> Response:
        seen = [f"RemoteAddr: {request.client}", *request.lines()]
        return Response(whoami_text(host, identity) + "".join(f"{line}\n" for line in seen) + "\n")

    return handle


async def whoami(host: Host, start: Invocation) -> int:
    """The behaviour of an image that nobody described: whoami on the declared ports and nowhere else."""
    handler = whoami_handler(host, start.identity)
    for spec in start.ports:
        if spec.protocol == "UDP":
            answers = _udp_whoami(host, start.identity)
            host.spawn(serve_udp(await host.udp(spec.port), answers, "whoami"), f"whoami udp {spec.port}")
    return await serve_ports(host, {s.port: handler for s in start.ports if s.protocol == "TCP"}, "whoami")


def _udp_whoami(host: Host, identity: Identity) -> Reply:
    """Who answers, who asked, and what was sent."""

    def reply(datagram: Datagram) -> bytes:
        seen = f"RemoteAddr: {datagram.source}\n\n"
        return (whoami_text(host, identity) + seen).encode() + datagram.data

    return reply


def whoami_on(port: int) -> Program:
    """whoami on one fixed port, which ``--port`` or WHOAMI_PORT_NUMBER changes, as traefik/whoami has it."""

    async def run(host: Host, start: Invocation) -> int:
        chosen = option(start.args, "port") or start.env.get("WHOAMI_PORT_NUMBER") or str(port)
        handlers = {port_to_open(chosen): whoami_handler(host, start.identity)}
        return await serve_ports(host, handlers, "whoami")

    return run


async def http_echo(host: Host, start: Invocation) -> int:
    """hashicorp/http-echo: one text on every path; without a text it ends with 127 (its main.go)."""
    text = option(start.args, "text") or start.env.get("ECHO_TEXT", "")
    if not text:
        return 127
    port = port_to_open((option(start.args, "listen") or ":5678").rpartition(":")[2])

    def handle(request: Request) -> Response:
        return Response('{"status":"ok"}\n' if request.path == "/health" else f"{text}\n")

    return await serve_ports(host, {port: handle}, "http-echo")


async def idle(host: Host, start: Invocation) -> int:
    """Do nothing until cancelled: ``pause`` and images that only wait to be entered."""
    await forever(host)
    return 0


def option(args: tuple[str, ...], name: str) -> str:
    """The value of a Go-style flag (``-name=v``, ``--name v``), or the empty string."""
    for index, arg in enumerate(args):
        key, equals, value = arg.partition("=")
        if key in (f"-{name}", f"--{name}"):
            return value if equals else (*args, "")[index + 1]
    return ""

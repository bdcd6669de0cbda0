"""An HTTP/1.1 server over a Host: keep-alive, HEAD, Content-Length, one task per connection.

A server program hands ``serve_http`` a handler, an ordinary function from request to response. What the
server does not understand it answers with 400, what takes too long it closes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

from netsim.base.cause import Cause, Stage
from netsim.base.errors import WireError
from netsim.programs.clock import http_date
from netsim.programs.host import Endpoint, Host, Listener, Stream
from netsim.programs.http import REASONS, Headers, Inlet, find_header, parse_headers
from netsim.programs.terminal import bytes_from_text
from netsim.programs.waiting import Deadline

KEEP_ALIVE = 75.0
"""Seconds that an idle connection is kept: nginx's keepalive_timeout."""
BODY_LIMIT = 1 << 20
"""Octets of request body that are accepted: nginx's client_max_body_size."""


class Request(NamedTuple):
    """One request, and between which sockets it travelled."""

    method: str
    target: str
    version: str
    headers: Headers
    body: bytes
    client: Endpoint
    server: Endpoint

    @property
    def path(self) -> str:
        """The path without the query, percent-decoded."""
        return unquote(urlsplit(self.target).path) or "/"

    def query(self, name: str, default: str = "") -> str:
        """The first value of a query parameter."""
        values = parse_qs(urlsplit(self.target).query, keep_blank_values=True).get(name)
        return values[0] if values else default

    def header(self, name: str) -> str:
        return find_header(self.headers, name)

    def lines(self) -> list[str]:
        """The request line and headers as they came."""
        return [
            f"{self.method} {self.target} {self.version}",
            *(f"{name}: {value}" for name, value in self.headers),
        ]


class Response(NamedTuple):
    """What a handler answers. Date, Content-Length and Connection are the server's to add."""

    body: str | bytes = ""
    status: int = 200
    content_type: str = "text/plain; charset=utf-8"
    headers: Headers = ()


Handler: TypeAlias = Callable[[Request], Response | Awaitable[Response]]


async def serve_http(host: Host, listener: Listener, handler: Handler, *, server: str) -> None:
    """Serve until cancelled. ``server`` is the Server header, and names the server in captures' causes."""
    try:
        while True:
            stream = await listener.accept()
            host.spawn(converse(host, stream, handler, server), f"{server}: worker")
    finally:
        listener.close()


async def converse(host: Host, stream: Stream, handler: Handler, server: str) -> None:
    """Answer the requests of one connection until it ends."""
    inlet = Inlet(stream, Deadline(host, KEEP_ALIVE))
    try:
        while True:
            request = await _read_request(inlet, stream)
            if request is None:
                return
            response = handler(request)
            if not isinstance(response, Response):
                response = await response
            last = _wants_close(request)
            why = f"{server} answers {response.status} to {request.method} {request.target}"
            data = _render(host, request, response, server, last)
            await stream.write(data, cause=Cause(Stage.PROGRAM, why))
            if last:
                return
            inlet.renew(Deadline(host, KEEP_ALIVE))
    except WireError as error:
        await _refuse(stream, server, error)
    except OSError:
        return  # the client is gone or silent: there is nobody to tell
    finally:
        stream.close()


async def _refuse(stream: Stream, server: str, error: WireError) -> None:
    body = f"400 Bad Request: {error}\n".encode()
    length = f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    head = f"HTTP/1.1 400 Bad Request\r\nServer: {server}\r\n{length}"
    try:
        await stream.write(head.encode("latin-1") + body, cause=Cause(Stage.PROGRAM, f"{server} answers 400"))
    except OSError:
        return  # nor can it be told this


async def _read_request(inlet: Inlet, stream: Stream) -> Request | None:
    lines = await inlet.head()
    if lines is None:
        return None
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/"):
        raise WireError("HTTP", f"not a request line: {lines[0][:80]!r}")
    headers = parse_headers(lines[1:])
    length = find_header(headers, "content-length") or "0"
    if not length.isdecimal() or int(length) > BODY_LIMIT:
        raise WireError("HTTP", f"bad Content-Length {length[:20]!r}")
    body = b""
    while len(body) < int(length):
        data = await inlet.some(int(length) - len(body))
        if not data:
            raise WireError("HTTP", "the body is shorter than its Content-Length")
        body += data
    return Request(words[0], words[1], words[2], headers, body, stream.peer, stream.local)


def _wants_close(request: Request) -> bool:
    word = request.header("connection").lower()
    return word != "keep-alive" if request.version == "HTTP/1.0" else word == "close"


def _render(host: Host, request: Request, response: Response, server: str, last: bool) -> bytes:
    body = bytes_from_text(response.body) if isinstance(response.body, str) else response.body
    lines = [
        f"HTTP/1.1 {response.status} {REASONS.get(response.status, 'Status')}",
        f"Server: {server}",
        f"Date: {http_date(host)}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in response.headers),
        f"Connection: {'close' if last else 'keep-alive'}",
        "",
        "",
    ]
    head = "\r\n".join(lines).encode("latin-1", "replace")
    return head if request.method == "HEAD" else head + body

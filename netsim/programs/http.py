"""HTTP/1.1 messages (RFC 9112), and the client: request a URL over a Host.

``http_server`` serves with the messages of this module; curl, wget, ``get`` checks and probes ask with it.
The client knows Content-Length, chunked bodies and bodies that end with the connection, and follows a
limited number of redirects; https goes through ``tls``.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urljoin, urlsplit

from netsim.base.address import IpAddress
from netsim.base.cause import Cause, Stage
from netsim.base.errors import WireError
from netsim.programs.host import Endpoint, Host, Stream
from netsim.programs.waiting import Deadline

if TYPE_CHECKING:
    from netsim.resolver.commands import Lookup

Headers = tuple[tuple[str, str], ...]

HEAD_LIMIT = 65536
"""Octets of start line and headers that either side accepts."""
DEFAULT_PORTS = {"http": 80, "https": 443}
BODILESS = frozenset({204, 304})
"""Statuses without a body (RFC 9112, section 6.3)."""
REDIRECTS = frozenset({301, 302, 303, 307, 308})

REASONS = {
    200: "OK", 201: "Created", 204: "No Content", 301: "Moved Permanently", 302: "Found", 304: "Not Modified",
    400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    408: "Request Timeout", 500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway",
    503: "Service Unavailable", 504: "Gateway Timeout",
}  # fmt: skip


class EmptyReply(ConnectionError):
    """The server closed the connection without a byte of answer."""


class PartialReply(ConnectionError):
    """The connection ended inside the body; ``missing`` octets had been announced, None when unknown."""

    def __init__(self, missing: int | None) -> None:
        super().__init__("the connection ended inside the body")
        self.missing = missing


class LookupFailed(OSError):
    """The name in a URL has no IPv4 address; ``lookup`` says what the resolver did."""

    def __init__(self, lookup: Lookup) -> None:
        super().__init__(f"could not resolve {lookup.name}")
        self.lookup = lookup


class Url(NamedTuple):
    """An absolute URL in the parts that a client needs; ``target`` is path and query."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """What the Host header says: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS.get(self.scheme) else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def parse_url(text: str) -> Url:
    """A URL as people type it: ``http://`` may be missing. Raises ValueError for what is none."""
    parts = urlsplit(text if "://" in text else f"http://{text}")
    if not parts.hostname:
        raise ValueError(f"no host in {text!r}")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Url(parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS.get(parts.scheme, 80), target)


class Head(NamedTuple):
    """A response's start line and headers."""

    version: str
    status: int
    reason: str
    headers: Headers

    def header(self, name: str) -> str:
        """The first header of that name, whatever its case, or the empty string."""
        return find_header(self.headers, name)

    def lines(self) -> list[str]:
        """As on the wire, without the line ends."""
        start = f"{self.version} {self.status} {self.reason}".rstrip()
        return [start, *(f"{name}: {value}" for name, value in self.headers)]


class HttpReply(NamedTuple):
    """A whole response, where it came from, and how many redirects led there."""

    head: Head
    body: bytes
    url: Url
    peer: Endpoint
    local: Endpoint
    redirects: int = 0

    @property
    def status(self) -> int:
        return self.head.status

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


def find_header(headers: Headers, name: str) -> str:
    wanted = name.lower()
    return next((value for key, value in headers if key.lower() == wanted), "")


def parse_headers(lines: Sequence[str]) -> Headers:
    """Header lines as (name, value); raises WireError for a line without a colon."""
    headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise WireError("HTTP", f"bad header line {line[:80]!r}")
        headers.append((name, value.strip()))
    return tuple(headers)


def build_request(method: str, url: Url, headers: Headers, body: bytes = b"") -> bytes:
    """A request's bytes; Host comes first unless ``headers`` has one."""
    lines = [f"{method} {url.target} HTTP/1.1"]
    if not find_header(headers, "host"):
        lines.append(f"Host: {url.authority}")
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join((*lines, "", "")).encode("latin-1", "replace") + body


class Inlet:
    """Buffered reading from a Stream, under one deadline."""

    __slots__ = ("_buffer", "_deadline", "_stream")

    def __init__(self, stream: Stream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline
        self._buffer = b""

    def renew(self, deadline: Deadline) -> None:
        """Another time limit, for the next message on the same connection."""
        self._deadline = deadline

    async def _fill(self) -> bool:
        data = await self._stream.read(timeout=self._deadline.left())
        self._buffer += data
        return bool(data)

    async def head(self) -> list[str] | None:
        """The lines of a start line and headers; None when the stream ends before the first byte."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > HEAD_LIMIT:
                raise WireError("HTTP", "the headers do not end")
            if self._buffer and not self._buffer[:1].isalpha():
                raise WireError("HTTP", f"not a message: {self._buffer[:20]!r}")
            if not await self._fill():
                if self._buffer:
                    raise WireError("HTTP", f"not a whole message: {self._buffer[:40]!r}")
                return None
        head, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
        return head.decode("latin-1").split("\r\n")

    async def some(self, limit: int) -> bytes:
        """At least one byte, at most ``limit``; empty at the end of the stream."""
        if not self._buffer and not await self._fill():
            return b""
        data, self._buffer = self._buffer[:limit], self._buffer[limit:]
        return data

    async def line(self) -> bytes:
        """One CRLF-terminated line without its end; PartialReply when the stream ends first."""
        while (end := self._buffer.find(b"\r\n")) < 0:
            if not await self._fill():
                raise PartialReply(None)
        line, self._buffer = self._buffer[:end], self._buffer[end + 2 :]
        return line


class Exchange:
    """The client's side of a connection. ``received`` holds the body as far as it came, whatever happens."""

    def __init__(self, stream: Stream, deadline: Deadline) -> None:
        self._inlet = Inlet(stream, deadline)
        self.received = b""

    def renew(self, deadline: Deadline) -> None:
        """Another time limit, for the next request on this connection."""
        self._inlet.renew(deadline)

    async def head(self) -> Head:
        """The response's head; interim (1xx) responses are skipped.

        Raises EmptyReply, ConnectionResetError, TimeoutError, or WireError for what is not HTTP.
        """
        self.received = b""
        while True:
            lines = await self._inlet.head()
            if lines is None:
                raise EmptyReply("empty reply from server")
            version, _, rest = lines[0].partition(" ")
            status, _, reason = rest.partition(" ")
            if not version.startswith("HTTP/") or not status.isdecimal():
                raise WireError("HTTP", f"not a status line: {lines[0][:80]!r}")
            if not 100 <= int(status) < 200:
                return Head(version, int(status), reason, parse_headers(lines[1:]))

    async def body(self, method: str, head: Head) -> bytes:
        """The body that belongs to ``head``; PartialReply when the connection ends inside it."""
        if method == "HEAD" or head.status in BODILESS:
            return b""
        if "chunked" in head.header("transfer-encoding").lower():
            await self._chunks()
        elif length := head.header("content-length"):
            if not length.isdecimal():
                raise WireError("HTTP", f"bad Content-Length {length!r}")
            await self._octets(int(length))
        else:
            while data := await self._inlet.some(HEAD_LIMIT):
                self.received += data
        return self.received

    async def _octets(self, count: int) -> None:
        while count:
            data = await self._inlet.some(count)
            if not data:
                raise PartialReply(count)
            self.received += data
            count -= len(data)

    async def _chunks(self) -> None:
        while True:
            size = (await self._inlet.line()).split(b";")[0].strip()
            try:
                count = int(size, 16)
            except ValueError:
                raise WireError("HTTP", f"bad chunk size {size[:20]!r}") from None
            if count == 0:
                while await self._inlet.line():
                    continue  # trailers say nothing that anybody here asks for
                return
            await self._octets(count)
            await self._inlet.line()


def keeps_open(head: Head) -> bool:
    """Whether the connection can carry another request after this response (RFC 9112, section 9.3)."""
    word = head.header("connection").lower()
    delimited = bool(
        head.header("content-length") or head.header("transfer-encoding") or head.status in BODILESS
    )
    return delimited and (word == "keep-alive" if head.version == "HTTP/1.0" else word != "close")


async def resolve_name(host: Host, name: str) -> Sequence[IpAddress]:
    """The addresses of a name, in the resolver's order, or the address that it is; else LookupFailed."""
    from netsim.programs.resolve import getaddrinfo

    try:
        return (ip_address(name),)
    except ValueError:
        lookup = await getaddrinfo(host, name)
    if not lookup.addresses:
        raise LookupFailed(lookup)
    return lookup.addresses


async def connect_any(
    host: Host, addresses: Sequence[IpAddress], port: int, *, timeout: float | None, cause: Cause
) -> Stream:
    """A connection to the first address that accepts one; otherwise the error of the last."""
    for address in addresses[:-1]:
        try:
            return await host.connect(Endpoint(address, port), timeout=timeout, cause=cause)
        except OSError:
            continue
    return await host.connect(Endpoint(addresses[-1], port), timeout=timeout, cause=cause)


async def secure(
    stream: Stream, name: str, *, timeout: float | None, verify: bool = False, authority: str | None = None
) -> Stream:
    """TLS on a connection; ``authority`` is the PEM text of who may have signed the server's certificate.

    Raises ssl.SSLError, which is an OSError. Nobody is trusted when ``verify`` comes without an authority.
    """
    from netsim.programs.tls import TlsStream, client_context  # ssl costs 15 ms of every start

    secured = TlsStream(stream, client_context(authority=authority, verify=verify), server_name=name)
    await secured.handshake(timeout=timeout)
    return secured


async def fetch(
    host: Host, url: str, *, method: str = "GET", headers: Headers = (), body: bytes = b"",
    timeout: float | None = None, redirects: int = 0, cause: Cause | None = None,
) -> HttpReply:  # fmt: skip
    """Request a URL, with a new connection for each step, and follow at most ``redirects`` redirects.

    As the kubelet's probes do, it takes every certificate. ``cause`` says why, in captures.

    Raises ValueError for a bad URL, LookupFailed, what ``Host.connect`` raises, and what ``Exchange`` raises.
    """
    deadline = Deadline(host, timeout)
    where = parse_url(url)
    followed = 0
    while True:
        why = cause or Cause(Stage.PROGRAM, f"{method} {where}")
        reply = await _request(host, where, method, headers, body, deadline, why)
        location = reply.head.header("location")
        if reply.status not in REDIRECTS or not location or followed == redirects:
            return reply._replace(redirects=followed)
        where = parse_url(urljoin(str(where), location))
        followed += 1


class Session:
    """A client that uses its connection again, as one with a pool of connections does.

    The connection is opened for the first request, and anew when the server has ended it (RFC 9112, section
    9.3.1: what has no effect may be asked again). ``is_new`` says whether the last request opened one.
    """

    def __init__(self, host: Host, *, timeout: float | None) -> None:
        self._host = host
        self._timeout = timeout
        self._stream: Stream | None = None
        self._exchange: Exchange | None = None
        self._server: tuple[str, str, int] | None = None
        self.is_new = False

    async def get(self, url: str, *, headers: Headers, cause: Cause) -> HttpReply:
        """One request; raises as ``fetch`` does."""
        where, deadline = parse_url(url), Deadline(self._host, self._timeout)
        server = (where.scheme, where.host, where.port)
        self.is_new = self._server != server
        if not self.is_new:
            try:
                return await self._ask(where, headers, deadline, cause)
            except ConnectionError:
                self.is_new = True
        self.close()
        self._stream = await _open(self._host, where, deadline, cause)
        self._exchange, self._server = Exchange(self._stream, deadline), server
        return await self._ask(where, headers, deadline, cause)

    async def _ask(self, url: Url, headers: Headers, deadline: Deadline, cause: Cause) -> HttpReply:
        stream, exchange = self._stream, self._exchange
        assert stream is not None and exchange is not None
        kept = False
        try:
            exchange.renew(deadline)
            await stream.write(build_request("GET", url, headers), cause=cause)
            head = await exchange.head()
            body = await exchange.body("GET", head)
            kept = keeps_open(head)
            return HttpReply(head, body, url, stream.peer, stream.local)
        finally:
            if not kept:
                self.close()

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._stream is not None:
            self._stream.close()
        self._stream = self._exchange = self._server = None


async def _open(host: Host, url: Url, deadline: Deadline, cause: Cause) -> Stream:
    """A connection to the server of a URL, with TLS for https."""
    if url.scheme not in DEFAULT_PORTS:
        raise ValueError(f"cannot speak {url.scheme}")
    addresses = await resolve_name(host, url.host)
    stream = await connect_any(host, addresses, url.port, timeout=deadline.left(), cause=cause)
    if url.scheme == "http":
        return stream
    try:
        return await secure(stream, url.host, timeout=deadline.left())
    except BaseException:
        stream.close()
        raise


async def _request(
    host: Host, url: Url, method: str, headers: Headers, body: bytes, deadline: Deadline, cause: Cause
) -> HttpReply:
    stream = await _open(host, url, deadline, cause)
    try:
        exchange = Exchange(stream, deadline)
        await stream.write(build_request(method, url, (*headers, ("Connection", "close")), body), cause=cause)
        head = await exchange.head()
        return HttpReply(head, await exchange.body(method, head), url, stream.peer, stream.local)
    finally:
        stream.close()

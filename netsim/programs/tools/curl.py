"""curl 8.5 for http, https and telnet: its options, its exit codes, and what it says with ``-v``.

Output is that of a curl on a terminal, so there is no progress meter. Of TLS only the end is told.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple, NoReturn
from urllib.parse import urljoin

from netsim.base.address import IpAddress
from netsim.base.errors import WireError
from netsim.programs.host import Endpoint, Stream
from netsim.programs.http import (
    REDIRECTS,
    EmptyReply,
    Exchange,
    Head,
    PartialReply,
    Url,
    build_request,
    keeps_open,
    parse_url,
    secure,
)
from netsim.programs.resolve import getaddrinfo
from netsim.programs.terminal import bytes_from_text, text_from_bytes
from netsim.programs.tools.call import Call
from netsim.programs.tools.curl_options import USER_AGENT, BadOption, Settings, read_settings
from netsim.programs.tools.names import literal
from netsim.programs.waiting import Deadline, within
from netsim.resolver.commands import Family, Libc, Lookup

CONNECT_TIMEOUT = 300.0
"""libcurl's DEFAULT_CONNECT_TIMEOUT."""
SILENCE = 10.0
"""Seconds without a byte after which ``telnet://`` ends, since nobody presses Ctrl-C."""
RETRY_FIRST = 1.0
"""Seconds before the first retry; each further one doubles it."""
TRANSIENT = frozenset({6, 7, 28})


UNVERIFIED = """
More details here: https://curl.se/docs/sslcerts.html

curl failed to verify the legitimacy of the server and therefore could not
establish a secure connection to it. To learn more about this situation and
how to fix it, please visit the web page mentioned above."""


class CurlError(Exception):
    """The end of a transfer: libcurl's exit code and message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Connection(NamedTuple):
    """An open connection and what it leads to."""

    stream: Stream
    exchange: Exchange
    host: str
    port: int
    number: int


async def curl(call: Call) -> int:
    try:
        settings = read_settings(call.args)
    except BadOption as error:
        call.error(f"curl: {error}\n")
        settings = None
    if settings is not None and settings.on("version"):
        call.write(f"{USER_AGENT.replace('/', ' ')} (x86_64-pc-linux-gnu)\nProtocols: http https telnet\n")
        return 0
    if settings is None or not settings.urls:
        call.error("curl: try 'curl --help' or 'curl --manual' for more information\n")
        return 2
    session = _Session(call, settings)
    code = 0
    for index, url in enumerate(settings.urls):
        code = await session.transfer(url, settings.outputs[index] if index < len(settings.outputs) else "")
    session.hang_up()
    return code


class _Session:
    """One run of curl: its transfers share a connection where they can."""

    def __init__(self, call: Call, settings: Settings) -> None:
        self.call = call
        self.settings = settings
        self.connection: Connection | None = None
        self.connections = 0

    def say(self, line: str) -> None:
        if self.settings.on("verbose"):
            self.call.error(f"* {line}\n")

    async def transfer(self, text: str, output: str) -> int:
        """One URL with its retries; the exit code."""
        settings = self.settings
        wait = RETRY_FIRST
        for attempt in range(settings.retries + 1):
            transfer = _Transfer(self, text, output)
            code, message = 0, ""
            try:
                await transfer.go()
            except CurlError as error:
                code, message = error.code, error.message
                if not settings.on("silent") or settings.on("show-error"):
                    self.call.error(f"curl: ({code}) {message}\n")
            transient = code in TRANSIENT - {7} or (code == 7 and settings.on("retry-connrefused"))
            if attempt == settings.retries or not transient:
                break
            await self.call.host.sleep(wait)
            wait *= 2
        self.call.write(transfer.report(settings.write_out, code, message))
        return code

    def hang_up(self) -> None:
        if self.connection is not None:
            self.connection.stream.close()
            self.connection = None


class _Transfer:
    """One URL: resolve, connect, ask, follow redirects, print."""

    def __init__(self, session: _Session, text: str, output: str) -> None:
        self.session = session
        self.call = session.call
        self.settings = session.settings
        self.text = text
        self.output = output
        self.began = self.call.host.now()
        self.deadline = Deadline(self.call.host, self.settings.max_time)
        self.url: Url | None = None
        self.head: Head | None = None
        self.redirects = 0
        self.received = 0
        self.times = {"namelookup": 0.0, "connect": 0.0, "starttransfer": 0.0}
        self.local: Endpoint | None = None
        self.peer: Endpoint | None = None

    def _elapsed(self) -> float:
        return self.call.host.now() - self.began

    def _milliseconds(self) -> int:
        return round(self._elapsed() * 1000)

    async def go(self) -> None:
        """The whole transfer; raises CurlError."""
        try:
            self.url = parse_url(self.text)
        except ValueError:
            raise CurlError(3, "URL rejected: Malformed input to a URL function") from None
        method, body = self.settings.method, self.settings.body
        while True:
            head = await self._request(self.url, method, body)
            location = head.header("location")
            if not (self.settings.on("location") and head.status in REDIRECTS and location):
                break
            if self.redirects >= self.settings.max_redirects:
                raise CurlError(47, f"Maximum ({self.settings.max_redirects}) redirects followed")
            self.redirects += 1
            if head.status in (301, 302, 303) and not self.settings.on("request"):
                method, body = ("HEAD" if method == "HEAD" else "GET"), b""
            self.url = parse_url(urljoin(str(self.url), location))
            self.session.say(f"Issue another request to this URL: '{self.url}'")

    # --- connecting ----------------------------------------------------------------------------------

    async def _connect(self, url: Url) -> Connection:
        session = self.session
        old = session.connection
        if old is not None and (old.host, old.port) == (url.host, url.port):
            session.say(f"Re-using existing connection with host {url.host}")
            return old
        session.hang_up()
        if url.scheme not in ("http", "https", "telnet"):
            raise CurlError(1, f'Protocol "{url.scheme}" not supported')
        addresses = await self._resolve(url)
        stream = await self._first(url, addresses)
        self.times["connect"] = self._elapsed()
        self.local, self.peer = stream.local, stream.peer
        session.say(f"Connected to {url.host} ({stream.peer.address}) port {url.port}")
        if url.scheme == "https":
            stream = await self._secure(url, stream)
        connection = Connection(
            stream, Exchange(stream, self.deadline), url.host, url.port, session.connections
        )
        session.connections += 1
        session.connection = connection
        return connection

    async def _secure(self, url: Url, stream: Stream) -> Stream:
        """TLS on the connection, unless the certificate is not good enough."""
        settings = self.settings
        authority = (
            self.call.host.files.get(self.call.path(settings.authority)) if settings.authority else None
        )
        if settings.authority and authority is None:
            stream.close()
            self._give_up(77, f"error setting certificate file: {settings.authority}")
        limit = self._shortest(settings.connect_timeout or CONNECT_TIMEOUT)
        try:
            return await secure(
                stream, url.host, timeout=limit, verify=not settings.on("insecure"), authority=authority
            )
        except TimeoutError:
            code, message = 28, f"SSL connection timeout after {self._milliseconds()} milliseconds"
        except OSError as error:
            if problem := getattr(error, "verify_message", ""):
                code, message = 60, f"SSL certificate problem: {problem}{UNVERIFIED}"
            elif reason := getattr(error, "reason", ""):
                code, message = 35, f"TLS connect error: {reason.lower().replace('_', ' ')}"
            else:
                code, message = 35, f"Recv failure: {error.strerror or 'Connection reset by peer'}"
        stream.close()
        return self._give_up(code, message)

    async def _resolve(self, url: Url) -> Sequence[IpAddress]:
        session = self.session
        for name, port, address in self.settings.resolve:
            if name == url.host and port == url.port:
                session.say(f"Added {name}:{port}:{address} to DNS cache")
                session.say(f"Hostname {name} was found in DNS cache")
                return (ip_address(address.strip("[]")),)
        numeric = literal(url.host)
        if numeric is not None:
            return (numeric,)
        lookup = await self._look_up(url)
        self.times["namelookup"] = self._elapsed()
        ipv4 = [address for address in lookup.addresses if isinstance(address, IPv4Address)]
        ipv6 = [address for address in lookup.addresses if isinstance(address, IPv6Address)]
        if not lookup.addresses:
            why = f" ({lookup.reason})" if lookup.libc is Libc.CARES else ""
            self._give_up(6, f"Could not resolve host: {url.host}{why}")
        session.say(f"Host {url.host}:{url.port} was resolved.")
        session.say(f"IPv6: {', '.join(map(str, ipv6)) or '(none)'}")
        session.say(f"IPv4: {', '.join(map(str, ipv4)) or '(none)'}")
        return lookup.addresses

    @property
    def _libc(self) -> Libc:
        """Alpine builds its curl with c-ares (since 3.19)."""
        return Libc.CARES if self.call.host.libc is Libc.MUSL else self.call.host.libc

    async def _look_up(self, url: Url) -> Lookup:
        family = Family.INET if self.settings.on("ipv4") else Family.UNSPEC
        if self.settings.on("ipv6"):
            family = Family.INET6
        limit = self._shortest(self.settings.connect_timeout)
        try:
            lookup = getaddrinfo(self.call.host, url.host, family=family, env=self.call.env, libc=self._libc)
            return await within(self.call.host, limit, lookup)
        except TimeoutError:
            return self._give_up(28, f"Resolving timed out after {self._milliseconds()} milliseconds")

    def _shortest(self, other: float | None) -> float | None:
        """The time left for a step: of ``-m``, and of the step's own limit."""
        limits = [limit for limit in (self.deadline.left(), other) if limit is not None]
        return min(limits, default=None)

    async def _first(self, url: Url, addresses: Sequence[IpAddress]) -> Stream:
        """A connection to the first address that gives one."""
        limit = self.settings.connect_timeout
        code = 7
        reason = "Couldn't connect to server"
        for address in addresses:
            self.session.say(f"  Trying {Endpoint(address, url.port)}...")
            try:
                return await self.call.host.connect(
                    Endpoint(address, url.port),
                    timeout=self._shortest(limit or CONNECT_TIMEOUT),
                    cause=self.call.cause,
                )
            except TimeoutError as error:
                code = 28
                if error.errno != errno.ETIMEDOUT:
                    reason = "Timeout was reached"
                self.session.say(f"connect to {address} port {url.port} failed: Connection timed out")
            except OSError as error:
                if error.errno == errno.ENETUNREACH:
                    self.session.say(f"Immediate connect fail for {address}: {error.strerror}")
                else:
                    self.session.say(f"connect to {address} port {url.port} failed: {error.strerror}")
        if code == 28 and self.settings.max_time is not None and limit is None:
            self._give_up(28, f"Connection timed out after {self._milliseconds()} milliseconds")
        return self._cannot_connect(url, code, reason)

    def _cannot_connect(self, url: Url, code: int, reason: str) -> NoReturn:
        after = f"after {self._milliseconds()} ms"
        self._give_up(code, f"Failed to connect to {url.host} port {url.port} {after}: {reason}")

    def _give_up(self, code: int, message: str) -> NoReturn:
        self.session.say(message)
        self._close("Closing connection")
        raise CurlError(code, message)

    def _close(self, line: str) -> None:
        self.session.say(line)
        self.session.hang_up()

    # --- asking --------------------------------------------------------------------------------------

    async def _request(self, url: Url, method: str, body: bytes) -> Head:
        connection = await self._connect(url)
        if url.scheme == "telnet":
            return await self._telnet(connection)
        connection.exchange.renew(self.deadline)
        length = (("Content-Length", str(len(body))),) if body else ()
        headers = (*self.settings.headers, *length)
        request = build_request(method, url, headers, body)
        self._show_request(request)
        try:
            await connection.stream.write(request, cause=self.call.cause)
            head = self.head = await connection.exchange.head()
            self.times["starttransfer"] = self._elapsed()
            self._show_head(head)
            data = await connection.exchange.body(method, head)
        except PartialReply as error:
            self._print(connection.exchange.received)
            missing = f"{error.missing} bytes remaining to read"
            self._give_up(
                18, f"transfer closed with {missing if error.missing else 'outstanding read data remaining'}"
            )
        except (OSError, WireError) as error:
            self._print(connection.exchange.received)
            self._give_up(*self._reason(error, len(connection.exchange.received)))
        self._finish(head, data, connection)
        return head

    def _finish(self, head: Head, data: bytes, connection: Connection) -> None:
        failed = head.status >= 400
        if self.settings.on("fail") and failed:
            self._give_up(22, f"The requested URL returned error: {head.status}")
        followed = self.settings.on("location") and head.status in REDIRECTS and head.header("location")
        if not followed:
            self._print(data)
        if keeps_open(head):
            self.session.say(f"Connection #{connection.number} to host {connection.host} left intact")
        else:
            self._close("Closing connection")
        if self.settings.on("fail-with-body") and failed:
            raise CurlError(22, f"The requested URL returned error: {head.status}")

    def _reason(self, error: OSError | WireError, received: int) -> tuple[int, str]:
        if isinstance(error, TimeoutError):
            after = f"after {self._milliseconds()} milliseconds"
            return 28, f"Operation timed out {after} with {received} bytes received"
        if isinstance(error, EmptyReply):
            return 52, "Empty reply from server"
        if isinstance(error, WireError):
            return 1, "Received HTTP/0.9 when not allowed"
        return 56, f"Recv failure: {error.strerror or 'Connection reset by peer'}"

    async def _telnet(self, connection: Connection) -> Head:
        try:
            text = self.call.stdin.read()
            if text:
                await connection.stream.write(bytes_from_text(text), cause=self.call.cause)
            while data := await connection.stream.read(timeout=self._shortest(SILENCE)):
                self._print(data)
        except TimeoutError:
            if self.settings.max_time is not None:
                self._give_up(*self._reason(TimeoutError(), self.received))
        except OSError as error:
            self._give_up(*self._reason(error, self.received))
        self._close("Closing connection")
        return Head("", 0, "", ())

    # --- printing ------------------------------------------------------------------------------------

    def _show_request(self, request: bytes) -> None:
        if self.settings.on("verbose"):
            head = text_from_bytes(request).partition("\r\n\r\n")[0]
            self.call.error("".join(f"> {line}\n" for line in [*head.split("\r\n"), ""]))

    def _show_head(self, head: Head) -> None:
        lines = [*head.lines(), ""]
        if self.settings.on("verbose"):
            self.call.error("".join(f"< {line}\n" for line in lines))
        if self.settings.on("include") or self.settings.on("head"):
            self.call.write("".join(f"{line}\r\n" for line in lines))

    def _print(self, data: bytes) -> None:
        self.received += len(data)
        text = text_from_bytes(data)
        path = self.output
        if self.settings.on("remote-name") and self.url is not None:
            path = self.url.target.partition("?")[0].rpartition("/")[2]
            if not path:
                raise CurlError(23, "Failed writing received data to disk/application")
        if not path or path == "-":
            self.call.write(text)
        elif path != "/dev/null":
            self.call.host.files[self.call.path(path)] = text

    def report(self, template: str, code: int, message: str) -> str:
        """``--write-out``'s text."""
        if not template:
            return ""
        head, total = self.head, self._elapsed()
        status = f"{head.status if head else 0:03}"
        location = head.header("location") if head and head.status in REDIRECTS else ""
        values = {f"time_{name}": f"{seconds:.6f}" for name, seconds in self.times.items()} | {
            "content_type": head.header("content-type") if head else "",
            "errormsg": message,
            "exitcode": str(code),
            "http_code": status,
            "http_version": head.version.removeprefix("HTTP/") if head else "0",
            "local_ip": str(self.local.address) if self.local else "",
            "local_port": str(self.local.port if self.local else 0),
            "method": self.settings.method,
            "num_connects": str(self.session.connections),
            "num_redirects": str(self.redirects),
            "redirect_url": urljoin(str(self.url), location) if location else "",
            "remote_ip": str(self.peer.address) if self.peer else "",
            "remote_port": str(self.peer.port if self.peer else 0),
            "response_code": status,
            "scheme": self.url.scheme.upper() if head and self.url else "",
            "size_download": str(self.received),
            "speed_download": str(int(self.received / total) if total else 0),
            "ssl_verify_result": "0",
            "time_appconnect": "0.000000",
            "time_pretransfer": f"{self.times['connect']:.6f}",
            "time_redirect": "0.000000",
            "time_total": f"{total:.6f}",
            "url": self.text,
            "url_effective": str(self.url or self.text),
        }
        return self._written_out(template, values)

    def _written_out(self, template: str, values: Mapping[str, str]) -> str:
        """The template with ``%{name}``, ``%%``, ``\\n``, ``\\r`` and ``\\t`` replaced."""

        def replace(match: re.Match[str]) -> str:
            whole, name = match[0], match[1]
            if name is None:
                return {"%%": "%", "\\n": "\n", "\\r": "\r", "\\t": "\t"}[whole]
            if name not in values:
                self.call.error(f"curl: unknown --write-out variable: '{name}'\n")
            return values.get(name, "")

        return re.sub(r"%\{(\w+)\}|%%|\\[nrt]", replace, template)

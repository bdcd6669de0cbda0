"""wget, as GNU wget 1.21 reports on a transfer; busybox's own is in ``wget_busybox``."""

from __future__ import annotations

import math
from urllib.parse import urljoin

from netsim.base.address import IpAddress
from netsim.base.errors import WireError
from netsim.programs.clock import wall_clock
from netsim.programs.host import Endpoint, Stream
from netsim.programs.http import (
    DEFAULT_PORTS,
    REDIRECTS,
    EmptyReply,
    Exchange,
    Head,
    PartialReply,
    build_request,
    keeps_open,
    parse_url,
    secure,
)
from netsim.programs.terminal import text_from_bytes
from netsim.programs.tools.call import Call, Failure
from netsim.programs.tools.names import NameNotFound, addresses_of, literal
from netsim.programs.tools.options import read_options
from netsim.programs.tools.wget_busybox import wget_busybox
from netsim.programs.tools.wget_options import (
    LONG,
    READ_TIMEOUT,
    SHORT,
    Job,
    agent_headers,
    read_job,
    target_path,
)
from netsim.programs.waiting import Deadline

USER_AGENT = "Wget/1.21.3"
LONGEST_WAIT = 10.0
"""``--waitretry``: the n-th retry waits n seconds, but not longer."""
NETWORK_FAILURE = 4
UNVERIFIED = 5
SERVER_ERROR = 8


class _GiveUp(Exception):
    """The transfer ended: wget's exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class _Transient(Exception):
    """Something that another try may mend; the message is the end of the line that it interrupts."""


async def wget(call: Call) -> int:
    if call.context.busybox:
        return await wget_busybox(call)
    options = read_options(call, SHORT, LONG, code=2)
    if not options.operands:
        call.error(
            "wget: missing URL\nUsage: wget [OPTION]... [URL]...\n\nTry `wget --help' for more options.\n"
        )
        return 1
    job = read_job(options)
    quiet = (
        2 if options.has("q", "quiet") else 1 if options.has("no-verbose") or options.value("n") == "v" else 0
    )
    status = 0
    for text in options.operands:
        try:
            await _Transfer(call, job, text, quiet).go()
        except _GiveUp as end:
            status = end.code
    return status


class _Transfer:
    """One URL of the command line, with its tries and redirects."""

    def __init__(self, call: Call, job: Job, text: str, quiet: int) -> None:
        self.call = call
        self.job = job
        self.quiet = quiet
        self.stream: Stream | None = None
        self.exchange: Exchange | None = None
        self.connected_to = ("", 0)
        try:
            self.url = parse_url(text)
        except ValueError:
            raise Failure(f"{text}: Invalid host name.") from None

    def say(self, text: str) -> None:
        if not self.quiet:
            self.call.error(text)

    def _now(self) -> str:
        return f"{wall_clock(self.call.host):%Y-%m-%d %H:%M:%S}"

    async def go(self) -> None:
        followed = 0
        try:
            while True:
                location = await self._with_tries()
                if not location:
                    return
                if followed >= self.job.redirects:
                    self.say(f"{self.job.redirects} redirections exceeded.\n")
                    raise _GiveUp(SERVER_ERROR)
                followed += 1
                self.url = parse_url(urljoin(str(self.url), location))
        finally:
            self._hang_up()

    def _hang_up(self) -> None:
        if self.stream is not None:
            self.stream.close()
            self.stream = self.exchange = None

    async def _with_tries(self) -> str:
        """One document; the place that it redirects to, or the empty string."""
        tries = self.job.tries or math.inf
        attempt = 1
        while True:
            again = f"(try:{attempt:2})  " if attempt > 1 else ""
            self.say(f"--{self._now()}--  {again}{self.url}\n")
            try:
                return await self._once(first=attempt == 1)
            except _Transient as trouble:
                self._hang_up()
                self.say(f"{trouble}{'Retrying' if attempt < tries else 'Giving up'}.\n\n")
            if attempt >= tries:
                raise _GiveUp(NETWORK_FAILURE)
            await self.call.host.sleep(min(float(attempt), LONGEST_WAIT))
            attempt += 1

    async def _once(self, *, first: bool) -> str:
        exchange = await self._connect(first=first)
        assert self.stream is not None
        own = (
            ("User-Agent", USER_AGENT), ("Accept", "*/*"), ("Accept-Encoding", "identity"),
            ("Connection", "Keep-Alive"),
        )  # fmt: skip
        request = build_request(
            self.job.method, self.url, agent_headers(self.job.headers, own), self.job.body
        )
        exchange.renew(Deadline(self.call.host, self.job.timeout or READ_TIMEOUT))
        began = self.call.host.now()
        self.say("HTTP request sent, awaiting response... ")
        try:
            await self.stream.write(request, cause=self.call.cause)
            head = await exchange.head()
        except EmptyReply:
            raise _Transient("No data received.\n") from None
        except WireError:
            raise _Transient("200 No headers, assuming HTTP/0.9\n") from None
        except OSError as error:
            reason = error.strerror or "Connection timed out"
            raise _Transient(f"Read error ({reason}) in headers.\n") from None
        self._show_head(head)
        body = await self._body(exchange, head)
        if not keeps_open(head):
            self._hang_up()
        location = head.header("location")
        if head.status in REDIRECTS and location:
            self.say(f"Location: {location} [following]\n")
            return location
        self._conclude(head, body, self.call.host.now() - began)
        return ""

    async def _body(self, exchange: Exchange, head: Head) -> bytes:
        try:
            return await exchange.body(self.job.method, head)
        except PartialReply as error:
            lost = f"Connection closed at byte {len(exchange.received)} ({error.missing} missing).\n"
            raise _Transient(f"{self._now()} - {lost}") from None
        except OSError as error:
            reason = error.strerror or "Connection timed out"
            raise _Transient(f"Read error at byte {len(exchange.received)} ({reason}).\n") from None

    # --- connecting ----------------------------------------------------------------------------------

    async def _connect(self, *, first: bool) -> Exchange:
        url = self.url
        if self.exchange is not None and self.connected_to == (url.host, url.port):
            self.say(f"Reusing existing connection to {url.host}:{url.port}.\n")
            return self.exchange
        self._hang_up()
        if url.scheme not in DEFAULT_PORTS:
            self.call.error(f"{self.url}: Unsupported scheme ‘{url.scheme}’.\n")
            raise _GiveUp(1)
        numeric = literal(url.host) is not None
        addresses = await self._resolve(announce=first and not numeric)
        timed_out = False
        for address in addresses:
            remote = Endpoint(address, url.port)
            shown = str(remote) if numeric else f"{url.host} ({url.host})|{address}|:{url.port}"
            self.say(f"Connecting to {shown}... ")
            try:
                self.stream = await self.call.host.connect(
                    remote, timeout=self.job.timeout, cause=self.call.cause
                )
            except OSError as error:
                self.say(f"failed: {error.strerror or 'Connection timed out'}.\n")
                timed_out = isinstance(error, TimeoutError) or self.job.retry_refused
                continue
            self.say("connected.\n")
            if url.scheme == "https":
                self.stream = await self._secure(self.stream)
            self.connected_to = (url.host, url.port)
            self.exchange = Exchange(self.stream, Deadline(self.call.host, READ_TIMEOUT))
            return self.exchange
        if timed_out:
            raise _Transient("")
        raise _GiveUp(NETWORK_FAILURE)

    async def _secure(self, stream: Stream) -> Stream:
        try:
            return await secure(stream, self.url.host, timeout=self.job.timeout, verify=not self.job.insecure)
        except OSError as error:
            stream.close()
            if not getattr(error, "verify_message", ""):
                self.say("Unable to establish SSL connection.\n")
                raise _GiveUp(NETWORK_FAILURE) from None
            name = self.url.host
            self.call.error(
                f"ERROR: cannot verify {name}'s certificate:\n"
                "  Unable to locally verify the issuer's authority.\n"
                f"To connect to {name} insecurely, use `--no-check-certificate'.\n"
            )
            raise _GiveUp(UNVERIFIED) from None

    async def _resolve(self, *, announce: bool) -> list[IpAddress]:
        name = self.url.host
        if announce:
            self.say(f"Resolving {name} ({name})... ")
        try:
            addresses = await addresses_of(self.call, name, family=self.job.family)
        except NameNotFound as error:
            self.say(f"failed: {error.reason}.\nwget: unable to resolve host address ‘{name}’\n")
            raise _GiveUp(NETWORK_FAILURE) from None
        if announce:
            self.say(f"{', '.join(map(str, addresses))}\n")
        return addresses

    # --- printing ------------------------------------------------------------------------------------

    def _show_head(self, head: Head) -> None:
        lines = head.lines()
        if self.job.server_response:
            self.say("\n" + "".join(f"  {line}\n" for line in lines))
        else:
            self.say(f"{head.status} {head.reason}\n")

    def _conclude(self, head: Head, body: bytes, seconds: float) -> None:
        """Say what came, and save it; ends the transfer when the server reported an error."""
        if head.status >= 400 and not self.job.spider:
            if self.quiet < 2:
                self.call.error(
                    f"{self._now()} ERROR {head.status}: {head.reason}.\n" + "\n" * (not self.quiet)
                )
            if self.job.content_on_error:
                self._save(body)
            raise _GiveUp(SERVER_ERROR)
        if head.status >= 400:
            self.say("Remote file does not exist -- broken link!!!\n\n")
            raise _GiveUp(SERVER_ERROR)
        kind = head.header("content-type").partition(";")[0]
        length = head.header("content-length") or "unspecified"
        self.say(f"Length: {length}{f' [{kind}]' if kind else ''}\n")
        if self.job.spider:
            self.say("Remote file exists.\n\n")
            return
        name = self._save(body)
        number, unit = _rate(len(body), seconds)
        full = f"[{len(body)}/{length}]" if length.isdecimal() else f"[{len(body)}]"
        saved = "written to stdout" if name == "STDOUT" else f"‘{name}’ saved"
        self.say(f"Saving to: ‘{name}’\n\n     0K {'':52}100% {number}{unit}={round(seconds, 3):g}s\n\n")
        self.say(f"{self._now()} ({number} {unit}B/s) - {saved} {full}\n\n")
        if self.quiet == 1:
            shown = "-" if name == "STDOUT" else name
            self.call.error(f'{self._now()} URL:{self.url} {full} -> "{shown}" [1]\n')

    def _save(self, body: bytes) -> str:
        """Write the document where it belongs; the name under which the messages speak of it."""
        path = target_path(self.job, self.url)
        if path == "-":
            self.call.write(text_from_bytes(body))
            return "STDOUT"
        if path != "/dev/null":
            self.call.host.files[self.call.path(path)] = text_from_bytes(body)
        return path


def _rate(octets: int, seconds: float) -> tuple[str, str]:
    """Bytes per second in three digits, and their unit; of a transfer that took no time there is no rate."""
    if seconds <= 0:
        return "--.-", "K"
    value = octets / seconds
    for unit in ("", "K", "M"):
        if value < 1024:
            return f"{value:.3g}", unit
        value /= 1024
    return f"{value:.3g}", "G"

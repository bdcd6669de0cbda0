"""busybox's wget (networking/wget.c of 1.35): fewer words, exit code 1 for everything."""

from __future__ import annotations

from urllib.parse import urljoin

from netsim.base.errors import WireError
from netsim.programs.host import Endpoint, Stream
from netsim.programs.http import (
    DEFAULT_PORTS,
    REDIRECTS,
    EmptyReply,
    Exchange,
    Head,
    Url,
    build_request,
    parse_url,
    secure,
)
from netsim.programs.terminal import text_from_bytes
from netsim.programs.tools.call import Call, Failure
from netsim.programs.tools.names import NameNotFound, addresses_of
from netsim.programs.tools.options import read_options
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

MAX_REDIRECTS = 5
BAR = "*" * 32


async def wget_busybox(call: Call) -> int:
    options = read_options(call, SHORT, LONG)
    if not options.operands:
        call.error("BusyBox: Usage: wget [-cqS] [--spider] [-O FILE] [-P DIR] [-T SEC] URL...\n")
        return 1
    job = read_job(options)
    for text in options.operands:
        await _fetch(call, job, text, quiet=options.has("q", "quiet"))
    return 0


async def _fetch(call: Call, job: Job, text: str, *, quiet: bool) -> None:
    """One URL; what goes wrong is a Failure."""
    url = parse_url(text)
    announced = ""
    for _ in range(MAX_REDIRECTS + 1):
        stream = await _connect(call, job, url, quiet=quiet or announced == url.authority)
        announced = url.authority
        try:
            head, body = await _ask(call, job, url, stream)
        finally:
            stream.close()
        if job.server_response:
            call.error("".join(f"  {line}\n" for line in [*head.lines(), ""]))
        location = head.header("location")
        if head.status in REDIRECTS and location:
            url = parse_url(urljoin(str(url), location))
            continue
        if head.status >= 300:
            raise Failure(f"server returned error: {head.version} {head.status} {head.reason}")
        _save(call, job, url, body, quiet=quiet)
        return
    raise Failure("too many redirections")


async def _connect(call: Call, job: Job, url: Url, *, quiet: bool) -> Stream:
    if url.scheme not in DEFAULT_PORTS:
        raise Failure(f"not an http or ftp url: {url}")
    try:
        address = (await addresses_of(call, url.host))[0]
    except NameNotFound:
        raise Failure(f"bad address '{url.host}'") from None
    if not quiet:
        call.error(f"Connecting to {url.authority} ({address}:{url.port})\n")
    try:
        stream = await call.host.connect(Endpoint(address, url.port), timeout=job.timeout, cause=call.cause)
        if url.scheme == "http":
            return stream
        call.error("wget: note: TLS certificate validation not implemented\n")
        return await secure(stream, url.host, timeout=job.timeout)
    except TimeoutError as error:
        if not error.errno:
            raise Failure("download timed out") from None
        raise Failure(f"can't connect to remote host ({address}): {error.strerror}") from None
    except OSError as error:
        raise Failure(f"can't connect to remote host ({address}): {error.strerror}") from None


async def _ask(call: Call, job: Job, url: Url, stream: Stream) -> tuple[Head, bytes]:
    exchange = Exchange(stream, Deadline(call.host, job.timeout or READ_TIMEOUT))
    headers = agent_headers(job.headers, (("User-Agent", "Wget"), ("Connection", "close")))
    try:
        await stream.write(build_request(job.method, url, headers, job.body), cause=call.cause)
        head = await exchange.head()
        return head, await exchange.body(job.method, head)
    except TimeoutError:
        raise Failure("download timed out") from None
    except (EmptyReply, WireError):
        raise Failure("error getting response") from None
    except OSError as error:
        raise Failure(
            f"error getting response: {error.strerror}" if error.strerror else "connection closed prematurely"
        ) from None


def _save(call: Call, job: Job, url: Url, body: bytes, *, quiet: bool) -> None:
    say = call.error if not quiet else _nothing
    if job.spider:
        say("remote file exists\n")
        return
    path = target_path(job, url)
    size = f"{len(body):6}  0:00:00 ETA\n"
    if path == "-":
        say("writing to stdout\n")
        call.write(text_from_bytes(body))
        say(f"-                    100% |{BAR}|{size}written to stdout\n")
        return
    full = call.path(path)
    if job.output is None and full in call.host.files:
        raise Failure(f"can't open '{path}': File exists")
    if path != "/dev/null":
        call.host.files[full] = text_from_bytes(body)
    name = path.rpartition("/")[2]
    say(f"saving to '{path}'\n{name:<20} 100% |{BAR}|{size}'{path}' saved\n")


def _nothing(text: str) -> None:
    """``-q``."""

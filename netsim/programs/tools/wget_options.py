"""wget's command line: the options that GNU's and busybox's have in common, and what follows from them."""

from __future__ import annotations

from typing import NamedTuple

from netsim.programs.http import Headers, Url
from netsim.programs.tools.options import Options
from netsim.resolver.commands import Family

READ_TIMEOUT = 900.0
"""Seconds, when the command line names none (``--read-timeout``)."""
TRIES = 20
MAX_REDIRECTS = 20

SHORT = "qO:T:t:Sn:P:U:Y:c4vd"
LONG = (
    "quiet", "output-document=", "timeout=", "tries=", "server-response", "spider", "no-verbose", "header=",
    "post-data=", "user-agent=", "no-check-certificate", "max-redirect=", "connect-timeout=", "read-timeout=",
    "directory-prefix=", "inet4-only", "method=", "body-data=", "retry-connrefused", "waitretry=",
    "no-proxy", "proxy=", "content-on-error", "version",
)  # fmt: skip


class Job(NamedTuple):
    """What the command line says about a transfer; ``timeout`` None: the defaults."""

    method: str
    headers: Headers
    body: bytes
    output: str | None
    prefix: str
    timeout: float | None
    tries: int
    redirects: int
    spider: bool
    server_response: bool
    retry_refused: bool
    insecure: bool
    content_on_error: bool
    family: Family


def read_job(options: Options) -> Job:
    """The options that GNU's and busybox's wget have in common."""
    body = options.value("post-data", "body-data") or ""
    spider = options.has("spider")
    timeout = options.number("T", "timeout", "connect-timeout", default=0)
    asked = (text.partition(":") for text in options.values("header"))
    headers = [(name.strip(), value.strip()) for name, _, value in asked]
    if body:
        headers.append(("Content-Type", "application/x-www-form-urlencoded"))
        headers.append(("Content-Length", str(len(body.encode()))))
    return Job(
        method=options.value("method") or ("HEAD" if spider else "POST" if body else "GET"),
        headers=tuple(headers),
        body=body.encode(),
        output=options.value("O", "output-document"),
        prefix=options.value("P", "directory-prefix") or "",
        timeout=timeout or None,
        tries=int(options.number("t", "tries", default=TRIES)),
        redirects=int(options.number("max-redirect", default=MAX_REDIRECTS)),
        spider=spider,
        server_response=options.has("S", "server-response"),
        retry_refused=options.has("retry-connrefused"),
        insecure=options.has("no-check-certificate"),
        content_on_error=options.has("content-on-error"),
        family=Family.INET if options.has("4", "inet4-only") else Family.UNSPEC,
    )


def agent_headers(options_headers: Headers, own: Headers) -> Headers:
    """The program's own headers, except those that the user gives, then the user's."""
    given = {name.lower() for name, _ in options_headers}
    return (*(pair for pair in own if pair[0].lower() not in given), *options_headers)


def target_path(job: Job, url: Url) -> str:
    """Where a document is saved, as the messages name it: ``-O``, or the URL's last part."""
    if job.output is not None:
        return job.output
    name = url.target.partition("?")[0].rpartition("/")[2] or "index.html"
    return f"{job.prefix.rstrip('/')}/{name}" if job.prefix else name

"""``get: URL``: request a page, as often as asked, and see what came and who was asked.

Every request resolves and connects anew, as so many runs of curl would; with ``keepAlive`` one connection
serves them all, as in a program that has a pool of connections.
"""

from __future__ import annotations

import re
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, NamedTuple

from netsim.base.address import IpAddress
from netsim.base.cause import Cause, Stage
from netsim.base.errors import WireError
from netsim.checks import connect
from netsim.checks.connect import OK, Attempt
from netsim.checks.traffic import repeated
from netsim.checks.verb import Expect, Judgement, Verb, one_or_all
from netsim.cluster.hosts import CONNECT_TIMEOUT
from netsim.cluster.landing import Openings, Owns, landing, owner
from netsim.objects.topology import Check
from netsim.programs.host import Host
from netsim.programs.http import Headers, LookupFailed, Session, fetch, parse_url

if TYPE_CHECKING:
    from netsim.checks.targets import Book
    from netsim.cluster.cluster import Cluster

SHOWN_BODY = 400
"""Characters of a body that a report shows."""


class Fetch(NamedTuple):
    """One request: its connection, and the answer; ``status`` is None when there was none."""

    attempt: Attempt
    status: int | None
    body: str


Fetches = tuple[Fetch, ...]


async def observe(cluster: Cluster, check: Check) -> Fetches:
    """Request the URL ``count`` times."""
    handle = cluster.find(check.origin)
    url: str = check.arguments["get"]
    if check.arguments.get("keepAlive"):
        return _observe_kept(cluster, handle.host, check)

    def one(number: str, openings: Openings) -> Coroutine[Any, Any, Fetch]:
        cause = Cause(Stage.PROGRAM, f"GET {parse_url(url)}{number}")
        return _fetch(handle.host, check, cause, openings, owner(cluster))

    return repeated(cluster, handle.host, check, one)


def _observe_kept(cluster: Cluster, host: Host, check: Check) -> Fetches:
    """The requests over a connection that is used again; each landed where its connection did."""
    count: int = check.arguments.get("count", 1)
    every: float = check.arguments.get("every", 0.0)
    openings, owns = Openings(), owner(cluster)
    session = Session(host, timeout=CONNECT_TIMEOUT)

    async def all_of_them() -> list[Fetch]:
        began = host.now()
        fetched: list[Fetch] = []
        for number in range(count):
            await host.sleep(max(0.0, began + number * every - host.now()))
            cause = Cause(Stage.PROGRAM, f"GET {parse_url(check.arguments['get'])} (no. {number + 1})")
            one = await _fetch(host, check, cause, openings, owns, session)
            if not session.is_new and fetched:
                one = one._replace(attempt=one.attempt._replace(landing=fetched[-1].attempt.landing))
            fetched.append(one)
        return fetched

    with cluster.plane.recording(openings):
        try:
            return tuple(cluster.pump(all_of_them()))
        finally:
            session.close()


async def _fetch(
    host: Host, check: Check, cause: Cause, openings: Openings, owns: Owns, session: Session | None = None
) -> Fetch:
    url: str = check.arguments["get"]
    headers: Headers = tuple(check.arguments.get("headers", {}).items())
    status, body, result = None, "", OK
    offered: tuple[IpAddress, ...] = ()
    with openings.following(cause) as records:
        try:
            if session is None:
                reply = await fetch(host, url, headers=headers, timeout=CONNECT_TIMEOUT, cause=cause)
            else:
                reply = await session.get(url, headers=headers, cause=cause)
        except LookupFailed as error:
            result, detail = "unresolved", str(error)
        except (OSError, WireError) as error:
            notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
            what = getattr(error, "strerror", None) or error
            result, detail = "failed", f"{url}: {what}{notes}"
        else:
            status, body = reply.status, reply.text
            detail, offered = f"{url} answered {status}", (reply.peer.address,)
        landed = landing(records, cause, owns)
    return Fetch(Attempt(result, detail, landed, offered), status, body)


def judge_status(fetches: Fetches, expect: Expect, book: Book) -> Judgement:
    seen = [fetch.status for fetch in fetches]
    return Judgement(set(seen) == {expect["status"]}, one_or_all(seen))


def judge_lost(fetches: Fetches, expect: Expect, book: Book) -> Judgement:
    lost = sum(fetch.status is None for fetch in fetches)
    return Judgement(lost == expect["lost"], lost)


def judge_body(fetches: Fetches, expect: Expect, book: Book) -> Judgement:
    """The regular expression is found in every body; the first in which it is not is what was observed."""
    wanted = re.compile(expect["body"], re.MULTILINE)
    without = [fetch.body for fetch in fetches if fetch.status is None or not wanted.search(fetch.body)]
    return Judgement(not without, (without or [fetches[0].body])[0][:SHOWN_BODY])


def judge_reached(fetches: Fetches, expect: Expect, book: Book) -> Judgement:
    return connect.judge_reached(tuple(fetch.attempt for fetch in fetches), expect, book)


def judge_balanced(fetches: Fetches, expect: Expect, book: Book) -> Judgement:
    return connect.judge_balanced(tuple(fetch.attempt for fetch in fetches), expect, book)


def judge_targets(fetches: Fetches, expect: Expect, book: Book) -> Judgement:
    return connect.judge_targets(tuple(fetch.attempt for fetch in fetches), expect, book)


def detail(fetches: Fetches) -> str:
    return connect.detail(tuple(fetch.attempt for fetch in fetches))


GET = Verb[Fetches](
    "get",
    observe,
    {
        "status": judge_status,
        "lost": judge_lost,
        "body": judge_body,
        "reached": judge_reached,
        "balanced": judge_balanced,
        "targets": judge_targets,
    },
    at_least={"status": 200},
    detail=detail,
)

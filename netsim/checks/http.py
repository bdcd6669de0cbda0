"""``get: URL``: request a page, as often as asked, and see what came and who was asked.

Every request resolves and connects anew, as so many runs of curl would.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from netsim.base.address import IpAddress
from netsim.base.cause import Cause, Stage
from netsim.base.errors import WireError
from netsim.checks import connect
from netsim.checks.connect import OK, Attempt
from netsim.checks.journey import landing, owner
from netsim.checks.verb import Expect, Judgement, Verb, one_or_all
from netsim.objects.topology import Check
from netsim.programs.http import LookupFailed, parse_url

if TYPE_CHECKING:
    from netsim.checks.targets import Book
    from netsim.cluster.cluster import Cluster
    from netsim.cluster.hosts import HostHandle

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
    return tuple([await _fetch(cluster, handle, check) for _ in range(check.arguments.get("count", 1))])


async def _fetch(cluster: Cluster, handle: HostHandle, check: Check) -> Fetch:
    url: str = check.arguments["get"]
    status, body, result = None, "", OK
    offered: tuple[IpAddress, ...] = ()
    with cluster.capture() as packets:
        try:
            reply = await handle.get(url, headers=check.arguments.get("headers"))
        except LookupFailed as error:
            result, detail = "unresolved", str(error)
        except (OSError, WireError) as error:
            notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
            what = getattr(error, "strerror", None) or error
            result, detail = "failed", f"{url}: {what}{notes}"
        else:
            status, body = reply.status, reply.text
            detail, offered = f"{url} answered {status}", (reply.peer.address,)
    cause = Cause(Stage.PROGRAM, f"GET {parse_url(url)}")
    landed = landing(packets.records, cause, owner(cluster))
    return Fetch(Attempt(result, detail, landed, offered), status, body)


def judge_status(fetches: Fetches, expect: Expect, book: Book) -> Judgement:
    seen = [fetch.status for fetch in fetches]
    return Judgement(set(seen) == {expect["status"]}, one_or_all(seen))


def judge_body(fetches: Fetches, expect: Expect, book: Book) -> Judgement:
    """The regular expression is found in every body; the first in which it is not is what was observed."""
    wanted = re.compile(expect["body"], re.MULTILINE)
    without = [fetch.body for fetch in fetches if fetch.status is None or not wanted.search(fetch.body)]
    return Judgement(not without, (without or [fetches[0].body])[0][:SHOWN_BODY])


def judge_reached(fetches: Fetches, expect: Expect, book: Book) -> Judgement:
    return connect.judge_reached(tuple(fetch.attempt for fetch in fetches), expect, book)


def detail(fetches: Fetches) -> str:
    return connect.detail(tuple(fetch.attempt for fetch in fetches))


GET = Verb[Fetches](
    "get",
    observe,
    {"status": judge_status, "body": judge_body, "reached": judge_reached},
    at_least={"status": 200},
    detail=detail,
)

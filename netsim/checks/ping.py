"""``ping: TARGET``: ICMP echoes, one a second, to a target, an address or a name.

As with ping(8), an answer counts also when it comes after the next request, and the last one is waited for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from netsim.base.address import IpAddress
from netsim.checks.targets import Book, book_of
from netsim.checks.verb import Expect, Judgement, Verb, one_or_all
from netsim.cluster.connection import resolve_first
from netsim.objects.topology import Check
from netsim.programs.host import EchoReply, Host, Task

if TYPE_CHECKING:
    from netsim.cluster.cluster import Cluster

INTERVAL = 1.0  # seconds from one request to the next; ping(8)
PATIENCE = 10.0  # seconds to wait for an answer; iputils ping's MAXWAIT
DATA_SIZE = 56  # octets; ping(8)
REPLY = "reply"


class Echo(NamedTuple):
    """One request: ``reply`` is None when nothing came back, and ``detail`` says what happened."""

    reply: EchoReply | None
    detail: str

    @property
    def result(self) -> str:
        """``ok``, ``timeout``, or ``unreachable`` when an ICMP error came instead."""
        if self.reply is None:
            return "timeout"
        return "ok" if self.reply.kind == REPLY else "unreachable"


class Pings(NamedTuple):
    """All requests to one address; none, when there is no address."""

    target: str
    echoes: tuple[Echo, ...]
    problem: str = ""

    @property
    def result(self) -> str:
        """``ok`` when anything answered, else how the last request ended."""
        results = [echo.result for echo in self.echoes]
        return "ok" if "ok" in results else next(reversed(results), self.problem)


async def observe(cluster: Cluster, check: Check) -> Pings:
    """Send ``count`` requests."""
    handle = cluster.find(check.origin)
    name = _address(book_of(cluster), check.arguments["ping"])
    return cluster.pump(_ping_all(handle.host, name, handle.env, check))


def _address(book: Book, target: str) -> str:
    """The address of what is written with a slash; of several the lowest. Other names go to the resolver."""
    if "/" not in target:
        return target
    return str(min(book.addresses(target), key=lambda address: (address.version, int(address))))


async def _ping_all(host: Host, name: str, env: Mapping[str, str], check: Check) -> Pings:
    target: str = check.arguments["ping"]
    address, _ = await resolve_first(host, name, env)
    if address is None:
        return Pings(target, (), "unresolved")
    count: int = check.arguments.get("count", 1)
    tasks: list[Task[Echo]] = []
    for sequence in range(1, count + 1):
        if tasks:
            await host.sleep(INTERVAL)
        tasks.append(host.spawn(_ping(host, address, sequence, check), f"ping {address}"))
    return Pings(target, tuple([await task.join() for task in tasks]))


async def _ping(host: Host, address: IpAddress, sequence: int, check: Check) -> Echo:
    size: int = check.arguments.get("size", DATA_SIZE)
    df: bool = check.arguments.get("df", False)
    try:
        reply = await host.ping(address, sequence=sequence, size=size, df=df, timeout=PATIENCE)
    except TimeoutError:
        return Echo(None, f"no reply from {address} within {PATIENCE:g} s")
    except OSError as error:
        nothing = EchoReply("net-unreachable", address, sequence, 0, 0, 0.0)
        return Echo(nothing, f"{address}: {error.strerror}")
    if reply.kind == REPLY:
        return Echo(reply, f"{reply.source} replied")
    return Echo(reply, f"ICMP {reply.kind} from {reply.source}")


def judge_result(pings: Pings, expect: Expect, book: Book) -> Judgement:
    return Judgement(pings.result == expect["result"], pings.result)


def judge_ttl(pings: Pings, expect: Expect, book: Book) -> Judgement:
    """The TTL with which every reply arrived; without a reply there is none."""
    seen = [echo.reply.ttl for echo in pings.echoes if echo.reply is not None and echo.result == "ok"]
    return Judgement(set(seen) == {expect["ttl"]}, one_or_all(seen))


def judge_lost(pings: Pings, expect: Expect, book: Book) -> Judgement:
    """Requests without a reply; an ICMP error is no reply."""
    lost = sum(echo.result != "ok" for echo in pings.echoes)
    return Judgement(bool(pings.echoes) and lost == expect["lost"], lost if pings.echoes else None)


def judge_error(pings: Pings, expect: Expect, book: Book) -> Judgement:
    """The ICMP error that came for every request."""
    seen = [
        echo.reply.kind if echo.reply is not None and echo.result != "ok" else None for echo in pings.echoes
    ]
    return Judgement(set(seen) == {expect["error"]}, one_or_all(seen))


def judge_error_source(pings: Pings, expect: Expect, book: Book) -> Judgement:
    """Who sent it."""
    errors = [echo.reply for echo in pings.echoes if echo.reply is not None and echo.result != "ok"]
    wanted = book.sources(expect["errorFrom"])
    seen = [str(error.source) for error in errors]
    return Judgement(bool(errors) and all(error.source in wanted for error in errors), one_or_all(seen))


def detail(pings: Pings) -> str:
    if pings.problem:
        return f"{pings.target}: Name or service not known"
    return next((echo.detail for echo in pings.echoes if echo.result != "ok"), "")


PING = Verb[Pings](
    "ping",
    observe,
    {
        "result": judge_result,
        "ttl": judge_ttl,
        "lost": judge_lost,
        "error": judge_error,
        "errorFrom": judge_error_source,
    },
    assumed={"result": "ok"},
    detail=detail,
)

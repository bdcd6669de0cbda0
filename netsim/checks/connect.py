"""``connect: NAME:PORT``: open connections, over TCP or UDP, and see where each of them ended.

A UDP "connection" is one datagram and its answer: ``ok`` when an answer comes, ``refused`` for ICMP port
unreachable, ``timeout`` when nothing comes back. With ``via`` it is the Service's node port on that node
that is dialled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from netsim.base.address import IpAddress
from netsim.base.cause import Cause, Stage
from netsim.checks.balance import split
from netsim.checks.targets import Addresses, Book, book_of
from netsim.checks.traffic import repeated
from netsim.checks.verb import Expect, Judgement, Verb, one_or_all
from netsim.cluster.connection import Connection, Target, parse_target, try_connect, try_datagram
from netsim.cluster.hosts import CONNECT_TIMEOUT
from netsim.cluster.landing import Landing, Openings, landing, owner
from netsim.objects.topology import ROUND_ROBIN, Check
from netsim.plan.entries import HostName

if TYPE_CHECKING:
    from netsim.cluster.cluster import Cluster
    from netsim.cluster.hosts import HostHandle

OK = "ok"
NO_HOST = "nowhere"
"""Stands in reports for connections whose first packet reached nobody."""


class Attempt(NamedTuple):
    """One connection: how it ended, where it landed, and the addresses that its name gave."""

    result: str
    detail: str
    landing: Landing
    offered: tuple[IpAddress, ...] = ()


Attempts = tuple[Attempt, ...]


# --- observing -------------------------------------------------------------------------------------------


async def observe(cluster: Cluster, check: Check) -> Attempts:
    """Open ``count`` connections."""
    handle = cluster.find(check.origin)
    protocol: str = check.arguments.get("protocol", "tcp")
    over = _over_udp if protocol == "udp" else _over_tcp
    book, via = book_of(cluster), check.arguments.get("via")
    named = parse_target(check.arguments["connect"])
    target = _dialled(book, named) if via is None else _node_port(book, named, via, protocol)
    attempts = repeated(cluster, handle.host, check, partial(over, cluster, handle, target))
    if via is None:
        return attempts
    offered = tuple(book.addresses(named.name))
    return tuple(attempt._replace(offered=offered) for attempt in attempts)


async def _over_tcp(
    cluster: Cluster, handle: HostHandle, target: Target, number: str, openings: Openings
) -> Attempt:
    cause = Cause(Stage.PROGRAM, f"connect to {target}{number}")
    with openings.following(cause) as records:
        connection = await try_connect(
            handle.host, target, timeout=CONNECT_TIMEOUT, env=handle.env, cause=cause
        )
        return _attempt(connection, landing(records, cause, owner(cluster)))


async def _over_udp(
    cluster: Cluster, handle: HostHandle, target: Target, number: str, openings: Openings
) -> Attempt:
    cause = Cause(Stage.PROGRAM, f"datagram to {target}{number}")
    with openings.following(cause) as records:
        connection = await try_datagram(
            handle.host, target, timeout=CONNECT_TIMEOUT, env=handle.env, cause=cause
        )
        return _attempt(connection, landing(records, cause, owner(cluster)))


def _dialled(book: Book, target: Target) -> Target:
    """``NAME:PORT``, where a name with a slash is a target and is dialled by its address."""
    if "/" not in target.name:
        return target
    first = min(book.addresses(target.name), key=lambda address: (address.version, int(address)))
    return target._replace(name=str(first))


def _node_port(book: Book, target: Target, node: str, protocol: str) -> Target:
    """The node's address, and the node port of the Service's port."""
    address = book.node_address(node, target.name)
    return Target(str(address), book.node_port(target.name, target.port, protocol))


def _attempt(connection: Connection, landed: Landing) -> Attempt:
    if connection.lookup is not None:
        offered: tuple[IpAddress, ...] = connection.lookup.addresses
    else:
        offered = (connection.address.address,) if connection.address is not None else ()
    return Attempt(connection.result, connection.detail, landed, offered)


# --- judging ---------------------------------------------------------------------------------------------


def judge_result(attempts: Attempts, expect: Expect, book: Book) -> Judgement:
    counts = Counter(attempt.result for attempt in attempts)
    return Judgement(set(counts) == {expect["result"]}, _alone(counts))


def judge_reached(attempts: Attempts, expect: Expect, book: Book) -> Judgement:
    """Every connection landed at one of the targets, and each target got at least one."""
    wanted = [book.reachable(target) for target in expect["reached"]]
    landed = [attempt.landing.address for attempt in attempts]
    everywhere = frozenset[IpAddress]().union(*wanted)
    passed = everywhere.issuperset(landed) and all(target.intersection(landed) for target in wanted)
    return Judgement(passed, _landings(attempts, book))


def judge_balanced(attempts: Attempts, expect: Expect, book: Book) -> Judgement:
    """The split over all that could be reached is equal, or not, as ``balance`` decides."""
    candidates = _candidates(attempts, expect, book)
    counts = dict.fromkeys(sorted(candidates, key=book.name), 0)
    strays = 0
    for attempt in attempts:
        if attempt.landing.address in counts:
            counts[attempt.landing.address] += 1
        else:
            strays += 1
    told = ", ".join(f"{book.name(address)} {count}" for address, count in counts.items()) or "no targets"
    if strays:
        return Judgement(False, f"{told}, elsewhere {strays}")
    verdict = split(list(counts.values()))
    if not verdict.decidable:
        return Judgement(False, f"{told}: too few connections to tell, raise count")
    told += f" (chi-square {verdict.statistic:.2f}, p = {verdict.probability:.4f})"
    return Judgement(verdict.equal is expect["balanced"], told)


def judge_targets(attempts: Attempts, expect: Expect, book: Book) -> Judgement:
    """At how many different addresses they landed; what landed nowhere counts nothing."""
    seen = len({attempt.landing.address for attempt in attempts} - {None})
    return Judgement(seen == expect["targets"], seen)


def _candidates(attempts: Attempts, expect: Expect, book: Book) -> Addresses:
    """The addresses among which connections are shared out: those of ``reached``, or of what was dialled, of
    the families in which connections landed."""
    targets: Iterable[str] = expect.get("reached") or {
        book.name(address): None for attempt in attempts for address in attempt.offered
    }
    found = frozenset[IpAddress]().union(*(book.reachable(target) for target in targets))
    landed = {attempt.landing.address.version for attempt in attempts if attempt.landing.address is not None}
    return frozenset(address for address in found if address.version in landed) if landed else found


def judge_order(attempts: Attempts, expect: Expect, book: Book) -> Judgement:
    """Connection by connection, each landed at the target of its place in the list, or in turn."""
    if expect["order"] == ROUND_ROBIN:
        return _judge_turns(attempts, expect, book)
    wanted = [book.reachable(target) for target in expect["order"]]
    landed = [attempt.landing.address for attempt in attempts]
    passed = len(wanted) == len(landed) and all(
        address in target for address, target in zip(landed, wanted, strict=True)
    )
    return Judgement(passed, [_place(address, book) for address in landed])


def _judge_turns(attempts: Attempts, expect: Expect, book: Book) -> Judgement:
    """A first round reached each that could be reached, and every other round repeats it."""
    candidates = _candidates(attempts, expect, book)
    landed = [attempt.landing.address for attempt in attempts]
    shown = [_place(address, book) for address in landed]
    if len(landed) <= len(candidates):
        return Judgement(False, f"{', '.join(shown)}: too few connections to tell, raise count")
    first = landed[: len(candidates)]
    in_turn = set(first) == set(candidates) and all(
        address == first[number % len(first)] for number, address in enumerate(landed)
    )
    return Judgement(in_turn, shown)


def judge_source(attempts: Attempts, expect: Expect, book: Book) -> Judgement:
    """Every server saw an address of the target as its client."""
    wanted = book.sources(expect["source"])
    seen = [attempt.landing.source for attempt in attempts]
    shown = one_or_all(NO_HOST if source is None else book.render(source) for source in seen)
    return Judgement(wanted.issuperset(seen), shown)


def judge_path(attempts: Attempts, expect: Expect, book: Book) -> Judgement:
    """Every opening packet crossed these hosts, in this order; switches are not counted."""
    wanted = [book.hosts(target) for target in expect["path"]]
    paths = [[host for host in attempt.landing.hosts if not book.is_switch(host)] for attempt in attempts]
    passed = all(_along(path, wanted) for path in paths)
    return Judgement(passed, one_or_all([book.host_name(host) for host in path] for path in paths))


def _along(path: Sequence[HostName], wanted: Sequence[frozenset[HostName]]) -> bool:
    return len(path) == len(wanted) and all(host in there for host, there in zip(path, wanted, strict=True))


def judge_encapsulation(attempts: Attempts, expect: Expect, book: Book) -> Judgement:
    seen = [attempt.landing.encapsulation for attempt in attempts]
    shown = one_or_all(word or "no packet" for word in seen)
    return Judgement(set(seen) == {expect["encapsulation"]}, shown)


def detail(attempts: Attempts) -> str:
    """What was said of the first connection that came to nothing."""
    return next((attempt.detail for attempt in attempts if attempt.result != OK), "")


def _landings(attempts: Attempts, book: Book) -> dict[str, int]:
    counts = Counter(_place(attempt.landing.address, book) for attempt in attempts)
    return dict(sorted(counts.items()))


def _place(address: IpAddress | None, book: Book) -> str:
    return NO_HOST if address is None else book.name(address)


def _alone(counts: Counter[str]) -> Any:
    return next(iter(counts)) if len(counts) == 1 else dict(sorted(counts.items()))


CONNECT = Verb[Attempts](
    "connect",
    observe,
    {
        "reached": judge_reached,
        "result": judge_result,
        "balanced": judge_balanced,
        "targets": judge_targets,
        "order": judge_order,
        "source": judge_source,
        "path": judge_path,
        "encapsulation": judge_encapsulation,
    },
    assumed={"result": OK},
    detail=detail,
)

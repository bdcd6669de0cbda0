"""Asking: a client dials its destinations, many of them at once, and each as often as it takes to see where
its connections can land.

What a connection met is read from its first packet (``cluster.landing``), not from what the server says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import NamedTuple

from netsim.base.address import IpAddress
from netsim.base.cause import Cause, Stage
from netsim.capture.record import Recorder
from netsim.cluster.cluster import Cluster
from netsim.cluster.connection import Connection, Target, resolve_first, try_connect, try_datagram
from netsim.cluster.diff.identity import Place, Places
from netsim.cluster.diff.outcome import Landed, Outcome
from netsim.cluster.diff.subjects import Client, Destination, Dial, How
from netsim.cluster.hosts import HostHandle
from netsim.cluster.landing import Landing, Openings, Owns, landing, owner
from netsim.cluster.summary import candidates
from netsim.plan.entries import HostName
from netsim.resolver.commands import Lookup
from netsim.wire import dns

TIMEOUT = 4.0
"""Virtual seconds: more than the three in which a neighbour is given up, and two SYNs long."""
AT_ONCE = 32
"""Destinations that a client dials together. More packets to a neighbour whose address is not known yet would
overflow the queue in which they wait (unres_qlen), and a ping that is lost there is not sent again."""
TRIES_PER_TARGET = 4
LULL = 0.1
"""Virtual seconds in which the packets come that nobody waited for."""
_ENDPOINT = re.compile(r"(\d+\.\d+\.\d+\.\d+(?=:\d)|(?<=\[)[0-9a-f:]+(?=\]:\d))")
_KNOWN = re.compile(r"\bamong \d+$")
"""What is said of a target that was chosen before, by session affinity."""
_ECHO = "reply"


class Try(NamedTuple):
    """One connection. ``among`` are the addresses of which its target was chosen, if its packet says it."""

    result: str
    connection: Connection
    landed: Landing
    among: frozenset[IpAddress]


class Asked(NamedTuple):
    """One question that was recorded: from which host, and what its first packet says of itself."""

    outcome: Outcome
    host: HostName
    said: str


class Prober:
    """One cluster whose clients are sent to ask, ``tries`` times each at most."""

    def __init__(self, cluster: Cluster, tries: int) -> None:
        self._cluster = cluster
        self._tries = tries
        self.places = Places(cluster)
        self._owns: Owns = owner(cluster)

    def ask(self, client: Client, dials: Mapping[Destination, Dial]) -> dict[Destination, Outcome]:
        """What comes of each of them, for that client."""
        handle = self._cluster.find(client.find)
        openings = Openings()

        async def together(part: Sequence[Dial], first: int) -> list[Outcome]:
            tasks = [
                handle.host.spawn(self._outcome(client, handle, dial, first + number, openings), "diff")
                for number, dial in enumerate(part)
            ]
            return [await task.join() for task in tasks]

        everything, outcomes = list(dials.values()), list[Outcome]()
        with self._cluster.plane.recording(openings):
            for first in range(0, len(everything), AT_ONCE):
                part = everything[first : first + AT_ONCE]
                outcomes += self._cluster.pump(together(part, first))
        return dict(zip(dials, outcomes, strict=True))

    def ask_once(self, client: Client, dial: Dial, recorder: Recorder) -> Asked:
        """Ask once, with every packet recorded, also what comes after the result is known."""
        handle = self._cluster.find(client.find)
        host = dial.host_for(client)
        openings = Openings()
        with self._cluster.plane.recording(recorder), self._cluster.plane.recording(openings):
            if dial.how in (How.PING, How.LOOKUP):
                said = f"ping {host}, request 1"
                outcome = self._cluster.pump(self._outcome(client, handle, dial, 0, openings))
            else:
                said = f"connect to {host}:{dial.port}"
                cause = Cause(Stage.PROGRAM, said)
                target = Target(host, dial.port)
                one = self._cluster.pump(self._try(handle, dial, target, cause, openings))
                outcome = self._summed_up(client, dial, [one])
            self._cluster.advance(LULL)
        return Asked(outcome, handle.plan_name, said)

    async def _outcome(
        self, client: Client, handle: HostHandle, dial: Dial, number: int, openings: Openings
    ) -> Outcome:
        host = dial.host_for(client)
        if dial.how is How.PING:
            return Outcome((await _ping(handle, host),))
        if dial.how is How.LOOKUP:
            return self._looked_up(Outcome(), (await resolve_first(handle.host, host, handle.env))[1])
        tries: list[Try] = []
        while not tries or self._goes_on(tries):
            cause = Cause(Stage.PROGRAM, f"connect to {host}:{dial.port} (pair {number})")
            tries.append(await self._try(handle, dial, Target(host, dial.port), cause, openings))
            if tries[-1].connection.lookup is not None:
                break  # the address behind the name is a destination of its own
        return self._summed_up(client, dial, tries)

    async def _try(
        self, handle: HostHandle, dial: Dial, target: Target, cause: Cause, openings: Openings
    ) -> Try:
        attempt = try_datagram if dial.how is How.UDP else try_connect
        with openings.following(cause) as records:
            connection = await attempt(handle.host, target, timeout=TIMEOUT, env=handle.env, cause=cause)
            landed = landing(records, cause, self._owns)
            if landed.address is not None:
                landed = landed._replace(address=self.places.behind(landed.address, landed.hosts[-1]))
            texts = [note.cause.text for record in records for note in record.notes]
        return Try(_result(connection, landed, dial), connection, landed, _among(texts, landed))

    def _goes_on(self, tries: Sequence[Try]) -> bool:
        among = frozenset[IpAddress]().union(*(one.among for one in tries))
        seen = {one.landed.address for one in tries}
        return not among <= seen and len(tries) < min(TRIES_PER_TARGET * len(among), self._tries)

    # --- summing up ----------------------------------------------------------------------------------

    def _summed_up(self, client: Client, dial: Dial, tries: Sequence[Try]) -> Outcome:
        among = frozenset[IpAddress]().union(*(one.among for one in tries))
        landed = {one.landed.address for one in tries if one.landed.address is not None}
        counts: dict[str, int] = {}
        for address in among | landed:
            who = self.places.at(address).who
            counts[who] = counts.get(who, 0) + (address in among)
        outcome = Outcome(
            results=tuple(sorted({one.result for one in tries})),
            targets=tuple(sorted(counts.items())),
            landed=tuple(sorted(set(self._ways(client, dial, tries)))),
            complete=bool(among) and among <= landed,
        )
        lookup = tries[0].connection.lookup
        return outcome if lookup is None else self._looked_up(outcome, lookup)

    def _looked_up(self, outcome: Outcome, lookup: Lookup | None) -> Outcome:
        """The outcome with what the name gave, and what that cost."""
        if lookup is None:
            return outcome
        answer = lookup.reason if lookup.error is not None else self.places.render(lookup.addresses)
        asked = tuple(
            f"{query.name} {dns.type_name(query.qtype)}: {query.outcome.value}" for query in lookup.queries
        )
        return outcome._replace(answer=answer, queries=asked)

    def _ways(self, client: Client, dial: Dial, tries: Sequence[Try]) -> Iterator[Landed]:
        """How those that arrived somewhere came there."""
        for landed in (one.landed for one in tries):
            if landed.address is not None and landed.source is not None:
                target = self.places.at(landed.address)
                entry = self._entry(client, dial, landed)
                relation = self._relation(client, landed.address, entry, target.node)
                source = self._source(client, landed.source, entry, target.node)
                yield Landed(target.who, relation, source, landed.encapsulation)

    def _entry(self, client: Client, dial: Dial, landed: Landing) -> str:
        """The node whose kube-proxy decides: the one that is dialled, or else the first on the way."""
        try:
            place = self.places.at(ip_address(dial.host))
        except ValueError:
            place = Place("")
        first = next(filter(None, map(self.places.node_named, landed.hosts)), "")
        return place.node if place.who == f"node/{place.node}" else client.node or first

    def _relation(self, client: Client, address: IpAddress, entry: str, node: str) -> str:
        """Where a target is, seen from the client and from the node where its connection enters."""
        if not node:
            return "outside the cluster"
        if entry == client.node:
            if address in client.addresses:
                return "the client itself"
            if node == client.node:
                return "on the same node"
            return "on another node" if self.places.same_subnet(entry, node) else "in another subnet"
        if node == entry:
            return "on the node of entry"
        other = "on another node" if self.places.same_subnet(entry, node) else "in another subnet"
        return f"{other} than the node of entry"

    def _source(self, client: Client, source: IpAddress, entry: str, target: str) -> str:
        """Whom the target saw as its client."""
        place = self.places.at(source)
        if source in client.addresses or place.who == client.who:
            return "the client"
        if not place.node or place.who != f"node/{place.node}":
            return place.who
        if place.node == client.node:
            return "the client's node"
        if place.node == entry:
            return "the node of entry"
        return "the target's node" if place.node == target else place.who


def _result(connection: Connection, landed: Landing, dial: Dial) -> str:
    """A datagram that nobody answers is delivered all the same when it arrived."""
    if dial.how is How.UDP and connection.result == "timeout" and landed.address is not None:
        return "delivered"
    detail = connection.detail
    if connection.result == "refused":
        return "refused by RST" if "RST" in detail else "refused by ICMP"
    if connection.result == "unreachable":
        return "network unreachable" if "Network" in detail else "host unreachable"
    return connection.result


def _among(texts: Sequence[str], landed: Landing) -> frozenset[IpAddress]:
    """The addresses of which one was chosen; empty where the packet does not say it."""
    for text in texts:
        if listed := candidates(text):
            return frozenset(map(ip_address, _ENDPOINT.findall(listed)))
        if _KNOWN.search(text):
            return frozenset()
    return frozenset() if landed.address is None else frozenset((landed.address,))


async def _ping(handle: HostHandle, host: str) -> str:
    """The result of one ICMP echo."""
    try:
        reply = await handle.host.ping(ip_address(host), sequence=1, timeout=TIMEOUT)
    except TimeoutError:
        return "timeout"
    except OSError as error:
        return str(error.strerror).lower()
    return "ok" if reply.kind == _ECHO else f"ICMP {reply.kind}"

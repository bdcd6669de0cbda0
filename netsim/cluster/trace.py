"""The walk of one connection, told from its packets: names, choices, hops, envelopes, and the way back.

``HostHandle.trace`` records every interface while one TCP connection is opened and closed; ``Trace`` follows
each packet by its serial. What is printed is what the packets' notes say: no table is asked afterwards. The
first packet that takes a way is told hop by hop, a later one on the same way in one line; before all of it
stands the summary of ``netsim.cluster.summary``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from netsim.base.cause import Note, Stage
from netsim.capture.dissect import Summary, summarize
from netsim.capture.journeys import Journey
from netsim.capture.record import PacketRecord
from netsim.cluster.connection import Connection, Target
from netsim.cluster.furniture import dns_service_ip
from netsim.cluster.summary import candidates, summary_lines, without_candidates, wrapped
from netsim.objects.core import Service
from netsim.resolver.commands import Lookup
from netsim.wire import dns

if TYPE_CHECKING:
    from netsim.cluster.cluster import Cluster

MARGIN = " " * 7
HOST_WIDTH = 22
_CHOICES = (Stage.RESOLVER, Stage.SERVICE, Stage.NAT, Stage.FILTER, Stage.FAULT, Stage.ICMP, Stage.DNS)


class Trace(NamedTuple):
    """One connection explained.

    ``names`` say what readers call each address, ``titles`` what they call each host; ``resolv_conf`` is the
    file that the resolver read; ``hint`` says what to do about a name that has no address, if that is known.
    """

    origin: str
    target: Target
    connection: Connection
    journeys: tuple[Journey, ...]
    names: Mapping[bytes, str]
    titles: Mapping[str, str]
    resolv_conf: str
    hint: str = ""

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def summary(self) -> Iterator[str]:
        """What matters of the walk, in about a dozen lines."""
        yield f"{self.origin} connects to {self.target}"
        yield from summary_lines(self.target, self.connection, self.journeys, titles=self.titles)
        if self.hint:
            yield from wrapped(f"  {'hint':<9} ", self.hint)

    def lines(self) -> Iterator[str]:
        """The walk as text: the summary, then every question and every hop."""
        yield from self.summary()
        lookup = self.connection.lookup
        if lookup is not None:
            yield ""
            yield from _lookup_lines(lookup, self.resolv_conf)
        yield ""
        yield "packets"
        yield from _Teller(self.names, self.titles).tell(self.journeys)
        yield ""
        yield f"result: {self.connection.result} ({self.connection.detail})"
        if self.hint:
            yield f"hint: {self.hint}"


def name_hint(cluster: Cluster, origin: str, name: str, resolv_conf: str) -> str:
    """Why the name of a Service has no address for who does not ask the cluster's DNS, as nodes, and what to
    dial instead; empty for another name, and for who does ask it."""
    servers = [line.split()[1] for line in resolv_conf.splitlines() if line.startswith("nameserver ")]
    if str(dns_service_ip(cluster.topology)) in servers:
        return ""
    plain = name.rstrip(".").removesuffix(f".{cluster.topology.networking.dns_domain}").removesuffix(".svc")
    short, _, namespace = plain.partition(".")
    service = cluster.store.find(Service, short, namespace or "default")
    if service is None:
        return ""
    address = service.spec.cluster_ip
    instead = f"its ClusterIP {address}" if address not in ("", "None") else "the address of one of its Pods"
    return (
        f"names of Services are in the cluster's DNS, which Pods ask; {origin} asks "
        f"{' '.join(servers) or 'no nameserver'}, as its /etc/resolv.conf says: dial {instead}"
    )


class _Teller:
    """Tells packet after packet, and says nothing at length that it has said before."""

    def __init__(self, names: Mapping[bytes, str], titles: Mapping[str, str]) -> None:
        self._names = names
        self._titles = titles
        self._ways: dict[tuple[str, ...], int] = {}
        self._choices: set[Note] = set()
        self._candidates: set[str] = set()

    def tell(self, journeys: Sequence[Journey]) -> Iterator[str]:
        for number, journey in enumerate(journeys, 1):
            summary = without_numbers(summarize(journey.first.data, self._names))
            yield from wrapped(f"  #{number:<3} {_clock(journey.first.time)}  ", str(summary))
            if journey.way in self._ways:
                yield from self._again(journey, self._ways[journey.way])
            else:
                self._ways[journey.way] = number
                yield from self._hops(journey)

    def _hops(self, journey: Journey) -> Iterator[str]:
        """Every decision and every interface, host by host; interfaces crossed in one go in one line."""
        told = 0
        here = ""
        crossed: list[str] = []
        for record, following in zip(journey.records, (*journey.records[1:], None), strict=True):
            for note in record.notes[told:]:
                yield from self._note(note, here)
                here = note.where
            told = len(record.notes)
            crossed.append(record.port.interface)
            if following is not None and _in_one_go(record, following):
                continue
            where = self._titles.get(record.port.host, record.port.host)
            yield from _row(where, here, "->" if record.outbound else "<-", " ".join(crossed))
            crossed.clear()
            here = where

    def _again(self, journey: Journey, number: int) -> Iterator[str]:
        """One line for a way that was told before, and what was newly decided on it."""
        yield f"{MARGIN}{'':<{HOST_WIDTH}} the same way as #{number}"
        for note in journey.notes:
            if note.cause.stage in _CHOICES and note not in self._choices:
                yield from self._note(note, "")

    def _note(self, note: Note, here: str) -> Iterator[str]:
        """A decision; what it was made among is told once."""
        self._choices.add(note)
        text = note.cause.text
        listed = candidates(text)
        if listed in self._candidates:
            text = without_candidates(text)
        elif listed:
            self._candidates.add(listed)
        yield from _row(note.where, here, note.cause.stage.value, text)


def _in_one_go(record: PacketRecord, following: PacketRecord) -> bool:
    """Whether nothing was decided between two interfaces that were crossed in the same direction."""
    return (record.port.host, record.outbound, len(record.notes)) == (
        following.port.host,
        following.outbound,
        len(following.notes),
    )


def _row(where: str, here: str, word: str, text: str) -> Iterator[str]:
    """One line of a walk, behind the host's title where that changes; a long one has a line of its own."""
    title = "" if where == here else where
    if len(title) > HOST_WIDTH:
        yield f"{MARGIN}{title}"
        title = ""
    yield from wrapped(f"{MARGIN}{title:<{HOST_WIDTH}} {word:<8} ", text)


def without_numbers(summary: Summary) -> Summary:
    """A summary without the sequence numbers and windows of TCP."""
    return summary._replace(info=summary.info.partition(" Seq=")[0])


def _lookup_lines(lookup: Lookup, resolv_conf: str) -> Iterator[str]:
    yield f"resolve {lookup.name}"
    for line in resolv_conf.splitlines():
        yield f"  /etc/resolv.conf: {line}"
    for number, query in enumerate(lookup.queries, 1):
        kind = dns.TYPE_NAMES.get(query.qtype, str(query.qtype))
        answers = f" {', '.join(query.answers)}" if query.answers else ""
        yield (
            f"  query {number}  {_clock(query.sent_at)}  {kind:<4} {query.name} @{query.server}: "
            f"{query.outcome.value}{answers}"
        )
    if lookup.error is not None:
        yield f"  {lookup.error.name}: {lookup.reason}"
    else:
        yield f"  {lookup.name} is {', '.join(str(address) for address in lookup.addresses)}"


def _clock(seconds: float) -> str:
    """Virtual seconds with microseconds."""
    return f"{seconds:.6f}"

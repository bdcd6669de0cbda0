"""glibc's way of asking servers: one candidate name, its A and AAAA queries, until somebody answers.

``glibc.py`` calls ``Sender.exchange`` for each candidate name. The rules are those of glibc 2.41,
resolv/res_send.c: the order of servers and attempts, timeouts, one connected socket per server kept over the
attempts, both queries at once and the retreat to one at a time, which error codes count as no answer, TCP
after truncation. What an answer means for the search is not decided here.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from netsim.base.address import IpAddress
from netsim.base.cause import Cause, Stage
from netsim.base.rng import Rng
from netsim.resolver.commands import (
    Arrived,
    Close,
    Closed,
    Command,
    Done,
    Event,
    Open,
    Outcome,
    Receive,
    Refused,
    Send,
    SentQuery,
    TimedOut,
    Transport,
    Unreachable,
)
from netsim.resolver.queries import (
    FAILURES,
    Query,
    Sent,
    Steps,
    make_query,
    parsed,
    repeats,
    sent_queries,
)
from netsim.resolver.resolvconf import ResolvConf
from netsim.wire.dns import Message, Rcode

HEADER_SIZE = 12  # HFIXEDSZ
EDNS_SIZE = 1200  # RESOLV_EDNS_BUFFER_SIZE
PATIENCE = 25.0
"""Seconds after which a caller is taken to give up on a silent TCP server; glibc itself waits for ever."""


class NeverReturns(Exception):
    """A TCP server stays silent: the call has not returned within PATIENCE."""


class Errno(Enum):
    """The values of errno after an exchange that its callers look at."""

    NONE = "0"
    CONNREFUSED = "ECONNREFUSED"  # no server was heard, nor waited for in vain
    TIMEDOUT = "ETIMEDOUT"
    OTHER = "another"


class Process:
    """What glibc remembers between the lookups of one process: where RES_ROTATE stands, and that it had to
    ask for A and AAAA one after the other (in glibc the latter is kept per thread)."""

    __slots__ = ("reopen", "rotation", "single_request")

    def __init__(self) -> None:
        self.rotation: int | None = None
        self.single_request = False
        self.reopen = False

    def first_server(self, count: int, rng: Rng) -> int:
        """Where RES_ROTATE begins: at random in a process's first exchange, then one further each time."""
        self.rotation = rng.below(1 << 16) if self.rotation is None else self.rotation + 1
        return self.rotation % count


class Exchange(NamedTuple):
    """The answers to one candidate in order of arrival, or none and an errno. ``rcode`` is that of the last
    message in glibc's first answer buffer, which the search consults even after a failure."""

    answers: tuple[Message, ...] = ()
    errno: Errno = Errno.NONE
    rcode: int = Rcode.NOERROR


class _End(Enum):
    """How asking one server ended."""

    ANSWERED = "answered"
    HALF = "one of two answers came in time"
    TRUNCATED = "truncated"
    FAILED = "no answer"
    RESET = "connection reset"


class _Tried(NamedTuple):
    """``heard`` is glibc's gotsomewhere: the server spoke, or was waited for until the timeout."""

    end: _End
    answers: tuple[Message, ...] = ()
    heard: bool = False
    errno: Errno = Errno.TIMEDOUT


class Sender:
    """The sockets, the clock and the log of one lookup."""

    def __init__(self, conf: ResolvConf, process: Process, rng: Rng, now: float) -> None:
        self.conf = conf
        self.now = now
        self._process = process
        self._rng = rng
        self._log: list[Sent] = []
        self._pending: dict[int, Sent] = {}  # by type: what the current server owes
        self._sockets: dict[int, int] = {}  # by the server's place in the file
        self._opened = 0
        self._rcode: int = Rcode.NOERROR
        self._trouble = ""

    def sent(self) -> tuple[SentQuery, ...]:
        """Every query so far, in order."""
        return sent_queries(self._log)

    def query(self, name: str, qtype: int, *, plain: bool = False) -> Query:
        """A query with a random id (res_nmkquery); WireError when the name does not fit. ``plain`` leaves out
        EDNS whatever the options say."""
        flags = self.conf.flags
        edns_size = EDNS_SIZE if "edns0" in flags and not plain else None
        return make_query(name, qtype, self._rng, edns_size=edns_size, authentic="trust-ad" in flags)

    def exchange(self, queries: Sequence[Query], why: str) -> Steps[Exchange]:
        """Ask all servers, ``attempts`` times over, until one answers (__res_context_send)."""
        servers = self.conf.nameservers
        offset = 0
        if "rotate" in self.conf.flags and len(servers) > 1:
            offset = self._process.first_server(len(servers), self._rng)
        tcp = "use-vc" in self.conf.flags
        heard = False
        errno = Errno.TIMEDOUT
        self._rcode = Rcode.NOERROR
        self._trouble = ""
        for _ in range(self.conf.attempts):
            for shift in range(len(servers)):
                place = (shift + offset) % len(servers)
                tried = _Tried(_End.TRUNCATED)
                if not tcp:
                    tried = yield from self._datagrams(place, queries, why)
                    heard = heard or tried.heard
                    tcp = tried.end is _End.TRUNCATED
                if tcp:
                    tried = yield from self._stream(place, queries, why)
                    errno = tried.errno
                if tried.end is _End.ANSWERED:
                    yield from self._close_all()
                    return Exchange(tried.answers, Errno.NONE, self._rcode)
            if tcp:
                break  # over TCP each server is tried once
        yield from self._close_all()
        if not tcp:
            errno = Errno.TIMEDOUT if heard else Errno.CONNREFUSED
        return Exchange((), errno, self._rcode)

    # UDP: send_dg

    def _datagrams(self, place: int, queries: Sequence[Query], why: str) -> Steps[_Tried]:
        """Ask one server over UDP. When only one of two answers comes in time, glibc suspects a firewall or a
        server that cannot cope: it asks again one by one, then on two sockets, then makes do with the one."""
        process, flags = self._process, self.conf.flags
        while True:
            reopen = process.reopen or "single-request-reopen" in flags
            serial = reopen or process.single_request or "single-request" in flags
            tried = yield from self._round(place, queries, why, serial, reopen)
            if tried.end is not _End.HALF:
                return tried
            if not serial:
                process.single_request = True
            elif not reopen:
                process.reopen = True
                yield from self._close_all()
            else:
                return tried._replace(end=_End.ANSWERED)

    def _round(
        self, place: int, queries: Sequence[Query], why: str, serial: bool, reopen: bool
    ) -> Steps[_Tried]:
        """One try within one timeout."""
        deadline = self.now + self._timeout(place)
        unsent = list(queries)
        answers: list[Message | None] = []  # None: an error code that is passed over
        self._pending = {}
        while True:
            if unsent and not self._pending:
                batch = unsent[:1] if serial else unsent
                unsent = unsent[len(batch) :]
                if reopen and answers:
                    yield from self._close_all()
                if not (yield from self._transmit(place, batch, why)):
                    return (yield from self._failed(bool(answers)))
            left = max(deadline - self.now, 0.0)
            event = yield from self._do(Receive(self._sockets[place], left))
            if isinstance(event, TimedOut):
                usable = _usable(answers)
                silence = "gave only one of two answers" if usable else "was silent"
                self._settle(Outcome.TIMED_OUT, f"{self.conf.nameservers[place]} {silence}")
                return _Tried(_End.HALF if usable else _End.FAILED, usable, heard=True)
            if not isinstance(event, Arrived):
                self._settle_error(event, place)
                return (yield from self._failed(bool(answers)))
            tried = yield from self._judge(event.message, place, queries, answers, serial)
            if tried is not None:
                return tried

    def _judge(
        self, data: bytes, place: int, queries: Sequence[Query], answers: list[Message | None], serial: bool
    ) -> Steps[_Tried | None]:
        """Take in one datagram; None means that waiting goes on. ``answers`` grows by what counts."""
        if len(data) < HEADER_SIZE:
            return (yield from self._failed(heard=True))
        message = parsed(data)
        query = message and self._answered(message, len(data), queries)
        if message is None or query is None:
            return None
        if not answers:
            self._rcode = message.rcode
        outcome = self._note(message, query.qtype, place)
        if outcome in (Outcome.SERVFAIL, Outcome.NOTIMP, Outcome.REFUSED, Outcome.LAME):
            if "strict-error" not in self.conf.flags:
                if answers:
                    usable = _usable(answers)
                    return _Tried(_End.ANSWERED if usable else _End.FAILED, usable, heard=True)
                if len(queries) == 2 and not serial:
                    answers.append(None)
                    return None
            return (yield from self._failed(heard=True))
        if message.truncated:
            yield from self._close_all()
            return _Tried(_End.TRUNCATED, heard=True)
        answers.append(message)
        return _Tried(_End.ANSWERED, _usable(answers), True) if len(answers) == len(queries) else None

    def _timeout(self, place: int) -> int:
        """Seconds for one try: the configured timeout for the file's first server; for the k-th after it,
        that shifted left by k and divided by the number of servers, at least one second."""
        seconds = self.conf.timeout << place
        if place > 0:
            seconds //= len(self.conf.nameservers)
        return max(seconds, 1)

    def _transmit(self, place: int, batch: Sequence[Query], why: str) -> Steps[bool]:
        """Send on the server's socket, opening it if need be; False when that fails."""
        server = self.conf.nameservers[place]
        if place not in self._sockets:
            socket = self._opened
            self._opened += 1
            event = yield from self._do(Open(socket, Transport.UDP, server, self._cause(why)))
            if not isinstance(event, Done):
                yield from self._do(Close(socket))
                self._trouble = f"{server} is unreachable"
                return False
            self._sockets[place] = socket
        self._log_sent(batch, server, Transport.UDP)
        messages = tuple(query.message for query in batch)
        event = yield from self._do(Send(self._sockets[place], messages, self._cause(why)))
        if isinstance(event, Done):
            return True
        self._settle_error(event, place)
        return False

    # TCP: send_vc

    def _stream(self, place: int, queries: Sequence[Query], why: str) -> Steps[_Tried]:
        """Ask one server over TCP, once more if it resets the connection."""
        tried = yield from self._connection(place, queries, why)
        if tried.end is _End.RESET:
            tried = yield from self._connection(place, queries, why)
        return tried

    def _connection(self, place: int, queries: Sequence[Query], why: str) -> Steps[_Tried]:
        """Both queries over one connection, in one write. Whatever the answers say is final."""
        server = self.conf.nameservers[place]
        socket = self._opened
        self._opened += 1
        self._sockets[place] = socket
        self._pending = {}
        answers: list[Message | None] = []
        cause = self._cause(f"{why}; over TCP")
        event = yield from self._do(Open(socket, Transport.TCP, server, cause))
        if isinstance(event, Done):
            self._log_sent(queries, server, Transport.TCP)
            messages = tuple(query.message for query in queries)
            event = yield from self._do(Send(socket, messages, cause))
        patience = self.now + PATIENCE
        while isinstance(event, Done | Arrived):
            event = yield from self._do(Receive(socket, max(patience - self.now, 0.0)))
            if isinstance(event, TimedOut):
                self._settle(Outcome.TIMED_OUT, "")
                yield from self._close_all()
                raise NeverReturns
            if not isinstance(event, Arrived) or len(event.message) < HEADER_SIZE:
                break
            message = parsed(event.message)
            owed = [query for query in queries if message and query.id == message.id]
            owed = [query for query in owed if query.qtype in self._pending]
            if message is None or not owed:
                continue
            if not answers:
                self._rcode = message.rcode
            self._note(message, owed[0].qtype, place)
            answers.append(message)
            if len(answers) == len(queries):
                return _Tried(_End.ANSWERED, _usable(answers))
        self._settle_error(event, place)
        yield from self._close_all()
        match event:
            case Closed(reset=True):
                return _Tried(_End.RESET, errno=Errno.OTHER)
            case Refused():
                return _Tried(_End.FAILED, errno=Errno.CONNREFUSED)
            case TimedOut():
                return _Tried(_End.FAILED, errno=Errno.TIMEDOUT)
            case _:
                return _Tried(_End.FAILED, errno=Errno.OTHER)

    # Both

    def _do(self, command: Command) -> Steps[Event]:
        event = yield command
        self.now = event.at
        return event

    def _close_all(self) -> Steps[None]:
        for socket in self._sockets.values():
            yield from self._do(Close(socket))
        self._sockets = {}

    def _failed(self, heard: bool) -> Steps[_Tried]:
        """close_and_return_error: an error closes the sockets to all servers; a timeout closes none."""
        yield from self._close_all()
        return _Tried(_End.FAILED, heard=heard)

    def _cause(self, why: str) -> Cause:
        return Cause(Stage.RESOLVER, f"{why}; again, because {self._trouble}" if self._trouble else why)

    def _log_sent(self, queries: Sequence[Query], server: IpAddress, transport: Transport) -> None:
        for query in queries:
            sent = Sent(query, server, transport, self.now)
            self._log.append(sent)
            self._pending[query.qtype] = sent

    def _settle(self, outcome: Outcome, trouble: str) -> None:
        """The queries that still wait end without an answer."""
        for sent in self._pending.values():
            sent.outcome = outcome
        self._pending = {}
        self._trouble = trouble

    def _settle_error(self, event: Event, place: int) -> None:
        server = self.conf.nameservers[place]
        match event:
            case Refused():
                self._settle(Outcome.PORT_UNREACHABLE, f"nothing listens on {server}")
            case Unreachable():
                self._settle(Outcome.UNREACHABLE, f"{server} is unreachable")
            case TimedOut():
                self._settle(Outcome.TIMED_OUT, f"{server} was silent")
            case _:
                self._settle(Outcome.CONNECTION_LOST, f"{server} closed the connection")

    def _answered(self, message: Message, size: int, queries: Sequence[Query]) -> Query | None:
        """The query that a message answers, if one of those that still wait. An error code may come with the
        bare header, as some recursive servers send it; everything else must repeat the question."""
        bare = size == HEADER_SIZE and not message.questions and message.rcode in FAILURES
        for query in queries:
            if query.qtype in self._pending and message.id == query.id and (bare or repeats(message, query)):
                return query
        return None

    def _note(self, message: Message, qtype: int, place: int) -> Outcome:
        """Write the answer into the log; its query waits no longer."""
        sent = self._pending.pop(qtype)
        outcome = sent.answered(message)
        if outcome is Outcome.TRUNCATED:
            self._trouble = "the answer was truncated"
        elif outcome not in (Outcome.ANSWERED, Outcome.NO_DATA, Outcome.NXDOMAIN):
            self._trouble = f"{self.conf.nameservers[place]} answered {outcome.value}"
        return outcome


def _usable(answers: Sequence[Message | None]) -> tuple[Message, ...]:
    return tuple(message for message in answers if message is not None)

"""A BGP speaker: its neighbours' sessions, and the routing tables that they feed and are fed from.

``programs.bgp`` runs it on a host's sockets. It is told what happened (``feed``, ``expire``) and returns what
to do; ``events`` lists both. Time is an argument, chance a seeded Rng.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from typing import assert_never

from netsim.base.address import IpAddress, ip_from_packed
from netsim.base.rng import Rng
from netsim.net.bgp import session as fsm
from netsim.net.bgp.decision import Source
from netsim.net.bgp.events import (
    BytesArrived,
    CloseConnection,
    Command,
    ConnectionClosed,
    ConnectionFailed,
    ConnectionOpened,
    Event,
    NextHopResolved,
    Originated,
    PeerAdded,
    PeerRemoved,
    Started,
    Stopped,
    Withdrawn,
)
from netsim.net.bgp.peer import Peer, PeerDown, PeerEvent, PeerOutput, PeerUp
from netsim.net.bgp.policy import Neighbour
from netsim.net.bgp.rib import Changes, News, Rib
from netsim.net.bgp.session import Session
from netsim.net.bgp.settings import PeerSettings, SpeakerSettings
from netsim.wire import bgp
from netsim.wire.bgp_attributes import prefix_from_network


class Speaker:
    """One speaker. ``changed_at`` is when a best route last changed, ``rib`` holds the tables."""

    def __init__(self, settings: SpeakerSettings, rng: Rng) -> None:
        self.settings = settings
        self.rib = Rib(settings)
        self.changed_at = 0.0
        self.peers: dict[IpAddress, Peer] = {}
        self._rng = rng
        self._running = False
        self._timers: list[tuple[float, IpAddress]] = []
        self._armed: dict[IpAddress, float] = {}
        self._out: list[Command] = []
        for peer in settings.peers:
            self.peers[peer.address] = Peer(settings, peer, self._rng_of(peer))

    @property
    def established(self) -> bool:
        """Whether every session that is set up stands."""
        return all(peer.established is not None for peer in self.peers.values())

    # --- the machine ---------------------------------------------------------------------------------

    def feed(self, event: Event, now: float) -> Sequence[Command]:
        """Take one event; returns what to do, in order."""
        match event:
            case BytesArrived() | ConnectionFailed() | ConnectionClosed() | ConnectionOpened():
                self._of_connection(event, now)
            case Originated(network):
                self.rib.originate(prefix_from_network(network), now)
            case Withdrawn(network):
                self.rib.withdraw(prefix_from_network(network))
            case NextHopResolved(next_hop, metric):
                self.rib.resolve(next_hop.packed, metric)
            case PeerAdded(settings):
                self._add(settings, now)
            case PeerRemoved(address):
                self._remove(address, now)
            case Started() | Stopped():
                self._running = isinstance(event, Started)
                for peer in self.peers.values():
                    self._feed(peer, event, now)
            case _:
                assert_never(event)
        return self._settle(now)

    def deadline(self) -> float | None:
        """When ``expire`` wants to be called, None while nothing is waited for."""
        timers = self._timers
        while timers:
            due, address = timers[0]
            if self._armed.get(address) != due:
                heapq.heappop(timers)  # an earlier one took its place
                continue
            actual = self.peers[address].deadline()
            if actual == due:
                return due
            heapq.heappop(timers)
            del self._armed[address]
            if actual is not None:
                self._arm(address, actual)
        return None

    def expire(self, now: float) -> Sequence[Command]:
        """A deadline has come: some session's timer."""
        while (due := self.deadline()) is not None and due <= now:
            address = self._timers[0][1]
            peer = self.peers[address]
            self._handle(peer, peer.expire(now), now)
        return self._settle(now)

    def _arm(self, address: IpAddress, due: float) -> None:
        if due < self._armed.get(address, float("inf")):
            self._armed[address] = due
            heapq.heappush(self._timers, (due, address))

    # --- peers ---------------------------------------------------------------------------------------

    def _rng_of(self, settings: PeerSettings) -> Rng:
        return self._rng.derive(str(settings.address))

    def _add(self, settings: PeerSettings, now: float) -> None:
        """Set a neighbour up; one that is set up otherwise begins anew."""
        known = self.peers.get(settings.address)
        if known is not None:
            if known.settings == settings:
                return
            self._remove(settings.address, now)
        peer = self.peers[settings.address] = Peer(self.settings, settings, self._rng_of(settings))
        if self._running:
            self._feed(peer, Started(), now)

    def _remove(self, address: IpAddress, now: float) -> None:
        peer = self.peers.get(address)
        if peer is not None:
            self._handle(peer, peer.remove(now), now)
            del self.peers[address]
            self._armed.pop(address, None)

    def _of_connection(
        self, event: BytesArrived | ConnectionFailed | ConnectionClosed | ConnectionOpened, now: float
    ) -> None:
        peer = self.peers.get(event.connection.peer)
        if peer is not None:
            self._feed(peer, event, now)
        elif isinstance(event, ConnectionOpened):
            self._out.append(CloseConnection(event.connection))  # nobody we know

    def _feed(self, peer: Peer, event: PeerEvent, now: float) -> None:
        self._handle(peer, peer.feed(event, now), now)

    def _handle(self, peer: Peer, outputs: Iterable[PeerOutput], now: float) -> None:
        """Pass on what is for the adapter, and give the tables what is for them."""
        key = peer.settings.address.packed
        for output in outputs:
            match output:
                case fsm.UpdateArrived(update):
                    self.rib.receive(key, update, now)
                case PeerUp(session):
                    self.rib.peer_up(_neighbour(peer.settings, session, self.settings))
                case PeerDown():
                    self.rib.peer_down(key)
                case fsm.RefreshAsked():
                    self.rib.refresh(key)
                case _:
                    self._out.append(output)
        deadline = peer.deadline()
        if deadline is not None:
            self._arm(peer.settings.address, deadline)

    # --- routes --------------------------------------------------------------------------------------

    def _settle(self, now: float) -> Sequence[Command]:
        changes = self.rib.settle()
        if changes.routes or changes.news:
            self.changed_at = now
            self._out += changes.routes
            self._tell(changes, now)
        out, self._out = self._out, []
        return out

    def _tell(self, changes: Changes, now: float) -> None:
        """Send the peers their news. Many hear the same, which is built once."""
        built: dict[tuple[object, ...], list[tuple[bytes, str]]] = {}
        for key, news in changes.news.items():
            address = ip_from_packed(key)
            session = self.peers[address].established
            assert session is not None  # tables forget a peer with its session
            for update in _updates(news):
                said = (update, session.four_octet)
                if said not in built:
                    built[said] = [
                        (data, _describe(data, session.four_octet, self.settings.family))
                        for data in bgp.build_updates(update, four_octet=session.four_octet)
                    ]
                self._out += [session.send(data, text, now) for data, text in built[said]]


def _updates(news: News) -> list[bgp.Update]:
    """One for what is withdrawn, and one for each set of attributes."""
    updates = [bgp.Update(tuple(news.withdrawn))] if news.withdrawn else []
    return updates + [bgp.Update((), path, tuple(prefixes)) for path, prefixes in news.announced.items()]


def _describe(data: bytes, four_octet: bool, family: int) -> str:
    frames, _ = bgp.split(data)
    return bgp.describe(bgp.parse(frames[0], four_octet=four_octet, family=family))


def _neighbour(settings: PeerSettings, session: Session, own: SpeakerSettings) -> Neighbour:
    assert session.peer_open is not None
    source = Source(
        settings.address.packed,
        settings.title,
        settings.asn != own.asn,
        settings.client,
        session.peer_open.identifier,
        session.local,
    )
    return Neighbour(source, settings.next_hop_self, settings.own_as_allowed)

"""Peer discovery and election as a machine: events in, commands out, time as an argument.

Programs that find their peers by seed hosts and form one cluster run it through ``programs.peering``. The
rules are those of Elasticsearch's cluster coordination (server/src/main/java/org/elasticsearch/discovery and
cluster/coordination), cut down to membership:

* Without a master a node resolves its seeds and asks every peer it reaches, each second (PeerFinder).
* The first cluster is founded by a majority of the named initial masters (ClusterBootstrapService), or by a
  fixed number of nodes (minimum_master_nodes before version 7). Who has neither only joins.
* Elections have terms, one vote per node and term, and random delays (ElectionSchedulerFactory); a node that
  has a master votes for nobody (PreVoteCollector). A master steps down when one of a later term joins
  (Coordinator.ensureTermAtLeast).
* The master publishes the list of nodes. It checks them and they check it; three checks without an answer, or
  the end of the connection, and a node is gone (FollowersChecker, LeaderChecker). Who lags behind is told
  again (LagDetector would remove it).
* A master that no longer sees a majority of the voters steps down; the voters follow the nodes
  (Reconfigurator).

Each node dials every other: what it asks goes out on its own connection, and the answer comes back there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, assert_never

from netsim.base.rng import Rng
from netsim.programs.peer_messages import (
    Ask,
    Check,
    Checked,
    Hello,
    Join,
    Known,
    Message,
    Node,
    State,
    Vote,
    Voted,
)

FIND_INTERVAL = 1.0
"""Seconds between two rounds of asking (discovery.find_peers_interval)."""
ELECTION_DELAY = 0.1
"""Seconds by which the longest random delay grows with each attempt (cluster.election.initial_timeout and
back_off_time)."""
LONGEST_ELECTION_DELAY = 10.0
"""Seconds (cluster.election.max_timeout)."""
CHECK_INTERVAL, CHECK_TIMEOUT, CHECK_RETRIES = 1.0, 10.0, 3
"""Seconds, seconds and a count (cluster.fault_detection.follower_check and leader_check)."""
ID_LENGTH = 22
ID_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

Link: TypeAlias = int
"""One connection, as the adapter numbers it."""


class Settings(NamedTuple):
    """A node's own part.

    ``voters``: the names of the initial masters, of which a majority founds the cluster; ``quorum``: a fixed
    number of nodes instead; ``patience``: seconds to look around before an election.
    """

    cluster: str
    node: Node
    voters: tuple[str, ...] = ()
    quorum: int = 0
    patience: float = 0.0


class Started(NamedTuple):
    """The node has begun to listen."""


class SeedsFound(NamedTuple):
    """The seeds' addresses, as far as their names could be resolved."""

    addresses: tuple[str, ...]


class Connected(NamedTuple):
    """A connection that was asked for by ``Dial`` stands."""

    link: Link
    address: str


class DialFailed(NamedTuple):
    """It could not be made."""

    address: str


class Accepted(NamedTuple):
    """A peer has dialled."""

    link: Link


class Received(NamedTuple):
    """A message has come."""

    link: Link
    message: Message


class Ended(NamedTuple):
    """The peer has closed a connection, or broken it off."""

    link: Link


Event: TypeAlias = Started | SeedsFound | Connected | DialFailed | Accepted | Received | Ended


class Resolve(NamedTuple):
    """Look the seeds up; ``SeedsFound`` says what came of it."""


class Dial(NamedTuple):
    """Connect to an address."""

    address: str


class Send(NamedTuple):
    """Send a message."""

    link: Link
    message: Message


class HangUp(NamedTuple):
    """Close a connection; no more is heard of it."""

    link: Link


Command: TypeAlias = Resolve | Dial | Send | HangUp


def new_id(rng: Rng) -> str:
    """A random id as Elasticsearch writes it: 128 bits in URL-safe base 64."""
    return rng.text(ID_LENGTH, ID_LETTERS)


@dataclass(slots=True)
class _Peer:
    """A connection that this node made. ``free``: it has said that it has no master."""

    address: str
    node: Node | None = None
    free: bool = False
    asked_at: float | None = None
    misses: int = 0


class Peers:
    """One node. ``master`` None means that it has found or elected none, and then ``nodes`` is empty."""

    def __init__(self, settings: Settings, rng: Rng) -> None:
        self.settings = settings
        self.term = 0
        self.version = 0
        self.uuid = ""
        self.master: Node | None = None
        self.nodes: dict[str, Node] = {}
        self.voters = settings.voters
        self._rng = rng
        self._commands: list[Command] = []
        self._peers: dict[Link, _Peer] = {}
        self._dialling: set[str] = set()
        self._own = {settings.node.address}
        self._callers: dict[Link, Node] = {}
        self._joining = ""
        self._votes: dict[str, str] = {}
        self._attempts = 0
        self._patient_until = 0.0
        self._round_at = self._check_at = 0.0
        self._election_at: float | None = None

    @property
    def node(self) -> Node:
        return self.settings.node

    @property
    def leads(self) -> bool:
        return self.master is not None and self.master.id == self.node.id

    # --- events and time -----------------------------------------------------------------------------

    def feed(self, event: Event, now: float) -> list[Command]:
        """What has happened, and what is to be done about it."""
        match event:
            case Started():
                self._patient_until = now + self.settings.patience
                self._look_around(now)
            case SeedsFound(addresses):
                self._dial(addresses)
                self._consider(now)
            case Connected(link, address):
                self._dialling.discard(address)
                self._peers[link] = _Peer(address)
                self._send(link, Hello(self.settings.cluster, self.node))
            case DialFailed(address):
                self._dialling.discard(address)
                self._lost(address, now)
            case Accepted():
                pass  # its hello says who it is
            case Received(link, message):
                self._heard(link, message, now)
            case Ended(link):
                self._callers.pop(link, None)
                peer = self._peers.pop(link, None)
                if peer is not None and peer.node is not None:
                    self._lost(peer.node.address, now)
            case _:
                assert_never(event)
        return self._taken()

    def deadline(self) -> float | None:
        """When ``expire`` is to be called next."""
        times = [self._check_at] if self.master is not None else [self._round_at]
        return min(times if self._election_at is None else [*times, self._election_at])

    def expire(self, now: float) -> list[Command]:
        """A deadline has passed."""
        if self._election_at is not None and self._election_at <= now:
            self._election_at = None
            self._stand(now)
        if self.master is None and self._round_at <= now:
            self._look_around(now)
        if self.master is not None and self._check_at <= now:
            self._check(now)
        return self._taken()

    def _taken(self) -> list[Command]:
        commands, self._commands = self._commands, []
        return commands

    def _send(self, link: Link, message: Message) -> None:
        self._commands.append(Send(link, message))

    def _dial(self, addresses: Iterable[str]) -> None:
        """Connect to those to whom there is no connection."""
        reached = {peer.address for peer in self._peers.values()}
        for address in addresses:
            if address not in reached and address not in self._dialling and address not in self._own:
                self._dialling.add(address)
                self._commands.append(Dial(address))

    def _hang_up(self, link: Link) -> None:
        self._peers.pop(link, None)
        self._callers.pop(link, None)
        self._commands.append(HangUp(link))

    def _link_to(self, node: Node) -> Link | None:
        return next((link for link, peer in self._peers.items() if peer.node == node), None)

    # --- messages ------------------------------------------------------------------------------------

    def _heard(self, link: Link, message: Message, now: float) -> None:
        peer = self._peers.get(link)
        if peer is not None:
            self._answered(link, peer, message, now)
        elif isinstance(message, Hello):
            self._send(link, Hello(self.settings.cluster, self.node))
            if message.cluster == self.settings.cluster and message.node.id != self.node.id:
                self._callers[link] = message.node
                self._replaces(message.node, now)
                self._dial([message.node.address])
        elif link in self._callers:
            self._asked(link, self._callers[link], message, now)
        else:
            self._hang_up(link)  # whoever does not say hello is no peer

    def _replaces(self, node: Node, now: float) -> None:
        """A node that has this one's id or address, and is another, ended without a word."""
        for link, peer in [*self._peers.items()]:
            old = peer.node
            if old is not None and old != node and (old.id == node.id or old.address == node.address):
                self._hang_up(link)
                self._lost(old.address, now)

    def _answered(self, link: Link, peer: _Peer, message: Message, now: float) -> None:
        """An answer to what this node asked on its own connection."""
        match message:
            case Hello(cluster, node):
                self._greeted(link, peer, cluster, node)
            case Known(_, master, known):
                peer.free = master is None
                if self.master is None:
                    self._dial(known)
                    if master is not None and master.id != self.node.id:
                        self._join(master)
                    self._consider(now)
            case Voted(term, granted) if peer.node is not None:
                if granted and term == self.term:
                    self._won(peer.node, now)
                elif self.master is None:
                    self.term = max(self.term, term)
            case Checked(member, version):
                peer.asked_at, peer.misses = None, 0
                if not member and peer.node is not None:
                    self._lost(peer.node.address, now)
                elif self.leads and version < self.version:
                    self._send(link, self._state())

    def _greeted(self, link: Link, peer: _Peer, cluster: str, node: Node) -> None:
        """A peer says who it is."""
        if node.id == self.node.id:
            self._own.add(peer.address)
        if node.id == self.node.id or cluster != self.settings.cluster:
            self._hang_up(link)
            return
        peer.node = node
        if self.leads and self.nodes.get(node.id) == node:
            self._send(link, self._state())
        elif self.master is None and self._joining == node.id:
            self._send(link, Join(self.term, self.uuid))
        elif self.master is None:
            self._send(link, Ask(self._known()))

    def _asked(self, link: Link, caller: Node, message: Message, now: float) -> None:
        """What a peer asks, on the connection that it made."""
        match message:
            case Ask(known):
                self._send(link, Known(self.term, self.master, self._known()))
                if self.master is None:
                    self._dial(known)
            case Vote(term):
                granted = term > self.term and self.master is None
                if granted:
                    self.term, self._votes, self._election_at = term, {}, None
                self._send(link, Voted(self.term, granted))
            case Join(term, uuid) if self.leads and uuid in ("", self.uuid):
                if term > self.term:
                    self.term = term
                    self._without_master(now)
                else:
                    self._admit(caller)
            case State():
                self._follow(message, now)
            case Check():
                is_master = self.master is not None and self.master.id == caller.id
                is_mine = self.leads and self.nodes.get(caller.id) == caller
                self._send(link, Checked(is_master or is_mine, self.version))

    def _known(self) -> tuple[str, ...]:
        return tuple(peer.address for peer in self._peers.values() if peer.node is not None)

    # --- without a master ----------------------------------------------------------------------------

    def _look_around(self, now: float) -> None:
        """One round: ask the names, and ask the peers."""
        self._round_at = now + FIND_INTERVAL
        self._joining = ""
        self._commands.append(Resolve())
        for link, peer in self._peers.items():
            if peer.node is not None:
                self._send(link, Ask(self._known()))

    def _join(self, master: Node) -> None:
        """Go to the master that a peer has named; the next round goes on if that leads nowhere."""
        if self._joining == master.id:
            return
        self._joining = master.id
        link = self._link_to(master)
        if link is None:
            self._dial([master.address])
        else:
            self._send(link, Join(self.term, self.uuid))

    def _is_quorum(self, names: dict[str, str]) -> bool:
        """Whether these nodes, by id, may decide."""
        if self.settings.quorum:
            return len(names) >= self.settings.quorum
        return 2 * len(set(self.voters) & set(names.values())) > len(self.voters) > 0

    def _consider(self, now: float) -> None:
        """Plan an election if enough nodes without a master see each other."""
        if self.master is not None or self._election_at is not None or self._joining:
            return
        free = {peer.node.id: peer.node.name for peer in self._peers.values() if peer.node and peer.free}
        if self._is_quorum({**free, self.node.id: self.node.name}):
            self._attempts += 1
            longest = min(ELECTION_DELAY * (self._attempts + 1), LONGEST_ELECTION_DELAY)
            self._election_at = max(now + self._rng.random() * longest, self._patient_until)

    def _stand(self, now: float) -> None:
        """Ask for votes."""
        if self.master is not None or self._joining:
            return
        self.term += 1
        self._votes = {self.node.id: self.node.name}
        for link, peer in self._peers.items():
            if peer.free:
                self._send(link, Vote(self.term))
        if self._is_quorum(self._votes):
            self._lead(now)

    def _won(self, node: Node, now: float) -> None:
        """A node has voted for this one, in this term; a late vote joins it to the cluster that stands."""
        if self.leads:
            self._admit(node)
        elif self._votes:
            self._votes[node.id] = node.name
            if self._is_quorum(self._votes):
                self._lead(now)

    def _lead(self, now: float) -> None:
        """This node has been elected."""
        self.master, self._election_at, self._attempts = self.node, None, 0
        self.uuid = self.uuid or new_id(self._rng)
        elected_by = [peer.node for peer in self._peers.values() if peer.node and peer.node.id in self._votes]
        self.nodes = {node.id: node for node in [self.node, *elected_by]}
        self._votes = {}
        self._check_at = now + CHECK_INTERVAL
        self._publish()

    def _without_master(self, now: float) -> None:
        self.master, self.nodes, self._joining = None, {}, ""
        for peer in self._peers.values():
            peer.free, peer.asked_at, peer.misses = False, None, 0
        self._round_at = now

    # --- with a master -------------------------------------------------------------------------------

    def _state(self) -> State:
        nodes = tuple(self.nodes.values())
        return State(self.term, self.version, self.uuid, self.node.id, nodes, self.voters)

    def _publish(self) -> None:
        """Tell all nodes who they are; those that are not reached yet hear it when they are."""
        self.version += 1
        self.voters = self._reconfigured()
        for node in self.nodes.values():
            link = self._link_to(node)
            if link is not None:
                self._send(link, self._state())
        self._dial(node.address for node in self.nodes.values())

    def _reconfigured(self) -> tuple[str, ...]:
        """The voters by name: an odd number of living nodes, three at least where there were three."""
        if not self.voters:
            return ()
        living = [node.name for node in self.nodes.values()]
        size = max(len(living) - (len(living) + 1) % 2, 3 if len(self.voters) >= 3 else 1)
        stays = [name for name in self.voters if name in living]
        new = [name for name in living if name not in self.voters]
        gone = [name for name in self.voters if name not in living]
        return tuple([*stays, *new, *gone][:size])

    def _admit(self, node: Node) -> None:
        """A node joins; whoever was at its address before is gone."""
        same = self.nodes.get(node.id) == node
        self.nodes = {key: old for key, old in self.nodes.items() if old.address != node.address}
        self.nodes[node.id] = node
        link = self._link_to(node)
        if not same:
            self._publish()
        elif link is not None:
            self._send(link, self._state())

    def _follow(self, state: State, now: float) -> None:
        """A master has published."""
        stale = (state.term, state.version) <= (self.term, self.version) and self.master is not None
        master = next((node for node in state.nodes if node.id == state.master), None)
        if stale or state.term < self.term or master is None or self.uuid not in ("", state.uuid):
            return
        if self.master is None:
            self._check_at = now + CHECK_INTERVAL
        left = [node for node in self.nodes.values() if node not in state.nodes]
        self.term, self.version, self.uuid, self.voters = state.term, state.version, state.uuid, state.voters
        self.master, self.nodes = master, {node.id: node for node in state.nodes}
        self._joining, self._votes, self._election_at, self._attempts = "", {}, None, 0
        for link in [link for link, peer in self._peers.items() if peer.node in left]:
            self._hang_up(link)
        self._dial(node.address for node in state.nodes)

    def _lost(self, address: str, now: float) -> None:
        """The node at an address is gone, as far as this one can see."""
        if self.leads:
            gone = [node for node in self.nodes.values() if node.address == address]
            for node in gone:
                del self.nodes[node.id]
            if not self._is_quorum({node.id: node.name for node in self.nodes.values()}):
                self._without_master(now)
            elif gone:
                self._publish()
        elif self.master is not None and self.master.address == address:
            self._without_master(now)

    def _check(self, now: float) -> None:
        """The master looks after its nodes, the others after their master."""
        self._check_at = now + CHECK_INTERVAL
        watched = self.nodes.values() if self.leads else [self.master]
        for node in [node for node in watched if node is not None and node != self.node]:
            link = self._link_to(node)
            if link is None:
                self._dial([node.address])
            elif not self._misses(self._peers[link], now):
                continue
            else:
                self._hang_up(link)
                self._lost(node.address, now)

    def _misses(self, peer: _Peer, now: float) -> bool:
        """Ask a node whether it is there; whether it has not answered too often."""
        if peer.asked_at is not None and now - peer.asked_at >= CHECK_TIMEOUT:
            peer.misses, peer.asked_at = peer.misses + 1, None
        if peer.asked_at is None and peer.misses < CHECK_RETRIES:
            peer.asked_at = now
            link = next(link for link, other in self._peers.items() if other is peer)
            self._send(link, Check())
        return peer.misses >= CHECK_RETRIES

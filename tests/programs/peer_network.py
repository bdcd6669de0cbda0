"""Discovery peers that face each other in memory: instant connections, chosen silences, virtual time."""

from __future__ import annotations

from collections.abc import Iterable

from netsim.base.rng import Rng
from netsim.programs.peer_messages import Message, Node
from netsim.programs.peers import (
    Accepted,
    Command,
    Connected,
    Dial,
    DialFailed,
    Ended,
    Event,
    HangUp,
    Peers,
    Received,
    Resolve,
    SeedsFound,
    Send,
    Settings,
    Started,
)

End = tuple[str, int]
"""A node's address, and a number of one of its connections."""


class PeerNetwork:
    """Nodes by name; each is at the address ``name:9300`` and has all addresses of ``seeds`` as seeds.

    Between two names of ``silent`` nothing arrives and no connection can be made, and nobody is told.
    """

    def __init__(self, seeds: Iterable[str], *, seed: int = 1) -> None:
        self.seeds = tuple(f"{name}:9300" for name in seeds)
        self.silent: set[frozenset[str]] = set()
        self.now = 0.0
        self.nodes: dict[str, Peers] = {}
        self.leaders: dict[int, set[str]] = {}
        self._rng = Rng(seed)
        self._births = 0
        self._ends: dict[End, End] = {}
        self._numbers = 0
        self._queue: list[tuple[str, Event]] = []

    def start(self, name: str, settings: Settings | None = None, **fields: object) -> Peers:
        """A node begins; ``fields`` are those of its Settings."""
        self._births += 1
        node = Node(f"id-{name}-{self._births}", name, f"{name}:9300")
        chosen = (settings or Settings("test", node))._replace(node=node, **fields)
        self.nodes[name] = Peers(chosen, self._rng.derive(f"{name}/{self._births}"))
        self._tell(name, Started())
        return self.nodes[name]

    def kill(self, name: str) -> None:
        """A node's process ends: its connections are closed."""
        del self.nodes[name]
        for near in [near for near in self._ends if near[0] == name]:
            self._hang_up(near)
        self._settle()

    def cut(self, one: str, other: str) -> None:
        self.silent.add(frozenset((one, other)))

    def heal(self) -> None:
        self.silent.clear()

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while True:
            deadlines = [(peers.deadline() or end, name) for name, peers in self.nodes.items()]
            at, name = min(deadlines, default=(end, ""))
            if at > end or not name:
                break
            self.now = max(self.now, at)
            self._perform(name, self.nodes[name].expire(self.now))
            self._settle()
        self.now = end

    def _tell(self, name: str, event: Event) -> None:
        self._queue.append((name, event))
        self._settle()

    def _settle(self) -> None:
        queue, self._queue = self._queue, []
        for name, event in queue:
            if name in self.nodes:
                self._perform(name, self.nodes[name].feed(event, self.now))
        if self._queue:
            self._settle()
        for peers in self.nodes.values():
            if peers.leads:
                self.leaders.setdefault(peers.term, set()).add(peers.node.id)

    def _perform(self, name: str, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Resolve():
                    self._queue.append((name, SeedsFound(self.seeds)))
                case Dial(address):
                    self._dial(name, address)
                case Send(link, message):
                    self._send((name, link), message)
                case HangUp(link):
                    self._hang_up((name, link))

    def _send(self, near: End, message: Message) -> None:
        """What is sent to an end that is closed by now ends the connection: the other side resets it."""
        far = self._ends.get(near)
        if far is None or frozenset((near[0], far[0])) in self.silent:
            return
        if far in self._ends:
            self._queue.append((far[0], Received(far[1], message)))
        else:
            del self._ends[near]
            self._queue.append((near[0], Ended(near[1])))

    def _hang_up(self, near: End) -> None:
        far = self._ends.pop(near, None)
        if far in self._ends and frozenset((near[0], far[0])) not in self.silent:
            del self._ends[far]
            self._queue.append((far[0], Ended(far[1])))

    def _dial(self, name: str, address: str) -> None:
        target = address.partition(":")[0]
        if target not in self.nodes or frozenset((name, target)) in self.silent:
            self._queue.append((name, DialFailed(address)))
            return
        self._numbers += 2
        near, far = (name, self._numbers), (target, self._numbers + 1)
        self._ends[near], self._ends[far] = far, near
        self._queue += [(target, Accepted(far[1])), (name, Connected(near[1], address))]

    # --- what came of it -----------------------------------------------------------------------------

    def members(self, name: str) -> list[str]:
        """The names that a node lists."""
        return sorted(node.name for node in self.nodes[name].nodes.values())

    def agree(self) -> bool:
        """Whether all nodes that run are in one cluster that lists exactly them."""
        running = sorted(peers.node for peers in self.nodes.values())
        views = {(p.uuid, p.term, p.master, tuple(sorted(p.nodes.values()))) for p in self.nodes.values()}
        (uuid, _, master, nodes), *others = views
        return not others and bool(uuid) and master is not None and list(nodes) == running

"""BGP speakers facing each other in memory on virtual time.

``Site`` connects them: each TCP connection carries bytes in order, with a latency, in pieces of any size; it
can be cut without a word, and a speaker can be killed with its connections closed (a process that died) or
not (a machine that died). ``walk`` tells what was said. All are on one wire, unless ``local`` gives a router
other addresses of its own towards some peers.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network

from netsim.base.rng import Rng
from netsim.net.bgp.events import (
    BytesArrived,
    CloseConnection,
    Command,
    Connection,
    ConnectionClosed,
    ConnectionFailed,
    ConnectionOpened,
    Event,
    InstallRoute,
    OpenConnection,
    Originated,
    RemoveRoute,
    SendBytes,
    Started,
    Stopped,
)
from netsim.net.bgp.settings import PeerSettings, SpeakerSettings, Timers
from netsim.net.bgp.speaker import Speaker

LATENCY = 0.001
PROMPT = Timers(connect_delay=0.0)  # both sides connect at once, so that connections collide


class Router:
    """One speaker, its address, and the routes that it put into its host's table."""

    def __init__(self, site: Site, settings: SpeakerSettings, address: IPv4Address, seed: int) -> None:
        self.site = site
        self.address = address
        self.settings = settings
        self.seed = seed
        self.speaker = Speaker(settings, Rng(seed).derive(str(address)))
        self.table: dict[IPv4Network, IPv4Address] = {}
        self.ends: dict[Connection, tuple[Router, Connection]] = {}
        self.accepted = 0
        self.alive = False
        self.armed: float | None = None

    def feed(self, event: Event) -> None:
        if self.alive:
            self.obey(self.speaker.feed(event, self.site.now))

    def obey(self, commands: Sequence[Command]) -> None:
        for command in commands:
            match command:
                case OpenConnection(connection):
                    self.site.connect(self, connection)
                case SendBytes(connection, data, cause):
                    self.site.say(f"{self.address} {connection}: {cause.text}")
                    self.site.carry(self, connection, data)
                case CloseConnection(connection):
                    self.site.close(self, connection)
                case InstallRoute(prefix, next_hop):
                    self.table[prefix] = next_hop
                case RemoveRoute(prefix):
                    del self.table[prefix]
        deadline = self.speaker.deadline()
        if deadline is not None and (self.armed is None or deadline < self.armed):
            self.armed = deadline
            self.site.call(deadline, self.wake)

    def wake(self) -> None:
        self.armed = None
        if self.alive:
            self.obey(self.speaker.expire(self.site.now))

    def originate(self, *prefixes: str) -> None:
        for prefix in prefixes:
            self.feed(Originated(IPv4Network(prefix)))

    @property
    def routes(self) -> dict[str, str]:
        return {str(prefix): str(next_hop) for prefix, next_hop in sorted(self.table.items())}


class Site:
    """The routers, their connections, and the clock."""

    def __init__(self, *, pieces: Callable[[bytes], Sequence[bytes]] | None = None) -> None:
        self.routers: dict[IPv4Address, Router] = {}
        self.now = 0.0
        self.latency: Callable[[Router, Router], float] = lambda a, b: LATENCY
        self.local: Callable[[Router, Router], IPv4Address] = lambda router, peer: router.address
        self.cut: set[frozenset[IPv4Address]] = set()
        self.sent_at: list[float] = []
        self._pieces = pieces or (lambda data: [data])
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._arrival: dict[tuple[Router, Connection], float] = {}
        self._said: list[str] = []

    @property
    def walk(self) -> str:
        return "\n".join(self._said[-300:])

    def router(self, address: str, asn: int, peers: Sequence[PeerSettings], **more: object) -> Router:
        settings = SpeakerSettings(asn, IPv4Address(address), tuple(peers), **more)  # type: ignore[arg-type]
        router = Router(self, settings, IPv4Address(address), seed=1)
        self.routers[router.address] = router
        return router

    def __getitem__(self, address: str) -> Router:
        return self.routers[IPv4Address(address)]

    def start(self, *addresses: str) -> Site:
        """Start those speakers, or all."""
        chosen = [self[address] for address in addresses] or list(self.routers.values())
        for router in chosen:
            router.alive = True
            router.feed(Started())
        return self

    def stop(self, address: str) -> None:
        router = self[address]
        router.feed(Stopped())
        router.alive = False

    def kill(self, address: str, *, silently: bool = False) -> None:
        """The process ends, and the kernel closes its connections; ``silently``: the machine is off."""
        router = self[address]
        router.alive = False
        if not silently:
            for connection in list(router.ends):
                self.close(router, connection)

    def revive(self, address: str) -> Router:
        """A new process in place of the old one, which knows of nothing."""
        old = self[address]
        fresh = Router(self, old.settings, old.address, old.seed + 1)
        fresh.accepted = old.accepted + 1000
        self.routers[old.address] = fresh
        self.start(address)
        return fresh

    def run(self, until: float) -> Site:
        while self._heap and self._heap[0][0] <= until:
            self.now, _, call = heapq.heappop(self._heap)
            call()
        self.now = until
        return self

    def say(self, line: str) -> None:
        self.sent_at.append(self.now)
        self._said.append(f"{self.now:9.4f} {line}")

    def call(self, when: float, call: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (max(when, self.now), self._count, call))

    # --- connections ---

    def connect(self, origin: Router, connection: Connection) -> None:
        target = self.routers.get(connection.peer)
        if target is None or self._is_cut(origin, target):
            return  # a SYN that nobody answers
        delay = self.latency(origin, target)
        self.call(self.now + delay, lambda: self._arrive(origin, target, connection))

    def _arrive(self, origin: Router, target: Router, connection: Connection) -> None:
        delay = self.latency(target, origin)
        if not target.alive:
            failed = ConnectionFailed(connection, "Connection refused")
            self.call(self.now + delay, lambda: origin.feed(failed))
            return
        target.accepted += 1
        far = Connection(origin.address, True, target.accepted)
        origin.ends[connection] = (target, far)
        target.ends[far] = (origin, connection)
        opened = ConnectionOpened(connection, self.local(origin, target))
        self._deliver(target, origin, connection, lambda: origin.feed(opened))
        target.feed(ConnectionOpened(far, self.local(target, origin)))

    def carry(self, origin: Router, connection: Connection, data: bytes) -> None:
        end = origin.ends.get(connection)
        if end is None:
            return
        target, far = end
        if self.routers[target.address] is not target:  # a new process, which answers with RST
            del origin.ends[connection]
            reset = ConnectionClosed(connection, "Connection reset by peer")
            self._deliver(target, origin, connection, lambda: origin.feed(reset))
            return
        for piece in self._pieces(data):
            self._deliver(origin, target, far, lambda piece=piece: target.feed(BytesArrived(far, piece)))

    def close(self, origin: Router, connection: Connection) -> None:
        end = origin.ends.pop(connection, None)
        if end is not None:
            target, far = end
            self._deliver(origin, target, far, lambda: self._closed(target, far))

    def _closed(self, target: Router, connection: Connection) -> None:
        if target.ends.pop(connection, None) is not None:
            target.feed(ConnectionClosed(connection))

    def _deliver(self, origin: Router, target: Router, at: Connection, call: Callable[[], None]) -> None:
        """In order on each connection, and never over a wire that is cut."""
        if self._is_cut(origin, target):
            return
        key = (target, at)
        when = max(self.now + self.latency(origin, target), self._arrival.get(key, 0.0))
        self._arrival[key] = when
        self.call(when, call)

    def _is_cut(self, a: Router, b: Router) -> bool:
        return frozenset((a.address, b.address)) in self.cut


def mesh(
    count: int, *, timers: Timers = PROMPT, pieces: Callable[[bytes], Sequence[bytes]] | None = None
) -> Site:
    """Routers 10.0.0.1 and on, each peering with every other, each with the prefix 10.244.n.0/24."""
    site = Site(pieces=pieces)
    addresses = [f"10.0.0.{number}" for number in range(1, count + 1)]
    for address in addresses:
        peers = [PeerSettings(IPv4Address(other), 64512) for other in addresses if other != address]
        site.router(address, 64512, peers, timers=timers)
    return site


def podcidr(number: int) -> str:
    return f"10.244.{number}.0/24"


def originate_all(site: Site) -> None:
    for number, router in enumerate(site.routers.values(), 1):
        router.originate(podcidr(number))

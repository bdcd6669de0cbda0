"""The host protocol: all that a program may ask of the machine it runs on.

A plane implements it. Programs wait through it and through nothing else, so that they run unchanged on
virtual and on real time. Addresses are of either family. Failures are Python's own:
``ConnectionRefusedError``, ``TimeoutError``,
``OSError`` with ``EHOSTUNREACH`` or ``ENETUNREACH``, ``ConnectionResetError``.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, MutableMapping
from typing import Any, NamedTuple, Protocol, TypeVar

from netsim.base.address import IpAddress, IpNetwork, Mac
from netsim.base.cause import Cause, Notes
from netsim.base.rng import Rng
from netsim.objects.meta import EMPTY
from netsim.resolver.commands import Libc

LEARNT_METRIC = 32
"""The metric of routes that programs install: what BIRD gives those that it exports (doc/bird.sgml: kernel
protocol, ``metric``)."""

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Endpoint(NamedTuple):
    """A transport address; an IPv6 one is written ``[fd00::1]:80``."""

    address: IpAddress
    port: int

    def __str__(self) -> str:
        text = str(self.address)
        return f"[{text}]:{self.port}" if ":" in text else f"{text}:{self.port}"


class Datagram(NamedTuple):
    """A received UDP payload, where it came from and was sent to, and the notes its packet collected."""

    data: bytes
    source: Endpoint
    destination: Endpoint
    notes: Notes


class EchoReply(NamedTuple):
    """One answer to an ICMP echo: an echo reply, or the ICMP error that came instead.

    ``kind`` is ``reply``, ``ttl-exceeded``, ``port-unreachable``, ``host-unreachable`` or
    ``net-unreachable``; ``source`` sent it; ``size`` counts ICMP header and payload; ``ttl`` is that of
    the packet as received; ``elapsed`` is in seconds.
    """

    kind: str
    source: IpAddress
    sequence: int
    size: int
    ttl: int
    elapsed: float


class ProbeReply(NamedTuple):
    """What one UDP traceroute probe brought back: an ICMP error's kind (as in EchoReply) and sender."""

    kind: str
    source: IpAddress
    elapsed: float


class UdpSocket(Protocol):
    """A UDP socket. ``connected`` sockets raise ConnectionRefusedError on ICMP port unreachable."""

    @property
    def local(self) -> Endpoint: ...

    async def send(self, data: bytes, to: Endpoint | None = None, *, cause: Cause | None = None) -> None:
        """Send one datagram; ``to`` None means the connected peer. ``cause`` says why, in captures."""

    async def recv(self, *, timeout: float | None = None) -> Datagram:
        """The next datagram; TimeoutError after ``timeout`` seconds."""

    def close(self) -> None: ...


class Stream(Protocol):
    """An established TCP connection."""

    @property
    def local(self) -> Endpoint: ...

    @property
    def peer(self) -> Endpoint: ...

    async def read(self, limit: int = 65536, *, timeout: float | None = None) -> bytes:
        """At least one byte, at most ``limit``; empty at the peer's FIN; ConnectionResetError on RST."""

    async def write(self, data: bytes, *, cause: Cause | None = None) -> None:
        """Queue bytes for sending; waits while the send buffer is full."""

    def close(self) -> None:
        """Send what is queued, then FIN; reading stays possible until the peer closes."""

    def abort(self) -> None:
        """Send RST and forget the connection."""


class Listener(Protocol):
    """A listening TCP socket."""

    @property
    def local(self) -> Endpoint: ...

    async def accept(self) -> Stream: ...

    def close(self) -> None: ...


class Task(Protocol[T_co]):
    """A spawned coroutine. ``cancelled`` says whether it was ended from outside."""

    @property
    def cancelled(self) -> bool: ...

    async def join(self) -> T_co:
        """Its result, or its exception; UsageError when it was cancelled."""

    def cancel(self) -> None:
        """Close the coroutine at its current await; its ``finally`` blocks run. To a process, SIGKILL."""

    def terminate(self) -> None:
        """SIGTERM to a process: as ``cancel``, unless it has set a trap."""


class Trap(Protocol):
    """SIGTERM, caught by a program: it ends the program no more."""

    async def wait(self) -> None:
        """Wait until it comes."""


class InterfaceView(NamedTuple):
    """One interface as ``ip addr`` shows it; ``addresses`` are in CIDR form."""

    ifindex: int
    name: str
    kind: str
    mac: Mac
    mtu: int
    addresses: tuple[str, ...]
    master: str
    peer_index: int | None


class RouteView(NamedTuple):
    """One line of ``ip route``."""

    destination: str
    via: str
    device: str
    protocol: str
    scope: str
    source: str
    onlink: bool
    metric: int = 0


class NeighbourView(NamedTuple):
    """One line of ``ip neigh``; ``state`` is one of its words (INCOMPLETE, REACHABLE, …, PERMANENT)."""

    address: str
    device: str
    mac: Mac | None
    state: str
    router: bool = False


class Host(Protocol):
    """The machine that a program runs on. Times are seconds; ``now`` is virtual in the sim plane.

    ``libc`` is whose resolver its programs use.
    """

    libc: Libc

    @property
    def name(self) -> str:
        """The kernel's hostname, as ``hostname`` prints it."""

    @property
    def rng(self) -> Rng:
        """This host's own chance."""

    @property
    def files(self) -> MutableMapping[str, str]:
        """Text files by absolute path: /etc/resolv.conf, /etc/hosts and what programs write."""

    def now(self) -> float: ...

    async def sleep(self, seconds: float, *, background: bool = False) -> None:
        """``background``: for what is done for ever at its times, as keepalives are. No command waits for it:
        one that nothing else can wake is given up."""

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> Task[T]:
        """Run a coroutine beside this one; it ends with the host's program at the latest."""

    def trap(self) -> Trap:
        """Catch SIGTERM for the program that runs, which otherwise ends at once. A program that sets a trap
        and does not wait for it ignores SIGTERM, as PID 1 does when it has no handler (pid_namespaces(7)),
        and is killed at the end of its grace period."""

    async def udp(
        self, port: int = 0, *, address: IpAddress | None = None, remote: Endpoint | None = None
    ) -> UdpSocket:
        """A UDP socket bound to ``port`` (0: an ephemeral one); ``remote`` connects it.

        Without an address it takes datagrams to any, of both families (``::`` with net.ipv6.bindv6only 0, the
        default); bound to ``0.0.0.0``, those of IPv4. ``Datagram.source`` is the sender's real address.
        Raises OSError EADDRINUSE, or ENETUNREACH when there is no route to ``remote``.
        """

    async def listen(self, port: int, *, address: IpAddress | None = None) -> Listener:
        """A listening TCP socket, bound as ``udp`` is; OSError EADDRINUSE."""

    async def connect(
        self, remote: Endpoint, *, timeout: float | None = None, cause: Cause | None = None
    ) -> Stream:
        """Open a TCP connection; TimeoutError, ConnectionRefusedError (RST, or ICMP port unreachable),
        OSError EHOSTUNREACH or ENETUNREACH."""

    async def ping(
        self,
        address: IpAddress,
        *,
        sequence: int,
        size: int = 56,
        ttl: int = 64,
        timeout: float = 1.0,
        df: bool = False,
    ) -> EchoReply:
        """One ICMP echo with ``size`` bytes of payload; TimeoutError when nothing comes back."""

    async def probe(self, remote: Endpoint, *, ttl: int, timeout: float = 1.0) -> ProbeReply:
        """One UDP traceroute probe; TimeoutError when nothing comes back."""

    def listening(self) -> tuple[tuple[str, Endpoint], ...]:
        """Bound sockets, as ``ss -ltun``: (``tcp`` or ``udp``, local address), in port order."""

    def processes(self) -> tuple[tuple[int, str], ...]:
        """(pid, command line) of what runs here, by pid."""

    def interfaces(self) -> tuple[InterfaceView, ...]: ...

    def routes(self, family: int = 4) -> tuple[RouteView, ...]:
        """Those of one address family."""

    def neighbours(self) -> tuple[NeighbourView, ...]: ...

    def route_to(self, address: IpAddress, *, without: str = "") -> RouteView | None:
        """The route that a packet to the address would take (``ip route get``); None when there is none.

        Routes of the protocol ``without`` are passed over.
        """

    def install_route(
        self, prefix: IpNetwork, *, via: IpAddress, device: str, protocol: str, cause: Cause
    ) -> None:
        """Put a route into the host's own table, with LEARNT_METRIC, in place of an earlier such one."""

    def remove_route(self, prefix: IpNetwork, *, protocol: str) -> None:
        """Take such a route away; nothing happens when it is not there."""


class PortSpec(NamedTuple):
    """A declared container port; it opens nothing by itself."""

    port: int
    name: str = ""
    protocol: str = "TCP"


class Identity(NamedTuple):
    """What a program may know of the Pod it runs in (the downward API), empty outside a Pod."""

    pod: str = ""
    namespace: str = ""
    node: str = ""
    pod_ip: str = ""
    labels: Mapping[str, str] = EMPTY


class Invocation(NamedTuple):
    """One container's start: what the kubelet hands to a program.

    ``env`` is the whole environment; ``services`` are the in-process facilities that ``cluster`` grants
    to system programs by name (the DNS zone for CoreDNS), empty for everything else. ``to_completion``: it
    is expected to end, as init containers and the containers of a Job are.
    """

    image: str
    name: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    ports: tuple[PortSpec, ...] = ()
    env: Mapping[str, str] = EMPTY
    identity: Identity = Identity()
    stdin: bool = False
    tty: bool = False
    services: Mapping[str, Any] = EMPTY
    to_completion: bool = False


class Program(Protocol):
    """What an image runs: a coroutine function. It returns an exit code, or runs until it is cancelled."""

    def __call__(self, host: Host, start: Invocation) -> Coroutine[Any, Any, int]: ...

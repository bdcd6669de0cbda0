"""BIRD and our speakers on loopback addresses of this machine, for the tests that let one judge the other.

BIRD is 127.0.0.2 unless told otherwise, our speakers have addresses from 127.0.0.11 on; ports are free ones,
and no privilege is needed. ``Wire`` gives a speaker real sockets and real time. Nothing sleeps: all waiting
is in ``select``, up to a limit.
"""

from __future__ import annotations

import contextlib
import re
import selectors
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address
from pathlib import Path

from netsim.base.address import IpAddress, IpNetwork
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
    RemoveRoute,
    SendBytes,
    Started,
)
from netsim.net.bgp.settings import PeerSettings, SpeakerSettings, Timers
from netsim.net.bgp.speaker import Speaker

BIRD = "127.0.0.2"
LIMIT = 20.0  # seconds in which everything that is waited for must have happened
POLL = 0.02
QUICK = Timers(hold_time=30, connect_delay=0.0, connect_retry=0.5, error_wait=0.5)


def free_port(address: str) -> int:
    with socket.socket() as sock:
        sock.bind((address, 0))
        return int(sock.getsockname()[1])


class Bird:
    """One BIRD process with a configuration; ``start`` and ``stop`` as often as wanted.

    In the configuration ``HERE`` stands for BIRD's own address and port. Next hops in 10.9.0.0/24 count as
    reachable; those in 127.0.0.0/8 never do.
    """

    def __init__(self, folder: Path, protocols: str, *, address: str = BIRD) -> None:
        self.address = address
        self.port = free_port(address)
        self.log = folder / "bird.log"
        self._config = folder / "bird.conf"
        self._control = folder / "bird.ctl"
        folder.mkdir(exist_ok=True)
        self._config.write_text(
            f'log "{self.log}" all;\nrouter id {address};\nprotocol device {{ }}\n'
            'protocol static hops { ipv4; route 10.9.0.0/24 via "lo"; }\n'
            + protocols.replace("HERE", f"{address} port {self.port}")
        )
        self._pid = folder / "bird.pid"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Bird:
        path = shutil.which("bird", path="/usr/sbin:/sbin:/usr/local/sbin:/usr/bin") or "bird"
        arguments = ["-f", "-c", str(self._config), "-s", str(self._control), "-P", str(self._pid)]
        self._process = subprocess.Popen([path, *arguments])
        wait_until(lambda: bool(self.ask("show status")), "BIRD answers")
        return self

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(LIMIT)
            self._process = None

    def kill(self) -> None:
        """As a crash ends it: the kernel closes its connections, and BIRD says nothing."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(LIMIT)
        self._process = None

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """BIRD stands still: its connections stay, and it says nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def ask(self, command: str) -> str:
        """What birdc prints for a command, without its banner; empty while BIRD does not answer."""
        path = shutil.which("birdc", path="/usr/sbin:/sbin:/usr/local/sbin:/usr/bin") or "birdc"
        done = subprocess.run(
            [path, "-s", str(self._control), command], capture_output=True, text=True, check=False
        )
        lines = done.stdout.splitlines(keepends=True)
        return "".join(lines[1:]) if done.returncode == 0 and lines else ""

    def dial(self, source: str, *wires: Wire) -> socket.socket:
        """A connection to BIRD from an address, once BIRD listens: it answers birdc before it does."""
        dialled: list[socket.socket] = []

        def connected() -> bool:
            sock = socket.socket()
            sock.settimeout(LIMIT)
            sock.bind((source, 0))
            try:
                sock.connect((self.address, self.port))
            except ConnectionRefusedError:
                sock.close()
                return False
            dialled.append(sock)
            return True

        wait_until(connected, "BIRD listens", *wires)
        return dialled[0]

    def routes(self, protocol: str) -> set[str]:
        """The prefixes that came from a protocol."""
        shown = self.ask(f"show route protocol {protocol}")
        return set(re.findall(r"^(\d+\.\d+\.\d+\.\d+/\d+) ", shown, re.MULTILINE))


def wait_until(reached: Callable[[], bool], what: str, *wires: Wire) -> None:
    """Let the speakers run until something is so; fails after LIMIT."""
    end = time.monotonic() + LIMIT
    while not reached():
        if time.monotonic() > end:
            walk = "\n".join(line for wire in wires for line in wire.walk)
            raise AssertionError(f"not in {LIMIT} s: {what}\n{walk}")
        run_for(POLL, *wires)


def run_for(seconds: float, *wires: Wire) -> None:
    """Carry what the speakers and their peers say for a while."""
    end = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        while True:
            for key in list(selector.get_map().values()):
                selector.unregister(key.fileobj)
            for wire in wires:
                wire.register(selector)
            left = end - time.monotonic()
            if left <= 0:
                return
            due = [due for wire in wires if (due := wire.speaker.deadline()) is not None]
            wait = min([left, *(max(0.0, moment - time.monotonic()) for moment in due)])
            for key, mask in selector.select(wait):
                key.data(mask)
            for wire in wires:
                wire.expire()


class Wire:
    """A speaker on one loopback address, its sockets, and the routes that it learnt. It believes that its
    sessions' own address is ``speaks_at``, which is the next hop of what it tells.

    While ``hold_back`` is set, connections that come in are ``held`` and nobody is told of them.
    """

    def __init__(
        self,
        address: str,
        asn: int,
        peers: Mapping[Bird | Wire, PeerSettings],
        *,
        timers: Timers = QUICK,
        port: int = 0,
        more_peers: Sequence[PeerSettings] = (),
        family: int = 4,
        speaks_at: IpAddress | None = None,
    ) -> None:
        known = (*peers.values(), *more_peers)  # the latter are passive
        settings = SpeakerSettings(asn, IPv4Address(address), known, timers, family=family)
        self.address = address
        self._speaks_at = speaks_at or IPv4Address(address)
        self._ports = {str(peer.address): other.port for other, peer in peers.items()}
        self.speaker = Speaker(settings, Rng(1))
        self.table: dict[IpNetwork, IpAddress] = {}
        self.walk: list[str] = []
        self.sockets: dict[Connection, socket.socket] = {}
        self.listener = socket.create_server((address, port))
        self.hold_back = False
        self.held: list[socket.socket] = []
        self._pending: dict[Connection, socket.socket] = {}
        self._closing: list[socket.socket] = []
        self._accepted = 0

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    @property
    def routes(self) -> dict[str, str]:
        return {str(prefix): str(next_hop) for prefix, next_hop in sorted(self.table.items())}

    def start(self) -> Wire:
        self.feed(Started())
        return self

    def close(self) -> None:
        held = (*self.sockets.values(), *self._pending.values(), *self._closing, *self.held)
        for sock in (*held, self.listener):
            sock.close()

    def feed(self, event: Event) -> None:
        self._obey(self.speaker.feed(event, time.monotonic()))

    def expire(self) -> None:
        self._obey(self.speaker.expire(time.monotonic()))

    def register(self, selector: selectors.BaseSelector) -> None:
        selector.register(self.listener, selectors.EVENT_READ, lambda mask: self._accept())
        for connection, sock in self.sockets.items():
            selector.register(sock, selectors.EVENT_READ, lambda mask, c=connection: self._readable(c))
        for sock in self._closing:
            selector.register(sock, selectors.EVENT_READ, lambda mask, sock=sock: self._drain(sock))
        for connection, sock in self._pending.items():
            selector.register(sock, selectors.EVENT_WRITE, lambda mask, c=connection: self._connected(c))

    def _obey(self, commands: Sequence[Command]) -> None:
        for command in commands:
            self.walk.append(str(command))
            match command:
                case OpenConnection(connection):
                    self._dial(connection)
                case SendBytes(connection, data):
                    if connection in self.sockets:
                        with contextlib.suppress(OSError):
                            self.sockets[connection].sendall(data)
                case CloseConnection(connection):
                    self._hang_up(connection)
                case InstallRoute(prefix, next_hop):
                    self.table[prefix] = next_hop
                case RemoveRoute(prefix):
                    del self.table[prefix]

    def _hang_up(self, connection: Connection) -> None:
        """Close, but read on to the end: unread bytes would make the kernel send RST, and lose our last."""
        if connection in self._pending:
            self._pending.pop(connection).close()
        sock = self.sockets.pop(connection, None)
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_WR)
            self._closing.append(sock)

    def _drain(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if sock.recv(65536):
                return
        self._closing.remove(sock)
        sock.close()

    def _dial(self, connection: Connection) -> None:
        sock = socket.socket()
        sock.bind((self.address, 0))
        sock.setblocking(False)
        self._pending[connection] = sock
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
            sock.connect((str(connection.peer), self._ports[str(connection.peer)]))

    def _connected(self, connection: Connection) -> None:
        sock = self._pending.pop(connection, None)
        if sock is None:
            return
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        try:
            sock.getpeername()
        except OSError:
            sock.close()
            self.feed(ConnectionFailed(connection, f"error {error}"))
            return
        self._opened(connection, sock)

    def _accept(self) -> None:
        self.held.append(self.listener.accept()[0])
        if not self.hold_back:
            self.release()

    def release(self) -> None:
        """Tell the speaker of the connections that are held."""
        self.hold_back = False
        held, self.held = self.held, []
        for sock in held:
            self._accepted += 1
            peer = IPv4Address(sock.getpeername()[0])
            self._opened(Connection(peer, True, self._accepted), sock)

    def _opened(self, connection: Connection, sock: socket.socket) -> None:
        sock.setblocking(True)
        self.sockets[connection] = sock
        self.feed(ConnectionOpened(connection, self._speaks_at))

    def _readable(self, connection: Connection) -> None:
        sock = self.sockets.get(connection)
        if sock is None:
            return
        try:
            data = sock.recv(65536)
            reason = ""
        except OSError as error:
            data, reason = b"", str(error)
        if data:
            self.feed(BytesArrived(connection, data))
        else:
            self.sockets.pop(connection).close()
            self.feed(ConnectionClosed(connection, reason))

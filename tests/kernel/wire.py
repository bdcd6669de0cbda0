"""One wire between a host of netsim and the kernel: what the one sends the other gets, byte by byte.

The kernel's end is ``veth0`` of a namespace; the test holds the other end and lets the host's time pass as
real time does. Nothing is offloaded, so that every checksum is the sender's own.
"""

from __future__ import annotations

import ctypes
import fcntl
import select
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from types import TracebackType
from typing import IO, Any, NamedTuple, Self, TypeVar

from netsim.base.address import render_mac
from netsim.capture.record import PacketRecord, Recorder
from netsim.net.packet import Frame
from netsim.plan.entries import HostName, Port
from netsim.programs.host import Host as ProgramHost
from tests.kernel.namespace import Namespace
from tests.net.network import Network, mac_of

T = TypeVar("T")
SIM = HostName("sim")
END = Port(SIM, "eth0")
SIM6, KERNEL6 = "fd00::2", "fd00::1"
SIM4, KERNEL4 = "192.0.2.2", "192.0.2.1"
DEVICE, OTHER_END = "veth0", "wire0"
SIOCETHTOOL, ETHTOOL_STXCSUM = 0x8946, 0x17  # linux/sockios.h, linux/ethtool.h
ETH_P_ALL = 3
PATIENCE = 20.0  # seconds for a conversation, on a machine with much else to do
TICK = 0.01


class Command(NamedTuple):
    """A command that runs in the kernel's namespace, and the file that has what it printed."""

    process: subprocess.Popen[bytes]
    said: IO[str]


class _Outlet(Recorder):
    """Gives the kernel what the host sends."""

    def __init__(self, wire: socket.socket) -> None:
        super().__init__([END])
        self._wire = wire

    def record(self, record: PacketRecord) -> None:
        if record.port == END and record.outbound:
            self._wire.send(record.data)


class Wire:
    """The host, the kernel and what is between them. Enter it as a context."""

    def __init__(self) -> None:
        self.net = Network()
        self.net.host(SIM)
        self.net.interface("sim/eth0")
        self.net.address("sim/eth0", f"{SIM6}/64", f"{SIM4}/24")
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.namespace = Namespace()
            stack.callback(self.namespace.close)
            self.namespace.set(ipv6__conf__default__accept_ra=0, ipv6__conf__default__router_solicitations=0)
            self.namespace.run(
                "ip", "-batch", "-",
                stdin="\n".join((
                    "link set lo up",
                    f"link add {DEVICE} type veth peer name {OTHER_END}",
                    f"link set {OTHER_END} addrgenmode none",
                    f"link set {OTHER_END} arp off promisc on up",
                    f"link set {DEVICE} up",
                    f"address add {KERNEL6}/64 dev {DEVICE} nodad",
                    f"address add {KERNEL4}/24 dev {DEVICE}",
                )),
            )  # fmt: skip
            with self.namespace.entered():
                _compute_checksums(DEVICE)
                self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
                self._socket.bind((OTHER_END, ETH_P_ALL))
            stack.callback(self._socket.close)
            self._socket.setblocking(False)
            stack.enter_context(self.net.plane.recording(_Outlet(self._socket)))
            self._began = time.monotonic()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def sim(self) -> ProgramHost:
        return self.net.programs(SIM)

    @property
    def mac(self) -> str:
        return render_mac(mac_of("sim/eth0"))

    # --- the wire ------------------------------------------------------------------------------------

    def until(self, done: Callable[[], bool]) -> None:
        """Let both sides talk until that is so; AssertionError after ``PATIENCE`` seconds."""
        end = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < end, f"nothing more happens\n{self.net.walk()}"
            select.select([self._socket], [], [], TICK)
            plane = self.net.plane
            plane.pump_until(lambda: False, time.monotonic() - self._began)
            while data := self._received():
                plane._arrive(SIM, "eth0", Frame(data, (), 0))

    def _received(self) -> bytes:
        try:
            data, (_, _, kind, *_rest) = self._socket.recvfrom(65535)
        except BlockingIOError:
            return b""
        return data if kind != socket.PACKET_OUTGOING else self._received()

    # --- who talks -----------------------------------------------------------------------------------

    def ask(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine of the host."""
        task = self.net.plane.start(self.sim, lambda host: coroutine, "question")
        task.watch()
        self.until(lambda: task.done)
        return task.result()

    def kernel(self, *argv: str, stdin: str = "") -> tuple[int, str]:
        """Run a command in the kernel's namespace while the host answers; its exit code and what it said."""
        return self.end(self.start(*argv, stdin=stdin))

    def start(self, *argv: str, stdin: str = "") -> Command:
        """Start a command there; it is killed with the wire, if it has not ended."""
        given, said = _file(self._stack), _file(self._stack)
        given.write(stdin)
        given.seek(0)
        process = subprocess.Popen(
            ["nsenter", f"--net={self.namespace.path}", *argv],
            stdin=given, stdout=said, stderr=subprocess.STDOUT, pass_fds=[self.namespace.descriptor],
        )  # fmt: skip
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return Command(process, said)

    def end(self, command: Command) -> tuple[int, str]:
        """Wait for it: its exit code and all it printed."""
        self.until(lambda: command.process.poll() is not None)
        command.said.seek(0)
        return command.process.returncode, command.said.read()

    def neighbours(self) -> str:
        """The kernel's neighbours on the wire."""
        return self.namespace.run("ip", "neigh", "show", "dev", DEVICE)


def _file(stack: ExitStack) -> IO[str]:
    return stack.enter_context(tempfile.TemporaryFile("w+"))


def _compute_checksums(device: str) -> None:
    """ethtool -K DEVICE tx off"""
    value = ctypes.create_string_buffer(struct.pack("II", ETHTOOL_STXCSUM, 0))
    request = struct.pack("16sP", device.encode(), ctypes.addressof(value))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCETHTOOL, request)

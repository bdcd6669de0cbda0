"""UDP sockets of the operating system: one that serves many clients fast, and one question to a server.

``BurstSocket`` reads what has come in one go, without a task or a future for each datagram: a DNS server that
answers from memory spends its time on the answers. Everything else goes through asyncio-dgram.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from netsim.runtime.bursts import LARGEST, Address, Burst, Handler, Recall, available

BURST = 64
"""Datagrams read before other work gets its turn."""
BUFFER = 1 << 22
"""Bytes of the kernel's receive buffer that are asked for; it gives what net.core.rmem_max allows."""


class BurstSocket:
    """A bound UDP socket. ``handler`` gives the reply to a datagram, or None when there is none yet;
    ``recall`` is asked before it, and knows nothing but the bytes.

    Raises OSError when the address cannot be bound. It reads from the moment of ``start``.
    """

    def __init__(self, address: Address, handler: Handler, recall: Recall = lambda data: None) -> None:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            self._socket.bind(address)
        except OSError:
            self._socket.close()
            raise
        self._handler = handler
        self._recall = recall
        self._burst = Burst(self._socket, BURST) if available() else None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def address(self) -> Address:
        """Where it is bound: the port that was chosen when 0 was asked for."""
        host, port, *_ = self._socket.getsockname()
        return host, port

    def start(self) -> None:
        """Read in the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._read)

    def _read(self) -> None:
        if self._burst is not None:
            for reply, client in self._burst.answer(self._recall, self._handler):
                self.send(reply, client)
            return
        receive, recall, handler = self._socket.recvfrom, self._recall, self._handler
        try:
            for _ in range(BURST):
                data, client = receive(LARGEST)
                found = recall(data) or handler(data, client)
                if found is not None:
                    self.send(found, client)
        except OSError:
            return  # nothing more has come

    def send(self, data: bytes, client: Address) -> None:
        """Send a reply that took its time."""
        with suppress(OSError):  # the client is gone, or the send buffer is full: UDP may lose
            self._socket.sendto(data, client)

    def close(self) -> None:
        """Stop reading, and give the port back."""
        if self._loop is not None:
            self._loop.remove_reader(self._socket)
            self._loop = None
        self._socket.close()


async def ask(server: Address, data: bytes, timeout: float) -> bytes:
    """Send one datagram, and wait for one to come back. Raises TimeoutError, or OSError."""
    import asyncio_dgram

    stream = await asyncio_dgram.connect(server)
    try:
        await stream.send(data)
        reply, _ = await asyncio.wait_for(stream.recv(), timeout)
        return bytes(reply)
    finally:
        stream.close()

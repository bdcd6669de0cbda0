"""TLS over a Host's streams: the standard library's engine between two buffers (ssl.MemoryBIO).

``apiserver`` answers through it, and the HTTP client asks through it. The engine takes its randomness from
the operating system, so a capture with TLS in it differs from run to run; nothing else does.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import cache
from typing import TypeVar

from netsim.base.cause import Cause
from netsim.programs import certificates
from netsim.programs.host import Endpoint, Stream

T = TypeVar("T")


@cache
def server_context() -> ssl.SSLContext:
    """The API server's side."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.SERVER)
    return context


def client_context(*, authority: str | None = None, verify: bool = True) -> ssl.SSLContext:
    """A client's side; ``authority`` is the PEM text that it trusts. With neither, nobody is trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif authority is not None:
        context.load_verify_locations(cadata=authority)
    return context


class TlsStream:
    """A TLS connection on a TCP connection, with the same methods."""

    def __init__(
        self,
        stream: Stream,
        context: ssl.SSLContext,
        *,
        server_name: str | None = None,
        received: bytes = b"",
    ) -> None:
        """``server_name`` makes it a client's end; ``received`` are bytes that were read already."""
        self._stream = stream
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._incoming.write(received)
        self._engine = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_name is None,
            server_hostname=server_name,
        )

    @property
    def local(self) -> Endpoint:
        return self._stream.local

    @property
    def peer(self) -> Endpoint:
        return self._stream.peer

    async def handshake(self, *, timeout: float | None = None) -> None:
        """Agree on keys; raises ssl.SSLError, and ConnectionResetError when the peer goes away."""
        await self._drive(self._engine.do_handshake, timeout, None)

    async def read(self, limit: int = 65536, *, timeout: float | None = None) -> bytes:
        try:
            return await self._drive(lambda: self._engine.read(limit), timeout, None)
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    async def write(self, data: bytes, *, cause: Cause | None = None) -> None:
        await self._drive(lambda: self._engine.write(data), None, cause)

    def close(self) -> None:
        self._stream.close()

    def abort(self) -> None:
        self._stream.abort()

    async def _drive(self, step: Callable[[], T], timeout: float | None, cause: Cause | None) -> T:
        """Run one step of the engine, carrying bytes for it until it is done."""
        while True:
            wants_more = False
            try:
                result = step()
            except ssl.SSLWantReadError:
                wants_more = True
            except ssl.SSLError:
                await self._flush(cause)  # the alert that says why
                raise
            await self._flush(cause)
            if not wants_more:
                return result
            received = await self._stream.read(timeout=timeout)
            if received:
                self._incoming.write(received)
            else:
                self._incoming.write_eof()

    async def _flush(self, cause: Cause | None) -> None:
        if self._outgoing.pending:
            await self._stream.write(self._outgoing.read(), cause=cause)

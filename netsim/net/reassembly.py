"""Putting IPv4 fragments together (RFC 791 section 3.2, RFC 815)."""

from __future__ import annotations

from typing import NamedTuple

from netsim.wire import ipv4

TIMEOUT = 30.0  # net.ipv4.ipfrag_time
MAX_QUEUES = 1024


class _Key(NamedTuple):
    source: bytes
    destination: bytes
    protocol: int
    identification: int


class _Pieces:
    __slots__ = ("by_offset", "expires", "length", "serial")

    def __init__(self, expires: float) -> None:
        self.by_offset: dict[int, bytes] = {}
        self.length: int | None = None
        self.expires = expires
        self.serial = 0


class Reassembly:
    """Fragments by packet, until all are there or 30 s are over."""

    __slots__ = ("_queues",)

    def __init__(self) -> None:
        self._queues: dict[_Key, _Pieces] = {}

    def add(self, data: bytes, now: float) -> bytes | None:
        """Take one fragment; the whole packet once it is complete."""
        header = ipv4.parse(data)
        key = _Key(header.source, header.destination, header.protocol, header.identification)
        self._forget_old(now)
        pieces = self._queues.setdefault(key, _Pieces(now + TIMEOUT))
        pieces.by_offset[header.fragment_offset] = header.payload
        if not header.more_fragments:
            pieces.length = header.fragment_offset + len(header.payload)
        whole = _joined(pieces)
        if whole is None:
            return None
        del self._queues[key]
        return ipv4.build(
            header.source,
            header.destination,
            header.protocol,
            whole,
            ttl=header.ttl,
            identification=header.identification,
            dont_fragment=False,
            tos=header.tos,
        )

    def _forget_old(self, now: float) -> None:
        if len(self._queues) >= MAX_QUEUES or any(p.expires <= now for p in self._queues.values()):
            for key in [k for k, p in self._queues.items() if p.expires <= now]:
                del self._queues[key]
            while len(self._queues) >= MAX_QUEUES:
                del self._queues[next(iter(self._queues))]


def _joined(pieces: _Pieces) -> bytes | None:
    if pieces.length is None:
        return None
    whole = bytearray()
    for offset in sorted(pieces.by_offset):
        if offset > len(whole):
            return None
        whole[offset:] = pieces.by_offset[offset]
    return bytes(whole) if len(whole) == pieces.length else None

"""Putting IPv4 fragments together (RFC 791 section 3.2, RFC 815)."""

from __future__ import annotations

from typing import NamedTuple

from netsim.wire import ipv4

TIMEOUT = 30.0  # net.ipv4.ipfrag_time
MAX_QUEUES = 1024
_MAX_PAYLOAD = 0xFFFF - ipv4.HEADER_LENGTH


class _Key(NamedTuple):
    source: bytes
    destination: bytes
    protocol: int
    identification: int


class _Pieces:
    __slots__ = ("by_offset", "expires", "furthest", "length")

    def __init__(self, expires: float) -> None:
        self.by_offset: dict[int, bytes] = {}
        self.length: int | None = None
        self.furthest = 0
        self.expires = expires

    def put(self, offset: int, payload: bytes, *, last: bool) -> bool:
        """Take a piece, or one that is there already; False when it contradicts what is there.

        Overlapping pieces are a trick, not an accident: Linux drops the packet (ip_frag_queue, after
        RFC 5722 for IPv6).
        """
        if self.by_offset.get(offset) == payload:
            return True
        end = offset + len(payload)
        if end > _MAX_PAYLOAD or (not last and len(payload) % 8):
            return False
        if any(start < end and offset < start + len(other) for start, other in self.by_offset.items()):
            return False
        self.by_offset[offset] = payload
        self.furthest = max(self.furthest, end)
        if last:
            if self.length is not None:
                return False
            self.length = end
        return self.length is None or self.furthest <= self.length

    def joined(self) -> bytes | None:
        """The whole, once nothing is missing."""
        if self.length is None or sum(map(len, self.by_offset.values())) != self.length:
            return None
        return b"".join(self.by_offset[offset] for offset in sorted(self.by_offset))


class Reassembly:
    """Fragments by packet, until all are there or 30 s are over."""

    __slots__ = ("_queues",)

    def __init__(self) -> None:
        self._queues: dict[_Key, _Pieces] = {}

    def add(self, data: bytes, now: float) -> bytes | None:
        """Take one fragment; the whole packet once it is complete. WireError when it is malformed."""
        header = ipv4.parse(data)
        key = _Key(header.source, header.destination, header.protocol, header.identification)
        self._forget_old(now)
        pieces = self._queues.setdefault(key, _Pieces(now + TIMEOUT))
        if not pieces.put(header.fragment_offset, header.payload, last=not header.more_fragments):
            del self._queues[key]
            return None
        whole = pieces.joined()
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
        """The queues stand in the order in which they began, and so of their ends."""
        while self._queues:
            key, oldest = next(iter(self._queues.items()))
            if oldest.expires > now and len(self._queues) < MAX_QUEUES:
                return
            del self._queues[key]

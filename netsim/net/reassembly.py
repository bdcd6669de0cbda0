"""Putting fragments together (RFC 791 section 3.2, RFC 815; for IPv6 RFC 8200 section 4.5)."""

from __future__ import annotations

from typing import NamedTuple

from netsim.wire import ipv4, ipv6

MAX_QUEUES = 1024


class _Key(NamedTuple):
    source: bytes
    destination: bytes
    protocol: int
    identification: int


class _Piece(NamedTuple):
    key: _Key
    offset: int
    more: bool
    payload: bytes


class Joined(NamedTuple):
    """A whole packet, and the size of the largest piece that it came in."""

    data: bytes
    largest: int


class _Pieces:
    __slots__ = ("by_offset", "expires", "first", "furthest", "largest", "length", "limit")

    def __init__(self, expires: float, limit: int) -> None:
        self.by_offset: dict[int, bytes] = {}
        self.first = b""  # the piece that has the beginning
        self.length: int | None = None
        self.furthest = 0
        self.largest = 0
        self.expires = expires
        self.limit = limit

    def put(self, offset: int, payload: bytes, *, last: bool) -> bool:
        """Take a piece, or one that is there already; False when it contradicts what is there.

        Overlapping pieces are a trick, not an accident: Linux drops the packet (ip_frag_queue, after
        RFC 5722 for IPv6).
        """
        if self.by_offset.get(offset) == payload:
            return True
        end = offset + len(payload)
        if end > self.limit or (not last and len(payload) % 8):
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
    """IPv4 fragments by packet, until all are there or their time is over."""

    __slots__ = ("_queues",)
    timeout = 30.0  # net.ipv4.ipfrag_time
    limit = 0xFFFF - ipv4.HEADER_LENGTH

    def __init__(self) -> None:
        self._queues: dict[_Key, _Pieces] = {}

    def add(self, data: bytes, now: float) -> Joined | None:
        """Take one fragment; the whole packet once it is complete. WireError when it is malformed."""
        piece = self._read(data)
        self._forget_old(now)
        pieces = self._queues.setdefault(piece.key, _Pieces(now + self.timeout, self.limit))
        pieces.largest = max(pieces.largest, len(data))
        if piece.offset == 0:
            pieces.first = data
        if not pieces.put(piece.offset, piece.payload, last=not piece.more):
            del self._queues[piece.key]
            return None
        whole = pieces.joined()
        if whole is None:
            return None
        del self._queues[piece.key]
        return Joined(self._build(pieces.first, whole), pieces.largest)

    def _read(self, data: bytes) -> _Piece:
        header = ipv4.parse(data)
        key = _Key(header.source, header.destination, header.protocol, header.identification)
        return _Piece(key, header.fragment_offset, header.more_fragments, header.payload)

    def _build(self, first: bytes, whole: bytes) -> bytes:
        """The packet, with the header of the piece that began it."""
        header = ipv4.parse(first)
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


class Reassembly6(Reassembly):
    """IPv6 fragments."""

    __slots__ = ()
    timeout = 60.0  # net.ipv6.ip6frag_time
    limit = 0xFFFF

    def _read(self, data: bytes) -> _Piece:
        header = ipv6.parse(data)
        piece = ipv6.parse_fragment(header)
        key = _Key(header.source, header.destination, 0, piece.identification)
        return _Piece(key, piece.offset, piece.more, piece.payload)

    def _build(self, first: bytes, whole: bytes) -> bytes:
        protocol = ipv6.parse_fragment(ipv6.parse(first)).protocol
        return first[:4] + len(whole).to_bytes(2, "big") + bytes((protocol,)) + first[7:40] + whole

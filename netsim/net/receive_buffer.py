"""The receiving half of a TCP connection: which bytes come next, and where early ones wait for them.

``tcp.Connection`` asks whether a segment is acceptable, puts its payload in, and lets the program take
what is in order. Nothing here sends, and nothing here knows a state.
"""

from __future__ import annotations

MODULUS = 1 << 32
WINDOW = 65535  # no window scaling, so this is the most that a header can say


def distance(start: int, end: int) -> int:
    """How far sequence number ``end`` is ahead of ``start``, negative when it is behind (modulo 2**32)."""
    return ((end - start + (1 << 31)) % MODULUS) - (1 << 31)


class ReceiveBuffer:
    """``next`` is RCV.NXT, ``ready`` what the program may take, ``window`` what may still come."""

    __slots__ = ("_early", "next", "ready")

    def __init__(self) -> None:
        self.next = 0
        self.ready = bytearray()
        self._early: dict[int, bytes] = {}

    @property
    def window(self) -> int:
        """RCV.WND. The program has until now left the rest of it unread."""
        return WINDOW - len(self.ready)

    def acceptable(self, sequence: int, length: int) -> bool:
        """Whether a segment of this length overlaps the window.

        One at the very next number counts although the window is closed: its ACK is wanted.
        """
        ahead = distance(self.next, sequence)
        return ahead == 0 or (ahead < self.window and ahead + length > 0)

    def put(self, sequence: int, payload: bytes) -> bool:
        """Take what fits the window; True when the program has more to read than before."""
        ahead = distance(self.next, sequence)
        if ahead < 0:
            payload, ahead = payload[-ahead:], 0
        payload = payload[: max(0, self.window - ahead)]
        if not payload:
            return False
        if ahead:
            start = (self.next + ahead) % MODULUS
            if len(payload) > len(self._early.get(start, b"")):
                self._early[start] = payload
            return False
        self._append(payload)
        while self._early:
            start = min(self._early, key=lambda s: distance(self.next, s))
            behind = -distance(self.next, start)
            if behind < 0:
                break
            self._append(self._early.pop(start)[behind:])
        return True

    def _append(self, payload: bytes) -> None:
        self.ready += payload
        self.next = (self.next + len(payload)) % MODULUS

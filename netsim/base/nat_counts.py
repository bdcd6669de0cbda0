"""What the nat table of one host has seen: the first packets of connections, those alike together.

``net`` counts them, ``proxy`` makes counters of rules from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Amount(NamedTuple):
    """Packets, and the bytes of these as IP packets."""

    packets: int = 0
    size: int = 0


class Opened(NamedTuple):
    """First packets of connections, as they came to PREROUTING or, without a device, to OUTPUT.

    ``port`` is 0 where no virtual server stands at the destination. ``endpoint`` is the address and the port
    that they got instead, ``known`` whether because the client had it before. ``from_local`` and ``to_local``
    say whether an address is the host's. Without ``current``, the virtual server has changed since.
    """

    device: str
    protocol: int
    source: bytes
    destination: bytes
    port: int
    endpoint: tuple[bytes, int] | None
    known: bool
    amount: Amount
    from_local: bool
    to_local: bool
    current: bool


class NatCounts(NamedTuple):
    """All of one family: what came in by either hook, what went to the host's own programs, and what left,
    with kube-proxy's mark for masquerading and without."""

    opened: Sequence[Opened]
    delivered: Amount
    marked: Amount
    unmarked: Amount

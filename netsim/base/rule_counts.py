"""What the tables of iptables on one host have seen: packets that are alike, counted together.

``net`` counts them, ``proxy`` makes counters of rules from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple


class Amount(NamedTuple):
    """Packets, and the bytes of these as IP packets."""

    packets: int = 0
    size: int = 0


class Opened(NamedTuple):
    """First packets of connections, as they came to the nat table's PREROUTING or, without a device, OUTPUT.

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
    """All of one family: what came in by either hook, what went to the host's own programs, and what left:
    with the mark for masquerading, without it, or through IPVS to a server that is its own client."""

    opened: Sequence[Opened]
    delivered: Amount = Amount()
    marked: Amount = Amount()
    unmarked: Amount = Amount()
    looped: Amount = Amount()


class State(Enum):
    """What a packet is to connection tracking (xt_conntrack), as far as kube-proxy's rules tell it apart."""

    NEW = "NEW"
    KNOWN = "RELATED,ESTABLISHED"
    INVALID = "INVALID"


class Came(NamedTuple):
    """Packets that came to a built-in chain of the filter table.

    Addresses and port are told where a rule may ask for them: of what is to the host itself, and of what a
    virtual server refuses; otherwise they are zero. Without ``current``, that server has changed since.
    """

    chain: str
    state: State
    marked: bool
    protocol: int
    source: bytes
    destination: bytes
    port: int
    to_local: bool
    amount: Amount
    current: bool


class RuleCounts(NamedTuple):
    """The tables nat and filter of one host, for one family of addresses."""

    nat: NatCounts
    filter: Sequence[Came]

"""Why a thing exists or happened.

A plan entry carries the ``Cause`` for which it stands; a frame in the sim plane collects a ``Note`` (a
cause, and the host where it applied) at each decision. Captures, ``trace``, failing tests and lab hints
print those and invent none.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Stage(Enum):
    """Where in a packet's life a cause applies. ``value`` is the word that captures print."""

    PLAN = "plan"  # why a piece of network stands where it stands
    PROGRAM = "program"  # an application decided to speak
    PROBE = "probe"  # the kubelet looks whether a container is well; the first note of all such packets
    RESOLVER = "resolver"  # the Pod's libc: search list, ndots, retry
    DNS = "dns"  # the DNS server's decision
    SOCKET = "socket"  # TCP and UDP mechanics: handshake, retransmission, refused
    ROUTE = "route"  # a routing decision
    NEIGHBOUR = "arp"  # address resolution
    NDP = "ndp"  # and that of IPv6
    SERVICE = "service"  # kube-proxy's choice
    NAT = "nat"  # a rewrite: DNAT, masquerade, and their inverse
    FILTER = "filter"  # accepted, rejected or dropped by a rule
    ENCAP = "encap"  # a tunnel put on or taken off
    BRIDGE = "bridge"  # switched in layer 2
    FAULT = "fault"  # lost, delayed or cut by a fault rule
    ICMP = "icmp"  # an error or echo that the kernel itself sends


class Cause(NamedTuple):
    """One reason, in one line that a reader understands without the source code."""

    stage: Stage
    text: str

    def __str__(self) -> str:
        return f"{self.stage.value}: {self.text}"


class Note(NamedTuple):
    """A cause and the host on which it applied."""

    where: str
    cause: Cause

    def __str__(self) -> str:
        return f"{self.where}: {self.cause}"


Notes = tuple[Note, ...]


def probe_of(notes: Notes) -> Cause | None:
    """The kubelet's probe that a packet belongs to, in whichever direction; None for all other packets."""
    return notes[0].cause if notes and notes[0].cause.stage is Stage.PROBE else None

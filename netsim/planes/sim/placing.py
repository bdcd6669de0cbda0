"""Where the entries of a plan go: into a host's stack, or into the tables of a host or a group of hosts."""

from __future__ import annotations

from typing import TypeAlias

from netsim.net.stack import Stack
from netsim.net.tables import Tables
from netsim.plan.entries import (
    Address,
    Announcement,
    Entry,
    Fdb,
    Interface,
    Neighbour,
    Place,
    Route,
    Rule,
    SetMember,
    SharedAddress,
    Sysctl,
    VirtualServer,
)

Scoped: TypeAlias = (
    Route | Neighbour | Fdb | Rule | VirtualServer | Place | SetMember | Sysctl | SharedAddress
)
SCOPED = (Route, Neighbour, Fdb, Rule, VirtualServer, Place, SetMember, Sysctl, SharedAddress)


def give(stack: Stack, entry: Interface | Address | Announcement) -> None:
    """Put an entry that is one host's."""
    match entry:
        case Interface():
            stack.put_interface(entry)
        case Address():
            stack.put_address(entry)
        case Announcement():
            stack.put_announcement(entry)


def take(stack: Stack, entry: Entry) -> None:
    """Take back what ``give`` gave."""
    match entry:
        case Interface():
            stack.remove_interface(entry.name)
        case Address():
            stack.remove_address(entry)
        case Announcement():
            stack.remove_announcement(entry)


def give_scoped(tables: Tables, entry: Entry) -> None:
    """Put an entry that a host or a group of hosts has."""
    match entry:
        case Route():
            tables.put_route(entry)
        case Neighbour():
            tables.put_neighbour(entry)
        case Fdb():
            tables.put_fdb(entry)
        case Rule():
            tables.put_rule(entry)
        case VirtualServer():
            tables.put_virtual(entry)
        case Sysctl():
            tables.put_sysctl(entry)
        case SharedAddress():
            tables.put_address(entry)
        case Place():
            tables.put_place(entry)
        case SetMember():
            tables.put_member(entry)


def take_scoped(tables: Tables, entry: Entry) -> None:
    """Take back what ``give_scoped`` gave."""
    match entry:
        case Route():
            tables.remove_route(entry)
        case Neighbour():
            tables.remove_neighbour(entry)
        case Fdb():
            tables.remove_fdb(entry)
        case Rule():
            tables.remove_rule(entry)
        case VirtualServer():
            tables.remove_virtual(entry)
        case Sysctl():
            tables.remove_sysctl(entry)
        case SharedAddress():
            tables.remove_address(entry)
        case Place():
            tables.remove_place(entry)
        case SetMember():
            tables.remove_member(entry)

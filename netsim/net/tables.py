"""The tables that the plan fills, for one host or shared by a group of hosts.

``Tables`` holds what a plan entry can put: routes, permanent neighbours, VXLAN forwarding entries,
netfilter rules and virtual servers. A ``Stack`` looks into its own tables first and then into those of
its groups, so a cluster keeps one Service table however many nodes it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from netsim.base.address import IpNetwork, render_endpoint
from netsim.base.cause import Cause, Stage
from netsim.net.fib import Fib, Route
from netsim.plan.entries import (
    Action,
    Affinity,
    Backend,
    Fdb,
    Hook,
    Key,
    LocalAddresses,
    Masquerade,
    Near,
    Neighbour,
    Place,
    Reach,
    Rule,
    Schedule,
    SetMember,
    SharedAddress,
    Sysctl,
    VirtualServer,
)
from netsim.plan.entries import Route as PlannedRoute


class ServerChoice(NamedTuple):
    """One backend, packed, with the text by which readers know it."""

    address: bytes
    port: int
    label: str
    weight: int = 1
    home: str = ""


class Choices(NamedTuple):
    """The backends for hosts at a place."""

    place: str
    backends: tuple[ServerChoice, ...]


class Where(NamedTuple):
    """``LocalAddresses``, packed; networks are (network, mask)."""

    loopback: bool
    networks: tuple[tuple[int, int], ...]
    primary: bool
    refuses_at_all: bool


class Service(NamedTuple):
    """A virtual server, packed for lookups. Networks are (network, mask) as integers.

    ``backends`` and ``own`` are what one host has to choose from once ``Services`` has chosen for it among
    ``near`` and ``owns``. For IPVS they are in the order of the kernel's list.
    """

    name: str
    label: str
    protocol: int
    backends: tuple[ServerChoice, ...]
    cause: Cause
    schedule: Schedule
    masquerade: Masquerade
    drain: float
    reach: Reach
    near: tuple[Choices, ...]
    owns: tuple[Choices, ...]
    refusal: Action
    refuses_own: bool
    sources: tuple[tuple[int, int], ...] | None
    balancers: tuple[bytes, ...]
    affinity: Affinity | None
    where: Where | None
    own: tuple[ServerChoice, ...] = ()


class Filter(NamedTuple):
    """A netfilter rule, packed: networks are (network, mask, wanted) with ``wanted`` False for ``!``."""

    order: int
    name: str
    sources: tuple[tuple[int, int, bool], ...]
    destinations: tuple[tuple[int, int, bool], ...]
    protocol: int | None
    destination_port: int | None
    in_device: str | None
    out_device: str | None
    unserved_on: str | None
    new: bool
    invalid: bool
    destination_set: str | None
    action: Action
    cause: Cause
    family: int


ServiceKey = tuple[int, bytes, int]
LOOPBACK_NET = 127  # the first byte of 127.0.0.0/8
LOOPBACK6 = bytes(15) + b"\x01"
ANY_OWN, ANY_OWN6 = b"", b"::"  # stand in a key for LocalAddresses


def is_loopback(address: bytes) -> bool:
    """127.0.0.0/8, and ::1."""
    return address[0] == LOOPBACK_NET if len(address) == 4 else address == LOOPBACK6


def rule_order(rule: Filter) -> tuple[int, str]:
    """Rules of one hook are tried in this order."""
    return rule.order, rule.name


class Tables:
    """What plan entries put, keyed for the packet path.

    ``version`` grows with every change of rules, virtual servers or parameters, ``fib.version`` with every
    change of routes. ``addresses`` are the shared ones, each with its interface.
    """

    __slots__ = (
        "_changes", "_rules", "_services", "_virtuals", "addresses", "fdb", "fib", "fib6", "neighbours",
        "places", "rules", "sets", "sysctls", "version",
    )  # fmt: skip

    def __init__(self) -> None:
        self.fib = Fib()
        self.fib6 = Fib(128)
        self.addresses: dict[bytes, str] = {}
        self.neighbours: dict[tuple[str, bytes], tuple[bytes, Cause]] = {}
        self.fdb: dict[tuple[str, bytes], tuple[bytes, Cause]] = {}
        self.rules: dict[Hook, list[Filter]] = {}
        self.sysctls: dict[str, int] = {}
        self.places: dict[int, Place] = {}
        """By address family."""
        self.sets: dict[str, set[bytes]] = {}
        self.version = 0
        self._rules: dict[Key, tuple[Hook, Filter]] = {}
        self._virtuals: dict[ServiceKey, VirtualServer] = {}
        self._services: dict[ServiceKey, Service] = {}
        self._changes: dict[ServiceKey, int] = {}  # with which version, in this order

    @property
    def filters(self) -> bool:
        """Whether anything here makes a host track connections."""
        return bool(self._rules or self._virtuals)

    def service(self, key: ServiceKey) -> Service | None:
        """The virtual server for (protocol, address, port), or None; see ``ANY_OWN``."""
        service = self._services.get(key)
        if service is None:
            virtual = self._virtuals.get(key)
            if virtual is None:
                return None
            service = self._services[key] = _service_from_virtual(virtual)
        return service

    def scheduled(self) -> Iterator[tuple[ServiceKey, Service]]:
        """The virtual servers of IPVS; see ``ANY_OWN``."""
        for key, virtual in self._virtuals.items():
            service = self.service(key)
            if virtual.schedule is not Schedule.RANDOM and service is not None:
                yield key, service

    def changed_since(self, version: int) -> Iterator[ServiceKey]:
        """The virtual servers that are new, other or gone since then, the last first."""
        for key in reversed(self._changes):
            if self._changes[key] <= version:
                return
            yield key

    # --- what the plan puts --------------------------------------------------------------------------

    def put_route(self, entry: PlannedRoute) -> None:
        (self.fib if entry.destination.version == 4 else self.fib6).add(route_from_plan(entry))

    def remove_route(self, entry: PlannedRoute) -> None:
        network = entry.destination
        fib = self.fib if network.version == 4 else self.fib6
        fib.remove(int(network.network_address), network.prefixlen, entry.metric)

    def put_neighbour(self, entry: Neighbour) -> None:
        self.neighbours[entry.device, entry.address.packed] = (bytes(entry.mac), entry.cause)

    def remove_neighbour(self, entry: Neighbour) -> None:
        del self.neighbours[entry.device, entry.address.packed]

    def put_fdb(self, entry: Fdb) -> None:
        self.fdb[entry.device, bytes(entry.mac)] = (entry.destination.packed, entry.cause)

    def remove_fdb(self, entry: Fdb) -> None:
        del self.fdb[entry.device, bytes(entry.mac)]

    def put_rule(self, entry: Rule) -> None:
        self._rules[entry.key] = (entry.hook, _filter_from_rule(entry))
        self._sort_rules(entry.hook)

    def remove_rule(self, entry: Rule) -> None:
        del self._rules[entry.key]
        self._sort_rules(entry.hook)

    def _sort_rules(self, hook: Hook) -> None:
        self.rules[hook] = sorted((rule for at, rule in self._rules.values() if at is hook), key=rule_order)
        self.version += 1

    def put_sysctl(self, entry: Sysctl) -> None:
        self.sysctls[entry.name] = entry.value
        self.version += 1

    def remove_sysctl(self, entry: Sysctl) -> None:
        del self.sysctls[entry.name]
        self.version += 1

    def put_member(self, entry: SetMember) -> None:
        self.sets.setdefault(entry.set, set()).add(entry.address.packed)

    def remove_member(self, entry: SetMember) -> None:
        self.sets[entry.set].discard(entry.address.packed)

    def put_place(self, entry: Place) -> None:
        self.places[entry.family] = entry
        self.version += 1

    def remove_place(self, entry: Place) -> None:
        del self.places[entry.family]
        self.version += 1

    def put_address(self, entry: SharedAddress) -> None:
        self.addresses[entry.address.packed] = entry.interface

    def remove_address(self, entry: SharedAddress) -> None:
        del self.addresses[entry.address.packed]

    def put_virtual(self, entry: VirtualServer) -> None:
        """Add a virtual server, or change one in place: what IPVS does next depends on what it had."""
        key = _service_key(entry)
        if entry.schedule is not Schedule.RANDOM:
            entry = _listed(entry, self._virtuals.get(key))
        self._virtuals[key] = entry
        self._changed(key)

    def remove_virtual(self, entry: VirtualServer) -> None:
        key = _service_key(entry)
        del self._virtuals[key]
        self._changed(key)

    def _changed(self, key: ServiceKey) -> None:
        self.version += 1
        self._services.pop(key, None)
        self._changes.pop(key, None)
        self._changes[key] = self.version


def route_from_plan(entry: PlannedRoute) -> Route:
    """A plan's route, packed."""
    network = entry.destination
    return Route(
        int(network.network_address),
        network.prefixlen,
        entry.device,
        entry.via.packed if entry.via is not None else None,
        entry.onlink,
        None,
        entry.protocol,
        entry.metric,
        entry.cause,
        network.max_prefixlen,
    )


def _service_key(entry: VirtualServer) -> ServiceKey:
    if isinstance(entry.address, LocalAddresses):
        return entry.protocol, ANY_OWN if entry.address.family == 4 else ANY_OWN6, entry.port
    return entry.protocol, entry.address.packed, entry.port


def _listed(entry: VirtualServer, standing: VirtualServer | None) -> VirtualServer:
    """The entry with its backends as the kernel lists them.

    Where hosts differ, each has the list that it would have if it had always stood at its place.
    """
    if standing is not None and standing.schedule is not entry.schedule:
        standing = None
    before = {near.place: near.backends for near in standing.near} if standing is not None else {}
    own = {near.place: near.backends for near in standing.own} if standing is not None else {}
    return entry._replace(
        backends=_in_list(entry.backends, standing.backends if standing is not None else ()),
        near=tuple(Near(n.place, _in_list(n.backends, before.get(n.place, ()))) for n in entry.near),
        own=tuple(Near(n.place, _in_list(n.backends, own.get(n.place, ()))) for n in entry.own),
    )


def _in_list(wanted: Iterable[Backend], old: Iterable[Backend]) -> tuple[Backend, ...]:
    """A new backend goes to the head of the list (Linux ip_vs_ctl.c, __ip_vs_update_dest: list_add_rcu)."""
    new = {(backend.address, backend.port): backend for backend in wanted}
    kept = {place: new.pop(place) for b in old if (place := (b.address, b.port)) in new}
    return (*reversed(new.values()), *kept.values())


def _service_from_virtual(entry: VirtualServer) -> Service:
    at, where = entry.address, None
    if isinstance(at, LocalAddresses):
        end = f"port {entry.port} of the host"
        where = Where(at.loopback, _networks(at.networks), at.primary, at.refuses_at_all)
    else:
        end = render_endpoint(at.packed, entry.port)
    return Service(
        entry.name,
        f"{entry.name} ({end})",
        entry.protocol,
        _choices(entry.backends),
        entry.cause,
        entry.schedule,
        entry.masquerade,
        entry.drain,
        entry.reach,
        tuple(Choices(near.place, _choices(near.backends)) for near in entry.near),
        tuple(Choices(own.place, _choices(own.backends)) for own in entry.own),
        entry.refusal,
        entry.refuses_own,
        _networks(entry.sources) if entry.sources is not None else None,
        tuple(address.packed for address in entry.balancers),
        entry.affinity,
        where,
    )


def _choices(backends: Iterable[Backend]) -> tuple[ServerChoice, ...]:
    return tuple(
        ServerChoice(packed := address.packed, port, _label(packed, port, name), weight, home)
        for address, port, name, weight, home in backends
    )


def _label(packed: bytes, port: int, name: str) -> str:
    where = render_endpoint(packed, port)
    return f"{where} ({name})" if name else where


def _networks(networks: Iterable[IpNetwork]) -> tuple[tuple[int, int], ...]:
    return tuple((int(network.network_address), int(network.netmask)) for network in networks)


def _filter_from_rule(entry: Rule) -> Filter:
    match = entry.match

    def packed(wanted: IpNetwork | None, unwanted: IpNetwork | None) -> tuple[tuple[int, int, bool], ...]:
        return tuple(
            (int(network.network_address), int(network.netmask), positive)
            for network, positive in ((wanted, True), (unwanted, False))
            if network is not None
        )

    return Filter(
        entry.order,
        entry.name,
        packed(match.source, match.not_source),
        packed(match.destination, match.not_destination),
        match.protocol,
        match.destination_port,
        match.in_device,
        match.out_device,
        match.unserved_on,
        match.new,
        match.invalid,
        match.destination_set,
        entry.action,
        Cause(Stage.NAT if entry.action is Action.MASQUERADE else Stage.FILTER, entry.cause.text),
        entry.family,
    )

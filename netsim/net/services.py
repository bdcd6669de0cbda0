"""Virtual servers as one host has them: which of them a packet is for, and which backends it may go to.

``Netfilter`` asks with each new flow. The entries are shared by all hosts (``Tables``); where hosts differ, a
host keeps its own view of those that it was asked for. It also remembers which backend it gave to whom, for
servers with affinity: as many clients per backend as Linux's xt_recent does, which forgets the one that it
has not seen for longest. Source of the rules: Kubernetes pkg/proxy/iptables/proxier.go, syncProxyRules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from netsim.base.cause import Cause, Stage
from netsim.base.rng import Rng
from netsim.net.conntrack_tuple import Tuple
from netsim.net.reasons import HAIRPIN, OUTSIDE_RANGES, no_backend_text
from netsim.net.tables import (
    ANY_OWN,
    ANY_OWN6,
    Choices,
    ServerChoice,
    Service,
    ServiceKey,
    Tables,
    is_loopback,
)
from netsim.plan.entries import Action, Masquerade, Place, PodTraffic, Reach

OWN_LENGTH = {ANY_OWN: 4, ANY_OWN6: 16}  # of the addresses that a virtual server at any of them is at
FROM_OUTSIDE = "whoever comes to this address, so that the reply comes back through this host"
FROM_HOST = "the host itself, whose own addresses no other host may answer"
FROM_VIRTUAL = "the host itself, from the virtual address that it has, too"
NO_POD = "source is not a Pod address"
NO_POD_DEVICE = "it did not come in by a Pod's interface"


class Addresses(NamedTuple):
    """What the hooks ask of the host: the address that packets of a family leave an interface with, all
    addresses that it has of its own, without the shared ones, and whether an address is one of it or a shared
    one."""

    leaving_by: Callable[[str, int], bytes | None]
    own: Callable[[], Sequence[bytes]]
    is_own: Callable[[bytes], bool]
    is_local: Callable[[bytes], bool]


class Decision(NamedTuple):
    """What is to become of a new flow: a refusal, or backends to choose from (none: it is left alone).

    ``masquerade`` is why it gets this host's address, and empty if it does not.
    """

    backends: tuple[ServerChoice, ...]
    masquerade: str = ""
    refusal: Action | None = None
    cause: Cause | None = None


LEFT_ALONE = Decision(())


class Services:
    """The virtual servers of one host."""

    def __init__(self, tables: Sequence[Tables], addresses: Addresses) -> None:
        self._tables = tables
        self._addresses = addresses
        self._places: dict[int, Place] = {}
        self._pod_networks: dict[int, tuple[int, int]] = {}
        self._views: dict[ServiceKey, tuple[Service, Service]] = {}
        self._dead: dict[ServiceKey, tuple[Service, Service]] = {}
        self._recent: dict[tuple[int, str, bytes, int], dict[bytes, float]] = {}
        self._asked: Tuple | None = None
        self._answer: Service | None = None
        self._versions: list[int] = []  # of the tables, when somebody asked what has changed
        self._moved = True  # since then: to other addresses, or to another place

    def tables_changed(self) -> None:
        """Look where this host is; what it thought of servers may have been for another place."""
        self._asked = None
        places: dict[int, Place] = {}
        for tables in self._tables:
            for family, place in tables.places.items():
                places.setdefault(family, place)
        if places != self._places:
            self._places, self._moved = places, True
            self._pod_networks = {
                family: (int(place.pods.source.network_address), int(place.pods.source.netmask))
                for family, place in places.items()
                if place.pods is not None and place.pods.source is not None
            }
            self._views.clear()
            self._dead.clear()

    def addresses_changed(self) -> None:
        """What stands at ``LocalAddresses`` stands elsewhere."""
        self._asked, self._moved = None, True

    def changed(self, most: int) -> list[ServiceKey] | None:
        """Which servers have changed since this was asked last; None: any may have, or more than ``most``."""
        before, self._versions = self._versions, [tables.version for tables in self._tables]
        moved, self._moved = self._moved, False
        if moved or len(before) != len(self._versions):
            return None
        found: list[ServiceKey] = []
        for tables, version in zip(self._tables, before, strict=True):
            for protocol, at, port in tables.changed_since(version):
                found += [(protocol, address, port) for address in self.standing_at(at)]
                if len(found) > most:
                    return None
        return found

    def standing_at(self, at: bytes) -> Sequence[bytes]:
        """The addresses of a key: itself, or all of the host's own of its family."""
        length = OWN_LENGTH.get(at)
        return (at,) if length is None else [own for own in self._addresses.own() if len(own) == length]

    # --- which server --------------------------------------------------------------------------------

    def at(self, key: Tuple) -> Service | None:
        """The virtual server at the packet's destination, or at the port of the host's own address.

        Several hooks ask for one flow, with the one tuple that it has.
        """
        if key is not self._asked:
            self._asked, self._answer = key, self._at(key)
        return self._answer

    def _at(self, key: Tuple) -> Service | None:
        address = key.destination
        service = self._look_up((key.protocol, address, key.destination_port))
        if service is not None or not self._addresses.is_own(address):
            return service
        own = (key.protocol, ANY_OWN if len(address) == 4 else ANY_OWN6, key.destination_port)
        service = self._look_up(own)
        if service is None or self.answers_at(service, address):
            return service
        return self._refusing(own, service)

    def _place(self, address: bytes) -> Place | None:
        """What this host knows of itself for an address of this family."""
        return self._places.get(4 if len(address) == 4 else 6)

    def answers_at(self, service: Service, address: bytes) -> bool:
        """Whether a server at ``LocalAddresses`` is at this address of the host."""
        where = service.where
        if where is None:
            return True
        if is_loopback(address) and not where.loopback:
            return False
        if where.primary:
            place = self._place(address)
            return place is not None and place.address is not None and place.address.packed == address
        return not where.networks or _is_in(address, where.networks)

    def _refusing(self, key: ServiceKey, service: Service) -> Service | None:
        """What a server that answers at some of the host's addresses does at the others: refuse, or nothing.

        kube-proxy's rule for a node port that is dead on this node asks for ``--dst-type LOCAL`` alone.
        """
        if service.where is None or not service.where.refuses_at_all:
            return None
        if service.backends and (service.own or service.reach is not Reach.OWN_FROM_OUTSIDE):
            return None
        known = self._dead.get(key)
        if known is None or known[0] is not service:
            known = self._dead[key] = service, service._replace(backends=(), own=())
        return known[1]

    def _look_up(self, key: ServiceKey) -> Service | None:
        for tables in self._tables:
            service = tables.service(key)
            if service is not None:
                return self.seen_from_here(key, service)
        return None

    def seen_from_here(self, key: ServiceKey, service: Service) -> Service:
        """The server with the backends that this host has to choose from."""
        if not service.near and service.reach is Reach.ALL:
            return service
        known = self._views.get(key)
        if known is None or known[0] is not service:
            known = self._views[key] = service, self._view(service, self._names(key))
        return known[1]

    def _names(self, key: ServiceKey) -> tuple[str, ...]:
        address = key[1]
        place = self._places.get(6 if address == ANY_OWN6 or len(address) == 16 else 4)
        return place.names if place is not None else ()

    @staticmethod
    def _view(service: Service, names: Sequence[str]) -> Service:
        backends = _at_first(names, service.near)
        if backends is None:
            backends = service.backends
        own = _at_first(names, service.owns) or ()
        if service.reach is Reach.OWN or (service.reach is Reach.OWN_OR_ALL and own):
            backends = own
        return service._replace(backends=backends, own=own)

    # --- which backends ------------------------------------------------------------------------------

    def decide(self, service: Service, source: bytes, device: str, *, to_own: bool = False) -> Decision:
        """What becomes of a new flow that came in by an interface (empty: this host's own).

        ``to_own``: to an address of this host's own, which its own packets reach through ``lo`` and INPUT.
        """
        if not self.admits(service, source):
            return Decision((), "", Action.DROP, Cause(Stage.SERVICE, f"{service.label}: {OUTSIDE_RANGES}"))
        backends, why = service.backends, self.why_masquerade(service, source, device)
        if service.reach is Reach.OWN_FROM_OUTSIDE and not self._comes_from_pod(source, device):
            if self._addresses.is_local(source):
                why = FROM_HOST
            else:
                backends = service.own
        if backends:
            return Decision(backends, why)
        if not device and not service.refuses_own and not to_own:
            return LEFT_ALONE
        return Decision((), "", service.refusal, Cause(Stage.SERVICE, no_backend_text(service)))

    def admits(self, service: Service, source: bytes) -> bool:
        """Whether a source is one of those that a server is for.

        Where this host's primary address is one, so are the balancer's, which it may have itself (kube-proxy,
        "allowFromNode").
        """
        if service.sources is None or _is_in(source, service.sources):
            return True
        return source in service.balancers and self.admits_balancer(service, source)

    def admits_balancer(self, service: Service, source: bytes) -> bool:
        """Whether this host may ask a balancer's address from that address, as it does where it has it."""
        if service.sources is None or source not in service.balancers:
            return True
        place = self._place(source)
        primary = place.address if place is not None else None
        return primary is not None and _is_in(primary.packed, service.sources)

    def is_here(self, home: str, address: bytes) -> bool:
        """Whether a backend that is at this address may run on this host."""
        place = self._place(address)
        return not home or (place is not None and home in place.names)

    def why_masquerade(self, service: Service, source: bytes, device: str) -> str:
        """Why a flow gets this host's address whichever backend it gets; empty: it does not."""
        if service.masquerade is not Masquerade.OUTSIDERS:
            return FROM_OUTSIDE if service.masquerade is Masquerade.ALWAYS else ""
        pods = self._pods(source)
        return self._why_outsider(pods, source, device) if pods is not None else ""

    def why_marked(self, service: Service, asked: Tuple, device: str) -> str:
        """As ``why_masquerade``, in KUBE-SERVICES of IPVS mode: it lets loopback addresses alone.

        Where nothing tells Pods, it marks what comes from a virtual address of that port ("src,dst").
        """
        source = asked.source
        if is_loopback(source):
            return ""
        if service.masquerade is not Masquerade.OUTSIDERS:
            return FROM_OUTSIDE if service.masquerade is Masquerade.ALWAYS else ""
        pods = self._pods(source)
        if pods is not None:
            return self._why_outsider(pods, source, device)
        own = self._look_up((asked.protocol, source, asked.destination_port))
        return FROM_VIRTUAL if own is not None and own.masquerade is Masquerade.OUTSIDERS else ""

    def _pods(self, source: bytes) -> PodTraffic | None:
        place = self._place(source)
        return place.pods if place is not None else None

    def _comes_from_pod(self, source: bytes, device: str) -> bool:
        pods = self._pods(source)
        return pods is not None and self._is_from_pod(pods, source, device)

    def _why_outsider(self, pods: PodTraffic, source: bytes, device: str) -> str:
        """Why a flow is no Pod's; empty: it is one's."""
        if self._is_from_pod(pods, source, device):
            return ""
        return NO_POD if pods.source is not None else NO_POD_DEVICE

    def _is_from_pod(self, pods: PodTraffic, source: bytes, device: str) -> bool:
        if pods.source is not None:
            network, mask = self._pod_networks[4 if len(source) == 4 else 6]
            return int.from_bytes(source, "big") & mask == network
        return device.startswith(pods.device[:-1]) if pods.device.endswith("+") else device == pods.device

    # --- affinity ------------------------------------------------------------------------------------

    def pick(
        self, service: Service, backends: Sequence[ServerChoice], source: bytes, now: float, rng: Rng
    ) -> tuple[ServerChoice, bool]:
        """One of the backends, and whether it is the one that the client had before.

        It is the first that remembers the client, or else any; then it remembers the client from now on.
        """
        if service.affinity is None:
            return backends[rng.below(len(backends))], False
        chosen, known = None, False
        for backend in backends:
            seen = self._remembered(service, backend).get(source)
            if seen is not None and now - seen <= service.affinity.seconds:
                chosen, known = backend, True
                break
        if chosen is None:
            chosen = backends[rng.below(len(backends))]
        memory = self._remembered(service, chosen)
        memory.pop(source, None)
        memory[source] = now
        if service.affinity.clients is not None and len(memory) > service.affinity.clients:
            del memory[next(iter(memory))]
        return chosen, known

    def _remembered(self, service: Service, backend: ServerChoice) -> dict[bytes, float]:
        """When a backend was last given to whom, the one not seen for longest first."""
        key = (service.protocol, service.name, backend.address, backend.port)
        return self._recent.setdefault(key, {})


def why_hairpin(source: bytes, backend: ServerChoice) -> str:
    """Why a flow to this backend gets this host's address, whatever its server says; empty: it does not."""
    return HAIRPIN if backend.address == source else ""


def _at_first(names: Sequence[str], near: Sequence[Choices]) -> tuple[ServerChoice, ...] | None:
    """Of what there is for places, what is for the first of these names that has any."""
    for name in names:
        for choices in near:
            if choices.place == name:
                return choices.backends
    return None


def _is_in(address: bytes, networks: Sequence[tuple[int, int]]) -> bool:
    number = int.from_bytes(address, "big")
    return any(number & mask == network for network, mask in networks)

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
from netsim.net.conntrack import Tuple
from netsim.net.reasons import HAIRPIN, OUTSIDE_RANGES, no_backend_text
from netsim.net.tables import ANY_OWN, LOOPBACK_NET, Choices, ServerChoice, Service, ServiceKey, Tables
from netsim.plan.entries import Action, Masquerade, Place, Reach

FROM_OUTSIDE = "whoever comes to this address, so that the reply comes back through this host"
FROM_HOST = "the host itself, whose own addresses no other host may answer"
NO_POD = "source is not a Pod address"
NO_POD_DEVICE = "it did not come in by a Pod's interface"


class Addresses(NamedTuple):
    """What the hooks ask of the host: the address that packets leave an interface with, all addresses that
    it has of its own, without the shared ones, and whether an address is one of it or a shared one."""

    leaving_by: Callable[[str], bytes | None]
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
        self._place: Place | None = None
        self._views: dict[ServiceKey, tuple[Service, Service]] = {}
        self._dead: dict[ServiceKey, tuple[Service, Service]] = {}
        self._recent: dict[tuple[int, str, bytes, int], dict[bytes, float]] = {}

    def tables_changed(self) -> None:
        """Look where this host is; what it thought of servers may have been for another place."""
        place = next((tables.place for tables in self._tables if tables.place is not None), None)
        if place is not self._place:
            self._place = place
            self._views.clear()
            self._dead.clear()

    # --- which server --------------------------------------------------------------------------------

    def at(self, key: Tuple) -> Service | None:
        """The virtual server at the packet's destination, or at the port of the host's own address."""
        address = key.destination
        service = self._look_up((key.protocol, address, key.destination_port))
        if service is not None or not self._addresses.is_own(address):
            return service
        service = self._look_up((key.protocol, ANY_OWN, key.destination_port))
        if service is None or self.answers_at(service, address):
            return service
        return self._refusing((key.protocol, ANY_OWN, key.destination_port), service)

    def answers_at(self, service: Service, address: bytes) -> bool:
        """Whether a server at ``LocalAddresses`` is at this address of the host."""
        where = service.where
        if where is None:
            return True
        if len(address) == 4 and address[0] == LOOPBACK_NET and not where.loopback:
            return False
        if where.primary:
            primary = self._place.address if self._place is not None else None
            return primary is not None and primary.packed == address
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
            known = self._views[key] = service, self._view(service)
        return known[1]

    def _view(self, service: Service) -> Service:
        backends = self._of_this_place(service.near)
        if backends is None:
            backends = service.backends
        own = self._of_this_place(service.owns) or ()
        if service.reach is Reach.OWN or (service.reach is Reach.OWN_OR_ALL and own):
            backends = own
        return service._replace(backends=backends, own=own)

    def _of_this_place(self, near: Sequence[Choices]) -> tuple[ServerChoice, ...] | None:
        """Of what there is for places, what is for the first of this host's names."""
        for name in self._place.names if self._place is not None else ():
            for choices in near:
                if choices.place == name:
                    return choices.backends
        return None

    # --- which backends ------------------------------------------------------------------------------

    def decide(self, service: Service, source: bytes, device: str) -> Decision:
        """What becomes of a new flow that came in by an interface (empty: this host's own)."""
        if not self.admits(service, source):
            return Decision((), "", Action.DROP, Cause(Stage.SERVICE, f"{service.label}: {OUTSIDE_RANGES}"))
        backends, why = service.backends, self.why_masquerade(service, source, device)
        if service.reach is Reach.OWN_FROM_OUTSIDE and not self._is_from_pod(source, device):
            if self._addresses.is_local(source):
                why = FROM_HOST
            else:
                backends = service.own
        if backends:
            return Decision(backends, why)
        if not device and not service.refuses_own:
            return LEFT_ALONE
        return Decision((), "", service.refusal, Cause(Stage.SERVICE, no_backend_text(service)))

    def admits(self, service: Service, source: bytes) -> bool:
        """Whether a source is one of those that a server is for.

        Where this host's primary address is one, so are the balancer's, which it may have itself (kube-proxy,
        "allowFromNode").
        """
        if service.sources is None or _is_in(source, service.sources):
            return True
        primary = self._place.address if self._place is not None else None
        return source in service.balancers and primary is not None and _is_in(primary.packed, service.sources)

    def why_masquerade(self, service: Service, source: bytes, device: str) -> str:
        """Why a flow gets this host's address whichever backend it gets; empty: it does not."""
        if service.masquerade is Masquerade.ALWAYS:
            return FROM_OUTSIDE
        pods = self._place.pods if self._place is not None else None
        if service.masquerade is Masquerade.NEVER or pods is None or self._is_from_pod(source, device):
            return ""
        return NO_POD if pods.source is not None else NO_POD_DEVICE

    def _is_from_pod(self, source: bytes, device: str) -> bool:
        pods = self._place.pods if self._place is not None else None
        if pods is None:
            return False
        if pods.source is not None:
            network = pods.source
            return int.from_bytes(source, "big") & int(network.netmask) == int(network.network_address)
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


def _is_in(address: bytes, networks: Sequence[tuple[int, int]]) -> bool:
    number = int.from_bytes(address, "big")
    return any(number & mask == network for network, mask in networks)

"""A host's own view of shared virtual servers: places, short cuts, source ranges, addresses, affinity."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest

from netsim.base.address import IpAddress
from netsim.base.cause import Cause, Stage
from netsim.base.rng import Rng
from netsim.net.conntrack_tuple import Tuple
from netsim.net.services import Addresses, Decision, Services
from netsim.net.tables import Tables
from netsim.plan.entries import (
    NODES,
    Action,
    Affinity,
    Backend,
    LocalAddresses,
    Masquerade,
    Near,
    Place,
    PodTraffic,
    Reach,
    Scope,
    VirtualServer,
)
from netsim.wire import ipv4

CAUSE = Cause(Stage.PLAN, "test")
VIP, OWN, POD, STRANGER = "10.96.0.20", "192.168.10.11", "10.244.1.5", "203.0.113.7"
HERE = ("node/a", "zone/x")
MOST = 3


def backend(number: int) -> Backend:
    return Backend(IPv4Address(f"10.244.9.{number}"), 8080)


def server(**changes: object) -> VirtualServer:
    made = VirtualServer(
        NODES, ipv4.TCP, IPv4Address(VIP), 80, "svc web", (backend(1), backend(2)), "test", CAUSE
    )
    return made._replace(**changes)  # type: ignore[arg-type]  # of each field its own type


class Host:
    """A node at 192.168.10.11 and fd00::11, and the table that it shares with all others."""

    def __init__(self, *entries: VirtualServer, names: Sequence[str] = HERE, pods: bool = True) -> None:
        self.shared, self.tables = Tables(), Tables()
        own = [IPv4Address(OWN).packed, IPv4Address("127.0.0.1").packed, IPv6Address("fd00::11").packed]
        self.own = own
        addresses = Addresses(lambda device, family: None, lambda: own, own.__contains__, own.__contains__)
        self.services = Services((self.tables, self.shared), addresses)
        self.rng = Rng(1)
        self.stand_at(names, pods=pods)
        for entry in entries:
            self.shared.put_virtual(entry)

    def stand_at(self, names: Sequence[str], *, pods: bool = True) -> None:
        traffic = PodTraffic(IPv4Network("10.244.0.0/16")) if pods else None
        place = Place(Scope("node/a"), "test", CAUSE, tuple(names), IPv4Address(OWN), traffic)
        self.tables.put_place(place)
        self.services.tables_changed()

    def decide(self, source: str, target: str = VIP, port: int = 80, device: str = "eth0") -> Decision | None:
        asked = Tuple(ipv4.TCP, ip_address(source).packed, 5000, ip_address(target).packed, port)
        found = self.services.at(asked)
        return self.services.decide(found, asked.source, device) if found is not None else None

    def changed(self) -> list[str] | None:
        """The addresses and ports of the servers that have changed; None: of all."""
        self.services.tables_changed()
        found = self.services.changed(MOST)
        return None if found is None else [f"{ip_address(at)}:{port}" for _, at, port in found]

    def reaches(self, source: str = STRANGER, target: str = VIP, port: int = 80) -> list[int]:
        """The numbers of the backends that a packet may go to."""
        decision = self.decide(source, target, port)
        assert decision is not None
        return [choice.address[3] for choice in decision.backends]


def near(place: str, *numbers: int) -> Near:
    return Near(place, tuple(map(backend, numbers)))


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (("node/a", "zone/x"), [3]),
        (("node/b", "zone/x"), [4]),
        (("node/b", "zone/y"), [1, 2]),
        ((), [1, 2]),
    ],
    ids=["its own", "its zone's", "all", "a host that knows no place"],
)
def test_a_host_takes_what_is_near_to_it(names: tuple[str, ...], wanted: list[int]) -> None:
    host = Host(server(near=(near("node/a", 3), near("zone/x", 4))), names=names)
    assert host.reaches() == wanted


def test_a_host_that_moves_and_an_entry_that_changes_are_seen_anew() -> None:
    host = Host(server(near=(near("zone/x", 3), near("zone/y", 4))))
    assert host.reaches() == [3]
    host.stand_at(("node/a", "zone/y"))
    assert host.reaches() == [4]
    host.shared.put_virtual(server(near=(near("zone/y", 5),)))
    assert host.reaches() == [5]


def test_an_address_that_the_host_gets_has_its_node_ports() -> None:
    host = Host(server(address=LocalAddresses()))
    late = IPv4Address("192.168.10.99").packed
    asked = Tuple(ipv4.TCP, IPv4Address(STRANGER).packed, 5000, late, 80)
    assert host.services.at(asked) is None
    host.own.append(late)
    host.services.addresses_changed()
    assert host.services.at(asked) is not None


def test_a_host_is_told_which_servers_have_changed_since_it_asked_last() -> None:
    other, late = server(address=IPv4Address("10.96.0.21")), "192.168.10.99"
    host = Host(server(), other, server(address=LocalAddresses(), port=30080))
    assert host.changed() is None, "whatever it has known is of before"
    assert host.changed() == []
    host.shared.put_virtual(server(name="svc new"))
    assert host.changed() == [f"{VIP}:80"]
    host.shared.remove_virtual(other)
    host.shared.put_virtual(server())
    assert host.changed() == [f"{VIP}:80", "10.96.0.21:80"]
    host.shared.remove_virtual(server(address=LocalAddresses(), port=30080))
    assert host.changed() == [f"{OWN}:30080", "127.0.0.1:30080"]
    for number in range(MOST + 1):
        host.shared.put_virtual(server(port=8000 + number))
    assert host.changed() is None, "they are too many to be worth it"
    host.own.append(IPv4Address(late).packed)
    host.services.addresses_changed()
    assert host.changed() is None
    host.stand_at(("node/b",))
    assert host.changed() is None
    assert host.changed() == []


LOCAL = server(reach=Reach.OWN_FROM_OUTSIDE, own=(near("node/a", 3),))


def test_pods_and_the_host_have_a_short_cut_and_others_its_own_backends() -> None:
    host = Host(LOCAL)
    decision = host.decide(POD)
    assert isinstance(decision, Decision)
    assert decision == Decision(decision.backends)
    assert (host.reaches(POD), host.reaches(OWN), host.reaches(STRANGER)) == ([1, 2], [1, 2], [3])
    for source, masqueraded in ((POD, False), (OWN, True), (STRANGER, False)):
        decision = host.decide(source)
        assert decision is not None
        assert bool(decision.masquerade) is masqueraded


def test_without_a_detector_pods_are_like_others() -> None:
    host = Host(LOCAL, pods=False)
    assert host.reaches(POD) == [3]
    outsiders = Host(server(masquerade=Masquerade.OUTSIDERS), pods=False)
    assert outsiders.decide(STRANGER) == outsiders.decide(POD)


@pytest.mark.parametrize("refusal", [Action.REJECT, Action.DROP])
def test_a_host_without_backends_of_its_own_refuses_as_the_entry_says(refusal: Action) -> None:
    host = Host(server(reach=Reach.OWN, own=(near("node/b", 3),), refusal=refusal, refuses_own=False))
    decision = host.decide(STRANGER)
    assert decision is not None and decision.refusal is refusal and decision.cause is not None
    assert host.decide(OWN, device="") == Decision(()), "what the host itself sends is let through"


def test_with_own_or_all_it_falls_back() -> None:
    entry = server(reach=Reach.OWN_OR_ALL, own=(near("node/b", 3),))
    assert Host(entry).reaches() == [1, 2]
    assert Host(entry, names=("node/b",)).reaches() == [3]


def test_sources_are_dropped_unless_they_may_and_a_balancers_address_may_where_the_host_may() -> None:
    entry = server(sources=(IPv4Network("192.168.10.0/24"),), balancers=(IPv4Address(VIP),))
    host = Host(entry)
    assert host.reaches(OWN) == host.reaches(VIP) == [1, 2]
    decision = host.decide(STRANGER)
    assert decision is not None and decision.refusal is Action.DROP
    far = Host(entry._replace(sources=(IPv4Network("203.0.113.0/24"),)))
    refused = far.decide(VIP)
    assert refused is not None and refused.refusal is Action.DROP


@pytest.mark.parametrize(
    ("where", "answers"),
    [
        (LocalAddresses(), [OWN]),
        (LocalAddresses(loopback=True), [OWN, "127.0.0.1"]),
        (LocalAddresses(primary=True), [OWN]),
        (LocalAddresses(networks=(IPv4Network("10.0.0.0/8"),)), []),
        (LocalAddresses(loopback=True, networks=(IPv4Network("127.0.0.0/8"),)), ["127.0.0.1"]),
        (LocalAddresses(family=6), ["fd00::11"]),
        (LocalAddresses(family=6, networks=(IPv6Network("fd01::/64"),)), []),
    ],
    ids=[
        "all",
        "and the loopback",
        "primary",
        "in no network",
        "loopback alone",
        "IPv6",
        "in no IPv6 network",
    ],
)
def test_a_node_port_is_at_the_addresses_that_it_is_said_to_be(
    where: LocalAddresses, answers: list[str]
) -> None:
    host = Host(server(address=where, port=30080))
    found = [at for at in (OWN, "127.0.0.1", "fd00::11") if host.decide(STRANGER, at, 30080) is not None]
    assert found == answers


def test_a_dead_node_port_may_refuse_where_it_would_not_answer() -> None:
    where = LocalAddresses(networks=(IPv4Network("10.0.0.0/8"),), refuses_at_all=True)
    dead = Host(server(address=where, port=30080, backends=()))
    decision = dead.decide(STRANGER, OWN, 30080)
    assert decision is not None and decision.refusal is Action.REJECT
    assert Host(server(address=where, port=30080)).decide(STRANGER, OWN, 30080) is None


# --- affinity --------------------------------------------------------------------------------------------


def picked(host: Host, source: IpAddress, now: float, target: str = VIP) -> int:
    asked = Tuple(ipv4.TCP, source.packed, 5000, IPv4Address(target).packed, 80)
    service = host.services.at(asked)
    assert service is not None
    return host.services.pick(service, service.backends, asked.source, now, host.rng)[0].address[3]


def test_a_client_keeps_its_backend_as_long_as_it_comes_back_in_time() -> None:
    host, client = Host(server(affinity=Affinity(100))), IPv4Address(STRANGER)
    first = picked(host, client, 0)
    assert {picked(host, client, now) for now in range(90, 1000, 90)} == {first}
    assert {picked(host, client, 1000 + 200 * n) for n in range(40)} == {1, 2}


def test_servers_of_one_name_share_what_they_remember_and_others_do_not() -> None:
    other = server(address=IPv4Address("10.96.0.21"), affinity=Affinity(100))
    stranger = server(address=IPv4Address("10.96.0.22"), name="svc other", affinity=Affinity(100))
    host = Host(server(affinity=Affinity(100)), other, stranger)
    clients = [IPv4Address(0xCB007100 + n) for n in range(30)]
    first = [picked(host, client, 0) for client in clients]
    assert [picked(host, client, 1, "10.96.0.21") for client in clients] == first
    assert [picked(host, client, 1, "10.96.0.22") for client in clients] != first


def test_a_full_memory_forgets_whom_it_has_not_seen_for_longest() -> None:
    clients = [IPv4Address(0x0A000000 + n) for n in range(150)]
    one = server(backends=(backend(1),), affinity=Affinity(1000, clients=100))
    host = Host(one)
    for now, client in enumerate(clients):
        picked(host, client, now)
    host.shared.put_virtual(one._replace(backends=(backend(0), backend(1))))
    kept = [picked(host, client, 200) for client in clients[50:]]
    assert set(kept) == {1}, "all of the last hundred"
    assert {picked(host, client, 201) for client in clients[:50]} == {0, 1}, "the others go anywhere"

"""Addresses for Services of type LoadBalancer."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.base.rng import Rng
from netsim.controllers.loadbalancer import LoadBalancerAllocator
from netsim.controllers.manager import Manager
from netsim.controllers.standard import standard_controllers
from netsim.objects.core import Namespace, Service
from netsim.objects.meta import ObjectMeta, ObjectRef
from netsim.objects.topology import LoadBalancer, Networking
from netsim.store.admission import apply, delete
from netsim.store.store import Store
from tests.controllers.world import service

POOL = LoadBalancer(IPv4Network("198.51.100.0/29"))


class World:
    """A store with an allocator; ``apply`` and ``delete`` act as users do."""

    def __init__(self, *services: Service, pool: LoadBalancer = POOL) -> None:
        self.store = Store(Rng(1).derive("store"))
        self.manager = Manager(self.store, [LoadBalancerAllocator(pool.addresses)])
        self.store.create(Namespace(metadata=ObjectMeta(name="dev")), 0.0)
        self.apply(*services)

    def apply(self, *services: Service) -> None:
        for one in services:
            apply(self.store, one, 0.0)
        self.manager.step(0.0)

    def delete(self, name: str) -> None:
        delete(self.store, ObjectRef("Service", "dev", name), 0.0, 0)
        self.manager.step(0.0)

    def given(self, name: str) -> list[str]:
        status = self.store.get(Service, name, "dev").status.rest.get("loadBalancer") or {}
        return [entry["ip"] for entry in status.get("ingress", ())]

    def waits(self) -> list[str]:
        return [str(wait) for wait in self.manager.waits()]


def balancer(name: str, **rest: object) -> Service:
    return service(name, type="LoadBalancer", rest=rest)


@pytest.mark.parametrize(
    ("policy", "families", "given_out", "wants"),
    [
        ("", (), ["198.51.100.1"], ""),
        ("PreferDualStack", ("IPv6", "IPv4"), ["198.51.100.1"], ""),
        ("RequireDualStack", ("IPv4", "IPv6"), [], "requires both families"),
        ("SingleStack", ("IPv6",), [], "is IPv6"),
    ],
)
def test_the_pool_serves_ipv4_and_nobody_by_halves(
    policy: str, families: tuple[str, ...], given_out: list[str], wants: str
) -> None:
    world = World(service("a", type="LoadBalancer", ip_family_policy=policy, ip_families=families))
    assert world.given("a") == given_out
    why = 'Service dev/a: Failed to allocate IP for "dev/a": no available IPs'
    why += f" (the pool is IPv4, and the Service {wants})"
    assert world.waits() == ([] if given_out else [why])


def test_addresses_are_given_in_ascending_order() -> None:
    world = World(balancer("a"), balancer("b"))
    assert [world.given("a"), world.given("b")] == [["198.51.100.1"], ["198.51.100.2"]]


def test_nodes_themselves_answer_for_an_address() -> None:
    world = World(balancer("a"))
    status = world.store.get(Service, "a", "dev").status.rest
    assert status == {"loadBalancer": {"ingress": [{"ip": "198.51.100.1", "ipMode": "VIP"}]}}


@pytest.mark.parametrize("kind", ["ClusterIP", "NodePort", "ExternalName"])
def test_other_services_get_none(kind: str) -> None:
    world = World(service("a", type=kind, external_name="example.com"))
    assert world.given("a") == []
    assert world.waits() == []


def test_an_address_that_is_asked_for_is_given_first() -> None:
    world = World(balancer("a", loadBalancerIP="198.51.100.1"), balancer("b"))
    assert [world.given("a"), world.given("b")] == [["198.51.100.1"], ["198.51.100.2"]]


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ("198.51.100.0", '["198.51.100.0"] is not allowed in config'),
        ("198.51.100.7", '["198.51.100.7"] is not allowed in config'),
        ("203.0.113.1", '["203.0.113.1"] is not allowed in config'),
        ("2001:db8::1",
         'requested loadBalancer IP(s) ["2001:db8::1"] does not match the ipFamily of the service'),
        ("any", 'invalid spec.loadBalancerIP "any"'),
    ],
)  # fmt: skip
def test_an_address_outside_the_pool_is_not_given(wanted: str, why: str) -> None:
    world = World(balancer("a", loadBalancerIP=wanted))
    assert world.given("a") == []
    assert world.waits() == [f'Service dev/a: Failed to allocate IP for "dev/a": {why}']


def test_a_service_of_both_families_asks_in_vain_for_an_address_of_one() -> None:
    families = ("IPv4", "IPv6")
    wish = {"loadBalancerIP": "198.51.100.5"}
    policy = "PreferDualStack"
    world = World(service("a", type="LoadBalancer", rest=wish, ip_families=families, ip_family_policy=policy))
    assert world.given("a") == []
    (wait,) = world.waits()
    assert 'requested loadBalancer IP(s) ["198.51.100.5"] does not match the ipFamily' in wait


def test_a_taken_address_is_waited_for() -> None:
    world = World(balancer("a"), balancer("b", loadBalancerIP="198.51.100.1"))
    assert world.waits() == [
        'Service dev/b: Failed to allocate IP for "dev/b": can\'t change sharing key for "dev/b", '
        "address also in use by dev/a"
    ]
    world.delete("a")
    assert world.given("b") == ["198.51.100.1"]
    assert world.waits() == []


def test_an_empty_pool_is_waited_for() -> None:
    world = World(*(balancer(f"s{number}") for number in range(7)))
    assert world.waits() == ['Service dev/s6: Failed to allocate IP for "dev/s6": no available IPs']
    world.delete("s3")
    assert world.given("s6") == ["198.51.100.4"]


def test_a_change_of_the_wish_changes_the_address() -> None:
    world = World(balancer("a"))
    world.apply(balancer("a", loadBalancerIP="198.51.100.5"))
    assert world.given("a") == ["198.51.100.5"]
    world.apply(balancer("a", loadBalancerIP="203.0.113.1"))
    assert world.given("a") == []
    world.apply(balancer("a"))
    assert world.given("a") == ["198.51.100.1"]


def test_who_is_no_load_balancer_any_more_gives_the_address_back() -> None:
    world = World(balancer("a"))
    world.apply(service("a"))
    assert world.given("a") == []
    world.apply(balancer("b"))
    assert world.given("b") == ["198.51.100.1"]


def test_another_implementations_service_is_left_alone() -> None:
    world = World(balancer("a", loadBalancerClass="example.com/lb"))
    assert world.given("a") == []
    assert world.waits() == []


def names(controllers: Sequence[object]) -> list[str]:
    return [getattr(controller, "name", "") for controller in controllers]


def test_without_a_pool_nobody_allocates() -> None:
    assert "load-balancer" not in names(standard_controllers(Networking(), Rng(1)))
    assert "load-balancer" in names(standard_controllers(Networking(), Rng(1), POOL))


STEPS = st.lists(
    st.tuples(
        st.sampled_from("abcdefgh"),
        st.sampled_from(["LoadBalancer", "ClusterIP", "deleted"]),
        st.sampled_from(["", "198.51.100.2", "198.51.100.3", "203.0.113.1"]),
    ),
    max_size=30,
)


@given(STEPS)
def test_no_two_services_ever_share_an_address(steps: list[tuple[str, str, str]]) -> None:
    world = World(pool=LoadBalancer(IPv4Network("198.51.100.0/29")))
    for name, kind, wanted in steps:
        if kind != "deleted":
            world.apply(service(name, type=kind, rest={"loadBalancerIP": wanted} if wanted else {}))
        elif world.store.find(Service, name, "dev") is not None:
            world.delete(name)
        services = world.store.list(Service)
        given_out = [ip for one in services for ip in world.given(one.metadata.name)]
        assert len(set(given_out)) == len(given_out)
        for one in services:
            asked = one.spec.rest.get("loadBalancerIP", "")
            held = world.given(one.metadata.name)
            if one.spec.type != "LoadBalancer":
                assert not held
            elif asked:
                assert held in ([asked], [])
        free = 6 - len(given_out)
        empty = [s for s in services if s.spec.type == "LoadBalancer" and not world.given(s.metadata.name)]
        assert not free or all(one.spec.rest.get("loadBalancerIP") for one in empty), "one waits, one is free"

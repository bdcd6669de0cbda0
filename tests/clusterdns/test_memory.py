"""Answers that are kept: nobody can tell them from answers that are made anew, and they go when they must."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsim.base.address import IpAddress
from netsim.clusterdns.chain import Transport
from netsim.clusterdns.metrics import REQUESTS
from netsim.clusterdns.server import QueryArrived, SendReply
from netsim.objects.core import Namespace
from netsim.objects.meta import Object
from netsim.wire import dns
from netsim.wire.dns import Edns, Message, Question
from tests.clusterdns import test_zone
from tests.clusterdns.world import (
    CLIENT,
    CLUSTER,
    World,
    address_of,
    answering,
    endpoint,
    endpoint_slice,
    namespace,
    pod,
    service,
)

ENT = "ent.prod.svc.cluster.local."
KUBEADM = """.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . 192.168.10.1
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
"""
EVERYTHING = """.:53 {
    errors
    prometheus :9153
    any
    bufsize 1232
    acl b.svc.cluster.local {
        block net 10.0.0.2
    }
    autopath @kubernetes
    k8s_external ext.example
    kubernetes cluster.local clusterset.local in-addr.arpa ip6.arpa {
        pods verified
        multicluster clusterset.local
        fallthrough in-addr.arpa
    }
    forward . 192.168.10.1
}
"""
CACHED = ".:53 {\n prometheus\n minimal\n loadbalance\n cache 7 {\n disable denial cluster.local\n }\n"
COREFILES = (
    KUBEADM,
    EVERYTHING,
    CACHED + " kubernetes cluster.local\n forward . 192.168.10.1\n}\n",
    ".:53 {\n log\n errors\n kubernetes cluster.local {\n zonal\n ignore empty_service\n }\n}\n",
)
UPSTREAM = {"192.168.10.1": answering(address_of("www.example.com."))}

names = st.sampled_from(
    [
        *{name for name, _ in test_zone.QUESTIONS},
        "x.a.svc.cluster.local.a.svc.cluster.local.",  # as a search list makes it
        "cluster.local.",
        "ns.dns.cluster.local.",
        "www.example.com.",
    ]
)
queries = st.builds(
    lambda name, capital, qtype, edns, number, authentic: Message(
        number,
        recursion_desired=True,
        authentic=authentic,
        questions=(Question(name.upper() if capital else name, qtype),),
        edns=edns,
    ),
    names,
    st.booleans(),
    st.sampled_from([dns.A, dns.A, dns.AAAA, dns.SRV, dns.PTR, dns.SOA, dns.ANY]),
    st.sampled_from([None, None, Edns(1232), Edns(4096, do=True), Edns(512, options=((10, b"8 bytes!"),))]),
    st.integers(0, 65535),
    st.booleans(),
)
clients = st.sampled_from([ip_address("10.0.0.1"), ip_address("10.0.0.2"), ip_address("fd00::1")])
asked = st.tuples(queries, clients, st.sampled_from([Transport.UDP, Transport.UDP, Transport.TCP]))
changed = st.tuples(st.booleans(), test_zone.objects)
steps = st.lists(st.one_of(changed, st.sampled_from([0.25, 1.0, 6.0]), asked, asked), max_size=40)


def ask(world: World, query: Message, client: IpAddress, transport: Transport) -> object:
    """Everything that a client, and a capture, sees of an answer."""
    event = QueryArrived(dns.build(query), client, transport)
    world._obey(world.server.feed(event, world.now))
    reply = world.reply_to(event)
    return reply and (reply.data, reply.cause)


def walk(world: World, change: object) -> object:
    match change:
        case float(seconds):
            world.until(world.now + seconds)
        case (bool(gone), obj):
            assert isinstance(obj, Object)
            if not gone:
                world.apply(obj)
            elif any(there.ref == obj.ref for there in world.objects()):
                world.delete(obj)
        case (Message() as query, client, transport):
            return ask(world, query, client, transport)
    return None


@pytest.mark.parametrize("corefile", COREFILES)
@settings(max_examples=60)
@given(steps)
def test_no_sequence_of_changes_and_queries_tells_them_apart(corefile: str, sequence: list[object]) -> None:
    remembering, forgetful, small = (
        World(corefile, [namespace("a")], UPSTREAM, remembers=size) for size in (100, 0, 2)
    )
    for step in [*sequence, *(step for step in sequence if isinstance(step, tuple) and len(step) == 3)]:
        expected = walk(forgetful, step)
        assert walk(remembering, step) == expected
        assert walk(small, step) == expected
    assert remembering.server.metrics.render() == forgetful.server.metrics.render()
    assert small.server.metrics.render() == forgetful.server.metrics.render()
    assert remembering.server.log.render() == forgetful.server.log.render()


def remembers(world: World, name: str, qtype: str = "A", client: IpAddress = CLIENT) -> bool:
    """Whether the next such query finds its answer."""
    query = Message(9, recursion_desired=True, questions=(Question(name, dns.TYPE_NUMBERS[qtype]),))
    return world.server.remembered(53, Transport.UDP, 4).find(dns.build(query), client, world.now) is not None


STEADY = [
    (KUBEADM, "ent.prod.svc.cluster.local.", "A", True),
    (KUBEADM, "ent.prod.svc.cluster.local.", "AAAA", True),
    (KUBEADM, "nobody.prod.svc.cluster.local.", "A", True),
    (EVERYTHING, "20.0.96.10.in-addr.arpa.", "PTR", True),
    (KUBEADM, "20.0.96.10.in-addr.arpa.", "PTR", False),  # the plugin cache has it only now
    (KUBEADM, "db.prod.svc.cluster.local.", "A", False),  # two addresses, each time in another order
    (KUBEADM, "web.prod.svc.cluster.local.", "A", False),  # what is behind its CNAME is somebody else's
    (KUBEADM, "www.example.com.", "A", False),
    (COREFILES[2], "ent.prod.svc.cluster.local.", "A", False),  # likewise
    (COREFILES[3], "ent.prod.svc.cluster.local.", "A", False),  # it is a line in the log
]


@pytest.mark.parametrize(("corefile", "name", "qtype", "steady"), STEADY)
def test_an_answer_is_kept_if_nothing_in_it_varies(
    corefile: str, name: str, qtype: str, steady: bool
) -> None:
    world = World(corefile, CLUSTER, UPSTREAM)
    world.ask(name, qtype)
    assert remembers(world, name, qtype) is steady


def test_what_counts_down_is_kept_for_a_second() -> None:
    world = World(COREFILES[2], CLUSTER, UPSTREAM)
    seen = []
    for _ in range(20):
        seen.append((world.ask(ENT).answers[0].ttl, remembers(world, ENT)))
        world.until(world.now + 0.5)
    one_life = [(5, True)] * 2 + [(4, True)] * 2 + [(3, True)] * 2 + [(2, True)] * 2 + [(1, True)] * 2
    assert seen == ([(5, False), *one_life[1:]]) * 2


def test_an_answer_for_one_client_is_no_other_clients() -> None:
    world = World(EVERYTHING, [*CLUSTER, pod("prod/jump", "10.244.1.9")])
    name = "ent.prod.svc.cluster.local.prod.svc.cluster.local."
    world.ask(name)
    assert remembers(world, name)
    assert not remembers(world, name, client=ip_address("10.244.1.10"))


CHANGES: list[tuple[Object, str, bool]] = [
    (service("prod/ent", "10.96.0.21", ("http", 80)), ENT, False),
    (service("prod/other", "10.96.0.22", ("http", 80)), ENT, True),
    (endpoint_slice("prod/ent", endpoint("10.244.1.5")), ENT, False),
    (endpoint_slice("prod/db", endpoint("10.244.1.7")), ENT, True),
    (namespace("prod", team="a"), ENT, False),
    (namespace("dev", team="a"), ENT, True),
    (service("prod/twin", "10.96.0.20", ("http", 80)), "20.0.96.10.in-addr.arpa.", False),
    (service("prod/nobody", "10.96.0.23", ("http", 80)), "nobody.prod.svc.cluster.local.", False),
]


@pytest.mark.parametrize(("change", "name", "kept"), CHANGES)
def test_what_changes_is_forgotten_and_nothing_else(change: Object, name: str, kept: bool) -> None:
    world = World(KUBEADM if not name.endswith("arpa.") else EVERYTHING)
    qtype = "PTR" if name.endswith("arpa.") else "A"
    world.ask(name, qtype)
    assert remembers(world, name, qtype)
    world.apply(change)
    assert remembers(world, name, qtype) is kept


def test_a_denial_shows_the_serial_so_it_goes_with_it() -> None:
    world = World(KUBEADM)
    world.ask("nobody.prod.svc.cluster.local.")
    world.apply(service("dev/far", "10.96.0.24", ("http", 80)))
    assert remembers(world, "nobody.prod.svc.cluster.local."), "the serial counts whole seconds"
    world.until(1.0)
    world.apply(service("dev/away", "10.96.0.25", ("http", 80)))
    assert not remembers(world, "nobody.prod.svc.cluster.local.")


def test_what_is_answered_from_memory_counts() -> None:
    world = World(KUBEADM)
    for _ in range(5):
        world.ask(ENT)
    labels = ("dns://:53", ".", "", "udp", "1", "A")
    assert world.server.metrics.value(REQUESTS, labels) == 5
    world.delete(next(obj for obj in world.objects() if isinstance(obj, Namespace)))
    world.ask(ENT)
    assert world.server.metrics.value(REQUESTS, labels) == 6


def test_the_memory_is_bounded_and_the_oldest_goes_first() -> None:
    world = World(KUBEADM, remembers=3)
    for number in range(10):
        world.ask(f"n{number}.prod.svc.cluster.local.")
    found = [number for number in range(10) if remembers(world, f"n{number}.prod.svc.cluster.local.")]
    assert found == [7, 8, 9]


def test_the_id_is_the_askers() -> None:
    world = World(KUBEADM)
    first, second = (world.send(ENT, identifier=number) for number in (7, 770))
    replies = [world.reply_to(event) for event in (first, second)]
    assert all(isinstance(reply, SendReply) for reply in replies)
    assert [dns.parse(reply.data).id for reply in replies if reply is not None] == [7, 770]


def test_another_corefile_is_another_memory() -> None:
    files = {"/etc/resolv.conf": "nameserver 192.168.10.1\n", "Corefile": KUBEADM}
    world = World(KUBEADM, files=files).start()
    assert world.ask(ENT).answers[0].ttl == 30
    files["Corefile"] = KUBEADM.replace("ttl 30", "ttl 20")
    world.until(60.0)
    assert world.ask(ENT).answers[0].ttl == 20

"""From Services and EndpointSlices to virtual servers, one small delta at a time."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.base.cause import Cause, Stage
from netsim.objects.core import (
    Node,
    NodeAddress,
    NodeSpec,
    NodeStatus,
    Pod,
    Service,
    ServicePort,
    ServiceStatus,
)
from netsim.objects.discovery import EndpointPort
from netsim.objects.meta import Object, ObjectMeta, ObjectRef
from netsim.objects.topology import PROXY_MODES
from netsim.plan.delta import Delta, Plan
from netsim.plan.entries import (
    NODES,
    Action,
    Backend,
    Hook,
    HostName,
    LocalAddresses,
    Masquerade,
    Match,
    Rule,
    Sysctl,
    VirtualServer,
)
from netsim.proxy.proxier import Proxier
from netsim.proxy.settings import DetectLocalMode, ProxySettings
from netsim.store.store import EventType, StoreEvent
from tests.proxy.objects import (
    GONE,
    LEAVING,
    READY,
    STARTING,
    added,
    deleted,
    endpoint,
    modified,
    service,
    slice_of,
)

PODS = IPv4Network("10.244.0.0/16")
SETTINGS = ProxySettings(PODS)
ENT = service()
TWO_PODS = slice_of(
    "prod/ent", "a", endpoint("10.244.2.3", pod="prod/ent-b"), endpoint("10.244.1.2", pod="prod/ent-a")
)


class Cluster:
    """A proxier, and the plan that its deltas add up to."""

    def __init__(self, settings: ProxySettings = SETTINGS) -> None:
        self.proxier = Proxier(settings)
        self.plan = Plan()

    def feed(self, *events: StoreEvent) -> Delta:
        delta = Delta()
        for event in events:
            delta = self.proxier.feed(event)
            self.plan.apply(delta)
        return delta

    def server(self, address: str, port: int = 80, protocol: int = 6) -> VirtualServer | None:
        found = self.plan.get(("virtual", NODES, str(protocol), address, str(port)))
        assert found is None or isinstance(found, VirtualServer)
        return found


def test_a_service_is_one_virtual_server_on_all_nodes() -> None:
    cluster = Cluster()
    delta = cluster.feed(added(ENT), added(TWO_PODS))
    expected = VirtualServer(
        on=NODES,
        protocol=6,
        address=IPv4Address("10.96.0.20"),
        port=80,
        name="svc prod/ent:http",
        backends=(
            Backend(IPv4Address("10.244.1.2"), 8080, "pod prod/ent-a", home="node/node1"),
            Backend(IPv4Address("10.244.2.3"), 8080, "pod prod/ent-b", home="node/node1"),
        ),
        owner="proxy",
        cause=Cause(Stage.SERVICE, "prod/ent:http cluster IP"),
        masquerade=Masquerade.OUTSIDERS,
    )
    assert list(cluster.plan) == [expected]
    assert delta == Delta(put=(expected,))


def test_slices_may_come_before_their_service() -> None:
    early, late = Cluster(), Cluster()
    assert not early.feed(added(TWO_PODS))
    early.feed(added(ENT))
    late.feed(added(ENT), added(TWO_PODS))
    assert early.plan == late.plan
    assert len(early.plan) == 1


def test_a_service_without_endpoints_rejects_and_says_so() -> None:
    cluster = Cluster()
    cluster.feed(added(ENT), added(slice_of("prod/ent", "a", endpoint("10.244.1.2", STARTING))))
    found = cluster.server("10.96.0.20")
    assert found is not None
    assert found.backends == ()
    assert found.cause.text == "prod/ent:http has no endpoints: REJECT with ICMP port unreachable"


def test_the_last_ready_endpoint_that_leaves_goes_on_serving() -> None:
    cluster = Cluster()
    cluster.feed(added(ENT), added(slice_of("prod/ent", "a", endpoint("10.244.1.2"))))
    leaving = cluster.feed(modified(slice_of("prod/ent", "a", endpoint("10.244.1.2", LEAVING))))
    assert not leaving
    cluster.feed(modified(slice_of("prod/ent", "a", endpoint("10.244.1.2", GONE))))
    found = cluster.server("10.96.0.20")
    assert found is not None
    assert found.backends == ()


def test_each_port_and_protocol_is_its_own_virtual_server() -> None:
    cluster = Cluster()
    ports = (ServicePort(53, "dns", "UDP"), ServicePort(53, "dns-tcp", "TCP"), ServicePort(9, "q", "SCTP"))
    slice_ports = (
        EndpointPort("dns", 5353, "UDP"),
        EndpointPort("dns-tcp", 53),
        EndpointPort("q", 9, "SCTP"),
    )
    cluster.feed(
        added(service("kube-system/kube-dns", "10.96.0.10", *ports)),
        added(slice_of("kube-system/kube-dns", "a", endpoint("10.244.0.2"), ports=slice_ports)),
    )
    got = {
        (entry.protocol, entry.port, entry.name, entry.backends[0].port)
        for entry in cluster.plan
        if isinstance(entry, VirtualServer)
    }
    assert got == {
        (17, 53, "svc kube-system/kube-dns:dns", 5353),
        (6, 53, "svc kube-system/kube-dns:dns-tcp", 53),
        (132, 9, "svc kube-system/kube-dns:q", 9),
    }


def test_an_unnamed_port_has_no_colon() -> None:
    cluster = Cluster()
    cluster.feed(added(service("prod/ent", "10.96.0.20", ServicePort(80))))
    found = cluster.server("10.96.0.20")
    assert found is not None
    assert found.name == "svc prod/ent"


def with_spec(**changes: object) -> Service:
    return replace(ENT, spec=replace(ENT.spec, **changes))


@pytest.mark.parametrize(
    "ignored",
    [
        pytest.param(with_spec(cluster_ip="None", cluster_ips=("None",)), id="headless"),
        pytest.param(with_spec(cluster_ip="", cluster_ips=()), id="not allocated yet"),
        pytest.param(with_spec(type="ExternalName", external_name="example.com"), id="ExternalName"),
        pytest.param(with_spec(cluster_ip="2001:db8::1", cluster_ips=("2001:db8::1",)), id="IPv6 only"),
        pytest.param(
            replace(
                ENT,
                metadata=replace(ENT.metadata, labels={"service.kubernetes.io/service-proxy-name": "x"}),
            ),
            id="left to another proxy",
        ),
    ],
)
def test_services_that_kube_proxy_skips(ignored: Service) -> None:
    cluster = Cluster()
    cluster.feed(added(TWO_PODS), added(ignored))
    assert len(cluster.plan) == 0
    assert cluster.feed(modified(ENT)).put
    cluster.feed(modified(ignored))
    assert len(cluster.plan) == 0


def test_a_dual_stack_service_has_its_ipv4_address() -> None:
    cluster = Cluster()
    cluster.feed(added(with_spec(cluster_ip="2001:db8::1", cluster_ips=("2001:db8::1", "10.96.0.20"))))
    assert cluster.server("10.96.0.20") is not None


def test_leading_zeros_in_addresses_are_decimal() -> None:
    cluster = Cluster()
    cluster.feed(added(with_spec(cluster_ip="10.96.0.020", cluster_ips=("10.96.0.020",))))
    cluster.feed(added(slice_of("prod/ent", "a", endpoint("10.244.01.010"))))
    found = cluster.server("10.96.0.20")
    assert found is not None
    assert [str(backend.address) for backend in found.backends] == ["10.244.1.10"]


def test_a_deleted_service_takes_exactly_its_own_entries() -> None:
    cluster = Cluster()
    other = service("dev/ent", "10.96.0.21")
    cluster.feed(added(ENT), added(other), added(TWO_PODS))
    delta = cluster.feed(deleted(ENT))
    assert delta == Delta(remove=(("virtual", NODES, "6", "10.96.0.20", "80"),))
    assert [entry.name for entry in cluster.plan if isinstance(entry, VirtualServer)] == ["svc dev/ent:http"]


def test_a_changed_endpoint_touches_its_own_service_only() -> None:
    cluster = Cluster()
    for number in range(50):
        name = f"prod/s{number}"
        cluster.feed(
            added(service(name, f"10.96.1.{number}")),
            added(slice_of(name, "a", endpoint(f"10.244.1.{number}"))),
        )
    delta = cluster.feed(modified(slice_of("prod/s7", "a", endpoint("10.244.2.7"))))
    assert [entry.key for entry in delta.put] == [("virtual", NODES, "6", "10.96.1.7", "80")]
    assert delta.remove == ()


def test_what_changes_no_rule_is_an_empty_delta() -> None:
    cluster = Cluster()
    cluster.feed(added(ENT), added(TWO_PODS))
    assert not cluster.feed(modified(ENT))
    assert not cluster.feed(modified(TWO_PODS))
    assert not cluster.feed(added(Pod()))


def reachable_from_outside(**changes: object) -> Service:
    """prod/ent with a node port, an external address and one that a load balancer has given."""
    ports = (ServicePort(80, "http", node_port=30080),)
    status = ServiceStatus({"loadBalancer": {"ingress": [{"ip": "198.51.100.1", "ipMode": "VIP"}]}})
    made = with_spec(type="LoadBalancer", ports=ports, external_ips=("203.0.113.5",), **changes)
    return replace(made, status=status)


def test_a_node_port_is_a_virtual_server_at_every_address_of_every_node() -> None:
    cluster = Cluster()
    cluster.feed(added(reachable_from_outside()), added(TWO_PODS))
    found = cluster.server("local", 30080)
    assert found is not None
    assert found.address == LocalAddresses(loopback=True, refuses_at_all=True)
    assert found.name == "svc prod/ent:http"
    assert found.cause.text == "prod/ent:http node port 30080"


def test_what_comes_from_outside_is_masqueraded_and_reaches_the_same_endpoints() -> None:
    cluster = Cluster()
    cluster.feed(added(reachable_from_outside()), added(TWO_PODS))
    inside = cluster.server("10.96.0.20")
    assert inside is not None and inside.masquerade is Masquerade.OUTSIDERS
    for key in (("203.0.113.5", 80), ("198.51.100.1", 80), ("local", 30080)):
        found = cluster.server(*key)
        assert found is not None
        assert found.masquerade is Masquerade.ALWAYS
        assert found.backends == inside.backends


@pytest.mark.parametrize(
    "ingress",
    [{"ip": "198.51.100.1", "ipMode": "Proxy"}, {"hostname": "lb.example.com"}, {"ip": "2001:db8::1"}],
)
def test_a_load_balancer_that_comes_by_node_ports_gets_no_virtual_server(ingress: dict[str, str]) -> None:
    cluster = Cluster()
    status = ServiceStatus({"loadBalancer": {"ingress": [ingress]}})
    cluster.feed(added(replace(with_spec(type="LoadBalancer"), status=status)))
    assert [entry.key[2:] for entry in cluster.plan] == [("6", "10.96.0.20", "80")]


def test_the_type_of_a_service_is_not_asked_for() -> None:
    """What a type may not have, the API server takes away; newBaseServiceInfo goes by what is there."""
    cluster = Cluster()
    cluster.feed(added(replace(reachable_from_outside(), spec=ENT.spec)))
    assert [entry.key[3] for entry in cluster.plan] == ["10.96.0.20", "198.51.100.1"]
    cluster.feed(modified(with_spec(ports=(ServicePort(80, "http", node_port=30080),))))
    assert [entry.key[3:] for entry in cluster.plan] == [("10.96.0.20", "80"), ("local", "30080")]


def test_an_address_named_twice_is_one_virtual_server_and_the_cluster_ip_comes_first() -> None:
    cluster = Cluster()
    cluster.feed(added(with_spec(external_ips=("203.0.113.5", "203.0.113.05", "10.96.0.20"))))
    assert [entry.key[3] for entry in cluster.plan] == ["10.96.0.20", "203.0.113.5"]
    inside = cluster.server("10.96.0.20")
    assert inside is not None and inside.masquerade is Masquerade.OUTSIDERS


def test_of_two_services_with_one_external_address_the_first_by_name_gets_it() -> None:
    cluster = Cluster()
    later = replace(ENT, spec=replace(ENT.spec, external_ips=("203.0.113.5",)))
    earlier = service("dev/ent", "10.96.0.21")
    earlier = replace(earlier, spec=replace(earlier.spec, external_ips=("203.0.113.5",)))

    def holder() -> str:
        found = cluster.server("203.0.113.5")
        return found.name if found is not None else ""

    cluster.feed(added(later))
    assert holder() == "svc prod/ent:http"
    cluster.feed(added(earlier))
    assert holder() == "svc dev/ent:http"
    cluster.feed(deleted(earlier))
    assert holder() == "svc prod/ent:http"
    cluster.feed(deleted(later))
    assert len(cluster.plan) == 0


def test_kube_proxy_sets_nodes_up_while_there_are_any() -> None:
    cluster = Cluster()
    first, second = (Node(metadata=ObjectMeta(name=name)) for name in ("node1", "node2"))
    cluster.feed(added(first))
    setting, rule = cluster.plan
    assert isinstance(rule, Rule)
    assert (rule.on, rule.hook, rule.match, rule.action) == (
        NODES, Hook.FORWARD, Match(invalid=True), Action.DROP,
    )  # fmt: skip
    assert isinstance(setting, Sysctl)
    assert (setting.on, setting.name, setting.value) == (NODES, "route_localnet", 1)
    assert not cluster.feed(added(second), deleted(first))
    cluster.feed(deleted(second))
    assert len(cluster.plan) == 0


def test_service_ports_are_sorted_and_hold_all_endpoints() -> None:
    cluster = Cluster()
    ports = (ServicePort(443, "https"), ServicePort(80, "http"))
    cluster.feed(added(service("prod/b", "10.96.0.2", *ports)), added(service("dev/z", "10.96.0.1")))
    cluster.feed(added(slice_of("prod/b", "a", endpoint("10.244.1.1"), endpoint("10.244.1.2", STARTING))))
    found = cluster.proxier.service_ports()
    assert [port.name for port in found] == ["dev/z:http", "prod/b:http", "prod/b:https"]
    assert [one.target for one in found[1].endpoints] == ["10.244.1.1:8080", "10.244.1.2:8080"]
    assert [one.target for one in found[1].lists.cluster] == ["10.244.1.1:8080"]


NAMES = ("prod/a", "prod/b", "dev/a")
PORTS = (ServicePort(80, "http"), ServicePort(53, "dns", "UDP"), ServicePort(53, "dns-tcp"), ServicePort(81))
SHARED_ADDRESSES = ("203.0.113.5", "203.0.113.6", "10.96.0.10")
SLICE_PORTS = (EndpointPort("http", 8080), EndpointPort("dns", 53, "UDP"), EndpointPort("", 8081))


@st.composite
def services(draw: st.DrawFn) -> Service:
    name = draw(st.sampled_from(NAMES))
    own = 10 * (1 + NAMES.index(name))  # two Services never have one ClusterIP
    address = draw(st.sampled_from(("None", "", f"10.96.0.{own}", f"10.96.0.{own + 1}")))
    ports = draw(st.lists(st.sampled_from(PORTS), unique=True, min_size=1))
    node_port = draw(st.sampled_from((None, 30000 + own)))  # nor one node port
    made = service(name, address, *(replace(port, node_port=node_port) for port in ports))
    kind = draw(st.sampled_from(("ClusterIP", "NodePort", "LoadBalancer")))
    shared = tuple(draw(st.lists(st.sampled_from(SHARED_ADDRESSES), max_size=2)))  # but any externalIP
    ingress = [{"ip": text} for text in draw(st.lists(st.sampled_from(SHARED_ADDRESSES), max_size=1))]
    policies = st.sampled_from(("Cluster", "Local"))
    ranges = draw(st.sampled_from(([], ["203.0.113.0/24"], ["2001:db8::/32"])))
    return replace(
        made,
        spec=replace(
            made.spec,
            type=kind,
            external_ips=shared,
            internal_traffic_policy=draw(policies),
            external_traffic_policy=draw(policies),
            session_affinity=draw(st.sampled_from(("None", "ClientIP"))),
            rest={"loadBalancerSourceRanges": ranges} if ranges else {},
        ),
        status=ServiceStatus({"loadBalancer": {"ingress": ingress}}),
    )


@st.composite
def slices(draw: st.DrawFn) -> Object:
    conditions = st.sampled_from((READY, STARTING, LEAVING, GONE))
    numbers = draw(st.lists(st.tuples(st.integers(1, 4), conditions), max_size=4))
    ports = tuple(draw(st.lists(st.sampled_from(SLICE_PORTS), unique=True)))
    found = slice_of(
        draw(st.sampled_from(NAMES)),
        draw(st.sampled_from(("x", "y"))),
        *(endpoint(f"10.244.1.{number}", condition) for number, condition in numbers),
        ports=ports,
    )
    nodes, zones = st.sampled_from(("node1", "node2", None)), st.sampled_from(("a", "b", ""))
    spread = (
        replace(one, node_name=draw(nodes), rest={"hints": {"forZones": [{"name": zone}]}} if zone else {})
        for one in found.endpoints
        for zone in (draw(zones),)
    )
    found = replace(found, endpoints=tuple(spread))
    # A slice may change the Service it belongs to.
    meta = replace(found.metadata, name=f"slice-{draw(st.sampled_from('xy'))}")
    return replace(found, metadata=meta)


@st.composite
def nodes(draw: st.DrawFn) -> Object:
    name, zone = draw(st.sampled_from(("node1", "node2"))), draw(st.sampled_from(("a", "b", "")))
    labels = {"topology.kubernetes.io/zone": zone} if zone else {}
    spec = NodeSpec(pod_cidr=draw(st.sampled_from(("", "10.244.1.0/24"))))
    status = NodeStatus(
        addresses=(NodeAddress("InternalIP", draw(st.sampled_from(("10.0.0.1", "10.0.0.2")))),)
    )
    return Node(metadata=ObjectMeta(name=name, labels=labels), spec=spec, status=status)


steps = st.lists(st.tuples(services() | slices() | nodes(), st.booleans()), max_size=25)
HOSTS = {name: HostName(f"node/{name}") for name in ("node1", "node2")}


def events(steps: list[tuple[Object, bool]]) -> tuple[list[StoreEvent], dict[ObjectRef, Object]]:
    """The events that a store would send for these writes (True: delete it), and what it holds then."""
    live: dict[ObjectRef, Object] = {}
    found = []
    for obj, delete in steps:
        old = live.get(obj.ref)
        if delete and old is not None:
            found.append(StoreEvent(EventType.DELETED, live.pop(obj.ref), old))
        elif not delete:
            found.append(StoreEvent(EventType.MODIFIED if old else EventType.ADDED, obj, old))
            live[obj.ref] = obj
    return found, live


@pytest.mark.parametrize("mode", PROXY_MODES)
@pytest.mark.parametrize("detect", [DetectLocalMode.CLUSTER_CIDR, DetectLocalMode.NODE_CIDR])
@given(steps)
def test_the_sum_of_the_deltas_is_the_plan_from_scratch(
    mode: str, detect: DetectLocalMode, steps: list[tuple[Object, bool]]
) -> None:
    history, live = events(steps)
    settings = SETTINGS._replace(mode=mode, hosts=HOSTS, detect_local=detect, service_cidrs=(PODS,))
    grown, fresh = Cluster(settings), Cluster(settings)
    for event in history:
        before = dict(grown.plan.entries)
        delta = grown.feed(event)
        assert all(before.get(entry.key) != entry for entry in delta.put), "a put that changes nothing"
        assert all(key in before for key in delta.remove), "a removal of what does not stand"
    fresh.feed(*(added(obj) for obj in reversed(live.values())))
    assert grown.plan == fresh.plan
    assert grown.proxier.service_ports() == fresh.proxier.service_ports()

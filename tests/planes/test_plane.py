"""A plan and its changes: whatever way it came about, the tables are those of the plan that resulted."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from netsim.base.address import Mac
from netsim.base.cause import Cause, Stage
from netsim.base.errors import PlanError, UsageError
from netsim.base.rng import Rng
from netsim.capture.record import Recorder
from netsim.net.stack import Stack
from netsim.plan.delta import Delta, Plan, difference
from netsim.plan.entries import (
    Action,
    Address,
    Backend,
    Entry,
    Fdb,
    Hook,
    Host,
    HostName,
    Interface,
    InterfaceKind,
    Key,
    Link,
    Match,
    Neighbour,
    Port,
    Role,
    Route,
    Rule,
    Scope,
    VirtualServer,
    Vxlan,
)
from netsim.planes.protocol import Plane
from netsim.planes.sim.plane import SimPlane
from netsim.wire import ipv4
from tests.net.network import SERVICE, mac_of, one_node, through_a_router, two_hosts, two_nodes
from tests.net.test_wire_format import busy

HOSTS = (HostName("h1"), HostName("h2"), HostName("h3"))
GROUP = Scope("@g")
CAUSES = st.sampled_from([Cause(Stage.PLAN, "one reason"), Cause(Stage.PLAN, "another")])
NETWORKS = st.sampled_from(
    [IPv4Network(t) for t in ("0.0.0.0/0", "10.0.0.0/24", "10.0.0.0/25", "10.1.0.0/16")]
)
ADDRESSES = st.sampled_from([IPv4Address(f"10.0.0.{number}") for number in (1, 2, 200)])
INTERFACES = ("eth0", "eth1", "br0", "vx0")


# --- changes in place ------------------------------------------------------------------------------------


def test_an_mtu_changes_in_place() -> None:
    net = two_hosts()
    assert net.ping("a", "10.0.0.2", size=1400, df=True) == "reply from 10.0.0.2"
    net.change(("interface", "a", "eth0"), mtu=1000)
    assert net.ping("a", "10.0.0.2", size=1400, df=True) == "fragmentation-needed from 10.0.0.1"


def test_a_mac_changes_in_place() -> None:
    net = two_hosts()
    net.change(("interface", "b", "eth0"), mac=mac_of("new"))
    assert net.ping("a", "10.0.0.2") == "reply from 10.0.0.2"
    assert {data[6:12] for data in net.seen("b/eth0", outbound=True)} == {mac_of("new")}


def test_a_changed_reason_for_an_address_does_not_make_it_the_last() -> None:
    net = two_hosts()
    net.address("a/eth0", "10.0.0.7/24")
    net.serve("b", 80)
    net.change(("address", "a", "eth0", "10.0.0.1/24"), cause=Cause(Stage.PLAN, "another reason"))
    assert net.ask("a", "10.0.0.2:80").startswith("b sees 10.0.0.1:")
    net.remove(("address", "a", "eth0", "10.0.0.1/24"))
    assert net.ask("a", "10.0.0.2:80").startswith("b sees 10.0.0.7:")


def test_a_route_changes_in_place() -> None:
    net = through_a_router()
    net.ping("a", "10.0.1.1")
    net.change(("route", "a", "0.0.0.0/0", "0"), via=IPv4Address("10.0.0.99"))
    assert net.ping("a", "10.0.1.1") == "host-unreachable from 10.0.0.1"


def test_a_virtual_server_changes_in_place() -> None:
    net = one_node()
    net.serve("q", 8080)
    net.service(SERVICE, [])
    net.route("node", "default", "cni0")
    assert net.ask("p", SERVICE) == "refused"
    net.change(
        ("virtual", "@nodes", "6", "10.96.0.20", "80"), backends=(Backend(IPv4Address("10.244.1.3"), 8080),)
    )
    assert net.ask("p", SERVICE).startswith("q sees")


def test_a_links_latency_changes_in_place_and_a_link_can_go() -> None:
    net = two_hosts()
    net.ping("a", "10.0.0.2")
    began = net.now
    net.change(("link", "a/eth0", "b/eth0"), latency=1.0)
    net.ping("a", "10.0.0.2")
    assert net.now == pytest.approx(began + 2.0)
    net.remove(("link", "a/eth0", "b/eth0"))
    assert net.ping("a", "10.0.0.2") == "timeout"


def test_forwarding_changes_in_place() -> None:
    net = through_a_router()
    net.stack("router")
    net.change(("host", "router"), forwarding=False)
    assert net.ping("a", "10.0.1.1") == "timeout"
    net.change(("host", "router"), forwarding=True)
    assert net.ping("a", "10.0.1.1") == "reply from 10.0.1.1"


def test_a_neighbour_and_a_forwarding_entry_change_in_place() -> None:
    net = two_nodes()
    net.ping("p", "10.244.2.2")
    net.change(
        ("fdb", "@nodes", "flannel.1", mac_of("n2/flannel.1").hex()), destination=IPv4Address("192.168.0.9")
    )
    assert net.ping("p", "10.244.2.2") == "timeout"
    net.fdb("@nodes", "flannel.1", mac_of("new"), "192.168.0.2")
    net.change(("neighbour", "@nodes", "flannel.1", "10.244.2.0"), mac=mac_of("new"))
    net.change(("interface", "n2", "flannel.1"), mac=mac_of("new"))
    assert net.ping("p", "10.244.2.2") == "reply from 10.244.2.2"


# --- what contradicts itself -----------------------------------------------------------------------------


def test_the_groups_of_a_host_cannot_change_while_it_stands() -> None:
    net = two_hosts()
    with pytest.raises(PlanError, match="host a cannot change its groups while it stands"):
        net.change(("host", "a"), groups=(GROUP,))


def test_an_address_needs_its_interface() -> None:
    net = two_hosts()
    net.stack("a")
    with pytest.raises(PlanError, match=r"address a eth7 10\.9\.9\.9/24: the host has no interface eth7"):
        net.address("a/eth7", "10.9.9.9/24")


def test_an_entry_needs_its_host() -> None:
    net = two_hosts()
    with pytest.raises(UsageError, match="there is no host nobody"):
        net.interface("nobody/eth0")
    with pytest.raises(UsageError, match="there is no host nobody"):
        net.route("nobody", "default", "eth0")


def test_removing_what_is_not_there_changes_nothing() -> None:
    net = two_hosts()
    net.plane.apply(Delta(remove=(("route", "a", "9.0.0.0/8", "0"), ("host", "nobody"))))
    assert net.ping("a", "10.0.0.2") == "reply from 10.0.0.2"


# --- rows ------------------------------------------------------------------------------------------------


def test_a_host_that_nobody_reached_has_no_stack() -> None:
    net = two_nodes()
    net.ping("p", "10.244.2.2")
    stacks = {name: row.stack is not None for name, row in net.plane._rows.items()}
    assert stacks == {"n1": True, "n2": True, "p": True, "q": False, "s": True, "t": False}


def test_a_change_to_a_row_is_there_when_the_stack_is_built() -> None:
    net = two_hosts()
    net.address("b/eth0", "10.0.0.3/24")
    net.remove(("address", "b", "eth0", "10.0.0.2/24"))
    net.change(("interface", "b", "eth0"), mtu=1400)
    assert net.plane._rows[HostName("b")].stack is None
    assert net.ping("a", "10.0.0.3") == "reply from 10.0.0.3"
    assert net.ping("a", "10.0.0.2") == "host-unreachable from 10.0.0.1"


def test_nodes_share_their_groups_tables() -> None:
    net = two_nodes()
    net.service(SERVICE, ["10.244.1.2:80"])
    one, two = net.stack("n1"), net.stack("n2")
    assert one._all_tables[1] is two._all_tables[1] and one.tables is not two.tables


# --- any sequence of changes -----------------------------------------------------------------------------


def host(name: HostName, draw: st.DrawFn) -> Host:
    groups = (GROUP,) if name != "h3" else ()
    return Host(name, Role.NODE, name, "t", draw(CAUSES), groups, draw(st.booleans()), draw(st.booleans()))


def interface(on: HostName, name: str, chosen: set[str], draw: st.DrawFn) -> Interface:
    kind, vxlan, master = InterfaceKind.VETH, None, None
    if name == "br0":
        kind = InterfaceKind.BRIDGE
    elif name == "vx0":
        kind = InterfaceKind.VXLAN
        vxlan = Vxlan(draw(st.integers(1, 2)), 8472, IPv4Address("10.0.0.1"), "eth0")
    elif "br0" in chosen and draw(st.booleans()):
        master = "br0"
    mac = draw(st.sampled_from([Mac(b"\x02" * 6), Mac(b"\x06" * 6)]))
    mtu = draw(st.sampled_from([1400, 1500]))
    return Interface(on, name, kind, mac, "t", draw(CAUSES), mtu, master, draw(st.booleans()), vxlan)


def scoped(on: Scope, draw: st.DrawFn) -> list[Entry]:
    """Some routes, neighbours, forwarding entries, rules and virtual servers on a host or a group."""
    cause, device = draw(CAUSES), draw(st.sampled_from(INTERFACES))
    found: list[Entry] = [
        Route(on, network, device, "t", cause, draw(st.none() | ADDRESSES), metric=draw(st.integers(0, 1)))
        for network in draw(st.lists(NETWORKS, max_size=3))
    ]
    mac = Mac(draw(st.sampled_from([b"\x0a" * 6, b"\x0e" * 6])))
    if draw(st.booleans()):
        found.append(Neighbour(on, device, draw(ADDRESSES), mac, "t", cause))
    if draw(st.booleans()):
        found.append(Fdb(on, "vx0", mac, draw(ADDRESSES), "t", cause))
    for name in draw(st.lists(st.sampled_from(["a", "b"]), unique=True)):
        hook, order = draw(st.sampled_from(list(Hook))), draw(st.integers(0, 1))
        match = Match(source=draw(st.none() | NETWORKS))
        found.append(Rule(on, hook, order, name, match, draw(st.sampled_from(list(Action))), "t", cause))
    if draw(st.booleans()):
        backends = tuple(Backend(address, 80) for address in draw(st.lists(ADDRESSES, max_size=2)))
        found.append(VirtualServer(on, 6, draw(ADDRESSES), 80, "svc", backends, "t", cause))
    return found


@st.composite
def plans(draw: st.DrawFn) -> dict[Key, Entry]:
    """A plan that does not contradict itself."""
    entries: list[Entry] = []
    present = draw(st.lists(st.sampled_from(HOSTS), unique=True))
    for name in present:
        entries.append(host(name, draw))
        chosen = set(draw(st.lists(st.sampled_from(INTERFACES), unique=True)))
        for port in [name for name in INTERFACES if name in chosen]:
            entries.append(interface(name, port, chosen, draw))
            for address in draw(st.lists(ADDRESSES, max_size=2, unique=True)):
                length = draw(st.sampled_from([24, 25, 32]))
                entries.append(Address(name, port, IPv4Interface((address, length)), "t", draw(CAUSES)))
        entries += scoped(Scope(name), draw)
    entries += scoped(GROUP, draw)
    ends = [Port(e.host, e.name) for e in entries if isinstance(e, Interface) and e.name.startswith("eth")]
    for a, b in zip(ends[::2], ends[1::2], strict=False):
        entries.append(Link(a, b, "t", draw(CAUSES), draw(st.sampled_from([0.0, 0.5]))))
    order = draw(st.permutations(entries))
    return {entry.key: entry for entry in order}


def tables_of(stack: Stack) -> dict[str, Any]:
    """All that a plan decides of a stack, in a form that can be compared."""
    devices, filters = stack.links.devices.values(), stack.netfilter
    probes = [bytes([10, second, 0, last]) for second in (0, 1, 9) for last in (1, 2, 9, 200)]
    return {
        "devices": {
            d.name: (d.kind, d.mac, d.mtu, d.plan and (d.master, d.hairpin, d.plan.vxlan), sorted(d.ports))
            for d in devices
        },
        "addresses": {d.name: d.addresses for d in devices},
        "local": {address for address in probes if stack.is_local(address)},
        "routes": [(str(route), route.source, route.metric) for route in stack.routes()],
        "sources": [stack.source_for(probe) for probe in probes],
        "forwarding": (stack.forwarding, stack.links.bridge_netfilter),
        "active": filters.active,
        "rules": (filters._on_input, filters._on_forward, filters._on_output, filters._on_postrouting),
        "tables": [
            (t.fib.routes(), t.neighbours, t.fdb, [t.service((6, probe, 80)) for probe in probes])
            for t in stack._all_tables
        ],
    }


@given(wanted=st.lists(plans(), min_size=1, max_size=5), reach=st.lists(st.sampled_from(HOSTS), max_size=6))
def test_after_any_changes_the_tables_are_those_of_the_plan_from_scratch(
    wanted: list[dict[Key, Entry]], reach: list[HostName]
) -> None:
    plane, plan, current = SimPlane(Rng(1)), Plan(), dict[Key, Entry]()
    for target in wanted:
        delta = difference(current, target)
        note(f"put {delta.put}\nremove {delta.remove}")
        plan.apply(delta)
        plane.apply(delta)
        current = target
        for name in reach:
            if ("host", name) in current:
                plane.stack(name)
    fresh = SimPlane(Rng(1))
    fresh.apply(Delta(put=tuple(plan)))
    assert plane._wires == fresh._wires and plane.entries == fresh.entries == current
    assert list(plane._rows.keys() ^ fresh._rows.keys()) == []
    for name in plane._rows:
        assert tables_of(plane.stack(name)) == tables_of(fresh.stack(name)), name


# --- determinism -----------------------------------------------------------------------------------------


def test_two_runs_with_one_seed_give_the_same_records() -> None:
    one, two = busy(), busy()
    assert one.recorder.records == two.recorder.records
    assert len(one.recorder.records) > 1000


def test_another_seed_gives_other_records() -> None:
    def records(seed: int) -> list[bytes]:
        net = two_hosts(seed=seed)
        net.serve("b", 80)
        net.ask("a", "10.0.0.2:80")
        return net.seen("a/eth0")

    assert records(1) == records(1) != records(2)


def test_a_hosts_chance_does_not_depend_on_other_hosts() -> None:
    def ports(others: int) -> list[int]:
        net = two_hosts()
        for number in range(others):
            net.host(f"other{number}")
            net.stack(f"other{number}")
        net.serve("b", 80)
        net.ask("a", "10.0.0.2:80")
        sent = [p for p in net.packets("a/eth0", outbound=True) if p.protocol == ipv4.TCP]
        return [int.from_bytes(packet.payload[:2], "big") for packet in sent]

    assert ports(0) == ports(3)


def test_recording_costs_nothing_when_it_is_over() -> None:
    net = two_hosts()
    net.plane._recorders.clear()
    with (
        net.plane.recording(Recorder()) as all_ports,
        net.plane.recording(Recorder([Port(HostName("a"), "eth0")])) as one_port,
    ):
        net.ping("a", "10.0.0.2")
    assert len(all_ports) == 2 * len(one_port) > 0
    net.ping("a", "10.0.0.2")
    assert len(all_ports) == 2 * len(one_port) and net.plane._recorders == []


def test_a_packet_keeps_its_serial_over_every_hop_and_translation() -> None:
    net = two_nodes()
    net.service("10.96.0.10:53", ["10.244.2.2:53"], protocol=ipv4.UDP)
    net.serve("s", 53, protocol=ipv4.UDP)
    net.ask_udp("p", "10.96.0.10:53")
    hops: dict[int, list[str]] = {}
    for record in net.recorder.records:
        if not record.outbound and record.port.host == "s":
            hops[record.serial] = []
    for record in net.recorder.records:
        if record.serial in hops:
            hops[record.serial].append(str(record.port))
    assert ["p/eth0", "n1/veth-p", "n1/cni0", "n1/flannel.1", "n1/eth0", "n2/eth0", "n2/flannel.1", "n2/cni0",
            "n2/veth-s", "s/eth0"] in hops.values()  # fmt: skip


def test_the_sim_plane_does_what_a_plane_must() -> None:
    plane: Plane = SimPlane(Rng(1))
    wanted = [name for name in vars(Plane) if not name.startswith("_")]
    assert wanted and all(hasattr(plane, name) for name in wanted)

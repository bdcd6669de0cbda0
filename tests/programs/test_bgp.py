"""The BGP daemon on hosts of the sim plane: Pods are reachable when UPDATEs have said how, and only then.

::

    node1 192.168.10.11 ─┐
    node2 192.168.10.12 ─┴─ switch ── router 192.168.10.1 / 192.168.20.1 ── node3 192.168.20.13

Each node has 10.244.n.1 on an interface of its own, which stands for its Pods.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

import pytest

from netsim.base.address import mac_from_name
from netsim.base.cause import Cause, Stage
from netsim.base.errors import GaveUp, UsageError
from netsim.base.rng import Rng
from netsim.capture.record import PacketRecord
from netsim.net.bgp.events import Originated, PeerAdded, PeerRemoved, Withdrawn
from netsim.net.bgp.settings import PeerSettings, SpeakerSettings
from netsim.plan.delta import Delta
from netsim.plan.entries import (
    Address,
    Entry,
    HostName,
    Interface,
    InterfaceKind,
    Link,
    Port,
    Role,
    Route,
    Scope,
)
from netsim.plan.entries import Host as PlannedHost
from netsim.planes.sim.host import SimHost
from netsim.planes.sim.plane import SimPlane
from netsim.programs.bgp import bgp
from netsim.programs.bgp_control import Control
from netsim.programs.host import Invocation
from netsim.wire import bgp as wire
from netsim.wire import ethernet, ipv4, tcp

WHY = Cause(Stage.PLAN, "test")
OWNER = "test"
NODE_AS, ROUTER_AS = 64512, 65000
ADDRESSES = {"node1": "192.168.10.11", "node2": "192.168.10.12", "node3": "192.168.20.13"}
GATEWAYS = {"node1": "192.168.10.1", "node2": "192.168.10.1", "node3": "192.168.20.1"}


class Recorder:
    """Every frame, as it leaves or reaches an interface."""

    def __init__(self) -> None:
        self.records: list[PacketRecord] = []

    def record(self, record: PacketRecord) -> None:
        self.records.append(record)


class Site:
    """The hosts; ``daemon`` starts one."""

    def __init__(self) -> None:
        self.plane = SimPlane(Rng(1))
        self.plane.apply(Delta(put=tuple(entries())))
        self.controls: dict[str, Control] = {}
        self.tasks: dict[str, Any] = {}

    def host(self, name: str) -> SimHost:
        return self.plane.host(HostName(name))  # type: ignore[return-value]  # the sim plane's hosts are SimHosts

    def daemon(self, name: str, asn: int, *peers: PeerSettings) -> Control:
        """Start a daemon that announces the host's Pods."""
        if name not in self.controls:
            identifier = IPv4Address(ADDRESSES.get(name, GATEWAYS["node1"]))
            prefixes = [IPv4Network(pods(name))] if name in ADDRESSES else []
            self.controls[name] = Control(SpeakerSettings(asn, identifier, peers), prefixes)
        control = self.controls[name]
        start = Invocation("bird", services={"control": control})
        self.tasks[name] = self.plane.start(self.host(name), lambda host: bgp(host, start), "bird")
        return control

    def mesh(self, *names: str) -> Site:
        for name in names:
            peers = [PeerSettings(IPv4Address(ADDRESSES[n]), NODE_AS, n) for n in names if n != name]
            self.daemon(name, NODE_AS, *peers)
        return self

    def wait(self, seconds: float) -> Site:
        self.plane.pump(self.host("node1").sleep(seconds))
        return self

    def until(self, reached: Callable[[], bool], seconds: float = 30.0) -> float:
        start = self.plane.now
        assert self.plane.pump_until(reached, start + seconds), self.learnt("node1")
        return self.plane.now - start

    def established(self) -> Site:
        self.until(lambda: all(control.established for control in self.controls.values()))
        return self.wait(0.1)

    def learnt(self, name: str) -> dict[str, str]:
        """The daemon's routes in a host's table, and their gateways."""
        return {r.destination: r.via for r in self.host(name).routes() if r.protocol == "bird"}

    def reaches(self, name: str, address: str) -> bool:
        async def ping() -> bool:
            try:
                reply = await self.host(name).ping(IPv4Address(address), sequence=1)
            except OSError:
                return False
            return reply.kind == "reply"

        return self.plane.pump(ping())


def pods(name: str) -> str:
    return f"10.244.{name[-1]}.0/24"


def entries() -> list[Entry]:
    found: list[Entry] = []

    def host(name: str, role: Role) -> None:
        found.append(PlannedHost(HostName(name), role, name, OWNER, WHY, forwarding=role is not Role.SWITCH))

    def interface(
        name: str, device: str, kind: InterfaceKind = InterfaceKind.VETH, *cidrs: str, **more: Any
    ) -> None:
        mac = mac_from_name(f"{name}/{device}")
        found.append(Interface(HostName(name), device, kind, mac, OWNER, WHY, **more))
        for cidr in cidrs:
            found.append(Address(HostName(name), device, IPv4Interface(cidr), OWNER, WHY))

    def link(a: tuple[str, str], b: tuple[str, str]) -> None:
        ends = [Port(HostName(name), device) for name, device in (a, b)]
        found.append(Link(*ends, OWNER, WHY, latency=0.00025))

    for name, address in ADDRESSES.items():
        host(name, Role.NODE)
        interface(name, "eth0", InterfaceKind.VETH, f"{address}/24")
        interface(name, "cni0", InterfaceKind.DUMMY, f"10.244.{name[-1]}.1/24")
        gateway = IPv4Address(GATEWAYS[name])
        found.append(Route(Scope(name), IPv4Network("0.0.0.0/0"), "eth0", OWNER, WHY, via=gateway))
    host("switch", Role.SWITCH)
    interface("switch", "br0", InterfaceKind.BRIDGE)
    host("router", Role.ROUTER)
    interface("router", "eth0", InterfaceKind.VETH, "192.168.10.1/24")
    interface("router", "eth1", InterfaceKind.VETH, "192.168.20.1/24")
    for number, name in enumerate(("node1", "node2", "router")):
        interface("switch", f"port{number}", master="br0")
        link(("switch", f"port{number}"), (name, "eth0"))
    link(("router", "eth1"), ("node3", "eth0"))
    return found


# --- learning ----------------------------------------------------------------------------------------


def test_pods_are_reachable_when_the_session_stands_and_not_before() -> None:
    site = Site().mesh("node1", "node2")
    assert not site.reaches("node1", "10.244.2.1")
    site.established()
    assert site.learnt("node1") == {pods("node2"): ADDRESSES["node2"]}
    assert site.learnt("node2") == {pods("node1"): ADDRESSES["node1"]}
    assert site.reaches("node1", "10.244.2.1") and site.reaches("node2", "10.244.1.1")


def test_routes_come_over_tcp_port_179_as_real_messages() -> None:
    site = Site()
    recorder = Recorder()
    with site.plane.recording(recorder):
        site.mesh("node1", "node2").established()
    segments = [tcp_of(record) for record in recorder.records if str(record.port) == "node1/eth0"]
    kept = [one for one in segments if one is not None]
    assert kept and all(wire.PORT in (one.source_port, one.destination_port) for one in kept)
    said = {wire.OPEN: 0, wire.UPDATE: 0, wire.KEEPALIVE: 0}
    for one in kept:
        for frame in wire.split(one.payload)[0]:
            said[frame.kind] += 1
    assert all(count >= 2 for count in said.values()), said
    notes = "\n".join(str(note) for record in recorder.records for note in record.notes)
    assert "BGP to node2: UPDATE announces 10.244.1.0/24 via 192.168.10.11" in notes


def test_messages_that_are_said_at_once_leave_together_and_each_is_told() -> None:
    site = Site()
    recorder = Recorder()
    with site.plane.recording(recorder):
        site.mesh("node1", "node2").established()
    notes = {str(note) for record in recorder.records for note in record.notes if "; " in str(note)}
    assert any("OPEN from AS 64512" in note and note.endswith("KEEPALIVE") for note in notes)
    control = site.controls["node1"]
    with site.plane.recording(recorder):
        for number in range(5):
            control.tell(Originated(IPv4Network(f"10.9.{number}.0/24")))
        site.wait(0.1)
    (note,) = {str(note) for record in recorder.records for note in record.notes if "and 2 more" in str(note)}
    assert note.count("UPDATE announces") == 3
    assert len(site.learnt("node2")) == 6


def tcp_of(record: PacketRecord) -> tcp.Tcp | None:
    frame = ethernet.parse(record.data)
    if frame.ethertype != ethernet.ETHERTYPE_IPV4:
        return None
    packet = ipv4.parse(frame.payload)
    return tcp.parse(packet.payload) if packet.protocol == ipv4.TCP else None


def test_a_mesh_over_a_router_leads_through_the_gateway_which_knows_no_pods() -> None:
    site = Site().mesh("node1", "node2", "node3").established()
    assert site.learnt("node1") == {pods("node2"): ADDRESSES["node2"], pods("node3"): GATEWAYS["node1"]}
    assert site.reaches("node1", "10.244.2.1")
    assert not site.reaches("node1", "10.244.3.1")


def test_a_router_that_speaks_carries_pods_between_subnets() -> None:
    site = Site()
    for name in ADDRESSES:
        site.daemon(name, NODE_AS, PeerSettings(IPv4Address(GATEWAYS[name]), ROUTER_AS, own_as_allowed=1))
    site.daemon("router", ROUTER_AS, *(PeerSettings(IPv4Address(a), NODE_AS) for a in ADDRESSES.values()))
    site.established()
    assert site.learnt("router") == {pods(name): address for name, address in ADDRESSES.items()}
    assert site.learnt("node1") == {pods("node2"): ADDRESSES["node2"], pods("node3"): GATEWAYS["node1"]}
    assert site.reaches("node1", "10.244.3.1") and site.reaches("node3", "10.244.2.1")


def test_learnt_routes_stand_beside_the_plans_and_are_never_touched_by_it() -> None:
    site = Site().mesh("node1", "node2").established()
    way = Route(
        Scope("node1"), IPv4Network(pods("node2")), "eth0", OWNER, WHY, via=IPv4Address("192.168.10.1")
    )
    site.plane.apply(Delta(put=(way,)))
    found = site.host("node1").route_to(IPv4Address("10.244.2.1"))
    assert found is not None and found.via == "192.168.10.1"
    site.plane.apply(Delta(remove=(way.key,)))
    found = site.host("node1").route_to(IPv4Address("10.244.2.1"))
    assert found is not None and (found.via, found.metric) == (ADDRESSES["node2"], 32)
    site.host("node1").remove_route(IPv4Network(pods("node2")), protocol="dhcp")
    assert site.learnt("node1") == {pods("node2"): ADDRESSES["node2"]}


# --- ending ------------------------------------------------------------------------------------------


def test_a_daemon_that_is_killed_loses_its_peers_routes_and_finds_them_again() -> None:
    site = Site().mesh("node1", "node2").established()
    site.tasks["node2"].cancel()
    site.wait(0.1)
    assert site.learnt("node1") == {}
    assert site.learnt("node2") == {pods("node1"): ADDRESSES["node1"]}  # left behind
    assert site.controls["node2"].speaker is None
    assert [peer.address for peer in site.controls["node2"].waiting()] == [IPv4Address(ADDRESSES["node1"])]
    site.daemon("node2", NODE_AS)
    site.wait(0.001)
    assert site.learnt("node2") == {}
    site.established()
    assert site.reaches("node1", "10.244.2.1")


def test_a_daemon_that_is_stopped_takes_its_routes_along() -> None:
    site = Site().mesh("node1", "node2").established()
    site.controls["node2"].stop()
    site.wait(0.1)
    assert site.learnt("node1") == site.learnt("node2") == {}
    assert not site.controls["node1"].established
    speaker = site.controls["node1"].speaker
    assert speaker is not None
    assert speaker.peers[IPv4Address(ADDRESSES["node2"])].problem == "Received: Administrative shutdown"


def test_a_node_whose_wire_is_cut_is_missed_after_the_hold_time() -> None:
    site = Site().mesh("node1", "node2").established()
    wire_of_node2 = next(e for e in entries() if isinstance(e, Link) and e.b.host == "node2")
    site.plane.apply(Delta(remove=(wire_of_node2.key,)))
    site.wait(60.0)
    assert site.learnt("node1") == {pods("node2"): ADDRESSES["node2"]}
    site.wait(35.0)
    assert site.learnt("node1") == {}
    site.plane.apply(Delta(put=(wire_of_node2,)))
    site.until(lambda: all(control.established for control in site.controls.values()), 60.0)
    site.wait(0.1)
    assert site.reaches("node1", "10.244.2.1")


def test_nobody_listens_and_the_daemon_tries_again() -> None:
    site = Site()
    control = site.daemon("node1", NODE_AS, PeerSettings(IPv4Address(ADDRESSES["node2"]), NODE_AS))
    site.wait(3.0)
    assert control.speaker is not None
    (peer,) = control.speaker.peers.values()
    assert peer.problem == "Socket: Connection refused"
    site.daemon("node2", NODE_AS, PeerSettings(IPv4Address(ADDRESSES["node1"]), NODE_AS, passive=True))
    site.established()


def test_a_second_daemon_on_a_host_ends_with_1() -> None:
    site = Site().mesh("node1", "node2").established()
    site.daemon("node1", NODE_AS)
    assert site.plane.pump(site.tasks["node1"].join()) == 1
    assert site.controls["node1"].established
    assert site.learnt("node1") == {pods("node2"): ADDRESSES["node2"]}


def test_a_cancelled_daemon_leaves_no_task_and_no_socket() -> None:
    site = Site().mesh("node1", "node2").established()
    for name in ("node1", "node2"):
        site.tasks[name].cancel()
    site.wait(0.1)
    assert site.host("node1").listening() == ()
    with pytest.raises(UsageError):
        site.plane.pump(site.tasks["node1"].join())


def test_nobody_waits_for_keepalives() -> None:
    site = Site().mesh("node1", "node2").established()

    async def listen() -> None:
        await (await site.host("node1").udp(9)).recv()

    with pytest.raises(GaveUp) as caught:
        site.plane.pump(listen())
    assert caught.value.asleep


# --- wishes ------------------------------------------------------------------------------------------


def test_what_the_cluster_wishes_reaches_a_daemon_that_runs() -> None:
    site = Site().mesh("node1", "node2").established()
    first, second = site.controls["node1"], site.controls["node2"]
    first.tell(Originated(IPv4Network("10.9.0.0/16")))
    site.wait(0.1)
    assert site.learnt("node2") == {pods("node1"): ADDRESSES["node1"], "10.9.0.0/16": ADDRESSES["node1"]}
    first.tell(Withdrawn(IPv4Network("10.9.0.0/16")))
    first.tell(Withdrawn(IPv4Network(pods("node1"))))
    site.wait(0.1)
    assert site.learnt("node2") == {}
    first.tell(PeerRemoved(IPv4Address(ADDRESSES["node2"])))
    site.wait(0.1)
    assert site.learnt("node1") == {} and not second.established
    assert first.established  # nothing is wanted of it any more
    first.tell(PeerAdded(PeerSettings(IPv4Address(ADDRESSES["node2"]), NODE_AS)))
    assert not first.established
    site.established()
    assert site.learnt("node1") == {pods("node2"): ADDRESSES["node2"]}


def test_wishes_are_kept_for_a_daemon_that_does_not_run_yet() -> None:
    control = Control(SpeakerSettings(NODE_AS, IPv4Address("10.0.0.1")))
    peer = PeerSettings(IPv4Address("10.0.0.2"), NODE_AS)
    control.tell(PeerAdded(peer))
    control.tell(Originated(IPv4Network("10.9.0.0/16")))
    control.stop()
    assert (control.settings.peers, control.prefixes) == ((peer,), (IPv4Network("10.9.0.0/16"),))
    assert not control.established and control.waiting() == (peer,)


# --- next hops ---------------------------------------------------------------------------------------


def test_when_the_way_to_a_next_hop_is_gone_so_is_the_route_and_it_comes_back() -> None:
    site = Site().mesh("node1", "node3").established()
    (default,) = (e for e in entries() if isinstance(e, Route) and e.on == "node1")
    assert site.learnt("node1") == {pods("node3"): GATEWAYS["node1"]}
    site.plane.apply(Delta(remove=(default.key,)))
    site.wait(45.0)  # the ways are looked up again when a keepalive is due
    assert site.learnt("node1") == {} and site.controls["node1"].established
    site.plane.apply(Delta(put=(default,)))
    site.wait(45.0)
    assert site.learnt("node1") == {pods("node3"): GATEWAYS["node1"]}


def test_a_route_follows_when_the_way_to_its_next_hop_changes() -> None:
    site = Site().mesh("node1", "node3").established()
    (default,) = (e for e in entries() if isinstance(e, Route) and e.on == "node1")
    subnet = IPv4Network("192.168.20.0/24")
    detour = default._replace(destination=subnet, via=IPv4Address(ADDRESSES["node2"]))
    site.plane.apply(Delta(put=(detour,)))
    site.wait(45.0)
    assert site.learnt("node1") == {pods("node3"): ADDRESSES["node2"]}


def test_a_learnt_route_is_no_way_to_a_next_hop() -> None:
    """node3 announces a prefix that its own address is in: the way there stays what it was."""
    site = Site().mesh("node1", "node3").established()
    site.controls["node3"].tell(Originated(IPv4Network("192.168.20.0/25")))
    for _ in range(5):
        site.wait(25.0)
        assert site.learnt("node1") == {
            pods("node3"): GATEWAYS["node1"],
            "192.168.20.0/25": GATEWAYS["node1"],
        }
    assert site.controls["node1"].established

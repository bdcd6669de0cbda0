"""BGP speakers facing each other: who ends up with which routes, whatever the timing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from netsim.net.bgp.events import NextHopResolved, PeerAdded, Withdrawn
from netsim.net.bgp.settings import PeerSettings, Timers
from netsim.wire.bgp_attributes import render_path
from tests.net.bgp_network import PROMPT, Router, Site, mesh, originate_all, podcidr

CALICO = Timers()


def byte_by_byte(data: bytes) -> Sequence[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def everything_but_its_own(site: Site) -> dict[str, dict[str, str]]:
    """What each router of a mesh must have: all prefixes of the others via them, and nothing else."""
    routers = list(site.routers.values())
    return {
        str(one.address): {
            podcidr(number): str(other.address) for number, other in enumerate(routers, 1) if other is not one
        }
        for one in routers
    }


def tables(site: Site) -> dict[str, dict[str, str]]:
    return {str(router.address): router.routes for router in site.routers.values()}


def settled(site: Site, until: float) -> Site:
    """Run; every session must stand."""
    site.run(until)
    assert all(router.speaker.established for router in site.routers.values()), site.walk
    return site


# --- full mesh ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3, 8])
@pytest.mark.parametrize("pieces", [None, byte_by_byte], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("timers", [PROMPT, CALICO], ids=["at once", "after a delay"])
def test_a_mesh_learns_all_prefixes_and_nothing_else(
    count: int, pieces: Callable[[bytes], Sequence[bytes]] | None, timers: Timers
) -> None:
    site = mesh(count, timers=timers, pieces=pieces).start()
    originate_all(site)
    assert tables(settled(site, 6.0)) == everything_but_its_own(site), site.walk


def test_prefixes_announced_before_during_and_after_the_session_all_arrive() -> None:
    site = mesh(2)
    first, second = site["10.0.0.1"], site["10.0.0.2"]
    first.alive = True
    first.originate("10.1.0.0/16")  # before the start
    site.start()
    site.run(0.0015)
    first.originate("10.2.0.0/16")
    settled(site, 1.0)
    first.originate("10.3.0.0/16", "10.4.0.0/16")
    site.run(2.0)
    assert set(second.routes) == {"10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16", "10.4.0.0/16"}
    first.feed(Withdrawn(IPv4Network("10.2.0.0/16")))
    site.run(3.0)
    assert set(second.routes) == {"10.1.0.0/16", "10.3.0.0/16", "10.4.0.0/16"}


def test_many_prefixes_go_in_few_messages() -> None:
    site = mesh(2)
    site["10.0.0.1"].alive = True
    site["10.0.0.1"].originate(*(f"10.{n // 256}.{n % 256}.0/24" for n in range(5000)))
    settled(site.start(), 1.0)
    assert len(site["10.0.0.2"].table) == 5000
    assert site.walk.count("UPDATE") == 5  # 1,013 prefixes of four octets fit beside the attributes


def test_routes_of_a_process_that_died_are_gone_at_once_and_come_back_with_it() -> None:
    site = mesh(3).start()
    originate_all(site)
    settled(site, 1.0)
    site.kill("10.0.0.3")
    site.run(1.1)
    for address in ("10.0.0.1", "10.0.0.2"):
        assert podcidr(3) not in site[address].routes, site.walk
        assert len(site[address].routes) == 1
    site.revive("10.0.0.3").originate(podcidr(3))
    assert tables(settled(site, 20.0)) == everything_but_its_own(site), site.walk


def test_routes_of_a_machine_that_died_are_gone_after_the_hold_time() -> None:
    site = mesh(2).start()
    originate_all(site)
    settled(site, 1.0)
    last_word = site.sent_at[-1]
    site.kill("10.0.0.2", silently=True)
    site.run(last_word + 89.0)
    assert podcidr(2) in site["10.0.0.1"].routes
    site.run(last_word + 91.0)
    assert site["10.0.0.1"].routes == {}
    assert "NOTIFICATION Hold timer expired" in site.walk


def test_a_wire_that_is_cut_and_mended_costs_the_hold_time_and_no_more() -> None:
    site = mesh(2).start()
    originate_all(site)
    settled(site, 1.0)
    site.cut.add(frozenset((IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2"))))
    site.run(100.0)
    assert tables(site) == {"10.0.0.1": {}, "10.0.0.2": {}}
    site.cut.clear()
    assert tables(settled(site, 160.0)) == everything_but_its_own(site), site.walk


def test_a_router_that_stops_takes_its_routes_along_and_keeps_none() -> None:
    site = mesh(3).start()
    originate_all(site)
    settled(site, 1.0)
    site.stop("10.0.0.3")
    assert site["10.0.0.3"].routes == {}
    site.run(1.1)
    assert podcidr(3) not in site["10.0.0.1"].routes


def test_a_node_that_joins_is_told_everything() -> None:
    site = mesh(2).start()
    originate_all(site)
    settled(site, 1.0)
    peers = [PeerSettings(IPv4Address(f"10.0.0.{n}"), 64512) for n in (1, 2)]
    late = site.router("10.0.0.3", 64512, peers, timers=PROMPT)
    site.start("10.0.0.3")
    for number in (1, 2):
        site[f"10.0.0.{number}"].feed(PeerAdded(PeerSettings(late.address, 64512)))
    late.originate(podcidr(3))
    assert tables(settled(site, 20.0)) == everything_but_its_own(site), site.walk


@settings(max_examples=40)
@given(count=st.integers(2, 5), data=st.data())
def test_whatever_the_timing_sessions_stand_and_tables_agree(count: int, data: st.DataObject) -> None:
    """Latencies of every wire and direction, times of starting and of announcing, sizes of pieces."""
    delays = st.sampled_from([0.0, 0.0005, 0.001, 0.002, 0.3, 4.0])
    size = data.draw(st.sampled_from([1, 7, 19, 4096]))
    site = mesh(count, pieces=lambda piece: [piece[n : n + size] for n in range(0, len(piece), size)])
    wires = {(a, b): data.draw(delays) for a in site.routers for b in site.routers}
    site.latency = lambda a, b: wires[a.address, b.address]
    for number, router in enumerate(list(site.routers.values()), 1):
        site.call(data.draw(delays), lambda router=router: site.start(str(router.address)))
        site.call(
            data.draw(st.sampled_from([0.0, 0.01, 5.0])) + 4.0,
            lambda router=router, number=number: router.originate(podcidr(number)),
        )
    site.run(120.0)
    note(site.walk)
    assert all(router.speaker.established for router in site.routers.values())
    assert tables(site) == everything_but_its_own(site)


@settings(max_examples=30)
@given(data=st.data())
def test_whatever_dies_and_comes_back_tables_agree_in_the_end(data: st.DataObject) -> None:
    site = mesh(3).start()
    originate_all(site)
    site.run(1.0)
    alive = set(range(1, 4))
    now = 1.0
    for _ in range(data.draw(st.integers(1, 6))):
        number = data.draw(st.integers(1, 3))
        address = f"10.0.0.{number}"
        if number in alive:
            site.kill(address, silently=data.draw(st.booleans()))
            alive.discard(number)
        else:
            site.revive(address).originate(podcidr(number))
            alive.add(number)
        now += data.draw(st.sampled_from([0.0005, 0.002, 1.0, 20.0, 95.0]))
        site.run(now)
    site.run(now + 400.0)
    note(site.walk)
    for router in site.routers.values():
        number = int(str(router.address).rpartition(".")[2])
        if number in alive:
            others = {podcidr(n): f"10.0.0.{n}" for n in sorted(alive - {number})}
            assert router.routes == others, router.address


def test_the_same_seed_gives_the_same_conversation() -> None:
    walks = []
    for _ in range(2):
        site = mesh(5, timers=CALICO).start()
        originate_all(site)
        walks.append(settled(site, 60.0).walk)
    assert walks[0] == walks[1] and "KEEPALIVE" in walks[0]


# --- route reflection --------------------------------------------------------------------------------


def reflected(*, clients: int, others: int) -> Site:
    """10.0.0.100 reflects to clients 10.0.0.1 and on; the others, from 10.0.0.50 on, are no clients."""
    site = Site()
    reflector = IPv4Address("10.0.0.100")
    leaves = [IPv4Address(f"10.0.0.{n}") for n in range(1, clients + 1)]
    plain = [IPv4Address(f"10.0.0.{50 + n}") for n in range(others)]
    peers = [PeerSettings(address, 64512, client=True) for address in leaves]
    peers += [PeerSettings(address, 64512) for address in plain]
    site.router(str(reflector), 64512, peers, timers=PROMPT)
    for address in (*leaves, *plain):
        site.router(str(address), 64512, [PeerSettings(reflector, 64512)], timers=PROMPT)
    site.start()
    for address in (*leaves, *plain):
        site[str(address)].originate(f"10.244.{int(address) & 255}.0/24")
    return settled(site, 2.0)


def test_a_reflector_passes_routes_on_between_clients_with_their_own_next_hops() -> None:
    site = reflected(clients=4, others=0)
    for number in range(1, 5):
        assert site[f"10.0.0.{number}"].routes == {
            podcidr(other): f"10.0.0.{other}" for other in range(1, 5) if other != number
        }


def test_it_passes_nothing_on_between_those_who_are_no_clients() -> None:
    site = reflected(clients=1, others=2)
    assert site["10.0.0.1"].routes == {podcidr(50): "10.0.0.50", podcidr(51): "10.0.0.51"}
    assert site["10.0.0.50"].routes == {podcidr(1): "10.0.0.1"}


def test_reflected_routes_say_where_they_began_and_who_reflected_them() -> None:
    rib = reflected(clients=2, others=0)["10.0.0.1"].speaker.rib
    (path,) = [path for prefix in rib.prefixes() for path in rib.paths(prefix) if not path.local]
    assert path.attributes.originator_id == IPv4Address("10.0.0.2").packed
    assert path.attributes.cluster_list == (IPv4Address("10.0.0.100").packed,)


def paths_at(site: Site, address: str, prefix: str) -> list[str]:
    """AS paths of the routes that a router holds."""
    rib = site[address].speaker.rib
    (key,) = [found for found in rib.prefixes() if str(found) == prefix]
    return [render_path(path.attributes.as_path or ()) for path in rib.paths(key)]


def test_two_reflectors_that_serve_the_same_clients_do_not_echo_each_other() -> None:
    site = Site()
    reflectors = ["10.0.0.100", "10.0.0.101"]
    clients = ["10.0.0.1", "10.0.0.2"]
    cluster = IPv4Address("1.1.1.1")
    for one, other in (reflectors, reflectors[::-1]):
        peers = [PeerSettings(IPv4Address(c), 64512, client=True) for c in clients]
        peers.append(PeerSettings(IPv4Address(other), 64512))
        site.router(one, 64512, peers, timers=PROMPT, cluster_id=cluster)
    for client in clients:
        site.router(client, 64512, [PeerSettings(IPv4Address(r), 64512) for r in reflectors], timers=PROMPT)
    site.start()
    site["10.0.0.1"].originate(podcidr(1))
    settled(site, 2.0)
    assert site["10.0.0.2"].routes == {podcidr(1): "10.0.0.1"}
    rib = site["10.0.0.101"].speaker.rib
    assert len(rib.adj_in[IPv4Address("10.0.0.100").packed]) == 0  # its cluster is in the list
    assert len(rib.adj_in[IPv4Address("10.0.0.1").packed]) == 1
    site.kill("10.0.0.1")
    site.run(3.0)
    assert site["10.0.0.2"].routes == {}, site.walk


# --- racks -------------------------------------------------------------------------------------------


def racks(*, node_as: int = 64512, allowed: int = 1) -> Site:
    """Two rack routers in ASes of their own, two nodes of one AS under each, eBGP everywhere.

    The routers have a wire between them, on which they are 10.0.0.1 and 10.0.0.2.
    """
    site = Site()
    between = {"10.0.1.254": IPv4Address("10.0.0.1"), "10.0.2.254": IPv4Address("10.0.0.2")}
    site.local = lambda router, peer: (
        between.get(str(router.address), router.address) if str(peer.address) in between else router.address
    )
    tors = {"10.0.1.254": (65001, "10.0.1"), "10.0.2.254": (65002, "10.0.2")}
    for address, (asn, rack) in tors.items():
        (other,) = [tor for tor in tors if tor != address]
        peers = [PeerSettings(IPv4Address(f"{rack}.{n}"), node_as) for n in (1, 2)]
        peers.append(PeerSettings(IPv4Address(other), tors[other][0]))
        site.router(address, asn, peers, timers=PROMPT)
        for n in (1, 2):
            up = PeerSettings(IPv4Address(address), asn, own_as_allowed=allowed)
            site.router(f"{rack}.{n}", node_as, [up], timers=PROMPT)
    site.start()
    for rack in (1, 2):
        for n in (1, 2):
            site[f"10.0.{rack}.{n}"].originate(podcidr(10 * rack + n))
    return settled(site, 3.0)


def test_rack_routers_carry_routes_between_racks() -> None:
    site = racks()
    assert site["10.0.1.1"].routes == {
        podcidr(12): "10.0.1.2",  # on the same wire, so the router is not in between
        podcidr(21): "10.0.1.254",
        podcidr(22): "10.0.1.254",
    }
    assert site["10.0.1.254"].routes == {
        podcidr(11): "10.0.1.1",
        podcidr(12): "10.0.1.2",
        podcidr(21): "10.0.0.2",
        podcidr(22): "10.0.0.2",
    }
    assert paths_at(site, "10.0.1.1", podcidr(21)) == ["65001 65002 64512"]


def test_nodes_of_one_as_refuse_each_others_routes_unless_allowed() -> None:
    site = racks(allowed=0)
    assert site["10.0.1.1"].routes == {}
    assert len(site["10.0.1.254"].routes) == 4


def test_when_the_wire_between_racks_breaks_only_the_own_rack_is_left() -> None:
    site = racks()
    site.cut.add(frozenset((IPv4Address("10.0.1.254"), IPv4Address("10.0.2.254"))))
    site.run(100.0)
    assert site["10.0.1.1"].routes == {podcidr(12): "10.0.1.2"}
    site.cut.clear()
    settled(site, 200.0)
    assert len(site["10.0.1.1"].routes) == 3


def test_internal_peers_hear_external_routes_with_their_next_hop_or_with_the_speakers_own() -> None:
    for next_hop_self, via in ((False, "10.0.9.9"), (True, "10.0.0.1")):
        site = Site()
        outside = PeerSettings(IPv4Address("10.0.9.9"), 65009)
        inside = PeerSettings(IPv4Address("10.0.0.2"), 64512, next_hop_self=next_hop_self)
        site.router("10.0.0.1", 64512, [outside, inside], timers=PROMPT)
        site.router("10.0.0.2", 64512, [PeerSettings(IPv4Address("10.0.0.1"), 64512)], timers=PROMPT)
        site.router("10.0.9.9", 65009, [PeerSettings(IPv4Address("10.0.0.1"), 64512)], timers=PROMPT)
        site.start()
        site["10.0.9.9"].originate("10.99.0.0/16")
        settled(site, 2.0)
        assert site["10.0.0.2"].routes == {"10.99.0.0/16": via}


# --- a choice of ways --------------------------------------------------------------------------------


def diamond() -> tuple[Site, Router]:
    """AS 1 hears of AS 4's prefix from AS 2, and from AS 3 behind which is one AS more."""
    site = Site()
    links = {1: (2, 3), 2: (1, 4), 3: (1, 5), 4: (2, 5), 5: (3, 4)}
    for one, others in links.items():
        peers = [PeerSettings(IPv4Address(f"10.0.0.{other}"), other, next_hop_self=True) for other in others]
        site.router(f"10.0.0.{one}", one, peers, timers=PROMPT)
    site.start()
    site["10.0.0.4"].originate("10.99.0.0/16")
    return settled(site, 3.0), site["10.0.0.1"]


def test_the_shorter_way_is_taken_and_the_longer_one_when_it_breaks() -> None:
    site, chooser = diamond()
    assert chooser.routes == {"10.99.0.0/16": "10.0.0.2"}
    assert paths_at(site, "10.0.0.1", "10.99.0.0/16") == ["2 4", "3 5 4"]
    site.kill("10.0.0.2")
    site.run(4.0)
    assert chooser.routes == {"10.99.0.0/16": "10.0.0.3"}
    site.revive("10.0.0.2")
    settled(site, 60.0)
    assert chooser.routes == {"10.99.0.0/16": "10.0.0.2"}


def test_a_next_hop_that_cannot_be_reached_turns_the_choice() -> None:
    site, chooser = diamond()
    chooser.feed(NextHopResolved(IPv4Address("10.0.0.2"), None))
    assert chooser.routes == {"10.99.0.0/16": "10.0.0.3"}
    chooser.feed(NextHopResolved(IPv4Address("10.0.0.3"), None))
    assert chooser.routes == {}
    chooser.feed(NextHopResolved(IPv4Address("10.0.0.2"), 10))
    assert chooser.routes == {"10.99.0.0/16": "10.0.0.2"}
    chooser.feed(NextHopResolved(IPv4Address("10.0.0.2"), 10))
    assert chooser.routes == {"10.99.0.0/16": "10.0.0.2"}
    assert site.now == 3.0

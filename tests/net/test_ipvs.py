"""IPVS on a host, from outside: who answers in which order, what is refused, and what ``ipvsadm`` prints."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.net.ipvs import (
    NEXT,
    TCP_TIMEOUTS,
    ServerRow,
    ServiceRow,
    State,
    render_ipvsadm,
    render_ipvsadm_connections,
    render_ipvsadm_stats,
)
from netsim.net.ipvs_schedulers import Counted
from netsim.plan.entries import (
    NODES,
    Action,
    Affinity,
    Hook,
    HostName,
    LocalAddresses,
    Masquerade,
    Match,
    Schedule,
    Sysctl,
    VirtualServer,
)
from netsim.programs.host import Endpoint
from netsim.wire import ipv4, tcp
from tests.conftest import Golden
from tests.net.network import (
    CAUSE,
    OWNER,
    SERVICE,
    Network,
    backend_of,
    one_node,
    through_a_router,
    two_nodes,
)
from tests.net.test_ip import inject

VIP, DUMMY = "10.96.0.20", "kube-ipvs0"
PODS = {"p": "10.244.1.2", "q": "10.244.1.3", "r": "10.244.1.4"}
MINUTE = 60.0


def balanced(
    names: str = "qr", *, schedule: Schedule = Schedule.RR, net: Network | None = None, drain: float = MINUTE
) -> Network:
    """A node whose Pods of these names serve 10.96.0.20:80, listed in this order; the Pod p is a client."""
    net = net or one_node()
    for name in PODS:
        net.serve(name, 8080)
    net.shared(DUMMY, VIP)
    listed(net, names, schedule=schedule, drain=drain)
    return net


def listed(
    net: Network, names: Iterable[str], *, schedule: Schedule = Schedule.RR, drain: float = MINUTE
) -> None:
    """Put the virtual server; what is new goes to the head of the list, the last of it first."""
    backends = [f"{PODS[name[0]]}:8080{name[1:]}" for name in reversed(list(names))]
    net.service(SERVICE, backends, schedule=schedule, drain=drain)


def asked(net: Network, count: int, client: str = "p", target: str = SERVICE) -> str:
    """Who answered, connection by connection."""
    return "".join(net.ask(client, target)[0] for _ in range(count))


def row(net: Network, node: str = "node", target: str = SERVICE) -> dict[str, ServerRow]:
    """The servers of a virtual service, by the name of their Pod, in the order of the kernel's list."""
    names = {IPv4Address(address).packed: name for name, address in PODS.items()}
    return {names[server.address]: server for server in service_row(net, node, target).servers}


def service_row(net: Network, node: str = "node", target: str = SERVICE) -> ServiceRow:
    (found,) = (
        service
        for service in net.plane.virtual_services(HostName(node))
        if f"{IPv4Address(service.address)}:{service.port}" == target
    )
    return found


# --- order -----------------------------------------------------------------------------------------------


def test_round_robin_is_exact_and_each_host_has_its_own_place() -> None:
    net = balanced("pqr")
    assert asked(net, 7) == "pqrpqrp"
    assert asked(net, 4, "node") == "qrpq", "the Pod's node is the same host"
    other = balanced("pqr", net=two_nodes_with_pods())
    assert asked(other, 2, "p") == "pq"
    assert asked(other, 2, "s") == "pq", "another node has not been asked before"


def two_nodes_with_pods() -> Network:
    net = two_nodes()
    net.host("r")
    net.interface("n1/veth-r", master="cni0", hairpin=True)
    net.wire("r/eth0", "n1/veth-r")
    net.address("r/eth0", "10.244.1.4/24")
    net.route("r", "default", "eth0", "10.244.1.1")
    return net


def test_a_new_server_goes_to_the_head_of_the_list_and_round_robin_goes_on() -> None:
    net = balanced("qr")
    assert asked(net, 1) == "q"
    listed(net, "pqr")
    assert list(row(net)) == ["p", "q", "r"]
    assert asked(net, 4) == "rpqr"


def test_servers_that_came_together_are_listed_the_last_one_first() -> None:
    net = one_node()
    net.shared(DUMMY, VIP)
    net.service(SERVICE, [f"{address}:8080" for address in PODS.values()], schedule=Schedule.RR)
    assert list(row(net)) == ["r", "q", "p"]


def test_weights_give_shares() -> None:
    assert asked(balanced(["p*3", "q*1"], schedule=Schedule.WRR), 8) == "pppqpppq"


def test_the_least_connections_count_what_is_open() -> None:
    net = balanced("qr", schedule=Schedule.LC)
    host = net.programs("p")
    streams = [net.run(host.connect(Endpoint(IPv4Address(VIP), 80))) for _ in range(3)]
    assert {name: server.active for name, server in row(net).items()} == {"q": 2, "r": 1}
    streams[0].close()
    streams[2].close()
    net.wait(1.0)
    assert {name: (s.active, s.inactive) for name, s in row(net).items()} == {"q": (0, 2), "r": (1, 0)}
    assert asked(net, 1) == "q", "an inactive connection weighs a 256th of an active one"


@pytest.mark.parametrize("schedule", [Schedule.SH, Schedule.DH])
def test_hashing_sends_a_client_to_one_server(schedule: Schedule) -> None:
    assert len(set(asked(balanced("pqr", schedule=schedule), 6, "node"))) == 1


def test_a_packet_says_how_its_server_was_picked() -> None:
    net = balanced("qr")
    asked(net, 2)
    assert (
        "svc 10.96.0.20:80 (10.96.0.20:80) -> 10.244.1.4:8080, IPVS rr: 2nd of 2: "
        "10.244.1.3:8080, 10.244.1.4:8080"
    ) in net.reasons()


# --- the way of a packet ---------------------------------------------------------------------------------


def test_a_pod_is_seen_as_itself_and_the_reply_comes_from_the_virtual_address() -> None:
    net = balanced("q")
    assert net.ask("p", SERVICE).startswith("q sees 10.244.1.2:")
    answers = [packet for packet in net.packets("p/eth0", outbound=False) if packet.protocol == ipv4.TCP]
    assert {str(IPv4Address(packet.source)) for packet in answers} == {VIP}


def test_the_node_itself_is_masqueraded_from_the_virtual_address_that_it_would_have() -> None:
    net = balanced("q")
    assert net.ask("node", SERVICE).startswith("q sees 10.244.1.1:")


def test_a_server_reaches_itself_by_hairpin() -> None:
    net = balanced("p")
    assert net.ask("p", SERVICE).startswith("p sees 10.244.1.1:")
    assert "hairpin: the endpoint is the client itself" in net.reasons()


def test_a_server_on_another_node_is_reached_through_the_tunnel() -> None:
    net = two_nodes()
    net.serve("s", 8080)
    net.shared(DUMMY, VIP)
    net.service(SERVICE, ["10.244.2.2:8080"], schedule=Schedule.RR)
    assert net.ask("p", SERVICE).startswith("s sees 10.244.1.2:")
    assert net.ask("n1", SERVICE).startswith("s sees 10.244.1.0:")


def test_a_server_on_the_host_itself_is_served_there() -> None:
    net = balanced("q")
    net.serve("node", 6443)
    net.service(SERVICE, ["10.244.1.1:6443"], schedule=Schedule.RR)
    assert net.ask("p", SERVICE).startswith("node sees 10.244.1.2:")


def balanced_dns() -> Network:
    """As ``balanced``, over UDP and with port 53."""
    net = one_node()
    net.shared(DUMMY, VIP)
    for name in "qr":
        net.serve(name, 53, protocol=ipv4.UDP)
    backends = [f"{PODS[name]}:53" for name in "rq"]
    net.service(f"{VIP}:53", backends, protocol=ipv4.UDP, schedule=Schedule.RR)
    return net


def test_udp_is_balanced_datagram_by_datagram_of_new_ports() -> None:
    net = balanced_dns()
    assert "".join(net.ask_udp("p", f"{VIP}:53")[0] for _ in range(4)) == "qrqr"
    assert "".join(net.ask_udp("p", f"{VIP}:53", port=4000)[0] for _ in range(3)) == "qqq"
    net.wait(310.0)
    assert net.ask_udp("p", f"{VIP}:53", port=4000)[0] == "r", "after 300 s of silence it is a new one"


# --- what is refused -------------------------------------------------------------------------------------


def test_a_service_without_servers_is_refused_by_its_own_address() -> None:
    net = balanced("")
    assert net.ask("p", SERVICE) == "refused"
    assert net.ask("node", SERVICE) == "refused"
    errors = [packet for packet in net.packets("p/eth0", outbound=False) if packet.protocol == ipv4.ICMP]
    assert {str(IPv4Address(packet.source)) for packet in errors} == {VIP}


def guarded(net: Network) -> Network:
    net.rule(NODES, Hook.INPUT, Action.REJECT, Match(unserved_on=DUMMY), name="guard")
    return net


@pytest.mark.parametrize("client", ["p", "node"])
def test_without_a_guard_a_virtual_address_answers_as_the_host(client: str) -> None:
    net = balanced("q")
    net.serve("node", 22)
    assert net.ping(client, VIP) == f"reply from {VIP}"
    assert net.ask(client, f"{VIP}:22").startswith("node sees")


@pytest.mark.parametrize("client", ["p", "node"])
def test_a_guard_rejects_what_no_virtual_server_takes(client: str) -> None:
    net = guarded(balanced("q"))
    net.serve("node", 22)
    assert net.ask(client, f"{VIP}:22") == "refused"
    assert net.ask_udp(client, f"{VIP}:80") == "refused"
    assert net.ping(client, VIP).endswith(f"from {VIP}")
    assert not net.ping(client, VIP).startswith("reply")
    assert net.ask(client, SERVICE)[0] == "q"
    assert net.ask("p", "10.244.1.1:22").startswith("node sees"), "the host's own addresses are not guarded"


def test_a_node_port_is_at_the_hosts_own_addresses_and_not_at_shared_ones_or_the_loopback() -> None:
    net = balanced("q")
    net.put(
        VirtualServer(
            NODES, ipv4.TCP, LocalAddresses(), 30001, "svc", (backend_of(f"{PODS['q']}:8080"),), OWNER, CAUSE,
            Schedule.RR, masquerade=Masquerade.ALWAYS,
        )
    )  # fmt: skip
    assert net.ask("p", "10.244.1.1:30001").startswith("q sees 10.244.1.1:")
    assert net.ask("p", f"{VIP}:30001") == "refused"
    assert net.ask("node", "127.0.0.1:30001") == "refused"
    ports = {str(IPv4Address(s.address)) for s in net.plane.virtual_services(HostName("node")) if s.port > 80}
    assert ports == {"10.244.1.1"}


# --- connections -----------------------------------------------------------------------------------------


def test_a_server_that_is_taken_away_keeps_its_connections_and_gets_no_new_ones() -> None:
    net = balanced("qr")
    host = net.programs("p")
    stream = net.run(host.connect(Endpoint(IPv4Address(VIP), 80)))
    listed(net, "r")
    assert asked(net, 3) == "rrr"
    left = row(net)["q"]._replace(counted=Counted())
    assert left == ServerRow(IPv4Address(PODS["q"]).packed, 8080, 0, 1, 0)

    async def goes_on() -> bytes:
        await stream.write(b"who")
        return await stream.read()

    assert net.run(goes_on()).startswith(b"q sees")
    stream.close()
    net.wait(TCP_TIMEOUTS[State.TIME_WAIT] + 2 * MINUTE)
    assert set(row(net)) == {"r"}, "looked at each minute, and deleted when it has no connection left"


def test_a_server_without_connections_is_deleted_at_once() -> None:
    net = balanced("qr")
    assert asked(net, 1) == "q"
    net.wait(400.0)
    listed(net, "r")
    assert set(row(net)) == {"r"}


def test_without_draining_a_deleted_servers_connection_goes_with_it() -> None:
    net = one_node()
    net.shared(DUMMY, VIP)
    for name in "qr":
        net.serve(name, 53, protocol=ipv4.UDP)
    target = f"{VIP}:53"
    net.service(target, [f"{PODS['q']}:53"], protocol=ipv4.UDP, schedule=Schedule.RR)
    assert net.ask_udp("p", target, port=4000)[0] == "q"
    net.service(target, [f"{PODS['r']}:53"], protocol=ipv4.UDP, schedule=Schedule.RR)
    assert net.ask_udp("p", target, port=4000)[0] == "r"


def connections(net: Network) -> list[str]:
    """``ipvsadm -Lnc``, without the ports of clients."""
    rows = net.plane.virtual_connections(HostName("node"))
    return [
        re.sub(r"(?<=:)[1-6]\d{4} *", "* ", line) for line in render_ipvsadm_connections(rows).splitlines()
    ]


def test_connections_are_printed_as_ipvsadm_prints_them() -> None:
    net = balanced("q")
    assert connections(net) == [
        "IPVS connection entries",
        "pro expire state       source             virtual            destination",
    ]
    stream = net.run(net.programs("p").connect(Endpoint(IPv4Address(VIP), 80)))
    net.wait(20.0)
    assert connections(net)[2:] == ["TCP 14:40  ESTABLISHED 10.244.1.2:* 10.96.0.20:80      10.244.1.3:8080"]
    stream.close()
    net.wait(10.0)
    assert [line.split()[2] for line in connections(net)[2:]] == ["TIME_WAIT"]


def test_udp_has_no_states_and_what_is_remembered_of_a_client_no_port() -> None:
    net = balanced_dns()
    net.change(("virtual", NODES, "17", VIP, "53"), affinity=Affinity(600.0))
    net.ask_udp("p", f"{VIP}:53", port=40000)
    net.wait(9.5)
    rows = [line.split() for line in connections(net)[2:]]
    assert [(row[1], row[2], row[3]) for row in rows] == [
        ("04:50", "UDP", "10.244.1.2:*"),
        ("09:50", "ASSURED", "10.244.1.2:0"),
    ]


def test_what_is_gone_is_gone_for_a_reader_of_tables_too() -> None:
    net = balanced("q", drain=0.0)
    assert asked(net, 1) == "q"
    listed(net, "r", drain=0.0)
    assert [f for f in net.plane.flows(HostName("node")) if f.original.destination_port == 80]
    assert set(row(net)) == {"r"}
    assert not [f for f in net.plane.flows(HostName("node")) if f.original.destination_port == 80]


def test_a_flow_that_was_there_before_its_service_is_served_once_there_is_one() -> None:
    net = one_node()
    net.route("node", "default", "cni0")
    net.serve("q", 53, protocol=ipv4.UDP)
    target = f"{VIP}:53"
    net.service("10.96.0.99:53", [f"{PODS['q']}:53"], protocol=ipv4.UDP, schedule=Schedule.RR)
    assert net.ask_udp("p", target, port=4000) in ("timeout", "No route to host")
    net.shared(DUMMY, VIP)
    net.service(target, [f"{PODS['q']}:53"], protocol=ipv4.UDP, schedule=Schedule.RR)
    assert net.ask_udp("p", target, port=4000).startswith("q sees")


def test_a_port_that_is_used_again_while_its_server_leaves_costs_one_syn() -> None:
    net = balanced("q")
    stream = net.run(net.programs("p").connect(Endpoint(IPv4Address(VIP), 80)))
    client, service = IPv4Address(PODS["p"]).packed, IPv4Address(VIP).packed
    segment = tcp.build(client, service, tcp.Tcp(stream.local.port, 80, 1, 0, tcp.SYN, 1000))
    net.wait(1.0)
    listed(net, "r")

    def server_after_a_syn() -> list[str]:
        inject(net, "node/veth-p", ipv4.build(client, service, ipv4.TCP, segment), to="node/cni0")
        flows = net.plane.flows(HostName("node"))
        return [str(IPv4Address(f.reply.source)) for f in flows if f.original.destination_port == 80]

    assert server_after_a_syn() == []
    assert server_after_a_syn() == [PODS["r"]]


def test_an_idle_connection_is_forgotten_after_fifteen_minutes_and_then_reset() -> None:
    net = balanced("q")
    host = net.programs("p")
    stream = net.run(host.connect(Endpoint(IPv4Address(VIP), 80)))
    net.wait(TCP_TIMEOUTS[State.ESTABLISHED] + 1)
    assert row(net)["q"].active == 0
    assert not [f for f in net.plane.flows(HostName("node")) if f.original.destination_port == 80]

    async def ask() -> None:
        await stream.write(b"who")
        await stream.read(timeout=5.0)

    with pytest.raises(ConnectionResetError):
        net.run(ask())


def test_a_connection_of_a_service_that_is_gone_goes_nowhere() -> None:
    net = balanced("q")
    host = net.programs("p")
    stream = net.run(host.connect(Endpoint(IPv4Address(VIP), 80)))
    net.remove(("virtual", NODES, "6", VIP, "80"), ("shared-address", NODES, DUMMY, VIP))

    async def ask() -> None:
        await stream.write(b"who")
        await stream.read(timeout=5.0)

    with pytest.raises(OSError):
        net.run(ask())


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("reply", [False, True])
@pytest.mark.parametrize("flag", [0x01, 0x02, 0x04, 0x10])
def test_every_state_has_a_next_one_for_every_flag(state: State, reply: bool, flag: int) -> None:
    assert isinstance(NEXT[state, reply, flag], State)


@given(st.lists(st.sampled_from(["open", "close", "ask", "wait", "q", "r", "qr", "pqr", ""]), max_size=12))
def test_connections_are_counted_where_they_are_and_never_below_zero(steps: list[str]) -> None:
    net = balanced("qr")
    host = net.programs("p")
    streams = []
    for step in steps:
        match step:
            case "open":
                try:
                    streams.append(net.run(host.connect(Endpoint(IPv4Address(VIP), 80))))
                except OSError:
                    continue
            case "close" if streams:
                streams.pop(0).close()
            case "ask":
                net.ask("p", SERVICE)
            case "wait" | "close":
                net.wait(70.0)
            case _:
                listed(net, step)
        rows = row(net).values()
        assert all(server.active >= 0 and server.inactive >= 0 for server in rows)
    net.wait(10_000.0)
    assert all(server.active == server.inactive == 0 for server in row(net).values())
    assert all(server.weight == 1 for server in row(net).values())


# --- what is counted -------------------------------------------------------------------------------------


def test_datagrams_are_counted_both_ways_with_their_ip_header() -> None:
    net = balanced_dns()
    asks = [net.ask_udp("p", f"{VIP}:53", port=port) for port in (4000, 4000, 4001)]
    replies = [28 + len(reply) for reply in asks]
    question = service_row(net, target=f"{VIP}:53").counted.in_bytes // 3
    assert question > 28
    assert {name: server.counted for name, server in row(net, target=f"{VIP}:53").items()} == {
        "q": Counted(1, 2, 2, 2 * question, replies[0] + replies[1]),
        "r": Counted(1, 1, 1, question, replies[2]),
    }
    assert service_row(net, target=f"{VIP}:53").counted == Counted(2, 3, 3, 3 * question, sum(replies))


def test_an_icmp_error_counts_as_what_the_side_that_sent_it_has_sent() -> None:
    net = balanced("q")
    net.service(f"{VIP}:53", [f"{PODS['q']}:53"], protocol=ipv4.UDP, schedule=Schedule.RR)
    assert "refused" in net.ask_udp("p", f"{VIP}:53").lower()
    error = next(p for p in net.packets("q/eth0", outbound=True) if p.protocol == ipv4.ICMP)
    assert service_row(net, target=f"{VIP}:53").counted == Counted(1, 1, 1, 31, 20 + len(error.payload))


def test_nothing_is_counted_of_a_service_that_nobody_asked_for() -> None:
    net = balanced("qr")
    net.wait(1.0)
    assert service_row(net).counted == Counted()


def test_a_deleted_server_takes_its_numbers_with_it_and_the_service_keeps_them() -> None:
    net = balanced("qr")
    assert asked(net, 3) == "qrq"
    net.wait(200.0)
    before = service_row(net).counted
    listed(net, "r")
    net.wait(70.0)
    assert list(row(net)) == ["r"]
    assert (before.connections, row(net)["r"].counted.connections) == (3, 1)
    assert service_row(net).counted == before


@given(st.lists(st.sampled_from(["p", "q", "node"]), max_size=8), st.sampled_from(list(Schedule)[1:]))
def test_what_the_servers_counted_sums_up_to_the_service_and_to_the_connections_made(
    clients: list[str], schedule: Schedule
) -> None:
    net = balanced("pqr", schedule=schedule)
    answers = "".join(asked(net, 1, client) for client in clients)
    net.wait(1.0)
    counted = {name: server.counted for name, server in row(net).items()}
    assert {name: each.connections for name, each in counted.items()} == {
        name: answers.count(name) for name in "pqr"
    }
    total = Counted(*(sum(column) for column in zip(*counted.values(), strict=True)))
    assert service_row(net).counted == total
    assert total.in_packets >= 4 * len(clients), "SYN, the question, FIN, and an ACK at least"


# --- announcing ------------------------------------------------------------------------------------------


def test_a_host_answers_arp_for_shared_addresses_unless_it_is_strict() -> None:
    def answered(*sysctls: str) -> str:
        net = through_a_router()
        net.shared(DUMMY, "10.0.0.77")
        net.put(*(Sysctl(NODES, name, 1, OWNER, CAUSE) for name in sysctls))
        return net.ping("a", "10.0.0.77")

    assert answered() == "reply from 10.0.0.77"
    assert not answered("arp_ignore", "arp_announce").startswith("reply")


def test_a_host_that_nothing_has_reached_yet_answers_arp_for_shared_addresses() -> None:
    net = through_a_router()
    net.shared(DUMMY, "10.0.0.77")
    assert net.plane._rows[HostName("router")].stack is None
    assert net.ping("a", "10.0.0.77") == "reply from 10.0.0.77"


# --- text ------------------------------------------------------------------------------------------------


def test_ipvsadm_sorts_services_and_servers_by_address(golden: Golden) -> None:
    def server(last: int, weight: int = 1, active: int = 0, inactive: int = 0) -> ServerRow:
        return ServerRow(bytes([10, 244, 1, last]), 8080, weight, active, inactive)

    rows = [
        ServiceRow(17, bytes([10, 96, 0, 10]), 53, "rr", "", (server(9), server(10, 1, 0, 12))),
        ServiceRow(6, bytes([10, 96, 0, 200]), 80, "mh", "mh-port", (server(3, 0, 2, 1), server(2))),
        ServiceRow(6, bytes([10, 96, 0, 20]), 80, "wrr", "", ()),
        ServiceRow(132, bytes([10, 96, 0, 20]), 9, "rr", "", (server(2),)),
    ]
    golden("ipvsadm.txt", render_ipvsadm(rows))


def test_large_numbers_are_cut_off_where_they_no_longer_fit(golden: Golden) -> None:
    def server(*numbers: int) -> ServerRow:
        return ServerRow(bytes([10, 244, 1, 2]), numbers[0], 1, 0, 0, Counted(*numbers))

    servers = (
        server(1, 10**8 - 1, 10**8, 10**9 - 1, 10**9),
        server(2, 10**11 - 1, 10**11, 10**14 - 1, 10**14),
    )
    long = ServiceRow(6, bytes([192, 168, 100, 100]), 30080, "rr", "", servers, 0, Counted(3, 4, 5, 6, 7))
    golden("ipvsadm-stats.txt", render_ipvsadm_stats([long, long._replace(protocol=17, servers=())]))

"""Services, NAT and filtering, from outside: who answers, whom the server sees, what a refusal looks like."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.base.rng import Rng
from netsim.net import conntrack
from netsim.plan.entries import NODES, Action, Hook, HostName, Match
from netsim.programs.host import Endpoint
from netsim.wire import icmp, ipv4, tcp, udp
from tests.net.network import (
    POD_SUBNET,
    SERVICE,
    Network,
    endpoint,
    mac_of,
    one_node,
    through_a_router,
    two_nodes,
)
from tests.net.test_ip import inject

VIP = bytes([10, 96, 0, 20])
OUTSIDE = "203.0.113.1"


def with_outside(net: Network, node: str = "node") -> Network:
    """A host ``out`` 203.0.113.1 that knows no Pod network, behind the node's eth9."""
    net.host("out")
    net.wire("out/eth0", f"{node}/eth9")
    net.address("out/eth0", f"{OUTSIDE}/24")
    net.address(f"{node}/eth9", "203.0.113.254/24")
    return net


def masquerading(net: Network) -> Network:
    net.rule(
        NODES, Hook.POSTROUTING, Action.MASQUERADE,
        Match(source=POD_SUBNET, not_destination=POD_SUBNET), name="nat-outgoing",
    )  # fmt: skip
    return net


# --- choosing a backend ----------------------------------------------------------------------------------


def test_backends_are_chosen_at_random_and_evenly() -> None:
    net = one_node()
    net.route("node", "default", "cni0")
    names = {"p": "10.244.1.2", "q": "10.244.1.3", "r": "10.244.1.4"}
    for name in names:
        net.serve(name, 8080)
    net.service(SERVICE, [f"{address}:8080" for address in names.values()])
    picked = Counter(net.ask("node", SERVICE)[0] for _ in range(300))
    expected = 300 / 3
    chi_square = sum((count - expected) ** 2 / expected for count in picked.values())
    assert set(picked) == set(names) and chi_square < 13.8, picked  # 99.9 % of 2 degrees of freedom


def test_one_seed_gives_one_choice_and_another_seed_another() -> None:
    def choices(seed: int) -> str:
        net = one_node(seed=seed)
        for name in ("q", "r"):
            net.serve(name, 8080)
        net.service(SERVICE, ["10.244.1.3:8080", "10.244.1.4:8080"])
        return "".join(net.ask("p", SERVICE)[0] for _ in range(12))

    assert choices(1) == choices(1) != choices(2)


def test_a_connection_stays_with_its_backend() -> None:
    net = one_node()
    for name in ("q", "r"):
        net.serve(name, 8080)
    net.service(SERVICE, ["10.244.1.3:8080", "10.244.1.4:8080"])
    for _ in range(6):
        net.ask("p", SERVICE)
    for flow in net.plane.flows(HostName("node")):
        ends = {flow.original.source_port}
        seen = [
            name
            for name in ("q", "r")
            for p in net.packets(f"{name}/eth0", outbound=False)
            if p.protocol == ipv4.TCP and tcp.parse(p.payload).source_port in ends
        ]
        assert len(set(seen)) == 1


@pytest.mark.parametrize("protocol", [ipv4.TCP, ipv4.UDP])
def test_a_flow_outlives_a_change_of_its_service(protocol: int) -> None:
    net = one_node()
    net.serve("q", 8080, protocol=protocol)
    net.serve("r", 8080, protocol=protocol)
    net.service(SERVICE, ["10.244.1.3:8080"], protocol=protocol)

    async def talk() -> list[str]:
        host, target = net.programs("p"), Endpoint(*endpoint(SERVICE))
        said = []
        if protocol == ipv4.UDP:
            socket = await host.udp(remote=target)
            for change in (["10.244.1.4:8080"], [], None):
                await socket.send(b"who")
                said.append((await socket.recv(timeout=5)).data.decode()[0])
                if change is not None:
                    net.service(SERVICE, change, protocol=protocol)
        else:
            stream = await host.connect(target)
            net.service(SERVICE, ["10.244.1.4:8080"])
            await stream.write(b"who")
            said.append((await stream.read()).decode()[0])
            net.remove(("virtual", NODES, "6", "10.96.0.20", "80"))
            assert await stream.read() == b""
            stream.close()
        return said

    assert set(net.run(talk())) == {"q"}


def test_a_new_flow_follows_the_changed_service() -> None:
    net = one_node()
    net.serve("q", 8080)
    net.serve("r", 8080)
    net.service(SERVICE, ["10.244.1.3:8080"])
    assert net.ask("p", SERVICE)[0] == "q"
    net.service(SERVICE, ["10.244.1.4:8080"])
    assert net.ask("p", SERVICE)[0] == "r"


def test_a_new_connection_from_the_same_port_chooses_again() -> None:
    """A SYN over a flow in TIME_WAIT begins a new one: it may be another backend's turn."""
    net = one_node()
    net.service(SERVICE, ["10.244.1.3:8080"])
    net.serve("q", 8080)
    net.serve("r", 8080)
    sockets = net.stack("p").sockets
    net.ask("p", SERVICE)
    net.wait(1)
    (old,) = net.plane.flows(HostName("node"))
    net.service(SERVICE, ["10.244.1.4:8080"])
    sockets._connections.clear()  # a client that does not remember: rebooted, or with SO_LINGER 0
    sockets._free_port = lambda taken: old.original.source_port  # type: ignore[method-assign]
    assert net.ask("p", SERVICE)[0] == "r"


def test_an_address_without_the_port_is_no_service() -> None:
    net = one_node()
    net.route("node", "default", "cni0")
    net.service(SERVICE, ["10.244.1.3:8080"])
    assert net.ping("p", "10.96.0.20") == "host-unreachable from 10.244.1.1"
    assert net.ask("p", "10.96.0.20:81") == "No route to host"


def test_a_hosts_own_service_wins_over_its_groups() -> None:
    net = one_node()
    net.serve("q", 8080)
    net.serve("r", 8080)
    net.service(SERVICE, ["10.244.1.3:8080"])
    net.service(SERVICE, ["10.244.1.4:8080"], on="node")
    assert net.ask("p", SERVICE)[0] == "r"
    net.remove(("virtual", "node", "6", "10.96.0.20", "80"))
    assert net.ask("p", SERVICE)[0] == "q"


# --- replies ---------------------------------------------------------------------------------------------


@given(
    client=st.sampled_from(["p", "q", "s", "n1", "n2"]),
    backends=st.lists(
        st.sampled_from(["10.244.1.2", "10.244.1.3", "10.244.2.2", "10.244.2.3"]), min_size=1, unique=True
    ),
    protocol=st.sampled_from([ipv4.TCP, ipv4.UDP]),
    local=st.sampled_from([POD_SUBNET, None, IPv4Network("10.244.1.0/24")]),
    seed=st.integers(0, 9),
)
def test_replies_always_come_back_from_the_address_that_was_asked(
    client: str, backends: list[str], protocol: int, local: IPv4Network | None, seed: int
) -> None:
    net = two_nodes(seed=seed)
    for node in ("n1", "n2"):
        net.route(node, "default", "eth0", "192.168.0.254")
    for name in ("p", "q", "s", "t"):
        net.serve(name, 8080, protocol=protocol)
    net.service(SERVICE, [f"{b}:8080" for b in backends], protocol=protocol, local_sources=local)
    ask = net.ask if protocol == ipv4.TCP else net.ask_udp
    assert "sees" in ask(client, SERVICE)
    answers = [p for p in net.packets(f"{client}/eth0", outbound=False) if p.protocol == protocol]
    if client in ("n1", "n2"):
        return  # over lo, cni0 or the tunnel: that the program got its answer says it all
    to_program = [p for p in answers if udp_ports(p)[1] not in (8080, 8472)]
    assert to_program and {p.source for p in to_program} == {VIP}
    assert {udp_ports(p)[0] for p in to_program} == {80}


def udp_ports(packet: ipv4.Ipv4) -> tuple[int, int]:
    """Source and destination port, which stand alike in UDP and TCP."""
    ports = packet.payload[:4]
    return int.from_bytes(ports[:2], "big"), int.from_bytes(ports[2:], "big")


def test_a_node_reaches_itself_through_a_service() -> None:
    """As the control node reaches its own API server through the ``kubernetes`` Service."""
    net = with_outside(one_node())
    net.route("node", "default", "eth9", OUTSIDE)
    net.serve("node", 6443)
    net.service("10.96.0.1:443", ["203.0.113.254:6443"])
    assert net.ask("node", "10.96.0.1:443").startswith("node sees 10.244.1.1:")
    net.wait(1)
    (flow,) = net.plane.flows(HostName("node"))
    assert flow.tcp_state is not None and flow.tcp_state.value == "TIME_WAIT"


def test_a_program_on_a_node_is_refused_by_its_own_kernel_where_there_is_no_endpoint() -> None:
    net = one_node()
    net.route("node", "default", "cni0")
    net.service(SERVICE, [])
    assert net.ask("node", SERVICE) == "refused"
    assert net.seen("node/cni0") == []


def test_a_refused_backend_refuses_the_client() -> None:
    net = one_node()
    net.service(SERVICE, ["10.244.1.3:8080"])
    net.service("10.96.0.20:53", ["10.244.1.3:53"], protocol=ipv4.UDP)
    assert net.ask("p", SERVICE) == "refused"
    assert net.ask_udp("p", "10.96.0.20:53") == "refused"


# --- masquerade ------------------------------------------------------------------------------------------


def test_a_pod_leaves_the_pod_network_with_the_nodes_address() -> None:
    net = masquerading(with_outside(one_node()))
    net.serve("out", 80)
    net.serve("out", 53, protocol=ipv4.UDP)
    assert net.ask("p", f"{OUTSIDE}:80").startswith("out sees 203.0.113.254:")
    assert net.ask_udp("p", f"{OUTSIDE}:53").startswith("out sees 203.0.113.254:")
    assert net.ping("p", OUTSIDE) == f"reply from {OUTSIDE}"


def test_without_masquerade_nothing_comes_back() -> None:
    net = with_outside(one_node())
    net.serve("out", 80)
    assert net.ask("p", f"{OUTSIDE}:80", timeout=5) == "timeout"
    assert net.packets("out/eth0", outbound=False)


def test_two_pods_with_one_source_port_stay_apart() -> None:
    net = masquerading(with_outside(one_node()))
    net.serve("out", 53, protocol=ipv4.UDP)

    async def both() -> list[str]:
        target = Endpoint(IPv4Address(OUTSIDE), 53)
        sockets = [await net.programs(name).udp(5000, remote=target) for name in ("p", "q")]
        for socket, text in zip(sockets, (b"from p", b"from q"), strict=True):
            await socket.send(text)
        return [(await socket.recv(timeout=5)).data.decode() for socket in sockets]

    answers = net.run(both())
    assert [answer[-6:] for answer in answers] == ["from p", "from q"]
    ports = {answer.split(":")[1].split()[0] for answer in answers}
    assert len(ports) == 2 and "5000" not in ports  # --random-fully


def test_without_random_ports_a_clash_gets_another_port() -> None:
    """Two ways to one backend: by the Service and straight. The replies could not be told apart."""
    net = one_node()
    net.serve("q", 53, protocol=ipv4.UDP)
    net.service("10.96.0.20:53", ["10.244.1.3:53"], protocol=ipv4.UDP)
    straight, service = Endpoint(IPv4Address("10.244.1.3"), 53), Endpoint(IPv4Address("10.96.0.20"), 53)

    async def both() -> list[str]:
        socket = await net.programs("p").udp(5000)
        said = []
        for target in (straight, service, straight, service):
            await socket.send(b"who", target)
            answer = await socket.recv(timeout=5)
            assert answer.source == target
            said.append(answer.data.decode().split()[2])
        return said

    first, second, *again = net.run(both())
    assert first == "10.244.1.2:5000" and second.startswith("10.244.1.2:") and second != first
    assert again == [first, second]


class Always77(Rng):
    def between(self, low: int, high: int) -> int:
        return 77


def test_a_flow_for_which_no_port_is_left_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    net = masquerading(with_outside(one_node()))
    net.serve("out", 53, protocol=ipv4.UDP)
    monkeypatch.setattr(conntrack, "NAT_PORTS", (5000, 5000))
    assert net.ask_udp("p", f"{OUTSIDE}:53").startswith("out sees 203.0.113.254:5000")
    assert net.ask_udp("q", f"{OUTSIDE}:53", port=5000) == "timeout"
    assert len(net.packets("out/eth0", outbound=False)) == 1
    assert len(list(net.plane.flows(HostName("node")))) == 1


def test_a_masquerade_without_an_address_leaves_the_source() -> None:
    net = masquerading(through_a_router())
    for key in [key for key in net.entries if key[0] == "address" and key[1] == "router"]:
        net.remove(key)
    net.route("router", "10.0.0.0/24", "eth0")
    net.route("router", "10.0.1.0/24", "eth1")
    net.rule("router", Hook.POSTROUTING, Action.MASQUERADE, name="all")
    for name, port in (("a", "eth0"), ("b", "eth1")):
        address = "10.0.0.1" if name == "a" else "10.0.1.1"
        net.neighbour(name, "eth0", f"{address.rsplit('.', 1)[0]}.254", mac_of(f"router/{port}"))
        net.neighbour("router", port, address, mac_of(f"{name}/eth0"))
    assert net.ping("a", "10.0.1.1") == "reply from 10.0.1.1"


def test_two_pings_with_one_identifier_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    net = masquerading(with_outside(one_node()))
    for name in ("p", "q"):
        monkeypatch.setattr(net.stack(name).sockets, "_rng", Always77(1))
    assert [net.ping(name, OUTSIDE) for name in ("p", "q", "p")] == [f"reply from {OUTSIDE}"] * 3
    arrived = [p for p in net.packets("out/eth0", outbound=False) if p.protocol == ipv4.ICMP]
    identifiers = [icmp.parse(p.payload).identifier for p in arrived]
    assert len(set(identifiers)) == 2 and 77 not in identifiers


def test_who_is_not_local_is_masqueraded_on_the_way_to_a_service() -> None:
    net = with_outside(one_node())
    net.route("out", "default", "eth0", "203.0.113.254")
    net.serve("q", 8080)
    net.service(SERVICE, ["10.244.1.3:8080"])
    assert net.ask("out", SERVICE).startswith("q sees 10.244.1.1:")
    assert net.ask("p", SERVICE).startswith("q sees 10.244.1.2:")
    net.service(SERVICE, ["10.244.1.3:8080"], local_sources=None)
    assert net.ask("out", SERVICE).startswith(f"q sees {OUTSIDE}:")


# --- ICMP errors about translated packets ----------------------------------------------------------------


def quoted_by_errors(net: Network, port: str) -> list[bytes]:
    """The packets inside the ICMP errors that came in at an interface, as far as they are quoted."""
    errors = [p for p in net.packets(port, outbound=False) if p.protocol == ipv4.ICMP]
    messages = [icmp.parse(p.payload) for p in errors]
    return [message.payload for message in messages if message.type != icmp.ECHO_REPLY]


def test_an_error_about_a_masqueraded_packet_reaches_the_pod_with_its_own_packet_inside() -> None:
    net = masquerading(with_outside(one_node()))
    assert net.ask_udp("p", f"{OUTSIDE}:53") == "refused"
    quote = ipv4.parse(quoted_by_errors(net, "p/eth0")[0])
    assert quote.source == bytes([10, 244, 1, 2])
    (sent,) = [p for p in net.packets("p/eth0", outbound=True) if p.protocol == ipv4.UDP]
    assert quote.payload == sent.payload  # ports and checksum as they were


def test_an_error_about_a_packet_to_a_service_speaks_of_the_service() -> None:
    net = one_node()
    net.service("10.96.0.20:53", ["10.244.1.3:53"], protocol=ipv4.UDP)
    assert net.ask_udp("p", "10.96.0.20:53") == "refused"
    quote = ipv4.parse(quoted_by_errors(net, "p/eth0")[0])
    assert quote.destination == VIP and udp.parse(quote.payload).destination_port == 53
    (error,) = [p for p in net.packets("p/eth0", outbound=False) if p.protocol == ipv4.ICMP]
    assert error.source == VIP  # nf_nat_icmp_reply_translation: the outer header too


def test_an_error_about_the_first_packet_of_a_flow_speaks_of_the_service_too() -> None:
    """The flow is not in the table yet: the error is attached to it (nf_ct_attach)."""
    net = one_node()
    net.service(SERVICE, ["10.99.0.1:8080"])
    assert net.ask("p", SERVICE) == "Network is unreachable"
    net.service(SERVICE, ["10.244.1.3:8080"])
    net.rule("node", Hook.FORWARD, Action.REJECT, Match(destination_port=8080))
    assert net.ask("p", SERVICE) == "refused"
    assert {quote[16:20] for quote in quoted_by_errors(net, "p/eth0")} == {VIP}


def test_a_pod_behind_masquerade_finds_a_smaller_path_mtu() -> None:
    net = masquerading(with_outside(one_node()))
    net.host("far")
    net.host("hop", forwarding=True)
    net.wire("out/eth1", "hop/eth0", mtu=1200)
    net.wire("hop/eth1", "far/eth0")
    net.change(("host", "out"), forwarding=True)
    net.address("out/eth1", "198.51.100.1/30")
    net.address("hop/eth0", "198.51.100.2/30")
    net.address("hop/eth1", "198.51.100.5/30")
    net.address("far/eth0", "198.51.100.6/30")
    net.route("far", "default", "eth0", "198.51.100.5")
    net.route("hop", "default", "eth0", "198.51.100.1")
    net.route("out", "198.51.100.4/30", "eth1", "198.51.100.2")
    net.route("node", "default", "eth9", OUTSIDE)
    got = bytearray()

    async def receive() -> None:
        stream = await (await net.programs("far").listen(80)).accept()
        while data := await stream.read():
            got.extend(data)

    async def send() -> None:
        stream = await net.programs("p").connect(Endpoint(IPv4Address("198.51.100.6"), 80))
        await stream.write(b"x" * 10_000)
        stream.close()

    net.plane.start(net.programs("far"), lambda _: receive(), "server")
    net.run(send())
    net.wait(30)
    assert len(got) == 10_000
    (quote, *_) = quoted_by_errors(net, "p/eth0")
    assert quote[12:16] == bytes([10, 244, 1, 2])


def test_an_icmp_error_about_no_known_flow_passes_untouched() -> None:
    net = through_a_router()
    net.service("10.9.9.9:80", ["10.0.1.1:80"])  # so that the router tracks

    unknown = ipv4.build(bytes([10, 0, 1, 1]), bytes([10, 0, 0, 1]), ipv4.UDP, udp.build(b"", b"", 1, 2, b""))
    for payload in (
        icmp.build_error(icmp.UNREACHABLE, icmp.PORT, unknown),
        icmp.build_error(icmp.UNREACHABLE, icmp.PORT, unknown)[:20],
        icmp.build_error(icmp.UNREACHABLE, icmp.PORT, b"\x65" + unknown[1:]),
        b"\x05\x00" + bytes(40),  # a redirect
    ):
        sent = ipv4.build(bytes([10, 0, 0, 1]), bytes([10, 0, 1, 1]), ipv4.ICMP, payload)
        with net.forgetting():
            inject(net, "router/eth0", sent)
            passed = [p.payload for p in net.packets("router/eth1", outbound=True)]
            assert passed in ([payload], [])  # [] while ARP is asked
    net.wait(1)
    assert payload in [p.payload for p in net.packets("b/eth0", outbound=False)]
    assert list(net.plane.flows(HostName("router"))) == []


def test_an_error_with_a_damaged_quote_of_a_known_flow_passes_untouched() -> None:
    net = masquerading(with_outside(one_node()))
    net.serve("out", 53, protocol=ipv4.UDP)
    net.ask_udp("p", f"{OUTSIDE}:53")
    (sent,) = [p for p in net.packets("node/eth9", outbound=True) if p.protocol == ipv4.UDP]
    quote = ipv4.build(sent.source, sent.destination, ipv4.UDP, sent.payload)
    error = icmp.build_error(icmp.UNREACHABLE, icmp.PORT, b"\x65" + quote[1:])
    inject(net, "node/eth9", ipv4.build(sent.destination, sent.source, ipv4.ICMP, error))
    assert [p for p in net.packets("p/eth0", outbound=False) if p.protocol == ipv4.ICMP] == []


# --- rules -----------------------------------------------------------------------------------------------


def test_the_first_rule_that_matches_decides() -> None:
    net = through_a_router()
    net.serve("b", 80)
    drop_all = Match()
    allow = Match(destination_port=80)
    net.rule("router", Hook.FORWARD, Action.DROP, drop_all, order=10, name="default")
    assert net.ask("a", "10.0.1.1:80", timeout=3) == "timeout"
    net.rule("router", Hook.FORWARD, Action.ACCEPT, allow, order=5, name="web")
    back = Match(source=IPv4Network("10.0.1.0/24"))
    net.rule("router", Hook.FORWARD, Action.ACCEPT, back, order=6, name="back")
    assert net.ask("a", "10.0.1.1:80").startswith("b sees")
    net.change(("rule", "router", "FORWARD", "web"), order=20)
    assert net.ask("a", "10.0.1.1:80", timeout=3) == "timeout"


def test_rules_of_one_order_are_tried_by_name() -> None:
    net = through_a_router()
    net.serve("b", 80)
    net.rule("router", Hook.FORWARD, Action.ACCEPT, name="b")
    net.rule("router", Hook.FORWARD, Action.REJECT, name="a", match=Match(protocol=ipv4.TCP))
    assert net.ask("a", "10.0.1.1:80") == "refused"
    net.remove(("rule", "router", "FORWARD", "a"))
    net.rule("router", Hook.FORWARD, Action.REJECT, name="c")
    assert net.ask("a", "10.0.1.1:80").startswith("b sees")


@pytest.mark.parametrize(("own_order", "outcome"), [(1, "b sees"), (3, "refused")])
def test_rules_of_a_host_and_its_group_are_tried_in_one_order(own_order: int, outcome: str) -> None:
    net = through_a_router()
    net.serve("b", 80)
    net.rule("@nodes", Hook.FORWARD, Action.REJECT, order=2, name="group", match=Match(destination_port=80))
    net.rule("router", Hook.FORWARD, Action.ACCEPT, order=own_order, name="own")
    assert net.ask("a", "10.0.1.1:80").startswith(outcome)


MATCHES = [
    (Match(source=IPv4Network("10.0.0.0/24")), True),
    (Match(source=IPv4Network("10.0.1.0/24")), False),
    (Match(not_source=IPv4Network("10.0.0.0/24")), False),
    (Match(not_source=IPv4Network("10.9.0.0/24")), True),
    (Match(destination=IPv4Network("10.0.1.1/32")), True),
    (Match(not_destination=IPv4Network("10.0.1.1/32")), False),
    (Match(protocol=ipv4.TCP), True),
    (Match(protocol=ipv4.UDP), False),
    (Match(destination_port=80), True),
    (Match(destination_port=81), False),
    (Match(in_device="eth0"), True),
    (Match(in_device="eth1"), False),
    (Match(out_device="eth1"), True),
    (Match(out_device="eth0"), False),
    (Match(source=IPv4Network("10.0.0.0/24"), destination_port=81), False),
    (Match(source=IPv4Network("0.0.0.0/0"), not_destination=IPv4Network("10.0.0.0/24")), True),
]


@pytest.mark.parametrize(("match", "rejects"), MATCHES)
def test_all_conditions_of_a_rule_must_hold(match: Match, rejects: bool) -> None:
    net = through_a_router()
    net.serve("b", 80)
    net.rule("router", Hook.FORWARD, Action.REJECT, match)
    net.ask("a", "10.0.1.1:80", timeout=5)
    assert rejects is not bool(net.packets("b/eth0", outbound=False))


def test_a_rule_for_a_port_does_not_match_what_has_none() -> None:
    net = through_a_router()
    net.rule("router", Hook.FORWARD, Action.DROP, Match(destination_port=80))
    assert net.ping("a", "10.0.1.1", size=3000) == "reply from 10.0.1.1"
    assert net.ping("a", "10.0.1.1", ttl=2) == "reply from 10.0.1.1"


def test_a_rule_without_a_masquerade_keeps_the_source() -> None:
    """ACCEPT in POSTROUTING is RETURN in nat: the rules behind it are not asked."""
    net = masquerading(with_outside(one_node()))
    net.rule(NODES, Hook.POSTROUTING, Action.ACCEPT, order=-1, name="keep")
    net.route("out", "default", "eth0", "203.0.113.254")
    net.serve("out", 80)
    assert net.ask("p", f"{OUTSIDE}:80").startswith("out sees 10.244.1.2:")


def test_a_host_without_rules_tracks_nothing() -> None:
    net = through_a_router()
    net.serve("b", 80)
    net.ask("a", "10.0.1.1:80")
    net.wait(1)
    assert not net.stack("router").netfilter.active and not list(net.plane.flows(HostName("router")))
    net.rule("@nodes", Hook.INPUT, Action.ACCEPT)
    assert net.stack("router").netfilter.active and not net.stack("a").netfilter.active
    net.ask("a", "10.0.1.1:80")
    assert len(list(net.plane.flows(HostName("router")))) == 1
    net.remove(("rule", "@nodes", "INPUT", "rule"))
    assert not net.stack("router").netfilter.active


def test_a_dropped_packet_leaves_no_flow() -> None:
    net = through_a_router()
    net.rule("router", Hook.FORWARD, Action.DROP)
    net.ask("a", "10.0.1.1:80", timeout=5)
    assert list(net.plane.flows(HostName("router"))) == []


def test_what_happened_to_a_packet_is_written_into_its_notes() -> None:
    net = two_nodes()
    net.serve("s", 8080)
    net.service(SERVICE, ["10.244.2.2:8080"])
    net.ask("p", SERVICE)
    for words in (
        "n1: nat: DNAT 10.96.0.20:80 -> 10.244.2.2:8080",
        "n1: encap: VXLAN vni 1 to VTEP 192.168.0.2",
        "n2: encap: VXLAN vni 1: envelope taken off",
        "n1: nat: reply of a Service connection: source 10.244.2.2:8080 -> 10.96.0.20:80",
    ):
        assert words in net.reasons()
    told = [[note.cause.text[:5] for note in record.notes] for record in net.recorder.records]
    assert max(words.count("DNAT ") for words in told) == 1

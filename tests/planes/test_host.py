"""Programs on hosts of the sim plane: time limits, what ends with what, views, and hosts that go away."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from netsim.base.errors import GaveUp, UsageError
from netsim.plan.entries import HostName
from netsim.programs.host import Endpoint, UdpSocket
from netsim.programs.host import Host as ProgramHost
from netsim.wire import ipv4, tcp
from tests.net.network import Network, mac_of, one_node, through_a_router, two_hosts, two_nodes

B = Endpoint(IPv4Address("10.0.0.2"), 80)


def test_an_endpoint_is_written_as_in_urls() -> None:
    assert str(B) == "10.0.0.2:80"
    assert str(Endpoint(IPv6Address("fd00::1"), 80)) == "[fd00::1]:80"


def start(net: Network, host: str, program: object) -> object:
    return net.plane.start(net.programs(host), program, "program")  # type: ignore[arg-type]


def flags_seen(net: Network, port: str) -> list[str]:
    packets = [p for p in net.packets(port, outbound=True) if p.protocol == ipv4.TCP]
    return [tcp.render_flags(tcp.parse(packet.payload).flags) for packet in packets]


# --- time ------------------------------------------------------------------------------------------------


def test_sleeping_takes_virtual_time_and_no_other() -> None:
    net = two_hosts()

    async def sleep() -> float:
        host = net.programs("a")
        await host.sleep(3600)
        await host.sleep(0)
        await host.sleep(-1)
        return host.now()

    assert net.run(sleep()) == 3600.0


def test_a_time_limit_ends_a_wait_and_leaves_nothing_behind() -> None:
    net = two_hosts()

    async def wait() -> list[float]:
        host = net.programs("a")
        socket = await host.udp(53)
        times = []
        for limit in (0.0, 1.0, 2.5):
            with pytest.raises(TimeoutError):
                await socket.recv(timeout=limit)
            times.append(host.now())
        return times

    assert net.run(wait()) == [0.0, 1.0, 3.5]
    assert net.programs("a")._waiting == {}  # type: ignore[attr-defined]


def test_what_comes_in_time_is_got_whatever_the_limit_was() -> None:
    net = two_hosts()

    async def receive() -> bytes:
        host = net.programs("b")
        socket = await host.udp(53)
        datagram = await socket.recv(timeout=10)
        assert host.now() < 6
        return datagram.data

    async def send() -> None:
        host = net.programs("a")
        await host.sleep(5)
        await (await host.udp()).send(b"hello", Endpoint(B.address, 53))

    net.plane.scheduler.spawn(send(), "send")
    assert net.run(receive()) == b"hello"


def test_a_limit_that_was_not_needed_does_not_hold_the_clock() -> None:
    net = two_hosts()
    net.serve("b", 53, protocol=ipv4.UDP)
    assert "sees" in net.ask_udp("a", "10.0.0.2:53", timeout=5000)
    net.plane.scheduler.run(lambda: False)
    assert net.now < 100


def test_two_readers_of_one_socket_get_one_datagram_each() -> None:
    net = two_hosts()
    got: list[bytes] = []

    async def receive(socket: UdpSocket) -> None:
        got.append((await socket.recv()).data)

    async def talk() -> None:
        socket = await net.programs("b").udp(53)
        for _ in range(2):
            net.plane.scheduler.spawn(receive(socket), "receive")
        sender = await net.programs("a").udp(remote=Endpoint(B.address, 53))
        for data in (b"one", b"two"):
            await sender.send(data)
        await net.programs("a").sleep(1)

    net.run(talk())
    assert got == [b"one", b"two"]


def test_a_call_that_nothing_answers_is_said_to_be_one() -> None:
    net = two_hosts()

    async def wait() -> None:
        await (await net.programs("a").udp(53)).recv()

    with pytest.raises(GaveUp, match="nothing in the simulation will ever wake it"):
        net.run(wait())


def test_pumping_stops_at_its_limit() -> None:
    net = two_hosts()
    assert not net.plane.pump_until(lambda: net.now > 10, 5.0)
    assert net.now == 5.0
    handle = net.plane.call_at(1.0, lambda: None)  # the past is now
    assert net.plane.pump_until(lambda: net.now >= 7, 7.0)
    handle.cancel()


def test_an_error_of_a_pumped_coroutine_is_raised_to_who_pumps() -> None:
    net = two_hosts()

    async def fail() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        net.run(fail())


# --- programs --------------------------------------------------------------------------------------------


def test_a_process_is_listed_while_it_runs() -> None:
    net = two_hosts()

    async def nap(host: ProgramHost) -> None:
        await host.sleep(5)

    host = net.programs("a")
    net.plane.start(host, nap, "sleep 5")
    net.plane.start(host, nap, "sleep more")
    assert host.processes() == ((1, "sleep 5"), (2, "sleep more"))
    net.wait(6)
    assert host.processes() == ()


def test_what_a_process_leaves_open_is_closed_when_it_ends() -> None:
    """As the kernel closes the files of a process: its ports are free, its peers hear of it."""
    net = two_hosts()

    async def server(host: ProgramHost) -> None:
        listener = await host.listen(80)
        await host.udp(53)
        await listener.accept()
        await host.sleep(1)

    async def client() -> bytes:
        stream = await net.programs("a").connect(B)
        return await stream.read()

    for _ in range(2):
        start(net, "b", server)
        assert net.run(client()) == b""
        assert net.programs("b").listening() == ()


def test_a_process_that_ends_with_unread_data_resets_its_connection() -> None:
    """RFC 2525 section 2.17: what was sent will never be read, and the sender is told."""
    net = two_hosts()

    async def server(host: ProgramHost) -> None:
        await (await host.listen(80)).accept()
        await host.sleep(1)

    async def client() -> None:
        stream = await net.programs("a").connect(B)
        await stream.write(b"nobody reads this")
        await stream.read()

    start(net, "b", server)
    with pytest.raises(ConnectionResetError):
        net.run(client())


def test_helpers_and_their_ports_end_with_their_program() -> None:
    net = two_hosts()

    async def helper(host: ProgramHost) -> None:
        socket = await host.udp(53)
        while True:
            await socket.recv()

    async def main(host: ProgramHost) -> int:
        host.spawn(helper(host), "helper")
        await host.sleep(1)
        return 1

    for _ in range(3):
        task = net.plane.start(net.programs("a"), main, "main")
        net.wait(2)
        assert task.result() == 1
        assert net.programs("a").listening() == ()


def test_a_cancelled_connect_does_not_go_on_trying() -> None:
    net = two_hosts()
    net.neighbour("a", "eth0", "10.0.0.2", b"\x02" * 6)  # type: ignore[arg-type]  # any MAC

    async def client(host: ProgramHost) -> None:
        await host.connect(B)

    task = net.plane.start(net.programs("a"), client, "client")
    net.wait(0.5)
    task.cancel()
    net.wait(100)
    assert flags_seen(net, "a/eth0") == ["SYN"]


# --- views -----------------------------------------------------------------------------------------------


def test_a_view_has_its_own_name_files_and_processes_on_the_hosts_stack() -> None:
    """As a Pod with hostNetwork has them on its node."""
    net = two_hosts()
    node, view = net.programs("b"), net.plane.view(HostName("b"), "kube-proxy-x")
    view.files["/etc/hostname"] = "kube-proxy-x\n"
    assert (view.name, node.name) == ("kube-proxy-x", "b") and node.files == {}

    async def serve(host: ProgramHost) -> None:
        listener = await host.listen(80)
        while True:
            stream = await listener.accept()
            await stream.write(host.name.encode())
            stream.close()

    async def ask() -> str:
        stream = await net.programs("a").connect(B)
        return (await stream.read()).decode()

    net.plane.start(view, serve, "serve")
    assert net.run(ask()) == "kube-proxy-x"
    assert view.listening() == node.listening() != ()
    assert (len(view.processes()), len(node.processes())) == (1, 0)
    net.plane.close_view(view)
    assert node.listening() == ()
    assert net.ask("a", "10.0.0.2:80") == "refused"


def test_closing_a_view_leaves_the_others_running() -> None:
    net = two_hosts()
    views = [net.plane.view(HostName("b"), name) for name in ("one", "two")]

    async def serve(host: ProgramHost) -> None:
        socket = await host.udp(53 if host.name == "one" else 54)
        while True:
            got = await socket.recv()
            await socket.send(host.name.encode(), got.source)

    for view in views:
        net.plane.start(view, serve, "serve")
    net.wait(1)
    net.plane.close_view(views[0])
    assert net.plane._rows[HostName("b")].views == [views[1]]
    assert net.ask_udp("a", "10.0.0.2:53") == "refused"
    assert net.ask_udp("a", "10.0.0.2:54") == "two"


def test_a_closed_view_cannot_be_used_again() -> None:
    net = two_hosts()
    view = net.plane.view(HostName("b"), "gone")
    net.plane.close_view(view)

    async def bind() -> None:
        await view.udp(53)

    with pytest.raises(UsageError, match="gone does not run any more"):
        net.run(bind())
    net.plane.close_view(view)


def test_views_have_chances_of_their_own() -> None:
    net = two_hosts()
    one, two = (net.plane.view(HostName("b"), name) for name in ("one", "two"))
    assert one.rng.random() != two.rng.random()


# --- hosts that go ---------------------------------------------------------------------------------------


def test_a_host_may_be_removed_while_its_programs_wait() -> None:
    net = two_hosts()
    log: list[str] = []

    async def waits(host: ProgramHost) -> None:
        socket = await host.udp(53)
        listener = await host.listen(80)
        try:
            await host.sleep(1000)
        finally:
            socket.close()
            listener.close()
            log.append("waits ended")

    async def connects(host: ProgramHost) -> None:
        try:
            await host.connect(Endpoint(IPv4Address("10.0.0.9"), 80))
        finally:
            log.append("connects ended")

    async def reads(host: ProgramHost) -> None:
        stream = await host.connect(B)
        try:
            await stream.read()
        finally:
            stream.close()
            log.append("reads ended")

    net.serve("b", 80)
    for program in (waits, connects, reads):
        start(net, "a", program)
    view = net.plane.view(HostName("a"), "view")
    net.plane.start(view, waits_on_port(5353, log), "in a view")
    net.wait(1)
    keys = [key for key in reversed(net.entries) if "a" in key[1:2] or key[0] == "link"]
    net.remove(*keys)
    assert sorted(log) == ["connects ended", "reads ended", "waits ended", "waits on 5353 ended"]
    with pytest.raises(UsageError, match="there is no host a"):
        net.programs("a")
    net.wait(1000)


def waits_on_port(port: int, log: list[str]):  # type: ignore[no-untyped-def]
    async def program(host: ProgramHost) -> None:
        socket = await host.udp(port)
        try:
            await socket.recv()
        finally:
            socket.close()
            log.append(f"waits on {port} ended")

    return program


def test_who_waits_from_outside_for_a_host_that_goes_hears_of_it() -> None:
    net = two_hosts()

    async def wait() -> None:
        await (await net.programs("a").udp(53)).recv()

    net.plane.call_at(5.0, lambda: net.remove(("host", "a")))
    with pytest.raises(ConnectionAbortedError, match="a is gone"):
        net.run(wait())


def test_a_socket_of_a_removed_host_can_still_be_closed() -> None:
    net = two_hosts()
    net.serve("b", 80)

    async def open_all() -> list[object]:
        host = net.programs("a")
        return [await host.udp(53), await host.listen(80), await host.connect(B)]

    opened = net.run(open_all())
    net.remove(("host", "a"))
    for socket in opened:
        socket.close()  # type: ignore[attr-defined]
    opened[2].abort()  # type: ignore[attr-defined]


def test_a_host_of_the_same_name_begins_anew() -> None:
    net = two_hosts()
    net.serve("b", 80)
    old = net.programs("b")
    net.ask("a", "10.0.0.2:80")
    keys = [("address", "b", "eth0", "10.0.0.2/24"), ("interface", "b", "eth0"), ("host", "b")]
    entries = [net.entries[key] for key in reversed(keys)]
    net.remove(*keys)
    assert net.ping("a", "10.0.0.2") == "timeout"
    net.put(*entries)
    assert net.programs("b") is not old
    assert net.ping("a", "10.0.0.2") == "reply from 10.0.0.2"
    assert net.ask("a", "10.0.0.2:80") == "refused"


def test_packets_under_way_to_a_removed_host_are_lost() -> None:
    net = two_hosts()
    net.ping("a", "10.0.0.2")

    async def send() -> None:
        await (await net.programs("a").udp()).send(b"x", B)
        net.remove(("host", "b"))

    net.run(send())
    net.wait(10)


def test_stopping_the_plane_stops_every_program() -> None:
    net = two_hosts()
    log: list[str] = []
    view = net.plane.view(HostName("b"), "view")
    net.plane.start(net.programs("a"), waits_on_port(1, log), "a")
    net.plane.start(view, waits_on_port(2, log), "b")
    net.wait(1)
    net.plane.stop()
    assert log == ["waits on 1 ended", "waits on 2 ended"]


# --- what tools show -------------------------------------------------------------------------------------


def test_the_interfaces_are_those_of_ip_addr() -> None:
    net = one_node()
    shown = [
        (v.ifindex, v.name, v.kind, v.mtu, v.addresses, v.master) for v in net.programs("node").interfaces()
    ]
    assert shown[:3] == [
        (1, "lo", "loopback", 65536, ("127.0.0.1/8", "::1/128"), ""),
        (2, "cni0", "bridge", 1500, ("10.244.1.1/24",), ""),
        (3, "veth-p", "veth", 1500, (), "cni0"),
    ]


def test_the_peer_of_a_veth_is_known_whether_its_host_was_reached_or_not() -> None:
    net = one_node()
    node = {view.name: view.peer_index for view in net.programs("node").interfaces()}
    assert node == {"lo": None, "cni0": None, "veth-p": 2, "veth-q": 2, "veth-r": 2}
    assert net.programs("q").interfaces()[1].peer_index == 4
    net.stack("r")
    assert {v.name: v.peer_index for v in net.programs("node").interfaces()} == node
    net.remove(("host", "r"))
    assert {v.name: v.peer_index for v in net.programs("node").interfaces()}["veth-r"] is None
    net.remove(("interface", "q", "eth0"))
    net.stack("q")
    assert {v.name: v.peer_index for v in net.programs("node").interfaces()}["veth-q"] is None


def test_the_routes_are_those_of_ip_route() -> None:
    net = through_a_router()
    net.address("a/eth0", "10.5.0.1/32")  # brings no route
    views = net.programs("a").routes()
    assert [(v.destination, v.via, v.device, v.protocol, v.scope, v.source) for v in views] == [
        ("default", "10.0.0.254", "eth0", "static", "global", ""),
        ("10.0.0.0/24", "", "eth0", "kernel", "link", "10.0.0.1"),
    ]


def test_forwarding_entries_are_those_of_the_group_and_the_host() -> None:
    net = two_nodes()
    net.fdb("n1", "flannel.1", mac_of("somewhere"), "192.168.0.9")
    shown = {(mac, destination) for mac, device, destination in net.plane.forwarding_entries(HostName("n1"))}
    assert shown == {(mac_of("n2/flannel.1"), "192.168.0.2"), (mac_of("somewhere"), "192.168.0.9")}


def test_an_unknown_host_is_a_usage_error() -> None:
    net = two_hosts()
    for call in (net.plane.host, net.plane.stack, net.plane.routes):
        with pytest.raises(UsageError, match="there is no host nobody"):
            call(HostName("nobody"))

"""Sockets as bind(2), connect(2) and listen(2) give them: ports, errors, who gets what, backlogs."""

from __future__ import annotations

import errno
from ipaddress import IPv4Address

import pytest

from netsim.net import sockets
from netsim.net.tcp_states import State
from netsim.programs.host import Endpoint, Stream
from netsim.programs.host import Host as ProgramHost
from netsim.wire import icmp, ipv4, tcp
from tests.net.network import Network, through_a_router, two_hosts
from tests.net.test_ip import inject

A, B = Endpoint(IPv4Address("10.0.0.1"), 80), Endpoint(IPv4Address("10.0.0.2"), 80)
OWN = IPv4Address("10.0.0.2")


def segments(net: Network, port: str, *, outbound: bool = True) -> list[str]:
    """The flags of the TCP segments at an interface."""
    packets = [p for p in net.packets(port, outbound=outbound) if p.protocol == ipv4.TCP]
    return [tcp.render_flags(tcp.parse(packet.payload).flags) for packet in packets]


def connected(net: Network) -> tuple[Stream, Stream]:
    """A connection from a to b: both its ends."""

    async def both() -> tuple[Stream, Stream]:
        listener = await net.programs("b").listen(80)
        client = await net.programs("a").connect(B)
        return client, await listener.accept()

    return net.run(both())


# --- ports -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["udp", "listen"])
@pytest.mark.parametrize(
    ("first", "second", "free"),
    [(None, None, False), (OWN, None, False), (None, OWN, False), (OWN, OWN, False),
     (OWN, IPv4Address("127.0.0.1"), True)],
)  # fmt: skip
def test_a_port_is_taken_per_address(
    kind: str, first: IPv4Address | None, second: IPv4Address | None, free: bool
) -> None:
    net = two_hosts()

    async def bind() -> int:
        host = net.programs("b")
        call = host.udp if kind == "udp" else host.listen
        await call(53, address=first)
        try:
            await call(53, address=second)
        except OSError as error:
            return error.errno or 0
        return 0

    assert net.run(bind()) == (0 if free else errno.EADDRINUSE)


def test_udp_and_tcp_ports_are_apart_and_a_closed_port_is_free_again() -> None:
    net = two_hosts()

    async def bind() -> None:
        host = net.programs("b")
        for _ in range(2):
            socket, listener = await host.udp(53), await host.listen(53)
            assert [(kind, end.port) for kind, end in host.listening()] == [("tcp", 53), ("udp", 53)]
            for _ in range(2):
                socket.close()
                listener.close()
            assert host.listening() == ()

    net.run(bind())


def test_closing_one_of_two_sockets_on_a_port_leaves_the_other() -> None:
    net = two_hosts()

    async def bind() -> None:
        host, lo = net.programs("b"), IPv4Address("127.0.0.1")
        for call in (host.udp, host.listen):
            first, second = await call(53, address=OWN), await call(53, address=lo)
            first.close()
            assert [str(end) for _, end in host.listening()] == ["127.0.0.1:53"]
            second.close()

    net.run(bind())


def test_an_address_of_another_host_cannot_be_bound() -> None:
    net = two_hosts()

    async def bind(kind: str) -> None:
        host = net.programs("a")
        await (host.udp if kind == "udp" else host.listen)(53, address=OWN)

    for kind in ("udp", "listen"):
        with pytest.raises(OSError, match="Cannot assign requested address") as raised:
            net.run(bind(kind))
        assert raised.value.errno == errno.EADDRNOTAVAIL


def test_port_zero_is_a_free_ephemeral_port() -> None:
    net = two_hosts()

    async def bind() -> list[int]:
        host = net.programs("b")
        return [(await host.udp()).local.port for _ in range(50)] + [(await host.listen(0)).local.port]

    ports = net.run(bind())
    low, high = sockets.EPHEMERAL_PORTS
    assert len(set(ports)) > 49 and all(low <= port <= high for port in ports)


def test_when_all_ephemeral_ports_are_taken_the_next_call_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "EPHEMERAL_PORTS", (40000, 40001))
    net = two_hosts()
    net.serve("b", 80)

    async def take_all(host: ProgramHost) -> None:
        for _ in range(2):
            await host.connect(B)
        await host.connect(B)

    with pytest.raises(OSError, match="Cannot assign requested address"):
        net.run(take_all(net.programs("a")))


# --- UDP -------------------------------------------------------------------------------------------------


def test_the_most_specific_udp_socket_gets_the_datagram() -> None:
    net = two_hosts()
    net.address("b/eth0", "10.0.0.3/24", "10.0.0.4/24")

    async def deliver() -> list[str]:
        server, client = net.programs("b"), net.programs("a")
        sender = await client.udp(5000)
        peer = Endpoint(IPv4Address("10.0.0.1"), 5000)
        named = {
            "bound": await server.udp(53, address=IPv4Address("10.0.0.3")),
            "connected": await server.udp(53, address=OWN, remote=peer),
        }
        got = []
        for target in ("10.0.0.2", "10.0.0.3"):
            await sender.send(b"x", Endpoint(IPv4Address(target), 53))
            for name, socket in named.items():
                try:
                    await socket.recv(timeout=0.1)
                    got.append(name)
                except TimeoutError:
                    pass
        return got

    assert net.run(deliver()) == ["connected", "bound"]


def test_a_connected_socket_hears_only_its_peer() -> None:
    net = two_hosts()

    async def talk() -> str:
        server, client = net.programs("b"), net.programs("a")
        socket = await server.udp(53, remote=Endpoint(IPv4Address("10.0.0.1"), 5000))
        stranger = await client.udp(5001, remote=Endpoint(OWN, 53))
        await stranger.send(b"x")
        with pytest.raises(ConnectionRefusedError):
            await stranger.recv(timeout=1)
        with pytest.raises(TimeoutError):
            await socket.recv(timeout=1)
        return str(socket.local)

    assert net.run(talk()) == "10.0.0.2:53"


def test_a_datagram_tells_its_ends_and_the_answer_bears_the_address_that_was_asked() -> None:
    net = two_hosts()
    net.address("b/eth0", "10.0.0.3/24")

    async def talk() -> tuple[str, str]:
        server, client = await net.programs("b").udp(53), await net.programs("a").udp(5000)
        await client.send(b"x", Endpoint(IPv4Address("10.0.0.3"), 53))
        got = await server.recv()
        assert any("default" not in str(note) for note in got.notes)
        return str(got.source), str(got.destination)

    assert net.run(talk()) == ("10.0.0.1:5000", "10.0.0.3:53")


def test_sending_without_a_destination_is_an_error() -> None:
    net = two_hosts()

    async def send() -> None:
        await (await net.programs("a").udp()).send(b"x")

    with pytest.raises(OSError, match="Destination address required") as raised:
        net.run(send())
    assert raised.value.errno == errno.EDESTADDRREQ


# --- TCP -------------------------------------------------------------------------------------------------


def test_a_stream_tells_its_ends() -> None:
    client, server = connected(two_hosts())
    assert client.peer == B == server.local and client.local == server.peer


def test_a_listener_on_one_address_does_not_accept_for_another() -> None:
    net = two_hosts()

    async def listen() -> None:
        listener = await net.programs("b").listen(80, address=IPv4Address("127.0.0.1"))
        assert str(listener.local) == "127.0.0.1:80"

    net.run(listen())
    assert net.ask("a", "10.0.0.2:80") == "refused"


def test_a_reset_tells_what_was_not_there() -> None:
    net = two_hosts()
    net.ask("a", "10.0.0.2:80")
    assert "b: socket: no process listens on 10.0.0.2:80/tcp: RST" in net.reasons()
    assert segments(net, "b/eth0") == ["RST,ACK"]


def test_an_aborted_connection_is_reset_at_the_other_end() -> None:
    net = two_hosts()
    client, server = connected(net)
    client.abort()

    async def read() -> None:
        await server.read()

    with pytest.raises(ConnectionResetError):
        net.run(read())


def test_a_closed_stream_cannot_be_written_and_an_ended_one_neither() -> None:
    net = two_hosts()
    client, server = connected(net)

    async def write(stream: Stream) -> None:
        await stream.write(b"x")

    client.close()
    with pytest.raises(BrokenPipeError):
        net.run(write(client))
    net.run(write(server))  # half closed: the other way is open
    server.close()
    net.wait(100)
    with pytest.raises(BrokenPipeError):
        net.run(write(server))


def test_a_write_waits_while_the_send_buffer_is_full() -> None:
    net = two_hosts()
    client, server = connected(net)

    async def write() -> float:
        await client.write(bytes(500_000))
        return net.now

    async def read() -> int:
        await net.programs("b").sleep(5)
        total = 0
        while total < 500_000:
            total += len(await server.read())
        return total

    writer = net.plane.scheduler.spawn(write(), "writer")
    assert net.run(read()) == 500_000
    assert writer.done and writer.result() > 5.0


def test_a_write_that_waits_hears_of_the_reset() -> None:
    net = two_hosts()
    client, server = connected(net)

    async def write() -> None:
        await client.write(bytes(500_000))
        await client.write(b"x")

    writer = net.plane.scheduler.spawn(write(), "writer")
    writer.watch()
    net.wait(1)
    assert not writer.done
    server.abort()
    net.wait(1)
    assert isinstance(writer.error, ConnectionResetError)


def test_a_connect_that_is_given_up_is_forgotten() -> None:
    net = two_hosts()
    net.remove(("link", "a/eth0", "b/eth0"))
    net.neighbour("a", "eth0", "10.0.0.2", b"\x02" * 6)  # type: ignore[arg-type]  # any MAC
    assert net.ask("a", "10.0.0.2:80", timeout=2) == "timeout"
    sent = len(segments(net, "a/eth0"))
    net.wait(100)
    assert sent == 2 and len(segments(net, "a/eth0")) == 2


def test_nobody_answering_at_all_times_out_after_127_seconds() -> None:
    net = two_hosts()
    net.neighbour("a", "eth0", "10.0.0.2", b"\x02" * 6)  # type: ignore[arg-type]  # any MAC
    assert net.ask("a", "10.0.0.2:80", timeout=1000) == "timeout"
    assert net.now == pytest.approx(127.0)


def test_what_a_closed_listener_has_not_handed_out_is_reset() -> None:
    """Linux inet_csk_listen_stop."""
    net = two_hosts()

    async def connect() -> None:
        listener = await net.programs("b").listen(80)
        kept_client = await net.programs("a").connect(B)
        kept = await listener.accept()
        client = await net.programs("a").connect(B)
        await net.programs("a").sleep(0.1)
        listener.close()
        with pytest.raises(ConnectionResetError):
            await client.read(timeout=1)
        await kept.write(b"still here")
        assert await kept_client.read(timeout=1) == b"still here"

    net.run(connect())
    assert net.ask("a", "10.0.0.2:80") == "refused"


def test_a_handshake_under_way_ends_with_its_listener() -> None:
    net = through_a_router()

    async def connect() -> str:
        listener = await net.programs("b").listen(80)
        client = net.programs("a")
        task = client.spawn(client.connect(Endpoint(IPv4Address("10.0.1.1"), 80)), "client")
        while not net.stack("b").sockets._connections:
            await net.programs("a").sleep(0.0005)
        listener.close()
        try:
            stream = await task.join()
            await stream.read(timeout=5)
        except (ConnectionResetError, ConnectionRefusedError) as error:
            return type(error).__name__
        return "open"

    assert net.run(connect()) in ("ConnectionRefusedError", "ConnectionResetError")
    assert net.stack("b").sockets._connections == {}


def test_a_server_may_be_reached_again_from_a_port_in_time_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 9293 section 3.10.7.4 MAY-2: the server closed first, and a new SYN is past the old connection."""
    monkeypatch.setattr(sockets, "EPHEMERAL_PORTS", (40000, 40000))
    net = two_hosts()
    net.serve("b", 80)
    isns = iter([1000, 500_000, 5_000_000])
    monkeypatch.setattr(net.stack("a").sockets, "_isn", lambda: next(isns))
    assert net.ask("a", "10.0.0.2:80").startswith("b sees 10.0.0.1:40000")
    net.wait(1)
    (old,) = net.stack("b").sockets._connections.values()
    assert old.connection.state is State.TIME_WAIT and old.connection.may_reopen is not None
    assert net.ask("a", "10.0.0.2:80").startswith("b sees 10.0.0.1:40000")
    net.wait(1)
    (new,) = net.stack("b").sockets._connections.values()
    assert new is not old
    net.wait(58.5)  # the old one's time is over; the new one stands
    assert list(net.stack("b").sockets._connections.values()) == [new]


def test_an_old_syn_does_not_reopen_what_is_in_time_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "EPHEMERAL_PORTS", (40000, 40000))
    net = two_hosts()
    net.serve("b", 80)
    isns = iter([1000, 10])
    monkeypatch.setattr(net.stack("a").sockets, "_isn", lambda: next(isns))
    net.ask("a", "10.0.0.2:80")
    net.wait(1)
    with net.forgetting():
        net.ask("a", "10.0.0.2:80")
        assert segments(net, "b/eth0")[0] == "ACK"  # the challenge; then RST, and a second try


def test_an_answer_to_nothing_is_reset_and_opens_nothing() -> None:
    net = two_hosts()
    net.serve("b", 80)
    net.ping("a", "10.0.0.2")
    source, destination = A.address.packed, B.address.packed
    answer = tcp.Tcp(5000, 80, 1, 77, tcp.SYN | tcp.ACK, 100)
    inject(net, "b/eth0", ipv4.build(source, destination, ipv4.TCP, tcp.build(source, destination, answer)))
    assert segments(net, "b/eth0") == ["RST"]
    assert net.stack("b").sockets._connections == {}


def test_time_wait_without_a_listener_is_not_reopened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux tcp_v4_rcv: TCP_TW_SYN falls through to TCP_TW_ACK."""
    monkeypatch.setattr(sockets, "EPHEMERAL_PORTS", (40000, 40000))
    net = two_hosts()
    isns = iter([1000, 500_000])
    monkeypatch.setattr(net.stack("a").sockets, "_isn", lambda: next(isns))

    async def once() -> None:
        listener = await net.programs("b").listen(80)
        client = await net.programs("a").connect(B)
        server = await listener.accept()
        server.close()
        await client.read()
        client.close()
        listener.close()

    net.run(once())
    net.wait(1)
    assert [s.connection.state for s in net.stack("b").sockets._connections.values()] == [State.TIME_WAIT]
    with net.forgetting():
        assert net.ask("a", "10.0.0.2:80") == "refused"
        assert segments(net, "b/eth0") == ["ACK", "RST,ACK"]


def test_an_error_about_a_connection_that_is_no_more_is_ignored() -> None:
    net = two_hosts()
    net.ask("a", "10.0.0.2:80")

    source, destination = B.address.packed, A.address.packed
    for protocol in (ipv4.TCP, ipv4.UDP, ipv4.ICMP, 132):
        quote = ipv4.build(destination, source, protocol, bytes(8))
        error = icmp.build_error(icmp.UNREACHABLE, 9, quote)
        inject(net, "a/eth0", ipv4.build(source, destination, ipv4.ICMP, error))
    inject(net, "a/eth0", ipv4.build(source, destination, ipv4.ICMP, icmp.build_error(3, 1, quote)[:12]))


def test_pings_are_told_apart_and_forgotten() -> None:
    net = two_hosts()
    host = net.programs("a")

    async def two() -> list[int]:
        tasks = [host.spawn(host.ping(B.address, sequence=n, size=10 * n), "ping") for n in (1, 2)]
        return [(await task.join()).size for task in tasks]

    assert net.run(two()) == [18, 28]
    assert net.stack("a").sockets._echoes == {}


def test_a_traceroute_probe_hears_from_each_hop() -> None:
    net = through_a_router()

    async def probe(ttl: int) -> str:
        reply = await net.programs("a").probe(Endpoint(IPv4Address("10.0.1.1"), 33434), ttl=ttl)
        return f"{reply.kind} {reply.source}"

    assert net.run(probe(1)) == "ttl-exceeded 10.0.0.254"
    assert net.run(probe(2)) == "port-unreachable 10.0.1.1"
    assert net.programs("a").listening() == ()

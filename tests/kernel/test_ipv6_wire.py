"""A host of netsim and the kernel on one wire, in IPv6: each must understand the other's neighbour discovery,
echoes, fragments, UDP, TCP and errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from netsim.programs.host import Endpoint
from netsim.programs.host import Host as ProgramHost
from netsim.wire import ipv4
from tests.kernel.wire import DEVICE, KERNEL6, SIM6, Wire

pytestmark = pytest.mark.needs("root", "netns", "nsenter", "ip", "ping", "nc")
KERNEL = ip_address(KERNEL6)


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire() as wire:
        yield wire


def state(wire: Wire) -> str:
    """What the host thinks of the kernel."""
    views = wire.sim.neighbours()
    return next((view.state for view in views if view.address == KERNEL6), "")


# --- neighbours and echoes -------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [56, 1452, 1453, 8000])
def test_the_kernel_pings_the_host(wire: Wire, size: int) -> None:
    code, said = wire.kernel("ping", "-6", "-n", "-c", "2", "-i", "0.2", "-s", str(size), SIM6)
    assert code == 0, said
    assert f"{size + 8} bytes from {SIM6}: icmp_seq=2 ttl=64" in said
    assert f"{SIM6} lladdr {wire.mac} REACHABLE" in wire.neighbours()


@pytest.mark.parametrize("size", [56, 1452, 1453, 8000])
def test_the_host_pings_the_kernel(wire: Wire, size: int) -> None:
    reply = wire.ask(wire.sim.ping(KERNEL, sequence=1, size=size, timeout=5))
    assert (reply.kind, str(reply.source), reply.size, reply.ttl) == ("reply", KERNEL6, size + 8, 64)
    assert state(wire) == "REACHABLE"


def test_the_kernel_checks_an_old_entry_by_unicast_and_believes_the_answer(wire: Wire) -> None:
    """Its answer repeats no MAC, as the kernel's own."""
    wire.kernel("ping", "-6", "-n", "-c", "1", SIM6)
    wire.namespace.set(**{f"ipv6__neigh__{DEVICE}__delay_first_probe_time": 0})
    wire.namespace.run("ip", "neigh", "change", SIM6, "lladdr", wire.mac, "dev", DEVICE, "nud", "stale")
    code, said = wire.kernel("ping", "-6", "-n", "-c", "1", SIM6)
    assert code == 0, said
    wire.until(lambda: "REACHABLE" in wire.neighbours())
    asked = [p for p in wire.net.packets6("sim/eth0", outbound=False) if p.payload[:1] == b"\x87"]
    assert asked[-1].destination == ip_address(SIM6).packed


def test_the_host_checks_an_old_entry_and_believes_the_kernel(wire: Wire) -> None:
    wire.ask(wire.sim.ping(KERNEL, sequence=1, timeout=5))
    entry = next(iter(wire.net.stack("sim").links.neighbours._entries.values()))
    entry.confirmed_at -= 60
    assert state(wire) == "STALE"
    wire.ask(wire.sim.ping(KERNEL, sequence=2, timeout=5))
    assert state(wire) == "DELAY"
    wire.net.stack("sim").links.neighbours.expire(entry, wire.net.now)
    wire.net.plane.flush("sim")  # type: ignore[arg-type]
    wire.until(lambda: state(wire) == "REACHABLE")


def test_the_kernel_learns_that_an_address_moved(wire: Wire) -> None:
    wire.kernel("ping", "-6", "-n", "-c", "1", SIM6)
    other = "02:00:00:00:00:99"
    wire.namespace.run("ip", "neigh", "change", SIM6, "lladdr", other, "dev", DEVICE, "nud", "stale")
    wire.net.stack("sim").links.announce("eth0", ip_address(SIM6).packed, wire.net.now)
    wire.net.plane.flush("sim")  # type: ignore[arg-type]
    wire.until(lambda: wire.mac in wire.neighbours())


def test_the_host_answers_for_nobody_else(wire: Wire) -> None:
    wire.namespace.set(**{f"ipv6__neigh__{DEVICE}__retrans_time_ms": 50})
    code, said = wire.kernel("ping", "-6", "-n", "-c", "1", "-W", "5", "fd00::9")
    assert code == 1 and "Address unreachable" in said


def test_the_kernel_may_not_have_the_hosts_address(wire: Wire) -> None:
    """Duplicate address detection: it asks, and hears that the address is taken."""
    wire.namespace.run("ip", "address", "add", f"{SIM6}/64", "dev", DEVICE)
    wire.until(lambda: "dadfailed" in wire.namespace.run("ip", "-6", "address", "show", "dev", DEVICE))


# --- sockets ---------------------------------------------------------------------------------------------


async def lines(host: ProgramHost) -> None:
    """Port 80: repeats what it hears, behind the address that it sees."""
    listener = await host.listen(80)
    while True:
        stream = await listener.accept()
        data = b""
        while more := await stream.read():
            data += more
        await stream.write(f"{stream.peer.address} sent {len(data)}".encode())
        stream.close()


@pytest.mark.parametrize("size", [5, 100_000])
def test_the_kernel_connects_to_the_host(wire: Wire, size: int) -> None:
    wire.net.plane.start(wire.sim, lines, "server")
    code, said = wire.kernel("nc", "-6", "-N", SIM6, "80", stdin="x" * size)
    assert (code, said) == (0, f"{KERNEL6} sent {size}")


async def upload(host: ProgramHost, size: int) -> bytes:
    for _ in range(200):  # until nc listens
        try:
            stream = await host.connect(Endpoint(KERNEL, 8080), timeout=5)
            break
        except ConnectionRefusedError:
            await host.sleep(0.02)
    await stream.write(b"y" * size)
    stream.close()
    return await stream.read(timeout=5)


@pytest.mark.parametrize("size", [5, 100_000])
def test_the_host_connects_to_the_kernel(wire: Wire, size: int) -> None:
    listening = wire.start("nc", "-6", "-l", "-N", "8080")
    assert wire.ask(upload(wire.sim, size)) == b""
    assert wire.end(listening) == (0, "y" * size)
    syns = [p for p in wire.net.packets6("sim/eth0", outbound=False) if p.protocol == ipv4.TCP]
    assert syns, "it went by IPv6"


def test_a_closed_port_is_refused_by_either(wire: Wire) -> None:
    with pytest.raises(ConnectionRefusedError):
        wire.ask(wire.sim.connect(Endpoint(KERNEL, 81)))
    code, said = wire.kernel("nc", "-6", "-v", "-z", SIM6, "81")
    assert code == 1 and "Connection refused" in said


def test_so_is_a_closed_port_of_udp(wire: Wire) -> None:
    async def send() -> None:
        socket = await wire.sim.udp(remote=Endpoint(KERNEL, 81))
        await socket.send(b"x")
        await socket.recv(timeout=5)

    with pytest.raises(ConnectionRefusedError):
        wire.ask(send())
    code, _ = wire.kernel("nc", "-6", "-u", "-v", "-z", SIM6, "81")
    assert code == 1


@pytest.mark.parametrize("size", [100, 5000])
def test_datagrams_go_both_ways_whole_or_in_pieces(wire: Wire, size: int) -> None:
    async def echo(host: ProgramHost) -> None:
        socket = await host.udp(53)
        while True:
            got = await socket.recv()
            await socket.send(got.data, got.source)

    wire.net.plane.start(wire.sim, echo, "echo")
    code, said = wire.kernel("nc", "-6", "-u", "-w", "1", SIM6, "53", stdin="z" * size)
    assert (code, said) == (0, "z" * size)


def test_the_kernel_finds_the_way_with_udp_probes(wire: Wire) -> None:
    """The host answers with port unreachable, and quotes enough of the probe for the kernel to know it."""
    probe = wire.ask(wire.sim.probe(Endpoint(KERNEL, 33434), ttl=1, timeout=5))
    assert (probe.kind, str(probe.source)) == ("port-unreachable", KERNEL6)
    _, said = wire.kernel("ping", "-6", "-n", "-c", "1", "-t", "1", SIM6)
    assert re.search(r"1 received", said)

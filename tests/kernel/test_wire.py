"""A host of netsim and the kernel on one wire: each must understand the other's ARP or neighbour discovery,
echoes, fragments, UDP, TCP and errors, in IPv4 and IPv6."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import NamedTuple

import pytest

from netsim.base.address import IpAddress
from netsim.plan.entries import HostName
from netsim.programs.host import Endpoint
from netsim.programs.host import Host as ProgramHost
from tests.kernel.wire import DEVICE, KERNEL4, KERNEL6, SIM4, SIM6, Wire

pytestmark = pytest.mark.needs("root", "netns", "nsenter", "ip", "ping", "nc")


class Ends(NamedTuple):
    """The addresses of both, and what tells a command to use their family."""

    flag: str
    sim: str
    kernel: str

    @property
    def there(self) -> IpAddress:
        """The kernel's, as the host's programs want it."""
        return ip_address(self.kernel)


IPV6 = Ends("-6", SIM6, KERNEL6)


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire() as wire:
        yield wire


@pytest.fixture(params=[Ends("-4", SIM4, KERNEL4), IPV6], ids=["ipv4", "ipv6"])
def ends(request: pytest.FixtureRequest) -> Ends:
    found: Ends = request.param
    return found


def state(wire: Wire, address: str = KERNEL6) -> str:
    """What the host thinks of the kernel."""
    views = wire.sim.neighbours()
    return next((view.state for view in views if view.address == address), "")


# --- neighbours and echoes -------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [56, 1452, 1473, 8000])
def test_the_kernel_pings_the_host(wire: Wire, ends: Ends, size: int) -> None:
    code, said = wire.kernel("ping", ends.flag, "-n", "-c", "2", "-i", "0.2", "-s", str(size), ends.sim)
    assert code == 0, said
    assert f"{size + 8} bytes from {ends.sim}: icmp_seq=2 ttl=64" in said
    assert f"{ends.sim} lladdr {wire.mac} REACHABLE" in wire.neighbours()


@pytest.mark.parametrize("size", [56, 1452, 1473, 8000])
def test_the_host_pings_the_kernel(wire: Wire, ends: Ends, size: int) -> None:
    reply = wire.ask(wire.sim.ping(ends.there, sequence=1, size=size, timeout=5))
    assert (reply.kind, str(reply.source), reply.size, reply.ttl) == ("reply", ends.kernel, size + 8, 64)
    assert state(wire, ends.kernel) == "REACHABLE"


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
    wire.ask(wire.sim.ping(IPV6.there, sequence=1, timeout=5))
    entry = next(iter(wire.net.stack("sim").links.neighbours._entries.values()))
    entry.confirmed_at -= 60
    assert state(wire) == "STALE"
    wire.ask(wire.sim.ping(IPV6.there, sequence=2, timeout=5))
    assert state(wire) == "DELAY"
    wire.net.stack("sim").links.neighbours.expire(entry, wire.net.now)
    wire.net.plane.flush(HostName("sim"))
    wire.until(lambda: state(wire) == "REACHABLE")


def test_the_kernel_learns_that_an_address_moved(wire: Wire) -> None:
    wire.kernel("ping", "-6", "-n", "-c", "1", SIM6)
    other = "02:00:00:00:00:99"
    wire.namespace.run("ip", "neigh", "change", SIM6, "lladdr", other, "dev", DEVICE, "nud", "stale")
    wire.net.stack("sim").links.announce("eth0", ip_address(SIM6).packed, wire.net.now)
    wire.net.plane.flush(HostName("sim"))
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
def test_the_kernel_connects_to_the_host(wire: Wire, ends: Ends, size: int) -> None:
    wire.net.plane.start(wire.sim, lines, "server")
    code, said = wire.kernel("nc", ends.flag, "-N", ends.sim, "80", stdin="x" * size)
    assert (code, said) == (0, f"{ends.kernel} sent {size}")


async def upload(host: ProgramHost, there: IpAddress, size: int) -> bytes:
    for _ in range(200):  # until nc listens
        try:
            stream = await host.connect(Endpoint(there, 8080), timeout=5)
            break
        except ConnectionRefusedError:
            await host.sleep(0.02)
    await stream.write(b"y" * size)
    stream.close()
    return await stream.read(timeout=5)


@pytest.mark.parametrize("size", [5, 100_000])
def test_the_host_connects_to_the_kernel(wire: Wire, ends: Ends, size: int) -> None:
    listening = wire.start("nc", ends.flag, "-l", "-N", "8080")
    assert wire.ask(upload(wire.sim, ends.there, size)) == b""
    assert wire.end(listening) == (0, "y" * size)


def test_a_closed_port_is_refused_by_either(wire: Wire, ends: Ends) -> None:
    with pytest.raises(ConnectionRefusedError):
        wire.ask(wire.sim.connect(Endpoint(ends.there, 81)))
    code, said = wire.kernel("nc", ends.flag, "-v", "-z", ends.sim, "81")
    assert code == 1 and "Connection refused" in said


def test_so_is_a_closed_port_of_udp(wire: Wire, ends: Ends) -> None:
    async def send() -> None:
        socket = await wire.sim.udp(remote=Endpoint(ends.there, 81))
        await socket.send(b"x")
        await socket.recv(timeout=5)

    with pytest.raises(ConnectionRefusedError):
        wire.ask(send())
    code, _ = wire.kernel("nc", ends.flag, "-u", "-v", "-z", ends.sim, "81")
    assert code == 1


@pytest.mark.parametrize("size", [100, 5000])
def test_datagrams_go_both_ways_whole_or_in_pieces(wire: Wire, ends: Ends, size: int) -> None:
    async def echo(host: ProgramHost) -> None:
        socket = await host.udp(53)
        while True:
            got = await socket.recv()
            await socket.send(got.data, got.source)

    wire.net.plane.start(wire.sim, echo, "echo")
    code, said = wire.kernel("nc", ends.flag, "-u", "-w", "1", ends.sim, "53", stdin="z" * size)
    assert (code, said) == (0, "z" * size)


def test_a_probe_with_its_last_hop_arrives(wire: Wire, ends: Ends) -> None:
    probe = wire.ask(wire.sim.probe(Endpoint(ends.there, 33434), ttl=1, timeout=5))
    assert (probe.kind, str(probe.source)) == ("port-unreachable", ends.kernel)
    _, said = wire.kernel("ping", ends.flag, "-n", "-c", "1", "-t", "1", ends.sim)
    assert re.search(r"1 received", said)

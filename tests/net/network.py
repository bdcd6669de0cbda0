"""Small networks on the sim plane, for tests: built in the words of iproute2, watched at every interface.

``Network`` adds entries to a plan one by one; ``two_hosts``, ``through_a_router``, ``one_node`` and
``two_nodes`` are ready-made. Programs are started and asked with ``serve`` and ``ask``. Whatever crosses an
interface is recorded; when a test fails, ``tests/net/conftest.py`` prints the walk of the last network.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_interface, ip_network
from typing import Any, TypeVar

from netsim.base.address import IpAddress, IpNetwork, Mac, mac_from_name
from netsim.base.cause import Cause, Stage
from netsim.base.rng import Rng
from netsim.capture.record import PacketRecord, Recorder, packet_from_record
from netsim.capture.render import lines, render_list
from netsim.net.stack import Stack
from netsim.plan.delta import Delta
from netsim.plan.entries import (
    NODES,
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
    Masquerade,
    Match,
    Neighbour,
    Place,
    PodTraffic,
    Port,
    Role,
    Route,
    Rule,
    Schedule,
    Scope,
    SharedAddress,
    VirtualServer,
    Vxlan,
)
from netsim.planes.sim.plane import SimPlane
from netsim.programs.host import Endpoint
from netsim.programs.host import Host as ProgramHost
from netsim.wire import ipv4, ipv6

T = TypeVar("T")
CAUSE = Cause(Stage.PLAN, "the test wants it")
OWNER = "test"
LATENCY = 0.001
POD_SUBNET = IPv4Network("10.244.0.0/16")
SERVICE = "10.96.0.20:80"
WALK_LIMIT = 120

LATEST: list[Network] = []


class Network:
    """A plane, the plan that it follows, and everything that crossed an interface."""

    def __init__(self, seed: int = 1) -> None:
        self.plane = SimPlane(Rng(seed))
        self.entries: dict[Key, Entry] = {}
        self.recorder = Recorder()
        self.plane._recorders.append(self.recorder)
        LATEST[:] = [self]

    # --- building ------------------------------------------------------------------------------------

    def put(self, *entries: Entry) -> None:
        self.entries.update({entry.key: entry for entry in entries})
        self.plane.apply(Delta(put=entries))

    def remove(self, *keys: Key) -> None:
        for key in keys:
            del self.entries[key]
        self.plane.apply(Delta(remove=keys))

    def change(self, key: Key, **fields: object) -> None:
        """Put an entry again, with other fields."""
        entry: Any = self.entries[key]
        self.put(entry._replace(**fields))

    def host(
        self, name: str, *, forwarding: bool = False, bridge_netfilter: bool = False, node: bool = False
    ) -> None:
        groups = (NODES,) if node else ()
        self.put(
            Host(
                HostName(name), Role.NODE, name, OWNER, CAUSE, groups, forwarding, bridge_netfilter
            )
        )  # fmt: skip

    def interface(
        self, port: str, *, kind: InterfaceKind = InterfaceKind.VETH, mtu: int = 1500,
        master: str | None = None, hairpin: bool = False, vxlan: Vxlan | None = None,
    ) -> None:  # fmt: skip
        host, name = split(port)
        mac = mac_of(port)
        self.put(Interface(host, name, kind, mac, OWNER, CAUSE, mtu, master, hairpin, vxlan))

    def wire(self, a: str, b: str, *, latency: float = LATENCY, mtu: int = 1500) -> None:
        """A veth pair; interfaces that are not there yet are added."""
        for port in (a, b):
            host, name = split(port)
            if ("interface", host, name) not in self.entries:
                self.interface(port, mtu=mtu)
        self.put(Link(Port(*split(a)), Port(*split(b)), OWNER, CAUSE, latency))

    def address(self, port: str, *addresses: str) -> None:
        host, name = split(port)
        self.put(*(Address(host, name, ip_interface(text), OWNER, CAUSE) for text in addresses))

    def route(self, on: str, destination: str, device: str, via: str = "", *, metric: int = 0) -> None:
        default = "::/0" if ":" in via else "0.0.0.0/0"
        network = ip_network(default if destination == "default" else destination)
        gateway = ip_address(via) if via else None
        self.put(Route(Scope(on), network, device, OWNER, CAUSE, gateway, metric=metric))

    def neighbour(self, on: str, device: str, address: str, mac: Mac) -> None:
        self.put(Neighbour(Scope(on), device, ip_address(address), mac, OWNER, CAUSE))

    def fdb(self, on: str, device: str, mac: Mac, destination: str) -> None:
        self.put(Fdb(Scope(on), device, mac, ip_address(destination), OWNER, CAUSE))

    def rule(
        self, on: str, hook: Hook, action: Action, match: Match | None = None,
        *, order: int = 0, name: str = "rule", family: int = 4,
    ) -> None:  # fmt: skip
        self.put(Rule(Scope(on), hook, order, name, match or Match(), action, OWNER, CAUSE, family))

    def service(
        self, target: str, backends: Iterable[str], *, on: str = NODES, protocol: int = ipv4.TCP,
        local_sources: IpNetwork | None = POD_SUBNET, schedule: Schedule = Schedule.RANDOM,
        drain: float = 0.0,
    ) -> None:  # fmt: skip
        """A virtual server, and who Pods are. A backend may have a weight: ``10.244.1.3:8080*2``."""
        address, port = endpoint(target)
        servers = tuple(backend_of(text) for text in backends)
        pods = PodTraffic(local_sources) if local_sources else None
        self.put(
            VirtualServer(
                Scope(on), protocol, address, port, f"svc {target}", servers, OWNER, CAUSE,
                schedule, Masquerade.OUTSIDERS, drain,
            ),
            Place(Scope(on), OWNER, CAUSE, family=address.version, pods=pods),
        )  # fmt: skip

    def shared(self, interface: str, *addresses: str) -> None:
        """Addresses that every node shares, and the interface for them on every node."""
        hosts = [entry.name for entry in self.entries.values() if isinstance(entry, Host) and entry.groups]
        for name in hosts:
            if ("interface", name, interface) not in self.entries:
                self.interface(f"{name}/{interface}", kind=InterfaceKind.DUMMY)
        self.put(*(SharedAddress(NODES, interface, ip_address(a), OWNER, CAUSE) for a in addresses))

    # --- using ---------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        return self.plane.now

    def programs(self, name: str) -> ProgramHost:
        return self.plane.host(HostName(name))

    def stack(self, name: str) -> Stack:
        return self.plane.stack(HostName(name))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.plane.pump(coroutine)

    def wait(self, seconds: float) -> None:
        """Let that much virtual time pass."""
        self.plane.pump_until(lambda: False, self.now + seconds)

    def serve(self, name: str, port: int, *, protocol: int = ipv4.TCP) -> None:
        """Answer every connection, or datagram, with who answers and whom it sees."""
        host = self.programs(name)
        program = _serve_tcp if protocol == ipv4.TCP else _serve_udp
        self.plane.start(host, lambda host: program(host, name, port), f"server on {port}")

    def ask(self, name: str, target: str, *, timeout: float = 20.0) -> str:
        """What the server at ``target`` answers, ``refused``, ``timeout`` or the error's name."""
        return self.run(_outcome(_ask_tcp(self.programs(name), Endpoint(*endpoint(target)), timeout)))

    def ask_udp(self, name: str, target: str, *, port: int = 0, timeout: float = 5.0) -> str:
        return self.run(_outcome(_ask_udp(self.programs(name), Endpoint(*endpoint(target)), port, timeout)))

    def ping(self, name: str, address: str, *, size: int = 56, ttl: int = 64, df: bool = False) -> str:
        """The kind of the answer and who sent it, or ``timeout``."""
        host = self.programs(name)
        return self.run(_outcome(_ping(host, ip_address(address), size, ttl, df)))

    # --- watching ------------------------------------------------------------------------------------

    def seen(self, port: str, *, outbound: bool | None = None) -> list[bytes]:
        """The frames that crossed an interface so far."""
        at = Port(*split(port))
        return [r.data for r in self.recorder.records if r.port == at and outbound in (None, r.outbound)]

    def packets(self, port: str, *, outbound: bool | None = None) -> list[ipv4.Ipv4]:
        """Of those, the IPv4 packets."""
        frames = self.seen(port, outbound=outbound)
        return [ipv4.parse(data[14:]) for data in frames if data[12:14] == b"\x08\x00"]

    def packets6(self, port: str, *, outbound: bool | None = None) -> list[ipv6.Ipv6]:
        """And the IPv6 packets."""
        frames = self.seen(port, outbound=outbound)
        return [ipv6.parse(data[14:]) for data in frames if data[12:14] == b"\x86\xdd"]

    def reasons(self) -> str:
        """Every cause that any packet collected, one on a line."""
        return "\n".join(str(note) for record in self.recorder.records for note in record.notes)

    def walk(self) -> str:
        """What crossed the interfaces, with the reasons."""
        return walk(self.recorder.records)

    @contextmanager
    def forgetting(self) -> Iterator[None]:
        """Begin with empty records."""
        self.recorder.records.clear()
        yield


def walk(records: list[PacketRecord]) -> str:
    """The last records, each with the reasons that its packet has collected since the one before."""
    told: dict[int, int] = {}
    packets = []
    for record in records[-WALK_LIMIT:]:
        known = told.get(record.serial, 0)
        told[record.serial] = len(record.notes)
        packets.append(packet_from_record(record._replace(notes=record.notes[known:])))
    return render_list(list(lines(packets)), reasons=True)


def split(port: str) -> tuple[HostName, str]:
    host, _, interface = port.rpartition("/")
    return HostName(host), interface


def endpoint(text: str) -> tuple[IpAddress, int]:
    """An address and a port: ``10.0.0.1:80``, ``[fd00::1]:80``."""
    address, _, port = text.rpartition(":")
    return ip_address(address.strip("[]")), int(port)


def backend_of(text: str) -> Backend:
    where, _, weight = text.partition("*")
    return Backend(*endpoint(where), weight=int(weight or 1))


def mac_of(port: str) -> Mac:
    return mac_from_name(port)


# --- ready-made ------------------------------------------------------------------------------------------


def two_hosts(*, mtu: int = 1500, seed: int = 1) -> Network:
    """``a`` 10.0.0.1 and ``b`` 10.0.0.2 on one wire."""
    net = Network(seed)
    net.host("a")
    net.host("b")
    net.wire("a/eth0", "b/eth0", mtu=mtu)
    net.address("a/eth0", "10.0.0.1/24")
    net.address("b/eth0", "10.0.0.2/24")
    return net


def through_a_router(*, mtu: int = 1500, far_mtu: int = 1500, seed: int = 1) -> Network:
    """``a`` 10.0.0.1 and ``b`` 10.0.1.1 with ``router`` between them; ``far_mtu`` is that of b's wire."""
    net = Network(seed)
    net.host("a")
    net.host("b")
    net.host("router", forwarding=True, node=True)
    net.wire("a/eth0", "router/eth0", mtu=mtu)
    net.wire("b/eth0", "router/eth1", mtu=far_mtu)
    net.address("a/eth0", "10.0.0.1/24")
    net.address("router/eth0", "10.0.0.254/24")
    net.address("router/eth1", "10.0.1.254/24")
    net.address("b/eth0", "10.0.1.1/24")
    net.route("a", "default", "eth0", "10.0.0.254")
    net.route("b", "default", "eth0", "10.0.1.254")
    return net


def add_node(net: Network, name: str, number: int, pods: Iterable[str], *, netfilter: bool = True) -> None:
    """A node with a bridge ``cni0`` 10.244.N.1/24 and Pods from 10.244.N.2 upwards, in hairpin mode."""
    net.host(name, forwarding=True, bridge_netfilter=netfilter, node=True)
    net.interface(f"{name}/cni0", kind=InterfaceKind.BRIDGE)
    net.address(f"{name}/cni0", f"10.244.{number}.1/24")
    for offset, pod in enumerate(pods, 2):
        net.host(pod)
        net.interface(f"{name}/veth-{pod}", master="cni0", hairpin=True)
        net.wire(f"{pod}/eth0", f"{name}/veth-{pod}")
        net.address(f"{pod}/eth0", f"10.244.{number}.{offset}/24")
        net.route(pod, "default", "eth0", f"10.244.{number}.1")


def one_node(pods: Iterable[str] = ("p", "q", "r"), *, netfilter: bool = True, seed: int = 1) -> Network:
    """``node`` with Pods p 10.244.1.2, q .3 and r .4."""
    net = Network(seed)
    add_node(net, "node", 1, pods, netfilter=netfilter)
    return net


def two_nodes(*, underlay_mtu: int = 1500, seed: int = 1) -> Network:
    """``n1`` 192.168.0.1 with Pods p, q and ``n2`` 192.168.0.2 with Pods s, t, joined by flannel's VXLAN."""
    net = Network(seed)
    for number, name, pods in ((1, "n1", ("p", "q")), (2, "n2", ("s", "t"))):
        add_node(net, name, number, pods)
        net.interface(f"{name}/eth0", mtu=underlay_mtu)
        net.address(f"{name}/eth0", f"192.168.0.{number}/24")
        local = IPv4Address(f"192.168.0.{number}")
        tunnel = Vxlan(1, 8472, local, "eth0")
        net.interface(f"{name}/flannel.1", kind=InterfaceKind.VXLAN, mtu=1450, vxlan=tunnel)
        net.address(f"{name}/flannel.1", f"10.244.{number}.0/32")
        net.put(
            Route(
                NODES, IPv4Network(f"10.244.{number}.0/24"), "flannel.1", OWNER, CAUSE,
                IPv4Address(f"10.244.{number}.0"), onlink=True,
            )
        )  # fmt: skip
        net.neighbour(NODES, "flannel.1", f"10.244.{number}.0", mac_of(f"{name}/flannel.1"))
        net.fdb(NODES, "flannel.1", mac_of(f"{name}/flannel.1"), f"192.168.0.{number}")
        for pod in pods:
            net.change(("interface", pod, "eth0"), mtu=1450)
            net.change(("interface", name, f"veth-{pod}"), mtu=1450)
    net.wire("n1/eth0", "n2/eth0")
    return net


def v6(address: str) -> str:
    """What ``dual_stack`` gives to whom has this address: who is ``10.0.0.1`` is ``fd00::10:0:0:1`` too."""
    return f"fd00::{address.replace('.', ':')}"


def dual_stack(net: Network) -> Network:
    """Give every host IPv6 addresses and routes like those that it has."""
    for entry in list(net.entries.values()):
        if isinstance(entry, Address):
            length = 64 + 2 * entry.address.network.prefixlen
            net.put(entry._replace(address=ip_interface(f"{v6(str(entry.address.ip))}/{length}")))
        elif isinstance(entry, Route):
            base, length = str(entry.destination.network_address), entry.destination.prefixlen
            net.route(
                entry.on,
                f"{v6(base)}/{64 + 2 * length}" if length else "default",
                entry.device,
                v6(str(entry.via)) if entry.via else "",
                metric=entry.metric,
            )
    return net


# --- programs --------------------------------------------------------------------------------------------


async def _serve_tcp(host: ProgramHost, name: str, port: int) -> None:
    listener = await host.listen(port)

    while True:
        stream = await listener.accept()
        try:
            data = await stream.read()
            await stream.write(f"{name} sees {stream.peer} asking {data.decode()}".encode())
        except ConnectionError:
            continue  # the client is gone
        stream.close()


async def _serve_udp(host: ProgramHost, name: str, port: int) -> None:
    socket = await host.udp(port)
    while True:
        got = await socket.recv()
        await socket.send(f"{name} sees {got.source} asking {got.data.decode()}".encode(), got.source)


async def _ask_tcp(host: ProgramHost, target: Endpoint, timeout: float) -> str:
    stream = await host.connect(target, timeout=timeout)
    await stream.write(b"who")
    answer = b""
    while data := await stream.read(timeout=timeout):
        answer += data
    stream.close()
    return answer.decode()


async def _ask_udp(host: ProgramHost, target: Endpoint, port: int, timeout: float) -> str:
    socket = await host.udp(port, remote=target)
    try:
        await socket.send(b"who")
        return (await socket.recv(timeout=timeout)).data.decode()
    finally:
        socket.close()


async def _ping(host: ProgramHost, address: IpAddress, size: int, ttl: int, df: bool) -> str:
    reply = await host.ping(address, sequence=1, size=size, ttl=ttl, timeout=5.0, df=df)
    return f"{reply.kind} from {reply.source}"


async def _outcome(coroutine: Coroutine[Any, Any, str]) -> str:
    try:
        return await coroutine
    except TimeoutError:
        return "timeout"
    except ConnectionRefusedError:
        return "refused"
    except OSError as error:
        return error.strerror or type(error).__name__


Program = Callable[[ProgramHost], Coroutine[Any, Any, Any]]

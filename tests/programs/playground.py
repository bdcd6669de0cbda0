"""A small site on the sim plane, for tests of programs and tools.

::

    jump 10.244.1.5 ──── router 10.244.1.1 / 10.244.2.1 ──── server 10.244.2.9 (a DNS server too, 10.244.2.53)

The router drops what goes to 10.97.0.0/16 and knows no way to 10.99.0.0/16; at 10.244.2.200 there is nobody.
``dual_stack`` gives the three fd00:10:244:1::5, …::1, fd00:10:244:2::1 and …::9 too.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Any, TypeVar

from netsim.base.address import mac_from_name
from netsim.base.cause import Cause, Stage
from netsim.base.rng import Rng
from netsim.plan.delta import Delta
from netsim.plan.entries import (
    Action,
    Address,
    Entry,
    Hook,
    HostName,
    Interface,
    InterfaceKind,
    Link,
    Match,
    Port,
    Role,
    Route,
    Rule,
    Scope,
)
from netsim.plan.entries import Host as PlannedHost
from netsim.planes.sim.host import SimHost
from netsim.planes.sim.plane import SimPlane
from netsim.programs.host import Host, Identity, Invocation, Listener, Program, Stream, Task
from netsim.programs.shell import run_command
from netsim.programs.terminal import Outcome, Terminal
from netsim.programs.tools.call import Flavour
from netsim.wire import dns

T = TypeVar("T")

WHY = Cause(Stage.PLAN, "test")
OWNER = "test"
JUMP, ROUTER, SERVER = HostName("jump"), HostName("router"), HostName("server")
BLACK_HOLE = IPv4Network("10.97.0.0/16")
DNS_SERVER = IPv4Address("10.244.2.53")
LATENCY = 0.00025
RESOLV_CONF = """search dev.svc.cluster.local svc.cluster.local cluster.local
nameserver 10.244.2.53
options ndots:5
"""
HOSTS = "127.0.0.1\tlocalhost\n10.244.1.5\tjump.sub.dev.svc.cluster.local\tjump\n"

SOA = dns.Record(
    "cluster.local.", dns.SOA, dns.IN, 30,
    dns.Soa("ns.dns.cluster.local.", "hostmaster.cluster.local.", 1700000000, 7200, 1800, 86400, 30),
)  # fmt: skip


def a(name: str, *addresses: str) -> list[dns.Record]:
    return [dns.Record(name, dns.A, dns.IN, 30, IPv4Address(text).packed) for text in addresses]


REVERSE6 = f"{IPv6Address('fd00:10:244:2::9').reverse_pointer}."
ZONE: Mapping[str, list[dns.Record]] = {
    "ent.dev.svc.cluster.local.": a("ent.dev.svc.cluster.local.", "10.244.2.9"),
    "ent.prod.svc.cluster.local.": [
        *a("ent.prod.svc.cluster.local.", "10.244.2.9"),
        dns.Record(
            "ent.prod.svc.cluster.local.",
            dns.SRV,
            dns.IN,
            30,
            dns.Srv(0, 100, 8080, "ent.prod.svc.cluster.local."),
        ),
    ],
    "six.dev.svc.cluster.local.": [
        dns.Record(
            "six.dev.svc.cluster.local.", dns.AAAA, dns.IN, 30, IPv6Address("fd00:10:244:2::9").packed
        ),
        *a("six.dev.svc.cluster.local.", "10.244.2.9"),
    ],
    "head.dev.svc.cluster.local.": a("head.dev.svc.cluster.local.", "10.244.2.200", "10.244.2.9"),
    "big.dev.svc.cluster.local.": a(
        "big.dev.svc.cluster.local.", *(f"10.244.9.{number}" for number in range(1, 81))
    ),
    "cn.dev.svc.cluster.local.": [
        dns.Record("cn.dev.svc.cluster.local.", dns.CNAME, dns.IN, 30, "www.example.com."),
        *a("www.example.com.", "203.0.113.80"),
    ],
    "hole.dev.svc.cluster.local.": a("hole.dev.svc.cluster.local.", "10.97.0.1"),
    "www.example.com.": [
        *a("www.example.com.", "203.0.113.80"),
        dns.Record("www.example.com.", dns.MX, dns.IN, 30, dns.Mx(10, "mail.example.com.")),
        dns.Record("www.example.com.", dns.TXT, dns.IN, 30, (b"v=spf1 -all",)),
    ],
    "9.2.244.10.in-addr.arpa.": [
        dns.Record("9.2.244.10.in-addr.arpa.", dns.PTR, dns.IN, 30, "ent.prod.svc.cluster.local.")
    ],
    REVERSE6: [dns.Record(REVERSE6, dns.PTR, dns.IN, 30, "six.dev.svc.cluster.local.")],
}
RCODES = {"sf.dev.svc.cluster.local.": dns.Rcode.SERVFAIL, "rf.dev.svc.cluster.local.": dns.Rcode.REFUSED}


def answer(data: bytes, *, limit: int | None) -> bytes:
    """What the site's DNS server replies, in the manner of CoreDNS: authoritative, without recursion."""
    query = dns.parse(data)
    question = query.questions[0]
    name = question.name.lower()
    edns = query.edns._replace(size=1232) if query.edns is not None else None
    records = tuple(
        r for r in ZONE.get(name, ()) if r.rtype in (question.qtype, dns.CNAME) or r.name.lower() != name
    )
    rcode = RCODES.get(name, dns.Rcode.NOERROR if name in ZONE else dns.Rcode.NXDOMAIN)
    message = dns.reply(
        query, rcode=rcode, authoritative=not name.endswith("example.com."), answers=records,
        authority=() if records or rcode in (2, 5) else (SOA,), edns=edns,
    )  # fmt: skip
    return dns.build(message, limit=limit)


class DnsServer:
    """A program: port 53 over UDP and TCP. ``asked`` lists the questions, as ``name type``."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, host: Host, start: Invocation) -> int:
        sock = await host.udp(53, address=DNS_SERVER)
        host.spawn(self._over_tcp(await host.listen(53)), "dns tcp")
        while True:
            datagram = await sock.recv()
            query = self._note(datagram.data)
            limit = max(query.edns.size if query.edns else 512, 512)
            await sock.send(answer(datagram.data, limit=limit), datagram.source)

    async def _over_tcp(self, listener: Listener) -> None:
        while True:
            stream = await listener.accept()
            data = await stream.read()
            self._note(data[2:])
            reply = answer(data[2:], limit=None)
            await stream.write(len(reply).to_bytes(2, "big") + reply)
            stream.close()

    def _note(self, data: bytes) -> dns.Message:
        query = dns.parse(data)
        self.asked.append(f"{query.questions[0].name} {dns.type_name(query.questions[0].qtype)}")
        return query


RAW_REPLIES: Mapping[str, bytes] = {
    "/": b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhello\n",
    "/redir": b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
    "/loop": b"HTTP/1.1 302 Found\r\nLocation: /loop\r\nContent-Length: 0\r\n\r\n",
    "/chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n\n\r\n0\r\n\r\n",
    "/404": b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\nContent-Type: text/plain\r\n\r\nno\n",
    "/short": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
    "/close": b"HTTP/1.0 200 OK\r\n\r\nabc\n",
    "/garbage": b"+OK redis\r\n",
    "/empty": b"",
}
ENDS_THERE = ("/short", "/close", "/garbage", "/empty")
"""Replies after which the server closes the connection."""


async def raw_web_server(host: Host, start: Invocation) -> int:
    """Port 8080: the replies above byte by byte as written; /rst resets, /slow never answers."""
    listener = await host.listen(8080)
    while True:
        host.spawn(_raw_conversation(await listener.accept()), "raw web")


async def _raw_conversation(stream: Stream) -> None:
    while data := await stream.read():
        path = data.split()[1].decode()
        if path == "/rst":
            stream.abort()
            return
        if path == "/slow":
            continue
        reply = RAW_REPLIES.get(path, RAW_REPLIES["/"])
        if data.startswith(b"HEAD"):
            reply = reply.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        if reply:
            await stream.write(reply)
        if path in ENDS_THERE:
            break
    stream.close()


async def banner_server(host: Host, start: Invocation) -> int:
    """Port 2525: greets, repeats what it hears, and hangs up at ``quit``."""
    listener = await host.listen(2525)
    while True:
        stream = await listener.accept()
        await stream.write(b"220 hi\r\n")
        while data := await stream.read():
            await stream.write(b"you said " + data)
            if b"quit" in data:
                break
        stream.close()


async def udp_echo(host: Host, start: Invocation) -> int:
    """Port 9999/udp: what comes, with ``echo`` in front."""
    sock = await host.udp(9999)
    while True:
        datagram = await sock.recv()
        await sock.send(b"echo " + datagram.data, datagram.source)


class Screen:
    """A terminal that notes when each piece of output appeared."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.seen: list[tuple[float, str]] = []

    def stdout(self, text: str) -> None:
        self.seen.append((round(self._host.now(), 3), text))

    stderr = stdout


class Playground:
    """The site. ``run`` lets virtual time pass until a coroutine has its result."""

    def __init__(self) -> None:
        self.plane = SimPlane(Rng(1))
        self.plane.apply(Delta(put=tuple(_entries())))
        self.jump: SimHost = self.plane.host(JUMP)  # type: ignore[assignment]  # the sim plane's hosts are SimHosts
        self.server: SimHost = self.plane.host(SERVER)  # type: ignore[assignment]  # as above
        self.jump.files.update({"/etc/resolv.conf": RESOLV_CONF, "/etc/hosts": HOSTS})
        self.dns = DnsServer()
        self.serve(self.dns)

    def dual_stack(self) -> None:
        """Give the hosts IPv6 addresses and routes."""
        self.plane.apply(Delta(put=tuple(_entries6())))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.plane.pump(coroutine)

    def wait(self, seconds: float) -> None:
        self.plane.pump(self.jump.sleep(seconds))

    def serve(self, program: Program, start: Invocation | None = None, title: str = "server") -> Task[int]:
        """Start a program on the server, and give it the moment that it takes to listen."""
        invocation = start or Invocation("test")
        task = self.plane.start(self.server, lambda host: program(host, invocation), title)
        task.watch()  # type: ignore[attr-defined]  # a SimTask; its error is for the test to look at
        self.wait(0.001)
        return task

    def shell(self, line: str, **options: Any) -> Outcome:
        """Run a line of shell on jump."""
        return self.command("sh", "-c", line, **options)

    def command(
        self, *argv: str, stdin: str = "", busybox: bool = False, env: Mapping[str, str] | None = None,
        terminal: Terminal | None = None,
    ) -> Outcome:  # fmt: skip
        flavour = Flavour.BUSYBOX if busybox else Flavour.GNU
        identity = Identity(pod="jump", namespace="dev", node="node1", pod_ip="10.244.1.5")
        return self.run(
            run_command(
                self.jump, argv, env=env, stdin=stdin, identity=identity, flavour=flavour, terminal=terminal
            )
        )

    def transcript(self, lines: Sequence[str], *, busybox: bool = False) -> str:
        """What a user sees of these lines of shell; stderr is marked with ``!``."""
        text = ""
        for line in lines:
            exit_code, stdout, stderr = self.shell(line, busybox=busybox)
            text += f"$ {line}\n{stdout}"
            if stdout and not stdout.endswith("\n"):
                text += "(no newline)\n"
            text += "".join(f"! {complaint}\n" for complaint in stderr.splitlines())
            text += f"[exit {exit_code}]\n" if exit_code else ""
        return text.replace("\r", "␍")


def _entries() -> list[Entry]:
    def host(name: HostName, role: Role, *, forwarding: bool = False) -> PlannedHost:
        return PlannedHost(name, role, str(name), OWNER, WHY, forwarding=forwarding)

    def interface(name: HostName, device: str, mtu: int = 1450) -> Interface:
        mac = mac_from_name(f"{name}/{device}")
        return Interface(name, device, InterfaceKind.VETH, mac, OWNER, WHY, mtu=mtu)

    def address(name: HostName, device: str, text: str) -> Address:
        return Address(name, device, IPv4Interface(text), OWNER, WHY)

    def route(name: HostName, device: str, via: str) -> Route:
        return Route(
            Scope(name), IPv4Network("0.0.0.0/0"), device, OWNER, WHY, via=IPv4Address(via), protocol="boot"
        )

    return [
        host(JUMP, Role.POD),
        host(ROUTER, Role.ROUTER, forwarding=True),
        host(SERVER, Role.POD),
        interface(JUMP, "eth0"),
        interface(ROUTER, "eth0"),
        interface(ROUTER, "eth1"),
        interface(SERVER, "eth0"),
        Link(Port(JUMP, "eth0"), Port(ROUTER, "eth0"), OWNER, WHY, latency=LATENCY),
        Link(Port(ROUTER, "eth1"), Port(SERVER, "eth0"), OWNER, WHY, latency=LATENCY),
        address(JUMP, "eth0", "10.244.1.5/24"),
        address(ROUTER, "eth0", "10.244.1.1/24"),
        address(ROUTER, "eth1", "10.244.2.1/24"),
        address(SERVER, "eth0", "10.244.2.9/24"),
        address(SERVER, "eth0", "10.244.2.53/24"),
        route(JUMP, "eth0", "10.244.1.1"),
        Route(Scope(ROUTER), BLACK_HOLE, "eth1", OWNER, WHY, via=IPv4Address("10.244.2.9")),
        route(SERVER, "eth0", "10.244.2.1"),
        Rule(
            Scope(ROUTER), Hook.FORWARD, 1, "black hole", Match(destination=BLACK_HOLE),
            Action.DROP, OWNER, WHY,
        ),
    ]  # fmt: skip


def _entries6() -> list[Entry]:
    def address(name: HostName, device: str, text: str) -> Address:
        return Address(name, device, IPv6Interface(text), OWNER, WHY)

    def route(name: HostName, device: str, via: str) -> Route:
        default = IPv6Network("::/0")
        return Route(Scope(name), default, device, OWNER, WHY, via=IPv6Address(via), protocol="boot")

    return [
        address(JUMP, "eth0", "fd00:10:244:1::5/64"),
        address(ROUTER, "eth0", "fd00:10:244:1::1/64"),
        address(ROUTER, "eth1", "fd00:10:244:2::1/64"),
        address(SERVER, "eth0", "fd00:10:244:2::9/64"),
        route(JUMP, "eth0", "fd00:10:244:1::1"),
        route(SERVER, "eth0", "fd00:10:244:2::1"),
    ]

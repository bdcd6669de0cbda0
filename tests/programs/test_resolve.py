"""Names on a Host: the resolver machine's commands become sockets, and the sockets' errors its events."""

from __future__ import annotations

import errno
from collections.abc import Callable, Coroutine, MutableMapping
from ipaddress import IPv4Address, ip_address
from typing import Any, cast

import pytest

from netsim.base.address import Mac
from netsim.base.cause import Cause, Stage
from netsim.base.rng import Rng
from netsim.programs.host import Datagram, Endpoint, Host, InterfaceView
from netsim.programs.resolve import drive, getaddrinfo, getent_hosts, reverse
from netsim.resolver.commands import (
    Close,
    Command,
    Event,
    Family,
    GaiError,
    Libc,
    Lookup,
    Open,
    Outcome,
    Receive,
    Send,
    Transport,
)
from netsim.resolver.glibc import Machine
from netsim.wire import dns
from netsim.wire.dns import Message, Rcode, Record

SERVER = IPv4Address("10.96.0.10")
RESOLV_CONF = "search dev.svc.cluster.local svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"
Answers = Callable[[Message], Message]


def ent_in_dev(query: Message) -> Message:
    """One name with two addresses, and the name of one address."""
    name, qtype, _ = query.questions[0]
    answered: dict[tuple[str, int], Any] = {
        ("ent.dev.svc.cluster.local.", dns.A): [bytes([10, 244, 2, 9]), bytes([10, 244, 1, 7])],
        ("ent.dev.svc.cluster.local.", dns.AAAA): [],
        ("7.1.244.10.in-addr.arpa.", dns.PTR): ["ent.dev.svc.cluster.local."],
    }
    if (name, qtype) not in answered:
        return dns.reply(query, rcode=Rcode.NXDOMAIN)
    records = tuple(Record(name, qtype, dns.IN, 30, data) for data in answered[name, qtype])
    return dns.reply(query, authoritative=True, answers=records)


class FakeHost:
    """The part of a Host that a resolver uses, with one DNS server at 10.96.0.10 and a clock of its own."""

    name = "web-0"
    libc = Libc.GLIBC

    def __init__(self, answers: Answers = ent_in_dev, resolv_conf: str = RESOLV_CONF) -> None:
        self.answers = answers
        self.files: MutableMapping[str, str] = {
            "/etc/resolv.conf": resolv_conf,
            "/etc/hosts": "127.0.0.1\tlocalhost\n10.244.1.5\tweb-0\n",
        }
        self.rng = Rng(1)
        self.time = 0.0
        self.sent: list[tuple[str, Endpoint, Cause | None]] = []
        self.tried: list[Endpoint | None] = []
        self.open = 0
        self.udp_error: BaseException | None = None
        self.tcp_error: OSError | None = None
        self.silent: set[Transport] = set()
        self.chunk = 65536
        self.hang_up = False
        self.reset = False

    def now(self) -> float:
        return self.time

    def interfaces(self) -> tuple[InterfaceView, ...]:
        def view(index: int, name: str, *addresses: str) -> InterfaceView:
            return InterfaceView(index, name, "veth", Mac(bytes(6)), 1500, addresses, "", None)

        return (view(1, "lo", "127.0.0.1/8", "::1/128"), view(2, "eth0", "10.244.1.5/24", "fe80::1/64"))

    async def udp(self, port: int = 0, *, address: Any = None, remote: Endpoint | None = None) -> FakeUdp:
        self.tried.append(remote)
        if remote is not None and remote.address != SERVER:
            raise OSError(errno.ENETUNREACH, "Network is unreachable")
        self.open += 1
        return FakeUdp(self, remote)

    async def connect(self, remote: Endpoint, *, timeout: Any = None, cause: Any = None) -> FakeStream:
        self.sent.append(("connect", remote, cause))
        if self.tcp_error is not None:
            raise self.tcp_error
        self.open += 1
        return FakeStream(self, remote)

    def note(self, data: bytes, to: Endpoint, cause: Cause | None) -> bytes:
        query = dns.parse(data)
        name, qtype, _ = query.questions[0]
        self.sent.append((f"{name} {dns.TYPE_NAMES[qtype]}", to, cause))
        return dns.build(self.answers(query))


class FakeUdp:
    def __init__(self, host: FakeHost, remote: Endpoint | None) -> None:
        self.host = host
        self.remote = remote
        self.waiting: list[tuple[bytes, Endpoint]] = []

    async def send(self, data: bytes, to: Endpoint | None = None, *, cause: Cause | None = None) -> None:
        peer = to or self.remote
        assert peer is not None
        self.waiting.append((self.host.note(data, peer, cause), peer))

    async def recv(self, *, timeout: float | None = None) -> Datagram:
        assert timeout is not None
        if self.host.udp_error is not None:
            raise self.host.udp_error
        if Transport.UDP in self.host.silent or not self.waiting:
            self.host.time += timeout
            raise TimeoutError("timed out")
        data, source = self.waiting.pop(0)
        return Datagram(data, source, Endpoint(IPv4Address("10.244.1.5"), 40000), ())

    def close(self) -> None:
        self.host.open -= 1


class FakeStream:
    def __init__(self, host: FakeHost, peer: Endpoint) -> None:
        self.host = host
        self.peer = peer
        self.unread = b""

    async def write(self, data: bytes, *, cause: Cause | None = None) -> None:
        while data:
            end = 2 + int.from_bytes(data[:2], "big")
            reply = self.host.note(data[2:end], self.peer, cause)
            self.unread += len(reply).to_bytes(2, "big") + reply
            data = data[end:]

    async def read(self, limit: int = 65536, *, timeout: float | None = None) -> bytes:
        assert timeout is not None
        if self.host.hang_up:
            return b""
        if self.host.reset:
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        if Transport.TCP in self.host.silent or not self.unread:
            self.host.time += timeout
            raise TimeoutError("timed out")
        data, self.unread = self.unread[: self.host.chunk], self.unread[self.host.chunk :]
        return data

    def close(self) -> None:
        self.host.open -= 1


Call = Callable[..., Coroutine[Any, Any, Lookup]]


async def look_up(host: FakeHost, call: Call, *arguments: Any, **options: Any) -> Lookup:
    """Run one call; whatever came of it, no socket stays open."""
    lookup = await call(cast(Host, host), *arguments, **options)
    assert host.open == 0
    return lookup


def truncated_over_udp(answers: Answers) -> Answers:
    """The first answers are truncated, those after them (over TCP) are whole."""
    seen: list[Message] = []

    def answer(query: Message) -> Message:
        seen.append(query)
        empty = dns.reply(query, truncated=True, recursion_available=True)
        return empty if len(seen) <= 2 else answers(query)

    return answer


async def test_a_name_is_found_with_a_query_for_each_family() -> None:
    host = FakeHost()
    lookup = await look_up(host, getaddrinfo, "ent")
    assert [str(address) for address in lookup.addresses] == ["10.244.1.7", "10.244.2.9"]
    assert [what for what, _, _ in host.sent] == [
        "ent.dev.svc.cluster.local. A",
        "ent.dev.svc.cluster.local. AAAA",
    ]
    assert {to for _, to, _ in host.sent} == {Endpoint(SERVER, 53)}


async def test_every_query_carries_its_cause() -> None:
    host = FakeHost()
    await look_up(host, getaddrinfo, "ent.prod")
    causes = [cause for _, _, cause in host.sent]
    assert causes[0] == Cause(
        Stage.RESOLVER, "search list 1 of 2: ent.prod + dev.svc.cluster.local (1 dot < ndots 5)"
    )
    assert causes[-1] == Cause(Stage.RESOLVER, "as-is, after the search list: ent.prod")


async def test_the_files_are_read_at_each_call() -> None:
    host = FakeHost()
    await look_up(host, getaddrinfo, "web-0")
    assert host.sent == []
    host.files["/etc/hosts"] = ""
    host.files["/etc/resolv.conf"] = "nameserver 10.96.0.10\n"
    await look_up(host, getaddrinfo, "web-0")
    assert [what for what, _, _ in host.sent] == ["web-0. A", "web-0. AAAA"]


async def test_without_files_the_local_host_is_asked() -> None:
    host = FakeHost()
    host.files.clear()
    assert (await look_up(host, getaddrinfo, "ent")).error is GaiError.EAI_AGAIN
    assert set(host.tried) == {Endpoint(IPv4Address("127.0.0.1"), 53)}


async def test_an_icmp_port_unreachable_ends_the_lookup_at_once() -> None:
    host = FakeHost()
    host.udp_error = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
    lookup = await look_up(host, getaddrinfo, "ent")
    assert (lookup.error, lookup.elapsed) == (GaiError.EAI_AGAIN, 0.0)
    assert {query.outcome for query in lookup.queries} == {Outcome.PORT_UNREACHABLE}


async def test_silence_takes_both_attempts_of_both_candidates() -> None:
    host = FakeHost()
    host.silent = {Transport.UDP}
    lookup = await look_up(host, getaddrinfo, "ent")
    assert (lookup.error, lookup.elapsed, len(lookup.queries)) == (GaiError.EAI_AGAIN, 20.0, 8)


@pytest.mark.parametrize("nameserver", ["192.0.2.1", "fd00::53"])
async def test_a_server_without_a_route_is_passed_over(nameserver: str) -> None:
    host = FakeHost(resolv_conf=f"nameserver {nameserver}\n{RESOLV_CONF}")
    assert (await look_up(host, getaddrinfo, "ent")).error is None


@pytest.mark.parametrize("chunk", [1, 3, 65536])
async def test_truncated_answers_are_fetched_over_tcp_in_pieces_of_any_size(chunk: int) -> None:
    host = FakeHost(truncated_over_udp(ent_in_dev))
    host.chunk = chunk
    lookup = await look_up(host, getaddrinfo, "ent")
    assert len(lookup.addresses) == 2
    assert [query.transport.value for query in lookup.queries] == ["udp", "udp", "tcp", "tcp"]
    connect = next(entry for entry in host.sent if entry[0] == "connect")
    assert connect[1] == Endpoint(SERVER, 53)
    assert connect[2] is not None
    assert connect[2].text.endswith("over TCP; again, because the answer was truncated")


async def test_a_silent_tcp_server_is_told_apart_from_failure() -> None:
    host = FakeHost(truncated_over_udp(ent_in_dev))
    host.silent = {Transport.TCP}
    lookup = await look_up(host, getaddrinfo, "ent")
    assert (lookup.error, lookup.elapsed) == (GaiError.HANG, 25.0)


@pytest.mark.parametrize(
    "error", [ConnectionRefusedError(), TimeoutError(), OSError(errno.EHOSTUNREACH, "No route to host")]
)
async def test_tcp_that_cannot_connect_is_a_temporary_failure(error: OSError) -> None:
    host = FakeHost(resolv_conf="nameserver 10.96.0.10\noptions use-vc\n")
    host.tcp_error = error
    assert (await look_up(host, getaddrinfo, "ent")).error is GaiError.EAI_AGAIN


async def test_a_tcp_server_that_hangs_up_is_a_temporary_failure() -> None:
    host = FakeHost(resolv_conf="nameserver 10.96.0.10\noptions use-vc\n")
    host.hang_up = True
    lookup = await look_up(host, getaddrinfo, "ent")
    assert (lookup.error, len(lookup.queries)) == (GaiError.EAI_AGAIN, 2)
    assert {query.outcome for query in lookup.queries} == {Outcome.CONNECTION_LOST}


async def test_a_tcp_server_that_resets_is_tried_once_more() -> None:
    host = FakeHost(resolv_conf="nameserver 10.96.0.10\noptions use-vc\n")
    host.reset = True
    lookup = await look_up(host, getaddrinfo, "ent")
    assert (lookup.error, len(lookup.queries)) == (GaiError.EAI_AGAIN, 4)


async def test_a_lookup_that_is_cancelled_leaves_no_socket_open() -> None:
    host = FakeHost()
    host.udp_error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        await getaddrinfo(cast(Host, host), "ent")
    assert host.tried
    assert host.open == 0


async def test_families_the_environment_and_getent() -> None:
    host = FakeHost()
    inet6 = await look_up(host, getaddrinfo, "ent", family=Family.INET6)
    assert inet6.error is GaiError.EAI_NODATA
    absolute = await look_up(host, getaddrinfo, "a.b", env={"RES_OPTIONS": "ndots:1", "LOCALDOMAIN": "x"})
    assert [query.name for query in absolute.queries][::2] == ["a.b.", "a.b.x."]
    getent = await look_up(host, getent_hosts, "ent")
    assert [str(address) for address in getent.addresses] == ["10.244.2.9", "10.244.1.7"]


async def test_the_name_of_an_address() -> None:
    found = await look_up(FakeHost(), reverse, ip_address("10.244.1.7"))
    assert found.canonical_name == "ent.dev.svc.cluster.local"
    own = await look_up(FakeHost(), reverse, ip_address("10.244.1.5"))
    assert (own.canonical_name, own.queries) == ("web-0", ())
    missing = await look_up(FakeHost(), reverse, ip_address("10.244.9.9"))
    assert missing.error is GaiError.EAI_NONAME


async def test_a_machine_may_use_one_socket_for_all_servers() -> None:
    """As musl does: nothing is connected, each message says where it goes."""
    cause = Cause(Stage.RESOLVER, "to all servers")
    heard: list[Event] = []

    def machine() -> Machine:
        commands: list[Command] = [
            Open(0, Transport.UDP, None, cause),
            Send(0, (dns.query(1, "ent.dev.svc.cluster.local.", dns.A),), cause, SERVER),
            Receive(0, 1.0),
            Close(0),
        ]
        for command in commands:
            heard.append((yield command))
        return Lookup("ent")

    host = FakeHost()
    await drive(cast(Host, host), machine())
    assert host.sent == [("ent.dev.svc.cluster.local. A", Endpoint(SERVER, 53), cause)]
    assert getattr(heard[2], "source", None) == SERVER
    assert host.open == 0

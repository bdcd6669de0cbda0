"""The DNS programs on hosts: CoreDNS in its Pod, the public resolver, and a client, all in memory."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Any

import pytest

from netsim.clusterdns.corefile import default_corefile
from netsim.clusterdns.zone import KubernetesZone
from netsim.programs.coredns import COREFILE, LOG, TERMINATION_LOG, coredns
from netsim.programs.dns import upstream
from netsim.programs.host import Datagram, Endpoint, Identity, Invocation
from netsim.programs.waiting import Deadline
from netsim.wire import dns
from netsim.wire.dns import Edns, Message, Question, Rcode
from tests.clusterdns.world import CLUSTER, World, lines, values
from tests.programs.network import MemoryHost, MemoryStream, Network

ENT = "ent.prod.svc.cluster.local."
WWW = "www.example.com."
POD, GATEWAY, CLIENT = "10.244.0.2", "192.168.10.1", "10.244.1.9"
RECORDS = {
    "www.example.com": (IPv4Address("203.0.113.80"), "2001:db8::80"),
    "Example.COM.": ("203.0.113.80",),
}
KUBEADM = default_corefile("cluster.local")


def zone() -> KubernetesZone:
    return World(KUBEADM, CLUSTER).zone


class Site:
    """A client, CoreDNS and the public resolver. ``gateway`` False: nobody is at its address."""

    def __init__(self, corefile: str = KUBEADM, *, gateway: bool = True) -> None:
        self.network = Network()
        self.client = self.network.host(CLIENT)
        self.pod = self.network.host(POD, resolv_conf=f"nameserver {GATEWAY}\n")
        start = Invocation(
            "registry.k8s.io/coredns/coredns",
            env={"PORT": "5353"},
            identity=Identity(pod="coredns-0", pod_ip=POD),
            services={"zone": zone(), "corefile": corefile},
        )
        self.program = self.network.scheduler.spawn(coredns(self.pod, start), "coredns")  # type: ignore[arg-type]
        if gateway:
            self.gateway = self.network.host(GATEWAY)
            public = Invocation("resolver", services={"records": RECORDS})
            self.network.scheduler.spawn(upstream(self.gateway, public), "upstream")  # type: ignore[arg-type]
        self.network.scheduler.run(lambda: False, 0.0)

    @property
    def now(self) -> float:
        return self.network.scheduler.now

    def ask(
        self, name: str, qtype: int = dns.A, *, server: str = POD, port: int = 53, **options: Any
    ) -> Message:
        """One query over UDP, with a socket of its own."""

        async def exchange() -> Message:
            socket = await self.client.udp(remote=Endpoint(IPv4Address(server), port))
            await socket.send(dns.query(7, name, qtype, **options))
            reply = await socket.recv(timeout=30)
            socket.close()
            return dns.parse(reply.data)

        return self.network.run(exchange())

    async def connect(self, port: int = 53) -> MemoryStream:
        return await self.client.connect(Endpoint(IPv4Address(POD), port))


def frame(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


async def read_replies(stream: MemoryStream, count: int) -> list[Message]:
    """The next messages of a TCP connection."""
    messages: list[Message] = []
    buffer = b""
    while len(messages) < count:
        got = await stream.read(timeout=30)
        assert got, f"the server closed after {len(messages)} replies"
        buffer += got
        while len(buffer) >= 2 and len(buffer) >= 2 + int.from_bytes(buffer[:2], "big"):
            end = 2 + int.from_bytes(buffer[:2], "big")
            messages.append(dns.parse(buffer[2:end]))
            buffer = buffer[end:]
    return messages


class TestUdp:
    def test_a_service_is_answered_with_its_reason(self) -> None:
        site = Site()
        assert values(site.ask(ENT)) == ["10.96.0.20"]
        assert str(site.pod.causes[-1]) == "dns: kubernetes: svc prod/ent has ClusterIP 10.96.0.20"

    def test_a_name_outside_comes_from_the_nameserver_of_resolv_conf(self) -> None:
        site = Site()
        reply = site.ask(WWW)
        assert lines(reply.answers) == [f"{WWW} 30 A 203.0.113.80"]
        assert [str(cause) for cause in site.pod.causes][-2:] == [
            f"dns: forward: ask {GATEWAY}", f"dns: forward: answer from {GATEWAY}",
        ]  # fmt: skip

    def test_its_own_addresses_are_those_of_the_pod(self) -> None:
        assert values(Site().ask("cluster.local.", dns.NS)) == ["kube-dns.kube-system.svc.cluster.local."]

    def test_every_port_of_the_corefile_is_served(self) -> None:
        site = Site("cluster.local:{$PORT} {\n kubernetes\n}\n")
        assert values(site.ask(ENT, port=5353)) == ["10.96.0.20"]
        assert list(site.pod.sockets) == [5353]

    def test_a_dead_upstream_is_servfail_after_two_attempts(self) -> None:
        site = Site(gateway=False)
        assert site.ask(WWW).rcode == Rcode.SERVFAIL
        assert site.now == 4.0

    def test_a_closed_port_is_servfail_at_once(self) -> None:
        site = Site(gateway=False)
        site.network.host(GATEWAY)
        assert site.ask(WWW).rcode == Rcode.SERVFAIL
        assert site.now == 0.0
        texts = [cause.text for cause in site.pod.causes]
        assert f"forward: no answer from {GATEWAY} (connection refused): SERVFAIL" in texts

    def test_a_stray_reply_does_not_end_the_waiting(self) -> None:
        site = Site(gateway=False)
        gateway = site.network.host(GATEWAY)

        async def answer_twice() -> None:
            socket = await gateway.udp(53)
            question = await socket.recv()
            reply = dns.build(dns.reply(dns.parse(question.data), rcode=Rcode.NXDOMAIN))
            wrong = bytes([reply[0] ^ 1]) + reply[1:]
            await socket.send(wrong, question.source)
            await gateway.sleep(1)
            await socket.send(reply, question.source)

        task = site.network.scheduler.spawn(answer_twice(), "upstream")
        assert site.ask(WWW).rcode == Rcode.NXDOMAIN
        assert (site.now, task.done) == (1.0, True)

    def test_an_ipv6_upstream_is_unreachable(self) -> None:
        site = Site(". {\n forward . fd00::1\n}")
        assert site.ask(WWW).rcode == Rcode.SERVFAIL
        assert "(network is unreachable)" in site.pod.causes[-1].text

    def test_a_slow_question_holds_up_no_other(self) -> None:
        site = Site(gateway=False)

        async def both() -> list[tuple[float, str]]:
            socket = await site.client.udp(remote=Endpoint(IPv4Address(POD), 53))
            await socket.send(dns.query(1, WWW, dns.A))
            await socket.send(dns.query(2, ENT, dns.A))
            replies: list[Datagram] = [await socket.recv(timeout=30), await socket.recv(timeout=30)]
            return [(site.now, dns.rcode_name(dns.parse(reply.data).rcode)) for reply in replies]

        assert site.network.run(both()) == [(4.0, "NOERROR"), (4.0, "SERVFAIL")]

    def test_many_slow_questions_end_together(self) -> None:
        site = Site(gateway=False)

        async def many() -> int:
            socket = await site.client.udp(remote=Endpoint(IPv4Address(POD), 53))
            for number in range(50):
                await socket.send(dns.query(number, f"{number}.example.com.", dns.A))
            return len([await socket.recv(timeout=30) for _ in range(50)])

        assert site.network.run(many()) == 50
        assert site.now == 4.0

    def test_garbage_stops_nothing(self) -> None:
        site = Site()

        async def garbage() -> None:
            socket = await site.client.udp(remote=Endpoint(IPv4Address(POD), 53))
            query = dns.query(7, ENT, dns.A)
            for data in (
                b"",
                b"\0",
                bytes(12),
                bytes(600),
                b"\xff" * 600,
                query[:-3],
                query[:12] + b"\xc0\x0c\0\1\0\1",
            ):
                await socket.send(data)

        site.network.run(garbage())
        assert values(site.ask(ENT)) == ["10.96.0.20"]

    def test_a_dead_upstream_is_watched_until_it_answers(self) -> None:
        site = Site(KUBEADM.replace("loop\n", "\n"), gateway=False)
        idle = site.pod.running()
        site.ask(WWW)
        site.network.run(site.client.sleep(20))
        assert site.pod.causes[-1].text == f"forward: health check of {GATEWAY}"
        back = site.network.host(GATEWAY)
        site.network.scheduler.spawn(
            upstream(back, Invocation("resolver", services={"records": RECORDS})),  # type: ignore[arg-type]
            "upstream",
        )
        site.network.run(site.client.sleep(5))
        assert site.pod.running() == idle
        assert values(site.ask(WWW)) == ["203.0.113.80"]


class TestTcp:
    def converse(self, site: Site, *queries: bytes, count: int) -> list[Message]:
        async def exchange() -> list[Message]:
            stream = await site.connect()
            for data in queries:
                await stream.write(data)
            return await read_replies(stream, count)

        return site.network.run(exchange())

    def test_one_connection_carries_several_queries(self) -> None:
        queries = [frame(dns.query(number, ENT, dns.A)) for number in range(3)]
        replies = self.converse(Site(), *queries, count=3)
        assert [reply.id for reply in replies] == [0, 1, 2]

    def test_a_query_may_come_in_pieces(self) -> None:
        data = frame(dns.query(1, ENT, dns.A)) + frame(dns.query(2, ENT, dns.AAAA))
        replies = self.converse(Site(), *(data[n : n + 1] for n in range(len(data))), count=2)
        assert [reply.id for reply in replies] == [1, 2]

    def test_a_slow_answer_holds_up_no_other_on_the_connection(self) -> None:
        queries = [frame(dns.query(1, WWW, dns.A)), frame(dns.query(2, ENT, dns.A))]
        replies = self.converse(Site(gateway=False), *queries, count=2)
        assert [(reply.id, reply.rcode) for reply in replies] == [(2, Rcode.NOERROR), (1, Rcode.SERVFAIL)]

    def test_a_tcp_query_is_forwarded_over_tcp(self) -> None:
        site = Site()
        del site.gateway.sockets[53]
        (reply,) = self.converse(site, frame(dns.query(1, WWW, dns.A)), count=1)
        assert values(reply) == ["203.0.113.80"]

    @pytest.mark.parametrize(("queries", "closes_at"), [(0, 3.0), (1, 10.0)])
    def test_an_idle_connection_is_closed(self, queries: int, closes_at: float) -> None:
        site = Site()

        async def idle() -> float:
            stream = await site.connect()
            await stream.write(frame(dns.query(1, ENT, dns.A)) * queries)
            await read_replies(stream, queries)
            assert await stream.read(timeout=60) == b""
            return site.now

        assert site.network.run(idle()) == closes_at

    def test_a_half_closed_connection_still_gets_its_answers(self) -> None:
        site = Site(gateway=False)

        async def half_close() -> bytes:
            stream = await site.connect()
            await stream.write(frame(dns.query(1, WWW, dns.A)))
            stream.close()
            (reply,) = await read_replies(stream, 1)
            assert reply.rcode == Rcode.SERVFAIL
            return await stream.read(timeout=1)

        assert site.network.run(half_close()) == b""

    @pytest.mark.parametrize(
        "data", [b"", b"\0", b"\0\0", b"\0\x05ab", frame(b"\xff" * 40), frame(bytes(12))]
    )
    def test_garbage_stops_nothing(self, data: bytes) -> None:
        site = Site()

        async def hang_up(how: str) -> None:
            stream = await site.connect()
            await stream.write(data)
            getattr(stream, how)()

        site.network.run(hang_up("close"))
        site.network.run(hang_up("abort"))
        assert len(self.converse(site, frame(dns.query(1, ENT, dns.A)), count=1)) == 1

    def test_a_client_that_is_gone_stops_nothing(self) -> None:
        site = Site(gateway=False)

        async def vanish() -> None:
            stream = await site.connect()
            await stream.write(frame(dns.query(1, WWW, dns.A)))
            await site.client.sleep(1)
            stream.abort()

        site.network.run(vanish())
        site.network.run(site.client.sleep(10))
        assert values(site.ask(ENT)) == ["10.96.0.20"]


class TestLife:
    def test_a_wrong_corefile_ends_the_program_and_says_why(self) -> None:
        site = Site(". {\n xyz\n}")
        assert site.program.result() == 1
        assert site.pod.files[TERMINATION_LOG] == (
            "/etc/coredns/Corefile:2 - Error during parsing: Unknown directive 'xyz'\n"
        )

    def test_cancelling_it_ends_all_that_it_started(self) -> None:
        site = Site(gateway=False)
        idle = len(site.pod.running())

        async def leave_a_question() -> None:
            socket = await site.client.udp(remote=Endpoint(IPv4Address(POD), 53))
            await socket.send(dns.query(1, WWW, dns.A))
            stream = await site.connect()
            await stream.write(b"\0")
            await site.client.sleep(0.5)

        site.network.run(leave_a_question())
        assert len(site.pod.running()) == idle + 2
        site.program.cancel()
        assert (site.pod.running(), site.pod.sockets, site.pod.listeners) == ([], {}, {})

    def test_finished_questions_leave_no_task_behind(self) -> None:
        site = Site()
        idle = site.pod.running()
        for number in range(20):
            site.ask(f"{number}.example.com.")
        assert site.pod.running() == idle

    def test_a_taken_port_ends_the_program(self) -> None:
        network = Network()
        host = network.host(POD)
        services = {"zone": zone(), "corefile": ". {\n errors\n}"}

        async def second() -> int:
            await host.udp(53)
            return await coredns(host, Invocation("coredns", services=services))  # type: ignore[arg-type]

        assert network.run(second()) == 1
        assert host.files[TERMINATION_LOG] == "Listen: bind: address already in use\n"

    @pytest.mark.parametrize(
        ("port", "path", "text"),
        [(8080, "/health", "OK"), (8181, "/ready", "OK"), (9153, "/metrics", 'version="1.14.7"')],
    )
    def test_its_http_pages_are_served(self, port: int, path: str, text: str) -> None:
        site = Site()

        async def get() -> bytes:
            stream = await site.connect(port)
            await stream.write(f"GET {path} HTTP/1.1\r\nHost: coredns\r\nConnection: close\r\n\r\n".encode())
            page = b""
            while got := await stream.read(timeout=5):
                page += got
            return page

        page = site.network.run(get()).decode()
        assert page.startswith("HTTP/1.1 200")
        assert text in page

    def test_sigterm_ends_it_after_its_lameduck_time(self) -> None:
        site = Site()
        site.pod.sigterm.signal.set()
        site.network.run(site.client.sleep(4.9))
        assert values(site.ask(ENT)) == ["10.96.0.20"]
        site.network.run(site.client.sleep(0.1))
        assert site.program.result() == 0
        assert site.pod.running() == []
        assert "plugin/health: Going into lameduck mode for 5s" in site.pod.files[LOG]

    def test_without_lameduck_at_once(self) -> None:
        site = Site(KUBEADM.replace("lameduck 5s", ""))
        site.pod.sigterm.signal.set()
        site.network.run(site.client.sleep(0))
        assert site.program.result() == 0

    def test_a_reload_opens_and_closes_ports(self) -> None:
        site = Site(". {\n reload 10s 0s\n health\n whoami\n}")
        site.pod.files[COREFILE] = ".:54 {\n reload 10s 0s\n health :8081\n whoami\n}"
        site.network.run(site.client.sleep(10))
        assert site.ask("a.", port=54).authoritative
        assert sorted(site.pod.sockets) == [54]
        assert sorted(site.pod.listeners) == [54, 8081]

    def test_its_log_is_a_file_of_the_pod(self) -> None:
        site = Site(". {\n log\n whoami\n}")
        site.ask("a.")
        assert site.pod.files[LOG].splitlines()[:2] == [".:53", "CoreDNS-1.14.7"]
        assert '"A IN a. udp ' in site.pod.files[LOG].splitlines()[2]


class TestUpstream:
    def ask(self, name: str, qtype: int = dns.A, **options: Any) -> Message:
        return Site().ask(name, qtype, server=GATEWAY, **options)

    @pytest.mark.parametrize(
        ("name", "qtype", "expected"),
        [
            (WWW, dns.A, ["203.0.113.80"]),
            (WWW, dns.AAAA, ["2001:db8::80"]),
            ("EXAMPLE.com.", dns.A, ["203.0.113.80"]),
            (WWW, dns.ANY, ["2001:db8::80", "203.0.113.80"]),
            ("80.113.0.203.in-addr.arpa.", dns.PTR, ["example.com.", "www.example.com."]),
        ],
    )
    def test_what_it_knows(self, name: str, qtype: int, expected: Sequence[str]) -> None:
        reply = self.ask(name, qtype)
        assert values(reply) == expected
        assert (reply.rcode, reply.recursion_available, reply.authoritative) == (Rcode.NOERROR, True, False)
        assert all(record.name == name for record in reply.answers)

    @pytest.mark.parametrize(
        ("name", "qtype", "rcode", "zone"),
        [
            ("example.com.", dns.AAAA, Rcode.NOERROR, "example.com."),
            (WWW, dns.MX, Rcode.NOERROR, "example.com."),
            ("com.", dns.A, Rcode.NOERROR, "."),
            (".", dns.NS, Rcode.NOERROR, "."),
            ("nosuch.example.com.", dns.A, Rcode.NXDOMAIN, "example.com."),
            ("nosuch.example.", dns.A, Rcode.NXDOMAIN, "."),
            ("ent.dev.svc.cluster.local.", dns.A, Rcode.NXDOMAIN, "."),
            ("1.1.244.10.in-addr.arpa.", dns.PTR, Rcode.NXDOMAIN, "in-addr.arpa."),
        ],
    )
    def test_what_it_does_not_know(self, name: str, qtype: int, rcode: Rcode, zone: str) -> None:
        reply = self.ask(name, qtype)
        assert (reply.rcode, reply.answers, reply.recursion_available) == (rcode, (), True)
        assert [(record.name, record.rtype) for record in reply.authority] == [(zone, dns.SOA)]

    @pytest.mark.parametrize(
        ("query", "rcode"),
        [
            (Message(1, questions=(Question(WWW, dns.A, dns.CHAOS),)), Rcode.REFUSED),
            (Message(1, opcode=4, questions=(Question(WWW, dns.A),)), Rcode.NOTIMP),
            (Message(1, questions=(Question(WWW, dns.A),), edns=Edns(version=1)), Rcode.BADVERS),
        ],
    )
    def test_what_it_does_not_do(self, query: Message, rcode: Rcode) -> None:
        site = Site()

        async def exchange() -> Message:
            socket = await site.client.udp(remote=Endpoint(IPv4Address(GATEWAY), 53))
            for data in (b"junk", dns.build(query._replace(response=True)), dns.build(query)):
                await socket.send(data)
            return dns.parse((await socket.recv(timeout=1)).data)

        assert site.network.run(exchange()).rcode == rcode

    def test_edns_is_answered_with_edns(self) -> None:
        assert self.ask(WWW, edns_size=4096).edns == Edns(1232)
        assert self.ask(WWW).edns is None

    def test_its_replies_carry_a_reason(self) -> None:
        site = Site()
        site.ask("nosuch.example.", server=GATEWAY)
        assert str(site.gateway.causes[-1]) == "dns: public DNS: no name nosuch.example.: NXDOMAIN"


def test_the_memory_host_times_out_as_a_host_does() -> None:
    network = Network()
    host: MemoryHost = network.host("10.0.0.1")

    async def wait() -> float:
        deadline = Deadline(host, 2.0)  # type: ignore[arg-type]
        socket = await host.udp(53)
        with pytest.raises(TimeoutError):
            await socket.recv(timeout=deadline.left())
        return host.now()

    assert network.run(wait()) == 2.0

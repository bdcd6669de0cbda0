"""The server: which block answers, what is malformed, and the form of a reply."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.clusterdns.chain import Transport
from netsim.clusterdns.corefile import default_corefile
from netsim.clusterdns.server import QueryArrived, SendReply
from netsim.wire import dns
from netsim.wire.dns import Edns, Message, Question, Rcode
from tests.clusterdns.world import (
    CLIENT,
    CLUSTER,
    EXAMPLE,
    World,
    address_of,
    answering,
    endpoint,
    endpoint_slice,
    lines,
    service,
    silent,
    values,
)

ENT = "ent.prod.svc.cluster.local."
WWW = "www.example.com."
KUBEADM = default_corefile("cluster.local")
UPSTREAM = {"192.168.10.1": answering(address_of(WWW))}


def kubeadm() -> World:
    return World(KUBEADM, CLUSTER, UPSTREAM)


class TestKubeadmsCorefile:
    def test_a_service(self) -> None:
        coredns = kubeadm()
        assert lines(coredns.ask(ENT).answers) == [f"{ENT} 30 A 10.96.0.20"]
        assert coredns.cause == "kubernetes: svc prod/ent has ClusterIP 10.96.0.20"

    def test_a_service_that_appears_is_seen_at_once(self) -> None:
        coredns = kubeadm()
        assert coredns.ask("new.dev.svc.cluster.local.").rcode == Rcode.NXDOMAIN
        coredns.apply(service("dev/new", "10.96.0.30"))
        assert values(coredns.ask("new.dev.svc.cluster.local.")) == ["10.96.0.30"]

    def test_a_name_outside_is_forwarded_and_kept(self) -> None:
        coredns = kubeadm()
        assert lines(coredns.ask(WWW).answers) == [f"{WWW} 30 A 203.0.113.80"]
        coredns.until(3)
        coredns.ask(WWW)
        assert coredns.cause == "cache hit, 3 s old"

    def test_one_slow_question_holds_up_no_other(self) -> None:
        coredns = kubeadm()
        coredns.upstreams["192.168.10.1"] = silent
        waiting = coredns.send("slow.example.com.")
        assert values(coredns.ask(ENT)) == ["10.96.0.20"]
        assert (coredns.now, coredns.reply_to(waiting)) == (0.0, None)
        assert coredns.server.owes(waiting)
        coredns.until(10)
        assert coredns.reply_to(waiting) is not None
        assert not coredns.server.owes(waiting)


class TestBlocks:
    TEXT = """
    cluster.local { kubernetes }
    corp.example lab.example:5353 { forward . 192.0.2.1 }
    dev.corp.example { forward . 192.0.2.2 }
    empty.example { }
    beside.example { health }
    """.replace("{ ", "{\n ").replace(" }", "\n }")

    def world(self, more: str = "") -> World:
        answers = {
            address: answering(address_of("x.", ip_address(address).packed))
            for address in ("192.0.2.1", "192.0.2.2", "192.0.2.3")
        }
        return World(self.TEXT + more, upstreams=answers)

    @pytest.mark.parametrize(
        ("name", "port", "who"),
        [
            (ENT, 53, "10.96.0.20"),
            ("a.corp.example.", 53, "192.0.2.1"),
            ("A.Corp.Example.", 53, "192.0.2.1"),
            ("dev.corp.example.", 53, "192.0.2.2"),
            ("a.dev.corp.example.", 53, "192.0.2.2"),
            ("xdev.corp.example.", 53, "192.0.2.1"),
            ("a.lab.example.", 5353, "192.0.2.1"),
            ("example.com.", 53, "192.0.2.3"),
        ],
    )
    def test_the_longest_zone_on_the_port_answers(self, name: str, port: int, who: str) -> None:
        assert values(self.world(". {\n forward . 192.0.2.3\n}\n").ask(name, port=port)) == [who]

    @pytest.mark.parametrize(
        ("name", "port", "cause"),
        [
            ("example.com.", 53, "no server block holds the name: REFUSED"),
            (".", 53, "no server block holds the name: REFUSED"),
            ("corp.example.", 5353, "no server block holds the name: REFUSED"),
            ("a.empty.example.", 53, "its server block has no plugins: REFUSED"),
            ("a.beside.example.", 53, "its server block has no plugins: REFUSED"),
        ],
    )
    def test_what_no_block_serves_is_refused(self, name: str, port: int, cause: str) -> None:
        coredns = self.world()
        reply = coredns.ask(name, port=port)
        assert (reply.rcode, reply.authoritative, reply.authority) == (Rcode.REFUSED, False, ())
        assert coredns.cause == cause

    def test_the_end_of_the_chain_is_servfail(self) -> None:
        coredns = World(". {\n errors\n kubernetes cluster.local\n}")
        reply = coredns.ask(WWW)
        assert (reply.rcode, reply.authority) == (Rcode.SERVFAIL, ())
        assert coredns.cause == "plugin/kubernetes: no next plugin found: SERVFAIL"

    def test_ds_is_asked_of_the_parent(self) -> None:
        reply = self.world().ask("dev.corp.example.", "DS")
        assert values(reply) == ["192.0.2.1"]

    def test_the_order_in_the_corefile_does_not_matter(self) -> None:
        reordered = World(
            ". {\n forward . 192.168.10.1\n cache\n kubernetes cluster.local\n}", CLUSTER, UPSTREAM
        )
        assert values(reordered.ask(ENT)) == ["10.96.0.20"]
        assert reordered.ask(ENT).answers[0].ttl == 5
        assert reordered.cause == "cache hit, 0 s old"


class TestClasses:
    def test_another_class_is_refused(self) -> None:
        coredns = World("cluster.local {\n kubernetes\n}")
        assert coredns.ask(ENT, qclass=dns.CHAOS).rcode == Rcode.REFUSED
        assert coredns.cause == "class CH is not served: REFUSED"

    def test_unless_some_block_of_the_port_forwards(self) -> None:
        assert kubeadm().ask(ENT, qclass=dns.CHAOS).rcode == Rcode.NOERROR


class TestEdns:
    def test_no_opt_in_the_query_means_none_in_the_reply(self) -> None:
        assert kubeadm().ask(ENT).edns is None

    @pytest.mark.parametrize("name", [ENT, WWW, "nosuch.dev.svc.cluster.local."])
    def test_size_do_and_known_options_come_back(self, name: str) -> None:
        options = ((3, b""), (8, b"\0\1\0\0"), (10, b"12345678"), (12, b"\0\0"))
        reply = kubeadm().ask(name, edns=Edns(1400, do=True, options=options))
        assert reply.edns == Edns(1400, do=True, options=((3, b""), (10, b"12345678"), (12, b"\0\0")))

    def test_an_upstreams_options_are_passed_on(self) -> None:
        def answer(query: Message) -> Message:
            return dns.reply(query, edns=Edns(512, do=True, options=((15, b"\0\x16"),)))

        coredns = World(". {\n forward . 192.168.10.1\n}", upstreams={"192.168.10.1": answer})
        assert coredns.ask(WWW, edns=Edns(1400)).edns == Edns(1400, do=True, options=((15, b"\0\x16"),))

    def test_also_when_nothing_answers(self) -> None:
        reply = World("cluster.local {\n kubernetes\n}").ask(WWW, edns=Edns(1400))
        assert (reply.rcode, reply.edns) == (Rcode.REFUSED, Edns(1400))

    def test_another_version_is_badvers(self) -> None:
        reply = kubeadm().ask(ENT, edns=Edns(1232, version=1))
        assert (reply.rcode, reply.answers, reply.edns) == (Rcode.BADVERS, (), Edns(0))
        assert reply.questions == (Question(ENT, dns.A),)


class TestSize:
    """60 addresses of a headless Service: 2,472 bytes uncompressed."""

    CROWD = (
        *CLUSTER,
        service("prod/crowd", "None"),
        endpoint_slice("prod/crowd", *(endpoint(f"10.1.0.{n}") for n in range(1, 61))),
    )
    NAME = "crowd.prod.svc.cluster.local."

    def ask(self, transport: Transport = Transport.UDP, edns: Edns | None = None) -> tuple[Message, int]:
        coredns = World(KUBEADM, self.CROWD)
        reply = coredns.ask(self.NAME, transport=transport, edns=edns)
        return reply, len(coredns.data)

    @pytest.mark.parametrize(("size", "limit"), [(None, 512), (100, 512), (512, 512), (900, 900)])
    def test_udp_keeps_to_the_clients_size(self, size: int | None, limit: int) -> None:
        reply, length = self.ask(edns=None if size is None else Edns(size))
        assert reply.truncated
        assert limit - 16 < length <= limit
        assert reply.edns == (None if size is None else Edns(size))

    def test_a_large_enough_client_gets_all_compressed_above_1480_bytes(self) -> None:
        reply, length = self.ask(edns=Edns(4096))
        assert (len(reply.answers), reply.truncated) == (60, False)
        assert length < 1100

    def test_tcp_gets_all_uncompressed(self) -> None:
        reply, length = self.ask(Transport.TCP)
        assert (len(reply.answers), reply.truncated) == (60, False)
        assert length > 2400


class TestMalformedQueries:
    QUERY = dns.query(7, ENT, dns.A)

    @staticmethod
    def raw(data: bytes, transport: Transport = Transport.UDP) -> list[Message]:
        coredns = kubeadm()
        commands = coredns.server.feed(QueryArrived(data, CLIENT, transport), 0.0)
        return [dns.parse(command.data) for command in commands if isinstance(command, SendReply)]

    def with_header(self, *, flags: int = 0x0100, counts: tuple[int, int, int, int] = (1, 0, 0, 0)) -> bytes:
        words = (7, flags, *counts)
        return b"".join(word.to_bytes(2, "big") for word in words) + self.QUERY[12:]

    @pytest.mark.parametrize("length", range(12))
    def test_without_a_whole_header_there_is_no_reply(self, length: int) -> None:
        assert self.raw(self.QUERY[:length]) == []

    def test_a_response_is_never_answered(self) -> None:
        assert self.raw(self.with_header(flags=0x8180)) == []

    @pytest.mark.parametrize("counts", [(0, 0, 0, 0), (2, 0, 0, 0), (1, 2, 0, 0), (1, 0, 2, 0), (1, 0, 0, 3)])
    def test_wrong_counts_are_a_format_error(self, counts: tuple[int, int, int, int]) -> None:
        (reply,) = self.raw(self.with_header(counts=counts))
        assert (reply.id, reply.rcode, reply.recursion_desired, reply.questions) == (
            7,
            Rcode.FORMERR,
            True,
            (),
        )

    @pytest.mark.parametrize("opcode", [1, 2, 5, 6])
    def test_other_opcodes_are_not_implemented(self, opcode: int) -> None:
        (reply,) = self.raw(self.with_header(flags=opcode << 11))
        assert (reply.rcode, reply.opcode) == (Rcode.NOTIMP, opcode)

    def test_a_name_that_points_at_itself_is_a_format_error(self) -> None:
        (reply,) = self.raw(self.QUERY[:12] + b"\xc0\x0c\0\1\0\1")
        assert reply.rcode == Rcode.FORMERR

    def test_a_header_alone_is_a_server_failure(self) -> None:
        (reply,) = self.raw(self.QUERY[:12])
        assert reply.rcode == Rcode.SERVFAIL

    @given(st.binary(max_size=60), st.sampled_from(list(Transport)))
    def test_any_bytes_are_survived(self, data: bytes, transport: Transport) -> None:
        self.raw(data, transport)
        self.raw(self.QUERY[:12] + data, transport)

    @given(st.data())
    def test_damaged_queries_are_survived_and_replies_are_readable(self, data: st.DataObject) -> None:
        coredns = kubeadm()
        query = bytearray(dns.query(7, ENT, dns.A, edns_size=1232))
        for _ in range(data.draw(st.integers(1, 3))):
            query[data.draw(st.integers(0, len(query) - 1))] = data.draw(st.integers(0, 255))
        coredns._obey(coredns.server.feed(QueryArrived(bytes(query), CLIENT), 0.0))
        coredns.until(20)
        for reply in coredns._replies:
            assert dns.parse(reply.data).id == int.from_bytes(query[:2], "big")


def test_two_servers_with_one_seed_send_the_same_bytes() -> None:
    def run() -> list[bytes]:
        coredns = World(
            KUBEADM, TestSize.CROWD, {"192.168.10.1": answering(address_of(WWW), address_of(WWW, EXAMPLE))}
        )
        replies = []
        for name in (
            ENT,
            WWW,
            TestSize.NAME,
            "nosuch.dev.svc.cluster.local.",
            WWW,
            "1.1.168.192.in-addr.arpa.",
        ):
            coredns.ask(name, edns=Edns(4096))
            replies.append(coredns.data)
        return replies

    assert run() == run()


def test_the_addresses_of_one_reply_are_shuffled() -> None:
    coredns = World(KUBEADM, TestSize.CROWD)
    first, second = (coredns.ask(TestSize.NAME, transport=Transport.TCP).answers for _ in range(2))
    assert first != second
    assert sorted(first) == sorted(second)

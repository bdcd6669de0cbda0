"""The plugins that let pass, refuse or trim: any, minimal, bufsize, whoami, acl, autopath, transfer."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from netsim.clusterdns.chain import Transport
from netsim.clusterdns.server import QueryArrived, SendReply
from netsim.wire import dns
from netsim.wire.dns import Edns, Message, Question, Rcode, Record, Soa
from tests.clusterdns.world import (
    CLIENT,
    CLUSTER,
    ROOT_SOA,
    World,
    address_of,
    answering,
    endpoint,
    endpoint_slice,
    lines,
    namespace,
    pod,
    service,
    values,
)  # fmt: skip

ENT = "ent.prod.svc.cluster.local."
UPSTREAM = "192.0.2.1"


def serving(*plugins: str) -> World:
    body = "\n ".join((*plugins, "kubernetes cluster.local"))
    return World(f". {{\n {body}\n}}")


def test_any_is_answered_with_hinfo() -> None:
    coredns = serving("any")
    assert lines(coredns.ask(ENT, "ANY").answers) == [f'{ENT} 8482 HINFO "ANY obsoleted" "See RFC 8482"']
    assert values(coredns.ask(ENT)) == ["10.96.0.20"]


def test_minimal_trims_positive_answers_alone() -> None:
    coredns = serving("minimal")
    reply = coredns.ask(ENT, "SRV")
    assert len(reply.answers) == 2
    assert reply.additional == ()
    assert len(coredns.ask("none.prod.svc.cluster.local.").authority) == 1


def test_an_alias_without_an_address_is_a_positive_answer_to_minimal() -> None:
    alias = Record("a.example.", dns.CNAME, dns.IN, 60, "b.example.")
    upstream = answering(alias, authority=[ROOT_SOA])
    coredns = World(f". {{\n minimal\n forward . {UPSTREAM}\n}}", upstreams={UPSTREAM: upstream})
    assert coredns.ask("a.example.").authority == ()


@pytest.mark.parametrize(("line", "asked", "shown"), [("", 4096, 1232), (" 600", 4096, 600), ("", 700, 700)])
def test_bufsize_bounds_the_reply_and_shows_the_bound(line: str, asked: int, shown: int) -> None:
    many = [endpoint(f"10.244.9.{n}") for n in range(200)]
    objects = (namespace("prod"), service("prod/big", "None"), endpoint_slice("prod/big", *many))
    coredns = World(f". {{\n bufsize{line}\n kubernetes cluster.local\n}}", objects)
    reply = coredns.ask("big.prod.svc.cluster.local.", edns=Edns(asked))
    assert reply.truncated
    assert reply.edns == Edns(shown)
    assert shown - 28 < len(coredns.data) <= shown
    assert len(coredns.ask("big.prod.svc.cluster.local.", transport=Transport.TCP).answers) == 200


def test_whoami_tells_the_client_and_its_port() -> None:
    coredns = World(". {\n whoami\n}")
    query = dns.query(1, "me.", dns.A)
    event = QueryArrived(query, CLIENT, client_port=5353)
    (command,) = coredns.server.feed(event, 0.0)
    assert isinstance(command, SendReply)
    reply = dns.parse(command.data)
    assert lines(reply.additional) == ["_udp.me. 0 SRV 0 0 5353 .", "me. 0 A 10.244.1.9"]


class TestHeader:
    def test_flags_of_query_and_reply(self) -> None:
        seen: list[Message] = []

        def upstream(query: Message) -> Message:
            seen.append(query)
            return dns.reply(query, recursion_available=True)

        body = "header {\n  query clear rd\n  response set aa\n  response clear ra\n }"
        coredns = World(f". {{\n {body}\n forward . {UPSTREAM}\n}}", upstreams={UPSTREAM: upstream})
        reply = coredns.ask("a.")
        assert not seen[0].recursion_desired
        assert (reply.authoritative, reply.recursion_available) == (True, False)


def test_nsid_is_for_those_who_ask() -> None:
    coredns = serving("nsid my server")
    assert coredns.ask(ENT, edns=Edns(1232, options=((3, b""),))).edns == Edns(
        1232, do=True, options=((3, b"my server"),)
    )
    assert coredns.ask(ENT, edns=Edns(1232)).edns == Edns(1232)


@pytest.mark.parametrize(
    ("name", "text"),
    [("version.bind.", '"x"'), ("id.server.", '"localhost"'), ("authors.bind.", '"me"')],
)
def test_chaos_tells_about_the_server(name: str, text: str) -> None:
    reply = serving("chaos x me").ask(name, "TXT", qclass=dns.CHAOS)
    assert [(record.rclass, dns.render_rdata(record)) for record in reply.answers] == [(dns.CHAOS, text)]


class TestLocal:
    @pytest.mark.parametrize(
        ("name", "qtype", "rcode", "answers"),
        [
            ("localhost.", "A", 0, ["127.0.0.1"]),
            ("x.LocalHost.", "AAAA", 0, ["::1"]),
            ("localhost.prod.", "A", 0, ["127.0.0.1"]),
            ("localhost.", "MX", 0, []),
            ("localhost.", "NS", 0, ["localhost."]),
            ("1.0.0.127.in-addr.arpa.", "PTR", 0, ["localhost."]),
            ("1.0.0.127.in-addr.arpa.", "A", 0, []),
            ("2.0.0.127.in-addr.arpa.", "PTR", 3, []),
            ("0.in-addr.arpa.", "SOA", 0, ["localhost. root.localhost. 1 0 0 0 604800"]),
        ],
    )
    def test_the_loopback_and_its_reverse(
        self, name: str, qtype: str, rcode: int, answers: list[str]
    ) -> None:
        reply = serving("local").ask(name, qtype)
        assert (reply.rcode, values(reply)) == (rcode, answers)
        assert bool(reply.authority) != bool(answers)

    def test_the_prefix_can_be_switched_off(self) -> None:
        coredns = serving("local {\n  localhost_prefix off\n }")
        assert coredns.ask("localhost.prod.svc.cluster.local.").rcode == Rcode.NXDOMAIN


@pytest.mark.parametrize("line", ["bind 127.0.0.1 eth0", "cancel 1s", "debug", "metadata", "multisocket 4"])
def test_settings_of_the_process_change_no_answer(line: str) -> None:
    assert values(serving(line).ask(ENT)) == ["10.96.0.20"]


class TestAcl:
    def asked_by(self, client: str, *policies: str, qtype: str = "A", zones: str = "") -> Message | None:
        body = "\n  ".join(policies)
        coredns = World(f". {{\n acl{zones} {{\n  {body}\n }}\n kubernetes cluster.local\n}}")
        event = coredns.send(ENT, qtype, client=ip_address(client))
        reply = coredns.reply_to(event)
        return None if reply is None else dns.parse(reply.data)

    @pytest.mark.parametrize(
        ("policies", "rcode", "answers"),
        [
            (["block"], Rcode.REFUSED, 0),
            (["filter"], Rcode.NOERROR, 0),
            (["allow"], Rcode.NOERROR, 1),
            (["block net 10.1.0.0/16"], Rcode.REFUSED, 0),
            (["block net 10.1.2.3"], Rcode.REFUSED, 0),
            (["block net 10.2.0.0/16"], Rcode.NOERROR, 1),
            (["allow net 10.1.2.0/24", "block"], Rcode.NOERROR, 1),
            (["block type AAAA net *"], Rcode.NOERROR, 1),
            (["block type A AAAA net 10.0.0.0/8"], Rcode.REFUSED, 0),
            (["filter type *"], Rcode.NOERROR, 0),
        ],
    )
    def test_the_first_policy_that_fits_decides(self, policies: list[str], rcode: int, answers: int) -> None:
        reply = self.asked_by("10.1.2.3", *policies)
        assert reply is not None
        assert (reply.rcode, len(reply.answers)) == (rcode, answers)

    def test_drop_is_silence(self) -> None:
        assert self.asked_by("10.1.2.3", "drop") is None

    def test_other_zones_are_not_concerned(self) -> None:
        reply = self.asked_by("10.1.2.3", "block", zones=" other.zone")
        assert reply is not None
        assert reply.rcode == Rcode.NOERROR

    def test_it_says_why_with_edns(self) -> None:
        coredns = serving("acl {\n  block\n }")
        assert coredns.ask(ENT, edns=Edns(1232)).edns == Edns(1232, do=True, options=((15, b"\0\x0f"),))


class TestAutopath:
    def walking(self, source: str = "@kubernetes", *, mode: str = "verified") -> World:
        text = (
            f". {{\n autopath {source}\n kubernetes cluster.local {{\n  pods {mode}\n }}\n"
            f" forward . {UPSTREAM}\n}}"
        )

        def upstream(query: Message) -> Message:
            if query.questions[0].name == "www.example.com.":
                return dns.reply(query, answers=(address_of("www.example.com."),))
            return dns.reply(query, rcode=Rcode.NXDOMAIN, authority=(ROOT_SOA,))

        files = {"/etc/resolv.conf": "search corp.example\n", "/path": "search a.example b.example\n"}
        objects = (*CLUSTER, pod("dev/jump", str(CLIENT)))
        return World(text, objects, {UPSTREAM: upstream}, files=files)

    def test_the_first_question_is_answered_with_the_end_of_the_search(self) -> None:
        name = "www.example.com.dev.svc.cluster.local."
        coredns = self.walking()
        reply = coredns.ask(name)
        assert lines(reply.answers) == [
            "www.example.com. 300 A 203.0.113.80", f"{name} 300 CNAME www.example.com.",
        ]  # fmt: skip
        assert [asked[2] for asked in coredns.asked] == ["www.example.com.corp.example.", "www.example.com."]
        assert reply.questions == (Question(name, dns.A),)

    def test_another_namespace_gets_it_for_its_services(self) -> None:
        assert values(self.walking().ask("ent.prod.dev.svc.cluster.local.")) == ["10.96.0.20", ENT]

    def test_when_nothing_is_found_the_first_reply_is_given(self) -> None:
        reply = self.walking().ask("none.DEV.svc.cluster.local.")
        assert reply.rcode == Rcode.NXDOMAIN
        assert reply.questions[0].name == "none.dev.svc.cluster.local."
        assert reply.authority[0].name == "cluster.local."

    def test_only_pods_that_are_known_get_it(self) -> None:
        name = "www.example.com.dev.svc.cluster.local."
        assert self.walking().ask(name, client=ip_address("10.9.9.9")).rcode == Rcode.NXDOMAIN
        assert self.walking(mode="insecure").ask(name).rcode == Rcode.NXDOMAIN

    def test_the_element_itself_is_servfail(self) -> None:
        assert self.walking().ask("dev.svc.cluster.local.").rcode == Rcode.SERVFAIL

    def test_a_fixed_search_list(self) -> None:
        coredns = self.walking("/path")
        assert values(coredns.ask("www.example.com.a.example.")) == ["203.0.113.80", "www.example.com."]
        assert [asked[2] for asked in coredns.asked][1] == "www.example.com.b.example."


class TestTransfer:
    TEXT = (
        "cluster.local example {\n transfer {\n  to *\n }\n kubernetes cluster.local\n file /db example\n}\n"
        "closed {\n transfer {\n  to 192.0.2.9\n }\n kubernetes closed\n}"
    )
    DATA = "@ 60 SOA a b 7 1 1 1 1\n@ NS a\na A 192.0.2.1\n"

    def fetch(self, zone: str, qtype: str = "AXFR", serial: int | None = None, **options: object) -> Message:
        coredns = World(self.TEXT, files={"/db": self.DATA})
        soa = Record(zone, dns.SOA, dns.IN, 0, Soa("a.", "b.", serial or 0, 1, 1, 1, 1))
        extra = {} if serial is None else {"authority": (soa,)}
        return coredns.ask(zone, qtype, **{"transport": Transport.TCP, **options, **extra})

    def test_a_cluster_zone_between_two_soa_records(self) -> None:
        answers = self.fetch("cluster.local.").answers
        assert (answers[0].rtype, answers[-1], answers[1].rtype) == (dns.SOA, answers[0], dns.NS)
        inside = lines(answers)
        for expected in (
            "ent.prod.svc.cluster.local. 5 A 10.96.0.20",
            "_http._tcp.ent.prod.svc.cluster.local. 5 SRV 0 100 80 ent.prod.svc.cluster.local.",
            "db-0.db.prod.svc.cluster.local. 5 A 10.244.1.7",
            "_pg._tcp.db.prod.svc.cluster.local. 5 SRV 0 50 5432 db-0.db.prod.svc.cluster.local.",
            "web.prod.svc.cluster.local. 5 CNAME www.example.com.",
        ):
            assert expected in inside
        assert not any("10.244.2.9" in line for line in inside)  # not ready

    def test_a_name_below_a_cluster_zone_is_a_zone_with_all_services(self) -> None:
        inside = lines(self.fetch("prod.svc.cluster.local.").answers)
        assert "ent.prod.svc.prod.svc.cluster.local. 5 A 10.96.0.20" in inside

    def test_a_service_without_ports_has_the_port_of_minus_one(self) -> None:
        objects = (namespace("prod"), service("prod/bare", "10.96.0.9"))
        text = "cluster.local {\n transfer {\n  to *\n }\n kubernetes\n}"
        answers = World(text, objects).ask("cluster.local.", "AXFR", transport=Transport.TCP).answers
        name = "bare.prod.svc.cluster.local."
        assert f"{name} 5 SRV 0 100 65535 {name}" in lines(answers)

    def test_the_external_zone(self) -> None:
        """The quirks of transfer.go: one SRV record for a name, but those of headless Services twice."""
        web = service("prod/web", "10.96.0.9", ("http", 80), ("dns", 53))
        web = replace(web, spec=replace(web.spec, external_ips=("198.51.100.7",)))
        db = endpoint_slice("prod/db", endpoint("10.0.0.1", hostname="db-0"), ports=[("pg", 5432)])
        text = (
            ". {\n transfer {\n  to *\n }\n k8s_external ext {\n  headless\n }\n kubernetes cluster.local\n}"
        )
        coredns = World(text, (namespace("prod"), web, service("prod/db", "None", ("pg", 5432)), db))
        answers = coredns.ask("ext.", "AXFR", transport=Transport.TCP).answers
        assert lines([record for record in answers if record.name.endswith("prod.ext.")]) == [
            "_dns._tcp.web.prod.ext. 5 SRV 0 100 53 web.prod.ext.",
            "_http._tcp.web.prod.ext. 5 SRV 0 100 80 web.prod.ext.",
            "_pg._tcp.db.prod.ext. 5 SRV 0 100 5432 db-0.db.prod.ext.",
            "db-0.db.prod.ext. 5 A 10.0.0.1",
            *2 * ["db-0.db.prod.ext. 5 SRV 0 100 5432 db-0.db.prod.ext."],
            "db.prod.ext. 5 A 10.0.0.1",
            *2 * ["db.prod.ext. 5 SRV 0 100 5432 db-0.db.prod.ext."],
            *2 * ["web.prod.ext. 5 A 198.51.100.7"],
            "web.prod.ext. 5 SRV 0 100 80 web.prod.ext.",
        ]

    def test_a_zone_file(self) -> None:
        assert [dns.type_name(record.rtype) for record in self.fetch("example.").answers] == [
            "SOA",
            "NS",
            "A",
            "SOA",
        ]

    @pytest.mark.parametrize(("serial", "count"), [(7, 1), (6, 4)])
    def test_ixfr_with_the_same_serial_is_the_soa_alone(self, serial: int, count: int) -> None:
        assert len(self.fetch("example.", "IXFR", serial).answers) == count

    def test_udp_and_strangers_are_refused(self) -> None:
        assert self.fetch("example.", transport=Transport.UDP).rcode == Rcode.REFUSED
        assert self.fetch("closed.").rcode == Rcode.REFUSED
        assert self.fetch("closed.", client=ip_address("192.0.2.9")).rcode == Rcode.NOERROR

    def test_a_large_zone_comes_in_several_messages(self) -> None:
        objects = [namespace("prod")] + [
            service(f"prod/s{n}", f"10.96.{n // 250}.{n % 250}") for n in range(2000)
        ]
        coredns = World(". {\n transfer {\n  to *\n }\n kubernetes cluster.local\n}", objects)
        query = dns.query(1, "cluster.local.", dns.AXFR)
        commands = coredns.server.feed(QueryArrived(query, CLIENT, Transport.TCP), 0.0)
        replies = [command for command in commands if isinstance(command, SendReply)]
        assert len(replies) == len(commands)
        messages = [dns.parse(reply.data) for reply in replies]
        assert len(messages) > 1
        records = [record for message in messages for record in message.answers]
        assert records[0] == records[-1]
        assert sum(record.rtype == dns.A for record in records) == 2001


def test_an_upstream_answers_behind_all_of_them() -> None:
    text = f". {{\n any\n minimal\n bufsize\n forward . {UPSTREAM}\n}}"
    coredns = World(text, upstreams={UPSTREAM: answering(address_of("a."), authority=[ROOT_SOA])})
    assert coredns.ask("a.", edns=Edns(4096)).edns == Edns(1232)

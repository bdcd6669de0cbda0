"""The rewrite plugin: what the plugins behind are asked, and what the client gets back."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from netsim.wire import dns
from netsim.wire.dns import Edns, Message, Rcode, Record
from tests.clusterdns.world import CLIENT, World, address_of, answering, lines, values

UPSTREAM = "192.0.2.1"
ENT = "ent.prod.svc.cluster.local."


class Rewriting(World):
    """A server with rewrite lines in front of the cluster's names and of an upstream."""

    def __init__(self, *rules: str, answers: tuple[Record, ...] = ()) -> None:
        self.queries: list[Message] = []

        def answer(query: Message) -> Message:
            self.queries.append(query)
            known = tuple(record for record in answers if record.name == query.questions[0].name.lower())
            return dns.reply(query, answers=known)

        body = "\n".join(f" rewrite {rule}" for rule in rules)
        text = f". {{\n{body}\n kubernetes cluster.local\n forward . {UPSTREAM}\n}}"
        super().__init__(text, upstreams={UPSTREAM: answer})


@pytest.mark.parametrize(
    ("rule", "asked", "owner"),
    [
        ("name www.shop ent.prod.svc.cluster.local", "WWW.shop.", "www.shop."),
        ("name exact www.shop ent.prod.svc.cluster.local", "www.shop.", "www.shop."),
        ("name prefix old- ent", "old-.prod.svc.cluster.local.", ENT),
        ("name suffix .shop .prod.svc.cluster.local", "ent.shop.", ENT),
        ("name suffix .shop .prod.svc.cluster.local answer auto", "ent.shop.", "ent.shop."),
        ("name substring stage prod", "ent.stage.svc.cluster.local.", ENT),
        (
            "name substring stage prod answer auto",
            "ent.stage.svc.cluster.local.",
            "ent.stage.svc.cluster.local.",
        ),
        (r"name regex ^(\w+)-(\w+)\.shop\.$ {1}.{2}.svc.cluster.local", "ent-prod.shop.", ENT),
        (
            r"name regex ^(\w+)-(\w+)\.shop\.$ {1}.{2}.svc.cluster.local answer name "
            r"^(\w+)\.(\w+)\.svc\.cluster\.local\.$ {1}-{2}.shop",
            "ent-prod.shop.",
            "ent-prod.shop.",
        ),
    ],
)
def test_names_are_turned_and_owners_turned_back_where_it_says_so(rule: str, asked: str, owner: str) -> None:
    reply = Rewriting(rule).ask(asked)
    assert reply.questions[0].name == asked
    assert lines(reply.answers) == [f"{owner} 5 A 10.96.0.20"]


def test_values_are_turned_back_too() -> None:
    reply = Rewriting("name exact www.shop ent.prod.svc.cluster.local").ask("www.shop.", "SRV")
    assert values(reply) == ["0 50 80 www.shop.", "0 50 9090 www.shop."]
    assert lines(reply.additional) == ["www.shop. 5 A 10.96.0.20"]


def test_the_first_rule_that_fits_ends_it_unless_it_says_continue() -> None:
    first, second = "name a.shop b.shop", "name b.shop ent.prod.svc.cluster.local"
    assert Rewriting(f"stop {first}", second).ask("a.shop.").rcode == Rcode.NOERROR
    stopped = Rewriting(f"stop {first}", second)
    stopped.ask("a.shop.")
    assert [query.questions[0].name for query in stopped.queries] == ["b.shop."]
    assert lines(Rewriting(f"continue {first}", second).ask("a.shop.").answers) == ["a.shop. 5 A 10.96.0.20"]


def test_a_name_that_cannot_be_one_is_servfail() -> None:
    coredns = Rewriting("name prefix a " + "b" * 64)
    assert coredns.ask("a.shop.").rcode == Rcode.SERVFAIL
    assert coredns.cause.startswith("rewrite: invalid name after rewrite: bbb")


def test_types_and_classes() -> None:
    coredns = Rewriting("type AAAA A")
    reply = coredns.ask(ENT, "AAAA")
    assert (reply.questions[0].qtype, values(reply)) == (dns.AAAA, ["10.96.0.20"])
    assert Rewriting("class CH IN").ask(ENT, qclass=dns.CHAOS).rcode == Rcode.NOERROR


@pytest.mark.parametrize(
    ("bounds", "ttl"), [("20", 20), ("0-3", 3), ("30-60", 30), ("-2", 2), ("7-", 7), ("3-10", 5)]
)
def test_ttls_are_bounded(bounds: str, ttl: int) -> None:
    rule = f"ttl exact {ENT} {bounds}"
    assert Rewriting(rule).ask(ENT).answers[0].ttl == ttl


@pytest.mark.parametrize("match", ["", "exact ", "prefix ", "suffix ", "substring "])
def test_rcodes_are_replaced(match: str) -> None:
    gone = "gone.prod.svc.cluster.local."
    assert Rewriting(f"rcode {match}{gone} NXDOMAIN NOERROR").ask(gone).rcode == Rcode.NOERROR
    assert Rewriting("rcode regex gone.* 3 2").ask(gone).rcode == Rcode.SERVFAIL
    assert Rewriting(f"rcode {match}{gone} SERVFAIL NOERROR").ask(gone).rcode == Rcode.NXDOMAIN


def test_an_rcode_without_records_is_replaced_too() -> None:
    text = ". {\n rewrite rcode exact a. SERVFAIL NXDOMAIN\n any\n}"
    assert World(text).ask("a.").rcode == Rcode.NXDOMAIN


@pytest.mark.parametrize(
    "rule", ["cname old.cdn. new.cdn.", "cname prefix old new", "cname regex ^old(.*)$ new{1}"]
)
def test_an_alias_is_led_elsewhere(rule: str) -> None:
    alias = Record("www.shop.", dns.CNAME, dns.IN, 60, "old.cdn.")
    answers = (alias, address_of("old.cdn.", bytes(4)), address_of("new.cdn."))
    coredns = Rewriting(rule, answers=answers)
    reply = coredns.ask("www.shop.")
    assert lines(reply.answers) == ["new.cdn. 300 A 203.0.113.80", "www.shop. 60 CNAME new.cdn."]


@pytest.mark.parametrize(
    ("behind", "answers"),
    [
        ((address_of("new.cdn."),), ["new.cdn. 300 A 203.0.113.80", "www.shop. 60 CNAME new.cdn."]),
        ((), ["www.shop. 60 CNAME new.cdn."]),
    ],
)
def test_what_stood_behind_the_old_alias_is_gone(behind: Sequence[Record], answers: Sequence[str]) -> None:
    alias = Record("www.shop.", dns.CNAME, dns.IN, 60, "old.cdn.")

    def upstream(query: Message) -> Message:
        new = query.questions[0].name == "new.cdn."
        return dns.reply(query, answers=behind if new else (alias, address_of("old.cdn.", bytes(4))))

    world = World(
        ".:53 {\n rewrite cname exact old.cdn. new.cdn.\n forward . 192.0.2.1\n}\n", (), {UPSTREAM: upstream}
    )
    assert lines(world.ask("www.shop.").answers) == answers


class TestEdns0:
    @pytest.mark.parametrize(
        "rule", ["local replace 65518 hello", "local set 65518 hello", "subnet replace 24 56"]
    )
    def test_the_query_has_an_opt_record_even_after_a_rule_that_does_not_fit(self, rule: str) -> None:
        coredns = Rewriting(f"edns0 {rule}")
        edns = coredns.ask("www.shop.").edns
        assert edns is not None
        assert edns.size == 4096

    def option_of(self, rule: str, *before: tuple[int, bytes]) -> list[tuple[int, bytes]]:
        coredns = Rewriting(f"edns0 {rule}")
        coredns.ask("www.shop.", edns=Edns(1232, options=before))
        edns = coredns.queries[0].edns
        assert edns is not None
        return list(edns.options)

    @pytest.mark.parametrize(
        ("rule", "value"),
        [
            ("local set 0xffee 0xabcd", b"\xab\xcd"),
            ("local set 65518 hello", b"hello"),
            ("local append 65518 {qname}", b"www.shop."),
            ("local set 65518 {client_ip}", CLIENT.packed),
            ("local set 65518 {protocol}", b"udp"),
            ("local set 65518 {qtype}", b"\0\1"),
        ],
    )
    def test_a_local_option_is_set(self, rule: str, value: bytes) -> None:
        assert self.option_of(rule) == [(65518, value)]

    def test_replace_needs_one_and_unset_takes_it_away(self) -> None:
        assert self.option_of("local replace 65518 a") == []
        assert self.option_of("local replace 65518 a", (65518, b"b")) == [(65518, b"a")]
        assert self.option_of("local unset 65518", (65518, b"b"), (10, b"12345678")) == [(10, b"12345678")]

    def test_the_client_subnet_is_masked(self) -> None:
        assert self.option_of("subnet set 24 56") == [(8, b"\0\1\x18\0\x0a\xf4\1")]

    def test_an_nsid_is_asked_for(self) -> None:
        assert self.option_of("nsid set") == [(3, b"")]

    def test_a_query_without_opt_gets_one_upstream_and_the_reply_shows_it(self) -> None:
        coredns = Rewriting("edns0 local set 65518 a")
        reply = coredns.ask("www.shop.")
        assert coredns.queries[0].edns == Edns(4096, options=((65518, b"a"),))
        assert reply.edns == Edns(4096, options=((65518, b"a"),))

    def test_revert_hides_it_from_the_client(self) -> None:
        coredns = Rewriting("edns0 local set 65518 a revert", answers=(address_of("www.shop."),))
        reply = coredns.ask("www.shop.", edns=Edns(1232))
        assert coredns.queries[0].edns == Edns(1232, options=((65518, b"a"),))
        assert reply.edns == Edns(1232)


def test_metadata_variables_have_no_value() -> None:
    coredns = Rewriting("edns0 local set 65518 {kubernetes/client-pod-name}")
    coredns.ask("www.shop.", edns=Edns(1232))
    assert coredns.queries[0].edns == Edns(1232)


def test_what_was_not_rewritten_is_left_alone() -> None:
    coredns = World(
        f". {{\n rewrite name a. b.\n forward . {UPSTREAM}\n}}",
        upstreams={UPSTREAM: answering(address_of("c."))},
    )
    assert coredns.ask("c.").questions[0].name == "c."
    assert coredns.cause == f"forward: answer from {UPSTREAM}"

"""The cache plugin: what is kept, for how long, and what a hit looks like."""

from __future__ import annotations

from typing import Any

import pytest

from netsim.base.rng import Rng
from netsim.clusterdns.caching import Item, Shelf
from netsim.clusterdns.chain import Transport
from netsim.clusterdns.responses import Kind, answers_question, kind_of
from netsim.wire import dns
from netsim.wire.dns import Edns, Message, Question, Rcode, Record, Soa
from tests.clusterdns.world import (
    ROOT_SOA,
    Answerer,
    World,
    address_of,
    answering,
    lines,
    service,
    silent,
    values,
)

WWW = "www.example.com."
LATE = "late.prod.svc.cluster.local."


def caching(line: str = "cache 30", *options: str, upstream: Answerer | None = None) -> World:
    body = f" {{\n  {chr(10).join(options)}\n }}" if options else ""
    text = f". {{\n {line}{body}\n kubernetes cluster.local {{\n  ttl 30\n }}\n forward . 192.168.10.1\n}}"
    answer = upstream or answering(address_of(WWW))
    return World(text, upstreams={"192.168.10.1": answer})


def cname(name: str, target: str, ttl: int = 300) -> Record:
    return Record(name, dns.CNAME, dns.IN, ttl, target)


class TestHits:
    def test_a_second_query_is_answered_from_the_cache_with_the_time_that_is_left(self) -> None:
        coredns = caching()
        first = coredns.ask(WWW)
        assert (lines(first.answers), first.authoritative) == ([f"{WWW} 30 A 203.0.113.80"], False)
        coredns.until(12)
        second = coredns.ask(WWW)
        assert lines(second.answers) == [f"{WWW} 18 A 203.0.113.80"]
        assert (second.authoritative, second.recursion_available) == (True, True)
        assert coredns.cause == "cache hit, 12 s old"
        assert len(coredns.asked) == 1

    def test_an_item_with_no_second_left_is_a_miss(self) -> None:
        coredns = caching()
        coredns.ask(WWW)
        coredns.until(29.9)
        assert coredns.ask(WWW).answers[0].ttl == 1
        coredns.until(30)
        assert coredns.ask(WWW).answers[0].ttl == 30
        assert len(coredns.asked) == 2

    def test_a_hit_keeps_the_first_querys_spelling_and_the_seconds_question(self) -> None:
        coredns = caching()
        coredns.ask(WWW)
        reply = coredns.ask(WWW.upper())
        assert reply.questions[0].name == WWW.upper()
        assert reply.answers[0].name == WWW

    @pytest.mark.parametrize(
        "other",
        [
            {"qtype": "AAAA"},
            {"edns": Edns(1232, do=True)},
            {"checking_disabled": True},
            {"qclass": dns.CHAOS},
        ],
    )
    def test_type_class_do_and_cd_are_part_of_the_key(self, other: dict[str, Any]) -> None:
        coredns = caching()
        coredns.ask(WWW)
        coredns.send(WWW, **other)
        assert len(coredns.asked) == 2

    def test_transport_and_edns_size_are_not(self) -> None:
        coredns = caching()
        coredns.ask(WWW)
        reply = coredns.ask(WWW, transport=Transport.TCP, edns=Edns(4096))
        assert reply.edns == Edns(4096)
        assert len(coredns.asked) == 1

    def test_nothing_is_thrown_away_when_an_object_changes(self) -> None:
        coredns = caching()
        assert coredns.ask(LATE).rcode == Rcode.NXDOMAIN
        coredns.until(10)
        coredns.apply(service("prod/late", "10.96.0.99"))
        assert coredns.ask(LATE).rcode == Rcode.NXDOMAIN
        coredns.until(30)
        assert values(coredns.ask(LATE)) == ["10.96.0.99"]

    def test_ad_is_shown_to_those_who_ask_for_it(self) -> None:
        def validated(query: Message) -> Message:
            assert query.authentic  # the cache always asks for it
            return dns.reply(query, authentic=True, answers=(address_of(WWW),))

        coredns = caching(upstream=validated)
        assert not coredns.ask(WWW).authentic
        assert not coredns.ask(WWW).authentic
        assert coredns.ask(WWW, authentic=True).authentic


class TestTtls:
    @pytest.mark.parametrize(
        ("line", "option", "ttl", "shown"),
        [
            ("cache 30", "", 300, 30),
            ("cache 30", "", 20, 20),
            ("cache 30", "", 2, 5),
            ("cache", "", 7200, 3600),
            ("cache", "success 1000 60", 300, 60),
            ("cache", "success 1000 60 0", 2, 2),
            ("cache 30", "disable success", 300, 30),
        ],
    )
    def test_all_records_of_a_reply_get_one_ttl(self, line: str, option: str, ttl: int, shown: int) -> None:
        records = (cname(WWW, "t.example.com.", 9999), address_of("t.example.com.", ttl=ttl))
        coredns = caching(line, *filter(None, [option]), upstream=answering(*records))
        assert {record.ttl for record in coredns.ask(WWW).answers} == {shown}

    def test_the_schema_version_loses_its_long_ttl(self) -> None:
        assert caching().ask("dns-version.cluster.local.", "TXT").answers[0].ttl == 30

    def test_keepttl_shows_the_first_ttl_again(self) -> None:
        coredns = caching("cache 30", "keepttl")
        coredns.ask(WWW)
        coredns.until(20)
        assert coredns.ask(WWW).answers[0].ttl == 30
        assert len(coredns.asked) == 1

    def test_a_denial_is_kept_for_the_ttl_of_its_soa(self) -> None:
        soa = ROOT_SOA._replace(ttl=10)
        coredns = caching(upstream=answering(rcode=Rcode.NXDOMAIN, authority=[soa]))
        assert coredns.ask(WWW).authority[0].ttl == 10
        coredns.until(9)
        coredns.ask(WWW)
        assert len(coredns.asked) == 1
        coredns.until(10)
        coredns.ask(WWW)
        assert len(coredns.asked) == 2


class TestWhatIsKept:
    @pytest.mark.parametrize(
        ("answer", "seconds"),
        [
            (answering(address_of(WWW)), 30),
            (answering(rcode=Rcode.NXDOMAIN, authority=[ROOT_SOA]), 30),
            (answering(authority=[ROOT_SOA]), 30),
            (answering(rcode=Rcode.SERVFAIL), 5),
            (answering(rcode=Rcode.NOTIMP), 5),
            (answering(), 5),
            (answering(cname(WWW, "x."), authority=[ROOT_SOA]), 30),
            (answering(rcode=Rcode.NXDOMAIN), 0),
            (answering(cname(WWW, "x.")), 0),
            (answering(rcode=Rcode.REFUSED), 0),
            (answering(cname(WWW, "x."), rcode=Rcode.NXDOMAIN, authority=[ROOT_SOA]), 0),
            (lambda query: dns.reply(query, truncated=True, answers=(address_of(WWW),)), 0),
        ],
        ids=[
            "answer", "nxdomain", "nodata", "servfail", "notimp", "empty", "dangling-with-soa",
            "nxdomain-without-soa", "dangling", "refused", "cname-nxdomain", "truncated",
        ],
    )  # fmt: skip
    def test_a_kind_of_answer_is_kept_so_long(self, answer: Answerer, seconds: int) -> None:
        coredns = caching(upstream=answer)
        coredns.ask(WWW)
        for moment in (0, seconds - 1):
            coredns.until(moment)
            coredns.ask(WWW)
        assert len(coredns.asked) == (1 if seconds else 3)
        coredns.until(seconds)
        coredns.ask(WWW)
        assert len(coredns.asked) == (2 if seconds else 4)

    def test_servfail_can_be_kept_shorter(self) -> None:
        coredns = caching("cache 30", "servfail 0", upstream=answering(rcode=Rcode.SERVFAIL))
        coredns.ask(WWW)
        coredns.ask(WWW)
        assert len(coredns.asked) == 2

    def test_no_answer_at_all_is_not_kept(self) -> None:
        coredns = caching(upstream=silent)
        assert coredns.ask(WWW).rcode == Rcode.SERVFAIL
        first = len(coredns.asked)
        coredns.ask(WWW)
        assert len(coredns.asked) > first

    @pytest.mark.parametrize(
        ("option", "late_is_kept", "www_is_kept"),
        [
            ("disable denial cluster.local", False, True),
            ("disable success", True, False),
            ("disable denial", False, True),
        ],
    )
    def test_zones_can_be_left_out(self, option: str, late_is_kept: bool, www_is_kept: bool) -> None:
        coredns = caching("cache 30", option)
        coredns.ask(LATE)
        coredns.ask(WWW)
        coredns.apply(service("prod/late", "10.96.0.99"))
        assert (coredns.ask(LATE).rcode == Rcode.NXDOMAIN) is late_is_kept
        coredns.ask(WWW)
        assert (len(coredns.asked) == 1) is www_is_kept

    def test_a_zone_that_is_not_cached_keeps_its_ttls(self) -> None:
        coredns = caching("cache 30 cluster.local")
        assert coredns.ask(WWW).answers[0].ttl == 300
        coredns.ask(WWW)
        assert len(coredns.asked) == 2

    def test_an_answer_to_another_question_is_not_kept(self) -> None:
        def confused(query: Message) -> Message:
            return dns.reply(query)._replace(questions=(Question("other.", dns.A),))

        coredns = caching(upstream=confused)
        assert coredns.ask(WWW).rcode == Rcode.FORMERR
        coredns.ask(WWW)
        assert len(coredns.asked) == 2

    def test_a_full_cache_throws_out_at_random(self) -> None:
        shelf = Shelf(1024, Rng(1))
        for number in range(1030):
            shelf.put((f"{number}.", 1, 1, False, False), Item(Message(1), 0.0, 30))
        kept = [number for number in range(1030) if shelf.get((f"{number}.", 1, 1, False, False))]
        assert len(kept) == len(shelf) == 1024
        assert set(range(1024)) - set(kept)  # not simply the last ones were refused


class TestStale:
    def outage(self, *options: str) -> World:
        coredns = caching("cache 30", *options)
        coredns.ask(WWW)
        coredns.upstreams["192.168.10.1"] = answering(rcode=Rcode.SERVFAIL)
        coredns.until(100)
        return coredns

    def test_without_serve_stale_an_outage_shows(self) -> None:
        assert self.outage("keepttl").ask(WWW).rcode == Rcode.SERVFAIL

    @pytest.mark.parametrize("option", ["serve_stale", "serve_stale 2m immediate", "serve_stale 2m verify"])
    def test_serve_stale_bridges_it_with_ttl_0(self, option: str) -> None:
        coredns = self.outage(option)
        reply = coredns.ask(WWW)
        assert (values(reply), reply.answers[0].ttl) == (["203.0.113.80"], 0)
        assert coredns.cause == "stale cache hit, 100 s old (serve_stale)"

    def test_it_does_so_for_the_time_given(self) -> None:
        coredns = self.outage("serve_stale 1m")
        assert coredns.ask(WWW).rcode == Rcode.SERVFAIL

    def test_immediate_answers_first_and_refreshes_beside(self) -> None:
        coredns = self.outage("serve_stale")
        coredns.upstreams["192.168.10.1"] = answering(address_of(WWW, bytes(4)))
        assert values(coredns.ask(WWW)) == ["203.0.113.80"]
        assert len(coredns.asked) == 2
        reply = coredns.ask(WWW)
        assert (values(reply), reply.answers[0].ttl) == (["0.0.0.0"], 30)
        assert len(coredns.asked) == 2

    def test_verify_asks_first_and_answers_what_it_got(self) -> None:
        coredns = self.outage("serve_stale 1h verify")
        coredns.upstreams["192.168.10.1"] = answering(address_of(WWW, bytes(4)))
        assert values(coredns.ask(WWW)) == ["0.0.0.0"]

    def test_only_one_refresh_runs_at_a_time(self) -> None:
        coredns = self.outage("serve_stale")
        coredns.upstreams["192.168.10.1"] = silent
        for _ in range(3):
            coredns.ask(WWW)
        assert len(coredns.asked) == 2


class TestStaleOptions:
    """``serve_stale DURATION MODE [TIMEOUT] [TTL] [RECHECK]`` and ``serve_stale_policy``."""

    def outage(self, *options: str, upstream: Answerer = silent) -> World:
        coredns = caching("cache 30", *options)
        coredns.ask(WWW)
        coredns.upstreams["192.168.10.1"] = upstream
        coredns.until(100)
        return coredns

    def test_a_stale_answer_has_the_ttl_that_it_says(self) -> None:
        assert self.outage("serve_stale 1h immediate 20s").ask(WWW).answers[0].ttl == 20

    def test_verify_waits_no_longer_than_its_timeout(self) -> None:
        coredns = self.outage("serve_stale 1h verify 500ms")
        reply = coredns.ask(WWW)
        assert (coredns.now, values(reply), reply.answers[0].ttl) == (100.5, ["203.0.113.80"], 0)

    def test_an_answer_within_the_timeout_is_served(self) -> None:
        coredns = self.outage("serve_stale 1h verify 500ms", upstream=answering(address_of(WWW, bytes(4))))
        assert values(coredns.ask(WWW)) == ["0.0.0.0"]
        assert coredns.now == 100

    @pytest.mark.parametrize(("timeout", "authoritative"), [("", False), (" 500ms", True)])
    def test_what_verify_with_a_timeout_fetched_is_answered_as_a_hit(
        self, timeout: str, authoritative: bool
    ) -> None:
        coredns = self.outage(
            f"serve_stale 1h verify{timeout}", upstream=answering(address_of(WWW, bytes(4)))
        )
        reply = coredns.ask(WWW)
        assert (values(reply), reply.authoritative) == (["0.0.0.0"], authoritative)

    @pytest.mark.parametrize("option", ["serve_stale 1h immediate 0s 1m", "serve_stale 1h verify 0s 0s 1m"])
    def test_after_a_failure_nobody_asks_again_too_soon(self, option: str) -> None:
        coredns = self.outage(option, upstream=answering(rcode=Rcode.SERVFAIL))
        for _ in range(3):
            assert values(coredns.ask(WWW)) == ["203.0.113.80"]
        assert len(coredns.asked) == 2
        coredns.until(161)
        coredns.ask(WWW)
        assert len(coredns.asked) == 3

    def test_a_denial_does_not_hide_the_last_good_answer_if_it_says_so(self) -> None:
        denying = answering(rcode=Rcode.NXDOMAIN, authority=[ROOT_SOA])
        plain = self.outage("serve_stale 1h", upstream=denying)
        preferring = self.outage("serve_stale 1h", "serve_stale_policy prefer_positive", upstream=denying)
        for coredns in (plain, preferring):
            coredns.ask(WWW)
        assert plain.ask(WWW).rcode == Rcode.NXDOMAIN
        assert values(preferring.ask(WWW)) == ["203.0.113.80"]


class TestPrefetch:
    def test_a_popular_name_is_refreshed_before_it_expires(self) -> None:
        coredns = caching("cache 30", "prefetch 2 1m 20%")
        coredns.ask(WWW)
        coredns.until(10)
        coredns.ask(WWW)
        coredns.until(25)
        coredns.upstreams["192.168.10.1"] = answering(address_of(WWW, bytes(4)))
        assert coredns.ask(WWW).answers[0].ttl == 5
        assert len(coredns.asked) == 2
        reply = coredns.ask(WWW)
        assert (values(reply), reply.answers[0].ttl) == (["0.0.0.0"], 30)

    def test_a_refresh_that_fails_does_not_hide_the_good_answer(self) -> None:
        coredns = caching("cache 30", "prefetch 1 1m 20%")
        coredns.ask(WWW)
        coredns.until(26)
        coredns.upstreams["192.168.10.1"] = answering(rcode=Rcode.SERVFAIL)
        coredns.ask(WWW)
        assert len(coredns.asked) == 2
        assert values(coredns.ask(WWW)) == ["203.0.113.80"]

    def test_a_refresh_that_succeeds_ends_a_denial(self) -> None:
        coredns = caching(
            "cache 30", "prefetch 1 1m 20%", upstream=answering(rcode=Rcode.NXDOMAIN, authority=[ROOT_SOA])
        )
        coredns.ask(WWW)
        coredns.until(26)
        coredns.upstreams["192.168.10.1"] = answering(address_of(WWW))
        assert coredns.ask(WWW).rcode == Rcode.NXDOMAIN
        assert values(coredns.ask(WWW)) == ["203.0.113.80"]

    def test_an_unpopular_one_is_not(self) -> None:
        coredns = caching("cache 30", "prefetch 2 1m 20%")
        coredns.ask(WWW)
        coredns.until(25)
        coredns.ask(WWW)
        assert len(coredns.asked) == 1


class TestKinds:
    QUESTION = (Question(WWW, dns.A),)

    @pytest.mark.parametrize(
        ("answers", "answered"),
        [
            ([], False),
            ([address_of(WWW)], True),
            ([address_of(WWW.upper())], True),
            ([address_of("other.")], False),
            ([cname(WWW, "b."), address_of("B.")], True),
            ([cname(WWW, "b."), cname("b.", "c."), address_of("c.")], True),
            ([cname(WWW, "b.")], False),
            ([cname(WWW, "b."), cname("b.", WWW)], False),
            ([cname(WWW, "b."), cname(WWW, "c."), address_of("b.")], False),
            ([cname(WWW, "b."), cname(WWW, "B."), address_of("b.")], True),
        ],
    )
    def test_an_answer_answers_at_the_end_of_the_cname_chain(
        self, answers: list[Record], answered: bool
    ) -> None:
        assert answers_question(Message(1, questions=self.QUESTION, answers=tuple(answers))) is answered

    def test_a_referral_is_a_delegation(self) -> None:
        referral = Record("example.com.", dns.NS, dns.IN, 5, "ns.example.com.")
        assert kind_of(Message(1, questions=self.QUESTION, authority=(referral,))) is Kind.DELEGATION

    @pytest.mark.parametrize(
        "message",
        [
            Message(1, opcode=4, questions=QUESTION),
            Message(1, questions=(Question(WWW, dns.AXFR),), answers=(address_of(WWW),)),
        ],
    )
    def test_transfers_and_notifications_are_meta(self, message: Message) -> None:
        assert kind_of(message) is Kind.META


def test_the_sample_soa_has_the_values_that_the_tests_count_on() -> None:
    assert isinstance(ROOT_SOA.data, Soa)
    assert ROOT_SOA.ttl > 1800

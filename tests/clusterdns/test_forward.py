"""The forward plugin: whom it asks, in which order, how long it waits, and when it gives up."""

from __future__ import annotations

import pytest

from netsim.clusterdns.chain import Transport
from netsim.clusterdns.server import Server, UpstreamReplied
from netsim.wire import dns
from netsim.wire.dns import Edns, Message, Rcode
from tests.clusterdns.world import EXAMPLE, Answerer, World, address_of, answering, lines, silent, values

WWW = "www.example.com."
ONE, TWO, THREE = "192.0.2.1", "192.0.2.2", "192.0.2.3"
GOOD = answering(address_of(WWW))


def forwarding(
    *options: str, to: str = ONE, upstreams: dict[str, Answerer] | None = None, seed: int = 1
) -> World:
    body = f" {{\n  {chr(10).join(options)}\n }}" if options else ""
    given = {ONE: GOOD} if upstreams is None else upstreams
    return World(f". {{\n forward . {to}{body}\n}}", upstreams=given, seed=seed)


def whom(coredns: World) -> list[str]:
    return [upstream for _, upstream, name, _ in coredns.asked if name == WWW]


class TestOneUpstream:
    def test_its_answer_is_passed_on_with_its_flags(self) -> None:
        coredns = forwarding()
        reply = coredns.ask(WWW)
        assert lines(reply.answers) == [f"{WWW} 300 A 203.0.113.80"]
        assert (reply.id, reply.authoritative, reply.recursion_available) == (7, False, True)
        assert coredns.cause == f"forward: answer from {ONE}"

    def test_a_denial_is_named_in_the_cause(self) -> None:
        coredns = forwarding(upstreams={ONE: answering(rcode=Rcode.NXDOMAIN)})
        coredns.ask(WWW)
        assert coredns.cause == f"forward: answer from {ONE}: NXDOMAIN"

    def test_the_question_is_the_clients_with_an_id_of_its_own(self) -> None:
        seen: list[Message] = []

        def remember(query: Message) -> Message:
            seen.append(query)
            return dns.reply(query)

        coredns = forwarding(upstreams={ONE: remember})
        coredns.ask("WWW.example.com.", "AAAA", edns=Edns(4000, do=True), checking_disabled=True)
        (query,) = seen
        assert query.questions[0] == ("WWW.example.com.", dns.AAAA, dns.IN)
        assert (query.edns, query.checking_disabled, query.recursion_desired) == (
            Edns(4000, do=True),
            True,
            True,
        )
        assert query.id != 7

    def test_silence_is_two_attempts_of_two_seconds(self) -> None:
        coredns = forwarding(upstreams={ONE: silent})
        reply = coredns.ask(WWW)
        assert (reply.rcode, reply.answers, coredns.now) == (Rcode.SERVFAIL, (), 4.0)
        assert [time for time, _, name, _ in coredns.asked if name == WWW] == [0.0, 2.0]
        assert coredns.cause == f"forward: no answer from {ONE} (i/o timeout): SERVFAIL"

    def test_a_refused_connection_fails_at_once(self) -> None:
        coredns = forwarding(upstreams={ONE: lambda query: "connection refused"})
        coredns.ask(WWW)
        assert coredns.now == 0.0
        assert coredns.cause == f"forward: no answer from {ONE} (connection refused): SERVFAIL"

    @pytest.mark.parametrize(
        ("option", "attempts", "took"),
        [("read_timeout 1s", 2, 2.0), ("max_connect_attempts 1", 1, 2.0), ("max_connect_attempts 0", 3, 6.0)],
    )
    def test_attempts_and_timeout_are_options(self, option: str, attempts: int, took: float) -> None:
        coredns = forwarding(option, upstreams={ONE: silent})
        coredns.ask(WWW)
        assert (len(whom(coredns)), coredns.now) == (attempts, took)

    def test_a_reply_with_a_wrong_id_is_passed_over(self) -> None:
        coredns = forwarding(upstreams={ONE: silent})
        event = coredns.send(WWW)
        server: Server = coredns.server
        (token,) = server._waiting
        wrong = dns.build(dns.reply(Message(0, questions=(dns.Question(WWW, dns.A),))))
        assert server.feed(UpstreamReplied(token, b"\0\0" + wrong[2:]), 1.0) == []
        assert server.waits_for(token)
        assert coredns.reply_to(event) is None

    def test_garbage_with_the_right_id_counts_as_a_failure(self) -> None:
        coredns = forwarding(upstreams={ONE: silent})
        coredns.send(WWW)
        (token,) = coredns.server._waiting
        asked = coredns.server._waiting[token].ask.data
        commands = coredns.server.feed(UpstreamReplied(token, asked[:2] + b"\x80"), 1.0)
        assert not coredns.server.waits_for(token)
        assert commands  # the second attempt

    def test_an_answer_to_another_question_is_a_format_error(self) -> None:
        coredns = forwarding(upstreams={ONE: lambda query: query._replace(response=True, questions=())})
        assert coredns.ask(WWW).rcode == Rcode.FORMERR
        assert coredns.cause == f"forward: {ONE} answered another question: FORMERR"

    def test_a_late_reply_changes_nothing(self) -> None:
        coredns = forwarding(upstreams={ONE: silent})
        coredns.ask(WWW)
        assert coredns.server.feed(UpstreamReplied(1, b"\0\0"), 9.0) == []


class TestTransport:
    @pytest.mark.parametrize(
        ("option", "asked_by", "used"),
        [
            ("max_fails 2", Transport.UDP, Transport.UDP),
            ("max_fails 2", Transport.TCP, Transport.TCP),
            ("force_tcp", Transport.UDP, Transport.TCP),
            ("prefer_udp", Transport.TCP, Transport.UDP),
        ],
    )
    def test_it_is_the_clients_unless_an_option_says_otherwise(
        self, option: str, asked_by: Transport, used: Transport
    ) -> None:
        coredns = forwarding(option)
        coredns.ask(WWW, transport=asked_by)
        assert [transport for *_, transport in coredns.asked] == [used]

    def test_prefer_udp_asks_again_over_tcp_when_the_answer_is_truncated(self) -> None:
        coredns = forwarding("prefer_udp")
        coredns.upstreams[ONE] = lambda query: dns.reply(query, truncated=len(coredns.asked) == 1)
        assert not coredns.ask(WWW, transport=Transport.TCP).truncated
        assert [transport for *_, transport in coredns.asked] == [Transport.UDP, Transport.TCP]

    @pytest.mark.parametrize(
        ("edns", "transport", "answers"),
        [(None, Transport.UDP, 0), (Edns(4096), Transport.UDP, 60), (None, Transport.TCP, 60)],
    )
    def test_more_than_the_client_takes_over_udp_is_truncated_to_nothing(
        self, edns: Edns | None, transport: Transport, answers: int
    ) -> None:
        many = [address_of(WWW, bytes((10, 0, 0, n))) for n in range(60)]
        reply = forwarding(upstreams={ONE: answering(*many)}).ask(WWW, edns=edns, transport=transport)
        assert (len(reply.answers), reply.truncated) == (answers, answers == 0)


class TestPolicies:
    @pytest.mark.parametrize(
        ("policy", "order"), [("sequential", [ONE] * 4), ("round_robin", [TWO, ONE, TWO, ONE])]
    )
    def test_order_of_the_first_choice(self, policy: str, order: list[str]) -> None:
        coredns = forwarding(f"policy {policy}", to=f"{ONE} {TWO}", upstreams={ONE: GOOD, TWO: GOOD})
        for _ in range(4):
            coredns.ask(WWW)
        assert whom(coredns) == order

    def test_random_uses_all_and_is_the_same_for_the_same_seed(self) -> None:
        def run(seed: int) -> list[str]:
            coredns = forwarding(
                to=f"{ONE} {TWO} {THREE}", upstreams=dict.fromkeys([ONE, TWO, THREE], GOOD), seed=seed
            )
            for _ in range(30):
                coredns.ask(WWW)
            return whom(coredns)

        assert set(run(1)) == {ONE, TWO, THREE}
        assert run(1) == run(1) != run(2)

    def test_a_dead_upstream_is_skipped_after_its_timeout(self) -> None:
        coredns = forwarding("policy sequential", to=f"{ONE} {TWO}", upstreams={ONE: silent, TWO: GOOD})
        assert values(coredns.ask(WWW)) == ["203.0.113.80"]
        assert (whom(coredns), coredns.now) == ([ONE, TWO], 2.0)

    def test_failover_goes_on_after_an_rcode_and_keeps_the_last(self) -> None:
        bad = answering(rcode=Rcode.SERVFAIL)
        coredns = forwarding(
            "policy sequential", "failover SERVFAIL", to=f"{ONE} {TWO}", upstreams={ONE: bad, TWO: bad}
        )
        assert coredns.ask(WWW).rcode == Rcode.SERVFAIL
        assert whom(coredns) == [ONE, TWO]

    @pytest.mark.parametrize(
        ("option", "first", "goes_on"),
        [
            ("next NXDOMAIN", answering(rcode=Rcode.NXDOMAIN), True),
            ("next NXDOMAIN", answering(), False),
            ("next_on_nodata", answering(), True),
            ("max_fails 2", answering(rcode=Rcode.NXDOMAIN), False),
        ],
    )
    def test_next_hands_over_to_the_next_forward(self, option: str, first: Answerer, goes_on: bool) -> None:
        text = f". {{\n forward . {ONE} {{\n  {option}\n }}\n forward . {TWO}\n}}"
        coredns = World(text, upstreams={ONE: first, TWO: GOOD})
        coredns.ask(WWW)
        assert whom(coredns) == ([ONE, TWO] if goes_on else [ONE])


class TestHealth:
    def dead(self, *options: str) -> World:
        """Both upstreams silent until the health checks have noticed."""
        coredns = forwarding(
            "policy sequential", *options, to=f"{ONE} {TWO}", upstreams={ONE: silent, TWO: silent}
        )
        coredns.ask(WWW)
        coredns.until(12)
        coredns.asked.clear()
        return coredns

    def test_a_failure_starts_a_check_every_half_second_until_it_answers(self) -> None:
        coredns = forwarding(upstreams={ONE: silent})
        coredns.send(WWW)
        coredns.until(7.4)
        checks = [time for time, _, name, _ in coredns.asked if name == "."]
        assert checks == [2.0, 3.5, 5.0, 6.5]  # a second of waiting, half a second of pause
        coredns.upstreams[ONE] = GOOD
        coredns.until(60)
        assert coredns.server.deadline() is None

    def test_an_upstream_that_is_down_is_left_out(self) -> None:
        coredns = self.dead()
        coredns.upstreams[TWO] = GOOD
        coredns.until(14)
        coredns.asked.clear()
        coredns.ask(WWW)
        assert whom(coredns) == [TWO]

    def test_it_is_left_out_in_every_round(self) -> None:
        coredns = self.dead()
        coredns.upstreams[TWO] = GOOD
        coredns.until(14)
        coredns.upstreams[TWO] = lambda query: "connection refused"
        coredns.asked.clear()
        coredns.ask(WWW)
        assert whom(coredns) == [TWO] * 4

    def test_it_is_asked_again_once_it_is_well(self) -> None:
        coredns = self.dead()
        coredns.upstreams[ONE] = GOOD
        coredns.until(14)
        coredns.asked.clear()
        coredns.ask(WWW)
        assert whom(coredns) == [ONE]

    def test_when_all_are_down_one_is_tried_at_random(self) -> None:
        coredns = self.dead()
        coredns.upstreams |= {ONE: GOOD, TWO: GOOD}
        assert coredns.ask(WWW).rcode == Rcode.NOERROR

    def test_or_none_with_failfast(self) -> None:
        coredns = self.dead("failfast_all_unhealthy_upstreams")
        assert coredns.ask(WWW).rcode == Rcode.SERVFAIL
        assert whom(coredns) == []
        assert "(no healthy proxies)" in coredns.cause

    def test_max_fails_0_never_checks(self) -> None:
        coredns = forwarding("max_fails 0", upstreams={ONE: silent})
        coredns.ask(WWW)
        coredns.until(20)
        assert [name for _, _, name, _ in coredns.asked] == [WWW, WWW]


class TestLimits:
    def test_too_many_at_once_are_refused(self) -> None:
        coredns = forwarding("max_concurrent 2", upstreams={ONE: silent})
        coredns.send(WWW)
        coredns.send(WWW)
        assert coredns.ask(WWW).rcode == Rcode.REFUSED
        assert coredns.cause == "forward: concurrent queries exceeded maximum 2: REFUSED"

    def test_places_become_free_again(self) -> None:
        coredns = forwarding("max_concurrent 1", upstreams={ONE: silent})
        coredns.ask(WWW)
        assert coredns.ask(WWW).rcode == Rcode.SERVFAIL

    @pytest.mark.parametrize(
        ("name", "rcode"),
        [
            ("a.example.", Rcode.NOERROR),
            ("example.", Rcode.NOERROR),
            ("a.not.example.", Rcode.SERVFAIL),
            ("other.", Rcode.SERVFAIL),
        ],
    )
    def test_only_the_zone_without_its_exceptions_is_forwarded(self, name: str, rcode: Rcode) -> None:
        text = f". {{\n forward example {ONE} {{\n  except not.example\n }}\n}}"
        coredns = World(text, upstreams={ONE: answering(address_of(name, EXAMPLE))})
        assert coredns.ask(name).rcode == rcode


def test_nameservers_come_from_resolv_conf() -> None:
    files = {"/etc/resolv.conf": "# here\nsearch a\nnameserver 192.0.2.2\nnameserver fd00::1\n"}
    text = ". {\n forward . /etc/resolv.conf {\n  policy sequential\n }\n}"
    coredns = World(text, upstreams={TWO: lambda query: "connection refused"}, files=files)
    coredns.ask(WWW)
    assert whom(coredns)[:2] == [TWO, "fd00::1"]


def test_the_exact_zone_is_served_even_if_it_is_excepted() -> None:
    text = f". {{\n forward example {ONE} {{\n  except example\n }}\n}}"
    coredns = World(text, upstreams={ONE: answering(address_of("example."))})
    assert coredns.ask("example.").rcode == Rcode.NOERROR
    assert coredns.ask("a.example.").rcode == Rcode.SERVFAIL

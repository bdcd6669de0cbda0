"""The loadbalance plugin: the order of records in a reply."""

from __future__ import annotations

from collections import Counter

import pytest

from netsim.base.errors import CorefileError
from netsim.wire import dns
from netsim.wire.dns import Mx, Rcode, Record
from tests.clusterdns.world import World, address_of, answering

WWW = "www.example.com."
ADDRESSES = tuple(address_of(WWW, bytes((10, 0, 0, n))) for n in range(4))
EXCHANGES = tuple(Record(WWW, dns.MX, dns.IN, 5, Mx(n, "mx.")) for n in range(3))
TEXT = Record(WWW, dns.TXT, dns.IN, 5, (b"x",))
ALIAS = Record("a.", dns.CNAME, dns.IN, 5, WWW)


def balancing(*records: Record, options: str = "", rcode: int = Rcode.NOERROR, seed: int = 1) -> World:
    text = f". {{\n loadbalance{options}\n forward . 192.0.2.1\n}}"
    return World(text, upstreams={"192.0.2.1": answering(*records, rcode=rcode)}, seed=seed)


def orders(coredns: World, times: int) -> list[tuple[Record, ...]]:
    return [coredns.ask(WWW).answers for _ in range(times)]


def test_every_address_comes_first_about_equally_often() -> None:
    firsts = Counter(answers[0].data[3] for answers in orders(balancing(*ADDRESSES), 400))
    assert set(firsts) == {0, 1, 2, 3}
    assert min(firsts.values()) > 60


def test_the_order_depends_on_nothing_but_the_seed() -> None:
    assert orders(balancing(*ADDRESSES), 20) == orders(balancing(*ADDRESSES), 20)
    assert orders(balancing(*ADDRESSES), 20) != orders(balancing(*ADDRESSES, seed=2), 20)


def test_aliases_come_first_then_other_types_addresses_and_mail_exchanges() -> None:
    for answers in orders(balancing(*EXCHANGES, *ADDRESSES, TEXT, ALIAS), 10):
        types = [dns.type_name(record.rtype) for record in answers]
        assert types == ["CNAME", "TXT", *["A"] * 4, *["MX"] * 3]
        assert set(answers) == {*EXCHANGES, *ADDRESSES, TEXT, ALIAS}


def test_preferred_subnets_come_first_in_their_order() -> None:
    options = " {\n  prefer 10.0.0.3/32 10.0.0.1/32\n }"
    for answers in orders(balancing(*ADDRESSES, TEXT, options=options), 20):
        assert [record.data[3] for record in answers[:2]] == [3, 1]
        assert answers[-1] == TEXT


def test_an_error_keeps_its_order() -> None:
    for answers in orders(balancing(*ADDRESSES, rcode=Rcode.SERVFAIL), 10):
        assert answers == ADDRESSES


def test_the_cause_is_that_of_the_plugin_that_answered() -> None:
    coredns = balancing(*ADDRESSES)
    coredns.ask(WWW)
    assert coredns.cause == "forward: answer from 192.0.2.1"


class TestWeighted:
    WEIGHTS = f"# a comment\n{WWW}\n10.0.0.0 3\n10.0.0.1 1\n"

    def weighted(self, files: dict[str, str], options: str = "") -> World:
        text = f". {{\n loadbalance weighted /w{options}\n forward . 192.0.2.1\n}}"
        upstreams = {"192.0.2.1": answering(ALIAS, *ADDRESSES[:2])}
        return World(text, upstreams=upstreams, files=files).start()

    def test_the_first_address_is_drawn_by_weight(self) -> None:
        answers = orders(self.weighted({"/w": self.WEIGHTS}), 400)
        assert {answer[0] for answer in answers} == {ALIAS}
        firsts = Counter(answer[1].data[3] for answer in answers)
        assert firsts.total() == 400
        assert 260 < firsts[0] < 340

    def test_a_changed_file_counts_within_the_interval(self) -> None:
        files = {"/w": self.WEIGHTS}
        coredns = self.weighted(files, " {\n  reload 10s\n }")
        files["/w"] = f"{WWW}\n10.0.0.0 1\n10.0.0.1 255\n"
        coredns.until(10)
        firsts = Counter(answer[1].data[3] for answer in orders(coredns, 50))
        assert firsts[1] > 40
        files["/w"] = "10.0.0.0 300\n"
        coredns.until(20)
        assert 'wrong weight value:"300" in weight file /w' in coredns.server.log.render()

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("10.0.0.1", "wrong domain name"),
            ("10.0.0.1 1", "missing domain name"),
            ("a\nb 1", "wrong IP address"),
            ("a\n10.0.0.1 0", "wrong weight value"),
            ("a\n10.0.0.1 1 2", "could not parse weight line"),
        ],
    )
    def test_a_wrong_file_is_refused(self, text: str, problem: str) -> None:
        with pytest.raises(CorefileError, match=problem):
            self.weighted({"/w": text})

    def test_a_missing_file_is_waited_for(self) -> None:
        assert "Will try again in 30s" in self.weighted({"/other": ""}).server.log.render()

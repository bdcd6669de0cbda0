"""c-ares: the queries of a lookup in order and time, against an emulated server.

What was observed of c-ares 1.34.9 on the wire is a row here; the other rows follow its source.
"""

from __future__ import annotations

from ipaddress import IPv4Interface, ip_address
from typing import Any

import pytest

from netsim.base.address import IpAddress
from netsim.base.rng import Rng
from netsim.resolver import cares, hosts
from netsim.resolver.commands import AresError, Family, Libc, Lookup, Transport
from netsim.resolver.order import Client
from netsim.wire import dns
from tests.conformance.stub_server import Network, drive

POD = "search dev.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"
TWO = POD.replace("nameserver 10.96.0.10", "nameserver 10.96.0.10\nnameserver 10.96.0.11")
OWN, SECOND = "ent.dev.svc.cluster.local.", "ent.svc.cluster.local."
ALL = (OWN, SECOND, "ent.cluster.local.", "ent.")
FOUND = {"A": ["10.96.1.1"]}


def look_up(
    name: str, zone: dict[str, Any], conf: str = POD, *, family: Family = Family.UNSPEC, **case: Any
) -> tuple[Lookup, Network]:
    network = Network({"zone": zone, "zone_default": "NXDOMAIN", **case})
    lines = hosts.parse("127.0.0.1\tlocalhost\n10.244.1.5\tweb-0\n")
    client = Client((IPv4Interface("10.244.1.5/24"),), True)
    setup = cares.Setup(cares.parse(conf), lines, client, Rng(1))
    return drive(cares.getaddrinfo(name, setup, 0.0, family=family), network), network


def pairs(*names: str) -> list[tuple[str, str]]:
    return [(name, rtype) for name in names for rtype in ("A", "AAAA")]


@pytest.mark.parametrize(
    ("name", "zone", "asked", "error"),
    [
        ("ent", {OWN: FOUND}, pairs(OWN), None),
        ("ent", {SECOND: FOUND}, pairs(OWN, SECOND), None),
        ("ent.", {}, pairs("ent."), AresError.ENOTFOUND),
        ("ent", {}, pairs(*ALL), AresError.ENOTFOUND),
        ("ent", {OWN: {}}, pairs(*ALL), AresError.ENODATA),
        ("ent", {"ent.": {}}, pairs(*ALL), AresError.ENODATA),
        ("ent", {OWN: {"rcode": {"AAAA": "NXDOMAIN"}, **FOUND}}, pairs(OWN), None),
        ("ent", {OWN: {"CNAME": "x.test."}, "x.test.": FOUND}, pairs(OWN), None),
        ("ent", {OWN: {"CNAME": "x.test."}, "x.test.": {}}, pairs(*ALL), AresError.ENODATA),
        ("ent", {OWN: {"rcode": "SERVFAIL"}, SECOND: FOUND}, pairs(OWN) * 3, AresError.ESERVFAIL),
        ("ent", {OWN: {"rcode": "REFUSED"}, SECOND: FOUND}, pairs(OWN) * 3, AresError.EREFUSED),
        ("ent", {OWN: {"rcode": "NOTIMP"}}, pairs(OWN) * 3, AresError.ENOTIMP),
        ("ent", {OWN: {"rcode": "FORMERR"}}, pairs(OWN), AresError.EFORMERR),
        (
            "ent",
            {OWN: {"rcode": {"A": "SERVFAIL"}}},
            [*pairs(OWN), (OWN, "A"), (OWN, "A")],
            AresError.ESERVFAIL,
        ),
        ("ent", {OWN: {"rcode": {"AAAA": "SERVFAIL"}, **FOUND}}, pairs(OWN), None),
        ("a.b.c.d.e.f", {"a.b.c.d.e.f.": FOUND}, pairs("a.b.c.d.e.f."), None),
        ("x.onion", {}, [], AresError.ENOTFOUND),
        ("a..b", {}, [], AresError.EBADNAME),
        ("10.1.2.3", {}, [], None),
        ("web-0", {}, [], None),
        ("localhost", {}, [], None),
    ],
)
def test_what_is_asked_and_how_it_ends(
    name: str, zone: dict[str, Any], asked: list[tuple[str, str]], error: AresError | None
) -> None:
    lookup, network = look_up(name, zone)
    assert ([(sent.name, sent.rtype) for sent in network.sent], lookup.error) == (asked, error)
    assert (lookup.error is None) == bool(lookup.addresses)
    assert lookup.libc is Libc.CARES


def test_one_family_is_one_query_for_each_candidate() -> None:
    lookup, network = look_up("ent", {SECOND: FOUND}, family=Family.INET)
    assert [(sent.name, sent.rtype) for sent in network.sent] == [(OWN, "A"), (SECOND, "A")]
    assert lookup.addresses == (ip_address("10.96.1.1"),)


def test_a_server_that_is_silent_is_asked_three_times_and_ever_more_patiently() -> None:
    lookup, network = look_up("ent", {OWN: {"rcode": "TIMEOUT"}})
    assert lookup.error is AresError.ETIMEOUT
    times = sorted({sent.time for sent in network.sent})
    first, second, third = (
        end - start for start, end in zip(times, [*times[1:], lookup.elapsed], strict=True)
    )
    assert first == 2.0
    assert 2.0 <= second <= 4.0
    assert 4.0 <= third <= 8.0


def test_after_three_answers_the_server_is_known_to_be_fast() -> None:
    lookup, network = look_up("ent", {"ent.": {"rcode": "TIMEOUT"}})
    last = [sent.time for sent in network.sent if sent.name == "ent."]
    assert last[2] - last[0] == pytest.approx(0.25)
    assert lookup.elapsed < 2.0


def test_the_next_server_is_asked_when_one_fails_and_preferred_from_then_on() -> None:
    zones = {"10.96.0.10": {"*": {"rcode": "SERVFAIL"}}, "10.96.0.11": {SECOND: FOUND}}
    lookup, network = look_up("ent", {}, TWO, server_zones=zones)
    assert [sent.server[-2:] for sent in network.sent] == ["10", "10", "11", "11", "11", "11"]
    assert lookup.error is None


def test_a_closed_port_is_noticed_at_once() -> None:
    lookup, _ = look_up("ent", {OWN: FOUND}, TWO, closed_servers=["10.96.0.10"])
    assert (lookup.error, lookup.elapsed < 0.1) == (None, True)
    lookup, _ = look_up("ent", {OWN: FOUND}, closed_servers=["10.96.0.10"])
    assert (lookup.error, lookup.elapsed < 0.1) == (AresError.ECONNREFUSED, True)


def test_only_what_was_truncated_is_asked_again_over_tcp() -> None:
    lookup, network = look_up("ent", {OWN: {"rcode": {"A": "TC"}, "A": ["10.96.1.1"]}})
    assert [(sent.rtype, sent.transport) for sent in network.sent] == [
        ("A", "udp"), ("AAAA", "udp"), ("A", "tcp"),
    ]  # fmt: skip
    assert lookup.addresses == (ip_address("10.96.1.1"),)


def test_use_vc_asks_over_tcp_alone() -> None:
    _, network = look_up("ent", {OWN: FOUND}, POD + "options use-vc\n")
    assert {sent.transport for sent in network.sent} == {"tcp"}


class Wiretap(Network):
    """The same servers, and the messages that came to them."""

    def __init__(self, case: dict[str, Any]) -> None:
        super().__init__(case)
        self.messages: list[dns.Message] = []

    def ask(self, server: IpAddress, transport: Transport, data: bytes) -> tuple[float, bytes] | None:
        self.messages.append(dns.parse(data))
        return super().ask(server, transport, data)


def test_queries_carry_edns_and_no_other_request() -> None:
    tap = Wiretap({"zone": {}, "zone_default": "NXDOMAIN"})
    drive(cares.getaddrinfo("ent.", cares.Setup(cares.parse(POD), (), Client(), Rng(1)), 0.0), tap)
    assert [query.edns.size for query in tap.messages if query.edns is not None] == [1232, 1232]
    assert all(query.recursion_desired and not query.authentic for query in tap.messages)
    assert len({query.id for query in tap.messages}) == 2


@pytest.mark.parametrize(
    ("text", "search", "ndots", "timeout", "attempts"),
    [
        ("", ("example",), 1, 2, 3),
        ("search a, b\ndomain c\n", ("a", "b"), 1, 2, 3),
        ("domain a b\nsearch c d\n", ("c", "d"), 1, 2, 3),
        ("domain a b\n", ("a",), 1, 2, 3),
        ("options ndots:99 timeout:7 attempts:9\n", ("example",), 99, 7, 9),
        ("options timeout:0 attempts:0 retrans:4 retry:1\n", ("example",), 1, 4, 1),
        ("\tsearch\ta\n#search b\n;search c\n", ("a",), 1, 2, 3),
    ],
)
def test_the_file(text: str, search: tuple[str, ...], ndots: int, timeout: int, attempts: int) -> None:
    conf = cares.parse(text, hostname="web-0.example")
    assert (conf.search, conf.ndots, conf.timeout, conf.attempts) == (search, ndots, timeout, attempts)


def test_servers_are_not_limited_in_number_and_named_once() -> None:
    text = "".join(f"nameserver 10.0.0.{number}\n" for number in (1, 2, 3, 4, 2))
    assert [str(server) for server in cares.parse(text).nameservers] == [f"10.0.0.{n}" for n in (1, 2, 3, 4)]
    assert cares.parse("").nameservers == (ip_address("127.0.0.1"),)

"""What musl and Go read in resolv.conf, and laws that hold for every lookup of theirs.

The answers of real servers to them are in the conformance cases.
"""

from __future__ import annotations

from ipaddress import IPv4Interface, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.base.rng import Rng
from netsim.objects.topology import LIBCS
from netsim.resolver import cares, glibc, glibc_send, golang, hosts, musl, resolvconf
from netsim.resolver.commands import Family, GaiError, Libc
from netsim.resolver.order import Client, ordered_by_go, ordered_by_musl
from tests.conformance.stub_server import Network, drive

NAMES = st.from_regex(r"[a-z0-9.-]{0,30}", fullmatch=True)
RCODES = st.sampled_from(
    ["NOERROR", "NXDOMAIN", "SERVFAIL", "REFUSED", "NOTIMP", "FORMERR", "TIMEOUT", "TC", "TC-NOTCP", "LAME"]
)


def test_the_topology_knows_the_same_libraries() -> None:
    assert {libc.value for libc in Libc} == set(LIBCS)


@pytest.mark.parametrize(
    ("text", "search", "ndots", "timeout", "attempts"),
    [
        ("search a b\ndomain c d\n", ("c", "d"), 1, 5, 2),
        ("search a\nsearch\n", (), 1, 5, 2),
        (f"search {'x' * 250}\n", (), 1, 5, 2),
        ("options ndots:3 ndots:7\n", (), 3, 5, 2),
        ("options ndots:3\noptions ndots:7 timeout:99 attempts:99\n", (), 7, 60, 10),
        ("options timeout:x attempts:\n", (), 1, 5, 2),
        (" options ndots:3\n", (), 1, 5, 2),
        ("optionsndots:3\n", (), 1, 5, 2),
    ],
)
def test_musl_reads_its_file(
    text: str, search: tuple[str, ...], ndots: int, timeout: int, attempts: int
) -> None:
    conf = musl.parse(text)
    assert (conf.search, conf.ndots, conf.timeout, conf.attempts) == (search, ndots, timeout, attempts)
    assert conf.nameservers == (ip_address("127.0.0.1"),)


@pytest.mark.parametrize(
    ("text", "search", "ndots", "timeout", "attempts"),
    [
        ("  search a. . b\n", ("a.", "b."), 1, 5, 2),
        ("search a\nsearch\n", ("example.",), 1, 5, 2),
        ("domain a b\n", ("a.",), 1, 5, 2),
        ("options ndots:99 timeout:0 attempts:0\n", ("example.",), 15, 1, 1),
        ("options ndots:-1 timeout:99\n", ("example.",), 0, 99, 2),
        ("#options ndots:3\n;search a\n", ("example.",), 1, 5, 2),
    ],
)
def test_go_reads_its_file(
    text: str, search: tuple[str, ...], ndots: int, timeout: int, attempts: int
) -> None:
    conf = golang.parse(text, hostname="web-0.example")
    assert (conf.search, conf.ndots, conf.timeout, conf.attempts) == (search, ndots, timeout, attempts)
    assert conf.nameservers == (ip_address("127.0.0.1"), ip_address("::1"))


def test_go_takes_no_address_that_only_inet_aton_understands() -> None:
    text = "nameserver 10.1\nnameserver 010.0.0.1\nnameserver 10.96.0.10 junk\n"
    assert golang.parse(text).nameservers == (ip_address("10.96.0.10"),)


def test_musl_divides_by_no_attempts() -> None:
    conf = musl.parse("nameserver 10.96.0.10\noptions attempts:0\n")
    setup = musl.Setup(conf, (), Client(), Rng(1))
    lookup = drive(musl.getaddrinfo("ent", setup, 0.0), Network({"zone": {}, "zone_default": "NXDOMAIN"}))
    assert (lookup.error, lookup.queries) == (GaiError.SIGFPE, ())


def test_addresses_of_two_families_are_sorted_and_ipv4_alone_are_not() -> None:
    client = Client(())
    v4 = (ip_address("10.1.0.9"), ip_address("10.244.1.7"))
    assert ordered_by_musl(v4, client) == ordered_by_go(v4, client) == v4
    mixed = (ip_address("fd00::1"), ip_address("127.0.0.1"))
    assert ordered_by_musl(mixed, client) == ordered_by_go(mixed, client) == mixed[::-1]


@given(
    name=NAMES,
    rcodes=st.lists(RCODES, min_size=1, max_size=4),
    servers=st.integers(1, 3),
    seed=st.integers(0, 9),
)
def test_a_lookup_ends_in_time_with_addresses_or_an_error(
    name: str, rcodes: list[str], servers: int, seed: int
) -> None:
    domains = ["a.example", "b.example", "example"]
    candidates = [f"{name}.{domain}.".lower() for domain in domains] + [f"{name}.".lower()]
    zone = {
        candidate: {"rcode": rcodes[place % len(rcodes)], "A": ["10.0.0.1"]}
        for place, candidate in enumerate(candidates)
    }
    lines = "".join(f"nameserver 10.96.0.1{n}\n" for n in range(servers))
    text = f"search {' '.join(domains)}\n{lines}options ndots:2 timeout:2 attempts:2\n"
    case = {"zone": zone, "zone_default": "NXDOMAIN"}
    client, rng = Client(), Rng(seed)
    go = golang.Setup(golang.parse(text), (), client, golang.Process(), rng)
    ares = cares.Setup(cares.parse(text), (), client, rng)
    for machine, bound in (
        (musl.getaddrinfo(name, musl.Setup(musl.parse(text), (), client, rng), 0.0), 4 * 2.5),
        (golang.lookup_ip(name, go, 0.0), 4 * 2 * 2 * servers * 2.5),
        (cares.getaddrinfo(name, ares, 0.0), servers * (2 + 4) + 2.5),
    ):
        network = Network(case)
        lookup = drive(machine, network)
        assert (lookup.error is None) == bool(lookup.addresses)
        assert len(lookup.queries) == len(network.sent)
        assert lookup.elapsed <= bound


CLIENT = Client((IPv4Interface("10.244.1.5/24"),), True)
HOSTS = "192.0.2.1 bare\n192.0.2.2 a.dotted\n::ffff:192.0.2.3 mapped\n192.0.2.4 rooted.\n"


@pytest.mark.parametrize(
    ("name", "family", "address", "error"),
    [
        ("bare", Family.UNSPEC, "192.0.2.1", None),
        ("bare.", Family.UNSPEC, None, "no such host"),
        ("rooted", Family.UNSPEC, None, "no such host"),
        ("a.dotted.", Family.UNSPEC, "192.0.2.2", None),
        ("mapped", Family.INET, "192.0.2.3", None),
        ("mapped", Family.INET6, None, "no suitable address found"),
        ("::ffff:192.0.2.3", Family.INET, "192.0.2.3", None),
        ("x.onion.", Family.UNSPEC, None, "no suitable address found"),
        ("x.onion", Family.UNSPEC, None, "no suitable address found"),
    ],
)
def test_go_without_an_answer_from_dns(
    name: str, family: Family, address: str | None, error: str | None
) -> None:
    """net/hosts.go absDomainName; net/ip.go To4; net/dnsclient_unix.go nameList."""
    conf = golang.parse("nameserver 10.96.0.10\n")
    setup = golang.Setup(conf, hosts.parse(HOSTS), CLIENT, golang.Process(), Rng(1))
    network = Network({"zone": {}, "zone_default": "NXDOMAIN"})
    lookup = drive(golang.lookup_ip(name, setup, 0.0, family=family), network)
    assert [str(found) for found in lookup.addresses] == ([] if address is None else [address])
    assert (None if lookup.error is None else lookup.error.name) == error


def test_a_search_domain_of_odd_letters_is_answered() -> None:
    conf = resolvconf.parse("search a.example ; b.example\nnameserver 10.96.0.10\noptions ndots:5\n")
    setup = glibc.Setup(conf, (), CLIENT, glibc_send.Process(), Rng(1))
    network = Network({"zone": {"app.b.example.": {"A": ["192.0.2.1"]}}, "zone_default": "NXDOMAIN"})
    lookup = drive(glibc.getaddrinfo("app", setup, 0.0, family=Family.INET), network)
    assert [sent.name for sent in network.sent] == ["app.a.example.", "app.\\;.", "app.b.example."]
    assert lookup.elapsed < 1


@pytest.mark.parametrize(
    ("search", "old", "sent", "error", "elapsed"),
    [
        (".", True, [], GaiError.EAI_AGAIN, 5),
        (".", False, ["app."], GaiError.EAI_NONAME, 0),
        ("a..test b.test", True, [], GaiError.EAI_NONAME, 0),
        ("a..test b.test", False, ["app.b.test.", "app."], GaiError.EAI_NONAME, 0),
        (f"{'x' * 64}.test b.test", True, [], GaiError.EAI_NONAME, 0),
    ],
)
def test_musl_before_1_2_4_ends_where_a_domain_makes_no_name(
    search: str, old: bool, sent: list[str], error: GaiError, elapsed: int
) -> None:
    """With the root as a domain its query is malformed, and no server answers it (res_mkquery.c)."""
    conf = musl.parse(f"search {search}\nnameserver 10.96.0.10\noptions ndots:5\n")
    network = Network({"zone": {}, "zone_default": "NXDOMAIN"})
    setup = musl.Setup(conf, (), CLIENT, Rng(1), old=old)
    lookup = drive(musl.getaddrinfo("app", setup, 0.0, family=Family.INET), network)
    assert ([query.name for query in network.sent], lookup.error) == (sent, error)
    assert round(lookup.elapsed) == elapsed

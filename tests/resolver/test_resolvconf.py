"""resolv.conf as glibc reads it."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.resolver.resolvconf import FLAGS, ResolvConf, parse, render

LOCALHOST = (IPv4Address("127.0.0.1"),)


def test_a_pods_file() -> None:
    assert parse("search a.example b.example\nnameserver 10.96.0.10\noptions ndots:5\n") == ResolvConf(
        nameservers=(IPv4Address("10.96.0.10"),), search=("a.example", "b.example"), ndots=5
    )


def test_an_empty_file_asks_the_local_host() -> None:
    assert parse("") == ResolvConf(LOCALHOST, (), 1, 5, 2, frozenset())


@pytest.mark.parametrize(
    ("text", "search"),
    [
        ("search a.example b.example\nsearch c.example\n", ("c.example",)),
        ("search a.example\nsearch\nsearch \n", ("a.example",)),
        ("search a.example\ndomain b.example c.example\n", ("b.example",)),
        ("domain b.example\nsearch a.example c.example\n", ("a.example", "c.example")),
        ("search\ta.example\t b.example \n", ("a.example", "b.example")),
        (" search a.example\n", ()),
        ("searching a.example\n", ()),
        ("# search a.example\n; search b.example\n", ()),
        ("search a.example # and more\n", ("a.example", "#", "and", "more")),
    ],
)
def test_the_last_search_or_domain_line_wins(text: str, search: tuple[str, ...]) -> None:
    assert parse(text).search == search


def test_without_a_search_line_the_hostnames_domain_is_searched() -> None:
    assert parse("", hostname="web-0.ent.dev.svc.cluster.local").search == ("ent.dev.svc.cluster.local",)
    assert parse("search a.example\n", hostname="web.v2.example").search == ("a.example",)
    assert parse("", hostname="web-0").search == ()


def test_the_first_three_valid_nameservers_are_used() -> None:
    lines = ["192.0.2.1 behind is ignored", "not-an-address", "fd00::53%eth0", "192.0.2.3", "192.0.2.4"]
    conf = parse("".join(f"nameserver {line}\n" for line in lines))
    assert conf.nameservers == tuple(map(ip_address, ("192.0.2.1", "fd00::53", "192.0.2.3")))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("ndots:99 timeout:99 attempts:99", (15, 30, 5)),
        ("ndots:0 timeout:0 attempts:0", (0, 0, 0)),
        ("ndots: 3 timeout:\t2 attempts: 1", (3, 2, 1)),
        ("ndots:1 ndots:5", (5, 5, 2)),
        ("ndots:x timeout:3s", (0, 3, 2)),
        ("ndots", (1, 5, 2)),
        ("ndots:-1 timeout:-1 attempts:-1", (15, 0, 0)),
    ],
)
def test_numbers_have_limits(options: str, expected: tuple[int, int, int]) -> None:
    conf = parse(f"options {options}\n")
    assert (conf.ndots, conf.timeout, conf.attempts) == expected


def test_options_lines_add_up() -> None:
    conf = parse("options ndots:5 rotate\noptions timeout:1\n")
    assert (conf.ndots, conf.timeout, conf.flags) == (5, 1, {"rotate"})


def test_flags_match_by_their_beginning_and_a_dash_takes_them_away() -> None:
    assert parse("options rotateX single-request-reopen no_tld_query unknown\n").flags == {
        "rotate",
        "single-request-reopen",
        "no-tld-query",
    }
    assert parse("options rotate edns0 -rotate\n").flags == {"edns0"}


def test_the_environment_adds_options_and_replaces_the_search_list() -> None:
    conf = parse("search a.example\noptions ndots:5\n", res_options="ndots:2 edns0", localdomain="b c")
    assert (conf.ndots, conf.flags, conf.search) == (2, {"edns0"}, ("b", "c"))


CONFS = st.builds(
    ResolvConf,
    nameservers=st.lists(st.ip_addresses(v=4), min_size=1, max_size=3).map(tuple),
    search=st.lists(st.sampled_from(["a.example", "svc.cluster.local", ".", "x_y."]), max_size=9).map(tuple),
    ndots=st.integers(0, 15),
    timeout=st.integers(0, 30),
    attempts=st.integers(0, 5),
    flags=st.frozensets(st.sampled_from([flag for flag in FLAGS if flag != "no_tld_query"])),
)


@given(CONFS)
def test_what_is_rendered_reads_the_same(conf: ResolvConf) -> None:
    assert parse(render(conf)) == conf


@given(st.text(alphabet="search nameroptidv:;#.\t\n0123456789-_%é"))
def test_any_text_is_read(text: str) -> None:
    conf = parse(text)
    assert 1 <= len(conf.nameservers) <= 3
    assert 0 <= conf.ndots <= 15

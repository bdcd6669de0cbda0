"""What glibc makes of answers: CNAMEs, families, buffers, numeric names, /etc/hosts, the order at the end."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from netsim.resolver.commands import Family, GaiError
from netsim.resolver.glibc import getaddrinfo, getent_hosts
from netsim.wire import dns
from netsim.wire.dns import Record
from tests.resolver.dialogue import Step, answer, asks, at, does, nxdomain, script, sees, setup

ALONE = "nameserver 10.96.0.10\n"


def a(name: str, address: str) -> Record:
    return Record(name, dns.A, dns.IN, 30, ip_address(address).packed)


def cname(name: str, target: str) -> Record:
    return Record(name, dns.CNAME, dns.IN, 30, target)


def asked(*records: Record, aaaa: tuple[Record, ...] = ()) -> list[Step]:
    """One lookup of ``ent.`` with these answers."""
    ask = does(asks("ent.", "A", "AAAA"))
    return [ask, sees(answer("A", answers=records)), sees(answer("AAAA", answers=aaaa))]


def test_a_cname_gives_the_canonical_name_and_an_alias() -> None:
    steps = asked(cname("ent.", "www.example.com."), a("www.example.com.", "203.0.113.80"))
    lookup = script(getaddrinfo("ent", setup(ALONE), 0.0), steps)
    assert lookup.canonical_name == "www.example.com"
    assert lookup.aliases == ("ent",)
    assert lookup.addresses == (ip_address("203.0.113.80"),)


def test_a_cname_that_leads_nowhere_ends_the_search() -> None:
    dangling = (cname("ent.corp.example.", "gone.example."),)
    ask = does(asks("ent.corp.example.", "A", "AAAA"))
    steps = [ask, sees(answer("A", answers=dangling)), sees(answer("AAAA", answers=dangling))]
    lookup = script(getaddrinfo("ent", setup(f"search corp.example\n{ALONE}"), 0.0), steps)
    assert lookup.error is GaiError.EAI_NONAME


def test_a_cname_that_leads_nowhere_is_no_data_for_one_family() -> None:
    steps = [does(asks("ent.", "A")), sees(answer("A", answers=(cname("ent.", "gone.example."),)))]
    lookup = script(getaddrinfo("ent", setup(ALONE), 0.0, family=Family.INET), steps)
    assert lookup.error is GaiError.EAI_NODATA


def test_addresses_of_another_name_are_passed_over() -> None:
    steps = asked(a("evil.example.", "192.0.2.66"), a("ENT.", "10.96.1.1"))
    assert script(getaddrinfo("ent", setup(ALONE), 0.0), steps).addresses == (ip_address("10.96.1.1"),)


def test_addresses_of_the_own_subnet_come_first_and_ipv6_without_a_route_last() -> None:
    aaaa = (Record("ent.", dns.AAAA, dns.IN, 30, ip_address("fd00::1").packed),)
    records = (a("ent.", "10.244.2.9"), a("ent.", "10.244.1.7"), a("ent.", "10.244.1.4"))
    lookup = script(getaddrinfo("ent", setup(ALONE), 0.0), asked(*records, aaaa=aaaa))
    # 10.244.1.4 has 31 bits in common with the client's 10.244.1.5, 10.244.1.7 has 30
    assert [str(address) for address in lookup.addresses] == [
        "10.244.1.4",
        "10.244.1.7",
        "10.244.2.9",
        "fd00::1",
    ]


def test_getent_hosts_keeps_the_servers_order() -> None:
    steps: list[Step] = [does(asks("ent.", "AAAA")), sees(answer("AAAA")), does(asks("ent.", "A"))]
    steps.append(sees(answer("A", "10.244.2.9", "10.244.1.7")))
    lookup = script(getent_hosts("ent", setup(ALONE), 0.0), steps)
    assert [str(address) for address in lookup.addresses] == ["10.244.2.9", "10.244.1.7"]


@pytest.mark.parametrize(("count", "times"), [(1, 1), (25, 1), (26, 2), (51, 2), (52, 3)])
def test_many_addresses_overflow_the_buffer_and_are_asked_for_again(count: int, times: int) -> None:
    records = [a("ent.", f"10.97.0.{last}") for last in range(count)]
    lookup = script(getaddrinfo("ent", setup(ALONE), 0.0), asked(*records) * times)
    assert len(lookup.addresses) == count
    assert len(lookup.queries) == 2 * times


def test_one_family_needs_less_room() -> None:
    for count, times in ((82, 1), (84, 2)):
        addresses = [f"10.97.0.{last}" for last in range(count)]
        steps = [does(asks("ent.", "A")), sees(answer("A", *addresses))] * times
        lookup = script(getaddrinfo("ent", setup(ALONE), 0.0, family=Family.INET), steps)
        assert len(lookup.addresses) == count


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("10.1", "10.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("010.0.0.1", "8.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("fd00::1", "fd00::1"),
    ],
)
def test_numeric_names_are_not_asked_for(name: str, address: str) -> None:
    assert script(getaddrinfo(name, setup(), 0.0), []).addresses == (ip_address(address),)


@pytest.mark.parametrize("name", ["256.0.0.1", "1.2.3.4.5", "08.0.0.1", "1.2.3.256"])
def test_numbers_that_are_no_address_are_names(name: str) -> None:
    steps = [does(asks(f"{name}.", "A", "AAAA")), sees(nxdomain("A")), sees(nxdomain("AAAA"))]
    script(getaddrinfo(name, setup(ALONE), 0.0), steps)


def test_a_numeric_name_of_the_other_family() -> None:
    for name, family in (("fd00::1", Family.INET), ("10.0.0.1", Family.INET6)):
        assert script(getaddrinfo(name, setup(), 0.0, family=family), []).error is GaiError.EAI_ADDRFAMILY
    mapped = script(getaddrinfo("::ffff:10.0.0.1", setup(), 0.0, family=Family.INET), [])
    assert mapped.addresses == (ip_address("10.0.0.1"),)


def test_the_hosts_file_comes_before_dns() -> None:
    lookup = script(getaddrinfo("web-0", setup(), 0.0), [])
    assert (lookup.addresses, lookup.queries) == ((ip_address("10.244.1.5"),), ())


def test_the_hosts_file_is_asked_in_any_case_and_for_all_lines() -> None:
    text = "10.0.0.2\tdb.example db # the old one\n10.0.0.3 DB\n"
    lookup = script(getaddrinfo("Db", setup(hosts_file=text), 0.0), [])
    assert [str(address) for address in lookup.addresses] == ["10.0.0.2", "10.0.0.3"]
    assert (lookup.canonical_name, lookup.aliases) == ("db.example", ("db", "DB"))


def test_lines_that_name_no_host_are_passed_over() -> None:
    text = "# 10.0.0.1 ent\n10.0.0.2\nnot-an-address ent\n\n10.0.0.4 ent # the one\n"
    lookup = script(getaddrinfo("ent", setup(hosts_file=text), 0.0), [])
    assert [str(address) for address in lookup.addresses] == ["10.0.0.4"]


def test_the_hosts_file_is_not_searched_and_knows_no_trailing_dot() -> None:
    text = "192.0.2.5\tent.corp.example\n192.0.2.6\tent2\n"
    steps = asked(a("ent.", "10.96.1.1"))
    script(getaddrinfo("ent", setup(ALONE, hosts_file=text), 0.0), steps)
    steps = [does(asks("ent2.", "A", "AAAA")), sees(nxdomain("A")), sees(nxdomain("AAAA"))]
    script(getaddrinfo("ent2.", setup(ALONE, hosts_file=text), 0.0), steps)


def test_an_address_of_the_other_family_in_the_hosts_file_still_leads_to_dns() -> None:
    steps = [does(asks("web-0.", "AAAA")), sees(nxdomain("AAAA"))]
    script(getaddrinfo("web-0", setup(ALONE), 0.0, family=Family.INET6), steps)


def test_localhost_prefers_ipv6_and_maps_it_for_ipv4() -> None:
    conf = setup(hosts_file="127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n")
    both = script(getaddrinfo("localhost", conf, 0.0), [])
    assert [str(address) for address in both.addresses] == ["::1", "127.0.0.1"]
    ipv4 = script(getaddrinfo("ip6-localhost", conf, 0.0, family=Family.INET), [])
    assert [str(address) for address in ipv4.addresses] == ["127.0.0.1"]


def test_addrconfig_leaves_out_families_that_the_client_does_not_have() -> None:
    steps = [does(asks("ent.", "A")), sees(answer("A", "10.96.1.1"))]
    script(getaddrinfo("ent", setup(ALONE, ipv6=False), 0.0, addrconfig=True), steps)
    inet6 = getaddrinfo("ent", setup(ALONE, ipv6=False), 0.0, addrconfig=True, family=Family.INET6)
    assert script(inet6, []).error is GaiError.EAI_NONAME
    script(getaddrinfo("ent", setup(ALONE), 0.0, addrconfig=True), asked(a("ent.", "10.96.1.1")))


def test_the_error_texts_are_glibcs() -> None:
    assert {error.name: error.value for error in GaiError if error.name.startswith("EAI_")} == {
        "EAI_NONAME": "Name or service not known",
        "EAI_AGAIN": "Temporary failure in name resolution",
        "EAI_FAIL": "Non-recoverable failure in name resolution",
        "EAI_NODATA": "No address associated with hostname",
        "EAI_ADDRFAMILY": "Address family for hostname not supported",
    }


def test_the_log_has_every_query_with_its_answer() -> None:
    steps = [does(asks("ent.", "A", "AAAA")), at(0.25), sees(answer("A", "10.96.1.1", "10.96.1.2"))]
    lookup = script(getaddrinfo("ent", setup(ALONE), 0.0), [*steps, sees(answer("AAAA"))])
    first, second = lookup.queries
    assert (first.name, first.qtype, str(first.server)) == ("ent.", dns.A, "10.96.0.10")
    assert first.answers == ("10.96.1.1", "10.96.1.2")
    assert (second.qtype, second.answers, second.outcome.value) == (dns.AAAA, (), "NODATA")
    assert lookup.elapsed == 0.25

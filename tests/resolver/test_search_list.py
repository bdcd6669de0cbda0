"""Which candidate names glibc asks for, in which order, and with which error it ends."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from netsim.resolver.commands import Family, GaiError
from netsim.resolver.glibc import getaddrinfo, getent_hosts
from netsim.resolver.glibc_send import Process
from netsim.wire.dns import Rcode
from tests.resolver.dialogue import (
    POD_RESOLV_CONF,
    PortUnreachable,
    Silence,
    Step,
    answer,
    asks,
    does,
    nxdomain,
    script,
    sees,
    setup,
)

CLUSTER = ("dev.svc.cluster.local", "svc.cluster.local", "cluster.local")


def missing(name: str) -> list[Step]:
    """A candidate that does not exist."""
    return [does(asks(name, "A", "AAAA")), sees(nxdomain("A")), sees(nxdomain("AAAA"))]


def no_data(name: str) -> list[Step]:
    return [does(asks(name, "A", "AAAA")), sees(answer("A")), sees(answer("AAAA"))]


def found(name: str, address: str = "10.96.12.34") -> list[Step]:
    return [does(asks(name, "A", "AAAA")), sees(answer("A", address)), sees(answer("AAAA"))]


def failing(name: str, rcode: Rcode) -> list[Step]:
    """Both answers are errors, in both attempts."""
    error = [sees(answer("A", rcode=rcode)), sees(answer("AAAA", rcode=rcode))]
    return [does(asks(name, "A", "AAAA")), *error] * 2


def test_a_name_of_the_own_namespace_is_the_first_candidate() -> None:
    lookup = script(getaddrinfo("ent", setup(), 0.0), found("ent.dev.svc.cluster.local."))
    assert lookup.addresses == (ip_address("10.96.12.34"),)
    assert lookup.canonical_name == "ent.dev.svc.cluster.local"
    assert lookup.error is None


def test_a_name_of_another_namespace_costs_one_more_candidate() -> None:
    steps = missing("ent.prod.dev.svc.cluster.local.") + found("ent.prod.svc.cluster.local.")
    assert script(getaddrinfo("ent.prod", setup(), 0.0), steps).error is None


def test_fewer_dots_than_ndots_come_last_as_they_are() -> None:
    steps = [step for domain in CLUSTER for step in missing(f"example.com.{domain}.")]
    script(getaddrinfo("example.com", setup(), 0.0), steps + found("example.com."))


def test_as_many_dots_as_ndots_come_first_as_they_are() -> None:
    script(getaddrinfo("a.b.c.d.example.com", setup(), 0.0), found("a.b.c.d.example.com."))


def test_the_search_list_still_follows_a_name_with_enough_dots() -> None:
    conf = POD_RESOLV_CONF.replace("ndots:5", "ndots:1")
    steps = [step for domain in CLUSTER for step in missing(f"example.com.{domain}.")]
    lookup = script(getaddrinfo("example.com", setup(conf), 0.0), missing("example.com.") + steps)
    assert lookup.error is GaiError.EAI_NONAME


def test_a_trailing_dot_means_that_name_only() -> None:
    lookup = script(getaddrinfo("missing.", setup(), 0.0), missing("missing."))
    assert lookup.error is GaiError.EAI_NONAME


def test_without_a_search_list_the_name_is_tried_once() -> None:
    script(getaddrinfo("ent", setup("nameserver 10.96.0.10\noptions ndots:5\n"), 0.0), missing("ent."))


def test_the_root_on_the_list_stands_for_the_name_as_it_is() -> None:
    conf = "search . corp.example\nnameserver 10.96.0.10\noptions ndots:5\n"
    steps = missing("ent.") + missing("ent.corp.example.")
    assert script(getaddrinfo("ent", setup(conf), 0.0), steps).error is GaiError.EAI_NONAME


def test_no_data_leads_on_and_is_remembered() -> None:
    steps = no_data("ent.dev.svc.cluster.local.")
    steps += missing("ent.svc.cluster.local.") + missing("ent.cluster.local.") + missing("ent.")
    assert script(getaddrinfo("ent", setup(), 0.0), steps).error is GaiError.EAI_NODATA


def test_the_error_of_a_name_tried_first_is_final() -> None:
    conf = "search corp.example\nnameserver 10.96.0.10\n"
    steps = missing("a.example.") + no_data("a.example.corp.example.")
    assert script(getaddrinfo("a.example", setup(conf), 0.0), steps).error is GaiError.EAI_NONAME


def test_servfail_leads_to_the_next_candidate() -> None:
    steps = failing("ent.dev.svc.cluster.local.", Rcode.SERVFAIL) + found("ent.svc.cluster.local.")
    assert script(getaddrinfo("ent", setup(), 0.0), steps).error is None


def test_servfail_on_the_way_makes_the_failure_temporary() -> None:
    steps = failing("ent.dev.svc.cluster.local.", Rcode.SERVFAIL)
    steps += missing("ent.svc.cluster.local.") + missing("ent.cluster.local.") + missing("ent.")
    assert script(getaddrinfo("ent", setup(), 0.0), steps).error is GaiError.EAI_AGAIN


@pytest.mark.parametrize("rcode", [Rcode.REFUSED, Rcode.NOTIMP])
def test_a_refusal_skips_the_rest_of_the_list(rcode: Rcode) -> None:
    steps = failing("ent.dev.svc.cluster.local.", rcode) + missing("ent.")
    assert script(getaddrinfo("ent", setup(), 0.0), steps).error is GaiError.EAI_NONAME


def test_formerr_is_final_for_its_candidate_and_skips_the_rest() -> None:
    formerr = [sees(answer("A", rcode=Rcode.FORMERR)), sees(answer("AAAA", rcode=Rcode.FORMERR))]
    steps = [does(asks("ent.dev.svc.cluster.local.", "A", "AAAA")), *formerr, *missing("ent.")]
    assert script(getaddrinfo("ent", setup(), 0.0), steps).error is GaiError.EAI_NONAME


def test_a_timeout_skips_the_rest_and_the_last_answer_counts() -> None:
    silent = [does(asks("ent.dev.svc.cluster.local.", "A", "AAAA")), sees(Silence())]
    lookup = script(getaddrinfo("ent", setup(), 0.0), silent + silent + missing("ent."))
    assert (lookup.error, lookup.elapsed) == (GaiError.EAI_NONAME, 10.0)


def test_when_nothing_listens_the_search_ends_at_once() -> None:
    refused = [does(asks("ent.dev.svc.cluster.local.", "A", "AAAA")), sees(PortUnreachable())]
    lookup = script(getaddrinfo("ent", setup(), 0.0), refused + refused)
    assert (lookup.error, lookup.elapsed) == (GaiError.EAI_AGAIN, 0.0)


def test_no_attempts_means_no_query() -> None:
    conf = POD_RESOLV_CONF.replace("ndots:5", "ndots:5 attempts:0")
    assert script(getaddrinfo("ent", setup(conf), 0.0), []).error is GaiError.EAI_AGAIN


def test_a_candidate_that_is_too_long_ends_the_list() -> None:
    conf = f"search {'a' * 60}.{'b' * 60}.{'c' * 60}.{'d' * 60} corp.example\nnameserver 10.96.0.10\n"
    steps = missing("a-rather-long-name.")
    assert script(getaddrinfo("a-rather-long-name", setup(conf), 0.0), steps).error is GaiError.EAI_NONAME


@pytest.mark.parametrize("name", ["a..b", "ent..", "", "-ent", "a b", "ent!", "ü", "a" * 64])
def test_what_cannot_be_a_host_name_is_not_asked_for(name: str) -> None:
    assert script(getaddrinfo(name, setup(), 0.0), []).error is GaiError.EAI_NONAME


def test_no_tld_query_keeps_dotless_names_from_the_root() -> None:
    conf = "search corp.example\nnameserver 10.96.0.10\noptions no-tld-query\n"
    assert script(getaddrinfo("ent", setup(conf), 0.0), missing("ent.corp.example.")).error


def test_one_family_is_asked_for_over_the_whole_list() -> None:
    steps = [does(asks("ent.dev.svc.cluster.local.", "AAAA")), sees(answer("AAAA"))]
    for name in ("ent.svc.cluster.local.", "ent.cluster.local.", "ent."):
        steps += [does(asks(name, "AAAA")), sees(nxdomain("AAAA"))]
    lookup = script(getaddrinfo("ent", setup(), 0.0, family=Family.INET6), steps)
    assert lookup.error is GaiError.EAI_NODATA


def test_af_inet_forgets_a_servfail_that_an_answer_followed() -> None:
    name = "ent.dev.svc.cluster.local."
    steps = [does(asks(name, "A")), sees(answer("A", rcode=Rcode.SERVFAIL))] * 2
    for name in ("ent.svc.cluster.local.", "ent.cluster.local.", "ent."):
        steps += [does(asks(name, "A")), sees(nxdomain("A"))]
    lookup = script(getaddrinfo("ent", setup(), 0.0, family=Family.INET), steps)
    assert lookup.error is GaiError.EAI_NONAME


def test_getent_hosts_asks_for_all_of_ipv6_before_ipv4() -> None:
    steps = [does(asks("ent.dev.svc.cluster.local.", "AAAA")), sees(answer("AAAA"))]
    for name in ("ent.svc.cluster.local.", "ent.cluster.local.", "ent."):
        steps += [does(asks(name, "AAAA")), sees(nxdomain("AAAA"))]
    steps += [does(asks("ent.dev.svc.cluster.local.", "A")), sees(answer("A", "10.96.12.34"))]
    lookup = script(getent_hosts("ent", setup(), 0.0), steps)
    assert lookup.addresses == (ip_address("10.96.12.34"),)


def test_rotate_begins_each_candidate_one_server_further() -> None:
    conf = (
        "search corp.example\nnameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\noptions rotate\n"
    )
    process = Process()
    process.rotation = 1
    steps: list[Step] = []
    for name, server in (("ent.corp.example.", "10.0.0.3"), ("ent.", "10.0.0.1")):
        steps += [does(asks(name, "A", "AAAA", to=server)), sees(nxdomain("A")), sees(nxdomain("AAAA"))]
    script(getaddrinfo("ent", setup(conf, process=process), 0.0), steps)


def test_the_root_itself_is_a_name() -> None:
    assert script(getaddrinfo(".", setup(), 0.0), no_data(".")).error is GaiError.EAI_NODATA


def test_each_candidate_says_why_it_is_asked_for() -> None:
    steps = [step for domain in CLUSTER for step in missing(f"ent.prod.{domain}.")]
    causes: list[str] = []
    script(getaddrinfo("ent.prod", setup(), 0.0), steps + missing("ent.prod."), causes)
    assert causes == [
        "search list 1 of 3: ent.prod + dev.svc.cluster.local (1 dot < ndots 5)",
        "search list 2 of 3: ent.prod + svc.cluster.local (1 dot < ndots 5)",
        "search list 3 of 3: ent.prod + cluster.local (1 dot < ndots 5)",
        "as-is, after the search list: ent.prod",
    ]


def test_a_name_tried_first_says_why() -> None:
    causes: list[str] = []
    script(getaddrinfo("a.b.c.d.e.f", setup(), 0.0), found("a.b.c.d.e.f."), causes)
    script(getaddrinfo("ent.", setup(), 0.0), found("ent."), causes)
    assert causes == [
        "as-is, before the search list: a.b.c.d.e.f (5 dots >= ndots 5)",
        "ent. ends in a dot: no search list",
    ]

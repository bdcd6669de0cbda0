"""How glibc asks its servers: sockets, timeouts, retries, failover, one query at a time, TCP."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from netsim.resolver.commands import Family, GaiError, Outcome, Transport
from netsim.resolver.glibc import getaddrinfo, getent_hosts, gethostbyaddr
from netsim.resolver.glibc_send import Process
from netsim.wire import dns
from netsim.wire.dns import Edns, Rcode
from tests.resolver.dialogue import (
    Asks,
    Hangup,
    Noise,
    NoRoute,
    PortUnreachable,
    Silence,
    Step,
    answer,
    answer_to,
    asks,
    at,
    bare,
    does,
    nxdomain,
    script,
    sees,
    setup,
)

ONE = "nameserver 10.0.0.1\n"
TWO = "nameserver 10.0.0.1\nnameserver 10.0.0.2\n"
THREE = f"{TWO}nameserver 10.0.0.3\n"
FOUND: list[Step] = [sees(answer("A", "10.96.1.1")), sees(answer("AAAA"))]


def both(server: str = "10.0.0.1", on: int | None = None) -> Asks:
    return asks("ent.", "A", "AAAA", to=server, on=on)


def only(qtype: str, server: str = "10.0.0.1", on: int | None = None) -> Asks:
    return asks("ent.", qtype, to=server, on=on)


def over_tcp(server: str = "10.0.0.1") -> Asks:
    return asks("ent.", "A", "AAAA", to=server, over=Transport.TCP)


def test_a_retry_after_silence_keeps_socket_and_ids() -> None:
    process = setup(ONE)
    steps = [does(both(on=0)), sees(Silence()), does(both(on=0)), *FOUND]
    lookup = script(getaddrinfo("ent", process, 0.0), steps)
    assert [query.outcome for query in lookup.queries] == [
        Outcome.TIMED_OUT,
        Outcome.TIMED_OUT,
        Outcome.ANSWERED,
        Outcome.NO_DATA,
    ]
    assert [query.sent_at for query in lookup.queries] == [0.0, 0.0, 5.0, 5.0]


def test_an_answer_to_the_first_try_counts_for_the_second() -> None:
    steps = [does(both()), sees(Silence()), does(both()), at(5.001), *FOUND]
    assert script(getaddrinfo("ent", setup(ONE), 0.0), steps).elapsed == pytest.approx(5.001)


def test_an_error_code_closes_the_socket_and_asks_the_next_server() -> None:
    servfail = [sees(answer("A", rcode=Rcode.SERVFAIL)), sees(answer("AAAA", rcode=Rcode.SERVFAIL))]
    steps = [does(both(on=0)), *servfail, does(both("10.0.0.2", on=1)), *FOUND]
    lookup = script(getaddrinfo("ent", setup(TWO), 0.0), steps)
    assert [str(query.server) for query in lookup.queries] == ["10.0.0.1"] * 2 + ["10.0.0.2"] * 2


def test_a_retry_says_what_went_wrong() -> None:
    causes: list[str] = []
    servfail = [sees(answer("A", rcode=Rcode.SERVFAIL)), sees(answer("AAAA", rcode=Rcode.SERVFAIL))]
    steps = [does(both()), *servfail, does(both("10.0.0.2")), sees(Silence()), does(both()), *FOUND]
    script(getaddrinfo("ent", setup(TWO), 0.0), steps, causes)
    assert causes == [
        "as-is, there is no search list: ent",
        "as-is, there is no search list: ent; again, because 10.0.0.1 answered SERVFAIL",
        "as-is, there is no search list: ent; again, because 10.0.0.2 was silent",
    ]


def test_the_timeouts_of_three_servers_are_glibcs() -> None:
    steps: list[Step] = []
    for server in ("10.0.0.1", "10.0.0.2", "10.0.0.3") * 2:
        steps += [does(both(server)), sees(Silence())]
    lookup = script(getaddrinfo("ent", setup(f"{THREE}options timeout:3\n"), 0.0), steps)
    assert [query.sent_at for query in lookup.queries][::2] == [0, 3, 5, 9, 12, 14]
    assert (lookup.error, lookup.elapsed) == (GaiError.EAI_AGAIN, 18)


def test_timeout_zero_is_one_second() -> None:
    steps = [does(both()), sees(Silence())]
    lookup = script(getaddrinfo("ent", setup(f"{ONE}options timeout:0 attempts:1\n"), 0.0), steps)
    assert lookup.elapsed == 1


def test_a_closed_port_is_passed_over_at_once() -> None:
    steps = [does(both()), sees(PortUnreachable()), does(both("10.0.0.2")), *FOUND]
    lookup = script(getaddrinfo("ent", setup(TWO), 0.0), steps)
    assert lookup.queries[0].outcome is Outcome.PORT_UNREACHABLE
    assert lookup.elapsed == 0


def test_a_server_without_a_route_is_never_asked() -> None:
    steps = [sees(NoRoute()), does(both("10.0.0.2")), *FOUND]
    assert len(script(getaddrinfo("ent", setup(TWO), 0.0), steps).queries) == 2


def test_a_silent_server_and_a_closed_port_are_a_timeout_together() -> None:
    conf = f"search corp.example\n{TWO}options attempts:1\n"
    steps: list[Step] = []
    for name in ("ent.corp.example.", "ent."):
        steps += [does(asks(name, "A", "AAAA", to="10.0.0.1")), sees(Silence())]
        steps += [does(asks(name, "A", "AAAA", to="10.0.0.2")), sees(PortUnreachable())]
    assert script(getaddrinfo("ent", setup(conf), 0.0), steps).error is GaiError.EAI_AGAIN


@pytest.mark.parametrize("rcode", [Rcode.SERVFAIL, Rcode.REFUSED, Rcode.NOTIMP])
@pytest.mark.parametrize("first", ["A", "AAAA"])
def test_one_error_beside_one_answer_costs_nothing(rcode: Rcode, first: str) -> None:
    other = "AAAA" if first == "A" else "A"
    address = "10.96.1.1" if other == "A" else "fd00::1"
    error_first = [sees(answer(first, rcode=rcode)), sees(answer(other, address))]
    for seen in (error_first, error_first[::-1]):
        lookup = script(getaddrinfo("ent", setup(ONE), 0.0), [does(both()), *seen])
        assert lookup.addresses == (ip_address(address),)


def test_strict_error_insists_on_both_answers() -> None:
    steps = [
        does(both()),
        sees(answer("A", "10.96.1.1")),
        sees(answer("AAAA", rcode=Rcode.SERVFAIL)),
        does(both()),
        *FOUND,
    ]
    script(getaddrinfo("ent", setup(f"{ONE}options strict-error\n"), 0.0), steps)


def test_an_error_code_may_come_without_the_question() -> None:
    steps = [does(both()), sees(bare("A", Rcode.REFUSED)), sees(bare("AAAA", Rcode.REFUSED))]
    lookup = script(getaddrinfo("ent", setup(f"{ONE}options attempts:1\n"), 0.0), steps)
    assert [query.outcome for query in lookup.queries] == [Outcome.REFUSED] * 2


def test_a_lame_answer_counts_as_none() -> None:
    lame = {"authoritative": False, "recursion_available": False}
    steps = [does(both()), sees(answer("A", **lame)), sees(answer("AAAA", **lame))]
    steps += [does(both("10.0.0.2")), *FOUND]
    lookup = script(getaddrinfo("ent", setup(TWO), 0.0), steps)
    assert lookup.queries[0].outcome is Outcome.LAME


def test_an_empty_answer_with_edns_is_not_lame() -> None:
    plain = {"authoritative": False, "recursion_available": False, "edns": Edns(1232)}
    steps = [does(both()), sees(answer("A", **plain)), sees(answer("AAAA", **plain))]
    assert script(getaddrinfo("ent", setup(TWO), 0.0), steps).error is GaiError.EAI_NODATA


def test_what_answers_nothing_is_waited_out() -> None:
    stranger = dns.parse(dns.query(4711, "ent.", dns.A))
    wrong_id = answer_to(stranger, answer("A", "192.0.2.66"))
    steps = [does(both()), at(1.0), sees(Noise(wrong_id)), sees(Noise(b"garbage behind ids")), *FOUND]
    lookup = script(getaddrinfo("ent", setup(ONE), 0.0), steps)
    assert lookup.addresses == (ip_address("10.96.1.1"),)


def test_noise_does_not_extend_the_timeout() -> None:
    stranger = answer_to(dns.parse(dns.query(4711, "ent.", dns.A)), answer("A"))
    steps = [does(both()), at(4.0), sees(Noise(stranger)), sees(Silence())]
    lookup = script(getaddrinfo("ent", setup(f"{ONE}options attempts:1\n"), 0.0), steps)
    assert lookup.elapsed == 5.0


def test_a_runt_datagram_is_a_broken_server() -> None:
    steps = [does(both()), sees(Noise(b"short")), does(both("10.0.0.2")), *FOUND]
    script(getaddrinfo("ent", setup(TWO), 0.0), steps)


def test_one_missing_answer_makes_glibc_ask_one_by_one_then_on_two_sockets() -> None:
    half = [sees(answer("A", "10.96.1.1")), sees(Silence())]
    one_by_one = [does(only("A", on=0)), sees(answer("A", "10.96.1.1")), does(only("AAAA", on=0))]
    two_sockets = [does(only("A", on=1)), sees(answer("A", "10.96.1.1")), does(only("AAAA", on=2))]
    steps = [does(both(on=0)), *half, *one_by_one, sees(Silence()), *two_sockets, sees(Silence())]
    lookup = script(getaddrinfo("ent", setup(ONE), 0.0), steps)
    assert lookup.addresses == (ip_address("10.96.1.1"),)
    assert lookup.elapsed == 15


def test_having_had_to_ask_one_by_one_is_remembered() -> None:
    process = Process()
    process.single_request = True
    steps = [does(only("A", on=0)), sees(answer("A", "10.96.1.1")), does(only("AAAA", on=0)), FOUND[1]]
    script(getaddrinfo("ent", setup(ONE, process=process), 0.0), steps)


@pytest.mark.parametrize(("option", "second"), [("single-request", 0), ("single-request-reopen", 1)])
def test_single_request_waits_for_a_before_aaaa(option: str, second: int) -> None:
    steps = [does(only("A", on=0)), FOUND[0], does(only("AAAA", on=second)), FOUND[1]]
    script(getaddrinfo("ent", setup(f"{ONE}options {option}\n"), 0.0), steps)


def test_a_truncated_answer_sends_both_queries_over_tcp() -> None:
    steps = [does(both()), sees(answer("A", truncated=True)), does(over_tcp()), *FOUND]
    causes: list[str] = []
    lookup = script(getaddrinfo("ent", setup(ONE), 0.0), steps, causes)
    assert [query.outcome for query in lookup.queries] == [
        Outcome.TRUNCATED,
        Outcome.NOT_AWAITED,
        Outcome.ANSWERED,
        Outcome.NO_DATA,
    ]
    assert causes[1].endswith("; over TCP; again, because the answer was truncated")


def test_when_tcp_is_refused_the_next_server_is_asked_over_tcp() -> None:
    steps = [does(both()), sees(answer("A", truncated=True)), sees(PortUnreachable())]
    script(getaddrinfo("ent", setup(TWO), 0.0), [*steps, does(over_tcp("10.0.0.2")), *FOUND])


def test_over_tcp_any_error_code_is_final() -> None:
    refusal = [sees(answer("A", rcode=Rcode.REFUSED)), sees(answer("AAAA", rcode=Rcode.REFUSED))]
    lookup = script(getaddrinfo("ent", setup(f"{TWO}options use-vc\n"), 0.0), [does(over_tcp()), *refusal])
    assert lookup.error is GaiError.EAI_NONAME


def test_a_reset_connection_is_tried_once_more() -> None:
    steps = [does(over_tcp()), sees(Hangup(reset=True)), does(over_tcp()), sees(Hangup(reset=True))]
    steps += [does(over_tcp("10.0.0.2")), *FOUND]
    script(getaddrinfo("ent", setup(f"{TWO}options use-vc\n"), 0.0), steps)


def test_a_closed_connection_is_not() -> None:
    steps = [does(over_tcp()), sees(Hangup(reset=False)), does(over_tcp("10.0.0.2")), *FOUND]
    script(getaddrinfo("ent", setup(f"{TWO}options use-vc\n"), 0.0), steps)


def test_a_silent_tcp_server_holds_the_caller_for_ever() -> None:
    steps = [does(both()), sees(answer("A", truncated=True)), does(over_tcp()), sees(Silence())]
    lookup = script(getaddrinfo("ent", setup(ONE), 0.0), steps)
    assert (lookup.error, lookup.elapsed) == (GaiError.HANG, 25.0)


def test_every_kind_of_lookup_can_be_held_for_ever() -> None:
    conf = f"{ONE}options use-vc\n"
    name = asks("ent.", "AAAA", to="10.0.0.1", over=Transport.TCP)
    assert script(getent_hosts("ent", setup(conf), 0.0), [does(name), sees(Silence())]).error is GaiError.HANG
    pointer = asks("7.1.244.10.in-addr.arpa.", "PTR", to="10.0.0.1", over=Transport.TCP)
    machine = gethostbyaddr(ip_address("10.244.1.7"), setup(conf), 0.0)
    assert script(machine, [does(pointer), sees(Silence())]).error is GaiError.HANG


def test_queries_are_plain_unless_options_say_otherwise() -> None:
    assert _first_query("").edns is None
    assert not _first_query("").authentic
    assert _first_query("").recursion_desired
    assert _first_query("options edns0 trust-ad\n").edns == Edns(1200)
    assert _first_query("options edns0 trust-ad\n").authentic


def _first_query(options: str) -> dns.Message:
    from netsim.resolver.commands import Done, Send

    machine = getaddrinfo("ent", setup(ONE + options), 0.0)
    next(machine)
    command = machine.send(Done(0.0))
    assert isinstance(command, Send)
    return dns.parse(command.messages[0])


def test_no_aaaa_asks_for_a_alone() -> None:
    steps = [does(only("A")), FOUND[0]]
    assert script(getaddrinfo("ent", setup(f"{ONE}options no-aaaa\n"), 0.0), steps).error is None


def test_no_aaaa_asks_for_a_even_where_ipv6_is_wanted_and_uses_only_that_the_name_exists() -> None:
    conf = setup(f"{ONE}options no-aaaa\n")
    for seen, error in ((FOUND[0], GaiError.EAI_NODATA), (sees(nxdomain("A")), GaiError.EAI_NONAME)):
        lookup = script(getaddrinfo("ent", conf, 0.0, family=Family.INET6), [does(only("A")), seen])
        assert lookup.error is error


def test_a_reverse_lookup_is_one_ptr_query_without_search_list() -> None:
    name = "7.1.244.10.in-addr.arpa."
    record = dns.Record(name, dns.PTR, dns.IN, 30, "web-0.ent.dev.svc.cluster.local.")
    steps = [does(asks(name, "PTR")), sees(answer("PTR", answers=(record,)))]
    lookup = script(gethostbyaddr(ip_address("10.244.1.7"), setup(), 0.0), steps)
    assert lookup.canonical_name == "web-0.ent.dev.svc.cluster.local"


def test_a_reverse_lookup_follows_a_delegating_cname() -> None:
    name, delegated = "7.1.244.10.in-addr.arpa.", "7.0-24.1.244.10.in-addr.arpa."
    cname = dns.Record(name, dns.CNAME, dns.IN, 30, delegated)
    pointer = dns.Record(delegated, dns.PTR, dns.IN, 30, "ent.example.")
    steps = [does(asks(name, "PTR")), sees(answer("PTR", answers=(cname, pointer)))]
    lookup = script(gethostbyaddr(ip_address("10.244.1.7"), setup(), 0.0), steps)
    assert lookup.canonical_name == "ent.example"
    steps = [does(asks(name, "PTR")), sees(answer("PTR", answers=(cname,)))]
    assert script(gethostbyaddr(ip_address("10.244.1.7"), setup(), 0.0), steps).error is GaiError.EAI_NONAME


def test_a_reverse_lookup_in_vain() -> None:
    steps = [does(asks("7.1.244.10.in-addr.arpa.", "PTR")), sees(nxdomain("PTR"))]
    lookup = script(gethostbyaddr(ip_address("10.244.1.7"), setup(), 0.0), steps)
    assert lookup.error is GaiError.EAI_NONAME


def test_a_reverse_lookup_finds_the_hosts_file_first() -> None:
    lookup = script(gethostbyaddr(ip_address("10.244.1.5"), setup(), 0.0), [])
    assert lookup.canonical_name == "web-0"

"""Connection tracking by itself: states and timeouts, free tuples, insert races, the text of conntrack -L."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.base.rng import Rng
from netsim.net import conntrack
from netsim.net.conntrack import (
    NAT_PORTS,
    NEXT,
    TCP_TIMEOUTS,
    Conntrack,
    Flow,
    TcpState,
    render_conntrack,
    render_statistics,
)
from netsim.net.conntrack_tuple import Tuple, tuple_from_packet
from netsim.wire import icmp, ipv4, sctp, udp
from netsim.wire.tcp import ACK, FIN, PSH, RST, SYN

A, B = b"\x0a\x00\x00\x01", b"\x0a\x00\x00\x02"
ASKS = Tuple(ipv4.TCP, A, 40000, B, 80)
ANSWERS = ASKS.inverse()
QUERY = Tuple(ipv4.UDP, A, 5353, B, 53)


def table() -> Conntrack:
    return Conntrack(Rng(1))


def pass_by(tracked: Conntrack, key: Tuple, flags: int = 0, now: float = 0.0) -> Flow | None:
    """A packet is tracked, and confirmed where it is a flow's first."""
    found = tracked.track(key, flags, now)
    if found is None:
        return None
    flow, reply = found
    if not flow.confirmed and not reply:
        assert tracked.confirm(flow, now)
    return flow


# A life of a connection: (who, flags, state afterwards).
FULL_LIFE = [
    (ASKS, SYN, TcpState.SYN_SENT),
    (ANSWERS, SYN | ACK, TcpState.SYN_RECV),
    (ASKS, ACK, TcpState.ESTABLISHED),
    (ASKS, ACK | PSH, TcpState.ESTABLISHED),
    (ANSWERS, ACK, TcpState.ESTABLISHED),
    (ASKS, FIN | ACK, TcpState.FIN_WAIT),
    (ANSWERS, ACK, TcpState.CLOSE_WAIT),
    (ANSWERS, FIN | ACK, TcpState.LAST_ACK),
    (ASKS, ACK, TcpState.TIME_WAIT),
    (ANSWERS, FIN | ACK, TcpState.TIME_WAIT),
]


def test_a_connection_goes_through_the_states_that_conntrack_prints() -> None:
    tracked = table()
    for number, (key, flags, state) in enumerate(FULL_LIFE):
        flow = pass_by(tracked, key, flags, float(number))
        assert flow is not None and flow.tcp_state is state
        assert flow.expires == number + TCP_TIMEOUTS[state]
    assert len(list(tracked)) == 1


@pytest.mark.parametrize("length", range(2, len(FULL_LIFE) + 1))
def test_a_reset_closes_a_flow_in_any_state(length: int) -> None:
    tracked = table()
    for key, flags, _ in FULL_LIFE[:length]:
        pass_by(tracked, key, flags)
    flow = pass_by(tracked, ANSWERS, RST, 5.0)
    assert flow is not None and flow.tcp_state is TcpState.CLOSE and flow.expires == 15.0


@pytest.mark.parametrize("who", [ASKS, ANSWERS])
def test_a_connection_that_is_refused_leaves_nothing_behind(who: Tuple) -> None:
    tracked = table()
    flow = pass_by(tracked, ASKS, SYN)
    assert pass_by(tracked, who, RST | ACK) is flow and list(tracked) == []


def test_a_syn_that_is_sent_again_does_not_make_the_attempt_live_longer() -> None:
    tracked = table()
    pass_by(tracked, ASKS, SYN)
    flow = pass_by(tracked, ASKS, SYN, 7.0)
    assert flow is not None and flow.expires == TCP_TIMEOUTS[TcpState.SYN_SENT]


def test_every_transition_of_the_table_is_taken() -> None:
    lives: list[list[tuple[Tuple, int]]] = [
        [(key, flags) for key, flags, _ in FULL_LIFE],
        [(ASKS, SYN), (ANSWERS, SYN | ACK), (ASKS, FIN | ACK)],
        [(ASKS, SYN), (ANSWERS, SYN | ACK), (ANSWERS, FIN | ACK)],
    ]
    open_ = [(ASKS, SYN), (ANSWERS, SYN | ACK), (ASKS, ACK)]
    for first in (ASKS, ANSWERS):
        for second in (ASKS, ANSWERS):
            lives.append([*open_, (first, FIN | ACK), (second, FIN | ACK)])
            for third in (ASKS, ANSWERS):
                finish = [(first, FIN | ACK), (second, ACK), (third, FIN | ACK)]
                lives += [[*open_, *finish, (last, ACK)] for last in (ASKS, ANSWERS)]
    taken = set()
    for life in lives:
        tracked, before = table(), None
        for key, flags in life:
            flow = pass_by(tracked, key, flags)
            assert flow is not None
            if before is not None and flow.tcp_state is not before:
                kind = flags & (SYN | ACK) if flags & SYN else flags & FIN or flags & ACK
                taken.add((before, kind, key is ANSWERS))
                assert NEXT[before, kind, key is ANSWERS] is flow.tcp_state
            before = flow.tcp_state
    assert taken == set(NEXT)


@pytest.mark.parametrize("flags", [SYN | ACK, RST, RST | ACK, FIN | ACK, FIN, 0, PSH])
def test_what_cannot_begin_a_connection_is_invalid(flags: int) -> None:
    assert pass_by(table(), ASKS, flags) is None


def test_an_ack_picks_up_a_connection_that_began_before() -> None:
    """With five minutes until it is answered, and not assured before it goes on after that."""
    tracked = table()
    seen = []
    for number, who in enumerate((ASKS, ANSWERS, ASKS)):
        flow = pass_by(tracked, who, ACK | PSH, float(number))
        assert flow is not None and flow.tcp_state is TcpState.ESTABLISHED
        seen.append((flow.expires - number, flow.assured))
    assert seen == [(300.0, False), (300.0, False), (TCP_TIMEOUTS[TcpState.ESTABLISHED], True)]


def test_an_echo_reply_begins_nothing() -> None:
    asks = Tuple(ipv4.ICMP, A, 77, B, 0)
    assert pass_by(table(), asks.inverse()) is None
    assert pass_by(table(), asks) is not None


@pytest.mark.parametrize("over", [9, 10])
def test_a_syn_over_a_closed_connection_begins_a_new_flow(over: int) -> None:
    tracked = table()
    for key, flags, _ in FULL_LIFE[:over]:
        pass_by(tracked, key, flags)
    old = pass_by(tracked, ANSWERS, RST)
    new = pass_by(tracked, ASKS, SYN, 1.0)
    assert new is not None and new is not old and list(tracked) == [new]


def test_a_repeated_syn_stays_in_its_flow() -> None:
    tracked = table()
    assert pass_by(tracked, ASKS, SYN) is pass_by(tracked, ASKS, SYN, 1.0)
    pass_by(tracked, ANSWERS, SYN | ACK)
    flow = pass_by(tracked, ASKS, SYN, 2.0)
    assert flow is not None and flow.tcp_state is TcpState.SYN_RECV


def test_a_udp_flow_lives_thirty_seconds_and_a_stream_two_minutes() -> None:
    """nf_conntrack_proto_udp.c: a stream is what still talks, both ways, two seconds after it began."""
    tracked = table()
    flow = pass_by(tracked, QUERY, now=0.0)
    assert flow is not None and flow.expires == 30.0
    pass_by(tracked, QUERY.inverse(), now=0.5)
    assert flow.expires == 30.5 and not flow.assured
    pass_by(tracked, QUERY, now=2.5)
    assert flow.expires == 122.5 and flow.assured


def test_one_late_answer_is_no_stream() -> None:
    tracked = table()
    pass_by(tracked, QUERY)
    flow = pass_by(tracked, QUERY.inverse(), now=3.0)
    assert flow is not None and flow.expires == 33.0 and not flow.assured


@pytest.mark.parametrize(("protocol", "seconds"), [(ipv4.ICMP, 30.0), (132, 600.0)])
def test_other_protocols_have_their_timeouts(protocol: int, seconds: float) -> None:
    flow = pass_by(table(), Tuple(protocol, A, 1, B, 0))
    assert flow is not None and flow.expires == seconds


def test_a_flow_is_forgotten_when_its_time_is_over() -> None:
    tracked = table()
    pass_by(tracked, QUERY)
    assert tracked.find(QUERY, 29.9) is not None
    assert tracked.find(QUERY.inverse(), 30.0) is None
    assert list(tracked) == []


def test_flows_that_nobody_asks_for_are_swept_away() -> None:
    tracked = table()
    pass_by(tracked, QUERY)
    pass_by(tracked, QUERY._replace(source_port=1), now=61.0)
    assert [flow.original.source_port for flow in tracked] == [1]


def number_of(flow: Flow) -> int:
    return flow.original.source_port


def fill(tracked: Conntrack, protocol: int = ipv4.UDP, *, answered: bool) -> None:
    """Flows from ports 1, 2, 3, to the limit; those of TCP that are answered are assured."""
    for port in range(1, tracked.limit + 1):
        key = Tuple(protocol, A, port, B, 80)
        pass_by(tracked, key, SYN)
        if answered:
            pass_by(tracked, key.inverse(), SYN | ACK)
            pass_by(tracked, key, ACK)


def test_a_full_table_gives_up_the_oldest_flow_that_is_not_assured() -> None:
    tracked = table()
    tracked.limit = 3
    fill(tracked, answered=False)
    assert len(tracked) == 3 and tracked.has_room(1.0)
    assert [number_of(flow) for flow in tracked] == [2, 3]
    assert (tracked.statistics.early_drop, tracked.statistics.drop) == (1, 0)


def test_a_full_table_of_connections_in_use_takes_no_more() -> None:
    tracked = table()
    tracked.limit = 3
    fill(tracked, ipv4.TCP, answered=True)
    assert not tracked.has_room(1.0) and len(tracked) == 3
    assert (tracked.statistics.early_drop, tracked.statistics.drop) == (0, 1)


def test_the_collector_takes_connections_that_are_closing_from_a_full_table() -> None:
    tracked = table()
    tracked.limit = 3
    fill(tracked, ipv4.TCP, answered=True)
    pass_by(tracked, Tuple(ipv4.TCP, A, 2, B, 80), FIN | ACK, 1.0)
    assert not tracked.has_room(1.0) and not tracked.has_room(60.9)
    assert tracked.has_room(61.0) and [number_of(flow) for flow in tracked] == [1, 3]


def test_what_has_expired_takes_no_room() -> None:
    tracked = table()
    tracked.limit = 3
    fill(tracked, ipv4.TCP, answered=False)
    assert tracked.has_room(121.0) and len(tracked) == 0 and tracked.statistics.early_drop == 0


@given(
    packets=st.lists(
        st.tuples(
            st.sampled_from([ipv4.TCP, ipv4.UDP]),
            st.integers(1, 6),
            st.booleans(),
            st.sampled_from([SYN, SYN | ACK, ACK, FIN | ACK, RST]),
            st.sampled_from([0.0, 1.0, 40.0, 200.0]),
        ),
        max_size=60,
    ),
    limit=st.integers(1, 5),
)
def test_a_table_never_outgrows_its_limit_and_knows_each_flow_by_both_its_tuples(
    packets: list[tuple[int, int, bool, int, float]], limit: int
) -> None:
    tracked = table()
    tracked.limit = limit
    now = 0.0
    for protocol, port, is_reply, flags, later in packets:
        now += later
        key = Tuple(protocol, A, port, B, 80)
        found = tracked.track(key.inverse() if is_reply else key, flags, now)
        if found is not None and not found[0].confirmed and tracked.has_room(now):
            assert tracked.confirm(found[0], now)
        flows = list(tracked)
        assert len(flows) == len(tracked) <= limit
        for flow in flows:
            if flow.expires > now:
                assert tracked.find(flow.original, now) == (flow, False)
                assert tracked.find(flow.reply, now) == (flow, True)


def test_who_forgets_a_flow_twice_spares_the_next_one_of_its_tuple() -> None:
    tracked = table()
    old = pass_by(tracked, QUERY)
    assert old is not None
    tracked.forget(old)
    new = pass_by(tracked, QUERY)
    tracked.forget(old)
    assert list(tracked) == [new] and len(tracked) == 1


def test_of_two_first_packets_of_one_tuple_the_second_is_not_entered() -> None:
    """The insert race: both were new when they came in; Linux drops the one that is late."""
    tracked = table()
    first, second = tracked.track(QUERY, 0, 0.0), tracked.track(QUERY, 0, 0.0)
    assert first is not None and second is not None
    assert tracked.confirm(first[0], 0.0) and not tracked.confirm(second[0], 0.0)
    assert (tracked.statistics.insert_failed, tracked.statistics.drop) == (1, 1)


def test_a_reply_tuple_that_is_taken_is_not_entered() -> None:
    tracked = table()
    pass_by(tracked, QUERY)
    other = Flow(QUERY._replace(destination_port=54), 0.0)
    other.reply = QUERY.inverse()
    other.expires = 1.0
    assert not tracked.confirm(other, 0.0)


def test_a_free_tuple_keeps_its_port_and_a_taken_one_gets_another() -> None:
    tracked = table()
    assert tracked.free_source(QUERY.inverse(), 0.0, fully_random=False) == QUERY.inverse()
    pass_by(tracked, QUERY)
    other = tracked.free_source(QUERY.inverse(), 0.0, fully_random=False)
    assert other != QUERY.inverse() and NAT_PORTS[0] <= other.destination_port <= NAT_PORTS[1]
    assert other._replace(destination_port=5353) == QUERY.inverse()


def test_fully_random_never_begins_with_the_port_that_is_there() -> None:
    tracked = table()
    ports = {tracked.free_source(QUERY.inverse(), 0.0, fully_random=True).destination_port for _ in range(50)}
    assert len(ports) == 50 and 5353 not in ports


def test_when_no_port_is_free_the_tuple_stays_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conntrack, "NAT_PORTS", (2000, 2001))
    tracked = table()
    for port in (2000, 2001, 5353):
        pass_by(tracked, QUERY._replace(source_port=port))
    assert tracked.free_source(QUERY.inverse(), 0.0, fully_random=False) == QUERY.inverse()


def test_the_tuple_of_a_packet_is_read_from_its_headers() -> None:
    def of(protocol: int, payload: bytes) -> Tuple | None:
        return tuple_from_packet(ipv4.build(A, B, protocol, payload))

    assert of(ipv4.UDP, udp.build(A, B, 5353, 53, b"")) == QUERY
    assert of(ipv4.ICMP, icmp.build_echo(icmp.ECHO_REQUEST, 7, 1, b"")) == Tuple(ipv4.ICMP, A, 7, B, 0)
    assert of(ipv4.ICMP, icmp.build_echo(icmp.ECHO_REPLY, 7, 1, b"")) == Tuple(ipv4.ICMP, A, 0, B, 7)
    assert of(ipv4.ICMP, icmp.build_error(3, 1, ipv4.build(A, B, 17, b""))) is None
    assert of(47, bytes(12)) == Tuple(47, A, 0, B, 0)
    assert of(sctp.SCTP, sctp.build(5000, 80, 1, b"")) == Tuple(sctp.SCTP, A, 5000, B, 80)
    assert of(ipv4.UDP, b"\x00\x01") is None


def test_the_text_is_that_of_conntrack() -> None:
    tracked = table()
    for key, flags, _ in FULL_LIFE[:3]:
        pass_by(tracked, key, flags)
    pass_by(tracked, QUERY)
    pass_by(tracked, Tuple(ipv4.ICMP, A, 9, B, 0))
    pass_by(tracked, Tuple(58, bytes(15) + b"\x01", 9, bytes(15) + b"\x02", 0))
    pass_by(tracked, Tuple(47, A, 0, B, 0))
    pass_by(tracked, Tuple(sctp.SCTP, A, 5000, B, 80))
    nated = Flow(Tuple(ipv4.UDP, A, 6000, b"\x0a\x60\x00\x0a", 53), 0.0)
    nated.reply = Tuple(ipv4.UDP, B, 53, A, 6000)
    nated.expires = 20.0
    tracked.confirm(nated, 0.0)
    assert render_conntrack(iter(tracked), 10.0) == (
        "tcp      6 86390 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=40000 dport=80 "
        "src=10.0.0.2 dst=10.0.0.1 sport=80 dport=40000 [ASSURED] mark=0 use=1\n"
        "udp      17 20 src=10.0.0.1 dst=10.0.0.2 sport=5353 dport=53 [UNREPLIED] "
        "src=10.0.0.2 dst=10.0.0.1 sport=53 dport=5353 mark=0 use=1\n"
        "icmp     1 20 src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=9 [UNREPLIED] "
        "src=10.0.0.2 dst=10.0.0.1 type=0 code=0 id=9 mark=0 use=1\n"
        "icmpv6   58 20 src=::1 dst=::2 type=128 code=0 id=9 [UNREPLIED] "
        "src=::2 dst=::1 type=129 code=0 id=9 mark=0 use=1\n"
        "unknown  47 590 src=10.0.0.1 dst=10.0.0.2 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 mark=0 use=1\n"
        "sctp     132 590 src=10.0.0.1 dst=10.0.0.2 sport=5000 dport=80 [UNREPLIED] "
        "src=10.0.0.2 dst=10.0.0.1 sport=80 dport=5000 mark=0 use=1\n"
        "udp      17 10 src=10.0.0.1 dst=10.96.0.10 sport=6000 dport=53 [UNREPLIED] "
        "src=10.0.0.2 dst=10.0.0.1 sport=53 dport=6000 mark=0 use=1\n"
    )
    assert render_conntrack(iter(tracked), 1e6) == ""


def test_the_counters_are_those_of_conntrack() -> None:
    tracked = table()
    tracked.limit = 1
    pass_by(tracked, ASKS, RST)
    fill(tracked, ipv4.TCP, answered=True)
    assert not tracked.has_room(0.0)
    assert render_statistics(tracked.statistics) == (
        "cpu=0   \tfound=0 invalid=1 insert=0 insert_failed=0 drop=1 early_drop=0 error=0 "
        "search_restart=0 clash_resolve=0 chaintoolong=0 \n"
    )

"""A BGP session from both ways into it to every way out of it (RFC 4271 section 8)."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.base.rng import Rng
from netsim.net.bgp.events import (
    BytesArrived,
    Connection,
    ConnectionOpened,
    Originated,
    PeerAdded,
    PeerRemoved,
    Stopped,
)
from netsim.net.bgp.settings import PeerSettings, Timers
from netsim.net.bgp.states import NEXT, State, Step
from netsim.wire import bgp
from tests.net.bgp_dialogue import PROMPT, THEM, US, Dialogue, announce
from tests.wire.bgp_damaged import CASES

SLOW = Timers(hold_time=90, connect_delay=2.0, connect_retry=5.0, error_wait=5.0, longest_error_wait=30.0)


# --- beginning ---------------------------------------------------------------------------------------


def test_it_connects_says_open_confirms_with_keepalive_and_is_established() -> None:
    talk = Dialogue()
    assert talk.starts() == ["dial"]
    assert talk.state is State.CONNECT
    assert talk.connects() == ["OPEN"]
    assert talk.state is State.OPEN_SENT
    assert talk.says(talk.open()) == ["KEEPALIVE"]
    assert talk.state is State.OPEN_CONFIRM
    assert talk.says(bgp.Keepalive()) == []
    assert talk.state is State.ESTABLISHED
    assert talk.heard[0] == bgp.standard_open(64512, 90, US.packed)


def test_it_waits_before_the_first_attempt_and_between_attempts() -> None:
    talk = Dialogue(timers=SLOW)
    assert talk.starts() == []
    assert talk.state is State.ACTIVE
    assert talk.waits(3.0) == ["2 dial"]
    assert talk.refuses() == []
    assert (talk.state, talk.problem) == (State.ACTIVE, "Socket: Connection refused")
    assert talk.waits(9.0) == ["8 dial"]


def test_an_attempt_that_comes_to_nothing_is_given_up_for_the_next() -> None:
    talk = Dialogue()
    talk.starts()
    first = talk.dialled
    assert talk.waits(10.0) == ["5 close", "5 dial", "10 close", "10 dial"]
    assert talk.dialled != first and first is not None
    assert talk.feed(ConnectionOpened(first, US)) == ["close"]  # too late


def test_chance_shortens_timers_by_up_to_a_quarter() -> None:
    first = []
    for seed in range(40):
        talk = Dialogue(timers=SLOW, rng=Rng(seed))
        talk.starts()
        first.append(talk.speaker.deadline() or 0.0)
    assert 1.5 <= min(first) < 1.6 and 1.9 < max(first) <= 2.0


def test_a_passive_peer_is_never_called() -> None:
    talk = Dialogue(passive=True)
    assert talk.starts() == [] and talk.speaker.deadline() is None
    assert talk.comes() == ["<OPEN"]
    assert talk.says(talk.open(), bgp.Keepalive()) == ["<KEEPALIVE"]
    assert talk.state is State.ESTABLISHED
    assert talk.hangs_up() == [] and talk.waits(100.0) == []
    assert talk.state is State.ACTIVE


def test_before_it_is_started_it_neither_calls_nor_answers() -> None:
    talk = Dialogue()
    assert talk.comes() == ["<close"]
    assert (talk.waits(100.0), talk.state) == ([], State.IDLE)


def test_nobody_but_its_peers_is_answered() -> None:
    talk = Dialogue()
    talk.starts()
    stranger = Connection(US, True, 7)
    assert len(talk.speaker.feed(ConnectionOpened(stranger, US), 0.0)) == 1
    assert talk.speaker.feed(BytesArrived(stranger, b"hello"), 0.0) == []


def test_messages_may_come_byte_by_byte() -> None:
    talk = Dialogue()
    talk.starts()
    talk.connects()
    stream = b"".join(bgp.build(m) for m in (talk.open(), bgp.Keepalive(), announce("10.1.0.0/16")))
    done = [word for byte in stream for word in talk.says(bytes([byte]))]
    assert done == ["KEEPALIVE", "route 10.1.0.0/16 via 10.0.0.2"]


def test_a_speaker_of_short_as_numbers_is_understood() -> None:
    talk = Dialogue()
    talk.starts()
    talk.connects()
    talk.says(talk.open(capabilities=()), bgp.Keepalive())
    update = bgp.build(announce("10.1.0.0/16"), four_octet=False)
    assert talk.says(update) == ["route 10.1.0.0/16 via 10.0.0.2"]


# --- timers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ours", "theirs", "agreed"), [(90, 30, 30), (30, 90, 30), (3, 3, 3), (90, 90, 90)])
def test_the_smaller_hold_time_counts_and_keepalives_come_three_times_as_often(
    ours: int, theirs: int, agreed: int
) -> None:
    talk = Dialogue(timers=PROMPT._replace(hold_time=ours))
    talk.starts()
    talk.connects()
    talk.says(talk.open(hold_time=theirs), bgp.Keepalive())
    third = agreed / 3
    assert talk.waits(2.5 * third) == [f"{third:g} KEEPALIVE", f"{2 * third:g} KEEPALIVE"]
    assert talk.waits(agreed)[:2] == [f"{agreed} NOTIFICATION 4/0", f"{agreed} close"]
    assert talk.problem == "BGP Error: Hold timer expired"


@pytest.mark.parametrize(("ours", "theirs"), [(0, 90), (90, 0), (0, 0)])
def test_a_hold_time_of_0_means_no_timers_at_all(ours: int, theirs: int) -> None:
    talk = Dialogue(timers=PROMPT._replace(hold_time=ours))
    talk.starts()
    talk.connects()
    talk.says(talk.open(hold_time=theirs), bgp.Keepalive())
    assert talk.waits(10_000.0) == []
    assert talk.state is State.ESTABLISHED


@pytest.mark.parametrize("sign", [bgp.Keepalive(), announce("10.1.0.0/16")])
def test_each_sign_of_life_starts_the_hold_time_anew(sign: bgp.Message) -> None:
    talk = Dialogue().establishes()
    for number in range(1, 5):
        talk.waits(number * 80.0)
        talk.says(sign)
        assert talk.state is State.ESTABLISHED
    assert "NOTIFICATION 4/0" in " ".join(talk.waits(420.0))


def test_sending_an_update_puts_the_keepalive_off() -> None:
    talk = Dialogue().establishes()
    talk.waits(20.0)
    assert talk.feed(Originated(IPv4Network("10.5.0.0/16")))[0].startswith("UPDATE")
    assert talk.waits(49.0) == []
    assert talk.waits(50.0) == ["50 KEEPALIVE"]


def test_an_open_that_never_comes_is_waited_for_four_minutes() -> None:
    talk = Dialogue()
    talk.starts()
    talk.connects()
    assert talk.waits(239.0) == []
    assert talk.waits(240.0) == ["240 NOTIFICATION 4/0", "240 close"]


def test_a_keepalive_that_never_comes_ends_in_the_hold_time() -> None:
    talk = Dialogue()
    talk.starts()
    talk.connects()
    talk.says(talk.open())
    assert talk.waits(90.0)[-2:] == ["90 NOTIFICATION 4/0", "90 close"]


# --- refusing ----------------------------------------------------------------------------------------

WRONG_OPENS: dict[str, tuple[dict[str, object], str, bytes]] = {
    "another AS": (
        {"my_as": 64999, "capabilities": (bgp.UNICASTS[4],)},
        "NOTIFICATION 2/2",
        (64999).to_bytes(4, "big"),
    ),
    "our own identifier": ({"identifier": US.packed}, "NOTIFICATION 2/3", b""),
    "IPv6 only": (
        {"capabilities": (bgp.multiprotocol(2, 1),)},
        "NOTIFICATION 2/7",
        bytes([1, 4, 0, 1, 0, 1]),
    ),
}


@pytest.mark.parametrize("name", WRONG_OPENS)
def test_an_open_that_does_not_suit_is_refused(name: str) -> None:
    fields, word, data = WRONG_OPENS[name]
    talk = Dialogue()
    talk.starts()
    talk.connects()
    assert talk.says(talk.open(**fields)) == [word, "close"]
    refusal = talk.heard[-1]
    assert isinstance(refusal, bgp.Notification) and refusal.data == data
    assert talk.state is State.IDLE


def test_an_external_peer_may_have_our_identifier() -> None:
    talk = Dialogue(asn=65001)
    talk.starts()
    talk.connects()
    assert talk.says(talk.open(identifier=US.packed)) == ["KEEPALIVE"]


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case[1] in (1, 2)])
def test_malformed_headers_and_opens_end_an_attempt(name: str) -> None:
    data, code, subcode, quoted = CASES[name]
    talk = Dialogue()
    talk.starts()
    talk.connects()
    assert talk.says(data) == [f"NOTIFICATION {code}/{subcode}", "close"]
    assert talk.heard[-1] == bgp.Notification(code, subcode, quoted)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case[1] in (1, 3)])
def test_malformed_messages_end_a_session_and_take_its_routes_away(name: str) -> None:
    data, code, subcode, quoted = CASES[name]
    talk = Dialogue().establishes()
    assert talk.says(announce("10.1.0.0/16")) == ["route 10.1.0.0/16 via 10.0.0.2"]
    done = talk.says(bgp.Keepalive(), data, bgp.Keepalive())
    assert done == [f"NOTIFICATION {code}/{subcode}", "close", "no route 10.1.0.0/16"]
    assert talk.heard[-1] == bgp.Notification(code, subcode, quoted)


KINDS: dict[str, bgp.Message] = {
    "OPEN": bgp.standard_open(64512, 90, THEM.packed),
    "UPDATE": announce("10.1.0.0/16"),
    "KEEPALIVE": bgp.Keepalive(),
    "ROUTE-REFRESH": bgp.RouteRefresh(1, 1),
}
STEPS = {"OPEN": Step.OPEN, "UPDATE": Step.UPDATE, "KEEPALIVE": Step.KEEPALIVE, "ROUTE-REFRESH": Step.REFRESH}
STATES = {State.OPEN_SENT: 1, State.OPEN_CONFIRM: 2, State.ESTABLISHED: 3}  # and the subcodes of RFC 6608


def brought_to(state: State) -> Dialogue:
    talk = Dialogue()
    talk.starts()
    talk.connects()
    if state is not State.OPEN_SENT:
        talk.says(talk.open())
    if state is State.ESTABLISHED:
        talk.says(bgp.Keepalive())
    assert talk.state is state
    return talk


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.value)
@pytest.mark.parametrize("kind", KINDS)
def test_a_message_out_of_turn_is_a_state_machine_error_and_one_in_turn_is_none(
    state: State, kind: str
) -> None:
    talk = brought_to(state)
    done = talk.says(KINDS[kind])
    if (state, STEPS[kind]) in NEXT:
        assert talk.state is NEXT[state, STEPS[kind]]
        assert not any("NOTIFICATION" in word for word in done)
    else:
        assert done == [f"NOTIFICATION 5/{STATES[state]}", "close"]


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.value)
def test_a_notification_is_not_answered(state: State) -> None:
    talk = brought_to(state)
    assert talk.says(bgp.Notification(3, 1)) == ["close"]
    assert (talk.state, talk.problem) == (State.IDLE, "Received: Malformed attribute list")


@given(st.binary(max_size=120), st.sampled_from(list(STATES)))
def test_whatever_bytes_come_the_speaker_ends_the_session_or_waits_for_more(
    data: bytes, state: State
) -> None:
    talk = brought_to(state)
    for noise in (data, bgp.MARKER + data, bgp.MARKER + bytes([0, 19 + len(data)]) + data):
        if talk.dialled is None:
            break
        done = talk.says(noise)
        if "close" in done:
            assert done[0].startswith("NOTIFICATION") or talk.problem.startswith("Received")


# --- ending ------------------------------------------------------------------------------------------


def test_after_an_error_it_waits_ever_longer_and_refuses_whoever_comes() -> None:
    talk = Dialogue()
    talk.starts()
    times = []
    for _ in range(5):
        talk.connects()
        assert talk.says(b"\0" * 19) == ["NOTIFICATION 1/1", "close"]
        assert talk.comes()[0].endswith("close")
        before = talk.now
        (done,) = talk.waits(talk.speaker.deadline() or 0.0)
        assert done.endswith("dial")
        times.append(talk.now - before)
    assert times == [5.0, 10.0, 20.0, 30.0, 30.0]
    talk.connects()
    talk.says(talk.open(), bgp.Keepalive())
    talk.waits(talk.now + 60.0)
    talk.says(bgp.Keepalive())
    talk.waits(talk.now + 299.0)  # the hold timer expired long after the error before
    assert talk.problem == "BGP Error: Hold timer expired"


@pytest.mark.parametrize("passive", [False, True])
def test_an_error_on_their_connection_makes_us_wait_as_well(passive: bool) -> None:
    talk = Dialogue(passive=passive)
    talk.starts()
    talk.comes()
    done = talk.says(b"\0" * 19, on=talk.accepted[0])
    assert done == ["<NOTIFICATION 1/1", "<close"] + ([] if passive else ["close"])
    assert talk.state is State.IDLE
    assert talk.comes() == ["<<close"]
    assert talk.waits(5.0) == ([] if passive else ["5 dial"])
    assert talk.comes() == ["<<<OPEN"]


def test_an_error_on_one_connection_leaves_another_alone() -> None:
    talk = Dialogue()
    talk.starts()
    talk.connects()
    talk.comes()
    assert talk.says(b"\0" * 19, on=talk.accepted[0]) == ["<NOTIFICATION 1/1", "<close"]
    assert talk.says(talk.open(), bgp.Keepalive(), on=talk.connection) == ["KEEPALIVE"]
    assert talk.state is State.ESTABLISHED


def test_after_a_long_time_without_error_the_wait_is_short_again() -> None:
    talk = Dialogue()
    talk.starts()
    talk.connects()
    talk.says(b"\0" * 19)
    talk.waits(5.0)
    talk.connects()
    talk.says(talk.open(), bgp.Keepalive())
    for minute in range(1, 8):
        talk.waits(minute * 60.0)
        talk.says(bgp.Keepalive())
    talk.says(b"\0" * 19)
    assert talk.waits(425.0) == ["425 dial"]


def test_a_connection_that_closes_is_no_error() -> None:
    talk = Dialogue(timers=SLOW)
    talk.starts()
    talk.waits(2.0)
    talk.connects()
    talk.says(talk.open(), bgp.Keepalive(), announce("10.1.0.0/16"))
    assert talk.hangs_up("Connection reset by peer") == ["no route 10.1.0.0/16"]
    assert (talk.state, talk.problem) == (State.ACTIVE, "Socket: Connection reset by peer")
    assert talk.comes() == ["<OPEN"]


def test_a_connection_that_closes_before_an_open_came_is_tried_again_after_a_while() -> None:
    talk = brought_to(State.OPEN_SENT)
    assert talk.hangs_up() == []
    assert talk.state is State.ACTIVE
    assert talk.waits(5.0) == ["5 dial"]


def test_so_is_one_that_closes_after_it() -> None:
    talk = brought_to(State.OPEN_CONFIRM)
    assert talk.hangs_up() == []
    assert talk.waits(5.0) == ["5 dial"]


def test_after_a_session_the_delay_is_that_of_a_first_attempt() -> None:
    talk = brought_to(State.ESTABLISHED)
    assert talk.hangs_up() == ["dial"]


def test_cease_is_no_error() -> None:
    talk = Dialogue(timers=SLOW)
    talk.starts()
    talk.waits(2.0)
    talk.connects()
    talk.says(talk.open(), bgp.Keepalive())
    assert talk.says(bgp.Notification(6, 2)) == ["close"]
    assert talk.problem == "Received: Administrative shutdown"
    assert talk.comes() == ["<OPEN"]


def test_a_speaker_that_stops_says_so_and_leaves_no_route() -> None:
    talk = Dialogue().establishes()
    talk.says(announce("10.1.0.0/16"))
    assert talk.feed(Stopped()) == ["NOTIFICATION 6/2", "close", "no route 10.1.0.0/16"]
    assert talk.speaker.deadline() is None
    assert talk.comes() == ["<close"]


def test_a_speaker_that_stops_while_it_connects_gives_up() -> None:
    talk = Dialogue()
    talk.starts()
    assert talk.feed(Stopped()) == ["close"]
    assert talk.speaker.deadline() is None


def test_a_peer_that_is_taken_away_hears_so() -> None:
    talk = Dialogue().establishes()
    talk.says(announce("10.1.0.0/16"))
    assert talk.feed(PeerRemoved(THEM)) == ["NOTIFICATION 6/3", "close", "no route 10.1.0.0/16"]
    assert talk.feed(PeerRemoved(THEM)) == []
    assert talk.speaker.deadline() is None and not talk.speaker.peers


def test_peers_can_be_added_and_changed_while_it_runs() -> None:
    talk = Dialogue().establishes()
    same = PeerSettings(THEM, 64512, "them")
    assert talk.feed(PeerAdded(same)) == []
    assert talk.state is State.ESTABLISHED
    assert talk.feed(PeerAdded(same._replace(passive=True))) == ["NOTIFICATION 6/3", "close"]
    assert talk.state is State.ACTIVE
    assert talk.feed(PeerAdded(PeerSettings(US, 64512))) == ["dial"]
    assert not talk.speaker.established


# --- collisions --------------------------------------------------------------------------------------


def test_of_two_connections_that_of_the_higher_identifier_stays() -> None:
    talk = Dialogue()  # 10.0.0.1, lower than the neighbour: its connection is to stay
    talk.starts()
    assert talk.connects() == ["OPEN"]
    assert talk.comes() == ["<OPEN"]
    mine, theirs = talk.connection, talk.accepted[0]
    assert talk.says(talk.open(), on=mine) == ["KEEPALIVE"]
    done = talk.says(talk.open(), on=theirs)
    assert done == ["NOTIFICATION 6/7", "close", "<KEEPALIVE"]
    assert talk.says(bgp.Keepalive(), on=theirs) == [] and talk.state is State.ESTABLISHED
    assert talk.waits(29.0) == []


def test_or_our_own_when_we_are_the_higher() -> None:
    talk = Dialogue(us="10.0.0.3")
    talk.starts()
    talk.connects()
    talk.comes()
    mine, theirs = talk.connection, talk.accepted[0]
    talk.says(talk.open(), on=mine)
    assert talk.says(talk.open(), on=theirs) == ["<NOTIFICATION 6/7", "<close"]
    assert talk.says(bgp.Keepalive(), on=mine) == [] and talk.state is State.ESTABLISHED


@pytest.mark.parametrize("us", ["10.0.0.1", "10.0.0.3"])
def test_the_order_of_the_opens_plays_no_part(us: str) -> None:
    kept = []
    for first in (0, 1):
        talk = Dialogue(us=us)
        talk.starts()
        talk.connects()
        talk.comes()
        both = [talk.connection, talk.accepted[0]]
        talk.says(talk.open(), on=both[first])
        done = talk.says(talk.open(), on=both[1 - first])
        kept.append("<close" if "<close" in done else "close")
    assert kept == (["close", "close"] if us == "10.0.0.1" else ["<close", "<close"])


def test_among_external_peers_of_one_identifier_the_higher_as_decides() -> None:
    for asn, closed in ((65001, "close"), (64500, "<close")):  # ours is 64512
        talk = Dialogue(asn=asn)
        talk.starts()
        talk.connects()
        talk.comes()
        message = talk.open(identifier=US.packed)
        talk.says(message, on=talk.connection)
        assert closed in talk.says(message, on=talk.accepted[0])


def test_while_a_session_stands_a_second_connection_is_closed() -> None:
    talk = Dialogue().establishes()
    assert talk.comes() == ["<OPEN"]
    assert talk.says(talk.open(), on=talk.accepted[0]) == ["<NOTIFICATION 6/7", "<close"]
    assert talk.state is State.ESTABLISHED
    assert talk.says(announce("10.1.0.0/16")) == ["route 10.1.0.0/16 via 10.0.0.2"]


def test_of_two_connections_from_the_peer_the_newer_stays() -> None:
    talk = Dialogue(passive=True)
    talk.starts()
    talk.comes()
    talk.comes()
    old, new = talk.accepted
    talk.says(talk.open(), on=old)
    assert talk.says(talk.open(), on=new) == ["<NOTIFICATION 6/7", "<close", "<<KEEPALIVE"]


def test_an_open_on_their_connection_ends_our_attempt() -> None:
    talk = Dialogue()
    talk.starts()
    talk.comes()
    assert talk.says(talk.open(), on=talk.accepted[0]) == ["close", "<KEEPALIVE"]
    talk.says(bgp.Keepalive(), on=talk.accepted[0])
    assert talk.waits(29.0) == []
    talk.hangs_up(on=talk.accepted[0])
    assert talk.dialled is not None  # and when theirs is gone, we try again


def test_the_loser_of_a_collision_is_not_made_to_wait() -> None:
    talk = Dialogue(us="10.0.0.3")
    talk.starts()
    talk.connects()
    talk.comes()
    talk.says(bgp.Notification(6, 7), on=talk.accepted[0])
    assert talk.says(talk.open(), bgp.Keepalive(), on=talk.connection) == ["KEEPALIVE"]
    assert talk.state is State.ESTABLISHED


def test_bytes_of_a_connection_that_was_given_up_are_nobodys() -> None:
    talk = Dialogue().establishes()
    old = talk.connection
    talk.says(b"\0")
    assert talk.says(announce("10.1.0.0/16"), on=old) == []
    assert talk.hangs_up(on=old) == []

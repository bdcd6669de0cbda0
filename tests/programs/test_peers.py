"""Peer discovery: machines that face each other find one cluster, lose members and find them again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.base.errors import WireError
from netsim.programs.peer_messages import (
    LINE_LIMIT,
    Ask,
    Check,
    Checked,
    Hello,
    Join,
    Known,
    Message,
    Node,
    Splitter,
    State,
    Vote,
    Voted,
    parse,
    render,
)
from netsim.programs.peers import CHECK_INTERVAL, CHECK_RETRIES, CHECK_TIMEOUT, FIND_INTERVAL

from .peer_network import PeerNetwork

NAMES = ("a", "b", "c", "d", "e")


def cluster(count: int, *, seed: int = 1, apart: float = 0.0) -> PeerNetwork:
    """That many nodes with all names as seeds and initial masters, started ``apart`` seconds apart."""
    names = NAMES[:count]
    network = PeerNetwork(names, seed=seed)
    for name in names:
        network.start(name, voters=names)
        network.run(apart)
    return network


# --- one cluster -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("apart", [0.0, 1.3])
def test_peers_that_find_each_other_form_one_cluster(count: int, apart: float) -> None:
    network = cluster(count, apart=apart)
    network.run(3)
    assert network.agree()
    assert sum(peers.leads for peers in network.nodes.values()) == 1


def test_a_minority_of_the_initial_masters_founds_nothing() -> None:
    network = PeerNetwork("abc")
    network.start("a", voters=("a", "b", "c"))
    network.run(60)
    assert network.nodes["a"].master is None
    network.start("b", voters=("a", "b", "c"))
    network.run(FIND_INTERVAL * 2)
    assert network.agree()


def test_a_node_without_initial_masters_only_joins() -> None:
    network = PeerNetwork("ab")
    network.start("b")
    network.run(60)
    assert network.nodes["b"].master is None
    network.start("a", voters=("a",))
    network.run(FIND_INTERVAL * 2)
    assert network.agree()
    assert network.nodes["a"].leads


def test_a_fixed_quorum_waits_for_its_patience_and_its_number() -> None:
    network = PeerNetwork("abc")
    for name in "ab":
        network.start(name, quorum=2, patience=3.0)
    network.run(2.9)
    assert network.nodes["a"].master is None
    network.run(1)
    assert network.agree()


def test_a_quorum_of_one_splits_the_brain_of_peers_that_cannot_see_each_other() -> None:
    network = PeerNetwork("ab")
    network.cut("a", "b")
    for name in "ab":
        network.start(name, quorum=1, patience=3.0)
    network.run(10)
    assert network.nodes["a"].leads
    assert network.nodes["b"].leads
    assert network.nodes["a"].uuid != network.nodes["b"].uuid
    network.heal()
    network.run(60)
    assert network.members("a") == ["a"], "clusters that were founded apart do not merge"


def test_clusters_of_different_names_do_not_mix() -> None:
    network = PeerNetwork("abcd")
    for name in "ab":
        network.start(name, voters=("a", "b"), cluster="one")
    for name in "cd":
        network.start(name, voters=("c", "d"), cluster="two")
    network.run(5)
    assert network.members("a") == network.members("b") == ["a", "b"]
    assert network.members("c") == network.members("d") == ["c", "d"]


def test_a_peer_that_the_seeds_do_not_name_is_found_through_the_others() -> None:
    network = PeerNetwork("a")
    for name in "abc":
        network.start(name, voters=("a", "b", "c"))
    network.run(5)
    assert network.agree()


# --- who leaves and who comes back -----------------------------------------------------------------------


def follower_of(network: PeerNetwork) -> str:
    return next(name for name, peers in network.nodes.items() if not peers.leads)


def master_of(network: PeerNetwork) -> str:
    return next(name for name, peers in network.nodes.items() if peers.leads)


def test_a_peer_that_ends_is_off_the_list_at_once_and_on_it_again_when_it_is_back() -> None:
    network = cluster(3)
    network.run(3)
    gone = follower_of(network)
    uuid = network.nodes[gone].uuid
    network.kill(gone)
    assert network.agree()
    network.start(gone, voters=("a", "b", "c"))
    network.run(FIND_INTERVAL * 2)
    assert network.agree()
    assert network.nodes[gone].uuid == uuid


def test_another_master_is_elected_when_the_master_ends_and_the_cluster_stays_the_same() -> None:
    network = cluster(3)
    network.run(3)
    gone = master_of(network)
    before = network.nodes[gone]
    network.kill(gone)
    network.run(3)
    assert network.agree()
    now = network.nodes[master_of(network)]
    assert (now.uuid, now.term > before.term) == (before.uuid, True)
    network.start(gone, voters=("a", "b", "c"))
    network.run(FIND_INTERVAL * 2)
    assert network.agree()


def test_a_master_without_a_majority_steps_down() -> None:
    network = cluster(3)
    network.run(3)
    master = master_of(network)
    for name in set(network.nodes) - {master}:
        network.kill(name)
    assert network.nodes[master].master is None
    network.run(60)
    assert network.nodes[master].master is None


def test_a_peer_that_falls_silent_is_given_up_after_three_checks() -> None:
    network = cluster(3)
    network.run(3)
    quiet = follower_of(network)
    for name in set(network.nodes) - {quiet}:
        network.cut(quiet, name)
    longest = CHECK_RETRIES * (CHECK_TIMEOUT + CHECK_INTERVAL)
    network.run(CHECK_RETRIES * CHECK_TIMEOUT - CHECK_INTERVAL)
    master = master_of(network)
    assert quiet in network.members(master)
    network.run(longest - network.now + 3 + CHECK_INTERVAL)
    assert network.members(master) == sorted(set(network.nodes) - {quiet})
    assert network.nodes[quiet].master is None, "a minority has no master"
    network.heal()
    network.run(2 * FIND_INTERVAL)
    assert network.agree()


def test_the_voters_follow_a_cluster_that_grows_and_shrinks() -> None:
    network = cluster(3)
    network.run(3)
    for name in "de":
        network.start(name)
        network.run(3)
    assert len(network.nodes["a"].voters) == 5
    for name in "de":
        network.kill(name)
        network.run(3)
    assert sorted(network.nodes["a"].voters) == ["a", "b", "c"]


def test_clusters_of_two_keep_both_voters_names_of_three() -> None:
    network = cluster(3)
    network.run(3)
    network.kill(follower_of(network))
    assert len(network.nodes[master_of(network)].voters) == 3


def test_a_node_that_missed_the_news_is_told_again() -> None:
    network = cluster(3)
    network.run(3)
    master, other = master_of(network), follower_of(network)
    gone = next(name for name in network.nodes if name not in (master, other))
    network.cut(master, other)
    network.kill(gone)
    network.run(1)
    network.heal()
    assert gone in network.members(other)
    network.run(CHECK_TIMEOUT + 2 * CHECK_INTERVAL)
    assert network.agree()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("kill"), st.sampled_from(NAMES)),
        st.tuples(st.just("start"), st.sampled_from(NAMES)),
        st.tuples(st.just("cut"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
        st.tuples(st.just("heal")),
        st.tuples(st.just("run"), st.sampled_from([0.05, 0.5, 3.0, 20.0, 45.0])),
    ),
    max_size=25,
)


@given(STEPS, st.integers(0, 1000))
def test_whatever_happens_a_term_has_one_master_and_all_agree_in_the_end(
    steps: list[tuple[str, ...]], seed: int
) -> None:
    network = cluster(5, seed=seed)
    network.run(3)
    uuid = network.nodes["a"].uuid
    for step in steps:
        match step:
            case ("kill", name) if len(network.nodes) > 3 and name in network.nodes:
                network.kill(name)
                network.run(3)
            case ("start", name) if name not in network.nodes:
                network.start(name, voters=NAMES)
            case ("cut", one, other) if one != other:
                network.cut(one, other)
            case ("heal",):
                network.heal()
            case ("run", seconds):
                network.run(float(seconds))
    network.heal()
    network.run(60)
    assert all(len(leaders) == 1 for leaders in network.leaders.values()), network.leaders
    assert network.agree()
    assert network.nodes[master_of(network)].uuid == uuid


# --- the wire --------------------------------------------------------------------------------------------

NODE = Node("x-1", "es-0", "10.244.1.5:9300", "e")
MESSAGES: tuple[Message, ...] = (
    Hello("logs", NODE),
    Ask(("10.244.1.5:9300", "10.244.2.5:9300")),
    Known(3, NODE, ()),
    Known(0, None, ("10.244.1.5:9300",)),
    Vote(4),
    Voted(4, True),
    Join(3, ""),
    State(4, 7, "uuid", "x-1", (NODE, NODE._replace(id="x-2")), ("es-0", "es-1")),
    Check(),
    Checked(False, 7),
)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_comes_back_as_it_was_sent(message: Message) -> None:
    assert parse(render(message)) == message


def test_a_message_is_a_line_that_can_be_read() -> None:
    assert render(Hello("logs", NODE)) == (
        b'{"type": "hello", "cluster": "logs", "node": {"id": "x-1", "name": "es-0", '
        b'"address": "10.244.1.5:9300", "ephemeral": "e"}}\n'
    )


def test_messages_are_whole_however_the_bytes_are_cut() -> None:
    data = b"".join(map(render, MESSAGES))
    splitter = Splitter()
    got = [message for octet in data for message in splitter.feed(bytes([octet]))]
    assert tuple(got) == MESSAGES


@pytest.mark.parametrize(
    "line",
    [
        b"", b"GET / HTTP/1.1\r", b"[]", b'{"type": "fly"}', b'{"type": ["hello"]}', b'{"type": "vote"}',
        b'{"type": "vote", "term": "1"}', b'{"type": "vote", "term": true}', b"\xff\xfe", b"[" * 100_000,
        b'{"type": "hello", "cluster": "c", "node": {"id": "x", "name": 7, "address": "y"}}',
    ],
)  # fmt: skip
def test_what_is_no_message_is_refused(line: bytes) -> None:
    with pytest.raises(WireError, match="not a message"):
        parse(line)


def test_a_message_without_an_end_is_refused() -> None:
    with pytest.raises(WireError, match="more than"):
        Splitter().feed(b" " * (LINE_LIMIT + 1))

"""BIRD judges our BGP speaker: sessions, routes both ways, errors, and which of several routes is best."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from netsim.base.rng import Rng
from netsim.net.bgp.decision import RULES, Source
from netsim.net.bgp.events import NextHopResolved, Originated, Stopped, Withdrawn
from netsim.net.bgp.policy import Neighbour
from netsim.net.bgp.render import Way, render_protocols, render_routes
from netsim.net.bgp.rib import Rib
from netsim.net.bgp.settings import PeerSettings, SpeakerSettings
from netsim.wire import bgp
from netsim.wire.bgp_attributes import PathAttributes
from tests.interop.bird import BIRD, LIMIT, QUICK, Bird, Wire, free_port, run_for, wait_until
from tests.net.bgp_dialogue import announce, route
from tests.wire.bgp_damaged import CASES

pytestmark = pytest.mark.needs("bird", "birdc")

US = "127.0.0.11"
THEIR_AS = 64512
ORIGIN = "protocol static origin { ipv4; route 10.2.0.0/24 blackhole; route 10.2.1.0/24 blackhole; }\n"
LEARNT = {"10.2.0.0/24": BIRD, "10.2.1.0/24": BIRD}
BOTH_ASES = pytest.mark.parametrize("asn", [THEIR_AS, 65001, 4200000001], ids=["iBGP", "eBGP", "long AS"])


def neighbour(
    name: str, address: str, asn: int, *, port: int = 0, passive: bool = True, more: str = ""
) -> str:
    """BIRD's side of a session; with ``port`` it connects."""
    at = f"{address} port {port}" if port else address
    return (
        f"protocol bgp {name} {{ local HERE as {THEIR_AS}; neighbor {at} as {asn}; multihop;\n"
        f"  passive {'on' if passive else 'off'}; connect delay time 1; connect retry time 1;\n"
        f"  error wait time 1, 2; {more}\n"
        "  ipv4 { import all; export where source = RTS_STATIC && net.type = NET_IP4 && dest = RTD_BLACKHOLE"
        " || source = RTS_BGP; next hop self; }; }\n"
    )


Start = Callable[[str], Bird]


@pytest.fixture
def open_things() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def start_bird(tmp_path: Path, open_things: ExitStack) -> Start:
    """Start a BIRD with these protocols; it ends with the test."""

    def start(protocols: str, address: str = BIRD) -> Bird:
        bird = Bird(tmp_path / address, protocols, address=address)
        open_things.callback(bird.stop)
        return bird.start()

    return start


@pytest.fixture
def speaker(open_things: ExitStack) -> Callable[..., Wire]:
    """A started speaker with these BIRDs as peers; its sockets close with the test."""

    def start(bird: Bird, asn: int = THEIR_AS, address: str = US, **peer: object) -> Wire:
        settings = PeerSettings(IPv4Address(bird.address), THEIR_AS, "bird", **peer)  # type: ignore[arg-type]
        wire = Wire(address, asn, {bird: settings})
        open_things.callback(wire.close)
        return wire.start()

    return start


def established(wire: Wire) -> None:
    wait_until(lambda: wire.speaker.established, "established", wire)


def has_learnt(wire: Wire, bird: Bird, wanted: dict[str, str]) -> None:
    """The speaker's table is this. BIRD may sit for seconds on what it has to say; a question wakes it."""
    wait_until(lambda: bool(bird.ask("show status")) and wire.routes == wanted, f"routes {wanted}", wire)


def originate(wire: Wire, *prefixes: str) -> None:
    for prefix in prefixes:
        wire.feed(Originated(IPv4Network(prefix)))


# --- sessions and routes -----------------------------------------------------------------------------


@BOTH_ASES
def test_routes_go_both_ways_and_are_withdrawn_both_ways(
    start_bird: Start, speaker: Callable[..., Wire], asn: int
) -> None:
    bird = start_bird(ORIGIN + neighbour("ours", US, asn))
    ours = speaker(bird, asn)
    originate(ours, "10.244.1.0/24", "10.244.2.0/25")
    established(ours)
    has_learnt(ours, bird, LEARNT)
    both = {"10.244.1.0/24", "10.244.2.0/25"}
    wait_until(lambda: bird.routes("ours") == both, "BIRD has ours", ours)
    shown = bird.ask("show route all 10.244.1.0/24")
    path = "" if asn == THEIR_AS else f"{asn}"
    assert f"BGP.as_path: {path}\n" in shown and f"BGP.next_hop: {US}\n" in shown, shown

    ours.feed(Withdrawn(IPv4Network("10.244.1.0/24")))
    wait_until(lambda: bird.routes("ours") == {"10.244.2.0/25"}, "BIRD has one route less", ours)
    bird.ask("disable origin")
    has_learnt(ours, bird, {})
    bird.ask("enable origin")
    has_learnt(ours, bird, LEARNT)
    assert "Received" not in bird.ask("show protocols ours")


@BOTH_ASES
def test_bird_connects_to_us(start_bird: Start, open_things: ExitStack, asn: int) -> None:
    bird_at = IPv4Address(BIRD)
    port = free_port(US)
    bird = start_bird(ORIGIN + neighbour("ours", US, asn, port=port, passive=False))
    ours = Wire(US, asn, {bird: PeerSettings(bird_at, THEIR_AS, passive=True)}, port=port)
    open_things.callback(ours.close)
    ours.start()
    has_learnt(ours, bird, LEARNT)
    assert all(connection.incoming for connection in ours.sockets)


@pytest.mark.parametrize("us", [US, "127.0.0.1"], ids=["we are higher", "BIRD is higher"])
def test_both_connect_and_one_connection_stays(start_bird: Start, open_things: ExitStack, us: str) -> None:
    port = free_port(us)
    bird = start_bird(ORIGIN + neighbour("ours", us, THEIR_AS, port=port, passive=False))
    ours = Wire(us, THEIR_AS, {bird: PeerSettings(IPv4Address(BIRD), THEIR_AS)}, port=port)
    open_things.callback(ours.close)
    # BIRD's connection stands before ours is asked for, so that both wait for their OPEN at once.
    ours.hold_back = True
    wait_until(lambda: len(ours.held) == 1, "BIRD has connected", ours)
    ours.start()
    ours.release()
    has_learnt(ours, bird, LEARNT)
    run_for(0.5, ours)
    assert len(ours.sockets) == 1 and ours.speaker.established
    assert "Established" in bird.ask("show protocols ours")


def test_our_speaker_survives_birds_restart(start_bird: Start, speaker: Callable[..., Wire]) -> None:
    bird = start_bird(ORIGIN + neighbour("ours", US, THEIR_AS))
    ours = speaker(bird)
    originate(ours, "10.244.1.0/24")
    has_learnt(ours, bird, LEARNT)
    for end in (bird.stop, bird.kill):
        end()
        wait_until(lambda: ours.routes == {}, "BIRD's routes are gone", ours)
        assert not ours.speaker.established
        bird.start()
        has_learnt(ours, bird, LEARNT)
        wait_until(lambda: bird.routes("ours") == {"10.244.1.0/24"}, "BIRD has ours again", ours)


def test_bird_forgets_our_routes_when_we_stop(start_bird: Start, speaker: Callable[..., Wire]) -> None:
    bird = start_bird(neighbour("ours", US, THEIR_AS))
    ours = speaker(bird)
    originate(ours, "10.244.1.0/24")
    wait_until(lambda: bird.routes("ours") == {"10.244.1.0/24"}, "BIRD has our route", ours)
    ours.feed(Stopped())
    wait_until(lambda: bird.routes("ours") == set(), "BIRD has it no more", ours)
    assert "Received: Administrative shutdown" in bird.ask("show protocols ours")


def test_bird_forgets_our_routes_when_we_are_gone(start_bird: Start, speaker: Callable[..., Wire]) -> None:
    bird = start_bird(neighbour("ours", US, THEIR_AS))
    ours = speaker(bird)
    originate(ours, "10.244.1.0/24")
    wait_until(lambda: bird.routes("ours") == {"10.244.1.0/24"}, "BIRD has our route", ours)
    ours.close()
    wait_until(lambda: bird.routes("ours") == set(), "BIRD has it no more")


def test_keepalives_keep_the_session_and_silence_ends_it(start_bird: Start, open_things: ExitStack) -> None:
    bird = start_bird(ORIGIN + neighbour("ours", US, THEIR_AS))
    settings = {bird: PeerSettings(IPv4Address(BIRD), THEIR_AS)}
    ours = Wire(US, THEIR_AS, settings, timers=QUICK._replace(hold_time=3))
    open_things.callback(ours.close)
    ours.start()
    has_learnt(ours, bird, LEARNT)
    run_for(3.5, ours)
    assert ours.speaker.established and ours.routes == LEARNT
    assert "Established" in bird.ask("show protocols ours")
    with bird.frozen():
        wait_until(lambda: ours.routes == {}, "BIRD's routes are gone", ours)
    assert ours.speaker.peers[IPv4Address(BIRD)].problem == "BGP Error: Hold timer expired"
    wait_until(lambda: "Hold timer expired" in bird.ask("show protocols ours"), "BIRD hears why", ours)


def test_a_thousand_prefixes_each_way(start_bird: Start, speaker: Callable[..., Wire]) -> None:
    count = 1000
    routes = " ".join(f"route 10.{n // 256 + 20}.{n % 256}.0/24 blackhole;" for n in range(count))
    bird = start_bird(f"protocol static origin {{ ipv4; {routes} }}\n" + neighbour("ours", US, 65001))
    ours = speaker(bird, 65001)
    originate(ours, *(f"10.{n // 256 + 120}.{n % 256}.0/24" for n in range(count)))
    wait_until(lambda: len(ours.table) == count, "our table has all of BIRD's routes", ours)
    wait_until(lambda: len(bird.routes("ours")) == count, "BIRD has all of ours", ours)


def test_bird_asks_for_a_refresh_and_gets_it(start_bird: Start, speaker: Callable[..., Wire]) -> None:
    bird = start_bird(neighbour("ours", US, THEIR_AS))
    ours = speaker(bird)
    originate(ours, "10.244.1.0/24")
    wait_until(lambda: bird.routes("ours") == {"10.244.1.0/24"}, "BIRD has our route", ours)
    said = sum("UPDATE" in line for line in ours.walk)
    bird.ask("reload in ours")
    wait_until(lambda: sum("UPDATE" in line for line in ours.walk) > said, "we say it once more", ours)
    assert bird.routes("ours") == {"10.244.1.0/24"}


# --- route reflection, several peers -----------------------------------------------------------------


def test_we_reflect_between_two_birds(start_bird: Start, open_things: ExitStack) -> None:
    first = start_bird(ORIGIN + neighbour("ours", US, THEIR_AS))
    second = start_bird(neighbour("ours", US, THEIR_AS), "127.0.0.3")
    peers = {bird: PeerSettings(IPv4Address(bird.address), THEIR_AS, client=True) for bird in (first, second)}
    ours = Wire(US, THEIR_AS, peers)
    open_things.callback(ours.close)
    ours.start()
    has_learnt(ours, first, LEARNT)
    wait_until(lambda: second.routes("ours") == set(LEARNT), "the second BIRD has the first's", ours)
    shown = second.ask("show route all 10.2.0.0/24")
    assert f"BGP.originator_id: {BIRD}\n" in shown and f"BGP.cluster_list: {US}\n" in shown, shown
    assert f"BGP.next_hop: {BIRD}\n" in shown
    first.stop()
    wait_until(lambda: second.routes("ours") == set(), "and loses them with it", ours)


def test_bird_reflects_between_two_of_ours(start_bird: Start, speaker: Callable[..., Wire]) -> None:
    addresses = ["127.0.0.11", "127.0.0.12"]
    clients = [neighbour(f"c{n}", a, THEIR_AS, more="rr client;") for n, a in enumerate(addresses)]
    bird = start_bird("".join(clients).replace("next hop self;", ""))
    wires = [speaker(bird, address=address) for address in addresses]
    originate(wires[0], "10.244.1.0/24")
    wait_until(lambda: bird.routes("c0") == {"10.244.1.0/24"}, "BIRD has it", *wires)
    has_learnt(wires[1], bird, {"10.244.1.0/24": addresses[0]})
    (path,) = (path for key in wires[1].speaker.rib.prefixes() for path in wires[1].speaker.rib.paths(key))
    assert path.attributes.originator_id == IPv4Address(addresses[0]).packed
    assert path.attributes.cluster_list == (IPv4Address(BIRD).packed,)


def test_our_own_as_in_a_path_is_refused_unless_allowed(
    start_bird: Start, speaker: Callable[..., Wire]
) -> None:
    """Two nodes of one AS under a rack router, which is BIRD."""
    addresses = ["127.0.0.11", "127.0.0.12", "127.0.0.13"]
    bird = start_bird("".join(neighbour(f"n{n}", a, 65001) for n, a in enumerate(addresses)))
    origin = speaker(bird, 65001, addresses[0])
    strict = speaker(bird, 65001, addresses[1])
    lenient = speaker(bird, 65001, addresses[2], own_as_allowed=1)
    originate(origin, "10.244.1.0/24")
    wires = (origin, strict, lenient)
    wait_until(lambda: bird.routes("n0") == {"10.244.1.0/24"}, "BIRD has it", *wires)
    wait_until(lambda: strict.speaker.established, "established", *wires)
    has_learnt(lenient, bird, {"10.244.1.0/24": BIRD})
    run_for(0.2, *wires)
    assert strict.routes == {}


# --- errors ------------------------------------------------------------------------------------------

HEADERS_AND_OPENS = [name for name, case in CASES.items() if case[1] in (1, 2)]
BIRD_SAYS = {
    "long KEEPALIVE": (1, 1),  # BIRD does not mind its length, but what comes behind it
    "long ROUTE-REFRESH": (7, 1),  # RFC 7313, which is for peers that both announced enhanced refresh
}


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bird]:
    """A BIRD that forgives at once, for one malformed message after the other."""
    protocols = neighbour("ours", US, THEIR_AS).replace("error wait time 1, 2", "error wait time 0, 0")
    bird = Bird(tmp_path_factory.mktemp("judge"), protocols).start()
    yield bird
    bird.stop()


def has_open(sock: socket.socket) -> bool:
    """Whether BIRD's OPEN has come; not when BIRD is not ready for a new session yet."""
    try:
        return bool(sock.recv(19, socket.MSG_PEEK))
    except ConnectionResetError:
        return False


@pytest.mark.parametrize("name", HEADERS_AND_OPENS)
def test_bird_refuses_the_same_malformed_messages_with_the_same_words(
    judge: Bird, open_things: ExitStack, name: str
) -> None:
    """The session stands when its state would matter more to BIRD than the message's length."""
    data, code, subcode, _ = CASES[name]
    sock = open_things.enter_context(judge.dial(US))
    while not has_open(sock):
        sock = open_things.enter_context(judge.dial(US))
    if data[18:19] in (b"\2", b"\4", b"\5"):
        ours = bgp.standard_open(THEIR_AS, 90, IPv4Address(US).packed)
        sock.sendall(bgp.build(ours) + bgp.build(bgp.Keepalive()))
    sock.sendall(data + bytes(64))  # BIRD looks at a header when the whole message has come
    received = b""
    with contextlib.suppress(ConnectionResetError):  # there is more than BIRD cares to read
        while chunk := sock.recv(4096):
            received += chunk
    refusal = bgp.parse(bgp.split(received)[0][-1])
    assert isinstance(refusal, bgp.Notification)
    assert (refusal.code, refusal.subcode) == BIRD_SAYS.get(name, (code, subcode)), refusal


# --- the decision ------------------------------------------------------------------------------------

RIVALS = {  # their ASes
    "127.0.0.11": THEIR_AS,
    "127.0.0.12": THEIR_AS,
    "127.0.0.13": 65001,
    "127.0.0.14": 65001,
    "127.0.0.15": 65002,
}
NEAR, FAR = "10.9.0.1", "10.9.0.129"
METRICS = {NEAR: 5, FAR: 7}
METRICS_OF_BIRD = """protocol static metrics { ipv4;
  route 10.9.0.0/25 via "lo" { igp_metric = 5; }; route 10.9.0.128/25 via "lo" { igp_metric = 7; };
}
"""


def random_route(rng: Rng, asn: int) -> PathAttributes:
    """A route as a peer in that AS announces it, alike enough to others for every rule to matter."""
    internal = asn == THEIR_AS
    hops = [rng.choice([65001, 65002, 65003]) for _ in range(rng.below(3))]
    path = hops if internal else [asn, *hops[1:]]
    return route(
        *path,
        via=rng.choice([NEAR, FAR]),
        origin=rng.choice([0, 0, 0, 2]),
        med=rng.choice([None, 0, 1, 2]),
        local_pref=rng.choice([100, 100, 100, 200]) if internal else None,
        originator_id=bytes([10, 0, 0, rng.below(2) + 1]) if internal and rng.below(3) else None,
        cluster_list=(b"\1\1\1\1",) * rng.below(3) if internal else (),
    )


def test_bird_and_our_tables_choose_the_same_routes(start_bird: Start, open_things: ExitStack) -> None:
    """Five peers announce 1,000 prefixes with attributes drawn at random; every rule is needed."""
    sessions = "".join(
        neighbour(f"n{address.replace('.', '_')}", address, asn, more="deterministic med on;").replace(
            "next hop self;", ""
        )
        for address, asn in RIVALS.items()
    )
    bird = start_bird(METRICS_OF_BIRD + sessions)
    rib = Rib(SpeakerSettings(THEIR_AS, IPv4Address(BIRD)))
    for hop, metric in METRICS.items():
        rib.resolve(IPv4Address(hop).packed, metric)
    rng = Rng(1)
    wires = []
    for address, asn in RIVALS.items():
        wire = Wire(address, asn, {bird: PeerSettings(IPv4Address(BIRD), THEIR_AS)})
        open_things.callback(wire.close)
        wires.append(wire.start())
        packed = IPv4Address(address).packed
        title = f"n{address.replace('.', '_')}"
        source = Source(packed, title, asn != THEIR_AS, False, packed, IPv4Address(BIRD).packed)
        rib.peer_up(Neighbour(source, False, 0))
    wait_until(lambda: all(wire.speaker.established for wire in wires), "all established", *wires)
    prefixes = [f"10.{20 + n // 256}.{n % 256}.0/24" for n in range(1000)]
    for wire, (address, asn) in zip(wires, RIVALS.items(), strict=True):
        said = {one: announce(one, attributes=random_route(rng, asn)) for one in prefixes if rng.below(4)}
        for update in said.values():
            rib.receive(IPv4Address(address).packed, update, 0.0)
        (sock,) = wire.sockets.values()
        sock.sendall(b"".join(bgp.build(update) for update in said.values()))
    rib.settle()
    ours = {str(one): decision.path.source.title for one, decision in rib.best.items()}
    needed = {decision.rule for decision in rib.best.values()}
    assert needed >= {rule for rule, _ in RULES if rule != "our own"}

    def theirs() -> dict[str, str]:
        shown = bird.ask("show route primary where source = RTS_BGP")
        return dict(re.findall(r"^(\S+/24) +unicast \[(\S+)", shown, re.MULTILINE))

    wait_until(lambda: len(theirs()) == len(ours), "BIRD has all prefixes", *wires)
    run_for(0.2, *wires)
    differing = {one: (ours[one], them) for one, them in theirs().items() if ours[one] != them}
    assert not differing, bird.ask(f"show route all {next(iter(differing))}")


# --- what is printed ---------------------------------------------------------------------------------

TIME = re.compile(r"\d\d:\d\d:\d\d\.\d{3}")
LOOPBACK = re.compile(r"\t(?:via \S+ on|dev) lo")  # BIRD names no gateway on the loopback
HEARD = {  # what the peers announce
    "127.0.0.13": [
        announce("10.1.0.0/16", attributes=route(via=NEAR, local_pref=100)),
        announce("10.2.0.0/16", attributes=route(65003, via=FAR, origin=1)),
        announce("10.3.0.0/16", attributes=route(65003, 65004, via=FAR)),
    ],
    "127.0.0.14": [announce("10.3.0.0/16", attributes=route(65001, via=NEAR, origin=2))],
}


def entries(shown: str) -> list[str]:
    """The prefixes with all their lines, in order: BIRD's is that of its hash table."""
    plain = LOOPBACK.sub("\tGATEWAY", TIME.sub("TIME", shown))
    return sorted(re.split(r"\n(?=\d)", plain.removesuffix("\n")))


def test_what_we_print_of_a_speaker_is_what_birdc_prints(start_bird: Start, open_things: ExitStack) -> None:
    """BIRD and a speaker of ours in its place hear the same from three peers, one of a wrong AS."""
    asns = {"127.0.0.13": THEIR_AS, "127.0.0.14": 65001, "127.0.0.15": 65002, "127.0.0.99": THEIR_AS}
    names = {address: f"n{address[-2:]}" for address in asns}
    sessions = "".join(neighbour(names[address], address, asn) for address, asn in asns.items())
    bird = start_bird(METRICS_OF_BIRD + sessions.replace("error wait time 1, 2", "error wait time 60, 60"))
    peers = [PeerSettings(IPv4Address(a), asn, names[a], passive=True) for a, asn in asns.items()]
    ours = Wire("127.0.0.20", THEIR_AS, {}, more_peers=peers, timers=QUICK._replace(error_wait=60.0))
    open_things.callback(ours.close)
    for hop, metric in METRICS.items():
        ours.feed(NextHopResolved(IPv4Address(hop), metric))
    wires = {"us": ours.start()}
    for address in HEARD:
        both = {judge: PeerSettings(IPv4Address(judge.address), THEIR_AS) for judge in (bird, ours)}
        wires[address] = Wire(address, asns[address], both).start()
        open_things.callback(wires[address].close)
    everyone = wires.values()
    wait_until(lambda: all(wires[a].speaker.established for a in HEARD), "established", *everyone)
    to_us = socket.create_connection((ours.address, ours.port), LIMIT, source_address=("127.0.0.15", 0))
    for sock in (bird.dial("127.0.0.15", *everyone), to_us):
        open_things.enter_context(sock).sendall(bgp.build(bgp.standard_open(65009, 90, bytes([10, 0, 0, 9]))))
    refusing = ours.speaker.peers[IPv4Address("127.0.0.15")]
    wait_until(lambda: "peer AS" in refusing.problem, "we refuse the wrong one", *everyone)
    wait_until(lambda: "peer AS" in bird.ask("show protocols n15"), "so does BIRD", *everyone)
    for address, updates in HEARD.items():
        for sock in wires[address].sockets.values():
            sock.sendall(b"".join(bgp.build(update) for update in updates))

    def theirs() -> str:
        return bird.ask("show route where source = RTS_BGP")

    wait_until(lambda: theirs().count("[n") == 4 and len(ours.table) == 3, "all have come", *everyone)
    run_for(0.1, *everyone)
    printed = render_routes(ours.speaker, lambda next_hop: Way(next_hop, "lo"))
    assert entries(printed) == entries(theirs())
    protocols = bird.ask("show protocols").splitlines()
    wanted = [TIME.sub("TIME", line) for line in protocols if " BGP " in line]
    shown = render_protocols(ours.speaker).splitlines()
    assert shown[0] == protocols[0]
    assert [TIME.sub("TIME", line) for line in shown[1:]] == wanted

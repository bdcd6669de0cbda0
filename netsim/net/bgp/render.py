"""A speaker's state as birdc prints it (BIRD 2: nest/proto.c, nest/rt-table.c, proto/bgp).

What BIRD calls a protocol is a peer here, and ``static1`` for the prefixes of the speaker's own. Times count
from the beginning of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address

from netsim.net.bgp.decision import Path
from netsim.net.bgp.peer import Peer
from netsim.net.bgp.speaker import Speaker
from netsim.net.bgp.states import State
from netsim.wire.bgp_attributes import AS_SEQUENCE

_PROTOCOLS = "{:<10} {:<10} {:<10} {:<6} {:<12}  {}"
_ROUTE = "{:<20} {} [{} {}{}]{} ({}){}"
_OWN_PREFERENCE, _BGP_PREFERENCE = 200, 100  # BIRD's DEF_PREF_STATIC and DEF_PREF_BGP
_ORIGINS = "ie?"

DeviceOf = Callable[[IPv4Address], tuple[IPv4Address, str] | None]
"""Which gateway and interface lead to a next hop; None when no route does."""


def render_protocols(speaker: Speaker) -> str:
    """``birdc show protocols``."""
    lines = [_PROTOCOLS.format("Name", "Proto", "Table", "State", "Since", "Info")]
    if any(path.local for prefix in speaker.rib.prefixes() for path in speaker.rib.paths(prefix)):
        lines.append(_PROTOCOLS.format("static1", "Static", "master4", "up", _time(0.0), ""))
    lines += [_protocol(peer) for peer in speaker.peers.values()]
    return "".join(f"{line}\n" for line in lines)


def _protocol(peer: Peer) -> str:
    state = peer.state
    up = "up" if state is State.ESTABLISHED else "start"
    shown = "Passive" if peer.settings.passive and state is State.ACTIVE else state.value
    info = f"{shown:<14}{peer.problem}"
    return _PROTOCOLS.format(peer.settings.title, "BGP", "---", up, _time(peer.since), info)


def render_routes(speaker: Speaker, device_of: DeviceOf) -> str:
    """``birdc show route``: each prefix's best route first, marked with ``*``."""
    lines = ["Table master4:"]
    for prefix in speaker.rib.prefixes():
        decision = speaker.rib.best.get(prefix)
        best = decision.path if decision is not None else None
        paths = sorted(speaker.rib.paths(prefix), key=lambda path: path is not best)
        shown = str(prefix)
        for path in paths:
            lines += _route(shown, path, path is best, device_of)
            shown = ""
    return "".join(f"{line}\n" for line in lines)


def _route(shown: str, path: Path, best: bool, device_of: DeviceOf) -> Iterator[str]:
    star = " *" if best else ""
    if path.local:
        yield _ROUTE.format(shown, "blackhole", "static1", _time(path.since), "", star, _OWN_PREFERENCE, "")
        return
    attributes, source = path.attributes, path.source
    peer, next_hop = IPv4Address(source.peer), IPv4Address(attributes.next_hop or b"")
    way = device_of(next_hop)
    came = f" from {peer}" if way is not None and way[0] != peer else ""
    segments = attributes.as_path or ()
    origin_as = f"AS{segments[-1].asns[-1]}" if segments and segments[-1].kind == AS_SEQUENCE else ""
    origin = f" [{origin_as}{_ORIGINS[attributes.origin or 0]}]"
    kind = "unicast" if way is not None else "unreachable"
    yield _ROUTE.format(shown, kind, source.title, _time(path.since), came, star, _BGP_PREFERENCE, origin)
    if way is not None:
        yield f"\tvia {way[0]} on {way[1]}"


def _time(seconds: float) -> str:
    """Hours, minutes, seconds and milliseconds."""
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}.{rest % 1000:03}"

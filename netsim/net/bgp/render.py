"""A speaker's state as birdc prints it (BIRD 2: nest/proto.c, nest/rt-table.c, proto/bgp).

What BIRD calls a protocol is a peer here, and ``static1`` for the prefixes of the speaker's own. Times count
from the beginning of the run. A route to an unreachable next hop is never the best one here, while BIRD takes
it when there is no other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from netsim.base.address import IpAddress, ip_from_packed
from netsim.net.bgp.decision import Path
from netsim.net.bgp.peer import Peer
from netsim.net.bgp.speaker import Speaker
from netsim.net.bgp.states import State
from netsim.wire.bgp_attributes import AS_SEQUENCE

_PROTOCOLS = "{:<10} {:<10} {:<10} {:<6} {:<12}  {}"
_OWN_PREFERENCE, _BGP_PREFERENCE = 200, 100  # BIRD's DEF_PREF_STATIC and DEF_PREF_BGP
_ORIGINS = "ie?"


class Way(NamedTuple):
    """How a next hop is reached: through a gateway, which may be itself, on an interface."""

    gateway: IpAddress
    device: str


WayTo = Callable[[IpAddress], Way | None]
"""The way to a next hop by the host's other routes; None when there is none."""


def render_protocols(speaker: Speaker) -> str:
    """``birdc show protocols``."""
    lines = [_PROTOCOLS.format("Name", "Proto", "Table", "State", "Since", "Info")]
    if any(path.local for prefix in speaker.rib.prefixes() for path in speaker.rib.paths(prefix)):
        lines.append(_PROTOCOLS.format("static1", "Static", _table(speaker), "up", _time(0.0), ""))
    lines += [_protocol(peer) for peer in speaker.peers.values()]
    return "".join(f"{line}\n" for line in lines)


def _table(speaker: Speaker) -> str:
    return f"master{speaker.settings.family}"


def _protocol(peer: Peer) -> str:
    state = peer.state
    up = "up" if state is State.ESTABLISHED else "start"
    shown = "Passive" if peer.settings.passive and state is State.ACTIVE else state.value
    info = f"{shown:<14}{peer.problem}"
    return _PROTOCOLS.format(peer.settings.title, "BGP", "---", up, _time(peer.since), info)


def render_routes(speaker: Speaker, way_to: WayTo) -> str:
    """``birdc show route``: each prefix's best route first, marked with ``*``."""
    lines = [f"Table {_table(speaker)}:"]
    for prefix in speaker.rib.prefixes():
        decision = speaker.rib.best.get(prefix)
        best = decision.path if decision is not None else None
        shown = str(prefix)
        for path in sorted(speaker.rib.paths(prefix), key=lambda path: path is not best):
            way = way_to(ip_from_packed(path.attributes.next_hop or b"")) if not path.local else None
            star = " *" if path is best else ""
            lines.append(
                f"{shown:<20} {_kind(path, way)} [{_source(path, way)}]{star} {_info(speaker, path)}"
            )
            if way is not None:
                lines.append(f"\tvia {way.gateway} on {way.device}")
            shown = ""
    return "".join(f"{line}\n" for line in lines)


def _kind(path: Path, way: Way | None) -> str:
    if path.local:
        return "blackhole"
    return "unicast" if way is not None else "unreachable"


def _source(path: Path, way: Way | None) -> str:
    """The protocol, the time, and the peer when it is not the gateway."""
    if path.local:
        return f"static1 {_time(path.since)}"
    peer = ip_from_packed(path.source.peer)
    came = f" from {peer}" if way is None or way.gateway != peer else ""
    return f"{path.source.title} {_time(path.since)}{came}"


def _info(speaker: Speaker, path: Path) -> str:
    """Preference and distance, and the AS and manner in which the route began."""
    if path.local:
        return f"({_OWN_PREFERENCE})"
    attributes = path.attributes
    metric = speaker.rib.metric(attributes.next_hop or b"")
    distance = f"/{metric}" if metric else ""
    segments = attributes.as_path or ()
    began = f"AS{segments[-1].asns[-1]}" if segments and segments[-1].kind == AS_SEQUENCE else ""
    return f"({_BGP_PREFERENCE}{distance}) [{began}{_ORIGINS[attributes.origin or 0]}]"


def _time(seconds: float) -> str:
    """Hours, minutes, seconds and milliseconds."""
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02}.{milliseconds % 1000:03}"

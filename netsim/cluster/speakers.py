"""The BGP daemons that the plan wants: one for each Speaker entry, of which a host has one for each family of
routes.

``Cluster`` shows every delta to ``Speakers.follow``. A daemon runs in a view of its host, as the Pod of a
CNI's agent does on its node.

The sessions have converged when all that are wanted are Established and no best route has changed for a
second.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial
from ipaddress import ip_address
from typing import NamedTuple

from netsim.base.address import IpAddress
from netsim.net.bgp.events import PeerAdded, PeerRemoved
from netsim.net.bgp.settings import PeerSettings, SpeakerSettings, Timers
from netsim.plan.delta import Delta, Plan
from netsim.plan.entries import Host as PlannedHost
from netsim.plan.entries import HostName, Peer, Scope, Speaker
from netsim.planes.protocol import Plane
from netsim.programs.bgp import bgp
from netsim.programs.bgp_control import Control
from netsim.programs.host import Host, Invocation

STILL = 1.0
"""Virtual seconds without a change of a best route after which nothing more is expected."""


class SpeakerId(NamedTuple):
    """Which daemon is meant: a host's, for a family of routes."""

    host: HostName
    family: int = 4


class Speakers:
    """See the module's docstring. ``version`` grows when they may have converged, or no longer have."""

    def __init__(self, plan: Plan, plane: Plane) -> None:
        self.version = 0
        self.controls: dict[SpeakerId, Control] = {}
        self._plan = plan
        self._plane = plane
        self._views: dict[SpeakerId, Host] = {}
        self._entries: dict[SpeakerId, Speaker] = {}
        self._peers: dict[Scope, dict[IpAddress, Peer]] = {}
        self._unsettled: dict[SpeakerId, None] = {}
        self._changed_at = -STILL
        self._watching = False

    # --- the plan ------------------------------------------------------------------------------------

    def follow(self, delta: Delta) -> None:
        """Start, stop and tell daemons, once the plane has applied the delta."""
        for key in delta.remove:
            if key[0] == "speaker":
                self._stop(SpeakerId(HostName(key[1]), int(key[2]) if len(key) > 2 else 4))
            elif key[0] == "peer":
                self._peers[Scope(key[1])].pop(ip_address(key[2]))
                self._tell(Scope(key[1]), ip_address(key[2]))
        for entry in delta.put:
            if isinstance(entry, Speaker):
                if (own := SpeakerId(entry.host, entry.family)) in self.controls:
                    self._stop(own)  # it is set up otherwise, and begins anew
                self._start(entry)
            elif isinstance(entry, Peer):
                self._peers.setdefault(entry.on, {})[entry.address] = entry
                self._tell(entry.on, entry.address)

    def _start(self, entry: Speaker) -> None:
        host, own = entry.host, SpeakerId(entry.host, entry.family)
        self._entries[own] = entry
        known = (address for scope in self._scopes(host) for address in self._peers.get(scope, ()))
        addresses = {address for address in known if address.version == entry.family}
        found = (self._peer(own, address) for address in sorted(addresses, key=int))
        peers = tuple(peer for peer in found if peer is not None)
        timers = Timers(hold_time=entry.hold_time)
        settings = SpeakerSettings(
            entry.asn, entry.identifier, peers, timers, entry.cluster_id, entry.family, entry.listens
        )
        control = self.controls[own] = Control(settings, entry.prefixes, partial(self._progressed, own))
        self._unsettled[own] = None
        view = self._views[own] = self._plane.view(host, host)
        title = "bird" if entry.family == 4 else "bird6"
        start = Invocation(title, services={"control": control})
        self._plane.start(view, lambda machine: bgp(machine, start), title)

    def _stop(self, own: SpeakerId) -> None:
        """As SIGTERM does, and a moment later for good: the last messages are on their way by then."""
        self.controls.pop(own).stop()
        del self._entries[own]
        self._unsettled.pop(own, None)
        self._plane.call_at(self._plane.now, partial(self._plane.close_view, self._views.pop(own)))
        self._moved()

    def _tell(self, on: Scope, address: IpAddress) -> None:
        """The peer at an address has come, gone or changed, for a host or for a group of hosts."""
        for own, control in list(self.controls.items()):
            if own.family == address.version and on in self._scopes(own.host):
                peer = self._peer(own, address)
                control.tell(PeerRemoved(address) if peer is None else PeerAdded(peer))
                self._progressed(own)

    def _scopes(self, host: HostName) -> tuple[Scope, ...]:
        """The host itself, whose own entries come first, and its groups."""
        planned = self._plan.get(("host", host))
        assert isinstance(planned, PlannedHost)
        return (Scope(host), *planned.groups)

    def _peer(self, speaker: SpeakerId, address: IpAddress) -> PeerSettings | None:
        """What a host is to know of its neighbour at an address; None when it is none, or the host itself."""
        held = self._entries[speaker]
        own: IpAddress = held.listens[0] if held.listens else held.identifier
        entries = (self._peers.get(scope, {}).get(address) for scope in self._scopes(speaker.host))
        entry = next((found for found in entries if found is not None), None)
        if entry is None or address == own:
            return None
        passive = entry.passive or (entry.higher_connects and int(address) > int(own))
        return PeerSettings(
            address,
            entry.asn,
            entry.name,
            passive=passive,
            client=entry.client,
            next_hop_self=entry.next_hop_self,
            own_as_allowed=entry.own_as_allowed,
        )

    def speaks(self, host: HostName) -> bool:
        """Whether a daemon runs on the host."""
        return any(own.host == host for own in self.controls)

    # --- convergence ---------------------------------------------------------------------------------

    def settled(self, lost: Collection[str]) -> bool:
        """Whether all is as it is going to stay. Sessions of the hosts that are ``lost`` do not count."""
        return self._plane.now >= self._changed_at + STILL and not any(self._missing(lost))

    def waiting(self, lost: Collection[str]) -> list[str]:
        """What is still on its way; empty when ``settled``."""
        missing = list(self._missing(lost))
        if missing or self._plane.now >= self._changed_at + STILL:
            return missing
        return [f"BGP: routes changed less than {STILL:g} s ago"]

    def _missing(self, lost: Collection[str]) -> Iterator[str]:
        for own in self._unsettled:
            host, control = own.host, self.controls[own]
            if host in lost:
                continue
            for settings in control.waiting():
                if settings.name in lost:
                    continue
                state = "the daemon does not run"
                if control.speaker is not None:
                    peer = control.speaker.peers[settings.address]
                    state = f"{peer.state.value} {peer.problem}".rstrip()
                yield f"BGP session of {host} with {settings.title} ({settings.address}): {state}"

    def _progressed(self, own: SpeakerId) -> None:
        """Something happened in a daemon."""
        control = self.controls.get(own)
        if control is None:
            return
        was = own in self._unsettled
        if control.established:
            self._unsettled.pop(own, None)
        else:
            self._unsettled[own] = None
        speaker = control.speaker
        changed = speaker is not None and speaker.changed_at == self._plane.now
        if changed or was is control.established:
            self._moved()

    def _moved(self) -> None:
        """Routes or sessions have changed just now: look again in a while."""
        self.version += 1
        self._changed_at = self._plane.now
        if not self._watching:
            self._watching = True
            self._plane.call_at(self._changed_at + STILL, self._look, background=True)

    def _look(self) -> None:
        due = self._changed_at + STILL
        self._watching = self._plane.now < due
        if self._watching:
            self._plane.call_at(due, self._look, background=True)
        else:
            self.version += 1

"""What the cluster holds of a BGP daemon: it says what is wanted of it, and looks at its state.

``programs.bgp`` runs the daemon. What was told is kept here, so that a daemon which starts anew begins with
it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeAlias, assert_never

from netsim.base.address import IpNetwork
from netsim.net.bgp.events import Event, Originated, PeerAdded, PeerRemoved, Stopped, Withdrawn
from netsim.net.bgp.settings import PeerSettings, SpeakerSettings
from netsim.net.bgp.speaker import Speaker

Wish: TypeAlias = PeerAdded | PeerRemoved | Originated | Withdrawn
"""What may be told to a daemon."""


class Daemon(Protocol):
    """A daemon that runs."""

    @property
    def speaker(self) -> Speaker: ...

    def feed(self, event: Event) -> None: ...


class Control:
    """One daemon as the cluster holds it: what is wanted of it, and, while it runs, its ``speaker``.

    What was told is kept: a daemon that starts anew begins with it. ``progressed`` is called whenever
    something happened in it.
    """

    def __init__(
        self,
        settings: SpeakerSettings,
        prefixes: Iterable[IpNetwork] = (),
        progressed: Callable[[], None] = lambda: None,
    ) -> None:
        self.speaker: Speaker | None = None
        self.progressed = progressed
        self._settings = settings
        self._peers = {peer.address: peer for peer in settings.peers}
        self._prefixes = dict.fromkeys(prefixes)
        self._daemon: Daemon | None = None

    @property
    def settings(self) -> SpeakerSettings:
        """What a daemon that starts now is set up with."""
        return self._settings._replace(peers=tuple(self._peers.values()))

    @property
    def prefixes(self) -> tuple[IpNetwork, ...]:
        """The prefixes of its own that are to be announced."""
        return tuple(self._prefixes)

    @property
    def established(self) -> bool:
        """Whether every session that is wanted stands."""
        return self.speaker is not None and self.speaker.established

    def waiting(self) -> Sequence[PeerSettings]:
        """The peers whose sessions do not stand."""
        if self.speaker is None:
            return tuple(self._peers.values())
        return [peer.settings for peer in self.speaker.peers.values() if peer.established is None]

    def tell(self, wish: Wish) -> None:
        """Say what is wanted from now on; a daemon that runs hears it at once."""
        match wish:
            case PeerAdded(settings):
                self._peers[settings.address] = settings
            case PeerRemoved(peer):
                self._peers.pop(peer, None)
            case Originated(prefix):
                self._prefixes[prefix] = None
            case Withdrawn(prefix):
                self._prefixes.pop(prefix, None)
            case _:
                assert_never(wish)
        if self._daemon is not None:
            self._daemon.feed(wish)

    def stop(self) -> None:
        """Ask the daemon to end as SIGTERM does: peers hear Cease, and its routes go. Then cancel it."""
        if self._daemon is not None:
            self._daemon.feed(Stopped())

    def runs(self, daemon: Daemon | None) -> None:
        """A daemon has begun, or ended."""
        self._daemon = daemon
        self.speaker = daemon.speaker if daemon is not None else None
        self.progressed()

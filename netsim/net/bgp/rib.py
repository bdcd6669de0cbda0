"""The routing tables of a speaker (RFC 4271 section 3.2).

adj-RIB-in: what each peer announced and may be used. loc-RIB: the best route to each prefix. adj-RIB-out:
what each peer was told. Changes gather until ``settle``, which decides once per changed prefix and says what
to install, and what to tell whom.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from netsim.base.address import ip_from_packed
from netsim.base.cause import Cause, Stage
from netsim.net.bgp.decision import DEFAULT_LOCAL_PREF, Decision, Path, Source, decide
from netsim.net.bgp.events import InstallRoute, RemoveRoute
from netsim.net.bgp.policy import Audience, Neighbour, exported, imported
from netsim.net.bgp.settings import SpeakerSettings
from netsim.wire.bgp import Update
from netsim.wire.bgp_attributes import FIRST_MULTICAST, IGP, PathAttributes, Prefix, render_path


class News(NamedTuple):
    """What one peer is to be told, prefixes of equal attributes together."""

    withdrawn: list[Prefix]
    announced: dict[PathAttributes, list[Prefix]]


class Changes(NamedTuple):
    """What ``settle`` found: commands for the host's table, and news by peer."""

    routes: list[InstallRoute | RemoveRoute]
    news: dict[bytes, News]


class Rib:
    """All tables. Peers are known by their packed address."""

    def __init__(self, own: SpeakerSettings) -> None:
        self.best: dict[Prefix, Decision] = {}
        self.adj_in: dict[bytes, dict[Prefix, Path]] = {}
        self.adj_out: dict[bytes, dict[Prefix, PathAttributes]] = {}
        self._own = own
        self._ourselves = Source(b"", "", False, False, own.identifier.packed)
        self._neighbours: dict[bytes, Neighbour] = {}
        self._audiences: dict[Audience, dict[bytes, None]] = {}
        self._paths: dict[Prefix, dict[bytes, Path]] = {}
        self._installed: dict[Prefix, tuple[bytes, Source]] = {}
        self._metrics: dict[bytes, int | None] = {}
        self._dirty: dict[Prefix, None] = {}
        self._newcomers: dict[bytes, None] = {}

    # --- what happens --------------------------------------------------------------------------------

    def peer_up(self, neighbour: Neighbour) -> None:
        """A session is Established: its peer is to hear of everything."""
        peer = neighbour.source.peer
        self._neighbours[peer] = neighbour
        self._audiences.setdefault(neighbour.audience, {})[peer] = None
        self.adj_in[peer] = {}
        self.adj_out[peer] = {}
        self._newcomers[peer] = None

    def peer_down(self, peer: bytes) -> None:
        """A session is over: what its peer announced is withdrawn."""
        neighbour = self._neighbours.pop(peer)
        audience = self._audiences[neighbour.audience]
        del audience[peer]
        if not audience:
            del self._audiences[neighbour.audience]
        self._newcomers.pop(peer, None)
        del self.adj_out[peer]
        for prefix in self.adj_in.pop(peer):
            self._drop(prefix, peer)

    def refresh(self, peer: bytes) -> None:
        """The peer wants to hear everything once more (RFC 2918)."""
        self.adj_out[peer] = {}
        self._newcomers[peer] = None

    def receive(self, peer: bytes, update: Update, now: float) -> None:
        """Take a peer's UPDATE. A route that may not be used replaces the peer's earlier one by none."""
        table = self.adj_in[peer]
        neighbour = self._neighbours[peer]
        for prefix in update.withdrawn:
            if table.pop(prefix, None) is not None:
                self._drop(prefix, peer)
        if not update.announced:
            return
        attributes = imported(update.attributes, neighbour, self._own)
        path = Path(attributes, neighbour.source, now) if attributes is not None else None
        for prefix in update.announced:
            known = table.get(prefix)
            if known is not None and known.attributes == attributes:
                continue
            if path is not None and prefix.address[0] < FIRST_MULTICAST[len(prefix.address)]:
                table[prefix] = path
                self._paths.setdefault(prefix, {})[peer] = path
                self._dirty[prefix] = None
            elif known is not None:
                del table[prefix]
                self._drop(prefix, peer)

    def originate(self, prefix: Prefix, now: float) -> None:
        """Announce a prefix of our own."""
        attributes = PathAttributes(origin=IGP, as_path=(), local_pref=DEFAULT_LOCAL_PREF)
        self._paths.setdefault(prefix, {})[b""] = Path(attributes, self._ourselves, now)
        self._dirty[prefix] = None

    def withdraw(self, prefix: Prefix) -> None:
        """Announce a prefix of our own no more."""
        if b"" in self._paths.get(prefix, ()):
            self._drop(prefix, b"")

    def resolve(self, next_hop: bytes, metric: int | None) -> None:
        """A next hop's distance, None when there is no way to it."""
        if self._metrics.get(next_hop, 0) == metric:
            return
        self._metrics[next_hop] = metric
        for prefix, paths in self._paths.items():
            if any(path.attributes.next_hop == next_hop for path in paths.values()):
                self._dirty[prefix] = None

    def metric(self, next_hop: bytes) -> int | None:
        """A next hop's distance as it was told."""
        return self._metrics.get(next_hop, 0)

    def paths(self, prefix: Prefix) -> Iterator[Path]:
        """All usable routes to a prefix: our own first, then by peer."""
        found = self._paths.get(prefix, {})
        return (found[peer] for peer in sorted(found))

    def prefixes(self) -> list[Prefix]:
        """Every prefix to which there is a route, in order."""
        return sorted(self._paths)

    # --- what follows --------------------------------------------------------------------------------

    def settle(self) -> Changes:
        """Decide about every prefix of which something changed."""
        changes = Changes([], {})
        dirty, self._dirty = self._dirty, {}
        for prefix in dirty:
            decision = decide(self._paths.get(prefix, {}).values(), self._metrics)
            before = self.best.get(prefix)
            if decision is not None:
                self.best[prefix] = decision
            elif before is not None:
                del self.best[prefix]
            if before is None or decision is None or before.path != decision.path:
                self._install(prefix, decision, changes.routes)
                self._tell_all(prefix, before, decision, changes.news)
        newcomers, self._newcomers = self._newcomers, {}
        for peer in newcomers:
            self._tell_everything(peer, changes.news)
        return changes

    def _drop(self, prefix: Prefix, peer: bytes) -> None:
        paths = self._paths[prefix]
        del paths[peer]
        if not paths:
            del self._paths[prefix]
        self._dirty[prefix] = None

    def _install(
        self, prefix: Prefix, decision: Decision | None, routes: list[InstallRoute | RemoveRoute]
    ) -> None:
        """The host's table has learnt routes; our own stand there by themselves."""
        if decision is None or decision.path.local:
            if self._installed.pop(prefix, None) is not None:
                routes.append(RemoveRoute(prefix.network))
            return
        path = decision.path
        next_hop = path.attributes.next_hop
        assert next_hop is not None  # the codec lets no route in without one
        if self._installed.get(prefix) != (next_hop, path.source):
            self._installed[prefix] = (next_hop, path.source)
            routes.append(InstallRoute(prefix.network, ip_from_packed(next_hop), _cause(decision)))

    def _tell_all(
        self, prefix: Prefix, before: Decision | None, after: Decision | None, news: dict[bytes, News]
    ) -> None:
        for audience, peers in self._audiences.items():
            heard = self._heard(after, audience)
            if heard is None and self._heard(before, audience) is None:
                continue  # most routes of a mesh: nobody was told, nobody is
            for peer in peers:
                self._tell(peer, prefix, after, heard, news)

    def _tell_everything(self, peer: bytes, news: dict[bytes, News]) -> None:
        audience = self._neighbours[peer].audience
        for prefix, decision in self.best.items():
            heard = self._heard(decision, audience)
            if heard is not None:
                self._tell(peer, prefix, decision, heard, news)

    def _heard(self, decision: Decision | None, audience: Audience) -> PathAttributes | None:
        return exported(decision.path, audience, self._own) if decision is not None else None

    def _tell(
        self,
        peer: bytes,
        prefix: Prefix,
        decision: Decision | None,
        heard: PathAttributes | None,
        news: dict[bytes, News],
    ) -> None:
        """Note what changes for one peer. Nobody hears his own routes back."""
        if decision is not None and decision.path.source.peer == peer:
            heard = None
        told = self.adj_out[peer]
        if told.get(prefix) == heard:
            return
        found = news.get(peer)
        if found is None:
            found = news[peer] = News([], {})
        if heard is None:
            del told[prefix]
            found.withdrawn.append(prefix)
        else:
            told[prefix] = heard
            found.announced.setdefault(heard, []).append(prefix)


def _cause(decision: Decision) -> Cause:
    path, of, rule = decision
    asns = render_path(path.attributes.as_path or ())
    through = f", AS path {asns}" if asns else ""
    chosen = f", best of {of}: {rule}" if of > 1 else ""
    return Cause(Stage.ROUTE, f"learnt by BGP from {path.source.title}{through}{chosen}")

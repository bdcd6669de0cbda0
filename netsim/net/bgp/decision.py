"""Which of several routes to a prefix is the best one (RFC 4271 section 9.1.2, RFC 4456 section 9).

``RULES`` is tried from the top; each keeps the routes that it finds best, until one is left. The last rule
always leaves one, so the order in which routes came plays no part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from netsim.wire.bgp_attributes import AS_SEQUENCE, PathAttributes, path_length

DEFAULT_LOCAL_PREF = 100  # what routers take for a route without one; RFC 4271 names no number


class Source(NamedTuple):
    """Who told us of a route: ``peer`` is its packed address, empty for routes of our own, ``local`` is ours
    in its session."""

    peer: bytes
    title: str
    external: bool
    client: bool
    identifier: bytes
    local: bytes = b""


class Path(NamedTuple):
    """One route to a prefix, where it came from, and when."""

    attributes: PathAttributes
    source: Source
    since: float

    @property
    def local(self) -> bool:
        return not self.source.peer


class Decision(NamedTuple):
    """The best of ``of`` routes, and the rule that found it."""

    path: Path
    of: int
    rule: str


Metrics: TypeAlias = Mapping[bytes, int | None]
"""The distance of next hops, None for those to which there is no way; 0 for those that are absent."""
Keep: TypeAlias = Callable[[Sequence[Path], Metrics], Sequence[Path]]


def decide(paths: Iterable[Path], metrics: Metrics) -> Decision | None:
    """The best route, None when there is none whose next hop can be reached."""
    left: Sequence[Path] = [path for path in paths if path.local or _metric(path, metrics) is not None]
    if not left:
        return None
    if len(left) == 1:
        return Decision(left[0], 1, "the only one")
    count = len(left)
    for name, keep in RULES:
        left = keep(left, metrics)
        if len(left) == 1:
            return Decision(left[0], count, name)
    raise AssertionError(f"two routes of one peer: {left}")


def _metric(path: Path, metrics: Metrics) -> int | None:
    return metrics.get(path.attributes.next_hop or b"", 0)


def _lowest(key: Callable[[Path, Metrics], int]) -> Keep:
    """Keep the paths for which ``key`` is lowest."""

    def keep(paths: Sequence[Path], metrics: Metrics) -> Sequence[Path]:
        keys = [key(path, metrics) for path in paths]
        best = min(keys)
        return [path for path, value in zip(paths, keys, strict=True) if value == best]

    return keep


def _lowest_med(paths: Sequence[Path], metrics: Metrics) -> Sequence[Path]:
    """MED compares routes of one neighbouring AS only; absent, it is 0 (RFC 4271 section 9.1.2.2 c)."""
    best: dict[int, int] = {}
    for path in paths:
        neighbour, med = _neighbour_as(path), path.attributes.med or 0
        best[neighbour] = min(med, best.get(neighbour, med))
    return [path for path in paths if (path.attributes.med or 0) == best[_neighbour_as(path)]]


def _neighbour_as(path: Path) -> int:
    """The AS that the route was learnt from; 0 for one that began in our own."""
    segments = path.attributes.as_path or ()
    return segments[0].asns[0] if segments and segments[0].kind == AS_SEQUENCE else 0


def _local_pref(path: Path, metrics: Metrics) -> int:
    local_pref = path.attributes.local_pref
    return -(DEFAULT_LOCAL_PREF if local_pref is None else local_pref)


def _identifier(path: Path, metrics: Metrics) -> int:
    """A reflected route counts as its originator's (RFC 4456 section 9)."""
    return int.from_bytes(path.attributes.originator_id or path.source.identifier, "big")


RULES: tuple[tuple[str, Keep], ...] = (
    ("our own", _lowest(lambda path, _: not path.local)),
    ("highest LOCAL_PREF", _lowest(_local_pref)),
    ("shortest AS path", _lowest(lambda path, _: path_length(path.attributes.as_path or ()))),
    ("lowest ORIGIN", _lowest(lambda path, _: path.attributes.origin or 0)),
    ("lowest MED", _lowest_med),
    ("external over internal", _lowest(lambda path, _: not path.source.external)),
    ("nearest next hop", _lowest(lambda path, metrics: _metric(path, metrics) or 0)),
    ("lowest BGP identifier", _lowest(_identifier)),
    ("shortest CLUSTER_LIST", _lowest(lambda path, _: len(path.attributes.cluster_list))),
    ("lowest peer address", _lowest(lambda path, _: int.from_bytes(path.source.peer, "big"))),
)

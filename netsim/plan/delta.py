"""Plans and the differences between them.

A component hands out ``Delta`` values; ``Plan`` adds them up and refuses contradictions. A plane applies
the same deltas. For any sequence of object changes, the sum of the deltas equals the plan from scratch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from netsim.base.errors import PlanError
from netsim.plan.entries import Entry, Key

# A plane builds in this order and tears down in the reverse one: an interface before its addresses.
BUILD_ORDER = (
    *("host", "sysctl", "interface", "link", "address", "shared-address", "announcement"),
    *("route", "neighbour", "fdb", "place", "set-member", "rule", "virtual", "speaker", "peer"),
)
_RANK = {kind: rank for rank, kind in enumerate(BUILD_ORDER)}


@dataclass(frozen=True, slots=True)
class Delta:
    """What to put (new or changed) and what to remove (by key), each in the order to be done in."""

    put: tuple[Entry, ...] = ()
    remove: tuple[Key, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.put or self.remove)


class Plan:
    """The sum of all deltas so far: one entry per key."""

    __slots__ = ("_entries",)

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries: dict[Key, Entry] = {}
        self.apply(Delta(put=tuple(entries)))

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and self._entries == other._entries

    __hash__ = None  # type: ignore[assignment]  # a plan changes

    def get(self, key: Key) -> Entry | None:
        """The entry of that key, or None."""
        return self._entries.get(key)

    @property
    def entries(self) -> Mapping[Key, Entry]:
        """All entries by key, in the order in which they first came."""
        return self._entries

    def apply(self, delta: Delta) -> None:
        """Add a delta; raises PlanError when it touches another owner's entry, leaving all as it was."""
        removed = set(delta.remove)
        for entry in delta.put:
            standing = self._entries.get(entry.key)
            if standing is not None and standing.owner != entry.owner and entry.key not in removed:
                raise PlanError(
                    f"{' '.join(entry.key)} belongs to {standing.owner} and is claimed by {entry.owner}"
                )
        for key in delta.remove:
            self._entries.pop(key, None)
        for entry in delta.put:
            self._entries[entry.key] = entry


def difference(old: Mapping[Key, Entry], new: Mapping[Key, Entry]) -> Delta:
    """The delta that leads from ``old`` to ``new``, in build and tear-down order."""
    put = [entry for key, entry in new.items() if old.get(key) != entry]
    gone = [key for key in old if key not in new]
    return Delta(
        put=tuple(sorted(put, key=lambda entry: _RANK[entry.key[0]])),
        remove=tuple(sorted(gone, key=lambda key: -_RANK[key[0]])),
    )


class Ledger:
    """One component's entries by subject, so that a changed subject yields its own small delta.

    A subject is whatever the component thinks in: a Pod, a node, a Service. ``replace`` takes the
    subject's whole new set of entries and hands out the difference to its last one.
    """

    __slots__ = ("_by_subject",)

    def __init__(self) -> None:
        self._by_subject: dict[str, dict[Key, Entry]] = {}

    def replace(self, subject: str, entries: Iterable[Entry]) -> Delta:
        """Set a subject's entries (none: the subject is gone) and return what changed."""
        new = {entry.key: entry for entry in entries}
        delta = difference(self._by_subject.get(subject, {}), new)
        if new:
            self._by_subject[subject] = new
        else:
            self._by_subject.pop(subject, None)
        return delta


def merge(deltas: Iterable[Delta]) -> Delta:
    """One delta that does the same as the deltas one after the other."""
    put: dict[Key, Entry] = {}
    remove: dict[Key, None] = {}
    for delta in deltas:
        for key in delta.remove:
            put.pop(key, None)
            remove[key] = None
        for entry in delta.put:
            put[entry.key] = entry
            remove.pop(entry.key, None)
    return Delta(put=tuple(put.values()), remove=tuple(remove))

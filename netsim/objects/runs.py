"""Which files make which run: several of them may have a Topology each, and then each is its own cluster.

``cli`` asks for ``netsim run topologies/*.yaml`` and ``validate``. With one Topology at most, all files make
one cluster, as for ``kubectl apply``. With more, every file with a Topology is a run, with the files that it
names; a file of which nobody can say to which it belongs is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from netsim.base.errors import UsageError
from netsim.objects.sources import beside, files_of, read_source


class _File(NamedTuple):
    path: Path
    topologies: tuple[dict[str, Any], ...]


def runs_of(sources: Sequence[Path]) -> list[tuple[Path, ...]]:
    """The sources of each run, in their order; UsageError when a file belongs to no run or to any."""
    found = [_File(path, _topologies(path)) for source in sources for path in files_of(source)]
    mains = [file for file in found if file.topologies]
    if len(mains) < 2:
        return [tuple(sources)]
    named = {path.resolve() for main in mains for path in _named(main)}
    stray = [file.path for file in found if not file.topologies and file.path.resolve() not in named]
    if stray:
        others = f" (and {len(stray) - 1} more)" if len(stray) > 1 else ""
        raise UsageError(
            f"{stray[0]}{others} has no Topology, and {len(mains)} of the other files have one: "
            "to which cluster does it belong?",
            hint="name it in that Topology's `manifests`, or run it apart",
        )
    return [(main.path,) for main in mains]


def _topologies(path: Path) -> tuple[dict[str, Any], ...]:
    documents, _ = read_source(path, set())
    values = (document.value for document in documents)
    return tuple(value for value in values if isinstance(value, dict) and value.get("kind") == "Topology")


def _named(main: _File) -> Iterable[Path]:
    """The files that the Topologies of a file name."""
    for topology in main.topologies:
        spec = topology.get("spec")
        fields = spec if isinstance(spec, dict) else {}
        patterns = list(_listed(fields.get("manifests")))
        for change in _listed(fields.get("changes")):
            applied = change.get("apply") if isinstance(change, dict) else None
            patterns += _listed(applied) if isinstance(applied, list) else [applied]
        for pattern in patterns:
            if isinstance(pattern, str):
                yield from beside(str(main.path), pattern)


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []

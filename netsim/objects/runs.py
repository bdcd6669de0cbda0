"""Which files make which run: several of them may have a Topology each, and then each is its own cluster.

``cli`` asks for ``netsim run topologies/*.yaml`` and ``validate``. With one Topology at most, all files make
one cluster, as for ``kubectl apply``. With more, every file is a run, but for those that a Topology names:
they belong to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from netsim.objects.sources import beside, files_of, read_source


class _File(NamedTuple):
    path: Path
    topologies: tuple[dict[str, Any], ...]


def runs_of(sources: Sequence[Path]) -> list[tuple[Path, ...]]:
    """The sources of each run, in their order."""
    found = [_File(path, _topologies(path)) for source in sources for path in files_of(source)]
    mains = [file for file in found if file.topologies]
    if len(mains) < 2:
        return [tuple(sources)]
    named = {path.resolve() for main in mains for path in _named(main)}
    return [(file.path,) for file in found if file.topologies or file.path.resolve() not in named]


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

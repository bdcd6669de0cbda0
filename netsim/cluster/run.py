"""``netsim.run``: a cluster from files, for as long as a block lasts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from netsim.base.errors import UsageError
from netsim.cluster.changes import schedule
from netsim.cluster.cluster import Cluster
from netsim.objects.manifest import load
from netsim.programs.host import Program


class Running:
    """What ``run`` returns: a context manager, for ``async with`` and for ``with``."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(
            f"netsim.run(…) has no {name!r}: it is a context manager, and gives the cluster to its block\n"
            f"  hint: with netsim.run(…) as cluster: cluster.{name}… (in async code: async with)",
            name=name,
            obj=self,
        )

    def __enter__(self) -> Cluster:
        return self._cluster

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cluster.close()

    async def __aenter__(self) -> Cluster:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)


def run(
    *sources: str | Path,
    seed: int | None = None,
    programs: Mapping[str, Program] | None = None,
    strict: bool = False,
) -> Running:
    """Load files (paths, directories, globs or YAML text), start the cluster and let it converge.

    From then on the Topology's ``changes`` happen, each when its time has come.

    ``seed`` overrides the Topology's; ``programs`` maps image patterns (``acme/api:*``) to coroutines;
    ``strict`` makes warnings errors. Raises ManifestError with every mistake at once, UsageError for a
    source that does not exist or is neither path nor text, ConvergenceError when the cluster does not settle.
    """
    for source in sources:
        _refuse_other_types(source)
    cluster = Cluster(load(sources, strict=strict), seed=seed, programs=programs or {})
    cluster.settle()
    cluster.converged_at = cluster.now
    schedule(cluster, cluster.topology.changes)
    return Running(cluster)


def _refuse_other_types(source: object) -> None:
    if not isinstance(source, str | Path):
        kind = type(source).__name__
        hint = "for several files write netsim.run(*files)" if isinstance(source, list | tuple) else ""
        raise UsageError(f"netsim.run takes paths and YAML text, not a {kind}", hint=hint)

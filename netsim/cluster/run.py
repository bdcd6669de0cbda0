"""``netsim.run``: a cluster from files, for as long as a block lasts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from netsim.cluster.cluster import Cluster
from netsim.objects.manifest import load
from netsim.programs.host import Program


class Running:
    """What ``run`` returns: a context manager, for ``async with`` and for ``with``."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

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

    ``seed`` overrides the Topology's; ``programs`` maps image patterns (``acme/api:*``) to coroutines;
    ``strict`` makes warnings errors. Raises ManifestError with every mistake at once, UsageError for a
    source that does not exist, ConvergenceError when the cluster does not settle.
    """
    cluster = Cluster(load(sources, strict=strict), seed=seed, programs=programs or {})
    cluster.settle()
    cluster.converged_at = cluster.now
    return Running(cluster)

"""The clusters that are compared, each as it is when it has converged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from netsim.cluster.cluster import Cluster
from netsim.cluster.run import overridden
from netsim.objects.manifest import load


class Variant(NamedTuple):
    """One cluster to open. ``title`` is what reports call it; None leaves a setting to the files."""

    title: str
    sources: Sequence[str | Path]
    network: str | None = None
    proxy_mode: str | None = None


class Side(NamedTuple):
    """An open cluster. ``untold`` counts the changes and faults of its Topology that do not happen here."""

    title: str
    cluster: Cluster
    untold: int


@contextmanager
def opened(variant: Variant, *, seed: int | None = None, strict: bool = False) -> Iterator[Side]:
    """The converged cluster of a variant; raises as ``run`` does.

    Its ``changes`` and ``faults`` do not happen: what is compared is the state at convergence, however much
    virtual time the questions take.
    """
    loaded = load(variant.sources, strict=strict)
    topology = overridden(loaded.topology, network=variant.network, proxy_mode=variant.proxy_mode)
    untold = len(topology.changes) + len(topology.faults)
    topology = topology._replace(changes=(), faults=())
    cluster = Cluster(loaded._replace(topology=topology), seed=seed, programs={})
    try:
        cluster.settle()
        cluster.converged_at = cluster.now
        yield Side(variant.title, cluster, untold)
    finally:
        cluster.close()

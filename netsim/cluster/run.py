"""``netsim.run``: a cluster from files, for as long as a block lasts."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from inspect import iscoroutine, isfunction, signature
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from netsim.base.errors import UsageError
from netsim.cluster.changes import schedule
from netsim.cluster.cluster import Cluster
from netsim.cluster.programs import no_program
from netsim.objects.manifest import load
from netsim.objects.topology import NETWORKS, PROXY_MODES, Topology
from netsim.programs.host import Program


class Running:
    """What ``run`` returns: a context manager, for ``async with`` and for ``with``."""

    def __init__(self, cluster: Cluster, closing: ExitStack) -> None:
        self._cluster = cluster
        self._closing = closing

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
        self._closing.close()

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
    network: str | None = None,
    proxy_mode: str | None = None,
    capture: bool = False,
) -> Running:
    """Load files (paths, directories, globs or YAML text), start the cluster and let it converge.

    From then on the Topology's ``changes`` and ``faults`` happen, each when its time has come.

    ``seed``, ``network`` (overlay, bgp) and ``proxy_mode`` (iptables, ipvs) override what the Topology says;
    ``programs`` maps image patterns (``acme/api:*``) to coroutines; ``strict`` makes warnings errors; with
    ``capture`` the cluster's ``packets`` are all that there were from its start on. Raises ManifestError with
    every mistake at once, UsageError for a source that does not exist or is neither path nor text and for
    what is no program, and ConvergenceError when the cluster does not settle.
    """
    for source in sources:
        _refuse_other_types(source)
    for image, program in (programs or {}).items():
        _refuse_what_is_no_program(image, program)
    if seed is not None and seed < 0:
        raise UsageError(f"a seed is 0 or more, not {seed}")
    loaded = load(sources, strict=strict)
    topology = overridden(loaded.topology, network=network, proxy_mode=proxy_mode)
    cluster = Cluster(loaded._replace(topology=topology), seed=seed, programs=programs or {})
    with ExitStack() as closing:
        closing.callback(cluster.close)
        if capture:
            cluster.packets = closing.enter_context(cluster.capture())
        cluster.settle()
        cluster.converged_at = cluster.now
        schedule(cluster, cluster.topology.changes)
        cluster.faults.schedule(cluster.topology.faults)
        return Running(cluster, closing.pop_all())


def overridden(topology: Topology, *, network: str | None, proxy_mode: str | None) -> Topology:
    """The Topology with another Pod network or proxy mode, where one is named."""
    networking = topology.networking
    if network is not None:
        networking = networking._replace(pod_network=_known("network", network, NETWORKS))
    if proxy_mode is not None:
        networking = networking._replace(kube_proxy_mode=_known("proxy_mode", proxy_mode, PROXY_MODES))
    return topology._replace(networking=networking)


def _known(what: str, word: str, words: tuple[str, ...]) -> str:
    if word not in words:
        raise UsageError(f"there is no {what} {word!r}", hint=f"write one of {', '.join(words)}")
    return word


def _refuse_other_types(source: object) -> None:
    if not isinstance(source, str | Path):
        kind = type(source).__name__
        hint = "for several files write netsim.run(*files)" if isinstance(source, list | tuple) else ""
        raise UsageError(f"netsim.run takes paths and YAML text, not a {kind}", hint=hint)


def _refuse_what_is_no_program(image: str, program: Any) -> None:
    if iscoroutine(program):
        program.close()  # it will never be awaited
    if not callable(program) or (isfunction(program) and len(signature(program).parameters) != 2):
        raise no_program(image)

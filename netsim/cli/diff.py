"""``netsim diff``: what differs between clusters, and why."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netsim.base.errors import UsageError
from netsim.cli.options import FILE, NETWORKS, PROXY_MODES, output_option, strict_option

if TYPE_CHECKING:
    from netsim.cluster.diff import Comparison, Variant, Wanted


USAGE = "netsim diff -f BEFORE -f AFTER, or two variants of one cluster: --proxy-mode iptables,ipvs"


class Several(click.ParamType["tuple[str, ...]"]):
    """One or more of some words, with commas between them."""

    name = "words"

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words

    def convert(
        self, value: Any, parameter: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        found = tuple(value.split(",")) if isinstance(value, str) else tuple(value)
        for word in found:
            if word not in self._words:
                near = difflib.get_close_matches(word, self._words, n=1)
                meant = f" Did you mean {near[0]!r}?" if near else ""
                self.fail(f"{word!r} is not one of {', '.join(self._words)}.{meant}", parameter, ctx)
        if len(set(found)) < len(found):
            self.fail(f"{value!r} names one of them twice.", parameter, ctx)
        return found

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "|".join(self._words) + "[,…]"


@click.command()
@click.option(
    "--file", "-f", "files", metavar="FILE", multiple=True, type=FILE,
    help="A file or directory with a cluster; two of them are compared. With several --network or "
    "--proxy-mode, all of them are one cluster.",
)  # fmt: skip
@click.option(
    "--network", "networks", type=Several(NETWORKS), default=(),
    help="Compare the Pod networks named; a single one is that of all clusters.",
)  # fmt: skip
@click.option(
    "--proxy-mode", "proxy_modes", type=Several(PROXY_MODES), default=(),
    help="Compare the modes of kube-proxy named; a single one is that of all clusters.",
)  # fmt: skip
@click.option(
    "--client", "clients", metavar="PATTERN", multiple=True,
    help="Only from there: dev/jump, 'deploy/prod/*', node/node1, external/alice. Repeatable.",
)  # fmt: skip
@click.option(
    "--to", "destinations", metavar="PATTERN", multiple=True,
    help="Only to these Services (or hosts outside): prod/ent, prod/ent:8080, 'prod/*'. Repeatable.",
)  # fmt: skip
@click.option("--seed", type=int, metavar="N", help="Other names and random choices than the files'.")
@strict_option
@output_option
def diff(
    files: tuple[Path, ...],
    networks: tuple[str, ...],
    proxy_modes: tuple[str, ...],
    clients: tuple[str, ...],
    destinations: tuple[str, ...],
    seed: int | None,
    strict: bool,
    output: str,
) -> None:
    """Compare two clusters: whom does who reach, how, and what has a name.

    Every client (one Pod of each workload and node, each node, each host outside) dials every destination:
    each port of each Service by name and by each address, each node port at each node, Pods behind headless
    Services, hosts outside; also ping to a ClusterIP, and ports and addresses that no Service has. What
    comes out differently in the second cluster is told with the reasons of both: the result, who may be
    reached, the source that the server sees, tunnels, the name's answer and how many queries it cost. Pods
    are compared by their workload, addresses by what has them. The state compared is that at convergence:
    changes and faults of a Topology do not happen. Of more than two variants each is compared with the first.

    Exits 0 when nothing differs, 1 when something does, 2 when the input is wrong, as diff does.

    \b
    Examples:
      netsim diff -f before.yaml -f after.yaml
      netsim diff -f shop.yaml --proxy-mode iptables,ipvs
      netsim diff -f topology.yaml -f shop/ --network overlay,bgp --client 'deploy/prod/*'
      netsim diff -f before/ -f after/ --to prod/ent -o json
    """
    from netsim.cli.diff_report import document, render
    from netsim.cli.outcome import CHECK_FAILED, PASSED, print_json
    from netsim.cluster.diff import Wanted

    variants = _variants(files, networks, proxy_modes)
    comparisons = _compared(variants, Wanted(clients, destinations), seed, strict)
    if output == "json":
        print_json({"comparisons": [document(comparison) for comparison in comparisons]})
    else:
        print("\n".join(map(render, comparisons)), end="")
    sys.exit(PASSED if all(comparison.alike for comparison in comparisons) else CHECK_FAILED)


def _variants(
    files: Sequence[Path], networks: Sequence[str], proxy_modes: Sequence[str]
) -> Sequence[Variant]:
    """The clusters that the options name; UsageError unless they are two or more."""
    from netsim.cli.session import sources
    from netsim.cluster.diff import Variant

    if not files:
        raise UsageError("which clusters? No file was given", hint=USAGE)
    named = sources(files, "diff")
    lists = [words for words in (networks, proxy_modes) if len(words) > 1]
    if not lists:
        _refuse_other_than_two(files)
        network, proxy_mode = next(iter(networks), None), next(iter(proxy_modes), None)
        return [
            Variant(str(path), (source,), network, proxy_mode)
            for path, source in zip(files, named, strict=True)
        ]
    if len({len(words) for words in lists}) > 1:
        raise UsageError(
            f"{len(networks)} networks and {len(proxy_modes)} proxy modes do not go together",
            hint="name as many of both (the first with the first …), or one of one of them",
        )
    _refuse_several_of_each(files)
    rows = [row for row, _ in zip(_rows(networks, proxy_modes), lists[0], strict=False)]
    return [Variant(_title(row, lists, (networks, proxy_modes)), tuple(named), *row) for row in rows]


def _rows(networks: Sequence[str], proxy_modes: Sequence[str]) -> Iterator[tuple[str | None, str | None]]:
    """Network and proxy mode of each variant, again and again."""
    return zip(cycle(networks or (None,)), cycle(proxy_modes or (None,)), strict=False)


def _title(
    row: tuple[str | None, str | None], lists: Sequence[Sequence[str]], said: Sequence[Sequence[str]]
) -> str:
    """The words that tell a variant from the others."""
    return " ".join(word for word, words in zip(row, said, strict=True) if word and words in lists)


def _refuse_other_than_two(files: Sequence[Path]) -> None:
    if len(files) == 1:
        raise UsageError(f"{files[0]} is one cluster, and nothing to compare it with", hint=USAGE)
    if len(files) > 2:
        raise UsageError(
            f"{len(files)} clusters were named, and two are compared",
            hint="each -f is a cluster; put the files of one into a directory",
        )
    if files[0] == files[1]:
        raise UsageError(f"{files[0]} is compared with itself", hint=USAGE)


def _refuse_several_of_each(files: Sequence[Path]) -> None:
    from netsim.cli.session import runs

    groups = runs(files)
    if len(groups) > 1:
        raise UsageError(
            f"{groups[0][-1]} and {groups[1][-1]} are two clusters, and so are the variants of each",
            hint="compare the two under one mode and network (--proxy-mode ipvs), or variants of one of them",
        )


def _compared(
    variants: Sequence[Variant], wanted: Wanted, seed: int | None, strict: bool
) -> list[Comparison]:
    """Open all clusters, and ask; warnings go to stderr, each once."""
    from netsim.cli.outcome import warn
    from netsim.cli.progress import working
    from netsim.cluster.diff import compare, opened

    with ExitStack() as stack:
        with working("starting the clusters") as say:
            sides = []
            for variant in variants:
                say(f"starting {variant.title}")
                sides.append(stack.enter_context(opened(variant, seed=seed, strict=strict)))
        for problem in dict.fromkeys(problem for side in sides for problem in side.cluster.warnings):
            warn(problem)
        with working("comparing") as say:
            return compare(sides, wanted, say)

"""Options that several commands share, spelled as kubectl and tcpdump users type them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click
from click.shell_completion import CompletionItem

Function = TypeVar("Function", bound=Callable[..., Any])

NETWORKS = ("overlay", "bgp")
PROXY_MODES = ("iptables", "ipvs", "nftables")
PLANES = ("sim",)


class Overrides(NamedTuple):
    """What the command line says about the cluster instead of its files; None leaves it to them."""

    seed: int | None = None
    network: str | None = None
    proxy_mode: str | None = None
    strict: bool = False
    plane: str = PLANES[0]


def complete_pod(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from netsim.cli.completion import pods_declared

    return [CompletionItem(name) for name in pods_declared(ctx.params.get("files") or (), incomplete)]


def complete_namespace(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    from netsim.cli.completion import namespaces_declared

    return [CompletionItem(name) for name in namespaces_declared(ctx.params.get("files") or (), incomplete)]


def complete_node(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from netsim.cli.completion import nodes_declared

    return [CompletionItem(name) for name in nodes_declared(ctx.params.get("files") or (), incomplete)]


FILE = click.Path(path_type=Path, allow_dash=True)

file_option = click.option(
    "--file", "-f", "files", metavar="FILE", multiple=True, type=FILE,
    help="Manifests, with or without a Topology; a directory, or - for stdin. Repeatable.",
)  # fmt: skip
namespace_option = click.option(
    "--namespace", "-n", metavar="NS", default="default", shell_complete=complete_namespace,
    help="Where names without a namespace are.",
)  # fmt: skip
pod_argument = click.argument("pod", shell_complete=complete_pod)
output_option = click.option(
    "--output", "-o", type=click.Choice(["text", "json"]), default="text", help="Default: text."
)

strict_option = click.option(
    "--strict", is_flag=True, help="What netsim does not model is an error, not a warning."
)

_OVERRIDES = (
    click.option("--seed", type=int, metavar="N", help="Other names and random choices than the file's."),
    click.option(
        "--network",
        type=click.Choice(NETWORKS),
        help="The Pod network, instead of the file's: VXLAN, or routes learnt by BGP.",
    ),
    click.option(
        "--proxy-mode",
        type=click.Choice(PROXY_MODES),
        help="kube-proxy's mode, instead of the file's.",
    ),
    strict_option,
    click.option(
        "--plane",
        type=click.Choice(PLANES),
        default=PLANES[0],
        help="Where packets travel; there is only this one yet.",
    ),
)


def cluster_options(function: Function) -> Callable[..., Any]:
    """Add the options that change the cluster; the command gets them as one ``overrides`` value."""

    @functools.wraps(function)
    def gathered(**parameters: Any) -> Any:
        values = {name: parameters.pop(name) for name in Overrides._fields}
        return function(overrides=Overrides(**values), **parameters)

    for option in reversed(_OVERRIDES):
        option(gathered)
    return gathered


def file_arguments(function: Function) -> Callable[..., Any]:
    """Files as arguments; who is used to ``-f`` from the other commands may write that."""

    @functools.wraps(function)
    def gathered(files: tuple[Path, ...], named: tuple[Path, ...], **parameters: Any) -> Any:
        if not (files or named):
            raise click.UsageError("Missing argument 'FILE...'.", click.get_current_context())
        return function(files=(*files, *named), **parameters)

    click.option("--file", "-f", "named", multiple=True, type=FILE, hidden=True)(gathered)
    return click.argument("files", metavar="FILE...", nargs=-1, type=FILE)(gathered)

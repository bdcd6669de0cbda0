"""``netsim graph``: a picture of the cluster, for a terminal, a README or a slide."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from netsim.base.errors import UsageError
from netsim.cli.options import Overrides, cluster_options, complete_namespace, file_option

if TYPE_CHECKING:
    from netsim.cluster.graph import Drawing

FORMATS = ("text", "mermaid", "dot", "svg", "json")
SUFFIXES = {
    ".txt": "text", ".mmd": "mermaid", ".mermaid": "mermaid", ".dot": "dot", ".gv": "dot", ".svg": "svg",
    ".json": "json",
}  # fmt: skip
PICTURES = (".png", ".pdf", ".jpg", ".jpeg", ".gif", ".webp")
VIEWS = ("cluster", "network", "services")


@click.command()
@file_option
@click.option(
    "--format", "wanted", type=click.Choice(FORMATS), help="Default: OUT's suffix says it, or text."
)
@click.option(
    "--output", "-o", metavar="OUT", help="Write to this file; or a format, as on other commands: -o json."
)
@click.option("--view", type=click.Choice(VIEWS), default=VIEWS[0], help="What is drawn. Default: cluster.")
@click.option(
    "--namespace", "-n", "namespaces", metavar="NS", multiple=True, shell_complete=complete_namespace,
    help="Pods and Services of this namespace alone. Repeatable.",
)  # fmt: skip
@cluster_options
def graph(
    files: tuple[Path, ...],
    wanted: str | None,
    output: str | None,
    view: str,
    namespaces: tuple[str, ...],
    overrides: Overrides,
) -> None:
    """Draw the cluster: wires, nodes, Pods by workload, and Services with what is behind them.

    \b
    Views:
      cluster      everything
      network      the outside, routers, subnets, nodes and their Pods
      services     Services, and the Pods of each workload, whatever node they are on

    \b
    Formats:
      text         a tree, for a terminal or grep (plain ASCII where the terminal has no more)
      mermaid      a flowchart that GitHub and GitLab draw in Markdown
      dot          for graphviz: netsim graph -f shop.yaml --format dot | dot -Tpng -o shop.png
      svg          a finished picture, in light and dark, for a slide or a README
      json         what is drawn, for pictures of your own

    \b
    Examples:
      netsim graph -f shop.yaml
      netsim graph -f shop.yaml -o shop.svg
      netsim graph -f shop.yaml --format mermaid --view services -n prod
      netsim graph -f shop.yaml -n dev -n prod -o shop.dot
    """
    from netsim.cli.session import opened
    from netsim.cluster.graph import View, drawing_of, renderer
    from netsim.cluster.names import known_namespace

    path, chosen = _destination(wanted, output)
    with opened(files, overrides, "graph") as cluster:
        for namespace in namespaces:
            known_namespace(cluster.store, namespace)
        drawing = drawing_of(cluster, view=View(view), namespaces=namespaces)
    if path is not None:
        path.write_text(renderer(chosen)(drawing), encoding="utf-8")
        return
    picture = _tree(drawing) if chosen == "text" else renderer(chosen)(drawing)
    print(printable(picture, sys.stdout.encoding or "ascii"), end="")


def _tree(drawing: Drawing) -> str:
    """The text, in colours where stdout is a terminal that takes them."""
    from netsim.cli.outcome import mark
    from netsim.cluster.graph.text import render

    return render(drawing, lambda text, style: mark(text, style, stream=sys.stdout))


def _destination(wanted: str | None, output: str | None) -> tuple[Path | None, str]:
    """The file to write, None for stdout, and the format."""
    if output is None or output == "-":
        return None, wanted or FORMATS[0]
    if output in FORMATS and wanted in (None, output):
        return None, output
    path = Path(output)
    known = SUFFIXES.get(path.suffix.lower(), "" if path.suffix else FORMATS[0])
    if not (wanted or known):
        hint = f"it draws {', '.join(SUFFIXES)}; for another suffix say the format with --format"
        if path.suffix.lower() in PICTURES:
            hint = f"graphviz does: netsim graph … --format dot | dot -T{path.suffix[1:]} -o {path}"
        raise UsageError(f"netsim draws no {path.suffix}", hint=hint)
    return path, wanted or known


def printable(picture: str, encoding: str) -> str:
    """The picture with the characters that a stream of that encoding has."""
    from netsim.cluster.graph.text import ascii_text

    try:
        picture.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return ascii_text(picture)
    return picture

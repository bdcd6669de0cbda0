"""The root command and the one list of commands."""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import Any

import click

import netsim as package
from netsim.cli.outcome import reported

# Each is a module of netsim.cli that holds a click command of its own name. This is the order of --help.
COMMANDS = {
    "run": "Load files, check, and say what looks broken.",
    "trace": "Explain one connection, hop by hop.",
    "exec": "Run a command in a Pod.",
    "show": "Print a table, as kubectl, ip or conntrack do.",
    "diff": "Compare two clusters: who reaches what, and why not.",
    "graph": "Draw the cluster: a tree, Mermaid, dot or SVG.",
    "dns": "Serve the cluster's DNS to real clients.",
    "capture": "Record packets, or look at recorded ones.",
    "validate": "Report every mistake of the files, and run nothing.",
}


class LazyCommands(click.Group):
    """Imports a command's module when it is called: ``run`` does not pay for the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command = getattr(import_module(f"netsim.cli.{name}"), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        near = difflib.get_close_matches(args[0], COMMANDS, n=1)
        if args[0] not in COMMANDS and near:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        with reported():
            return super().invoke(ctx)


def _install_completion(ctx: click.Context, parameter: click.Parameter, asked: bool) -> None:
    if asked:
        from netsim.cli.completion import install

        with reported():
            click.echo(install(ctx.command))
        ctx.exit()


@click.group(cls=LazyCommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package.__version__, message="netsim %(version)s")
@click.option(
    "--install-completion",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_install_completion,
    help="Complete commands, files and Pods in your shell (bash, zsh, fish).",
)
def netsim() -> None:
    """A Kubernetes network in one process: manifests in, explained packets out.

    \b
    Examples:
      netsim run shop.yaml
      netsim trace -f shop.yaml dev/jump ent.prod:8080
      netsim exec -f shop.yaml dev/jump -- nslookup ent
      netsim show proxy -f shop.yaml --node node1
      netsim diff -f shop.yaml --proxy-mode iptables,ipvs
      netsim capture -f shop.yaml -w out.pcapng -- dev/jump curl http://ent.prod:8080

    \b
    Exit codes: 0 all is well, 1 a check failed or a traced connection did, or clusters differ, 2 the input
    is wrong, 124 a command would never end.
    """

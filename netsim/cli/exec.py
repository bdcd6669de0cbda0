"""``netsim exec``: a command in a Pod."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from netsim.cli.options import Overrides, cluster_options, file_option, namespace_option, pod_argument


@click.command()
@pod_argument
@click.argument("argv", metavar="-- COMMAND [ARG]...", nargs=-1, required=True)
@file_option
@namespace_option
@cluster_options
def exec(
    pod: str, argv: tuple[str, ...], files: tuple[Path, ...], namespace: str, overrides: Overrides
) -> None:
    """Run a command in a Pod, and exit as it does.

    POD is dev/jump, jump -n dev, or deploy/web (one of its Pods); node/node1 and external/NAME do too. What
    is piped in is the command's stdin. The commands are netsim's own: sh, nslookup, dig, getent, curl,
    wget, ping, traceroute, nc, telnet, ip, ps, env, cat and more. None of this machine's is run.

    A command that never ends is stopped after a virtual day, or when nothing can happen any more: exit 124.
    At a terminal, output comes a second at a time, so that you can follow it and stop it with Ctrl-C.

    \b
    Examples:
      netsim exec -f shop.yaml dev/jump -- nslookup ent
      netsim exec -f shop.yaml jump -n dev -- curl -v http://ent.prod:8080
      netsim exec -f shop.yaml deploy/enterprise -n prod -- ip addr
      echo 'nslookup ent && hostname' | netsim exec -f shop.yaml dev/jump -- sh
    """
    from netsim.cli.session import opened, run_in_pod

    with opened(files, overrides, "exec") as cluster:
        code = run_in_pod(cluster, pod, namespace, argv)
    sys.exit(code)

"""``netsim exec``: a command in a Pod."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from netsim.base.errors import UsageError
from netsim.cli.options import Overrides, cluster_options, file_option, namespace_option, pod_argument

if TYPE_CHECKING:
    from netsim.cluster import Cluster

NOT_FOUND = 127  # a shell's exit code for a command that is not there
SHOWN = {  # tools of a node that are tables here, by ``netsim show``
    "iptables": "iptables",
    "iptables-save": "iptables",
    "ip6tables": "ip6tables",
    "ip6tables-save": "ip6tables",
    "nft": "nftables",
    "ipvsadm": "ipvs",
    "ipset": "ipset",
    "conntrack": "conntrack",
    "bridge": "fdb",
    "birdc": "bgp",
    "kubectl": "pods",
}


@click.command()
@pod_argument
@click.argument("argv", metavar="-- COMMAND [ARG]...", nargs=-1, required=True)
@file_option
@namespace_option
@click.option("--container", "-c", metavar="NAME", help="A container of the Pod; they share its network.")
@click.option("--stdin", "-i", is_flag=True, help="As kubectl has it; what is piped in is read anyway.")
@click.option("--tty", "-t", is_flag=True, help="As kubectl has it, without effect.")
@cluster_options
def exec(
    pod: str,
    argv: tuple[str, ...],
    files: tuple[Path, ...],
    namespace: str,
    container: str | None,
    overrides: Overrides,
    **_kubectls: bool,
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
        if container is not None:
            _find_container(cluster, pod, namespace, container)
        code = run_in_pod(cluster, pod, namespace, argv)
    if code == NOT_FOUND:
        _list_commands(argv[0], pod)
    sys.exit(code)


def _find_container(cluster: Cluster, pod: str, namespace: str, wanted: str) -> None:
    """UsageError when the Pod has no such container; commands run in the first one, which may be another."""
    from netsim.cli.outcome import mark
    from netsim.cluster.names import find_pod

    names = [container.name for container in find_pod(cluster.store, pod, namespace).spec.containers]
    if wanted not in names:
        raise UsageError(f"container {wanted} is not valid for pod {pod}", hint=f"it has {', '.join(names)}")
    if wanted != names[0]:
        said = f"the command runs with the files and environment of the first container, {names[0]}"
        print(f"{mark('warning:', 'yellow')} {said}", file=sys.stderr)


def _list_commands(name: str, where: str) -> None:
    """After a command that is not there: the table that it would print, or which commands there are."""
    import textwrap

    from netsim.programs.tools import TOOLS

    if name in SHOWN:
        kind, _, node = where.partition("/")
        at = f" --node {node}" if kind == "node" and name != "kubectl" else ""
        print(f"  hint: netsim show {SHOWN[name]}{at} prints what it would", file=sys.stderr)
    elif name not in TOOLS:
        text = f"hint: netsim has these commands: {' '.join(sorted(TOOLS))}"
        print(textwrap.fill(text, 100, initial_indent="  ", subsequent_indent="  "), file=sys.stderr)

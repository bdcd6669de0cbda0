"""``netsim show``: tables of the cluster and of its nodes."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from netsim.base.errors import UsageError
from netsim.cli.options import Overrides, cluster_options, file_option

if TYPE_CHECKING:
    from netsim.cluster import Cluster
    from netsim.objects.meta import Object

PODS = "pods"
WORKLOADS = ("deployments", "replicasets", "replicationcontrollers", "statefulsets", "daemonsets", "jobs")
OBJECTS = (PODS, "services", "endpoints", "endpointslices", "nodes", *WORKLOADS)
NODE_TABLES = {  # and the command that prints each on a real node
    "routes": "ip route",
    "neighbours": "ip neigh",
    "addresses": "ip addr",
    "fdb": "bridge fdb",
    "proxy": "iptables-save",  # or, in IPVS mode, what PROXY_COMMANDS says
    "iptables": "iptables-save",
    "ipvs": "ipvsadm -Ln",
    "ipset": "ipset list",
    "conntrack": "conntrack -L",
    "bgp": "birdc show protocols; birdc show route",
}
PROXY_COMMANDS = {"ipvs": NODE_TABLES["ipvs"]}
TABLES = (*OBJECTS, "dns", *NODE_TABLES)
NAMES = {  # what kubectl users type
    "pod": "pods", "po": "pods",
    "service": "services", "svc": "services",
    "endpoint": "endpoints", "ep": "endpoints",
    "node": "nodes", "no": "nodes",
    "deployment": "deployments", "deploy": "deployments",
    "replicaset": "replicasets", "rs": "replicasets",
    "replicationcontroller": "replicationcontrollers", "rc": "replicationcontrollers",
    "statefulset": "statefulsets", "sts": "statefulsets",
    "daemonset": "daemonsets", "ds": "daemonsets", "job": "jobs",
    "endpointslice": "endpointslices",
    "neighbors": "neighbours", "neigh": "neighbours", "route": "routes",
}  # fmt: skip


def _table_named(ctx: click.Context, parameter: click.Parameter, name: str) -> str:
    """The table that a name or short name means; click explains a BadParameter."""
    found = NAMES.get(name, name)
    if found in TABLES:
        return found
    near = difflib.get_close_matches(name, (*TABLES, *NAMES), n=1)
    meant = f"did you mean {near[0]}?" if near else f"the tables are {', '.join(TABLES)}"
    raise click.BadParameter(f"there is no table {name!r}; {meant}")


def _complete_table(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in TABLES if name.startswith(incomplete)]


@click.command()
@click.argument("table", metavar="TABLE", callback=_table_named, shell_complete=_complete_table)
@click.argument("ran", metavar="[-- POD COMMAND [ARG]...]", nargs=-1)
@file_option
@click.option("--node", metavar="N", help="The tables, or the Pods, of this node (or of the router) alone.")
@click.option("--namespace", "-n", metavar="NS", help="Objects and names of this namespace.")
@click.option("--all-namespaces", "-A", is_flag=True, help="Objects of all namespaces.")
@click.option(
    "--output", "-o", type=click.Choice(["text", "wide", "json"]), default="text", help="Default: text."
)
@cluster_options
def show(
    table: str,
    ran: tuple[str, ...],
    files: tuple[Path, ...],
    node: str | None,
    namespace: str | None,
    all_namespaces: bool,
    output: str,
    overrides: Overrides,
) -> None:
    """Print a table in the format of the tool that people know.

    \b
    TABLE is one of:
      pods services endpoints endpointslices nodes deployments replicasets
      replicationcontrollers statefulsets daemonsets jobs
                   as kubectl get prints them
      dns          the names that cluster DNS answers, as a zone file
      routes       of each node, or of --node: ip route
      neighbours   ip neigh
      addresses    ip addr
      fdb          bridge fdb
      proxy        what kube-proxy set up: iptables-save, or ipvsadm -Ln in IPVS mode
      iptables ipvs ipset
                   iptables-save, ipvsadm -Ln, ipset list
      conntrack    conntrack -L
      bgp          birdc: the sessions and the routes of each BGP speaker

    What follows -- is run first, so that neighbours, fdb and conntrack have something to show.

    \b
    Examples:
      netsim show pods -f shop.yaml -A -o wide
      netsim show dns -f shop.yaml -n prod
      netsim show routes -f shop.yaml --node node1
      netsim show bgp -f shop.yaml --network bgp --node node1
      netsim show conntrack -f shop.yaml --node node1 -- dev/jump curl http://ent.prod:8080
      netsim show proxy -f shop.yaml --node node1 --proxy-mode ipvs -- dev/jump curl http://ent.prod:8080
    """
    from netsim.cli.session import opened

    if node is not None and table not in (PODS, *NODE_TABLES):
        raise UsageError(
            f"{table} are not a node's", hint=f"--node goes with {', '.join((PODS, *NODE_TABLES))}"
        )
    wanted = None if all_namespaces else namespace
    with opened(files, overrides, "show") as cluster:
        if table == "bgp" and cluster.speakers is None:
            hint = "give it one with --network bgp, or with podNetwork: bgp in the Topology"
            raise UsageError("nobody speaks BGP: the Pod network is an overlay", hint=hint)
        if ran:
            _run_first(cluster, ran, namespace or "default")
        if table in OBJECTS:
            space = wanted if all_namespaces else wanted or "default"
            _show_objects(cluster, table, space, output, node=node)
        elif table == "dns":
            _show_lines("", {"": _dns(cluster, wanted)}, output)
        else:
            command = NODE_TABLES[table]
            if table == "proxy":
                command = PROXY_COMMANDS.get(cluster.topology.networking.kube_proxy_mode, command)
            _show_lines(command, _node_tables(cluster, table, node), output)


def _run_first(cluster: Cluster, ran: Sequence[str], namespace: str) -> None:
    from netsim.cli.session import run_in_pod

    pod, *argv = ran
    if not argv:
        raise UsageError(f"no command for {pod} to run", hint=f"write -- {pod} COMMAND")
    run_in_pod(cluster, pod, namespace, argv, aside=True)


def _dns(cluster: Cluster, namespace: str | None) -> str:
    from netsim.cluster.dns_table import dns_records

    return dns_records(cluster, namespace)


def _node_tables(cluster: Cluster, table: str, node: str | None) -> dict[str, str]:
    """The table's text by node."""
    from netsim.cluster.network_tables import NETWORK_TABLES
    from netsim.cni.fabric import ROUTER

    if node:
        hosts = [cluster.host(ROUTER) if node == ROUTER else cluster.node(node)]
    else:
        hosts = [cluster.node(spec.name) for spec in cluster.topology.nodes]
        if table == "bgp" and cluster.speakers is not None and ROUTER in cluster.speakers.controls:
            hosts.append(cluster.host(ROUTER))
    return {handle.title: NETWORK_TABLES[table](cluster, handle.plan_name) for handle in hosts}


def _show_lines(command: str, texts: dict[str, str], output: str) -> None:
    """One text as it is; several, each under the command that would print it."""
    from netsim.cli.outcome import print_json

    if output == "json":
        listed = {where: text.splitlines() for where, text in texts.items()}
        print_json(listed.get("", listed))
        return
    for number, (where, text) in enumerate(texts.items()):
        if len(texts) > 1:
            print(f"{'' if number == 0 else chr(10)}# {where}: {command}")
        print(text, end="")


def _show_objects(
    cluster: Cluster, table: str, namespace: str | None, output: str, *, node: str | None
) -> None:
    from netsim.cli.outcome import print_json
    from netsim.cluster import tables
    from netsim.objects.codec import document_from_object
    from netsim.objects.core import Pod

    if node is not None:
        cluster.node(node)  # says so if there is none

    def here(item: Object) -> bool:
        return node is None or (isinstance(item, Pod) and item.spec.node_name == node)

    layout = tables.TABLES[table]
    if output == "json":
        found = cluster.store.list(layout.kind, namespace if layout.kind.namespaced else None)
        ordered = sorted(found, key=lambda item: (item.metadata.namespace, item.metadata.name))
        items = [document_from_object(item) for item in ordered if here(item)]
        print_json({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items})
        return
    wide = output == "wide"
    text = tables.render_table(layout, cluster.store, namespace, now=cluster.now, wide=wide, where=here)
    if text:
        print(text, end="")
    else:  # kubectl says so on stderr, and succeeds
        where = f" in {namespace} namespace" if namespace and layout.kind.namespaced else ""
        print(f"No resources found{where}.", file=sys.stderr)
        if where and any(here(item) for item in cluster.store.list(layout.kind)):
            print("  hint: other namespaces have some: -n NAMESPACE, or -A for all", file=sys.stderr)

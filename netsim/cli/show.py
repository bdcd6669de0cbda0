"""``netsim show``: tables of the cluster and of its nodes."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from netsim.base.errors import UsageError
from netsim.cli.options import Overrides, cluster_options, complete_namespace, complete_node, file_option
from netsim.objects.node_tables import MODES, NODE_TABLES, OTHER_NAMES, PROXY

if TYPE_CHECKING:
    from netsim.cluster import Cluster
    from netsim.objects.meta import Object

PODS = "pods"
WORKLOADS = ("deployments", "replicasets", "replicationcontrollers", "statefulsets", "daemonsets", "jobs")
OBJECTS = (
    PODS, "services", "endpoints", "endpointslices", "nodes", "namespaces", "configmaps", "secrets",
    *WORKLOADS
)  # fmt: skip
EVERYTHING = "all"
ALL = (  # what kubectl means by it, in its order
    PODS, "replicationcontrollers", "services", "daemonsets", "deployments", "replicasets", "statefulsets",
    "jobs",
)  # fmt: skip
DNS, EVENTS = "dns", "events"
TABLES = (*OBJECTS, EVENTS, DNS, *NODE_TABLES)
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
    "namespace": "namespaces", "ns": "namespaces", "configmap": "configmaps", "cm": "configmaps",
    "secret": "secrets",
    "event": EVENTS, "ev": EVENTS,
    **OTHER_NAMES,
}  # fmt: skip


OUTPUTS = ("text", "wide", "json", "yaml", "name")
RAN = "netsim.show.ran"
PAUSE = 1.0  # virtual seconds between a command's end and the look at the tables: connections close meanwhile
DEPRECATED = "Warning: v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"


class Asked(NamedTuple):
    """One table, and the names in it that were asked for; none means all."""

    table: str
    names: tuple[str, ...] = ()


class Listing(NamedTuple):
    """How objects are chosen and printed: the options of ``kubectl get``."""

    namespace: str | None
    node: str | None
    selector: str | None
    labels: bool
    output: str


class _WithCommand(click.Command):
    """Keeps what follows ``--`` apart: it is a command for a Pod."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            where = args.index("--")
            ctx.meta[RAN] = tuple(args[where + 1 :])
            args = args[:where]
        return super().parse_args(ctx, args)


def _asked(ctx: click.Context, parameter: click.Parameter, words: tuple[str, ...]) -> list[Asked]:
    """``pods``, ``pods,svc``, ``pods jump``, ``pod/jump`` or ``all``; click explains a BadParameter."""
    if not words:
        raise click.UsageError(f"name a table: {', '.join((*TABLES, EVERYTHING))}", ctx)
    first, *names = words
    if "/" in first:
        pairs = [word.partition("/") for word in words]
        return [Asked(_table_named(kind, OBJECTS), (name,)) for kind, _, name in pairs]
    if first == EVERYTHING:
        return [Asked(table) for table in ALL]
    several = first.split(",")
    if len(several) == 1 and not names:
        return [Asked(_table_named(first, TABLES))]
    return [Asked(_table_named(kind, OBJECTS), tuple(names)) for kind in several]


def _table_named(name: str, among: Sequence[str]) -> str:
    found = NAMES.get(name, name)
    if found in among:
        return found
    if found in TABLES:
        raise click.BadParameter(f"{found} is a table by itself, without names and other tables")
    near = difflib.get_close_matches(name, (*TABLES, *NAMES), n=1)
    meant = f"did you mean {near[0]}?" if near else f"the tables are {', '.join(TABLES)}"
    raise click.BadParameter(f"there is no table {name!r}; {meant}")


def _complete_table(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """A table; after one, the names that the files give to objects of that kind."""
    from netsim.cli.completion import objects_declared

    if asked := ctx.params.get("asked"):
        kind = asked[0].table.removesuffix("s")
        return [CompletionItem(n) for n in objects_declared(ctx.params.get("files") or (), kind, incomplete)]
    return [CompletionItem(name) for name in (*TABLES, EVERYTHING) if name.startswith(incomplete)]


@click.command(cls=_WithCommand)
@click.argument(
    "asked", metavar="TABLE [NAME...] [-- POD COMMAND [ARG]...]", nargs=-1, callback=_asked,
    shell_complete=_complete_table,
)  # fmt: skip
@file_option
@click.option(
    "--node", metavar="N", shell_complete=complete_node,
    help="The tables, or the Pods, of this node (or of the router) alone.",
)  # fmt: skip
@click.option(
    "--namespace", "-n", metavar="NS", shell_complete=complete_namespace,
    help="Objects and names of this namespace.",
)  # fmt: skip
@click.option("--all-namespaces", "-A", is_flag=True, help="Objects of all namespaces.")
@click.option(
    "--selector", "-l", metavar="LABELS", help="Objects with these labels: app=web,tier in (a,b),!old"
)
@click.option("--show-labels", is_flag=True, help="One more column, with the labels.")
@click.option("--for", "about", metavar="KIND/NAME", help="With events: those about this object.")
@click.option("--output", "-o", type=click.Choice(OUTPUTS), default="text", help="Default: text.")
@cluster_options
def show(
    asked: list[Asked],
    files: tuple[Path, ...],
    node: str | None,
    namespace: str | None,
    all_namespaces: bool,
    selector: str | None,
    show_labels: bool,
    about: str | None,
    output: str,
    overrides: Overrides,
) -> None:
    """Print a table in the format of the tool that people know.

    \b
    TABLE is one of:
      pods services endpoints endpointslices nodes namespaces configmaps secrets
      deployments replicasets replicationcontrollers statefulsets
      daemonsets jobs
                   as kubectl get prints them; also several (pods,svc),
                   and all
      events       what happened to objects, as kubectl events prints it
      dns          the names that cluster DNS answers, as a zone file
      routes routes6
                   of each node, or of --node: ip route, ip -6 route
      neighbours   ip neigh
      addresses    ip addr
      fdb          bridge fdb
      proxy        what kube-proxy set up, as its mode has it: one of these
      iptables ip6tables nftables ipvs ipset
                   iptables-save, ip6tables-save, nft list ruleset,
                   ipvsadm -Ln, ipset list
      iptables-counters ip6tables-counters ipvs-stats ipvs-connections
                   iptables-save -c, ip6tables-save -c, ipvsadm -Ln --stats,
                   ipvsadm -Lnc
      conntrack conntrack-stats
                   conntrack -L, conntrack -S
      bgp          birdc: the sessions and the routes of each BGP speaker

    NAME is that of an object: jump -n dev, or dev/jump. What follows -- is run first, so that neighbours, fdb
    and conntrack have something to show; the table is that of a second later.

    \b
    Examples:
      netsim show pods -f shop.yaml -A -o wide
      netsim show svc ent -f shop.yaml -n prod -o yaml
      netsim show pods -f shop.yaml -n prod -l app=enterprise --show-labels
      netsim show all -f shop.yaml -n prod
      netsim show events -f shop.yaml -n prod --for pod/web-0
      netsim show dns -f shop.yaml -n prod
      netsim show routes -f shop.yaml --node node1
      netsim show bgp -f shop.yaml --network bgp --node node1
      netsim show conntrack -f shop.yaml --node node1 -- dev/jump curl http://ent.prod:8080
      netsim show proxy -f shop.yaml --node node1 --proxy-mode ipvs -- dev/jump curl http://ent.prod:8080
    """
    from netsim.cli.session import opened
    from netsim.cluster.names import known_namespace
    from netsim.cluster.network_tables import node_tables

    table = asked[0].table
    _refuse_mixtures(table, node=node, selector=selector, about=about, output=output)
    with opened(files, overrides, "show") as cluster:
        if namespace is not None:
            known_namespace(cluster.store, namespace)
        if ran := click.get_current_context().meta.get(RAN):
            _run_first(cluster, ran, namespace or "default")
        if table in OBJECTS:
            space = None if all_namespaces else namespace or "default"
            _show_objects(cluster, asked, Listing(space, node, selector, show_labels, output))
        elif table == EVENTS:
            _show_events(cluster, about or "", None if all_namespaces else namespace or "default", output)
        elif table == DNS:
            _show_lines("", {"": _dns(cluster, None if all_namespaces else namespace)}, output)
        else:
            _show_lines(*node_tables(cluster, table, node), output)
            if note := _what_lacks(cluster, table):
                print(f"note: {note}", file=sys.stderr)


def _what_lacks(cluster: Cluster, table: str) -> str:
    """Why a table of kube-proxy's is empty in this cluster, or half of what it set up; empty when it is
    neither. The real tools say nothing of it."""
    mode, dual = cluster.topology.networking.kube_proxy_mode, len(cluster.proxiers) > 1
    if mode not in MODES.get(table, (mode,)):
        return (
            f"kube-proxy has nothing in {table}, as its mode is {mode}; the table proxy is what that has, "
            f"and --proxy-mode {MODES[table][0]} is another"
        )
    if table.startswith("ip6tables") and not dual:
        return "kube-proxy has nothing in ip6tables, as this cluster has IPv4 only"
    if table == PROXY and mode == "iptables" and dual:
        return "these are the rules for IPv4; those for IPv6 are the table ip6tables"
    return ""


def _refuse_mixtures(
    table: str, *, node: str | None, selector: str | None, about: str | None, output: str
) -> None:
    """UsageError for an option that means nothing to a table."""
    if node is not None and table not in (PODS, *NODE_TABLES):
        raise UsageError(
            f"{table} are not a node's", hint=f"--node goes with {', '.join((PODS, *NODE_TABLES))}"
        )
    if about is not None and table != EVENTS:
        raise UsageError(f"--for does not go with {table}", hint="it goes with events")
    if table in OBJECTS:
        return
    if selector is not None:
        raise UsageError(f"{table} has no labels", hint="-l goes with objects: pods, services, …")
    if output in ("yaml", "name") and table != EVENTS:
        raise UsageError(
            f"{table} is not an object", hint=f"-o {output} goes with pods, services, …; use -o json"
        )


def _show_events(cluster: Cluster, about: str, namespace: str | None, output: str) -> None:
    from netsim.cluster.events import render_events

    found = cluster.events(about, namespace)
    if output in ("json", "yaml"):
        _print_documents(found, output, alone=False)
    elif output == "name":
        _print_names(found)
    elif found:
        print(render_events(found, now=cluster.now, scoped=namespace is None), end="")
    else:
        where = f" in {namespace} namespace" if namespace is not None else ""
        print(f"No events found{where}.", file=sys.stderr)


def _run_first(cluster: Cluster, ran: Sequence[str], namespace: str) -> None:
    from netsim.cli.session import run_in_pod

    pod, *argv = ran
    if not argv:
        raise UsageError(f"no command for {pod} to run", hint=f"write -- {pod} COMMAND")
    run_in_pod(cluster, pod, namespace, argv, aside=True)
    cluster.advance(PAUSE)


def _dns(cluster: Cluster, namespace: str | None) -> str:
    from netsim.cluster.dns_table import dns_records

    return dns_records(cluster, namespace)


def _show_lines(command: str, texts: dict[str, str], output: str) -> None:
    """One text as it is; several, each under the command that would print it."""
    from netsim.cli.outcome import print_json
    from netsim.cluster.network_tables import joined

    if output == "json":
        listed = {where: text.splitlines() for where, text in texts.items()}
        print_json(listed.get("", listed))
        return
    print(joined(command, texts), end="")


def _show_objects(cluster: Cluster, asked: Sequence[Asked], listing: Listing) -> None:
    """Tables under each other, or documents in one list."""
    from netsim.cluster.listing import Wanted, listed
    from netsim.cluster.tables import TABLES as LAYOUTS
    from netsim.store.selectors import parse_selector

    if listing.node is not None:
        cluster.node(listing.node)  # says so if there is none
    selector = parse_selector(listing.selector) if listing.selector else None
    found = [
        (
            table,
            listed(
                cluster.store,
                Wanted(LAYOUTS[table].kind, names, listing.namespace, selector, listing.node),
            ),
        )
        for table, names in asked
    ]
    if any(table == "endpoints" for table, _ in asked):
        print(DEPRECATED, file=sys.stderr)
    if listing.output in ("json", "yaml"):
        alone = len(asked) == 1 and len(asked[0].names) == 1
        _print_documents([item for _, items in found for item in items], listing.output, alone=alone)
        return
    if listing.output == "name":
        _print_names([item for _, items in found for item in items])
    else:
        _print_tables(cluster, found, listing)
    if not any(items for _, items in found):
        _say_nothing_found(cluster, asked, listing)


def _print_documents(found: Sequence[Object], output: str, *, alone: bool) -> None:
    from netsim.cluster.listing import document_of

    document = document_of(found, alone=alone)
    if output == "yaml":
        from netsim.objects.yaml_text import yaml_from_document

        print(yaml_from_document(document), end="")
    else:
        import json

        print(json.dumps(document, indent=4, sort_keys=True, ensure_ascii=False))  # as kubectl does


def _print_names(found: Sequence[Object]) -> None:
    from netsim.cluster.listing import resource_name

    for item in found:
        print(f"{resource_name(type(item))}/{item.metadata.name}")


def _print_tables(cluster: Cluster, found: Sequence[tuple[str, Sequence[Object]]], listing: Listing) -> None:
    """Where several kinds are asked for, names have their kind before them and empty tables are left out."""
    from netsim.cluster.listing import resource_name
    from netsim.cluster.tables import TABLES as LAYOUTS
    from netsim.cluster.tables import render_table

    options: dict[str, Any] = {
        "now": cluster.now,
        "scoped": listing.namespace is None,
        "wide": listing.output == "wide",
        "labels": listing.labels,
    }
    texts = []
    for table, items in found:
        layout = LAYOUTS[table]
        prefix = f"{resource_name(layout.kind)}/" if len(found) > 1 else ""
        texts.append(render_table(layout, items, prefix=prefix, **options))
    print("\n".join(filter(None, texts)), end="")


def _say_nothing_found(cluster: Cluster, asked: Sequence[Asked], listing: Listing) -> None:
    """kubectl says so on stderr, and succeeds."""
    from netsim.cluster.tables import TABLES as LAYOUTS

    kinds = [LAYOUTS[table].kind for table, _ in asked]
    scoped = listing.namespace is not None and any(kind.namespaced for kind in kinds)
    print(f"No resources found{f' in {listing.namespace} namespace' if scoped else ''}.", file=sys.stderr)
    elsewhere = (item for kind in kinds for item in cluster.store.list(kind))
    if scoped and listing.node is None and listing.selector is None and any(True for _ in elsewhere):
        print("  hint: other namespaces have some: -n NAMESPACE, or -A for all", file=sys.stderr)

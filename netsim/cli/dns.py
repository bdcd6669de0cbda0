"""``netsim dns``: the cluster's DNS for real clients, and what a lookup in it costs."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import click

from netsim.cli.options import Overrides, cluster_options, file_option, output_option, pod_argument
from netsim.objects.topology import LIBCS

if TYPE_CHECKING:
    from netsim.cluster import Cluster
    from netsim.cluster.public_dns import PublicDns

DEFAULT_LIBCS = ("glibc", "musl", "go")
DEFAULT_LISTEN = "127.0.0.1:5300"
LOOK_EVERY = 1.0
"""Seconds between two looks at the files, with --watch."""
GARBAGE_EVERY = 50_000
"""Objects made until the garbage collector looks at them. An answer that is kept is many, and no garbage."""


@click.group()
def dns() -> None:
    """The cluster's DNS for real clients, and what a lookup in it costs.

    \b
    Examples:
      netsim dns serve -f shop.yaml
      dig @127.0.0.1 -p 5300 ent.prod.svc.cluster.local
      netsim dns cost -f shop.yaml dev/jump ent.prod www.example.com
    """


@dns.command()
@file_option
@click.option(
    "--listen", metavar="ADDRESS:PORT", default=DEFAULT_LISTEN, show_default=True,
    help="Where clients ask, over UDP and TCP; port 0 takes a free one.",
)  # fmt: skip
@click.option(
    "--pages", metavar="ADDRESS",
    help="Serve CoreDNS's /health, /ready and /metrics at this address too, at the Corefile's ports.",
)  # fmt: skip
@click.option("--watch", is_flag=True, help="Apply a file again when it changes, as kubectl apply does.")
@cluster_options
def serve(files: tuple[Path, ...], listen: str, pages: str | None, watch: bool, overrides: Overrides) -> None:
    """Answer real DNS queries as the cluster's CoreDNS does, until Ctrl-C.

    The cluster is started, and then stands still; names of its Services and Pods are answered, the
    Corefile's plugins act, and names outside come from the file's external hosts, or from a real upstream
    if the Corefile forwards to one.

    \b
    Examples:
      netsim dns serve -f shop.yaml
      dig @127.0.0.1 -p 5300 ent.prod.svc.cluster.local
      netsim dns serve -f shop.yaml --listen 127.0.0.1:0 --pages 127.0.0.1
      netsim dns serve -f shop/ --watch
    """
    from netsim.base.errors import UsageError
    from netsim.cli.session import opened

    address = _address(listen)
    if pages is not None:
        _ip(pages)
    if watch and "-" in map(str, files):
        raise UsageError("--watch cannot look at stdin", hint="name a file")
    with opened(files, overrides, "dns serve") as cluster:
        asyncio.run(_serve(cluster, address, pages, files if watch else ()))


def _address(text: str) -> tuple[str, int]:
    from netsim.base.errors import UsageError

    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"--listen {text}: not an address and a port", hint=f"write {DEFAULT_LISTEN}")
    return _ip(host.strip("[]")), int(port)


def _ip(text: str) -> str:
    from netsim.base.errors import UsageError

    try:
        return str(ip_address(text))
    except ValueError:
        hint = "write an address of this machine, as 127.0.0.1"
        raise UsageError(f"{text} is not an address", hint=hint) from None


async def _serve(
    cluster: Cluster, listen: tuple[str, int], pages: str | None, watched: Sequence[Path]
) -> None:
    from netsim.cluster.public_dns import PublicDns

    gc.set_threshold(GARBAGE_EVERY, *gc.get_threshold()[1:])
    service = PublicDns(cluster, listen, pages=pages)
    try:
        await _open(service, listen)
        for where in service.addresses:
            print(f"listening on {where}", flush=True)
        looking = asyncio.create_task(_watch(service, watched)) if watched else None
        try:
            await service.run()
        finally:
            if looking is not None:
                looking.cancel()
    finally:
        await service.close()


async def _open(service: PublicDns, listen: tuple[str, int]) -> None:
    from netsim.base.errors import UsageError

    try:
        await service.start()
    except OSError as error:
        reason = error.strerror or str(error)
        hint = "ports below 1024 need root; --listen 127.0.0.1:0 takes a free one"
        raise UsageError(f"cannot listen on {listen[0]} port {listen[1]}: {reason}", hint=hint) from error


async def _watch(service: PublicDns, files: Sequence[Path]) -> None:
    """Apply what has changed; a mistake is told of, and the cluster stays as it is."""
    from netsim.base.errors import NetsimError
    from netsim.cli.outcome import complain

    seen = _times(files)
    while True:
        await asyncio.sleep(LOOK_EVERY)
        now = _times(files)
        changed = [path for path, time in now.items() if seen.get(path) != time]
        seen = now
        if not changed:
            continue
        try:
            await service.apply(changed)
            print(f"applied {', '.join(map(str, changed))}", file=sys.stderr, flush=True)
        except NetsimError as error:
            complain(str(error))


def _times(files: Sequence[Path]) -> dict[Path, int]:
    """When each file was changed last; of a directory, each manifest in it."""
    found = (path for file in files for path in (sorted(file.glob("*.y*ml")) if file.is_dir() else (file,)))
    return {path: path.stat().st_mtime_ns for path in found if path.exists()}


@dns.command()
@file_option
@pod_argument
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option(
    "--libc", "wanted", multiple=True, type=click.Choice(LIBCS),
    help="Only this library; repeatable. Default: glibc, musl and go.",
)  # fmt: skip
@output_option
@cluster_options
def cost(
    files: tuple[Path, ...],
    pod: str,
    names: tuple[str, ...],
    wanted: tuple[str, ...],
    output: str,
    overrides: Overrides,
) -> None:
    """Count the queries that one lookup costs each C library, and what would change their number.

    Every figure is measured in a capture, from the Pod through kube-proxy to CoreDNS and back. A variant is
    set up for real: ndots:1 in the Pod, a cache on its node, autopath in the Corefile.

    \b
    Examples:
      netsim dns cost -f shop.yaml dev/jump ent.prod
      netsim dns cost -f shop.yaml dev/jump ent www.example.com --libc musl
      netsim dns cost -f shop.yaml dev/jump ent.prod -o json
    """
    from netsim.cli.dns_cost import document, render
    from netsim.cli.outcome import print_json
    from netsim.cli.session import finish, opened
    from netsim.cluster.dns_cost import measure
    from netsim.resolver.commands import Libc

    libcs = [Libc(name) for name in wanted or DEFAULT_LIBCS]
    with opened(files, overrides, "dns cost") as cluster:
        reports = finish(measure(cluster, pod, names, libcs))
    if output == "json":
        print_json([document(report) for report in reports])
    else:
        print("\n".join(render(report) for report in reports), end="")

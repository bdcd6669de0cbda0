"""``netsim capture``: record packets while a command runs, and look at recorded ones."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netsim.base.errors import UsageError, WireError
from netsim.capture.record import PacketRecord, packet_from_record
from netsim.cli.options import (
    Overrides,
    cluster_options,
    file_option,
    namespace_option,
    output_option,
    pod_argument,
)

if TYPE_CHECKING:
    from netsim.capture.pcapng import Capture
    from netsim.capture.render import Line
    from netsim.cluster.packets import Packets

STDOUT = Path("-")
AFTERMATH = 1.0  # virtual seconds in which connections that the command closed say goodbye


class RecordsByDefault(click.Group):
    """``netsim capture -f FILE …`` is ``netsim capture record -f FILE …``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            near = difflib.get_close_matches(args[0], self.commands, n=1)
            if near and not {"-f", "--file"}.intersection(args):
                ctx.fail(f"No such command {args[0]!r}. Did you mean {near[0]!r}?")
            args = ["record", *args]
        return super().parse_args(ctx, args)


@click.group(cls=RecordsByDefault)
def capture() -> None:
    """Record packets while a command runs in a Pod, or look at recorded ones.

    Without a command of its own, `netsim capture` records: `netsim capture record --help` says how.
    To keep the packets of a whole run with its checks, use `netsim run FILE --capture OUT.pcapng`.

    \b
    Examples:
      netsim capture -f shop.yaml -w out.pcapng -- dev/jump curl http://ent.prod:8080
      netsim capture -f shop.yaml --on node1/eth0 -- dev/jump nslookup ent
      netsim capture show out.pcapng --why
    """


@capture.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--packet", type=click.IntRange(min=1), metavar="N", help="Every field of packet N.")
@click.option("--filter", "where", metavar="EXPR", default="", help="Only some packets.")
@click.option("--why", is_flag=True, help="Below each packet, why it is there.")
@output_option
def show(file: Path, packet: int | None, where: str, why: bool, output: str) -> None:
    """List the packets of a pcapng file, or take one apart.

    EXPR is made of: arp icmp tcp udp dns http bgp vxlan ip ip6 icmp6 ndp, host ADDRESS, net CIDR,
    port NUMBER, interface NAME (an interface such as node1/eth0, or a host such as node1), packet N (the
    number behind # in the list: one packet at all of its hops, through NAT and tunnels); and, or, not and
    parentheses. ADDRESS may be a name that the capture has for one, such as dev/jump. It looks into VXLAN
    too.

    \b
    Examples:
      netsim capture show out.pcapng
      netsim capture show out.pcapng --why --filter 'dns and interface dev/jump'
      netsim capture show out.pcapng --packet 7
    """
    from netsim.capture.filter import parse_filter
    from netsim.capture.render import lines

    recorded = _read(file)
    if packet is not None:
        _show_packet(recorded, packet, file)
        return
    wanted = parse_filter(where, recorded.names)
    wanted.refuse_unknown_interfaces([packet.interface for packet in recorded.packets])
    listed = list(lines(recorded.packets, names=recorded.names, where=wanted))
    print_lines(listed, why=why, output=output)


def print_lines(listed: Sequence[Line], *, why: bool, output: str) -> None:
    """A list of packets on stdout."""
    from netsim.capture.render import render_list
    from netsim.cli.outcome import print_json

    if output == "json":
        print_json([_document(line) for line in listed])
    else:
        print(render_list(listed, reasons=why), end="")


def _document(line: Line) -> dict[str, Any]:
    return {**line._asdict(), "summary": line.summary._asdict()}


def _read(file: Path) -> Capture:
    from netsim.capture.pcapng import read_pcapng

    try:
        return read_pcapng(file)
    except WireError as error:
        raise UsageError(f"{file}: {error}") from error


def _show_packet(recorded: Capture, number: int, file: Path) -> None:
    from netsim.capture.render import detail, lines, render_list

    count = len(recorded.packets)
    if number > count:
        raise UsageError(f"{file} has {count} packets, and no packet {number}")
    listed = list(lines(recorded.packets, names=recorded.names))
    print(render_list(listed[number - 1 : number], reasons=True))
    print(detail(recorded.packets[number - 1].data), end="")


@capture.command()
@pod_argument
@click.argument("argv", metavar="COMMAND [ARG]...", nargs=-1, required=True)
@file_option
@click.option(
    "--on",
    "-i",
    "ports",
    metavar="WHERE",
    multiple=True,
    help="An interface (node1/eth0) or a host's eth0 (dev/jump). Repeatable; default: everywhere.",
)
@click.option(
    "--write",
    "-w",
    "target",
    metavar="OUT.pcapng",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Write the packets to this file (- for stdout), instead of listing them.",
)
@click.option("--filter", "where", metavar="EXPR", default="", help="Only some packets; see `show`.")
@click.option("--probes", is_flag=True, help="The kubelet's probes, too.")
@click.option("--why", is_flag=True, help="Below each packet, why it is there.")
@namespace_option
@output_option
@cluster_options
def record(
    pod: str,
    argv: tuple[str, ...],
    files: tuple[Path, ...],
    ports: tuple[str, ...],
    target: Path | None,
    namespace: str,
    overrides: Overrides,
    **listing: Any,
) -> None:
    """Record packets while a command runs in a Pod, and exit as the command does.

    Options stand before the dashes, a Pod and its command behind them. With -w the packets go to a pcapng
    file and the command's output to stdout; without, packets are listed on stdout and the command's output
    is on stderr. Ctrl-C ends the command and keeps the packets so far.

    \b
    Examples:
      netsim capture -f shop.yaml -w out.pcapng -- dev/jump curl http://ent.prod:8080
      netsim capture -f shop.yaml --on node1/eth0 --on node2/eth0 -- dev/jump nslookup ent
      netsim capture -f shop.yaml --why --filter dns -- dev/jump curl http://ent.prod:8080
      netsim capture -f shop.yaml -w - -- dev/jump nslookup ent | tshark -r -
    """
    from netsim.capture.filter import parse_filter
    from netsim.capture.render import lines
    from netsim.cli.outcome import INTERRUPTED
    from netsim.cli.session import opened, run_in_pod

    if target is not None:
        refuse_missing_directory(target)
    with opened(files, overrides, "capture") as cluster:
        where = parse_filter(listing["where"], cluster.names())
        for interface in where.interfaces:
            cluster.port(interface)  # says so if there is none
        with cluster.capture(*ports, probes=listing["probes"]) as packets:
            try:
                code = run_in_pod(cluster, pod, namespace, argv, aside=target in (None, STDOUT))
                cluster.advance(AFTERMATH)
            except KeyboardInterrupt:
                code = INTERRUPTED
        if target is not None:
            save(packets, target, lambda record: where.matches(packet_from_record(record)))
        else:
            seen = map(packet_from_record, packets.records)
            listed = list(lines(seen, names=cluster.names(), where=where))
            print_lines(listed, why=listing["why"], output=listing["output"])
    sys.exit(code)


def refuse_missing_directory(target: Path) -> None:
    """Say so before anything runs, when the capture has no place to go to."""
    if not target.parent.is_dir():
        raise UsageError(f"cannot write {target}: there is no directory {target.parent}")


def save(packets: Packets, target: Path, where: Callable[[PacketRecord], bool] | None = None) -> None:
    """Write a capture and the Wireshark profile beside it, and say so on stderr.

    What cannot be written raises UsageError; the profile is a convenience, and without it goes on.
    """
    try:
        if target == STDOUT:
            sys.stdout.flush()
            count = packets.save(sys.stdout.buffer, where=where)
            sys.stdout.buffer.flush()
            return
        count = packets.save(target, where=where)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error.strerror}") from error
    print(f"{count} packet{'' if count == 1 else 's'} in {target}", file=sys.stderr)
    if target.is_file():
        _save_profile(target)


def _save_profile(target: Path) -> None:
    from netsim.capture.profile import wireshark_command, write_profile
    from netsim.cli.outcome import mark

    try:
        config = write_profile(target)
    except OSError as error:
        print(
            f"{mark('warning:', 'yellow')} no Wireshark profile: {error.filename}: {error.strerror}",
            file=sys.stderr,
        )
    else:
        print(f"  {wireshark_command(target, config)}", file=sys.stderr)

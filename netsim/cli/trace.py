"""``netsim trace``: one connection, hop by hop."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netsim.cli.options import (
    Overrides,
    cluster_options,
    file_option,
    namespace_option,
    output_option,
    pod_argument,
)

if TYPE_CHECKING:
    from netsim.capture.journeys import Journey
    from netsim.cluster.trace import Trace


@click.command()
@pod_argument
@click.argument("target")
@file_option
@namespace_option
@click.option("--summary", is_flag=True, help="The dozen lines that matter, without the hops.")
@output_option
@cluster_options
def trace(
    pod: str,
    target: str,
    files: tuple[Path, ...],
    namespace: str,
    summary: bool,
    output: str,
    overrides: Overrides,
) -> None:
    """Explain one TCP connection: every question, choice, rewrite and hop, and the way back.

    POD is dev/jump, jump -n dev, or deploy/web (one of its Pods); node/node1 and external/NAME do too.
    TARGET is NAME:PORT or ADDRESS:PORT. Exits 0 when the connection was made, 1 when it was refused or timed
    out, or the name does not resolve, or the address cannot be reached.

    \b
    Examples:
      netsim trace -f shop.yaml dev/jump ent.prod:8080
      netsim trace -f shop.yaml dev/jump ent.prod:8080 --summary
      netsim trace -f shop.yaml jump -n dev 10.96.0.10:53
      netsim trace -f shop.yaml deploy/prod/enterprise example.com:80 -o json
    """
    from netsim.cli.outcome import CHECK_FAILED, PASSED, print_json
    from netsim.cli.session import finish, opened

    with opened(files, overrides, "trace") as cluster:
        walk = finish(cluster.find(pod, namespace).trace(target))
    if output == "json":
        print_json(_document(walk))
    elif summary:
        print("\n".join(walk.summary()))
    else:
        print(walk)
    sys.exit(PASSED if walk.connection.result == "ok" else CHECK_FAILED)


def _document(walk: Trace) -> dict[str, Any]:
    from netsim.wire.dns import TYPE_NAMES

    connection = walk.connection
    queries = connection.lookup.queries if connection.lookup is not None else ()
    return {
        "origin": walk.origin,
        "target": str(walk.target),
        "result": connection.result,
        "detail": connection.detail,
        "address": str(connection.address) if connection.address is not None else None,
        "queries": [
            {
                "time": query.sent_at,
                "name": query.name,
                "type": TYPE_NAMES.get(query.qtype, str(query.qtype)),
                "server": str(query.server),
                "outcome": query.outcome.value,
                "answers": [str(answer) for answer in query.answers],
            }
            for query in queries
        ],
        "packets": [_packet(journey, walk) for journey in walk.journeys],
    }


def _packet(journey: Journey, walk: Trace) -> dict[str, Any]:
    from netsim.capture.dissect import summarize

    return {
        "time": journey.first.time,
        "summary": summarize(journey.first.data, walk.names)._asdict(),
        "hops": [
            {
                "time": record.time,
                "interface": str(record.port),
                "direction": "out" if record.outbound else "in",
            }
            for record in journey.records
        ],
        "reasons": [
            {"where": note.where, "stage": note.cause.stage.value, "text": note.cause.text}
            for note in journey.notes
        ],
    }

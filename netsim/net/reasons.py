"""Why netfilter did to a packet what it did, in the words that captures and ``trace`` print.

``netfilter`` puts these into a packet's notes. Nothing here decides anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsim.base.address import render_ip
from netsim.base.cause import Cause, Stage
from netsim.net.conntrack import Flow
from netsim.net.tables import ServerChoice, Service

if TYPE_CHECKING:
    from netsim.net.ipvs import Choice

MARKED = Cause(Stage.NAT, "masquerade, as marked when the backend was chosen")
HAIRPIN = "hairpin: the endpoint is the client itself"
SERVER_GONE = Cause(
    Stage.SERVICE, "IPVS: the server of this connection is deleted: packet dropped, connection forgotten"
)
REUSED = Cause(
    Stage.SERVICE, "IPVS: a SYN over a connection that is no more: dropped, the next one begins anew"
)


def why_masquerade(source: bytes, service: Service, backend: ServerChoice | None) -> str:
    """Why what comes from there leaves with this host's address; ``backend`` None: not chosen yet."""
    if backend is not None and backend.address == source:
        return HAIRPIN
    if service.masquerade:
        return "whoever comes to this address, so that the reply comes back through this host"
    return "source is not a Pod address"


def choice_text(service: Service, backend: ServerChoice) -> str:
    """A choice at random, and among whom."""
    others = ", ".join(b.label for b in service.backends)
    count = len(service.backends)
    how = "the only endpoint" if count == 1 else f"picked at random among {count}: {others}"
    return f"{service.label} -> {backend.label}, {how}"


def scheduled_text(service: Service, choice: Choice) -> str:
    """A choice of a scheduler of IPVS, and its place in the list."""
    server, count = choice.connection.server, len(choice.servers)
    how = "the only endpoint"
    if count > 1:
        others = ", ".join(other.label for other in choice.servers)
        how = f"{_ordinal(choice.place)} of {count}: {others}"
    return f"{service.label} -> {server.label}, IPVS {choice.scheduler}: {how}"


def _ordinal(number: int) -> str:
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def translation(flow: Flow, destination: bool, reply: bool) -> Cause:
    """Why packets of this direction get another address on this side, as ``_rewrite`` gives it to them."""
    original, replies = flow.original, flow.reply
    asked = _end(original.destination, original.destination_port)
    server = _end(replies.source, replies.source_port)
    client = _end(original.source, original.source_port)
    shown = _end(replies.destination, replies.destination_port)
    if reply and destination:
        return Cause(Stage.NAT, f"reply to a masqueraded packet: destination {shown} -> {client}")
    if reply:
        return Cause(Stage.NAT, f"reply of a Service connection: source {server} -> {asked}")
    why = flow.why_destination if destination else flow.why_source
    change = f"DNAT {asked} -> {server}" if destination else f"SNAT {client} -> {shown}"
    return Cause(Stage.NAT, f"{change}: {why.text if why is not None else 'flow entry'}")


def _end(address: bytes, port: int) -> str:
    return f"{render_ip(address)}:{port}" if port else render_ip(address)

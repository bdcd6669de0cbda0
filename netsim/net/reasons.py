"""Why netfilter did to a packet what it did, in the words that captures and ``trace`` print.

``netfilter`` puts these into a packet's notes. Nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netsim.base.address import render_endpoint, render_ip
from netsim.base.cause import Cause, Stage
from netsim.net.conntrack import Flow
from netsim.net.tables import ServerChoice, Service
from netsim.plan.entries import Action

if TYPE_CHECKING:
    from netsim.net.ipvs import Choice

MARKED = Cause(Stage.NAT, "masquerade, as marked when the backend was chosen")
HAIRPIN = "hairpin: the endpoint is the client itself"
OUTSIDE_RANGES = "the source is in none of loadBalancerSourceRanges: DROP"
TABLE_FULL = Cause(
    Stage.FILTER, "nf_conntrack: table full, dropping packet: every entry is of a connection in use"
)
REUSED = Cause(
    Stage.SERVICE, "IPVS: a SYN over a connection that is no more: dropped, the next one begins anew"
)


def no_backend_text(service: Service) -> str:
    """Why there is nobody to send a flow to, and what becomes of it; ``Reach.OWN`` is what drops."""
    if service.refusal is Action.REJECT:
        return service.cause.text
    return f"{service.name.removeprefix('svc ')} has no local endpoints: DROP"


def no_server_text(service: Service) -> str:
    """Why IPVS has no real server for a new connection, and what becomes of it."""
    if service.owns and not service.backends:
        name = service.name.removeprefix("svc ")
        return f"{name} has no endpoints on this node: IPVS has no real server, ICMP port unreachable"
    return service.cause.text


def choice_text(
    service: Service, backends: Sequence[ServerChoice], backend: ServerChoice, *, known: bool
) -> str:
    """A choice at random, and among whom; or the one that the client had before (``known``)."""
    others = ", ".join(b.label for b in backends)
    count = len(backends)
    how = "the only endpoint" if count == 1 else f"picked at random among {count}: {others}"
    if known:
        how = f"as before: session affinity of the client, among {count}"
    return f"{service.label} -> {backend.label}, {how}"


def scheduled_text(service: Service, choice: Choice) -> str:
    """A choice of a scheduler of IPVS, and its place in the list."""
    server, count = choice.connection.server, len(choice.servers)
    how = "the only endpoint"
    if choice.persistent:
        how = f"as before: persistence of the client, among {count}"
    elif count > 1:
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
    return render_endpoint(address, port) if port else render_ip(address)

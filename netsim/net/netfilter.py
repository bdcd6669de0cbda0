"""The five hooks of one host: connection tracking, virtual servers, NAT and filtering, in Linux's order.

``Stack`` calls one method per hook; each returns a ``Verdict`` and has rewritten the packet by then. Rules
and virtual servers come from the plan through ``Tables``; what happened to a packet is written into its
notes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

from netsim.base.address import render_ip
from netsim.base.cause import Cause, Note, Stage
from netsim.base.rng import Rng
from netsim.net.conntrack import Conntrack, Flow, Tuple, tuple_from_packet
from netsim.net.device import LOOPBACK
from netsim.net.packet import Packet
from netsim.net.tables import ANY_OWN, LOOPBACK_NET, Filter, ServerChoice, Service, Tables, rule_order
from netsim.plan.entries import Action, Hook
from netsim.wire import icmp, ipv4

MARKED = Cause(Stage.NAT, "masquerade, as marked when the backend was chosen")


class Verdict(Enum):
    """What the hook decided."""

    ACCEPT = "accept"
    DROP = "drop"
    REJECT = "reject"  # the caller answers with ICMP port unreachable


class Addresses(NamedTuple):
    """What the hooks ask of the host: the address that packets leave an interface with, and whether an
    address stands on an interface of its own."""

    leaving_by: Callable[[str], bytes | None]
    is_own: Callable[[bytes], bool]


class Netfilter:
    """Hooks over one host's own tables and those of its groups."""

    def __init__(self, title: str, tables: Sequence[Tables], rng: Rng, addresses: Addresses) -> None:
        self.conntrack = Conntrack(rng.derive("conntrack"))
        self._title = title
        self._tables = tables
        self._rng = rng.derive("services")
        self._addresses = addresses
        self._version = -1
        self._active = False
        self._on_input: Sequence[Filter] = ()
        self._on_forward: Sequence[Filter] = ()
        self._on_output: Sequence[Filter] = ()
        self._on_postrouting: Sequence[Filter] = ()

    @property
    def active(self) -> bool:
        """Whether this host has any rule or virtual server; without one it tracks nothing.

        To be asked for each packet before the first hook: here changed tables are noticed.
        """
        version = 0
        for tables in self._tables:
            version += tables.version
        if version != self._version:
            self._version = version
            self._active = any(tables.filters for tables in self._tables)
            self._on_input = self._merged(Hook.INPUT)
            self._on_forward = self._merged(Hook.FORWARD)
            self._on_output = self._merged(Hook.OUTPUT)
            self._on_postrouting = self._merged(Hook.POSTROUTING)
        return self._active

    def _merged(self, hook: Hook) -> list[Filter]:
        """The hook's rules of all tables in their one order; the host's own before a group's of the same."""
        return sorted((r for tables in self._tables for r in tables.rules.get(hook, ())), key=rule_order)

    # --- the hooks -----------------------------------------------------------------------------------

    def prerouting(self, packet: Packet, now: float) -> Verdict:
        """Track, choose a backend for a new flow, and rewrite the destination.

        What comes around through ``lo`` was tracked and translated on its way out, and that counts
        (nf_conntrack_in: "Previously seen (loopback or untracked)? Ignore").
        """
        if packet.device == LOOPBACK:
            return Verdict.ACCEPT
        self._track(packet, now)
        self._choose(packet)
        self._rewrite(packet, destination=True)
        return Verdict.ACCEPT

    def output(self, packet: Packet, now: float) -> Verdict:
        """As prerouting, for a packet of this host's own; then its filter rules."""
        self.prerouting(packet, now)
        return self._filter(packet, self._on_output, "")

    def forward(self, packet: Packet, out_device: str) -> Verdict:
        return self._filter(packet, self._on_forward, out_device)

    def input(self, packet: Packet, now: float) -> Verdict:
        verdict = self._filter(packet, self._on_input, "")
        if verdict is Verdict.ACCEPT:
            self._rewrite(packet, destination=False)
            return self._confirm(packet, now)
        return verdict

    def postrouting(self, packet: Packet, out_device: str, now: float) -> Verdict:
        """Masquerade a new flow where a rule says so, rewrite the source, and confirm the flow."""
        flow = packet.flow
        if flow is not None and not flow.confirmed and not packet.reply:
            self._masquerade(packet, flow, out_device, now)
        self._rewrite(packet, destination=False)
        return self._confirm(packet, now)

    # --- connection tracking -------------------------------------------------------------------------

    def _track(self, packet: Packet, now: float) -> None:
        if packet.flow is not None:
            return
        key = tuple_from_packet(packet.data)
        if key is None:
            self._track_error(packet, now)
            return
        found = self.conntrack.track(key, _tcp_flags(packet), now)
        if found is not None:
            packet.flow, packet.reply = found

    def _track_error(self, packet: Packet, now: float) -> None:
        """An ICMP error belongs to the flow of the packet that it quotes (RELATED)."""
        quoted = _quoted(packet)
        inner = tuple_from_packet(quoted) if quoted is not None else None
        found = self.conntrack.find(inner.inverse(), now) if inner is not None else None
        if found is not None:
            packet.flow, packet.reply = found
            packet.related = True

    def _confirm(self, packet: Packet, now: float) -> Verdict:
        flow = packet.flow
        if flow is None or flow.confirmed or packet.reply:
            return Verdict.ACCEPT
        unique = self.conntrack.free_source(flow.reply, now, fully_random=False)
        if unique != flow.reply:
            flow.reply = unique
            flow.translations.clear()
            flow.why_source = Cause(Stage.NAT, "another flow uses the same reply tuple: new source port")
            self._rewrite(packet, destination=False)
        if self.conntrack.confirm(flow, now):
            return Verdict.ACCEPT
        self._note(packet, Cause(Stage.NAT, "conntrack insert failed: the same tuple was entered meanwhile"))
        return Verdict.DROP

    # --- virtual servers -----------------------------------------------------------------------------

    def _service(self, key: Tuple) -> Service | None:
        """The virtual server at the packet's destination, or at the port of the host's own address."""
        address = key.destination
        service = self._look_up(key.protocol, address, key.destination_port)
        if service is None and self._addresses.is_own(address):
            service = self._look_up(key.protocol, ANY_OWN, key.destination_port)
            if service is not None and address[0] == LOOPBACK_NET and not service.loopback:
                return None
        return service

    def _look_up(self, protocol: int, address: bytes, port: int) -> Service | None:
        for tables in self._tables:
            service = tables.service((protocol, address, port))
            if service is not None:
                return service
        return None

    def _choose(self, packet: Packet) -> None:
        flow = packet.flow
        if flow is None or flow.confirmed or packet.reply:
            return
        service = self._service(flow.original)
        if service is None or not service.backends:
            return
        backend = service.backends[self._rng.below(len(service.backends))]
        packet.marked = _leaves_masqueraded(flow.original.source, service, backend)
        flow.reply = Tuple(
            flow.original.protocol,
            backend.address,
            backend.port,
            flow.original.source,
            flow.original.source_port,
        )
        flow.why_destination = Cause(Stage.SERVICE, _choice_text(service, backend))
        if packet.marked:
            why = _why_masquerade(flow.original.source, service, backend)
            self._note(packet, Cause(Stage.SERVICE, f"marked for masquerade: {why}"))

    # --- rules ---------------------------------------------------------------------------------------

    def _filter(self, packet: Packet, rules: Sequence[Filter], out_device: str) -> Verdict:
        flow = packet.flow
        if flow is not None and not flow.confirmed and not packet.reply:
            service = self._service(flow.original)
            if service is not None and not service.backends:
                self._note(packet, Cause(Stage.SERVICE, service.cause.text))
                return Verdict.REJECT
        rule = _first(rules, packet, out_device)
        if rule is None or rule.action is Action.ACCEPT:
            return Verdict.ACCEPT
        self._note(packet, rule.cause)
        return Verdict.REJECT if rule.action is Action.REJECT else Verdict.DROP

    def _masquerade(self, packet: Packet, flow: Flow, out_device: str, now: float) -> None:
        cause = MARKED
        if not packet.marked:
            rule = _first(self._on_postrouting, packet, out_device)
            if rule is None or rule.action is not Action.MASQUERADE:
                return
            cause = rule.cause
        address = self._addresses.leaving_by(out_device)
        if address is None:
            return
        flow.reply = self.conntrack.free_source(
            flow.reply._replace(destination=address), now, fully_random=True
        )
        flow.why_source = cause

    # --- rewriting -----------------------------------------------------------------------------------

    def _rewrite(self, packet: Packet, *, destination: bool) -> None:
        """Give the packet the address and port that its flow wants for one side of it."""
        flow = packet.flow
        if flow is None or not _translates(flow, destination=destination is not packet.reply):
            return
        wanted = flow.translated(reply=packet.reply)
        before = packet.data
        if packet.related:
            self._rewrite_error(packet, wanted, destination=destination)
            return
        if destination:
            port = wanted.destination_port or None
            packet.data = ipv4.rewrite(before, destination=wanted.destination, destination_port=port)
        else:
            port = wanted.source_port or None
            packet.data = ipv4.rewrite(before, source=wanted.source, source_port=port)
        if packet.data != before:
            side = (destination, packet.reply)
            cause = flow.translations.get(side)
            if cause is None:
                cause = flow.translations[side] = _translation(flow, *side)
            self._note(packet, cause)

    def _rewrite_error(self, packet: Packet, wanted: Tuple, *, destination: bool) -> None:
        """Translate an ICMP error: its own header, and the packet it quotes, which went the other way."""
        before = packet.data
        if destination:
            data = ipv4.rewrite(before, destination=wanted.destination)
            packet.data = ipv4.rewrite_quoted(
                data, source=wanted.destination, source_port=wanted.destination_port or None
            )
        else:
            data = ipv4.rewrite(before, source=wanted.source)
            packet.data = ipv4.rewrite_quoted(
                data, destination=wanted.source, destination_port=wanted.source_port or None
            )
        if packet.data != before:
            self._note(packet, Cause(Stage.NAT, "ICMP error about a translated packet: translated back"))

    def _note(self, packet: Packet, cause: Cause) -> None:
        packet.notes += (Note(self._title, cause),)


def _translates(flow: Flow, *, destination: bool) -> bool:
    """Whether the flow has a destination NAT, or a source NAT."""
    original, reply = flow.original, flow.reply
    if destination:
        return (reply.source, reply.source_port) != (original.destination, original.destination_port)
    return (reply.destination, reply.destination_port) != (original.source, original.source_port)


def _leaves_masqueraded(source: bytes, service: Service, backend: ServerChoice) -> bool:
    if service.masquerade or backend.address == source:
        return True
    if service.local_sources is None:
        return False
    network, mask = service.local_sources
    return int.from_bytes(source, "big") & mask != network


def _why_masquerade(source: bytes, service: Service, backend: ServerChoice) -> str:
    if backend.address == source:
        return "hairpin: the endpoint is the client itself"
    if service.masquerade:
        return "whoever comes to this address, so that the reply comes back through this host"
    return "source is not a Pod address"


def _choice_text(service: Service, backend: ServerChoice) -> str:
    others = ", ".join(b.label for b in service.backends)
    count = len(service.backends)
    how = "the only endpoint" if count == 1 else f"picked at random among {count}: {others}"
    return f"{service.label} -> {backend.label}, {how}"


def _translation(flow: Flow, destination: bool, reply: bool) -> Cause:
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


def _first(rules: Sequence[Filter], packet: Packet, out_device: str) -> Filter | None:
    for rule in rules:
        if _matches(rule, packet, out_device):
            return rule
    return None


def _matches(rule: Filter, packet: Packet, out_device: str) -> bool:
    if rule.protocol is not None and rule.protocol != packet.protocol:
        return False
    if rule.out_device is not None and rule.out_device != out_device:
        return False
    if rule.in_device is not None and rule.in_device != packet.device:
        return False
    if rule.destination_port is not None:
        key = tuple_from_packet(packet.data)
        if key is None or key.destination_port != rule.destination_port:
            return False
    source = int.from_bytes(packet.source, "big")
    destination = int.from_bytes(packet.destination, "big")
    return all((source & mask == network) is wanted for network, mask, wanted in rule.sources) and all(
        (destination & mask == network) is wanted for network, mask, wanted in rule.destinations
    )


def _tcp_flags(packet: Packet) -> int:
    start = packet.header_length + 13
    return packet.data[start] if packet.protocol == ipv4.TCP and len(packet.data) > start else 0


def _quoted(packet: Packet) -> bytes | None:
    """The packet inside an ICMP error, or None for anything else."""
    start = packet.header_length
    if packet.protocol != ipv4.ICMP or len(packet.data) < start + 28:
        return None
    if packet.data[start] not in (icmp.UNREACHABLE, icmp.TIME_EXCEEDED):
        return None
    if not 0x45 <= packet.data[start + 8] <= 0x4F:  # version 4, a header of 20 to 60 bytes
        return None
    return packet.data[start + 8 :]

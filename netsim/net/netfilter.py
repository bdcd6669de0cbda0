"""The five hooks of one host: connection tracking, virtual servers, NAT and filtering, in Linux's order.

``Stack`` calls one method per hook; each returns a ``Verdict`` and has rewritten the packet by then. Rules
and virtual servers come from the plan through ``Tables``; what happened to a packet stands in its notes.

IPVS stands where it does in Linux (ip_vs_core.c, ip_vs_ops): at LOCAL_IN behind the filter rules, for what
comes to an address of this host, and at LOCAL_OUT before them. kube-proxy's marks are set earlier, as in the
nat table's chain KUBE-SERVICES.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING

from netsim.base.cause import Cause, Note, Stage
from netsim.base.rng import Rng
from netsim.base.rule_counts import RuleCounts
from netsim.net.conntrack import LIMIT, Conntrack, Flow
from netsim.net.conntrack_tuple import Tuple, tuple_from_packet
from netsim.net.device import LOOPBACK
from netsim.net.matching import matches
from netsim.net.packet import Packet
from netsim.net.reasons import (
    HAIRPIN,
    MARKED,
    OUTSIDE_RANGES,
    REUSED,
    TABLE_FULL,
    choice_text,
    no_server_text,
    scheduled_text,
    translation,
)
from netsim.net.rule_counters import Passed, RuleCounters
from netsim.net.services import Addresses, Services, why_hairpin
from netsim.net.tables import Filter, Service, Tables, rule_order
from netsim.plan.entries import Action, Hook, Schedule
from netsim.wire import ipv4, ipv6
from netsim.wire.tcp import SYN

if TYPE_CHECKING:
    from netsim.net.ipvs import ConnectionRow, Ipvs, ServiceRow

RACE = Cause(
    Stage.FAULT,
    "lost to the conntrack race: another packet of this socket was confirmed at the same instant, and "
    "__nf_conntrack_confirm drops this one (insert_failed; kubernetes issue 56903)",
)
INPUT, FORWARD, OUTPUT = Hook.INPUT.value, Hook.FORWARD.value, Hook.OUTPUT.value
CONNTRACK_MAX = "nf_conntrack_max"
"""The ``Sysctl`` entry with the number of flows that fit; ``conntrack.LIMIT`` without one."""
RACE_SWITCH = "nf_conntrack_race"
"""The ``Sysctl`` entry with which two packets that begin one UDP flow at one instant do so on two processors.

A kernel has no such parameter: this stands for the age of one that cannot resolve the clash once a Service
has given both a destination (Linux before ed07d9a021df, "resolve clash for matching conntracks", 5.0, and for
two different destinations before 6a757c07e51f, "allow insertion of clashing entries").
"""


class Verdict(Enum):
    """What the hook decided."""

    ACCEPT = "accept"
    DROP = "drop"
    REJECT = "reject"  # the caller answers with ICMP port unreachable
    RESEND = "resend"  # IPVS has given it to another host: the caller routes it there, through ``resend``


class Netfilter:
    """Hooks over one host's own tables and those of its groups."""

    def __init__(self, title: str, tables: Sequence[Tables], rng: Rng, addresses: Addresses) -> None:
        self.conntrack = Conntrack(rng.derive("conntrack"))
        self._ipvs: Ipvs | None = None
        self._title = title
        self._tables = tables
        self._rng = rng.derive("services")
        self._addresses = addresses
        self._services = Services(tables, addresses)
        self._counters = RuleCounters(addresses.is_local)
        self.lost: list[Packet] = []
        """Packets that ended here and nobody was told, for the plane to tell of and to clear."""
        self._version = -1
        self._changed = False  # since IPVS last looked
        self._active = False
        self._races = False
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
            self._notice(version)
        return self._active

    def _notice(self, version: int) -> None:
        self._version, self._changed = version, True
        self._active = any(tables.filters for tables in self._tables)
        self._services.tables_changed()
        self._races = any(tables.sysctls.get(RACE_SWITCH) for tables in self._tables)
        limits = (tables.sysctls.get(CONNTRACK_MAX) for tables in self._tables)
        self.conntrack.limit = next((limit for limit in limits if limit is not None), LIMIT)
        self._on_input = self._merged(Hook.INPUT)
        self._on_forward = self._merged(Hook.FORWARD)
        self._on_output = self._merged(Hook.OUTPUT)
        self._on_postrouting = self._merged(Hook.POSTROUTING)

    def addresses_changed(self) -> None:
        """The host has other addresses of its own."""
        self._services.addresses_changed()

    def _merged(self, hook: Hook) -> list[Filter]:
        """The hook's rules of all tables in their one order; the host's own before a group's of the same."""
        return sorted((r for tables in self._tables for r in tables.rules.get(hook, ())), key=rule_order)

    # --- the hooks -----------------------------------------------------------------------------------

    def prerouting(self, packet: Packet, now: float) -> Verdict:
        """Track, choose a backend for a new flow, and rewrite the destination; where IPVS has the choice,
        mark what is to be masqueraded. DROP where the table has no room for a new flow.

        What comes around through ``lo`` was tracked and translated on its way out, and that counts
        (nf_conntrack_in: "Previously seen (loopback or untracked)? Ignore").
        """
        if packet.device == LOOPBACK:
            return Verdict.ACCEPT
        if self._ipvs is not None and (self._changed or self._ipvs.has_expired(now)):
            self._expire(self._ipvs, now)
        if not self._track(packet, now):
            return Verdict.DROP
        self._choose(packet, now)
        if packet.reply or packet.flow is None or packet.flow.connection is None:
            self._rewrite(packet, destination=True)
        return Verdict.ACCEPT

    def output(self, packet: Packet, now: float) -> Verdict:
        """As prerouting, for a packet of this host's own; then IPVS, and the filter rules."""
        if self.prerouting(packet, now) is Verdict.DROP:
            return Verdict.DROP
        verdict = self._schedule(packet, now)
        if verdict in (Verdict.DROP, Verdict.REJECT):
            return verdict
        self._passes(OUTPUT, packet)
        return self._filter(packet, self._on_output, "")

    def forward(self, packet: Packet, out_device: str) -> Verdict:
        self._passes(FORWARD, packet)
        return self._filter(packet, self._on_forward, out_device)

    def input(self, packet: Packet, now: float) -> Verdict:
        self._comes(packet, now)
        verdict = self._filter(packet, self._on_input, "")
        if verdict is Verdict.ACCEPT:
            verdict = self._schedule(packet, now)
        if verdict is Verdict.RESEND and self._addresses.is_local(packet.destination):
            verdict = Verdict.ACCEPT
        if verdict is Verdict.ACCEPT:
            self._leave(packet, Passed.DELIVERED)
            self._rewrite(packet, destination=False)
            return self._confirm(packet, now)
        return verdict

    def resend(self, packet: Packet, out_device: str) -> Verdict:
        """LOCAL_OUT for what IPVS sends to a real server (ip_vs_nat_send_or_cont); FORWARD is not asked."""
        self._passes(OUTPUT, packet)
        return self._filter(packet, self._on_output, out_device)

    def postrouting(self, packet: Packet, out_device: str, now: float) -> Verdict:
        """Masquerade a new flow where a rule says so, rewrite the source, and confirm the flow."""
        flow = packet.flow
        if flow is not None and not flow.confirmed and not packet.reply:
            looped = flow.connection is not None and self._loops(flow)
            left = Passed.LOOPED if looped else Passed.MARKED if packet.marked else Passed.UNMARKED
            self._leave(packet, left)
            self._masquerade(packet, flow, out_device, now)
        self._rewrite(packet, destination=False)
        return self._confirm(packet, now)

    # --- counting ------------------------------------------------------------------------------------

    def rule_counts(self, family: int) -> RuleCounts:
        """How often the tables were asked, and for what."""
        return self._counters.read(family, self._services.at)

    def _leave(self, packet: Packet, passed: Passed) -> None:
        flow = packet.flow
        if flow is not None and not flow.confirmed and not packet.reply and not packet.related:
            self._counters.nat.leave(passed, len(flow.original.source), len(packet.data))

    def _passes(self, chain: str, packet: Packet) -> None:
        """FORWARD or OUTPUT. A dead node port of the host's own is refused in INPUT, where its packet comes
        through ``lo``: KUBE-EXTERNAL-SERVICES is not asked in OUTPUT."""
        flow = packet.flow
        if packet.refusal is None or flow is None:
            self._counters.filter.passes(chain, packet)
            return
        service = self._services.at(flow.original)
        through_lo = (
            service is not None
            and (service.where is not None or not service.refuses_own)
            and self._services.admits(service, flow.original.source)  # KUBE-PROXY-FIREWALL is in OUTPUT
        )
        if chain is OUTPUT and through_lo:
            self._counters.filter.passes(chain, packet)
            self._leave(packet, Passed.UNMARKED)
            chain = INPUT
        self._counters.filter.refuse(chain, packet, flow.original, service)

    def _comes(self, packet: Packet, now: float) -> None:
        """INPUT."""
        flow, reply = packet.flow, packet.reply
        if flow is None:
            flow, reply = self._flow_of(packet, now)
        elif packet.refusal is not None:
            self._counters.filter.refuse(INPUT, packet, flow.original, self._services.at(flow.original))
            return
        self._counters.filter.comes(packet, flow, reply)

    def block_localnet(self, packet: Packet) -> None:
        """KUBE-FIREWALL, in INPUT: what comes from a wire and is to a loopback address."""
        asked = tuple_from_packet(packet.data)
        if asked is not None:
            self._counters.filter.refuse(INPUT, packet, asked, self._services.at(asked))

    def _flow_of(self, packet: Packet, now: float) -> tuple[Flow | None, bool]:
        """A packet's flow, and whether it is a reply; what comes around through ``lo`` brings none.

        On its way there its addresses were translated, so that it may be the inverse of an answer to it.
        """
        if packet.flow is not None or packet.device != LOOPBACK:
            return packet.flow, packet.reply
        key = tuple_from_packet(packet.data)
        if key is None:
            return None, False
        found = self.conntrack.find(key, now)
        if found is not None:
            return found
        found = self.conntrack.find(key.inverse(), now)
        return (found[0], not found[1]) if found is not None else (None, False)

    # --- connection tracking -------------------------------------------------------------------------

    def _track(self, packet: Packet, now: float) -> bool:
        """Give the packet its flow, if it has one; False where it is lost, as the table is full."""
        if packet.flow is not None:
            return True
        key = tuple_from_packet(packet.data)
        if key is None:
            self._track_error(packet, now)
            return True
        found = self.conntrack.track(key, _tcp_flags(packet), now)
        if found is not None and self._races and _is_raced(*found, now):
            found = self.conntrack.begin(key, now), False
        if found is not None:
            if not found[0].confirmed and not self.conntrack.has_room(now):
                self._note(packet, TABLE_FULL)
                self.lost.append(packet)
                return False
            packet.flow, packet.reply = found
            if self._ipvs is not None and packet.reply and packet.flow.connection is not None:
                self._ipvs.seen(packet.flow.connection, _tcp_flags(packet), now, reply=True)
                self._ipvs.count(packet.flow.connection, len(packet.data), reply=True)
        return True

    def _track_error(self, packet: Packet, now: float) -> None:
        """An ICMP error belongs to the flow of the packet that it quotes (RELATED)."""
        quoted = packet.quoted
        inner = tuple_from_packet(quoted) if quoted is not None else None
        found = self.conntrack.find(inner.inverse(), now) if inner is not None else None
        if found is not None:
            packet.flow, packet.reply = found
            packet.related = True
            if self._ipvs is not None and packet.reply and packet.flow.connection is not None:
                self._ipvs.count(packet.flow.connection, len(packet.data), reply=True)

    def _confirm(self, packet: Packet, now: float) -> Verdict:
        flow = packet.flow
        if flow is None or flow.confirmed or packet.reply:
            return Verdict.ACCEPT
        if self._races and self.conntrack.find(flow.original, now) is not None:
            self._note(packet, RACE)
            self.lost.append(packet)
            return Verdict.DROP
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

    def _choose(self, packet: Packet, now: float) -> None:
        flow = packet.flow
        if flow is None or flow.confirmed or packet.reply:
            return
        service = self._services.at(flow.original)
        if service is None:
            self._counters.nat.open(flow.original, packet.device, len(packet.data))
            return
        source = flow.original.source
        if service.schedule is not Schedule.RANDOM:
            self._counters.nat.open(flow.original, packet.device, len(packet.data), service)
            self._mark(packet, flow.original, service)
            return
        to_own = self._addresses.is_own(flow.original.destination)
        decision = self._services.decide(service, source, packet.device, to_own=to_own)
        if decision.refusal is not None and decision.cause is not None:
            packet.refusal = decision.refusal, decision.cause
        if not decision.backends:
            self._counters.nat.open(flow.original, packet.device, len(packet.data), service)
            return
        backend, known = self._services.pick(service, decision.backends, source, now, self._rng)
        size = len(packet.data)
        self._counters.nat.open(flow.original, packet.device, size, service, backend, known=known)
        flow.reply = flow.reply._replace(source=backend.address, source_port=backend.port)
        flow.why_destination = Cause(
            Stage.SERVICE, choice_text(service, decision.backends, backend, known=known)
        )
        self._mark_for(packet, why_hairpin(source, backend) or decision.masquerade)

    def _mark_for(self, packet: Packet, why: str) -> None:
        """Chain KUBE-MARK-MASQ, if there is a reason."""
        if why:
            packet.marked = True
            self._note(packet, Cause(Stage.SERVICE, f"marked for masquerade: {why}"))

    # --- IPVS ----------------------------------------------------------------------------------------

    def _mark(self, packet: Packet, asked: Tuple, service: Service) -> None:
        """Chain KUBE-SERVICES, then the source ranges.

        KUBE-PROXY-FIREWALL stands in INPUT and FORWARD only; KUBE-IPVS-OUT-FILTER, in OUTPUT, looks at what
        the host sends from the balancer's address to it.
        """
        self._mark_for(packet, self._services.why_marked(service, asked, packet.device))
        if packet.device:
            admitted = self._services.admits(service, asked.source)
        else:
            to_itself = asked.source == asked.destination
            admitted = not to_itself or self._services.admits_balancer(service, asked.source)
        if not admitted:
            packet.refusal = Action.DROP, Cause(Stage.SERVICE, f"{service.label}: {OUTSIDE_RANGES}")

    def _schedule(self, packet: Packet, now: float) -> Verdict:
        """ip_vs_in: a packet to a virtual server goes to the real server of its connection.

        ACCEPT leaves a packet alone, RESEND has rewritten it.
        """
        flow = packet.flow
        if flow is None or packet.reply:
            return Verdict.ACCEPT
        if packet.related:
            if flow.connection is None:
                return Verdict.ACCEPT
            self._scheduler.count(flow.connection, len(packet.data), reply=False)
            self._rewrite(packet, destination=True)
            return Verdict.RESEND
        service = self._services.at(flow.original)
        if service is not None and service.schedule is Schedule.RANDOM:
            return Verdict.ACCEPT
        if service is None and flow.connection is None:
            return Verdict.ACCEPT
        ipvs, flags = self._scheduler, _tcp_flags(packet)
        ipvs.follow(service, flow.original, now)
        connection = ipvs.find(flow.original, flags)
        if connection is None:
            if flow.connection is not None:
                self._give_up(packet, flow, REUSED)
                return Verdict.DROP
            if service is None or (packet.protocol == ipv4.TCP and not flags & SYN):
                return Verdict.ACCEPT
            chosen = ipvs.schedule(service, flow.original, now)
            if chosen is None:  # ip_vs_leave
                self._note(packet, Cause(Stage.SERVICE, no_server_text(service)))
                return Verdict.REJECT
            connection = chosen.connection
            flow.why_destination = Cause(Stage.SERVICE, scheduled_text(service, chosen))
        ipvs.count(connection, len(packet.data), reply=False)
        ipvs.seen(connection, flags, now, reply=False)
        if flow.connection is not connection:
            flow.connection = connection
            self._translate(packet, flow, connection.server.address, connection.server.port)
        self._rewrite(packet, destination=True)
        return Verdict.RESEND

    def _translate(self, packet: Packet, flow: Flow, address: bytes, port: int) -> None:
        """What replies will look like; a server of this node that is its own client is masqueraded
        (KUBE-LOOP-BACK, which has no others).

        A flow that was here before the virtual server is entered anew.
        """
        if flow.confirmed:
            self.conntrack.forget(flow)
            flow.confirmed = False
        flow.reply = flow.reply._replace(source=address, source_port=port)
        flow.translations.clear()
        if not packet.marked and self._loops(flow):
            packet.marked = True
            self._note(packet, Cause(Stage.SERVICE, f"marked for masquerade: {HAIRPIN}"))

    def _loops(self, flow: Flow) -> bool:
        """Whether the real server of a flow is its client, and on this node."""
        server = flow.reply.source, flow.reply.source_port
        if server[0] != flow.original.source:
            return False
        service = self._services.at(flow.original)
        return service is not None and any(
            (backend.address, backend.port) == server and self._services.is_here(backend.home, server[0])
            for backend in service.backends
        )

    def _give_up(self, packet: Packet, flow: Flow, why: Cause) -> None:
        self.conntrack.forget(flow)
        self._note(packet, why)

    def _expire(self, ipvs: Ipvs, now: float) -> None:
        """A connection of IPVS takes its flow with it (ip_vs_conn_expire: ip_vs_conn_drop_conntrack).

        Those to servers that have been deleted since are the first (ip_vs_expire_nodest_conn_flush).
        """
        if self._changed:
            self._changed = False
            ipvs.follow_changed(self._services.changed(ipvs.known), self._services.at, now)
        for connection in ipvs.expire(now):
            self.conntrack.forget_connection(connection)

    @property
    def _scheduler(self) -> Ipvs:
        """IPVS, from the first packet for it on."""
        if self._ipvs is None:
            from netsim.net.ipvs import Ipvs  # not every run has use for it

            self._ipvs = Ipvs()
        return self._ipvs

    def virtual_services(self, now: float) -> list[ServiceRow]:
        """What IPVS has on this host: a virtual server at ``ANY_OWN`` is one at each address of its own."""
        ipvs = self._settled(now)
        rows = []
        for tables in self._tables:
            for (protocol, at, port), service in tables.scheduled():
                for address in self._services.standing_at(at):
                    seen = self._services.seen_from_here((protocol, at, port), service)
                    if self._services.answers_at(seen, address):
                        rows.append(ipvs.row(seen, (protocol, address, port), now))
        return rows

    def virtual_connections(self, now: float) -> list[ConnectionRow]:
        """The connections through IPVS on this host, and which clients it remembers."""
        return list(self._settled(now).connections(now))

    def _settled(self, now: float) -> Ipvs:
        """IPVS as it is now, whether packets have come or not."""
        if (version := sum(tables.version for tables in self._tables)) != self._version:
            self._notice(version)
        ipvs = self._scheduler
        ipvs.follow_changed(None, self._services.at, now)
        self._expire(ipvs, now)
        return ipvs

    # --- rules ---------------------------------------------------------------------------------------

    def _filter(self, packet: Packet, rules: Sequence[Filter], out_device: str) -> Verdict:
        action, cause = packet.refusal or (Action.ACCEPT, None)
        if cause is None:
            rule = self._first(rules, packet, out_device)
            if rule is None or rule.action is Action.ACCEPT:
                return Verdict.ACCEPT
            action, cause = rule.action, rule.cause
        self._note(packet, cause)
        if action is Action.REJECT:
            return Verdict.REJECT
        self.lost.append(packet)
        return Verdict.DROP

    def _first(self, rules: Sequence[Filter], packet: Packet, out_device: str) -> Filter | None:
        for rule in rules:
            if (
                matches(rule, packet, out_device)
                and (rule.unserved_on is None or self._is_unserved(packet, rule.unserved_on))
                and (rule.destination_set is None or self._is_member(packet, rule.destination_set))
            ):
                return rule
        return None

    def _is_member(self, packet: Packet, name: str) -> bool:
        return any(packet.destination in tables.sets.get(name, ()) for tables in self._tables)

    def _is_unserved(self, packet: Packet, interface: str) -> bool:
        """Whether a packet is of a flow without replies to a shared address, and to no virtual server.

        Such a flow is in state NEW, whoever it comes from; what comes around through ``lo`` brings no flow.
        """
        flow, reply = packet.flow, packet.reply
        if flow is None:
            flow, reply = self._flow_of(packet, 0.0)  # it came in at this moment
        if packet.related or reply or flow is None or flow.seen_reply or flow.connection is not None:
            return False
        if self._services.at(flow.original) is not None:
            return False
        if self._addresses.is_own(packet.destination):  # it is not on that interface, too
            return False
        return any(tables.addresses.get(packet.destination) == interface for tables in self._tables)

    def _masquerade(self, packet: Packet, flow: Flow, out_device: str, now: float) -> None:
        cause = MARKED
        if not packet.marked:
            rule = self._first(self._on_postrouting, packet, out_device)
            if rule is None or rule.action is not Action.MASQUERADE:
                return
            cause = rule.cause
        address = self._addresses.leaving_by(out_device, packet.family)
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
            packet.data = packet.rewritten(destination=wanted.destination, destination_port=port)
        else:
            port = wanted.source_port or None
            packet.data = packet.rewritten(source=wanted.source, source_port=port)
        if packet.data != before:
            side = (destination, packet.reply)
            cause = flow.translations.get(side)
            if cause is None:
                cause = flow.translations[side] = translation(flow, *side)
            self._note(packet, cause)

    def _rewrite_error(self, packet: Packet, wanted: Tuple, *, destination: bool) -> None:
        """Translate an ICMP error: its own header, and the packet it quotes, which went the other way."""
        before = packet.data
        requote = ipv4.rewrite_quoted if packet.family == 4 else ipv6.rewrite_quoted
        if destination:
            data = packet.rewritten(destination=wanted.destination)
            packet.data = requote(
                data, source=wanted.destination, source_port=wanted.destination_port or None
            )
        else:
            data = packet.rewritten(source=wanted.source)
            packet.data = requote(
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


def _is_raced(flow: Flow, reply: bool, now: float) -> bool:
    """Whether a packet of this flow was in the hooks when the flow's first one was entered."""
    udp = flow.original.protocol == ipv4.UDP
    return udp and not reply and flow.started == now and flow.why_destination is not None


def _tcp_flags(packet: Packet) -> int:
    start = packet.header_length + 13
    return packet.data[start] if packet.protocol == ipv4.TCP and len(packet.data) > start else 0

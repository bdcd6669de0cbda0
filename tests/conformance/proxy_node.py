"""The node of a proxy case: one host of the sim plane, with Pods behind one interface and the world behind
another, which gets a packet and shows what it made of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface, ip_network
from typing import Any, NamedTuple

from netsim.base.address import IpAddress, IpNetwork, mac_from_name
from netsim.base.cause import Cause, Stage
from netsim.base.rng import Rng
from netsim.base.rule_counts import RuleCounts
from netsim.net.conntrack import Flow
from netsim.net.conntrack_tuple import Tuple
from netsim.net.device import LOOPBACK
from netsim.net.links import Emitted
from netsim.net.packet import Frame
from netsim.objects.codec import object_from_document
from netsim.objects.core import Node, NodeAddress, NodeSpec, NodeStatus
from netsim.objects.defaults import set_defaults
from netsim.objects.discovery import Endpoint, EndpointSlice
from netsim.objects.meta import Object, ObjectMeta
from netsim.objects.yaml_tree import read_documents
from netsim.plan.delta import Delta
from netsim.plan.entries import (
    NODES,
    Address,
    Entry,
    Host,
    HostName,
    Interface,
    InterfaceKind,
    Neighbour,
    Role,
    Route,
    Scope,
)
from netsim.planes.sim.plane import SimPlane
from netsim.proxy.endpoints import address_from_text
from netsim.proxy.proxier import Proxier
from netsim.proxy.settings import DetectLocalMode, ProxySettings
from netsim.store.store import EventType, StoreEvent
from netsim.wire import ethernet, icmp, icmp6, ipv4, ipv6, sctp, tcp, udp

Json = Mapping[str, Any]
OWNER, CAUSE = "case", Cause(Stage.PLAN, "the case")
UPLINK, PODS = "eth0", "cni0"
GATEWAY, GATEWAY6 = IPv4Address("192.0.2.1"), IPv6Address("fe80::1")
PROTOCOLS = {"TCP": ipv4.TCP, "UDP": ipv4.UDP, "SCTP": sctp.SCTP}
DAYS = 200_000.0  # seconds between two connections: longer than any affinity (86400) and any connection


class Question(NamedTuple):
    """A packet that begins a connection."""

    kind: str
    source: IpAddress
    source_port: int
    target: IpAddress
    port: int
    protocol: int

    @classmethod
    def of(cls, packet: Json) -> Question:
        return cls(
            packet["from_kind"],
            ip_address(packet["from"]),
            20000,
            ip_address(packet["to"]),
            packet["port"],
            PROTOCOLS[packet["protocol"]],
        )

    @property
    def family(self) -> int:
        return self.source.version

    @property
    def tuple(self) -> Tuple:
        return Tuple(self.protocol, self.source.packed, self.source_port, self.target.packed, self.port)

    @property
    def data(self) -> bytes:
        source, target = self.source.packed, self.target.packed
        if self.protocol == ipv4.TCP:
            segment = tcp.build(source, target, tcp.Tcp(self.source_port, self.port, 1, 0, tcp.SYN, 1000, 0))
        elif self.protocol == ipv4.UDP:
            segment = udp.build(source, target, self.source_port, self.port, b"anybody there?")
        else:
            segment = sctp.build(self.source_port, self.port, 0, bytes([sctp.INIT, 0, 0, 4]))
        return (ipv4 if self.family == 4 else ipv6).build(source, target, self.protocol, segment)


class Fate(NamedTuple):
    """What became of a packet. ``endpoint`` is where it was sent to, or empty."""

    verdict: str
    endpoint: str = ""
    masqueraded: bool = False


class ProxyNode:
    """The node ``this_node`` of a case's group, in one mode of kube-proxy."""

    def __init__(self, mode: str, group: Json) -> None:
        self._config = group["config"]
        self._this = next(node for node in group["nodes"] if node["name"] == group["this_node"])
        self._host = HostName(f"node/{self._this['name']}")
        self._plane = SimPlane(Rng(1))
        self._proxiers = [Proxier(settings_of(mode, group, self._host, family)) for family in (4, 6)]
        self._others = [
            node.get(key)
            for node in group["nodes"]
            if node["name"] != group["this_node"]
            for key in ("ip", "ip6")
        ]
        self._clients = [packet["from"] for packet in group["packets"]]
        self._now = 1000.0
        self._pods = pod_device_of(self._config)
        self._objects = [*nodes_of(group["nodes"]), *objects_of(group["manifests"])]
        self._plane.apply(Delta(put=tuple(self._furniture())))
        for item in self._objects:
            self._feed(EventType.ADDED, item)
        self._stack = self._plane.stack(self._host)

    def _feed(self, kind: EventType, item: Object) -> None:
        for proxier in self._proxiers:
            self._plane.apply(proxier.feed(StoreEvent(kind, item)))

    def _furniture(self) -> Iterator[Entry]:
        host, on = self._host, Scope(self._host)
        yield Host(host, Role.NODE, host, OWNER, CAUSE, (NODES,), forwarding=True)
        for name in (UPLINK, self._pods):
            yield Interface(host, name, InterfaceKind.VETH, mac_from_name(name), OWNER, CAUSE)
        for text in (
            self._this["ip"],
            *filter(None, (self._this.get("ip6"),)),
            *self._this.get("extra_ips", ()),
        ):
            length = 64 if ":" in text else 24
            yield Address(host, UPLINK, ip_interface(f"{text}/{length}"), OWNER, CAUSE)
        for text in filter(None, self._others):
            yield Neighbour(on, UPLINK, ip_address(text), mac_from_name(text), OWNER, CAUSE)
        for gateway, everywhere, key in ((GATEWAY, "0.0.0.0/0", "podCIDR"), (GATEWAY6, "::/0", "podCIDR6")):
            if not self._this.get(key):
                continue
            subnet = ip_network(self._this[key])
            yield Route(on, subnet, self._pods, OWNER, CAUSE)
            yield Route(on, ip_network(everywhere), UPLINK, OWNER, CAUSE, gateway, onlink=True)
            yield Neighbour(on, UPLINK, gateway, mac_from_name("gateway"), OWNER, CAUSE)
            for address in _own_pods(self._objects, self._clients, subnet):
                yield Neighbour(on, self._pods, address, mac_from_name(str(address)), OWNER, CAUSE)

    # --- time ----------------------------------------------------------------------------------------

    def rest(self) -> None:
        """Let everything be forgotten."""
        self._now += DAYS

    def stick(self, question: Question, endpoint: str, seconds: float) -> None:
        """Let the client have been sent to an endpoint that long ago, when there was no other."""
        address, _, port = endpoint.rpartition(":")
        address = address.strip("[]")
        family = f"IPv{ip_address(address).version}"
        slices = [
            item for item in self._objects if isinstance(item, EndpointSlice) and item.address_type == family
        ]
        known = (each for item in slices for each in item.endpoints if each.addresses == (address,))
        node = next((each.node_name for each in known), None)
        only = (Endpoint((address,), node_name=node),)
        for item in slices:
            if any(each.port == int(port) for each in item.ports):
                self._feed(EventType.MODIFIED, replace(item, endpoints=only))
        self.send(question._replace(source_port=19999))
        for item in slices:
            self._feed(EventType.MODIFIED, item)
        self._now += seconds

    def visit(self, question: Question, times: int) -> None:
        """Let another client connect, so that what goes in turn stands elsewhere."""
        for number in range(times):
            self.send(question._replace(source=question.source + 1, source_port=10000 + number))

    def counts(self, family: int) -> RuleCounts:
        """What the node's tables have seen."""
        return self._plane.rule_counts(self._host, family)

    # --- packets -------------------------------------------------------------------------------------

    def send(self, question: Question) -> Fate:
        """Give the node a packet, and see."""
        sockets = self._stack.at(self._now)
        listening = sockets.bind(question.port, None, None)  # else the node itself would refuse a datagram
        packets = self.give(self._device_of(question), question.data)
        sockets.udp_close(listening)
        return self._fate(question, packets)

    def answer(self, question: Question) -> tuple[bytes, bytes, int] | None:
        """Let the endpoint of a connection answer: from where, to whom and to which port the answer comes on.

        It must be a client behind an interface; None when nothing comes.
        """
        flow = self._flow(question)
        assert flow is not None
        reply = flow.reply
        flags = tcp.SYN | tcp.ACK
        segment = tcp.build(
            reply.source,
            reply.destination,
            tcp.Tcp(reply.source_port, reply.destination_port, 1, 2, flags, 1000, 0),
        )
        version = ipv4 if question.family == 4 else ipv6
        data = version.build(reply.source, reply.destination, question.protocol, segment)
        blocks = (self._this.get(key) for key in ("podCIDR", "podCIDR6"))
        own = any(ip_address(reply.source) in ip_network(block) for block in blocks if block)
        packets = self.give(self._pods if own else UPLINK, data)
        for packet in packets:
            _check(packet)
        return next((_ends(packet) for packet in packets), None)

    def give(self, device: str, data: bytes) -> list[bytes]:
        """Let a packet come in by an interface (empty: begin here); the packets that leave."""
        emitted: list[Emitted] = []
        if device:
            mac, sender = bytes(mac_from_name(device)), bytes(mac_from_name("sender"))
            ethertype = ethernet.ETHERTYPE_IPV4 if data[0] >> 4 == 4 else ethernet.ETHERTYPE_IPV6
            frame = ethernet.build(mac, sender, ethertype, data)
            self._stack.receive(device, Frame(frame, (), 1), self._now)
        else:
            self._stack.at(self._now)
            self._stack.send(data, (CAUSE,))
        while self._stack.links.emitted:
            frames, self._stack.links.emitted = self._stack.links.emitted, []
            emitted += frames
            for each in frames:
                if each.device == LOOPBACK and each.outbound:
                    self._stack.receive(LOOPBACK, each.frame, self._now)
        return [each.frame.data[14:] for each in emitted if each.outbound]

    def _device_of(self, question: Question) -> str:
        """The interface by which a packet comes; empty for the node's own."""
        if question.kind == "local-pod":
            return self._pods
        return "" if question.kind == "node" and str(question.source) not in self._others else UPLINK

    def _fate(self, question: Question, packets: list[bytes]) -> Fate:
        if any(_is_port_unreachable(data) for data in packets):
            return Fate("REJECT")
        flow = self._flow(question)
        if flow is None:
            # It went on as it was, or to the node itself, which has no program there.
            seen = any(_ends(data) == _ends(question.data) or _resets(data, question) for data in packets)
            return Fate("NOT_HANDLED" if seen else "DROP")
        translated = flow.translated(reply=False)
        if translated[3:] == flow.original[3:]:
            return Fate("NOT_HANDLED")
        address = ip_address(translated.destination)
        host = str(address) if address.version == 4 else f"[{address}]"
        endpoint = f"{host}:{translated.destination_port}"
        sent = [data for data in packets if _ends(data)[1:] == translated[3:]]
        assert sent or self._stack.is_local(address.packed), f"no packet went to {endpoint}"
        for data in sent:
            _check(data)
        # The address may be the same: what a node masquerades of its own gets another port.
        masqueraded = (translated.source, translated.source_port) != (flow.original[1], flow.original[2])
        return Fate("DNAT", endpoint, masqueraded)

    def _flow(self, question: Question) -> Flow | None:
        return self.flow_of(question.tuple)

    def flow_of(self, asked: Tuple) -> Flow | None:
        """The connection that the node keeps track of by this tuple."""
        found = self._stack.netfilter.conntrack.find(asked, self._now)
        return found[0] if found is not None else None


def _ends(data: bytes) -> tuple[bytes, bytes, int]:
    """Source, and destination with its port."""
    if data[0] >> 4 == 6:
        return data[8:24], data[24:40], int.from_bytes(data[42:44], "big")
    return data[12:16], data[16:20], int.from_bytes(data[22:24], "big")


def _resets(data: bytes, question: Question) -> bool:
    """Whether a packet is TCP's refusal, from the address that was asked."""
    packet = (ipv4 if data[0] >> 4 == 4 else ipv6).parse(data)
    if packet.protocol != ipv4.TCP or packet.source != question.target.packed:
        return False
    segment = tcp.parse(packet.payload)
    back = (segment.source_port, segment.destination_port) == (question.port, question.source_port)
    return back and bool(segment.flags & tcp.RST)


def _is_port_unreachable(data: bytes) -> bool:
    if data[0] >> 4 == 6:
        return data[6] == ipv6.ICMPV6 and data[40:42] == bytes([icmp6.UNREACHABLE, icmp6.PORT])
    return data[9] == ipv4.ICMP and data[20:22] == bytes([icmp.UNREACHABLE, icmp.PORT])


def _check(data: bytes) -> None:
    """Whether a packet is sound: WireError if a checksum is wrong."""
    version = ipv4 if data[0] >> 4 == 4 else ipv6
    packet = version.parse(data)
    pseudo = version.pseudo_header(packet.source, packet.destination, packet.protocol, len(packet.payload))
    match packet.protocol:
        case ipv4.TCP:
            tcp.parse(packet.payload, pseudo)
        case ipv4.UDP:
            udp.parse(packet.payload, pseudo)
        case _:
            sctp.parse(packet.payload)


def settings_of(mode: str, group: Json, host: HostName, family: int) -> ProxySettings:
    config = group["config"]
    clusters = [ip_network(text) for text in (config.get("clusterCIDR") or "").split(",") if text]
    services = [ip_network(text) for text in config.get("serviceCIDRs") or ()]
    return ProxySettings(
        next((cidr for cidr in clusters if cidr.version == family), None),
        mode,
        hosts={group["this_node"]: host},
        service_cidrs=tuple(cidr for cidr in services if cidr.version == family),
        masquerade_all=config.get("masqueradeAll", False),
        node_port_addresses=tuple(config.get("nodePortAddresses") or ()),
        localhost_node_ports=config.get("localhostNodePorts", True),
        detect_local=DetectLocalMode(config.get("detectLocalMode") or ""),
        pod_interface=config.get("bridgeInterface") or config.get("interfaceNamePrefix") or "",
        family=family,
    )


def pod_device_of(config: Json) -> str:
    prefix = config.get("interfaceNamePrefix")
    return config.get("bridgeInterface") or (f"{prefix}0" if prefix else PODS)


def nodes_of(nodes: Iterable[Json]) -> Iterator[Node]:
    for node in nodes:
        labels = {"topology.kubernetes.io/zone": node["zone"]} if node.get("zone") else {}
        addresses = tuple(NodeAddress("InternalIP", node[key]) for key in ("ip", "ip6") if node.get(key))
        cidrs = tuple(node[key] for key in ("podCIDR", "podCIDR6") if node.get(key))
        yield Node(
            metadata=ObjectMeta(name=node["name"], labels=labels),
            spec=NodeSpec(pod_cidr=cidrs[0], pod_cidrs=cidrs),
            status=NodeStatus(addresses=addresses),
        )


def objects_of(manifests: str) -> Iterator[Object]:
    documents, problems = read_documents(manifests, "case")
    assert not problems
    for document in documents:
        value = document.value
        set_defaults(value)
        yield object_from_document(value)


def _own_pods(objects: Iterable[Object], clients: Iterable[str], subnet: IpNetwork) -> Iterator[IpAddress]:
    """The addresses of Pods that the node has to reach: of clients and endpoints, those in its block."""
    texts = {a for o in objects if isinstance(o, EndpointSlice) for e in o.endpoints for a in e.addresses}
    for text in sorted(texts.union(clients)):
        address = address_from_text(text)
        if address in subnet:
            yield address

"""A small cluster for the tests of this room: objects in one line each, and a server to ask.

``World`` feeds a zone and runs a Server against upstreams that are functions; it moves virtual time only as
far as the server's timers and the upstreams' silence ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from netsim.base.address import IpAddress
from netsim.base.rng import Rng
from netsim.clusterdns.chain import Transport
from netsim.clusterdns.memory import CAPACITY
from netsim.clusterdns.server import (
    AskUpstream,
    Command,
    Exit,
    QueryArrived,
    SendReply,
    Server,
    UpstreamReplied,
    UpstreamTimedOut,
)
from netsim.clusterdns.zone import KubernetesZone
from netsim.objects.core import Namespace, ObjectReference, Pod, PodStatus, Service, ServicePort, ServiceSpec
from netsim.objects.discovery import (
    SERVICE_NAME_LABEL,
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
)
from netsim.objects.meta import Object, ObjectMeta, ObjectRef
from netsim.store.store import EventType, StoreEvent
from netsim.wire import dns
from netsim.wire.dns import Edns, Message, Question, Rcode, Record, Soa

CLIENT = ip_address("10.244.1.9")
COREDNS = "10.244.0.2"
EXAMPLE = bytes((203, 0, 113, 80))
ROOT_SOA = Record(".", dns.SOA, dns.IN, 86400, Soa("a.root.", "nstld.", 1, 1800, 900, 604800, 86400))

Answerer = Callable[[Message], Message | bytes | str | None]
"""An upstream: a message or its bytes answer, a text is an error at once, None is silence."""


def namespace(name: str, **labels: str) -> Namespace:
    return Namespace(metadata=ObjectMeta(name=name, labels=labels))


def service(
    ref: str, cluster_ip: str = "10.96.0.20", *ports: tuple[str, int], more: Sequence[str] = (), **labels: str
) -> Service:
    """``service("prod/ent", "10.96.0.20", ("http", 80))``; headless with the address ``None``."""
    space, _, name = ref.partition("/")
    spec = ServiceSpec(
        cluster_ip=cluster_ip,
        cluster_ips=(cluster_ip, *more),
        ports=tuple(ServicePort(number, port) for port, number in ports),
    )
    return Service(metadata=ObjectMeta(name=name, namespace=space, labels=labels), spec=spec)


def external(ref: str, target: str) -> Service:
    space, _, name = ref.partition("/")
    spec = ServiceSpec(type="ExternalName", external_name=target)
    return Service(metadata=ObjectMeta(name=name, namespace=space), spec=spec)


def endpoint(
    address: str,
    *,
    ready: bool | None = True,
    hostname: str | None = None,
    pod: str = "",
    zone: str | None = None,
) -> Endpoint:
    target = ObjectReference("Pod", "prod", pod) if pod else None
    return Endpoint((address,), EndpointConditions(ready), hostname, zone=zone, target_ref=target)


def endpoint_slice(
    ref: str, *endpoints: Endpoint, ports: Sequence[tuple[str, int]] = (("http", 8080),), suffix: str = "1"
) -> EndpointSlice:
    """A slice of the Service ``ref``."""
    space, _, name = ref.partition("/")
    return EndpointSlice(
        metadata=ObjectMeta(name=f"{name}-{suffix}", namespace=space, labels={SERVICE_NAME_LABEL: name}),
        endpoints=endpoints,
        ports=tuple(EndpointPort(port, number) for port, number in ports),
    )


def pod(ref: str, address: str, *, phase: str = "Running", deleted: bool = False) -> Pod:
    space, _, name = ref.partition("/")
    meta = ObjectMeta(name=name, namespace=space, deletion_timestamp=1.0 if deleted else None)
    return Pod(metadata=meta, status=PodStatus(phase=phase, pod_ip=address))


CLUSTER: tuple[Object, ...] = (
    namespace("prod"),
    namespace("dev"),
    namespace("kube-system"),
    service("kube-system/kube-dns", "10.96.0.10", ("dns", 53)),
    endpoint_slice("kube-system/kube-dns", endpoint(COREDNS), ports=[("dns", 53)]),
    service("prod/ent", "10.96.0.20", ("http", 80), ("metrics", 9090)),
    endpoint_slice("prod/ent", endpoint("10.244.1.5"), endpoint("10.244.2.6")),
    service("prod/db", "None", ("pg", 5432)),
    endpoint_slice(
        "prod/db",
        endpoint("10.244.1.7", hostname="db-0"),
        endpoint("10.244.2.8", hostname="db-1"),
        endpoint("10.244.2.9", hostname="db-2", ready=False),
        ports=[("pg", 5432)],
    ),
    external("prod/web", "www.example.com"),
)


def answering(*records: Record, rcode: int = Rcode.NOERROR, authority: Sequence[Record] = ()) -> Answerer:
    """An upstream that gives everybody the same answer."""

    def answer(query: Message) -> Message:
        return dns.reply(
            query, rcode=rcode, recursion_available=True, answers=records, authority=tuple(authority)
        )

    return answer


def address_of(name: str, packed: bytes = EXAMPLE, ttl: int = 300) -> Record:
    return Record(name, dns.A, dns.IN, ttl, packed)


def silent(query: Message) -> None:
    """An upstream that never answers."""


class World:
    """A zone, a server, upstreams by address, and time."""

    def __init__(
        self,
        corefile: str,
        objects: Sequence[Object] = CLUSTER,
        upstreams: Mapping[str, Answerer] | None = None,
        *,
        files: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        addresses: Sequence[str] = (COREDNS,),
        synced: bool = True,
        seed: int = 1,
        remembers: int = CAPACITY,
    ) -> None:
        self.now = 0.0
        self.zone = KubernetesZone()
        self.zone.synced = synced
        self.upstreams = dict(upstreams or {})
        self.asked: list[tuple[float, str, str, Transport]] = []  # time, upstream, name, transport
        self._objects: dict[ObjectRef, Object] = {}
        self._silences: list[tuple[float, int]] = []
        self._replies: list[SendReply] = []
        self.last_words = ""
        self.apply(*objects)
        self.server = Server(
            corefile,
            self.zone,
            Rng(seed),
            files=files or {"/etc/resolv.conf": "nameserver 192.168.10.1\n"},
            env=env,
            addresses=addresses,
            remembers=remembers,
        )

    def start(self) -> World:
        """Let the server begin what it does beside the queries."""
        self._obey(self.server.start(self.now))
        return self

    # --- objects ---

    def apply(self, *objects: Object) -> None:
        for obj in objects:
            old = self._objects.get(obj.ref)
            self._objects[obj.ref] = obj
            kind = EventType.ADDED if old is None else EventType.MODIFIED
            self.zone.feed(StoreEvent(kind, obj, old), self.now)

    def objects(self) -> list[Object]:
        """What there is."""
        return list(self._objects.values())

    def delete(self, obj: Object) -> None:
        self.zone.feed(StoreEvent(EventType.DELETED, self._objects.pop(obj.ref)), self.now)

    # --- time ---

    def until(self, when: float) -> None:
        """Let time pass, and with it the server's timers and the upstreams' silences."""
        while (event := self._next_event()) is not None and event <= when:
            self._pass(event)
        self.now = max(self.now, when)

    def _next_event(self) -> float | None:
        times = [time for time, _ in self._silences]
        deadline = self.server.deadline()
        if deadline is not None:
            times.append(deadline)
        return min(times, default=None)

    def _pass(self, when: float) -> None:
        self.now = when
        due = [silence for silence in self._silences if silence[0] <= when]
        self._silences = [silence for silence in self._silences if silence[0] > when]
        for _, token in due:
            self._obey(self.server.feed(UpstreamTimedOut(token), when))
        deadline = self.server.deadline()
        if deadline is not None and deadline <= when:
            self._obey(self.server.expire(when))

    # --- queries ---

    def send(
        self, name: str, qtype: str | int = "A", *, transport: Transport = Transport.UDP, port: int = 53,
        edns: Edns | None = None, qclass: int = dns.IN, identifier: int = 7, client: IpAddress = CLIENT,
        **flags: bool,
    ) -> QueryArrived:  # fmt: skip
        """Let a query arrive; its reply comes to ``reply_to``."""
        number = qtype if isinstance(qtype, int) else dns.type_number(qtype) or 0
        query = Message(
            identifier, recursion_desired=True, questions=(Question(name, number, qclass),), edns=edns
        )
        event = QueryArrived(dns.build(query._replace(**flags)), client, transport, port)
        self._obey(self.server.feed(event, self.now))
        return event

    def reply_to(self, event: QueryArrived) -> SendReply | None:
        return next((reply for reply in self._replies if reply.query is event), None)

    def ask(self, name: str, qtype: str | int = "A", **options: Any) -> Message:
        """A query and, when it has come, its reply."""
        event = self.send(name, qtype, **options)
        while self.reply_to(event) is None:
            following = self._next_event()
            assert following is not None, "no reply, and nothing is left that could bring one"
            self._pass(following)
        reply = self.reply_to(event)
        assert reply is not None
        self.cause = reply.cause.text
        self.data = reply.data
        return dns.parse(reply.data)

    def _obey(self, commands: Sequence[Command]) -> None:
        for command in commands:
            match command:
                case SendReply(query, data) if query.client.is_loopback:
                    self._obey(self.server.feed(UpstreamReplied(query.tag, data), self.now))
                case SendReply():
                    self._replies.append(command)
                case Exit(message):
                    self.last_words = message
                    self._silences.clear()
                    return
                case AskUpstream(token, upstream, data, transport) if upstream.address.is_loopback:
                    mine = QueryArrived(data, upstream.address, transport, upstream.port, token)
                    self._obey(self.server.feed(mine, self.now))
                case AskUpstream(token, upstream, data, transport, timeout):
                    query = dns.parse(data)
                    self.asked.append((self.now, str(upstream), query.questions[0].name, transport))
                    answer = self.upstreams.get(str(upstream), silent)(query)
                    if answer is None:
                        self._silences.append((self.now + timeout, token))
                    elif isinstance(answer, str):
                        self._obey(self.server.feed(UpstreamTimedOut(token, answer), self.now))
                    else:
                        reply = answer if isinstance(answer, bytes) else dns.build(answer)
                        self._obey(self.server.feed(UpstreamReplied(token, reply), self.now))


def lines(records: Sequence[Record]) -> list[str]:
    """Records as ``name ttl type data``, sorted."""
    return sorted(f"{r.name} {r.ttl} {dns.type_name(r.rtype)} {dns.render_rdata(r)}" for r in records)


def values(message: Message) -> list[str]:
    """The data of the answer section, sorted."""
    return sorted(dns.render_rdata(record) for record in message.answers)

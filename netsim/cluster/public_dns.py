"""A cluster's DNS on a real socket: what ``dig``, a C library or an application on this machine can ask.

One CoreDNS with the cluster's own Corefile and zone answers in real time. A question to an upstream in the
cluster's site (its public resolver, a Pod) is carried there in virtual time; any other upstream is asked for
real. The cluster stands still meanwhile, but for what ``apply`` changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from functools import lru_cache, partial
from ipaddress import ip_address
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, assert_never

from netsim.base.address import IpAddress
from netsim.base.errors import UsageError
from netsim.base.rng import Rng
from netsim.clusterdns.chain import Transport
from netsim.clusterdns.server import (
    AskUpstream,
    Command,
    Exit,
    QueryArrived,
    Rebind,
    SendReply,
    Server,
    UpstreamReplied,
    UpstreamTimedOut,
)
from netsim.cni.fabric import upstream_resolver
from netsim.cni.names import node_host
from netsim.objects.core import ConfigMap, Pod
from netsim.plan.entries import Address as PlannedAddress
from netsim.programs.coredns import COREFILE
from netsim.programs.dns import carry
from netsim.programs.host import Host
from netsim.runtime import datagrams, framed
from netsim.runtime.datagrams import BurstSocket
from netsim.runtime.framed import FramedServer
from netsim.runtime.pages import PageServer

if TYPE_CHECKING:
    from netsim.cluster.cluster import Cluster

Address = tuple[str, int]


class PublicDns:
    """See the module's docstring. ``listen`` takes the place of the Corefile's first port; its others are
    opened beside it at their own numbers, and with ``pages`` those of its HTTP pages at that address.

    Raises CorefileError, as CoreDNS would not start.
    """

    def __init__(self, cluster: Cluster, listen: Address, *, pages: str | None = None) -> None:
        self._cluster = cluster
        self._listen = listen
        self._pages_at = pages
        self._began = monotonic() - cluster.now
        self._files = {"/etc/resolv.conf": _resolv_conf(cluster)}
        text = self._read_corefile()
        rng = Rng(cluster.topology.seed).derive("public dns")
        addresses = _own_addresses(cluster)
        self._server = Server(text, cluster.zone, rng, files=self._files, addresses=addresses, name=COREFILE)
        self._sockets: dict[int, tuple[BurstSocket, FramedServer]] = {}
        self._pages: dict[int, PageServer] = {}
        self._asking: set[asyncio.Task[None]] = set()
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at: float | None = None
        self._ended: asyncio.Future[int] | None = None

    @property
    def addresses(self) -> list[str]:
        """Where it listens, one line each."""
        lines = [f"{_render(socket.address)} (udp and tcp)" for socket, _ in self._sockets.values()]
        lines += [f"{_render(page.address)} (http)" for page in self._pages.values()]
        return lines

    @property
    def log(self) -> Sequence[str]:
        """What CoreDNS has said."""
        return self._server.log.render().splitlines()

    async def start(self) -> None:
        """Open the sockets; OSError names what cannot be bound."""
        self._ended = asyncio.get_running_loop().create_future()
        await self._open()
        self._obey(self._server.start(self._now()))

    async def run(self) -> int:
        """Serve until cancelled, or until CoreDNS ends itself: then its exit code."""
        assert self._ended is not None
        return await self._ended

    async def close(self) -> None:
        """Give every port back."""
        if self._alarm is not None:
            self._alarm.cancel()
        for task in [*self._asking]:
            task.cancel()
        for socket, listener in self._sockets.values():
            socket.close()
            await listener.close()
        for page in self._pages.values():
            page.close()

    async def apply(self, sources: Sequence[str | Path]) -> None:
        """Apply manifests to the cluster; what they change is answered from now on."""
        for source in sources:
            await self._cluster.apply(str(source))
        self._read_corefile()

    def _now(self) -> float:
        return monotonic() - self._began

    def _read_corefile(self) -> str:
        """Mount the ConfigMap as the kubelet does; the plugin ``reload`` looks at the file."""
        found = self._cluster.store.find(ConfigMap, "coredns", "kube-system")
        text = found.data.get("Corefile", "") if found is not None else ""
        self._files[COREFILE] = text
        return text

    # --- sockets -------------------------------------------------------------------------------------

    async def _open(self) -> None:
        """Listen on the Corefile's ports, and on no others."""
        wanted = self._server.ports
        for port in [port for port in self._sockets if port not in wanted]:
            socket, listener = self._sockets.pop(port)
            socket.close()
            await listener.close()
        host, first = self._listen
        for port in wanted:
            if port not in self._sockets:
                socket = BurstSocket(
                    (host, first if port == min(wanted) else port),
                    partial(self._datagram, port),
                    self._server.remembered(port, Transport.UDP, 6 if ":" in host else 4).recaller(self._now),
                )
                listener = FramedServer(partial(self._framed, port))
                await listener.start(socket.address)
                socket.start()
                self._sockets[port] = (socket, listener)
        for port in self._server.page_ports if self._pages_at is not None else ():
            if port not in self._pages:
                assert self._pages_at is not None
                self._pages[port] = PageServer((self._pages_at, port), partial(self._page, port))

    def _page(self, port: int, path: str) -> tuple[int, str]:
        page = self._server.page(port, path)
        return page.status, page.text

    def _datagram(self, port: int, data: bytes, client: Address) -> bytes | None:
        query = QueryArrived(data, _address(client[0]), Transport.UDP, port, client, client[1])
        commands = self._server.feed(query, self._now())
        first = commands[0] if commands else None
        if not isinstance(first, SendReply) or first.query is not query:
            self._obey(commands)
            return None
        self._obey(commands[1:])
        return first.data

    def _framed(self, port: int, data: bytes, client: Address, reply: framed.Reply) -> None:
        query = QueryArrived(data, _address(client[0]), Transport.TCP, port, reply, client[1])
        self._obey(self._server.feed(query, self._now()))

    # --- the machine ---------------------------------------------------------------------------------

    def _obey(self, commands: Sequence[Command]) -> None:
        for command in commands:
            match command:
                case SendReply(query, data) if query.transport is Transport.UDP:
                    self._sockets[query.port][0].send(data, query.tag)
                case SendReply(query, data):
                    query.tag(data)
                case AskUpstream():
                    self._start(self._ask(command))
                case Rebind():
                    self._start(self._open())
                case Exit(message):
                    assert self._ended is not None
                    if not self._ended.done():
                        self._ended.set_exception(UsageError(message))
                case _:
                    assert_never(command)
        self._set_alarm()

    def _set_alarm(self) -> None:
        deadline = self._server.deadline()
        if deadline == self._alarm_at:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = deadline
        if deadline is not None:
            left = max(deadline - self._now(), 0.0)
            self._alarm = asyncio.get_running_loop().call_later(left, self._expire)

    def _expire(self) -> None:
        self._alarm = self._alarm_at = None
        self._obey(self._server.expire(self._now()))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _ask(self, command: AskUpstream) -> None:
        """Carry one question upstream, and feed what comes of it."""
        upstream = command.upstream
        try:
            if self._is_in_the_site(upstream.address):
                data = self._cluster.pump(_ask_in_the_site(self._asking_host(), command))
            else:
                over = datagrams.ask if command.transport is Transport.UDP else framed.ask
                data = await over((str(upstream.address), upstream.port), command.data, command.timeout)
        except TimeoutError:
            event: UpstreamReplied | UpstreamTimedOut = UpstreamTimedOut(command.token)
        except OSError as error:
            event = UpstreamTimedOut(command.token, (error.strerror or str(error)).lower())
        else:
            event = UpstreamReplied(command.token, data)
        self._obey(self._server.feed(event, self._now()))

    def _is_in_the_site(self, address: IpAddress) -> bool:
        return any(
            isinstance(entry, PlannedAddress) and entry.address.ip == address for entry in self._cluster.plan
        )

    def _asking_host(self) -> Host:
        return self._cluster.plane.host(node_host(self._cluster.topology.nodes[0].name))


async def _ask_in_the_site(host: Host, question: AskUpstream) -> bytes:
    """The same question in virtual time, from a node."""
    answers: list[bytes] = []

    async def take(data: bytes) -> bool:
        if data[:2] == question.data[:2]:
            answers.append(data)
        return bool(answers)

    await carry(host, question, take)
    return answers[0]


@lru_cache(maxsize=1024)
def _address(text: str) -> IpAddress:
    return ip_address(text)


def _resolv_conf(cluster: Cluster) -> str:
    """What a CoreDNS Pod finds: the node's, for its dnsPolicy is Default."""
    return f"nameserver {upstream_resolver(cluster.topology)}\n"


def _own_addresses(cluster: Cluster) -> list[str]:
    """The addresses that CoreDNS takes for its own: those of one of its Pods."""
    pods = (pod for pod in cluster.store.list(Pod) if pod.metadata.labels.get("k8s-app") == "kube-dns")
    return [pod.status.pod_ip for pod in pods if pod.status.pod_ip][:1]


def _render(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

"""What a user does from one host of the cluster: resolve, connect, request, ping, run a command, trace.

``Cluster.pod``, ``node`` and ``external`` hand these out. Every method lets virtual time pass until it has
its result, in whatever event loop the caller has, or in none (``Cluster.pump``).
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from netsim.base.errors import UsageError
from netsim.capture.journeys import journeys_of
from netsim.capture.record import Recorder
from netsim.cluster.connection import Connection, Target, parse_target, resolve_first, try_connect
from netsim.plan.entries import Host as PlannedHost
from netsim.plan.entries import HostName
from netsim.programs.host import EchoReply, Host, Identity, Invocation
from netsim.programs.http import DEFAULT_PORTS, HttpReply, fetch, parse_url
from netsim.programs.images import flavour_of
from netsim.programs.resolve import getaddrinfo
from netsim.programs.shell import run_command
from netsim.programs.terminal import Outcome, Terminal
from netsim.resolver.commands import Family, Libc, Lookup

if TYPE_CHECKING:
    from netsim.cluster.cluster import Cluster
    from netsim.cluster.trace import Trace

T = TypeVar("T")
CONNECT_TIMEOUT = 10.0  # virtual seconds
TEARDOWN_SECONDS = 1.0  # how long the closing handshake may take to be part of a trace


def _dialled(text: str) -> Target:
    """``NAME:PORT``; UsageError for a name that no resolver is asked for, as ``svc/prod/ent:8080``."""
    target = parse_target(text)
    if "/" in target.name:
        hint = "write it as a client does: ent.prod:8080 for the Service ent of prod, or an address"
        raise UsageError(f"{target.name} is not a name in DNS", hint=hint)
    return target


def _refuse_other_urls(url: str) -> None:
    try:
        scheme = parse_url(url).scheme
    except ValueError as error:
        hint = "write http://HOST:PORT/PATH, an IPv6 address as http://[fd00::1]/"
        raise UsageError(f"{url} is no URL: {error}", hint=hint) from None
    if scheme not in DEFAULT_PORTS:
        raise UsageError(f"{url}: get does not speak {scheme}", hint="it speaks http and https")


class HostHandle:
    """One Pod, node or external host in a user's hand."""

    def __init__(
        self, cluster: Cluster, host: Host, title: str, plan_name: HostName, invocation: Invocation | None
    ) -> None:
        self.cluster = cluster
        self.host = host
        self.title = title
        self.plan_name = plan_name
        self._invocation = invocation

    def __repr__(self) -> str:
        if self._invocation is None:
            return f"<Host {self.title}>"
        identity = self._invocation.identity
        return f"<Pod {self.title} on {identity.node} {identity.pod_ip}>"

    def _pump(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.cluster.pump(coroutine)

    @property
    def node(self) -> str:
        """The node that the Pod runs on; empty for what is no Pod."""
        return self._invocation.identity.node if self._invocation is not None else ""

    @property
    def env(self) -> Mapping[str, str]:
        """The environment of the Pod's first container."""
        return self._invocation.env if self._invocation is not None else {}

    async def resolve(self, name: str, *, family: Family = Family.UNSPEC, libc: Libc | None = None) -> Lookup:
        """What the host's libc, or another, gives for a name, with every query that it sent, in order."""
        return self._pump(getaddrinfo(self.host, name, family=family, env=self.env, libc=libc))

    async def get(
        self, url: str, *, headers: Mapping[str, str] | None = None, timeout: float = CONNECT_TIMEOUT
    ) -> HttpReply:
        """An HTTP GET; raises OSError when there is no connection, LookupFailed when there is no address, and
        UsageError for what is no URL of http or https."""
        _refuse_other_urls(url)
        pairs = tuple((headers or {}).items())
        return self._pump(fetch(self.host, url, headers=pairs, timeout=timeout))

    async def connect(self, target: str, *, timeout: float = CONNECT_TIMEOUT) -> Connection:
        """Resolve ``NAME:PORT``, open a TCP connection to its first address, and close it again."""
        return self._pump(try_connect(self.host, _dialled(target), timeout=timeout, env=self.env))

    async def ping(
        self, target: str, *, sequence: int = 1, size: int = 56, df: bool = False, timeout: float = 1.0
    ) -> EchoReply:
        """One ICMP echo to a name or address; TimeoutError when nothing comes back."""
        return self._pump(self._ping(target, sequence=sequence, size=size, df=df, timeout=timeout))

    async def _ping(self, target: str, *, sequence: int, size: int, df: bool, timeout: float) -> EchoReply:
        address, _ = await resolve_first(self.host, target, self.env)
        if address is None:
            raise UsageError(f"ping: {target}: Name or service not known")
        return await self.host.ping(address, sequence=sequence, size=size, df=df, timeout=timeout)

    async def exec(
        self, argv: Sequence[str], *, stdin: str = "", terminal: Terminal | None = None
    ) -> Outcome:
        """Run a command as ``kubectl exec`` does; ``terminal`` sees its output as it is written."""
        start = self._invocation
        identity = start.identity if start is not None else Identity(node=self.title)
        return self._pump(
            run_command(
                self.host,
                argv,
                env=self.env,
                stdin=stdin,
                identity=identity,
                flavour=flavour_of(start.image if start is not None else "debian"),
                terminal=terminal,
            )
        )

    async def trace(self, target: str, *, timeout: float = CONNECT_TIMEOUT) -> Trace:
        """Explain one connection to ``NAME:PORT``: every decision on the way, with its reason."""
        from netsim.cluster.trace import Trace, name_hint

        cluster, parsed, recorder = self.cluster, _dialled(target), Recorder()
        with cluster.plane.recording(recorder):
            connection = self._pump(try_connect(self.host, parsed, timeout=timeout, env=self.env))
            cluster.advance(TEARDOWN_SECONDS)
        resolv_conf = self.host.files.get("/etc/resolv.conf", "")
        unresolved = connection.result == "unresolved"
        return Trace(
            self.title,
            parsed,
            connection,
            journeys_of(recorder.records),
            cluster.names(),
            {entry.name: entry.title for entry in cluster.plan if isinstance(entry, PlannedHost)},
            resolv_conf,
            name_hint(cluster, self.title, parsed.name, resolv_conf) if unresolved else "",
        )

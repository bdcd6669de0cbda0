"""CoreDNS's image: the server on the Pod's sockets, its HTTP pages, its log, and how it ends.

What it would print is in the Pod's file LOG. SIGTERM ends it after its lameduck time, during which it still
serves; a reload opens and closes what the new Corefile asks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from errno import EADDRINUSE
from functools import partial
from ipaddress import IPv4Address, ip_address

from netsim.base.errors import CorefileError, UsageError
from netsim.clusterdns.server import Command, Exit, Server
from netsim.programs.dns import Service
from netsim.programs.host import Host, Invocation, Listener, Task, Trap
from netsim.programs.http_server import Request, Response, serve_http
from netsim.programs.waiting import forever

COREFILE = "/etc/coredns/Corefile"
LOG = "/var/log/coredns.log"
TERMINATION_LOG = "/dev/termination-log"
"""Where a container leaves its last words for the kubelet (terminationMessagePath)."""


async def coredns(host: Host, start: Invocation) -> int:
    """CoreDNS's image. A Corefile that CoreDNS would refuse ends it with exit code 1.

    ``start.services``: ``zone`` is the cluster's KubernetesZone, ``corefile`` the Corefile's text, which the
    kubelet puts into the file COREFILE; what is written there later is what the plugin ``reload`` finds;
    ``address`` the only one that it serves at, as the plugin ``bind`` would have it, all if it is not there.
    Upstreams come from the Corefile and the host's /etc/resolv.conf, ``{$NAME}`` from the environment.
    """
    text = host.files[COREFILE] = start.services["corefile"]
    try:
        server = Server(
            text,
            start.services["zone"],
            host.rng.derive("coredns"),
            files=host.files,
            env=start.env,
            addresses=_own_addresses(host, start),
            name=COREFILE,
        )
    except CorefileError as error:
        host.files[LOG] = host.files[TERMINATION_LOG] = f"{error.message}\n"
        return 1
    service = _CoreDns(host, server, start.services.get("address"))
    try:
        await service.run()
    except OSError as error:
        if error.errno != EADDRINUSE:
            raise
        host.files[TERMINATION_LOG] = "Listen: bind: address already in use\n"
        return 1
    return service.exit_code


def _own_addresses(host: Host, start: Invocation) -> Sequence[str]:
    if start.identity.pod_ip:
        return (start.identity.pod_ip,)
    addresses = (cidr.partition("/")[0] for view in host.interfaces() for cidr in view.addresses)
    return [address for address in addresses if not ip_address(address).is_loopback]


class _CoreDns(Service):
    """The process. ``exit_code`` is 1 when the server ended it."""

    def __init__(self, host: Host, server: Server, address: IPv4Address | None) -> None:
        super().__init__(host, server, address)
        self.exit_code = 0
        self._server = server
        self._pages: dict[int, tuple[Listener, Task[None]]] = {}
        self._shown = 0
        self._life: Task[None] | None = None

    async def _serve(self) -> None:
        self._life = self._host.spawn(forever(self._host), "coredns: until it is told to end")
        self._start("coredns: SIGTERM", partial(self._await_end, self._host.trap()))
        await self._obey(self._server.start(self._host.now()))
        try:
            await self._life.join()
        except UsageError:
            return  # cancelled: it was told to end
        finally:
            self._life.cancel()
            for listener, _ in self._pages.values():
                listener.close()

    async def _await_end(self, sigterm: Trap) -> None:
        await sigterm.wait()
        lameduck = self._server.lameduck
        if lameduck:
            self._server.log.info(f"plugin/health: Going into lameduck mode for {lameduck:g}s")
            self._show_log()
            await self._host.sleep(lameduck)
        self._end(0)

    def _exit(self, command: Exit) -> None:
        self._host.files[TERMINATION_LOG] = f"{command.message}\n"
        self._end(1)

    def _end(self, code: int) -> None:
        self.exit_code = code
        if self._life is not None:
            self._life.cancel()

    async def _open(self) -> None:
        """Listen for DNS and for HTTP."""
        await super()._open()
        wanted = self._server.page_ports
        for port in [port for port in self._pages if port not in wanted]:
            listener, task = self._pages.pop(port)
            task.cancel()
            listener.close()
        for port in wanted:
            if port not in self._pages:
                listener = await self._host.listen(port)
                body = partial(serve_http, self._host, listener, partial(self._page, port), server="coredns")
                self._pages[port] = (listener, self._start(f"coredns: port {port}/http", body))

    def _page(self, port: int, request: Request) -> Response:
        page = self._server.page(port, request.path)
        return Response(page.text, page.status)

    async def _obey(self, commands: Sequence[Command]) -> None:
        await super()._obey(commands)
        self._show_log()

    def _show_log(self) -> None:
        log = self._server.log
        if log.written != self._shown:
            self._shown = log.written
            self._host.files[LOG] = log.render()

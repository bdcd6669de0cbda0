"""ping, as iputils prints it and as busybox prints it."""

from __future__ import annotations

import math
from typing import NamedTuple

from netsim.base.address import IpAddress
from netsim.programs.clock import wall_clock
from netsim.programs.host import EchoReply, Task
from netsim.programs.tools.call import Call, Failure
from netsim.programs.tools.hostview import interface_named, is_own
from netsim.programs.tools.names import NameNotFound, ReverseNames, addresses_of, family_of, literal
from netsim.programs.tools.options import read_options
from netsim.resolver.commands import Family

PATIENCE = 10.0
"""Seconds that ping waits for an answer after its last request (MAXWAIT)."""
HEADERS = {4: 28, 6: 48}
"""Octets of an IP and an ICMP header, by family."""
TIMESTAMP = 16
"""Octets of payload that ping needs to measure a round trip."""
FIRST_TTL = 64
SEQUENCES = 0xFFFF
"""The sequence number has 16 bits, and begins at 0 again after the last one."""
LARGEST = 65507
"""Octets of payload that fit into an IPv4 packet."""
ERRORS = {
    "ttl-exceeded": "Time to live exceeded",
    "net-unreachable": "Destination Net Unreachable",
    "host-unreachable": "Destination Host Unreachable",
    "protocol-unreachable": "Destination Protocol Unreachable",
    "port-unreachable": "Destination Port Unreachable",
    "fragmentation-needed": "Frag needed and DF set",
    "admin-prohibited": "Packet filtered",
}
ERRORS6 = {
    "ttl-exceeded": "Time exceeded: Hop limit",
    "net-unreachable": "Destination unreachable: No route",
    "host-unreachable": "Destination unreachable: Address unreachable",
    "protocol-unreachable": "Parameter problem: Unknown nextheader",
    "port-unreachable": "Destination unreachable: Port unreachable",
    "fragmentation-needed": "Packet too big",
    "admin-prohibited": "Destination unreachable: Administratively prohibited",
}
"""iputils: ping6_common.c, print_icmp."""


class Settings(NamedTuple):
    """The options; times in seconds. ``requests`` 0 and ``deadline`` inf: until cancelled."""

    requests: int
    interval: float
    patience: float
    deadline: float
    size: int
    ttl: int
    df: bool
    quiet: bool
    numeric: bool
    stamped: bool


async def ping(call: Call) -> int:
    options = read_options(call, "46abBdDfhLnOqrRUvVAc:i:I:l:m:M:p:Q:s:S:t:T:w:W:", code=2)
    if not options.operands:
        raise Failure("usage error: Destination address required")
    target = options.operands[-1]
    settings = Settings(
        requests=int(options.number("c", default=0, low=1, high=2**31 - 1)),
        interval=options.number("i", default=1.0),
        patience=options.number("W", default=PATIENCE),
        deadline=options.number("w", default=math.inf),
        size=int(options.number("s", default=56, high=LARGEST)),
        ttl=int(options.number("t", default=FIRST_TTL, low=1, high=255)),
        df=options.value("M") == "do",
        quiet=options.has("q"),
        numeric=options.has("n") or literal(target) is not None,
        stamped=options.has("D"),
    )
    try:
        family = Family.INET6 if call.name.endswith("6") else family_of(options)
        asked = family if call.context.busybox else Family.UNSPEC  # iputils asks for both
        address = (await addresses_of(call, target, family=family, asked=asked))[0]
    except NameNotFound as error:
        if call.context.busybox:
            raise Failure(f"bad address '{target}'") from None
        raise Failure(f"{target}: {error.reason}", 2) from None
    run = _Run(call, settings, target, address)
    return await run.go()


class _Run:
    """One ping: a request each interval, an answer whenever it comes."""

    def __init__(self, call: Call, settings: Settings, target: str, address: IpAddress) -> None:
        self.call = call
        self.settings = settings
        self.target = target
        self.address = address
        self.names = ReverseNames(call)
        self.mtu = 0
        self.sent = 0
        self.errors = 0
        self.times: list[float] = []
        self.began = self.last_sent = call.host.now()
        self.waiting: dict[int, Task[None]] = {}

    async def go(self) -> int:
        """Send, wait for what is still on its way, print the statistics; the exit code."""
        settings = self.settings
        self._look_up_route()
        await self._introduce()
        try:
            await self._send_and_wait()
        except KeyboardInterrupt:
            self._conclude()
            raise
        self._conclude()
        too_few = settings.deadline < math.inf and len(self.times) < settings.requests
        return 1 if not self.times or too_few else 0

    async def _send_and_wait(self) -> None:
        host, settings = self.call.host, self.settings
        until = self.began + settings.deadline
        while True:
            self.sent += 1
            sequence = self.sent & SEQUENCES
            self.last_sent = host.now()
            patience = min(settings.patience, until - host.now())
            self.waiting[sequence] = host.spawn(self._probe(sequence, patience), "ping request")
            if self.sent == settings.requests or host.now() + settings.interval >= until:
                break
            await host.sleep(settings.interval)
        for probe in list(self.waiting.values()):
            await probe.join()

    def _look_up_route(self) -> None:
        route = self.call.host.route_to(self.address)
        if route is not None:
            view = interface_named(self.call.host, route.device)
            self.mtu = view.mtu if view is not None else 0
        elif not is_own(self.call.host, self.address):
            action = "sendto" if self.call.context.busybox else "connect"
            raise Failure(f"{action}: Network is unreachable", 1 if self.call.context.busybox else 2)

    async def _probe(self, sequence: int, patience: float) -> None:
        settings, busybox = self.settings, self.call.context.busybox
        try:
            if settings.df and self.mtu and settings.size + HEADERS[self.address.version] > self.mtu:
                self.errors += 1
                mtu = f"mtu={self.mtu}" if self.address.version == 4 else f"mtu: {self.mtu}"
                local = f"local error: message too long, {mtu}"
                self.call.fail("sendto: Message too large" if busybox else local)
                return
            reply = await self.call.host.ping(
                self.address, sequence=(sequence - busybox) & SEQUENCES, size=settings.size, ttl=settings.ttl,
                timeout=patience, df=settings.df,
            )  # fmt: skip
            await self._report(reply, sequence)
        except TimeoutError:
            return
        except OSError as error:
            self.errors += 1
            self.call.fail(f"sendmsg: {error.strerror}")
        finally:
            self.waiting.pop(sequence, None)

    # --- printing ------------------------------------------------------------------------------------

    async def _introduce(self) -> None:
        size = self.settings.size
        if self.call.context.busybox:
            self.call.write(f"PING {self.target} ({self.address}): {size} data bytes\n")
        elif self.address.version == 4:
            whole = size + HEADERS[4]
            self.call.write(f"PING {self.target} ({self.address}) {size}({whole}) bytes of data.\n")
        else:
            where = await self._name(self.address)
            self.call.write(f"PING {self.target}({where}) {size} data bytes\n")

    async def _report(self, reply: EchoReply, sequence: int) -> None:
        busybox, settings = self.call.context.busybox, self.settings
        if reply.kind != "reply":
            self.errors += 1
            if not busybox and not settings.quiet:
                errors = ERRORS if self.address.version == 4 else ERRORS6
                why = errors.get(reply.kind, reply.kind)
                self.call.write(
                    f"{self._stamp()}From {await self._name(reply.source)} icmp_seq={sequence} {why}\n"
                )
            return
        self.times.append(reply.elapsed)
        if settings.quiet:
            return
        timed = settings.size >= TIMESTAMP
        if busybox:
            time = f" time={reply.elapsed * 1000:.3f} ms" if timed else ""
            name, field = str(reply.source), f"seq={(sequence - 1) & SEQUENCES}"
        else:
            time = f" time={_milliseconds(reply.elapsed)} ms" if timed else ""
            name, field = await self._name(reply.source), f"icmp_seq={sequence}"
        self.call.write(f"{self._stamp()}{reply.size} bytes from {name}: {field} ttl={reply.ttl}{time}\n")

    def _stamp(self) -> str:
        return f"[{wall_clock(self.call.host).timestamp():.6f}] " if self.settings.stamped else ""

    async def _name(self, address: IpAddress) -> str:
        if self.settings.numeric:
            return str(address)
        return f"{await self.names.name(address)} ({address})"

    def _conclude(self) -> None:
        got, write = len(self.times), self.call.write
        loss = (self.sent - got) * 100 / max(self.sent, 1)
        write(f"\n--- {self.target} ping statistics ---\n")
        if self.call.context.busybox:
            write(f"{self.sent} packets transmitted, {got} packets received, {int(loss)}% packet loss\n")
        else:
            errors = f", +{self.errors} errors" if self.errors else ""
            elapsed = round((self.last_sent - self.began) * 1000)
            write(
                f"{self.sent} packets transmitted, {got} received{errors}, "
                f"{loss:g}% packet loss, time {elapsed}ms\n"
            )
        if got and self.settings.size >= TIMESTAMP:
            write(self._round_trips())
        elif not self.call.context.busybox:
            write("\n")

    def _round_trips(self) -> str:
        least, most = min(self.times) * 1000, max(self.times) * 1000
        mean = sum(self.times) / len(self.times) * 1000
        if self.call.context.busybox:
            return f"round-trip min/avg/max = {least:.3f}/{mean:.3f}/{most:.3f} ms\n"
        squares = sum((time * 1000) ** 2 for time in self.times) / len(self.times)
        deviation = math.sqrt(max(squares - mean**2, 0.0))
        return f"rtt min/avg/max/mdev = {least:.3f}/{mean:.3f}/{most:.3f}/{deviation:.3f} ms\n"


def _milliseconds(seconds: float) -> str:
    """Three significant digits, as iputils prints a round trip (ping_common.c, gather_statistics)."""
    value = round(seconds * 1_000_000) / 1000
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:.{digits}f}"

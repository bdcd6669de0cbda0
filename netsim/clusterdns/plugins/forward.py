"""forward: questions for other servers.

Built: ``forward FROM TO...`` with plain DNS upstreams (addresses, or files such as /etc/resolv.conf),
``except``, ``policy``, ``max_fails``, ``max_connect_attempts``, ``health_check``, ``force_tcp``,
``prefer_udp``, ``read_timeout``, ``max_concurrent``, ``next``, ``next_on_nodata``, ``failover``,
``failfast_all_unhealthy_upstreams``. Read and without effect, as every question has its own socket here:
``expire``, ``max_age``, ``max_idle_conns``. Refused as not built yet: upstreams named by hostname or reached
by TLS or HTTPS, and the options for them. Sources: coredns ``plugin/forward/setup.go``, ``forward.go``,
``policy.go``, ``plugin/pkg/proxy``, ``plugin/pkg/up``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any, NamedTuple

from netsim.base.errors import CorefileError, WireError
from netsim.clusterdns.chain import (
    Ask,
    Failure,
    Follow,
    Handler,
    Outcome,
    Pause,
    Request,
    Setup,
    Steps,
    Transport,
    Upstream,
)
from netsim.clusterdns.corefile import TRANSPORTS, Controller, duration, go_duration, integer, unsigned
from netsim.clusterdns.metrics import (
    FORWARD_BROKEN,
    FORWARD_REJECTS,
    PROXY_CHECK_FAILURES,
    PROXY_CONNECTIONS,
    PROXY_DURATION,
)
from netsim.clusterdns.names import absolute, is_name, is_subdomain, normalize_zones
from netsim.wire import dns
from netsim.wire.dns import NS, Message, Rcode

READ_TIMEOUT = 2.0
TOTAL_TIMEOUT = 5.0  # forward.go defaultTimeout
ATTEMPTS_PER_UPSTREAM = 2  # forward.go defaultConnectAttemptsPerUpstream
MAXIMUM_UPSTREAMS = 15
MAXIMUM_FAILS = 2
HEALTH_CHECK_INTERVAL = 0.5
HEALTH_CHECK_TIMEOUT = 1.0  # plugin/pkg/proxy/health.go

NO_PROXY = "no healthy proxies"  # ErrNoHealthy

POLICIES = ("random", "round_robin", "sequential")


class Settings(NamedTuple):
    """The options. Times are seconds; 0 ``maximum_fails``, ``maximum_concurrent`` mean no limit."""

    zone: str
    excepted: tuple[str, ...] = ()
    policy: str = "random"
    maximum_fails: int = MAXIMUM_FAILS
    maximum_attempts: int | None = None
    health_interval: float = HEALTH_CHECK_INTERVAL
    health_domain: str = "."
    health_recursion: bool = True
    force_tcp: bool = False
    prefer_udp: bool = False
    read_timeout: float = READ_TIMEOUT
    maximum_concurrent: int = 0
    next_rcodes: frozenset[int] = frozenset()
    next_on_nodata: bool = False
    failover_rcodes: frozenset[int] = frozenset()
    fail_fast: bool = False
    expiry: float = 10.0
    maximum_age: float = 0.0


class Proxy:
    """One upstream and what is known of its health."""

    __slots__ = ("fails", "probed", "upstream")

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.fails = 0
        self.probed = False


class Forward:
    """The handler. ``onward`` says whether another forward of the same block comes next."""

    def __init__(self, setup: Setup, settings: Settings, upstreams: Sequence[Upstream]) -> None:
        self._settings = settings
        self._proxies = [Proxy(upstream) for upstream in upstreams]
        self._clock = setup.process.clock
        self._rng = setup.rng
        self._spawn = setup.process.spawn
        self._metrics = setup.process.metrics
        self._own = next(iter(setup.process.addresses), "")
        self._concurrent = 0
        self._robin = 0
        self.onward = False

    @property
    def upstreams(self) -> tuple[Upstream, ...]:
        """The servers that it asks."""
        return tuple(proxy.upstream for proxy in self._proxies)

    def handle(self, request: Request, following: Follow) -> Steps[Outcome]:
        if not self._serves(request.lower):
            return (yield from following(request))
        limit = self._settings.maximum_concurrent
        if limit and self._concurrent >= limit:
            self._metrics.add(FORWARD_REJECTS)
            error = f"concurrent queries exceeded maximum {limit}"
            return Outcome(f"forward: {error}: REFUSED", rcode=Rcode.REFUSED, error=error)
        self._concurrent += 1
        try:
            return (yield from self._forward(request, following))
        finally:
            self._concurrent -= 1

    def _serves(self, name: str) -> bool:
        zone = self._settings.zone
        if not is_subdomain(zone, name):
            return False
        return name == zone or not any(is_subdomain(other, name) for other in self._settings.excepted)

    def _forward(self, request: Request, following: Follow) -> Steps[Outcome]:
        """Try upstreams until one answers, as ServeDNS's loop does."""
        settings = self._settings
        deadline = self._clock.now + TOTAL_TIMEOUT
        proxies = self._list()
        attempts_left = settings.maximum_attempts
        if attempts_left is None:
            attempts_left = ATTEMPTS_PER_UPSTREAM * len(proxies)
        unlimited = attempts_left == 0
        position = fails = failovers = 0
        error = NO_PROXY
        proxy = proxies[0]
        while self._clock.now < deadline and (unlimited or attempts_left > 0):
            if position >= len(proxies):
                position = fails = 0
            proxy = proxies[position]
            position += 1
            if self._down(proxy):
                fails += 1
                if fails < len(proxies):
                    continue
                self._metrics.add(FORWARD_BROKEN)
                if settings.fail_fast:
                    break
                proxy = self._rng.choice(self._proxies)  # the health checks must be wrong
            message, error = yield from self._exchange(request, proxy.upstream)
            if message is None:
                self._check_health(proxy)
                attempts_left -= 1
                if fails < len(proxies):
                    continue
                break
            if message.rcode in settings.failover_rcodes:
                failovers += 1
                if failovers < len(proxies):
                    continue
            if self.onward and self._passes_on(message):
                return (yield from following(request))
            return self._answer(request, message, proxy)
        cause = f"forward: no answer from {proxy.upstream} ({error}): SERVFAIL"
        return Outcome(cause, error=self._go_error(request, proxy.upstream, error))

    def _go_error(self, request: Request, upstream: Upstream, error: str) -> str:
        """The error as Go's net package words it, but for the local port."""
        if error == NO_PROXY:
            return error
        transport = "tcp" if self._settings.force_tcp else request.transport.value
        return f"read {transport} {self._own}->{_host_port(upstream)}: {error}"

    def _list(self) -> Sequence[Proxy]:
        match self._settings.policy:
            case "sequential":
                return self._proxies
            case "round_robin":
                self._robin += 1
                first = self._robin % len(self._proxies)
                return [self._proxies[first], *self._proxies[:first], *self._proxies[first + 1 :]]
        return self._proxies if len(self._proxies) == 1 else self._rng.shuffled(self._proxies)

    def _down(self, proxy: Proxy) -> bool:
        return 0 < self._settings.maximum_fails < proxy.fails

    def _exchange(self, request: Request, upstream: Upstream) -> Steps[tuple[Message | None, str]]:
        """The upstream's answer, or None and the reason."""
        settings = self._settings
        transport = Transport.UDP if settings.prefer_udp else request.transport
        if settings.force_tcp:
            transport = Transport.TCP
        while True:
            question = request.message._replace(id=self._rng.below(1 << 16))
            why = f"forward: ask {upstream}"
            began = self._clock.now
            self._metrics.add(PROXY_CONNECTIONS, ("forward", _host_port(upstream), transport.value))
            got = yield Ask(upstream, dns.build(question), transport, settings.read_timeout, why)
            if isinstance(got, Failure):
                return None, got.error
            try:
                message = dns.parse(got)
            except WireError as error:
                return None, str(error)
            if transport is Transport.UDP and len(got) > request.size:  # connect.go truncateResponse
                message = message._replace(truncated=True, answers=(), authority=(), additional=(), edns=None)
            labels = ("forward", _host_port(upstream), dns.rcode_name(message.rcode))
            self._metrics.observe(PROXY_DURATION, labels, self._clock.now - began)
            if not (message.truncated and settings.prefer_udp and transport is Transport.UDP):
                return message._replace(id=request.message.id), ""
            transport = Transport.TCP

    def _passes_on(self, message: Message) -> bool:
        if message.rcode in self._settings.next_rcodes:
            return True
        return self._settings.next_on_nodata and message.rcode == Rcode.NOERROR and not message.answers

    @staticmethod
    def _answer(request: Request, message: Message, proxy: Proxy) -> Outcome:
        if not request.matches(message):
            return Outcome(
                f"forward: {proxy.upstream} answered another question: FORMERR", request.reply(Rcode.FORMERR)
            )
        rcode = "" if message.rcode == Rcode.NOERROR else f": {dns.rcode_name(message.rcode)}"
        return Outcome(f"forward: answer from {proxy.upstream}{rcode}", message)

    # --- health ---

    def _check_health(self, proxy: Proxy) -> None:
        if self._settings.maximum_fails and not proxy.probed:
            proxy.probed = True
            self._spawn(self._probe(proxy))

    def _probe(self, proxy: Proxy) -> Steps[None]:
        """Ask until the upstream says anything at all."""
        settings = self._settings
        transport = Transport.TCP if settings.force_tcp else Transport.UDP
        while True:
            question = dns.query(
                self._rng.below(1 << 16),
                settings.health_domain,
                NS,
                recursion_desired=settings.health_recursion,
            )
            why = f"forward: health check of {proxy.upstream}"
            got = yield Ask(proxy.upstream, question, transport, HEALTH_CHECK_TIMEOUT, why)
            if not isinstance(got, Failure):
                break
            proxy.fails += 1
            self._metrics.add(PROXY_CHECK_FAILURES, ("forward", _host_port(proxy.upstream)))
            yield Pause(settings.health_interval)
        proxy.fails = 0
        proxy.probed = False


def _host_port(upstream: Upstream) -> str:
    address = upstream.address
    return f"{address}:{upstream.port}" if address.version == 4 else f"[{address}]:{upstream.port}"


# --- the Corefile --------------------------------------------------------------------------------------


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``forward FROM TO... { … }``, as often as wanted; they are tried in the order of the Corefile."""
    handlers: list[Forward] = []
    while c.next():
        if not c.next_argument():
            raise c.argument_error()
        zones = normalize_zones([c.value])
        if not zones:
            raise CorefileError(f"unable to normalize '{c.value}'")
        words = c.arguments()
        if not words:
            raise c.argument_error()
        settings = Settings(zones[0])
        while c.next_in_block():
            settings = _OPTIONS.get(c.value, _unknown)(c, settings)
        if 0 < settings.maximum_age < settings.expiry:
            ages = (go_duration(settings.maximum_age), go_duration(settings.expiry))
            raise CorefileError("max_age ({}) must not be less than expire ({})".format(*ages))
        upstreams = list(dict.fromkeys(u for word in words for u in _upstreams(c, setup, word)))
        if not upstreams:
            raise CorefileError("no valid upstream addresses found")
        if len(upstreams) > MAXIMUM_UPSTREAMS:
            raise CorefileError(f"more than {MAXIMUM_UPSTREAMS} TOs configured: {len(upstreams)}")
        handlers.append(Forward(setup, settings, upstreams))
    for handler in handlers[:-1]:
        handler.onward = True
    return handlers


def _upstreams(c: Controller, setup: Setup, word: str) -> list[Upstream]:
    """The servers that one TO names (plugin/pkg/parse HostPortOrFile)."""
    scheme, separator, rest = word.partition("://")
    if not (rest if separator else word):
        raise CorefileError(f'invalid address: "{word}"')
    if separator and scheme in TRANSPORTS:
        if scheme in ("tls", "https"):
            raise c.error(f"netsim does not build {scheme} upstreams of forward yet")
        if scheme != "dns":
            raise CorefileError(f"'{scheme}' is not supported as a destination protocol in forward: {word}")
        word = rest
    upstream = upstream_of(word)
    if upstream is not None:
        return [upstream]
    if word in setup.process.files:
        return nameservers(setup.process.files[word])
    if word.startswith("/"):
        raise CorefileError(f'not an IP address, file, or valid domain: "{word}"')
    raise c.error(f"netsim does not build upstreams of forward that are named by hostname yet: {word}")


def upstream_of(word: str) -> Upstream | None:
    """``192.0.2.1``, ``192.0.2.1:5353``, ``2001:db8::1``, ``[2001:db8::1]:5353``."""
    host, colon, port = word.rpartition(":")
    if not colon or not port.isdecimal() or (":" in host and not host.endswith("]")):
        host, port = word, "53"
    try:
        return Upstream(ip_address(host.strip("[]")), int(port))
    except ValueError:
        return None


def nameservers(text: str) -> list[Upstream]:
    """The nameserver lines of a resolv.conf."""
    words = (line.split() for line in text.splitlines())
    found = (upstream_of(line[1]) for line in words if len(line) > 1 and line[0] == "nameserver")
    return [upstream for upstream in found if upstream is not None]


def _unknown(c: Controller, settings: Settings) -> Settings:
    raise c.error(f"unknown property '{c.value}'")


def _not_built(c: Controller, settings: Settings) -> Settings:
    raise c.error(f"netsim does not build the option '{c.value}' of forward yet")


def _flag(field: str) -> Callable[[Controller, Settings], Settings]:
    def set_flag(c: Controller, settings: Settings) -> Settings:
        if field == "fail_fast":
            c.no_argument()
        else:
            c.flag()
        changed: dict[str, Any] = {field: True}
        return settings._replace(**changed)

    return set_flag


def _not_negative(
    field: str, read: Callable[[str], float], shown: Callable[[float], str]
) -> Callable[[Controller, Settings], Settings]:
    def set_amount(c: Controller, settings: Settings) -> Settings:
        name = c.value
        value = read(_first(c))
        if value < 0:
            raise CorefileError(f"{name} can't be negative: {shown(value)}")
        changed: dict[str, Any] = {field: value}
        return settings._replace(**changed)

    return set_amount


def _unsigned(field: str) -> Callable[[Controller, Settings], Settings]:
    def set_number(c: Controller, settings: Settings) -> Settings:
        changed: dict[str, Any] = {field: unsigned(_first(c), 32)}
        return settings._replace(**changed)

    return set_number


def _first(c: Controller) -> str:
    if not c.next_argument():
        raise c.argument_error()
    return c.value


def _ignored_number(c: Controller, settings: Settings) -> Settings:
    name = c.value
    if integer(_first(c)) < 0:
        raise CorefileError(f"{name} can't be negative: {c.value}")
    return settings


def _except(c: Controller, settings: Settings) -> Settings:
    words = c.arguments()
    if not words:
        raise c.argument_error()
    return settings._replace(excepted=settings.excepted + normalize_zones(words))


def _policy(c: Controller, settings: Settings) -> Settings:
    word = _first(c)
    if word not in POLICIES:
        raise c.error(f"unknown policy '{word}'")
    return settings._replace(policy=word)


def _health_check(c: Controller, settings: Settings) -> Settings:
    """``health_check DURATION [no_rec] [domain FQDN]``."""
    seconds = duration(_first(c))
    if seconds < 0:
        raise CorefileError(f"health_check can't be negative: {round(seconds * 1e9)}")
    settings = settings._replace(health_interval=seconds, health_domain=".")
    while c.next_argument():
        match c.value:
            case "no_rec":
                settings = settings._replace(health_recursion=False)
            case "domain":
                if not is_name(_first(c)):
                    raise CorefileError(f"health_check: invalid domain name {c.value}")
                settings = settings._replace(health_domain=absolute(c.value).lower())
            case word:
                raise CorefileError(f"health_check: unknown option {word}")
    return settings


def _read_timeout(c: Controller, settings: Settings) -> Settings:
    seconds = duration(_first(c))
    if seconds <= 0:
        raise CorefileError(f"read_timeout must be positive: {go_duration(seconds)}")
    return settings._replace(read_timeout=seconds)


def _rcodes(c: Controller) -> frozenset[int]:
    words = c.arguments()
    if not words:
        raise c.argument_error()
    for word in words:
        if word.upper() not in Rcode.__members__:
            raise CorefileError(f"{word} is not a valid rcode")
    return frozenset(Rcode[word.upper()] for word in words)


def _next(c: Controller, settings: Settings) -> Settings:
    return settings._replace(next_rcodes=settings.next_rcodes | _rcodes(c))


def _failover(c: Controller, settings: Settings) -> Settings:
    rcodes = _rcodes(c)
    if Rcode.NOERROR in rcodes:
        raise CorefileError("NoError cannot be used in failover")
    return settings._replace(failover_rcodes=settings.failover_rcodes | rcodes)


_OPTIONS: dict[str, Callable[[Controller, Settings], Settings]] = {
    "except": _except,
    "policy": _policy,
    "max_fails": _unsigned("maximum_fails"),
    "max_connect_attempts": _unsigned("maximum_attempts"),
    "max_concurrent": _not_negative("maximum_concurrent", integer, str),
    "health_check": _health_check,
    "force_tcp": _flag("force_tcp"),
    "prefer_udp": _flag("prefer_udp"),
    "read_timeout": _read_timeout,
    "next": _next,
    "next_on_nodata": _flag("next_on_nodata"),
    "failover": _failover,
    "failfast_all_unhealthy_upstreams": _flag("fail_fast"),
    "expire": _not_negative("expiry", duration, go_duration),
    "max_age": _not_negative("maximum_age", duration, go_duration),
    "max_idle_conns": _ignored_number,
    "tls": _not_built,
    "tls_servername": _not_built,
    "doh_method": _not_built,
    "resolver": _not_built,
    "source_address": _not_built,
}

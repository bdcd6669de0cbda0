"""hosts: addresses from a hosts file and from the Corefile.

``hosts [FILE [ZONES...]] { [INLINE] ttl; no_reverse; reload; fallthrough [ZONES...];
fallthrough_unsupported }``. The file is read again every ``reload`` (5 s). There is no SOA to deny with, so a
miss without fallthrough is SERVFAIL; a PTR miss always goes on. Source: coredns ``plugin/hosts``.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import NamedTuple

from netsim.base.errors import CorefileError
from netsim.clusterdns.chain import Follow, Handler, Outcome, Pause, Request, Setup, Steps
from netsim.clusterdns.corefile import Controller, duration, integer
from netsim.clusterdns.metrics import HOSTS_ENTRIES, HOSTS_RELOADED
from netsim.clusterdns.names import absolute, address_from_reverse, longest_zone, packed_address
from netsim.objects.codec import EPOCH
from netsim.wire.dns import AAAA, IN, PTR, A, Record
from netsim.wire.dnsname import split_name

FILE = "/etc/hosts"
TTL = 3600
RELOAD = 5.0
MAXIMUM_TTL = 65535

_SIZES = {A: 4, AAAA: 16}


class Settings(NamedTuple):
    """The options. ``reload`` is in seconds, 0 for never."""

    path: str
    zones: tuple[str, ...]
    inline: tuple[str, ...] = ()
    ttl: int = TTL
    reverse: bool = True
    reload: float = RELOAD
    fallthrough: tuple[str, ...] = ()
    fallthrough_unsupported: bool = False


class Table:
    """Lines of a hosts file: lower-case name → packed addresses, and address → names."""

    def __init__(self, text: str, settings: Settings) -> None:
        self.addresses: dict[str, list[bytes]] = {}
        self.names: dict[bytes, list[str]] = {}
        for line in text.splitlines():
            words = line.partition("#")[0].split()
            packed = packed_address(words[0].partition("%")[0]) if len(words) > 1 else None
            if packed is not None:
                for name in (absolute(word).lower() for word in words[1:]):
                    if longest_zone(settings.zones, name):
                        self._add(name, packed, settings.reverse)

    def _add(self, name: str, packed: bytes, reverse: bool) -> None:
        self.addresses.setdefault(name, []).append(packed)
        if reverse and not name.startswith("*."):
            self.names.setdefault(packed, []).append(name)

    def __len__(self) -> int:
        return sum(map(len, self.addresses.values())) + sum(map(len, self.names.values()))

    def find(self, name: str, size: int) -> list[bytes]:
        """The addresses of a size under a name, or else under the wildcard beside it."""
        found = [packed for packed in self.addresses.get(name, ()) if len(packed) == size]
        if found:
            return found
        labels = split_name(name)
        if len(labels) < 2:
            return []
        wildcard = ".".join(["*", *labels[1:], ""])
        return [packed for packed in self.addresses.get(wildcard, ()) if len(packed) == size]


class Hosts:
    """The handler."""

    def __init__(self, setup: Setup, settings: Settings) -> None:
        self._settings = settings
        self._process = setup.process
        self._inline = Table("\n".join(settings.inline), settings)
        self._text = ""
        self._file = Table("", settings)

    def start(self) -> None:
        """Read the file, and go on reading it."""
        self._read()
        if self._settings.reload > 0:
            self._process.spawn(self._watch())

    def _watch(self) -> Steps[None]:
        while True:
            yield Pause(self._settings.reload)
            self._read()

    def _read(self) -> None:
        text = self._process.files.get(self._settings.path)
        if text is None or text == self._text:
            return
        self._text = text
        self._file = Table(text, self._settings)
        count = float(len(self._file) + len(self._inline))
        self._process.metrics.set(HOSTS_ENTRIES, (self._settings.path,), count)
        self._process.metrics.set(HOSTS_RELOADED, (), EPOCH.timestamp() + self._process.clock.now)

    def handle(self, request: Request, following: Follow) -> Steps[Outcome]:
        settings, name, qtype = self._settings, request.lower, request.qtype
        if qtype != PTR and not longest_zone(settings.zones, name):
            return (yield from following(request))
        passes = bool(longest_zone(settings.fallthrough, name))
        records: list[Record] = []
        if qtype == PTR:
            records = self._pointers(name)
            if not records:
                return (yield from following(request))
        elif qtype in _SIZES:
            found = self._find(name, _SIZES[qtype])
            records = [Record(name, qtype, IN, settings.ttl, packed) for packed in found]
        elif settings.fallthrough_unsupported and passes:
            return (yield from following(request))
        if not records and not any(self._find(name, size) for size in _SIZES.values()):
            if passes:
                return (yield from following(request))
            return Outcome(f"hosts: no line for {name}, and no SOA to say so with: SERVFAIL")
        cause = "hosts: a line" if records else "hosts: a line of another family or type: NODATA"
        return Outcome(cause, request.reply(answers=records, authoritative=True))

    def _find(self, name: str, size: int) -> list[bytes]:
        return self._file.find(name, size) + self._inline.find(name, size)

    def _pointers(self, name: str) -> list[Record]:
        address = address_from_reverse(name)
        packed = ip_address(address).packed if address else b""
        names = (*self._file.names.get(packed, ()), *self._inline.names.get(packed, ()))
        return [Record(name, PTR, IN, self._settings.ttl, target) for target in names]


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``hosts [FILE [ZONES...]] { … }``; lines of the block that are no option are lines of a hosts file."""
    c.next()
    words = c.arguments()
    path = words.pop(0) if words else FILE
    if path not in setup.process.files and path != FILE:
        setup.process.log.warning(f"plugin/hosts: File does not exist: {path}")
    settings = Settings(path, c.origins(words))
    while c.next_in_block():
        settings = _option(c, settings)
    c.done()
    if settings.fallthrough_unsupported and not settings.fallthrough:
        raise c.error("fallthrough_unsupported requires fallthrough")
    handler = Hosts(setup, settings)
    setup.startup.append(handler.start)
    return [handler]


def _option(c: Controller, settings: Settings) -> Settings:
    match c.value:
        case "fallthrough":
            return settings._replace(fallthrough=c.fall_zones())
        case "fallthrough_unsupported":
            c.no_argument()
            return settings._replace(fallthrough_unsupported=True)
        case "no_reverse":
            return settings._replace(reverse=False)
        case "ttl":
            return settings._replace(ttl=_ttl(c))
        case "reload":
            return settings._replace(reload=_reload(c))
        case word if not settings.fallthrough:
            return settings._replace(inline=(*settings.inline, " ".join([word, *c.arguments()])))
        case word:
            raise c.error(f"unknown property '{word}'")


def _ttl(c: Controller) -> int:
    words = c.arguments()
    if not words:
        raise c.error("ttl needs a time in second")
    try:
        ttl = integer(words[0])
    except CorefileError:
        raise c.error("ttl needs a number of second") from None
    if not 0 < ttl <= MAXIMUM_TTL:
        raise c.error("ttl provided is invalid")
    return ttl


def _reload(c: Controller) -> float:
    words = c.arguments()
    if len(words) != 1:
        raise c.error("reload needs a duration (zero seconds to disable)")
    try:
        seconds = duration(words[0])
    except CorefileError:
        raise c.error(f"invalid duration for reload '{words[0]}'") from None
    if seconds < 0:
        raise c.error(f"invalid negative duration for reload '{words[0]}'")
    return seconds

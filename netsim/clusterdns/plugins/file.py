"""file: a zone from a zone file.

``file DBFILE [ZONES...] { reload DURATION; reload_by_mtime; fallthrough [ZONES...]; upstream }``. The file is
read again every minute and taken when its serial differs. DNSSEC records are served only when they are asked
for by type, and not added where a query sets DO, as CoreDNS adds them. Source: coredns ``plugin/file``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from netsim.base.errors import CorefileError, WireError
from netsim.clusterdns.chain import Follow, Handler, Outcome, Pause, Process, Request, Setup, Steps
from netsim.clusterdns.corefile import Controller, duration
from netsim.clusterdns.filezone import FileZone, Found, Result
from netsim.clusterdns.names import longest_zone
from netsim.clusterdns.zonefile import parse_zone
from netsim.wire.dns import AXFR, IXFR, SOA, Rcode, Record

RELOAD = 60.0


class Source(NamedTuple):
    """Where a zone comes from. ``reload`` is in seconds, 0 for never."""

    origin: str
    path: str
    reload: float = RELOAD
    by_mtime: bool = False


class File:
    """The handler. A zone whose file could not be read yet is None: SERVFAIL."""

    def __init__(
        self, setup: Setup, sources: Sequence[Source], fallthrough: tuple[str, ...], *, last: bool
    ) -> None:
        self._process = setup.process
        self._sources = tuple(sources)
        self._fallthrough = fallthrough
        self._last = last
        self._zones: dict[str, FileZone | None] = {
            source.origin: load(source, setup.process) if source.path in setup.process.files else None
            for source in sources
        }

    def start(self) -> None:
        """Go on reading the files."""
        for source in self._sources:
            if source.reload > 0:
                self._process.spawn(self._watch(source))

    def _watch(self, source: Source) -> Steps[None]:
        before = self._process.files.get(source.path)
        while True:
            yield Pause(source.reload)
            text = self._process.files.get(source.path)
            log, place = self._process.log, f'"{source.origin}" in "{source.path}"'
            if text is None:
                log.error(f"plugin/file: Failed to open zone {place}: no such file or directory")
                continue
            if text == before:
                continue
            before = text
            try:
                zone = load(source, self._process)
            except CorefileError as error:
                log.error(f'plugin/file: Parsing zone "{source.origin}": {error}')
                continue
            old = self._zones[source.origin]
            if old is None or source.by_mtime or old.serial != zone.serial:
                self._zones[source.origin] = zone
                log.info(f"plugin/file: Successfully reloaded zone {place} with {zone.serial} SOA serial")

    def handle(self, request: Request, following: Follow) -> Steps[Outcome]:
        origin = longest_zone(self._zones, request.lower)
        if not origin:
            if self._last:
                return Outcome("file: the name is in none of the zones: REFUSED", rcode=Rcode.REFUSED)
            return (yield from following(request))
        zone = self._zones[origin]
        if zone is None:
            return Outcome(f"file: the zone {origin} could not be read: SERVFAIL")
        if request.qtype in (AXFR, IXFR):
            return Outcome("file: zone transfers need the transfer plugin: REFUSED", rcode=Rcode.REFUSED)
        found = yield from zone.lookup(request, partial(self._process.resolve, request))
        missing = not found.answers and found.result in (Result.NAME_ERROR, Result.SUCCESS)
        if missing and longest_zone(self._fallthrough, request.lower):
            return (yield from following(request))
        return _outcome(request, origin, found)

    def transfer(self, zone: str, serial: int | None) -> list[Record] | None:
        """The zone between two SOA records; the SOA alone for the same serial (xfr.go)."""
        held = self._zones.get(zone)
        if held is None:
            return None
        return [held.soa] if serial and serial == held.serial else [held.soa, *held.records(), held.soa]


def _outcome(request: Request, origin: str, found: Found) -> Outcome:
    rcode = {Result.NAME_ERROR: Rcode.NXDOMAIN, Result.SERVER_FAILURE: Rcode.SERVFAIL}.get(
        found.result, Rcode.NOERROR
    )
    if found.result is Result.SERVER_FAILURE and not found.answers:
        return Outcome(f"file: {origin}: SERVFAIL", rcode=rcode)
    reply = request.reply(
        rcode,
        answers=found.answers,
        authority=found.authority,
        additional=found.additional,
        authoritative=found.result is not Result.DELEGATION or bool(found.answers),
    )
    return Outcome(f"file: {origin}: {found.result.value}", reply)


def load(source: Source, process: Process) -> FileZone:
    """Read a zone file; CorefileError when it is none."""
    where = f'"{source.path}" for origin {source.origin}'
    try:
        records = parse_zone(process.files[source.path], source.origin, process.files)
    except WireError as error:
        raise CorefileError(
            f"failed to parse file {where} with error file {source.path}: dns: {error}"
        ) from None
    if not any(record.rtype == SOA for record in records):
        raise CorefileError(f'file "{source.path}" has no SOA record for origin {source.origin}')
    return FileZone(source.origin, records)


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``file DBFILE [ZONES...] { … }``, as often as wanted."""
    sources: list[Source] = []
    fallthrough: tuple[str, ...] = ()
    while c.next():
        if not c.next_argument():
            raise c.argument_error()
        path = c.value
        mine = [Source(origin, path) for origin in c.origins(c.arguments())]
        while c.next_in_block():
            match c.value:
                case "fallthrough":
                    fallthrough = c.fall_zones()
                case "reload":
                    seconds = _reload(c)
                    mine = [source._replace(reload=seconds) for source in mine]
                case "reload_by_mtime":
                    mine = [source._replace(by_mtime=True) for source in mine]
                case "upstream":
                    c.arguments()
                case word:
                    raise c.error(f"unknown property '{word}'")
        sources += mine
        _check_open(setup, path, mine)
    handler = File(setup, sources, fallthrough, last=False)
    setup.startup.append(handler.start)
    return [handler]


def _reload(c: Controller) -> float:
    words = c.arguments()
    if not words:
        raise CorefileError("reload duration value is expected")
    return duration(words[0])


def _check_open(setup: Setup, path: str, sources: Sequence[Source]) -> None:
    if path in setup.process.files:
        return
    problem = f"open {path}: no such file or directory"
    if any(source.reload == 0 for source in sources):
        raise CorefileError(f"plugin/file: {problem}")
    log = setup.process.log
    log.warning(f'plugin/file: Failed to open "{problem}": trying again in {RELOAD:g}s')

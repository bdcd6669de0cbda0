"""kubernetes: the names of the cluster, from the Kubernetes API.

Options built: zones, ``pods``, ``endpoint_pod_names``, ``ttl``, ``namespaces``, ``labels``,
``namespace_labels``, ``noendpoints``, ``ignore empty_service``, ``zonal``, ``multicluster``,
``fallthrough``. Read and without effect here, as netsim hands the objects over itself: ``endpoint``, ``tls``,
``kubeconfig``, ``startup_timeout``, ``apiserver_qps``, ``apiserver_burst``, ``apiserver_max_inflight``.
Sources: coredns ``plugin/kubernetes/setup.go`` (ParseStanza), ``handler.go`` (ServeDNS).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from netsim.base.errors import CorefileError, UsageError
from netsim.clusterdns.answers import (
    Answer,
    Source,
    addresses,
    alias,
    authority,
    name_servers,
    pointers,
    services,
    text,
)
from netsim.clusterdns.chain import Follow, Handler, Outcome, Request, Setup, Steps
from netsim.clusterdns.contents import zone_records
from netsim.clusterdns.corefile import Controller, duration, integer
from netsim.clusterdns.external import ExternalNames
from netsim.clusterdns.lookup import Lookup, Options, PodMode
from netsim.clusterdns.names import absolute, is_reverse, longest_zone, normalize_zones, search_list
from netsim.store.selectors import Selector, parse_selector
from netsim.wire.dns import (
    AAAA,
    AXFR,
    CNAME,
    IXFR,
    MX,
    NS,
    PTR,
    SOA,
    SRV,
    TXT,
    A,
    Message,
    Rcode,
    Record,
)

MAXIMUM_TTL = 3600


class Kubernetes:
    """The handler."""

    def __init__(self, setup: Setup, options: Options, fallthrough: tuple[str, ...]) -> None:
        self._zone = setup.process.zone
        self._options = options
        self._fallthrough = fallthrough
        self._lookup = Lookup(setup.process.zone, options, setup.process.addresses)
        self.external = ExternalNames(self._lookup)
        self._resolve = setup.process.resolve
        resolv_conf = setup.process.files.get("/etc/resolv.conf", "")
        self._search = tuple(absolute(word).lower() for word in search_list(resolv_conf))

    def ready(self) -> bool:
        """Whether the API watches have caught up."""
        return self._zone.synced

    def autopath(self, request: Request) -> Sequence[str]:
        """The search list of the Pod that asks (autopath.go); only ``pods verified`` knows who it is."""
        zone = longest_zone(self._options.zones, request.lower)
        pods = self._zone.pods_at(str(request.client))
        if not zone or self._options.pods is not PodMode.VERIFIED or not pods:
            return ()
        services = "svc." if zone == "." else f"svc.{zone}"
        return (f"{pods[0].key[0]}.{services}", services, zone, *self._search, ".")

    def handle(self, request: Request, following: Follow) -> Steps[Outcome]:
        matched = longest_zone(self._options.zones, request.lower)
        if not matched:
            return (yield from following(request))
        zone = request.name[len(request.name) - len(matched) :]  # spelled as in the query
        if request.qtype in (AXFR, IXFR):
            return Outcome(
                "kubernetes: zone transfers need the transfer plugin: REFUSED", rcode=Rcode.REFUSED
            )
        if request.qtype in (A, AAAA):
            source = Source(self._lookup.services, self._resolve, zone, self._options.ttl)
            found = yield from addresses(source, request)
        else:
            found = yield from self._other_type(request, zone)
        if not found.known:
            if self._fallthrough and longest_zone(self._fallthrough, request.lower):
                return (yield from following(request))
            return self._negative(request, zone, found.why)
        if not found.records:
            return Outcome(f"kubernetes: {found.why}: NODATA", self._nothing(request, zone, Rcode.NOERROR))
        return Outcome(
            f"kubernetes: {found.why}",
            request.reply(
                answers=found.records,
                additional=found.additional,
                authoritative=True,
                truncated=found.truncated,
            ),
        )

    def _other_type(self, request: Request, zone: str) -> Steps[Answer]:
        lookup, ttl, qtype, lower = self._lookup, self._options.ttl, request.qtype, request.lower
        if qtype == SRV:
            return services(lookup.services(lower, zone, SRV), request, ttl)
        if qtype == PTR:
            return pointers(lookup.reverse(lower, zone), request, ttl)
        if qtype == TXT:
            return text(lookup.services(lower, zone, TXT), request)
        if qtype == CNAME:
            return alias(lookup.services(lower, zone, CNAME), request, ttl)
        if qtype == MX:
            return Answer((), *lookup.services(lower, zone, MX)[1:3])
        if qtype == SOA:
            records = [self._soa(zone)] if len(zone) == len(request.name) else []
            return Answer(records, True, f"the zone {zone}" if records else "SOA is asked of the apex alone")
        if qtype == NS and lower == zone:
            return name_servers(lookup.name_servers(zone), request, ttl)
        # any other type: look addresses up, to tell NODATA from NXDOMAIN
        source = Source(lookup.services, self._resolve, zone, ttl)
        hidden = yield from addresses(source, request.asking(request.name, A))
        return Answer((), hidden.known, hidden.why)

    def _soa(self, zone: str) -> Record:
        if zone.lower() in self._options.multicluster:
            serial = self._zone.import_serial()
        else:
            serial = self._zone.serial(self._options.pods is PodMode.VERIFIED)
        return authority(zone, self._options.ttl, serial)

    def transfer(self, zone: str, serial: int | None) -> list[Record] | None:
        """All records of a zone between two SOA records; the SOA alone for the same serial (xfr.go).

        Any name below a zone is taken for a zone, in which all Services stand.
        """
        if not longest_zone(self._options.zones, zone):
            return None
        soa = self._soa(zone)
        if serial and serial == soa.data.serial:
            return [soa]
        return [soa, *zone_records(self._lookup, zone), soa]

    def _nothing(self, request: Request, zone: str, rcode: Rcode) -> Message:
        return request.reply(rcode, authority=(self._soa(zone),), authoritative=True)

    def _negative(self, request: Request, zone: str, why: str) -> Outcome:
        rcode = Rcode.NXDOMAIN
        if not self._zone.synced:
            rcode, why = Rcode.SERVFAIL, f"{why}, but the API watches have not caught up"
        return Outcome(f"kubernetes: {why}: {rcode.name}", self._nothing(request, zone, rcode))


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``kubernetes [ZONES...] { … }``."""
    c.next()
    zones = c.origins(c.arguments())
    forward = [zone for zone in zones if not is_reverse(zone)]
    if not forward:
        raise CorefileError("non-reverse zone name must be used")
    options = Options(zones, forward[0])
    fallthrough: tuple[str, ...] = ()
    while c.next_in_block():
        if c.value == "fallthrough":
            fallthrough = c.fall_zones()
        else:
            options = options._replace(**_option(c, options))
    if options.namespaces and options.namespace_labels is not None:
        raise c.error("namespaces and namespace_labels cannot both be set")
    _check_multicluster(c, options)
    if options.zonal and not options.endpoints:
        raise c.error("zonal requires the endpoint cache; remove noendpoints")
    c.done()
    return [Kubernetes(setup, options, fallthrough)]


def _option(c: Controller, options: Options) -> dict[str, Any]:
    """The fields of Options that one line of the block sets."""
    match c.value:
        case "endpoint_pod_names" | "zonal" as flag:
            c.no_argument()
            return {flag: True}
        case "noendpoints":
            c.no_argument()
            return {"endpoints": False}
        case "pods":
            return {"pods": _pod_mode(c.one_argument())}
        case "namespaces":
            names = c.arguments()
            if not names:
                raise c.argument_error()
            return {"namespaces": options.namespaces | frozenset(names)}
        case "labels" | "namespace_labels" as which:
            return {which: _selector(c, which)}
        case "ttl":
            return {"ttl": _ttl(c)}
        case "ignore":
            words = c.arguments()
            if words and words[0] != "empty_service":
                raise CorefileError(f"unable to parse ignore value: '{words[0]}'")
            return {"ignore_empty_service": True} if words else {}
        case "multicluster":
            return {"multicluster": normalize_zones(c.arguments())}
        case _:
            _api_server_option(c)
            return {}


def _pod_mode(word: str) -> PodMode:
    try:
        return PodMode(word)
    except ValueError:
        raise CorefileError(
            f"wrong value for pods: {word},  must be one of: disabled, verified, insecure"
        ) from None


def _selector(c: Controller, which: str) -> Selector:
    words = c.arguments()
    if not words:
        raise c.argument_error()
    text = " ".join(words)
    try:
        return parse_selector(text)
    except UsageError as error:
        label = "label" if which == "labels" else "namespace_label"
        problem = f'couldn\'t parse the selector string "{text}": {error.message}'
        raise CorefileError(f"unable to parse {label} selector value: '{text}': {problem}") from None


def _ttl(c: Controller) -> int:
    words = c.arguments()
    if not words:
        raise c.argument_error()
    seconds = integer(words[0])
    if not 0 <= seconds <= MAXIMUM_TTL:
        raise c.error(f"ttl must be in range [0, {MAXIMUM_TTL}]: {seconds}")
    return seconds


def _check_multicluster(c: Controller, options: Options) -> None:
    for zone in options.multicluster:
        if zone not in options.zones:
            served = " ".join(options.zones)
            raise c.error(
                f"is not authoritative for the multicluster zone {zone} (authoritative zones: [{served}])"
            )


def _api_server_option(c: Controller) -> None:
    """How to reach the API server: checked for form, otherwise nothing to netsim."""
    name = c.value
    words = c.arguments()
    counts = {
        "endpoint": range(1, 100), "tls": (3,), "kubeconfig": (1, 2), "startup_timeout": range(1, 100),
        "apiserver_qps": (1,), "apiserver_burst": (1,), "apiserver_max_inflight": (1,),
    }  # fmt: skip
    if name not in counts:
        raise c.error(f"unknown property '{name}'")
    if len(words) not in counts[name]:
        raise c.argument_error()
    if name == "startup_timeout":
        try:
            duration(words[0])
        except CorefileError as error:
            raise CorefileError(f"failed to parse startup_timeout: {words[0]}, {error.message}") from None
    elif name.startswith("apiserver_"):
        _check_rate(c, name, words[0])


def _check_rate(c: Controller, name: str, word: str) -> None:
    """A float for ``apiserver_qps``, else a whole number; not below zero."""
    try:
        value = _float(word) if name == "apiserver_qps" else integer(word)
    except CorefileError as error:
        raise c.error(f'invalid {name} "{word}": {error.message}') from None
    if value < 0:
        raise c.error(f"{name} must be >= 0")


def _float(text: str) -> float:
    """strconv.ParseFloat."""
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
        raise CorefileError(f'strconv.ParseFloat: parsing "{text}": invalid syntax')
    return float(text)

"""resolv.conf: what glibc reads in it, and what the kubelet writes into a Pod's.

``parse`` follows glibc (resolv/res_init.c) and feeds its resolver machine; ``pod_resolv_conf`` follows the
kubelet (pkg/kubelet/network/dns/dns.go) and gives the text that containerd writes. The two read one format by
different rules, as in reality. Files are opened by the callers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NamedTuple

from netsim.base.address import IpAddress
from netsim.base.errors import PodStartError
from netsim.objects.core import DNSConfigOption, Pod, PodDNSConfig

# glibc, resolv/resolv.h and resolv/bits/types/res_state.h
MAX_NAMESERVERS = 3  # MAXNS
MAX_NDOTS = 15  # RES_MAXNDOTS
MAX_TIMEOUT = 30  # RES_MAXRETRANS, seconds
MAX_ATTEMPTS = 5  # RES_MAXRETRY
DEFAULT_TIMEOUT = 5  # RES_TIMEOUT, seconds
DEFAULT_ATTEMPTS = 2  # RES_DFLRETRY

# Kubernetes, pkg/apis/core/validation/validation.go (ExpandedDNSConfig)
MAX_POD_NAMESERVERS = 3  # MaxDNSNameservers
MAX_POD_SEARCHES = 32  # MaxDNSSearchPathsExpanded
MAX_POD_SEARCH_LENGTH = 2048  # MaxDNSSearchListCharsExpanded
MAX_SUBDOMAIN_LENGTH = 253  # DNS1123SubdomainMaxLength

BLANKS = " \t"


class ResolvConf(NamedTuple):
    """A resolver's settings; ``timeout`` is in seconds per try. The flags are named as in the file."""

    nameservers: tuple[IpAddress, ...] = (IPv4Address("127.0.0.1"),)
    search: tuple[str, ...] = ()
    ndots: int = 1
    timeout: int = DEFAULT_TIMEOUT
    attempts: int = DEFAULT_ATTEMPTS
    flags: frozenset[str] = frozenset()


# In the order in which glibc compares them: each matches any word that begins with it.
FLAGS = (
    "rotate",
    "edns0",
    "single-request-reopen",
    "single-request",
    "no_tld_query",
    "no-tld-query",
    "no-reload",
    "use-vc",
    "trust-ad",
    "no-aaaa",
    "strict-error",
)

_NUMBER = re.compile(r"\s*([+-]?\d+)")


def parse(
    text: str, *, hostname: str = "", res_options: str = "", localdomain: str | None = None
) -> ResolvConf:
    """Read a resolv.conf as glibc 2.41 does (res_vinit_1).

    Keywords stand in column 0. The last ``search`` or ``domain`` line wins, ``options`` add up. Without
    either line the domain part of ``hostname`` is the search list, without ``nameserver`` 127.0.0.1 is asked.
    ``localdomain`` and ``res_options`` are the environment variables LOCALDOMAIN and RES_OPTIONS.
    """
    nameservers: list[IpAddress] = []
    search: tuple[str, ...] = () if localdomain is None else _words(localdomain)
    conf = ResolvConf()
    for line in text.split("\n"):
        keyword, blank, rest = _keyword(line)
        if not blank or line.startswith((";", "#")):
            continue
        match keyword:
            case "nameserver":
                address = nameserver_address(rest)
                if address is not None:
                    nameservers.append(address)
            case "search" | "domain" if localdomain is None and _words(rest):
                search = _words(rest) if keyword == "search" else _words(rest)[:1]
            case "options":
                conf = _with_options(conf, rest)
    if not search and localdomain is None:
        search = tuple(filter(None, [hostname.partition(".")[2]]))
    return _with_options(conf, res_options)._replace(
        nameservers=tuple(nameservers[:MAX_NAMESERVERS]) or ResolvConf().nameservers, search=search
    )


def render(conf: ResolvConf) -> str:
    """The settings as a resolv.conf: search, nameservers, then the options that differ from the defaults."""
    numbers = [("ndots", conf.ndots, 1), ("timeout", conf.timeout, DEFAULT_TIMEOUT)]
    numbers.append(("attempts", conf.attempts, DEFAULT_ATTEMPTS))
    options = [f"{name}:{value}" for name, value, default in numbers if value != default]
    options += [flag for flag in FLAGS if flag in conf.flags]
    return _file(conf.search, [str(address) for address in conf.nameservers], options)


def _keyword(line: str) -> tuple[str, str, str]:
    """A line as keyword, the blank after it (empty when there is none) and the rest."""
    end = next((index for index, character in enumerate(line) if character in BLANKS), len(line))
    return line[:end], line[end : end + 1], line[end + 1 :]


def _words(text: str) -> tuple[str, ...]:
    return tuple(filter(None, re.split(r"[ \t]+", text)))


def nameserver_address(rest: str) -> IpAddress | None:
    """The address of a nameserver line as C libraries read it, or None when it is not one; what follows it is
    ignored."""
    word = next(iter(_words(rest)), "")
    address = ipv4_from_numbers(word)
    if address is not None:
        return address
    try:
        return IPv6Address(word.partition("%")[0])
    except AddressValueError:
        return None


def ipv4_from_numbers(text: str) -> IPv4Address | None:
    """An IPv4 address as inet_aton reads it: one to four numbers in decimal, octal or hexadecimal, the last
    of which fills all remaining bytes."""
    parts = text.split(".")
    if not 1 <= len(parts) <= 4 or not all(_ATON_NUMBER.fullmatch(part) for part in parts):
        return None
    *heads, tail = [int(part, _base(part)) for part in parts]
    if any(head > 255 for head in heads) or tail >= 256 ** (4 - len(heads)):
        return None
    value = tail
    for position, head in enumerate(heads):
        value |= head << 8 * (3 - position)
    return IPv4Address(value)


_ATON_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*")


def _base(number: str) -> int:
    if number[:2] in ("0x", "0X"):
        return 16
    return 8 if number.startswith("0") else 10


def _with_options(conf: ResolvConf, text: str) -> ResolvConf:
    """Apply one options line (res_setoptions): the last of several wins, ``-flag`` takes a flag away."""
    flags = set(conf.flags)
    for found in re.finditer(r"[^ \t]+", text):
        word = found[0]
        name, colon, _ = word.partition(":")
        value = text[found.start() + len(name) + 1 :]  # atoi passes blanks over: "ndots: 3" is 3
        match name if colon else "":
            case "ndots":
                number = _number(value)
                conf = conf._replace(ndots=MAX_NDOTS if number < 0 else min(number, MAX_NDOTS))
            case "timeout":
                conf = conf._replace(timeout=max(0, min(_number(value), MAX_TIMEOUT)))
            case "attempts":
                conf = conf._replace(attempts=max(0, min(_number(value), MAX_ATTEMPTS)))
        wanted = word.removeprefix("-")
        flag = next((flag for flag in FLAGS if wanted.startswith(flag)), None)
        if flag is not None and word.startswith("-"):
            flags.discard(flag.replace("_", "-"))
        elif flag is not None:
            flags.add(flag.replace("_", "-"))
    return conf._replace(flags=frozenset(flags))


def _number(text: str) -> int:
    """strtol: the number at the start, else 0."""
    found = _NUMBER.match(text)
    return int(found[1]) if found else 0


def _file(search: Iterable[str], nameservers: Iterable[str], options: Iterable[str]) -> str:
    """The file as containerd writes it (internal/cri/server, parseDNSOptions); empty when all lists are."""
    lines = [f"search {' '.join(search)}"] if search else []
    lines += [f"nameserver {address}" for address in nameservers]
    lines += [f"options {' '.join(options)}"] if options else []
    return "".join(f"{line}\n" for line in lines)


class PodEvent(NamedTuple):
    """A Warning Event about the Pod."""

    reason: str
    message: str


class PodResolvConf(NamedTuple):
    """What the kubelet asks the container runtime to write, and the Events of deciding it."""

    nameservers: tuple[str, ...]
    searches: tuple[str, ...]
    options: tuple[str, ...]
    events: tuple[PodEvent, ...] = ()

    @property
    def text(self) -> str:
        """The file; empty when all three lists are."""
        return _file(self.searches, self.nameservers, self.options)

    def written(self, node_file: str) -> str:
        """What the Pod finds: containerd copies the node's file when it was given nothing to write."""
        return self.text or node_file


def pod_resolv_conf(
    pod: Pod,
    node_file: str | None,
    cluster_dns: Sequence[str],
    cluster_domain: str,
    *,
    node_ips: Sequence[str] = (),
) -> PodResolvConf:
    """A Pod's DNS settings (Configurer.GetPodDNS): the policy, then dnsConfig, then the limits.

    ``node_file`` is the text of the file that ``--resolv-conf`` names, None when that flag is empty.
    Raises PodStartError when the node's file cannot be read.
    """
    settings, events = _of_policy(pod, node_file, cluster_dns, cluster_domain, node_ips)
    if pod.spec.dns_config is not None:
        settings = _merged(settings, pod.spec.dns_config)
    nameservers, nameserver_events = _nameservers_within_limits(settings.nameservers)
    searches, search_events = _searches_within_limits(settings.searches)
    return PodResolvConf(
        nameservers, searches, settings.options, (*events, *nameserver_events, *search_events)
    )


def _of_policy(
    pod: Pod, node_file: str | None, cluster_dns: Sequence[str], cluster_domain: str, node_ips: Sequence[str]
) -> tuple[PodResolvConf, tuple[PodEvent, ...]]:
    """The settings before dnsConfig (getPodDNSType, GetPodDNS). An unknown policy counts as ClusterFirst."""
    node = _read_node_file(node_file or "")
    policy = pod.spec.dns_policy
    if policy == "None":
        return PodResolvConf((), (), ()), ()
    if policy == "ClusterFirst" and pod.spec.host_network:
        policy = "Default"
    if policy == "Default":
        return _of_node(node, node_file, node_ips), ()
    if cluster_dns:
        searches = _cluster_searches(pod.metadata.namespace, cluster_domain, node.searches)
        return PodResolvConf(tuple(cluster_dns), searches, ("ndots:5",)), ()
    metadata = pod.metadata
    missing = PodEvent(
        "MissingClusterDNS",
        f'pod: "{metadata.name}_{metadata.namespace}({metadata.uid})". kubelet does not have ClusterDNS IP '
        'configured and cannot create Pod using "ClusterFirst" policy. Falling back to "Default" policy.',
    )
    return _of_node(node, node_file, node_ips), (missing,)


def _of_node(node: PodResolvConf, node_file: str | None, node_ips: Sequence[str]) -> PodResolvConf:
    """The node's own settings; with ``--resolv-conf=""`` the loopback address of each of its families, so
    that lookups fail instead of reaching a server nobody chose."""
    if node_file is not None:
        return node
    loopbacks = ["::1" if ":" in address else "127.0.0.1" for address in node_ips]
    return PodResolvConf(tuple(loopbacks) or ("127.0.0.1",), (".",), ())


def _cluster_searches(namespace: str, domain: str, node_searches: tuple[str, ...]) -> tuple[str, ...]:
    """generateSearchesForDNSClusterFirst"""
    if not domain:
        return node_searches
    return _unique((f"{namespace}.svc.{domain}", f"svc.{domain}", domain, *node_searches))


def _read_node_file(text: str) -> PodResolvConf:
    """The kubelet's reading (parseResolvConf): lines are trimmed, the last search line wins, domain and
    sortlist are not known, a comment behind a search list becomes domains."""
    nameservers: list[str] = []
    searches: tuple[str, ...] = ()
    options: dict[str, str] = {}
    for line in text.split("\n"):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        match fields[0]:
            case "nameserver" if len(fields) == 1:
                message = "Failed to create pod sandbox: nameserver list is empty"
                raise PodStartError("FailedCreatePodSandBox", message)
            case "nameserver":
                nameservers.append(fields[1])
            case "search":
                searches = tuple(filter(None, (domain.removesuffix(".") for domain in fields[1:])))
            case "options":
                options.update(_by_name(fields[1:]))
    return PodResolvConf(tuple(nameservers), searches, tuple(options.values()))


def _by_name(options: Iterable[str]) -> dict[str, str]:
    return {option.partition(":")[0]: option for option in options}


def _merged(settings: PodResolvConf, config: PodDNSConfig) -> PodResolvConf:
    """appendDNSConfig: lists are appended and lose their duplicates, the Pod's value of an option wins."""
    own = {name: name if word == f"{name}:" else word for name, word in _by_name(settings.options).items()}
    options = own | {option.name: _declared(option) for option in config.options}
    return PodResolvConf(
        _unique((*settings.nameservers, *config.nameservers)),
        _unique((*settings.searches, *config.searches)),
        tuple(options.values()),
    )


def _declared(option: DNSConfigOption) -> str:
    return f"{option.name}:{option.value}" if option.value else option.name


def _unique(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))


def _nameservers_within_limits(nameservers: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[PodEvent, ...]]:
    """formDNSNameserversFitsLimits"""
    if len(nameservers) <= MAX_POD_NAMESERVERS:
        return nameservers, ()
    kept = nameservers[:MAX_POD_NAMESERVERS]
    message = (
        "Nameserver limits were exceeded, some nameservers have been omitted, "
        f"the applied nameserver line is: {' '.join(kept)}"
    )
    return kept, (PodEvent("DNSConfigForming", message),)


def _searches_within_limits(searches: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[PodEvent, ...]]:
    """formDNSSearchFitsLimits: 32 domains, none above 253 characters, 2048 characters in all."""
    kept = [domain for domain in searches[:MAX_POD_SEARCHES] if len(domain) <= MAX_SUBDOMAIN_LENGTH]
    while len(" ".join(kept)) > MAX_POD_SEARCH_LENGTH:
        kept.pop()
    if len(kept) == len(searches):
        return searches, ()
    message = (
        "Search Line limits were exceeded, some search paths have been omitted, "
        f"the applied search line is: {' '.join(kept)}"
    )
    return tuple(kept), (PodEvent("DNSConfigForming", message),)

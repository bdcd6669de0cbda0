"""Domain names as CoreDNS compares them: suffixes, zones written as CIDR, addresses in reverse names.

Names are absolute text as in ``wire.dns``. Zones are lower case. Sources: coredns ``plugin/normalize.go``,
``plugin/pkg/cidr``, ``plugin/pkg/dnsutil``; miekg/dns ``IsSubDomain``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Address, ip_address, ip_network

from netsim.base.address import IpNetwork
from netsim.base.errors import CorefileError, WireError
from netsim.wire.dnsname import name_to_wire, split_name

_V4_SUFFIX = ".in-addr.arpa."
_V6_SUFFIX = ".ip6.arpa."
_MAXIMUM_ZONE = 255


def absolute(name: str) -> str:
    """With a trailing dot (dns.Fqdn)."""
    return name if name.endswith(".") else name + "."


def is_name(text: str) -> bool:
    """Whether the text can be a name in a message (dns.IsDomainName)."""
    try:
        return bool(text) and bool(name_to_wire(absolute(text)))
    except WireError:
        return False


def is_subdomain(zone: str, name: str) -> bool:
    """Whether lower-case ``name`` is ``zone`` or below it."""
    if zone == "." or name == zone:
        return True
    if not name.endswith(zone):
        return False
    before = name[: -len(zone)]
    if not before.endswith("."):
        return False
    return "\\" not in before or not _ends_escaped(before)


def _ends_escaped(text: str) -> bool:
    """Whether the final dot belongs to a label."""
    slashes = len(text) - 1 - len(text[:-1].rstrip("\\"))
    return slashes % 2 == 1


def longest_zone(zones: Iterable[str], name: str) -> str:
    """The most specific of the zones that hold lower-case ``name``, or the empty string."""
    best = ""
    for zone in zones:
        if not name.endswith(zone) or len(zone) <= len(best):
            continue
        if zone == "." or is_subdomain(zone, name):
            best = zone
    return best


def suffixes(name: str) -> Iterator[str]:
    """The name itself, then without its first label, and so on; the root comes only by itself."""
    if "\\" in name:
        labels = split_name(name)
        for start in range(len(labels)):
            yield ".".join(labels[start:]) + "."
        return
    rest = name
    while rest:
        yield rest
        rest = rest.partition(".")[2]


def split_host_port(text: str) -> tuple[list[str], int | None]:
    """The zones that a key or argument names, and its port (plugin.SplitHostPort). A CIDR may be several."""
    if text.endswith(":"):
        raise CorefileError(f'expecting data after last colon: "{text}"')
    port = None
    head, colon, tail = text.rpartition(":")
    if colon and re.fullmatch(r"[0-9]+", tail):
        port, text = int(tail), head
    if len(text) > _MAXIMUM_ZONE:
        raise CorefileError(f"specified zone is too long: {len(text)} > {_MAXIMUM_ZONE}")
    try:
        network = ip_network(text, strict=False) if "/" in text else None
    except ValueError:
        network = None
    if network is not None:
        return _reverse_zones(network), port
    if not is_name(text):
        raise CorefileError(f"zone is not a valid domain name: {text}")
    return [absolute(text).lower()], port


def _reverse_zones(network: IpNetwork) -> list[str]:
    """The reverse zones of a network, split at octets (IPv4) or nibbles (IPv6)."""
    digit = 8 if isinstance(network, IPv4Network) else 4
    boundary = -(-network.prefixlen // digit) * digit
    drop = (network.max_prefixlen - boundary) // digit
    return [
        ".".join(part.network_address.reverse_pointer.split(".")[drop:]) + "."
        for part in network.subnets(new_prefix=boundary)
    ]


def normalize_zones(words: Sequence[str]) -> tuple[str, ...]:
    """Zones from plugin arguments; what cannot be one is left out (plugin.Host.NormalizeExact)."""
    zones: list[str] = []
    for word in words:
        try:
            zones += split_host_port(word.removeprefix("dns://"))[0]
        except CorefileError:
            continue
    return tuple(zones)


def packed_address(text: str) -> bytes | None:
    """The packed form of an IP literal, an IPv4-mapped one as IPv4; None for anything else (net.ParseIP)."""
    octets = text.split(".")
    if len(octets) == 4 and ":" not in text:
        try:
            packed = bytes(map(int, octets))
        except ValueError:
            return None
        return packed if text == ".".join(map(str, packed)) else None
    try:
        address = IPv6Address(text)
    except ValueError:
        return None
    if address.scope_id is not None:
        return None
    return address.packed if address.ipv4_mapped is None else address.ipv4_mapped.packed


def is_reverse(name: str) -> bool:
    """Whether lower-case ``name`` is below one of the two reverse trees."""
    return name.endswith((_V4_SUFFIX, _V6_SUFFIX))


def address_from_reverse(name: str) -> str:
    """The address in a lower-case PTR name, or the empty string (dnsutil.ExtractAddressFromReverse).

    As there, up to three extra labels on the left of an IPv6 name are ignored.
    """
    if name.endswith(_V4_SUFFIX):
        text = ".".join(reversed(name[: -len(_V4_SUFFIX)].split(".")))
        packed = packed_address(text)
        return text if packed is not None and len(packed) == 4 and ":" not in text else ""
    if not name.endswith(_V6_SUFFIX):
        return ""
    nibbles = name[: -len(_V6_SUFFIX)].split(".")[::-1]
    groups = ("".join(nibbles[start : start + 4]) for start in range(0, len(nibbles) // 4 * 4, 4))
    packed = packed_address(":".join(groups))
    return "" if packed is None else str(ip_address(packed))


def search_list(resolv_conf: str) -> list[str]:
    """The search list of a resolv.conf, as miekg/dns ClientConfigFromReader reads it."""
    found: list[str] = []
    for line in resolv_conf.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "domain":
            found = words[1:2]
        elif words and words[0] == "search":
            found = [word.removesuffix(".") for word in words[1:]]
    return found

"""getent: ``hosts``, ``ahosts``, ``ahostsv4``, ``ahostsv6``, through the Pod's own resolver.

glibc's (nss/getent.c), and Alpine's (aports main/musl/getent.c), which prints one address of a host, and its
name again among its aliases, as musl's gethostbyname2 gives them.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from netsim.base.address import IpAddress
from netsim.programs.resolve import getaddrinfo, getent_hosts, reverse
from netsim.programs.tools.call import Call
from netsim.programs.tools.names import literal
from netsim.resolver.commands import Family, Libc, Lookup

NOT_FOUND = 2
_FAMILIES = {"ahosts": Family.UNSPEC, "ahostsv4": Family.INET, "ahostsv6": Family.INET6}
_HINT = "Try `getent --help' or `getent --usage' for more information.\n"


async def getent(call: Call) -> int:
    if len(call.args) < 1:
        call.error(f"getent: wrong number of arguments\n{_HINT}")
        return 1
    database, *keys = call.args
    if database != "hosts" and database not in _FAMILIES:
        call.error(f"Unknown database: {database}\n{_HINT}")
        return 1
    if not keys:
        return _all_hosts(call)
    status = 0
    for key in keys:
        text = await (_hosts(call, key) if database == "hosts" else _ahosts(call, key, _FAMILIES[database]))
        call.write(text)
        status = status if text else NOT_FOUND
        if status and _is_alpine(call):
            break
    return status


def _is_alpine(call: Call) -> bool:
    return call.host.libc in (Libc.MUSL, Libc.OLD_MUSL)


def _all_hosts(call: Call) -> int:
    """Without a key: what /etc/hosts holds."""
    for line in call.host.files.get("/etc/hosts", "").splitlines():
        words = line.partition("#")[0].split()
        if len(words) > 1:
            call.write(f"{words[0]:<15} {' '.join(words[1:])}\n")
    return 0


async def _hosts(call: Call, key: str) -> str:
    address = literal(key)
    if address is not None:
        lookup = await reverse(call.host, address, env=call.env)
        if lookup.error is not None or not lookup.canonical_name:
            return ""
        return _host_of_musl(address, lookup, key) if _is_alpine(call) else f"{key:<15} {_names(lookup)}\n"
    lookup = await getent_hosts(call.host, key, env=call.env)
    if _is_alpine(call):
        return _host_of_musl(lookup.addresses[0], lookup, key) if lookup.addresses else ""
    return "".join(f"{found!s:<15} {_names(lookup)}\n" for found in lookup.addresses)


def _names(lookup: Lookup) -> str:
    return " ".join((lookup.canonical_name, *lookup.aliases))


def _host_of_musl(address: IpAddress, lookup: Lookup, key: str) -> str:
    name = lookup.canonical_name
    asked = f" {key}" if name != key and literal(key) is None else ""
    return f"{address!s:<16}  {name}  {name}{asked}\n"


async def _ahosts(call: Call, key: str, family: Family) -> str:
    """getaddrinfo with AI_ADDRCONFIG and AI_CANONNAME: three socket types for each address."""
    if _is_alpine(call):
        return await _ahosts_of_musl(call, key, family)
    lookup = await getaddrinfo(call.host, key, family=family, addrconfig=True, env=call.env)
    text = ""
    for index, found in enumerate(lookup.addresses):
        name = (lookup.canonical_name or key) if index == 0 else ""
        text += f"{found!s:<15} STREAM {name}\n{found!s:<15} DGRAM  \n{found!s:<15} RAW    \n"
    return text


async def _ahosts_of_musl(call: Call, key: str, family: Family) -> str:
    """Two socket types, and the name at each. AI_V4MAPPED makes ``ahostsv6`` a lookup of both families, whose
    IPv4 addresses are mapped where there are no others."""
    asked = Family.UNSPEC if family is Family.INET6 else family
    lookup = await getaddrinfo(call.host, key, family=asked, env=call.env)
    found: list[IpAddress] = [*lookup.addresses]
    if family is Family.INET6:
        own = [address for address in found if isinstance(address, IPv6Address)]
        found = [*own] or [_mapped(address) for address in found if isinstance(address, IPv4Address)]
    name = lookup.canonical_name or key
    kinds = ("STREAM", "DGRAM")
    return "".join(f"{_text(address):<15} {kind:<6} {name}\n" for address in found for kind in kinds)


def _mapped(address: IPv4Address) -> IPv6Address:
    return IPv6Address((0xFFFF << 32) | int(address))


def _text(address: IpAddress) -> str:
    """As inet_ntop writes it."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return f"::ffff:{mapped}" if mapped else str(address)

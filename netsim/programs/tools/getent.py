"""getent (glibc): ``hosts``, ``ahosts``, ``ahostsv4``, ``ahostsv6``, through the Pod's own resolver."""

from __future__ import annotations

from netsim.programs.resolve import getaddrinfo, getent_hosts, reverse
from netsim.programs.tools.call import Call
from netsim.programs.tools.dnsquery import as_address
from netsim.resolver.commands import Family, Lookup

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
    return status


def _all_hosts(call: Call) -> int:
    """Without a key: what /etc/hosts holds."""
    for line in call.host.files.get("/etc/hosts", "").splitlines():
        words = line.partition("#")[0].split()
        if len(words) > 1:
            call.write(f"{words[0]:<15} {' '.join(words[1:])}\n")
    return 0


async def _hosts(call: Call, key: str) -> str:
    address = as_address(key)
    if address is not None:
        lookup = await reverse(call.host, address, env=call.env)
        return f"{key:<15} {_names(lookup)}\n" if lookup.error is None and lookup.canonical_name else ""
    lookup = await getent_hosts(call.host, key, env=call.env)
    return "".join(f"{found!s:<15} {_names(lookup)}\n" for found in lookup.addresses)


def _names(lookup: Lookup) -> str:
    return " ".join((lookup.canonical_name, *lookup.aliases))


async def _ahosts(call: Call, key: str, family: Family) -> str:
    """getaddrinfo with AI_ADDRCONFIG and AI_CANONNAME: three socket types for each address."""
    lookup = await getaddrinfo(call.host, key, family=family, addrconfig=True, env=call.env)
    text = ""
    for index, found in enumerate(lookup.addresses):
        name = (lookup.canonical_name or key) if index == 0 else ""
        text += f"{found!s:<15} STREAM {name}\n{found!s:<15} DGRAM  \n{found!s:<15} RAW    \n"
    return text

"""How the tools that connect turn names into addresses, and addresses back into names."""

from __future__ import annotations

from ipaddress import IPv4Address

from netsim.base.address import IpAddress
from netsim.programs.resolve import getaddrinfo, reverse
from netsim.programs.tools.call import Call
from netsim.programs.tools.options import Options
from netsim.resolver.commands import Family, GaiError, Lookup


def is_ipv4(text: str) -> bool:
    """Whether a text is an IPv4 address, which needs no resolver."""
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True


def family_of(options: Options) -> Family:
    """Which addresses a tool with the option ``-4`` asks for."""
    return Family.INET if options.has("4") else Family.UNSPEC


class NameNotFound(Exception):
    """The resolver gave no IPv4 address; ``reason`` is gai_strerror's text."""

    def __init__(self, name: str, lookup: Lookup) -> None:
        super().__init__(name)
        self.name = name
        self.reason = lookup.reason or GaiError.EAI_NODATA.value


async def ipv4_addresses(call: Call, name: str, *, family: Family = Family.UNSPEC) -> list[IPv4Address]:
    """The IPv4 addresses of a name or literal, in the resolver's order; raises NameNotFound."""
    if is_ipv4(name):
        return [IPv4Address(name)]
    lookup = await getaddrinfo(call.host, name, family=family, env=call.env)
    found = [address for address in lookup.addresses if isinstance(address, IPv4Address)]
    if not found:
        raise NameNotFound(name, lookup)
    return found


class ReverseNames:
    """Names of addresses, each looked up once; an address without a name stands for itself."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._known: dict[IpAddress, str] = {}

    async def name(self, address: IpAddress) -> str:
        if address not in self._known:
            lookup = await reverse(self._call.host, address, env=self._call.env)
            self._known[address] = lookup.canonical_name or str(address)
        return self._known[address]

"""How the tools that connect turn names into addresses, and addresses back into names."""

from __future__ import annotations

from ipaddress import ip_address

from netsim.base.address import IpAddress
from netsim.programs.resolve import getaddrinfo, reverse
from netsim.programs.tools.call import Call
from netsim.programs.tools.options import Options
from netsim.resolver.commands import Family, GaiError, Lookup
from netsim.resolver.queries import fits


def literal(text: str) -> IpAddress | None:
    """The address that a text is, which needs no resolver."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def family_of(options: Options) -> Family:
    """Which addresses a tool with the options ``-4`` and ``-6`` asks for."""
    if options.has("6"):
        return Family.INET6
    return Family.INET if options.has("4") else Family.UNSPEC


class NameNotFound(Exception):
    """The resolver gave no address that is wanted; ``reason`` is gai_strerror's text."""

    def __init__(self, name: str, lookup: Lookup) -> None:
        super().__init__(name)
        self.name = name
        self.reason = lookup.reason or GaiError.EAI_NODATA.value


async def addresses_of(
    call: Call, name: str, *, family: Family = Family.UNSPEC, asked: Family | None = None
) -> list[IpAddress]:
    """The addresses of a name or literal, in the resolver's order; raises NameNotFound.

    ``asked`` is what the resolver is asked for, where a tool asks for more than it wants.
    """
    own = literal(name)
    if own is not None and fits(own, family):
        return [own]
    wanted = family if own is not None or asked is None else asked
    lookup = await getaddrinfo(call.host, name, family=wanted, env=call.env)
    found = [address for address in lookup.addresses if fits(address, family)]
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

"""/etc/hosts as glibc's ``files`` service reads it (nss/nss_files/files-hosts.c, host.conf with "multi on").

The resolver machine asks it first, by the exact name as written: no search list, no trailing dot.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, ip_address
from typing import NamedTuple

from netsim.base.address import IpAddress
from netsim.resolver.commands import Family


class HostsLine(NamedTuple):
    """One line: an address, the host's name, and its aliases."""

    address: IpAddress
    name: str
    aliases: tuple[str, ...]


def parse(text: str) -> tuple[HostsLine, ...]:
    """The lines that name a host; comments and lines without a valid address are skipped."""
    return tuple(_lines(text))


def _lines(text: str) -> Iterator[HostsLine]:
    for line in text.splitlines():
        fields = line.partition("#")[0].split()
        if len(fields) < 2:
            continue
        try:
            address = ip_address(fields[0])
        except ValueError:
            continue
        yield HostsLine(address, fields[1], tuple(fields[2:]))


def by_name(lines: tuple[HostsLine, ...], name: str, family: Family) -> tuple[HostsLine, ...]:
    """The lines of a host that have an address of the family, that address in them, in file order."""
    wanted = name.lower()
    found = []
    for line in lines:
        if wanted == line.name.lower() or any(wanted == alias.lower() for alias in line.aliases):
            address = _in_family(line.address, family)
            if address is not None:
                found.append(line._replace(address=address))
    return tuple(found)


def by_address(lines: tuple[HostsLine, ...], address: IpAddress) -> HostsLine | None:
    """The first line of an address."""
    family = Family.INET if address.version == 4 else Family.INET6
    return next((line for line in lines if _in_family(line.address, family) == address), None)


def _in_family(address: IpAddress, family: Family) -> IpAddress | None:
    """The address, if the family has it. For AF_INET, ``::1`` stands for 127.0.0.1."""
    if family is Family.UNSPEC or (family is Family.INET) == (address.version == 4):
        return address
    if family is Family.INET6 or address.version == 4:
        return None
    return IPv4Address("127.0.0.1") if address.is_loopback else address.ipv4_mapped

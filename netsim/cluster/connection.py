"""One attempt to connect: the target as users write it, the lookup, the handshake, and how it ended.

``hosts`` offers it to users; ``trace``, ``diff`` and the checks look at its packets. A UDP "connection" is
one datagram and its answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import NamedTuple

from netsim.base.address import IpAddress
from netsim.base.cause import Cause, Stage
from netsim.base.errors import UsageError
from netsim.programs.host import Endpoint, Host
from netsim.programs.resolve import getaddrinfo
from netsim.resolver.commands import Lookup

PAYLOAD = b"netsim\n"
"""The datagram that asks whether anybody answers."""


class Target(NamedTuple):
    """A name (or address) and a port, as in ``ent.prod:8080``."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


def parse_target(text: str) -> Target:
    """Read ``NAME:PORT``, with an IPv6 address in brackets; UsageError says what is missing."""
    name, colon, port = text.rpartition(":")
    bracketed = name.startswith("[") and name.endswith("]")
    if ":" in name and not bracketed:
        hint = "an IPv6 address stands in brackets before its port: [fd00:10:96::10]:53"
        raise UsageError(f"{text!r} is not NAME:PORT", hint=hint)
    if not colon or not name or not port.isdigit() or not 0 < int(port) < 65536:
        raise UsageError(f"{text!r} is not NAME:PORT", hint="write for example ent.prod:8080")
    return Target(name[1:-1] if bracketed else name, int(port))


class Connection(NamedTuple):
    """How an attempt to connect ended.

    ``result`` is ok, refused, timeout, unreachable or unresolved; ``detail`` says who refused it and how;
    ``address`` is what the name gave, ``local`` this end's address.
    """

    result: str
    detail: str
    lookup: Lookup | None
    address: Endpoint | None
    local: Endpoint | None
    elapsed: float


async def resolve_all(
    host: Host, name: str, env: Mapping[str, str]
) -> tuple[tuple[IpAddress, ...], Lookup | None]:
    """The first address of a name of each family, in the resolver's order, and the lookup that gave them; no
    lookup for an address."""
    try:
        return (ip_address(name),), None
    except ValueError:
        lookup = await getaddrinfo(host, name, env=env)
    first = {address.version: address for address in reversed(lookup.addresses)}
    return tuple(address for address in lookup.addresses if address is first[address.version]), lookup


async def resolve_first(
    host: Host, name: str, env: Mapping[str, str]
) -> tuple[IpAddress | None, Lookup | None]:
    """The first address of a name, and the lookup that gave it; no lookup for an address."""
    addresses, lookup = await resolve_all(host, name, env)
    return next(iter(addresses), None), lookup


async def try_connect(
    host: Host, target: Target, *, timeout: float, env: Mapping[str, str], cause: Cause | None = None
) -> Connection:
    """Resolve, connect and close, and say how it went; ``cause`` says why, in captures.

    A name's first address is tried, and where that fails the first one of the other family, if it has one.
    """
    started = host.now()
    addresses, lookup = await resolve_all(host, target.name, env)
    if not addresses:
        reason = lookup.reason if lookup is not None else ""
        detail = f"{target.name}: {reason or 'no address'}"
        return Connection("unresolved", detail, lookup, None, None, host.now() - started)
    cause = cause or Cause(Stage.PROGRAM, f"connect to {target}")
    began = host.now()
    for address in addresses:
        remote = Endpoint(address, target.port)
        result, detail, local = await _dial(host, remote, timeout=timeout, cause=cause)
        if result == "ok":
            break
    return Connection(result, detail, lookup, remote, local, host.now() - began)


async def _dial(
    host: Host, remote: Endpoint, *, timeout: float, cause: Cause
) -> tuple[str, str, Endpoint | None]:
    """Open a connection and close it: the result, how it came to it, and this end's address."""
    try:
        stream = await host.connect(remote, timeout=timeout, cause=cause)
    except TimeoutError:
        return "timeout", f"no answer from {remote} within {timeout:g} s", None
    except ConnectionRefusedError as error:
        how = next(iter(getattr(error, "__notes__", ())), "")
        return "refused", f"{remote} refused the connection: {how}", None
    except OSError as error:
        return "unreachable", f"{remote}: {error.strerror}", None
    stream.close()
    return "ok", f"connected to {remote}", stream.local


async def try_datagram(
    host: Host, target: Target, *, timeout: float, env: Mapping[str, str], cause: Cause
) -> Connection:
    """Send one datagram and wait for an answer: ``refused`` is ICMP port unreachable, ``timeout`` silence."""
    address, lookup = await resolve_first(host, target.name, env)
    if address is None:
        return Connection("unresolved", f"{target.name} has no address", lookup, None, None, 0.0)
    remote = Endpoint(address, target.port)
    began = host.now()
    try:
        socket = await host.udp(remote=remote)
        try:
            await socket.send(PAYLOAD, cause=cause)
            await socket.recv(timeout=timeout)
        finally:
            socket.close()
        result, detail = "ok", f"{remote} answered"
    except TimeoutError:
        result, detail = "timeout", f"no answer from {remote} within {timeout:g} s"
    except ConnectionRefusedError:
        result, detail = "refused", f"ICMP port unreachable for {remote}"
    except OSError as error:
        result, detail = "unreachable", f"{remote}: {error.strerror}"
    return Connection(result, detail, lookup, remote, None, host.now() - began)

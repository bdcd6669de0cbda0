"""One attempt to connect: the target as users write it, the lookup, the handshake, and how it ended.

``hosts`` offers it to users; ``trace``, ``diff`` and the checks look at its packets. A UDP "connection" is
one datagram and its answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import AddressValueError, IPv4Address
from typing import NamedTuple

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
        return f"{self.name}:{self.port}"


def parse_target(text: str) -> Target:
    """Read ``NAME:PORT``; UsageError says what is missing."""
    name, colon, port = text.rpartition(":")
    if not colon or not name or not port.isdigit() or not 0 < int(port) < 65536:
        raise UsageError(f"{text!r} is not NAME:PORT", hint="write for example ent.prod:8080")
    return Target(name, int(port))


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


async def resolve_first(
    host: Host, name: str, env: Mapping[str, str]
) -> tuple[IPv4Address | None, Lookup | None]:
    """The first IPv4 address of a name and the lookup that gave it; no lookup for an address."""
    try:
        return IPv4Address(name), None
    except AddressValueError:
        lookup = await getaddrinfo(host, name, env=env)
    found = next((address for address in lookup.addresses if isinstance(address, IPv4Address)), None)
    return found, lookup


async def try_connect(
    host: Host, target: Target, *, timeout: float, env: Mapping[str, str], cause: Cause | None = None
) -> Connection:
    """Resolve, connect and close, and say how it went; ``cause`` says why, in captures."""
    started = host.now()
    address, lookup = await resolve_first(host, target.name, env)
    if address is None:
        reason = lookup.reason if lookup is not None else ""
        detail = f"{target.name}: {reason or 'no IPv4 address'}"
        return Connection("unresolved", detail, lookup, None, None, host.now() - started)
    remote = Endpoint(address, target.port)
    cause = cause or Cause(Stage.PROGRAM, f"connect to {target}")
    began = host.now()
    try:
        stream = await host.connect(remote, timeout=timeout, cause=cause)
    except TimeoutError:
        result, detail, local = "timeout", f"no answer from {remote} within {timeout:g} s", None
    except ConnectionRefusedError as error:
        how = next(iter(getattr(error, "__notes__", ())), "")
        result, detail, local = "refused", f"{remote} refused the connection: {how}", None
    except OSError as error:
        result, detail, local = "unreachable", f"{remote}: {error.strerror}", None
    else:
        stream.close()
        result, detail, local = "ok", f"connected to {remote}", stream.local
    return Connection(result, detail, lookup, remote, local, host.now() - began)


async def try_datagram(
    host: Host, target: Target, *, timeout: float, env: Mapping[str, str], cause: Cause
) -> Connection:
    """Send one datagram and wait for an answer: ``refused`` is ICMP port unreachable, ``timeout`` silence."""
    address, lookup = await resolve_first(host, target.name, env)
    if address is None:
        return Connection("unresolved", f"{target.name} has no IPv4 address", lookup, None, None, 0.0)
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

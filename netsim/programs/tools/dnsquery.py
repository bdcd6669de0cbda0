"""What dig, nslookup and host share: one question to one server, and the search list as BIND's tools walk it.

BIND's tools bring their own stub resolver (bin/dig/dighost.c): they read /etc/resolv.conf and nothing else,
not /etc/hosts, and go to the next candidate after NXDOMAIN only.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from netsim.base.address import IpAddress
from netsim.base.cause import Cause
from netsim.base.errors import WireError
from netsim.programs.host import Endpoint, Host, Stream
from netsim.programs.resolve import getaddrinfo
from netsim.programs.tools.call import Call, Failure
from netsim.programs.tools.names import literal
from netsim.programs.waiting import Deadline
from netsim.resolver import resolvconf
from netsim.wire import dns
from netsim.wire.dnsname import name_to_wire

RESOLV_CONF = "/etc/resolv.conf"
LOOPBACK, LOOPBACK6 = IPv4Address("127.0.0.1"), IPv6Address("::1")
ILLEGAL_NAME = 10
"""dig's exit code for an internal error."""


class Answer(NamedTuple):
    """A reply, its size in octets, who sent it, over what, and after how many seconds."""

    message: dns.Message
    size: int
    server: Endpoint
    tcp: bool
    elapsed: float


def read_conf(host: Host) -> resolvconf.ResolvConf:
    return resolvconf.parse(host.files.get(RESOLV_CONF, ""), hostname=host.name)


def candidates(name: str, conf: resolvconf.ResolvConf, *, search: bool) -> list[str]:
    """The absolute names to try, in dighost.c's order; Failure for a name that DNS cannot carry."""
    if not is_legal(absolute(name)):
        raise Failure(f"'{name}' is not a legal name", ILLEGAL_NAME)
    if name.endswith(".") or not search:
        return [absolute(name)]
    found = [absolute(f"{name}.{domain}") for domain in conf.search]
    found.insert(0 if name.count(".") >= conf.ndots else len(found), absolute(name))
    return [candidate for candidate in found if is_legal(candidate)]


def is_legal(name: str) -> bool:
    """Whether DNS can carry the name: no empty label, none over 63 octets, 255 in all (RFC 1035, 2.3.4)."""
    try:
        name_to_wire(name)
    except WireError:
        return False
    return True


def absolute(name: str) -> str:
    return name if name.endswith(".") else f"{name}."


def reverse_name(address: IpAddress) -> str:
    """The PTR name of an address, absolute."""
    return absolute(address.reverse_pointer)


async def server_addresses(call: Call, server: str) -> Sequence[IpAddress]:
    """The addresses of the server that was named on the command line; empty when there is none.

    BIND's tools ask for families that the host has (lib/isc/getaddresses.c), busybox for both.
    """
    address = literal(server)
    if address is not None:
        return (address,)
    lookup = await getaddrinfo(call.host, server, addrconfig=not call.context.busybox, env=call.env)
    return lookup.addresses


async def servers_asked(
    call: Call, named: str, nameservers: Sequence[IpAddress], version: int | None
) -> Sequence[IpAddress]:
    """The servers that dig and host ask, with ``-4`` or ``-6`` of that IP version: the one that the command
    line names, or resolv.conf's, or this host itself where that has none (setup_system in dighost.c).

    Empty for an IPv4 address with ``-6``, which dighost.c maps into IPv6 and passes over (``skipped``).
    Failure for a name or an address that gives no server.
    """
    if not named:
        wanted = [address for address in nameservers if version in (None, address.version)]
        return wanted or [LOOPBACK6 if version == LOOPBACK6.version else LOOPBACK]
    found = [address for address in await server_addresses(call, named) if version in (None, address.version)]
    given = literal(named)
    if found or (given is not None and given.version == LOOPBACK.version):
        return found
    reason = "not found" if given is None else "address family not supported"
    raise Failure(f"couldn't get address for '{named}': {reason}")


def skipped(server: str) -> str:
    """What is said, for each name, of an IPv4 server that ``-6`` rules out."""
    return f";; Skipping mapped address '::ffff:{server}'\n;; No acceptable nameservers\n"


async def ask(
    host: Host, server: Endpoint, query: dns.Message, *, timeout: float, cause: Cause, tcp: bool = False
) -> Answer:
    """Send one query and wait for its answer; TimeoutError, ConnectionRefusedError or another OSError."""
    began = host.now()
    data = dns.build(query)
    deadline = Deadline(host, timeout)
    reply = await (_over_tcp if tcp else _over_udp)(host, server, data, deadline, cause)
    return Answer(dns.parse(reply), len(reply), server, tcp, host.now() - began)


async def _over_udp(host: Host, server: Endpoint, data: bytes, deadline: Deadline, cause: Cause) -> bytes:
    sock = await host.udp(remote=server)
    try:
        await sock.send(data, cause=cause)
        while True:
            reply = (await sock.recv(timeout=deadline.left())).data
            if reply[:2] == data[:2]:
                return reply
    finally:
        sock.close()


async def _over_tcp(host: Host, server: Endpoint, data: bytes, deadline: Deadline, cause: Cause) -> bytes:
    stream = await host.connect(server, timeout=deadline.left(), cause=cause)
    try:
        await stream.write(len(data).to_bytes(2, "big") + data, cause=cause)
        length = int.from_bytes(await _exactly(stream, 2, deadline), "big")
        return await _exactly(stream, length, deadline)
    finally:
        stream.close()


async def _exactly(stream: Stream, count: int, deadline: Deadline) -> bytes:
    data = b""
    while len(data) < count:
        piece = await stream.read(count - len(data), timeout=deadline.left())
        if not piece:
            raise ConnectionResetError("end of file")
        data += piece
    return data


def trouble(error: OSError | WireError, server: Endpoint) -> str:
    """How BIND's tools report a query that came to nothing."""
    if isinstance(error, TimeoutError):
        reason = "timed out"
    elif isinstance(error, ConnectionRefusedError):
        reason = "connection refused"
    elif isinstance(error, WireError):
        return f";; Got bad packet: FORMERR from {server.address}"
    else:
        reason = (error.strerror or "end of file").lower()
    return f";; communications error to {server.address}#{server.port}: {reason}"


def without_dot(name: str) -> str:
    """A name as nslookup and host print it."""
    return name[:-1] if name.endswith(".") and name != "." else name


def chase(message: dns.Message, name: str) -> str:
    """The end of the answer's CNAME chain that starts at ``name``."""
    targets = {record.name.lower(): record.data for record in message.answers if record.rtype == dns.CNAME}
    seen = set()
    while name.lower() in targets and name.lower() not in seen:
        seen.add(name.lower())
        name = targets[name.lower()]
    return name


def type_from_word(word: str) -> int | None:
    """The number of a record type as typed (``srv``, ``A``, ``TYPE65``), or None."""
    return dns.type_number(word.upper())

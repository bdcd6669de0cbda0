"""Names to addresses on a Host: drives the resolver machine of its libc over the host's own sockets.

The tools and programs of a Pod call this instead of a C library. /etc/resolv.conf and /etc/hosts are read at
each call, as the libraries notice when they change, and each call is a process of its own. Nothing is decided
here: what to ask, whom and when is the machine's.
"""

from __future__ import annotations

import errno
from collections.abc import Generator, Mapping
from ipaddress import IPv4Interface, IPv6Interface
from typing import Any, TypeVar

from netsim.base.address import IpAddress
from netsim.base.cause import Cause
from netsim.programs.host import Endpoint, Host, Stream, UdpSocket
from netsim.resolver import cares, glibc, golang, hosts, musl, resolvconf
from netsim.resolver.commands import (
    DNS_PORT,
    Arrived,
    Close,
    Closed,
    Command,
    Done,
    Event,
    Family,
    Joined,
    Libc,
    Lookup,
    Open,
    Receive,
    Refused,
    Send,
    TimedOut,
    Together,
    Transport,
    Unreachable,
)
from netsim.resolver.glibc_send import Process
from netsim.resolver.order import Client

T = TypeVar("T")
Machine = Generator[Command, Event, T]

RESOLV_CONF = "/etc/resolv.conf"
HOSTS = "/etc/hosts"
LENGTH_SIZE = 2  # the length before each message over TCP (RFC 1035, 4.2.2)


async def getaddrinfo(
    host: Host,
    name: str,
    *,
    family: Family = Family.UNSPEC,
    addrconfig: bool = False,
    env: Mapping[str, str] | None = None,
    libc: Libc | None = None,
) -> Lookup:
    """getaddrinfo(3) on this host: never raises for a name that is not found, see ``Lookup.error``.

    ``libc`` is the host's own unless another is named. ``env`` is the process's environment, of which glibc
    heeds RES_OPTIONS and LOCALDOMAIN; ``addrconfig`` (AI_ADDRCONFIG) has an effect in glibc alone.
    """
    machine: Machine[Lookup]
    match libc or host.libc:
        case Libc.GO:
            machine = golang.lookup_ip(name, _go(host), host.now(), family=family)
        case Libc.CARES:
            machine = cares.getaddrinfo(name, _cares(host), host.now(), family=family)
        case Libc.MUSL | Libc.OLD_MUSL as version:
            machine = musl.getaddrinfo(name, _musl(host, version), host.now(), family=family)
        case _:
            setup = _glibc(host, env)
            machine = glibc.getaddrinfo(name, setup, host.now(), family=family, addrconfig=addrconfig)
    return (await drive(host, machine))._replace(family=family)


async def getent_hosts(host: Host, name: str, *, env: Mapping[str, str] | None = None) -> Lookup:
    """``getent hosts NAME``: IPv6 addresses, or else IPv4 ones, in the server's order."""
    if host.libc not in (Libc.MUSL, Libc.OLD_MUSL):
        return await drive(host, glibc.getent_hosts(name, _glibc(host, env), host.now()))
    first = await getaddrinfo(host, name, family=Family.INET6)  # musl-utils' getent.c: gethostbyname2 twice
    if first.error is None:
        return first
    second = await getaddrinfo(host, name, family=Family.INET)
    elapsed = first.elapsed + second.elapsed
    return second._replace(queries=(*first.queries, *second.queries), elapsed=elapsed)


async def reverse(host: Host, address: IpAddress, *, env: Mapping[str, str] | None = None) -> Lookup:
    """The name of an address, in ``Lookup.canonical_name``, from /etc/hosts or by glibc's PTR query."""
    return await drive(host, glibc.gethostbyaddr(address, _glibc(host, env), host.now()))


def _glibc(host: Host, env: Mapping[str, str] | None) -> glibc.Setup:
    env = env or {}
    conf = resolvconf.parse(
        host.files.get(RESOLV_CONF, ""),
        hostname=host.name,
        res_options=env.get("RES_OPTIONS", ""),
        localdomain=env.get("LOCALDOMAIN"),
    )
    return glibc.Setup(conf, _hosts(host), _client(host), Process(), host.rng)


def _musl(host: Host, version: Libc) -> musl.Setup:
    conf = musl.parse(host.files.get(RESOLV_CONF, ""))
    return musl.Setup(conf, _hosts(host), _client(host), host.rng, old=version is Libc.OLD_MUSL)


def _go(host: Host) -> golang.Setup:
    conf = golang.parse(host.files.get(RESOLV_CONF, ""), hostname=host.name)
    return golang.Setup(conf, _hosts(host), _client(host), golang.Process(), host.rng)


def _cares(host: Host) -> cares.Setup:
    conf = cares.parse(host.files.get(RESOLV_CONF, ""), hostname=host.name)
    return cares.Setup(conf, _hosts(host), _client(host), host.rng)


def _hosts(host: Host) -> tuple[hosts.HostsLine, ...]:
    return hosts.parse(host.files.get(HOSTS, ""))


def _client(host: Host) -> Client:
    addresses = [text for interface in host.interfaces() for text in interface.addresses]
    ipv4 = (IPv4Interface(text) for text in addresses if ":" not in text)
    ipv6 = [IPv6Interface(text) for text in addresses if ":" in text and not text.startswith("::1/")]
    return Client(
        tuple(address for address in ipv4 if not address.ip.is_loopback),
        bool(ipv6),
        tuple(address for address in ipv6 if not address.is_link_local),
    )


async def drive(host: Host, machine: Machine[T]) -> T:
    """Carry out a machine's commands on the host until it ends; no socket is left open."""
    sockets: dict[int, _Socket] = {}
    try:
        command = next(machine)
        while True:
            command = machine.send(await _carry_out(host, command, sockets))
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        for socket in sockets.values():
            socket.close()


async def _together(host: Host, machines: tuple[Machine[Any], ...]) -> tuple[Any, ...]:
    """Run machines side by side; when this one is broken off, so are they."""
    tasks = [host.spawn(drive(host, machine), "resolver") for machine in machines]
    try:
        return tuple([await task.join() for task in tasks])
    finally:
        for task in tasks:
            task.cancel()


async def _carry_out(host: Host, command: Command, sockets: dict[int, _Socket]) -> Event:
    """One command, and what came of it; the sockets' errors are events."""
    try:
        match command:
            case Open(number, transport, server, cause, timeout):
                sockets[number] = await _open(host, transport, server, cause, timeout)
            case Send(number, messages, cause, to):
                await sockets[number].send(messages, cause, to)
            case Receive(number, timeout):
                message, source = await sockets[number].receive(timeout)
                return Arrived(host.now(), message, source)
            case Close(number):
                if number in sockets:  # not when opening it failed
                    sockets.pop(number).close()
            case Together(machines):
                results = await _together(host, machines)
                return Joined(host.now(), results)
    except TimeoutError:
        return TimedOut(host.now())
    except ConnectionRefusedError:
        return Refused(host.now())
    except EOFError:
        return Closed(host.now(), reset=False)
    except ConnectionError:
        return Closed(host.now(), reset=True)
    except OSError:
        return Unreachable(host.now())
    return Done(host.now())


async def _open(
    host: Host, transport: Transport, server: IpAddress | None, cause: Cause, timeout: float | None
) -> _Socket:
    if transport is Transport.UDP and server is None:
        return _Datagrams(await host.udp())
    remote = _endpoint(server)
    if transport is Transport.UDP:
        return _Datagrams(await host.udp(remote=remote))
    return _Connection(host, await host.connect(remote, timeout=timeout, cause=cause))


def _endpoint(server: IpAddress | None) -> Endpoint:
    """The server's port."""
    if server is None:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")
    return Endpoint(server, DNS_PORT)


class _Datagrams:
    """A UDP socket that carries one message per datagram."""

    def __init__(self, socket: UdpSocket) -> None:
        self._socket = socket

    async def send(self, messages: tuple[bytes, ...], cause: Cause, to: IpAddress | None) -> None:
        remote = None if to is None else _endpoint(to)
        for message in messages:
            await self._socket.send(message, remote, cause=cause)

    async def receive(self, timeout: float) -> tuple[bytes, IpAddress]:
        datagram = await self._socket.recv(timeout=timeout)
        return datagram.data, datagram.source.address

    def close(self) -> None:
        self._socket.close()


class _Connection:
    """A TCP connection that carries messages with their length before them."""

    def __init__(self, host: Host, stream: Stream) -> None:
        self._host = host
        self._stream = stream
        self._unread = b""

    async def send(self, messages: tuple[bytes, ...], cause: Cause, to: IpAddress | None) -> None:
        framed = (len(message).to_bytes(LENGTH_SIZE, "big") + message for message in messages)
        await self._stream.write(b"".join(framed), cause=cause)

    async def receive(self, timeout: float) -> tuple[bytes, IpAddress]:
        """The next whole message; EOFError when the peer has closed."""
        deadline = self._host.now() + timeout
        while True:
            end = LENGTH_SIZE + int.from_bytes(self._unread[:LENGTH_SIZE], "big")
            if len(self._unread) >= max(end, LENGTH_SIZE):
                message, self._unread = self._unread[LENGTH_SIZE:end], self._unread[end:]
                return message, self._stream.peer.address
            left = deadline - self._host.now()
            if left <= 0:
                raise TimeoutError("timed out")
            data = await self._stream.read(timeout=left)
            if not data:
                raise EOFError
            self._unread += data

    def close(self) -> None:
        self._stream.close()


_Socket = _Datagrams | _Connection

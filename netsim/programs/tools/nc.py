"""nc, as netcat-openbsd has it: connect, scan (``-z``), listen (``-l``), TCP or UDP (``-u``, ``-p``).

stdin is sent first, then what comes is printed until the other side closes. A real nc whose stdin has ended
waits on for ever; here a silence of ``SILENCE`` seconds ends it, since nobody is there to press Ctrl-C.
"""

from __future__ import annotations

import errno
from ipaddress import ip_address

from netsim.base.address import IpAddress
from netsim.programs.host import Endpoint, Host, Stream, UdpSocket
from netsim.programs.ports import port_from_text
from netsim.programs.terminal import bytes_from_text, text_from_bytes
from netsim.programs.tools.call import Call, Failure
from netsim.programs.tools.names import NameNotFound, addresses_of, family_of
from netsim.programs.tools.options import Options, read_options

SILENCE = 10.0
"""Virtual seconds without a byte after which a client whose stdin has ended gives up."""
PROBE_WAIT = 1.0
"""Seconds that ``-zu`` waits for an ICMP error before it calls the port open (udptest in netcat.c)."""
USAGE = """usage: nc [-46CDdFhklNnrStUuvZz] [-I length] [-i interval] [-M ttl]
\t  [-m minttl] [-O length] [-P proxy_username] [-p source_port]
\t  [-q seconds] [-s sourceaddr] [-T keyword] [-V rtable] [-W recvlimit]
\t  [-w timeout] [-X proxy_protocol] [-x proxy_address[:port]]
\t  [destination] [port]
"""


async def nc(call: Call) -> int:
    options = read_options(call, "46bCDdFhklNnrStUuvZzI:i:M:m:O:P:p:q:s:T:V:W:w:X:x:e:c:")
    if options.has("l"):
        return await _listen(call, options)
    if len(options.operands) < 2:
        call.error(USAGE)
        return 1
    target, ports = options.operands[:2]
    try:
        if options.has("n"):
            addresses = [ip_address(target)]
        else:
            addresses = await addresses_of(call, target, family=family_of(options))
    except NameNotFound as error:
        raise Failure(f'getaddrinfo for host "{target}" port {ports}: {error.reason}') from None
    except ValueError:
        raise Failure(f'getaddrinfo for host "{target}" port {ports}: Name or service not known') from None
    client = _Client(call, options, target, addresses)
    succeeded = False
    for port in _port_range(ports):
        succeeded = await client.one(port) or succeeded
        if succeeded and not options.has("z"):
            break
    return 0 if succeeded else 1


def _port_range(text: str) -> range:
    low, _, high = text.partition("-")
    first, last = port_from_text(low), port_from_text(high or low)
    if first is None or last is None:
        raise Failure(f"port number invalid: {text}")
    return range(first, last + 1)


class _Client:
    """nc as a client of one destination."""

    def __init__(self, call: Call, options: Options, target: str, addresses: list[IpAddress]) -> None:
        self.call = call
        self.options = options
        self.target = target
        self.addresses = addresses
        self.wait = options.number("w", default=0) or None

    async def one(self, port: int) -> bool:
        """One port: whether it could be reached."""
        if self.options.has("u"):
            return await self._udp(Endpoint(self.addresses[0], port))
        for address in self.addresses:
            remote = Endpoint(address, port)
            try:
                stream = await self.call.host.connect(remote, timeout=self.wait, cause=self.call.cause)
            except OSError as error:
                self._failed(remote, error)
                continue
            self._succeeded(remote, "tcp")
            if self.options.has("z"):
                stream.close()
            else:
                await self._converse(stream)
            return True
        return False

    def _failed(self, remote: Endpoint, error: OSError) -> None:
        if not self.options.has("v"):
            return
        named = f"{self.target} ({remote.address})" if self.target != str(remote.address) else self.target
        if isinstance(error, TimeoutError) and self.wait is not None:
            reason = "timed out: Operation now in progress"
        else:
            reason = f"failed: {error.strerror or 'Connection timed out'}"
        self.call.error(f"nc: connect to {named} port {remote.port} (tcp) {reason}\n")

    def _succeeded(self, remote: Endpoint, protocol: str) -> None:
        if self.options.has("v"):
            named = f"{self.target} ({remote.address})" if self.target != str(remote.address) else self.target
            self.call.error(f"Connection to {named} {remote.port} port [{protocol}/*] succeeded!\n")

    async def _converse(self, stream: Stream) -> None:
        """Send stdin, print what comes."""
        text = self.call.stdin.read() if not self.options.has("d") else ""
        if self.options.has("C"):
            text = text.replace("\n", "\r\n")
        try:
            if text:
                await stream.write(bytes_from_text(text), cause=self.call.cause)
            if self.options.has("N"):
                stream.close()
            patience = self.options.number("q", default=-1)
            silence = self.wait or (patience if patience >= 0 else SILENCE)
            while data := await stream.read(timeout=silence):
                self.call.write(text_from_bytes(data))
        except OSError:
            return  # reset or silent: nc ends without a word
        finally:
            stream.close()

    async def _udp(self, remote: Endpoint) -> bool:
        try:
            sock = await self.call.host.udp(self._source_port(), remote=remote)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise Failure("bind failed: Address already in use") from None
        try:
            if self.options.has("z", "v") and not await self._udp_open(sock):
                return False
            self._succeeded(remote, "udp")
            text = self.call.stdin.read() if not self.options.has("z") else ""
            if text:
                await sock.send(bytes_from_text(text), cause=self.call.cause)
            while not self.options.has("z"):
                data = (await sock.recv(timeout=self.wait or SILENCE)).data
                self.call.write(text_from_bytes(data))
        except OSError:
            return True  # silent, or refused after the first datagram: nc ends without a word
        finally:
            sock.close()
        return True

    def _source_port(self) -> int:
        text = self.options.value("p")
        if text is None:
            return 0
        port = port_from_text(text)
        if port is None:
            raise Failure(f"port number invalid: {text}")
        return port

    async def _udp_open(self, sock: UdpSocket) -> bool:
        """netcat.c's udptest: send a byte and see whether an ICMP error comes back."""
        try:
            await sock.send(b"X", cause=self.call.cause)
            await sock.recv(timeout=PROBE_WAIT)
        except ConnectionRefusedError:
            return False
        except TimeoutError:
            return True
        return True


async def _listen(call: Call, options: Options) -> int:
    """``nc -l [-6] [-k] [-p] PORT``: one connection after the other; with ``-u`` one peer's datagrams.

    It takes the first address that getaddrinfo has for nobody, which is 0.0.0.0 without ``-6``.
    """
    port = port_from_text(options.value("p") or next(iter(reversed(options.operands)), ""))
    if port is None:
        call.error(USAGE)
        return 1
    address = ip_address("::" if options.has("6") else "0.0.0.0")
    if options.has("v"):
        call.error(f"Listening on {address} {port}\n")
    if options.has("u"):
        return await _listen_udp(call, Endpoint(address, port), keep=options.has("k"))
    listener = await call.host.listen(port, address=address)
    try:
        while True:
            stream = await listener.accept()
            if options.has("v"):
                call.error(f"Connection received on {stream.peer.address} {stream.peer.port}\n")
            await _receive(call, stream)
            if not options.has("k"):
                return 0
    finally:
        listener.close()


async def _receive(call: Call, stream: Stream) -> None:
    try:
        text = call.stdin.read()
        if text:
            await stream.write(bytes_from_text(text), cause=call.cause)
        while data := await stream.read():
            call.write(text_from_bytes(data))
    except OSError:
        return  # the client is gone
    finally:
        stream.close()


async def _listen_udp(call: Call, local: Endpoint, *, keep: bool) -> int:
    host: Host = call.host
    sock = await host.udp(local.port, address=local.address)
    peer: Endpoint | None = None
    try:
        while True:
            datagram = await sock.recv()
            if peer is None or keep:
                peer = datagram.source
                text = call.stdin.read()
                if text:
                    await sock.send(bytes_from_text(text), peer, cause=call.cause)
            if datagram.source == peer:
                call.write(text_from_bytes(datagram.data))
    finally:
        sock.close()

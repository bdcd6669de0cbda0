"""nslookup, as bind9-dnsutils has it and as busybox has it; the image decides which one runs.

BIND's asks for A through the search list and then for AAAA of the name that was found. busybox's asks for
both types of every candidate at once, takes a name with a dot for absolute, and fails when any fails.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple

from netsim.base.errors import WireError
from netsim.programs.host import Endpoint, Host, UdpSocket
from netsim.programs.ports import LAST_PORT
from netsim.programs.tools import dnsquery
from netsim.programs.tools.call import Call, Failure
from netsim.programs.tools.dnsquery import Answer, without_dot
from netsim.programs.tools.names import literal
from netsim.resolver.commands import DNS_PORT
from netsim.wire import dns

TRIES = 3
"""BIND's ``retry`` of 2, and the first try."""
TIMEOUT = 5
BUSYBOX_INTERVAL = 2.5
BUSYBOX_SENDS = 2
"""busybox waits 5 s in all and sends twice (networking/nslookup.c)."""


class Request(NamedTuple):
    """The command line: options by name, what to look up, and the server that was named."""

    options: dict[str, str]
    name: str
    server: str


async def nslookup(call: Call) -> int:
    request = _read_arguments(call)
    return await (_busybox(call, request) if call.context.busybox else _Bind(call, request).run())


def _read_arguments(call: Call) -> Request:
    options = {}
    operands = []
    for arg in call.args:
        if arg.startswith("-") and len(arg) > 1:
            key, _, value = arg[1:].partition("=")
            options[{"q": "type", "querytype": "type", "query": "type", "ty": "type"}.get(key, key)] = value
        else:
            operands.append(arg)
    if not operands:
        raise Failure("interactive mode is not there; give a name to look up")
    return Request(options, operands[0], operands[1] if len(operands) > 1 else "")


def _number(options: dict[str, str], name: str, default: int) -> int:
    text = options.get(name, str(default))
    if not text.isdecimal() or int(text) > LAST_PORT:
        raise Failure(f"invalid {name} '{text}'")
    return int(text)


# --- BIND's ----------------------------------------------------------------------------------------------


class _Bind:
    """One run of bin/dig/nslookup.c."""

    def __init__(self, call: Call, request: Request) -> None:
        self.call = call
        self.request = request
        self.default_types = "type" not in request.options
        self.no_a = False
        self.failed = False

    async def run(self) -> int:
        call, request = self.call, self.request
        self.conf = dnsquery.read_conf(call.host)
        servers = list(self.conf.nameservers)
        if request.server:
            servers = [*await dnsquery.server_addresses(call, request.server)]
            if not servers:
                call.error(f"nslookup: couldn't get address for '{request.server}': not found\n")
                return 1
        port = _number(request.options, "port", DNS_PORT)
        self.servers = [Endpoint(address, port) for address in servers]
        address = literal(request.name)
        if address is not None:
            answered = await self._walk([dnsquery.reverse_name(address)], dns.PTR)
        else:
            names = dnsquery.candidates(request.name, self.conf, search="nosearch" not in request.options)
            answered = await self._walk(names, self._type())
        call.write("\n")
        return 1 if self.failed or not answered else 0

    def _type(self) -> int:
        if self.default_types:
            return dns.A
        word = self.request.options["type"]
        number = dnsquery.type_from_word(word)
        if number is None:
            self.call.write(f"unknown query type: {word}\n")
            return dns.A
        return number

    async def _walk(self, names: list[str], qtype: int) -> bool:
        """Ask for the candidates until one is there; False when no server answered."""
        for name in names:
            answer = await self._ask(name, qtype)
            if answer is None:
                return False
            if answer.message.rcode != dns.Rcode.NXDOMAIN or name == names[-1]:
                return await self._report(answer, name, qtype)
        return False

    async def _ask(self, name: str, qtype: int) -> Answer | None:
        """Try the servers in turn; one that fails, or does not recurse, is only as good as the last."""
        write, options = self.call.write, self.request.options
        for _ in range(_number(options, "retry", TRIES - 1) + 1):
            for server in self.servers:
                try:
                    answer = await self._exchange(server, name, qtype)
                except (OSError, WireError) as error:
                    write(f"{dnsquery.trouble(error, server)}\n")
                    continue
                flaw = self._flaw(answer.message)
                last = server == self.servers[-1]
                if flaw:
                    write(f";; Got {flaw} from {server.address}{'' if last else ', trying next server'}\n")
                if last or not flaw:
                    return answer
        write(";; no servers could be reached\n")
        return None

    async def _exchange(self, server: Endpoint, name: str, qtype: int) -> Answer:
        """One question to one server, over TCP for ANY and when the answer was truncated."""
        host, cause = self.call.host, self.call.cause
        timeout = float(_number(self.request.options, "timeout", TIMEOUT))
        question = dns.Question(name, qtype)
        query = dns.Message(host.rng.below(65536), recursion_desired=True, questions=(question,))
        tcp = "vc" in self.request.options or qtype == dns.ANY
        answer = await dnsquery.ask(host, server, query, timeout=timeout, cause=cause, tcp=tcp)
        if answer.message.truncated and not tcp:
            self.call.write(";; Truncated, retrying in TCP mode.\n")
            answer = await dnsquery.ask(host, server, query, timeout=timeout, cause=cause, tcp=True)
        return answer

    def _flaw(self, message: dns.Message) -> str:
        """What makes dighost.c try another server. Recursion counts only for servers of resolv.conf."""
        if message.rcode == dns.Rcode.SERVFAIL:
            return "SERVFAIL reply"
        no_recursion = not message.recursion_available and not self.request.server
        return "recursion not available" if no_recursion else ""

    async def _report(self, answer: Answer, name: str, qtype: int) -> bool:
        """Print an answer (nslookup.c, printmessage) and, after the default A, ask for AAAA."""
        write, message = self.call.write, answer.message
        first = not self.default_types or qtype == dns.A
        if first:
            shown = self.request.server or str(answer.server.address)
            write(f"Server:\t\t{shown}\nAddress:\t{answer.server.address}#{answer.server.port}\n\n")
        if message.rcode != dns.Rcode.NOERROR:
            write(f"** server can't find {without_dot(name)}: {dns.rcode_name(message.rcode)}\n")
            self.failed = True
            return True
        if not message.authoritative and first:
            write("Non-authoritative answer:\n")
        for record in message.answers:
            write(_bind_line(record))
        if not message.answers:
            if self.default_types and qtype == dns.A:
                self.no_a = True
            elif not self.default_types or (qtype == dns.AAAA and self.no_a):
                write(f"*** Can't find {self.request.name}: No answer\n")
        if not message.authoritative and qtype not in (dns.A, dns.AAAA):
            write("\nAuthoritative answers can be found from:\n")
            for record in (*message.authority, *message.additional):
                write(_bind_line(record))
        if self.default_types and qtype == dns.A:
            return await self._walk([dnsquery.chase(message, name)], dns.AAAA)
        return True


_WORDS = {
    dns.CNAME: "canonical name", dns.PTR: "name", dns.NS: "nameserver", dns.MX: "mail exchanger",
    dns.TXT: "text", dns.SRV: "service",
}  # fmt: skip
_SOA_WORDS = ("origin", "mail addr", "serial", "refresh", "retry", "expire", "minimum")


def _bind_line(record: dns.Record) -> str:
    name = without_dot(record.name)
    if record.rtype in (dns.A, dns.AAAA):
        return f"Name:\t{name}\nAddress: {dns.render_rdata(record)}\n"
    if record.rtype == dns.SOA:
        values = (without_dot(value) if isinstance(value, str) else value for value in record.data)
        return f"{name}\n" + "".join(
            f"\t{word} = {value}\n" for word, value in zip(_SOA_WORDS, values, strict=True)
        )
    word = _WORDS.get(record.rtype, f"rdata_{record.rtype}")
    return f"{name}\t{word} = {dns.render_rdata(record)}\n"


# --- busybox's -------------------------------------------------------------------------------------------


async def _busybox(call: Call, request: Request) -> int:
    """networking/nslookup.c of busybox 1.35, the big one that Alpine and Docker's busybox have."""
    conf = dnsquery.read_conf(call.host)
    servers = [*conf.nameservers]
    if request.server:
        servers = [*await dnsquery.server_addresses(call, request.server)]
        if not servers:
            raise Failure(f"bad address '{request.server}'")
    questions = _busybox_questions(request, conf.search)
    for address in servers:
        server = Endpoint(address, DNS_PORT)
        status = await _busybox_server(call, server, questions)
        if status is not None:
            return status
    call.write(";; connection timed out; no servers could be reached\n\n")
    return 1


def _busybox_questions(request: Request, search: tuple[str, ...]) -> list[tuple[str, int]]:
    address = literal(request.name)
    if address is not None:
        return [(dnsquery.reverse_name(address), dns.PTR)]
    word = request.options.get("type")
    types = [dns.A, dns.AAAA] if word is None else [dnsquery.type_from_word(word)]
    if None in types:
        raise Failure(f'invalid query type "{word}"')
    if not dnsquery.is_legal(dnsquery.absolute(request.name)):
        raise Failure(f"invalid name '{request.name}'")
    undotted = "." not in request.name and search and types != [dns.PTR]
    names = [f"{request.name}.{domain}" for domain in search] if undotted else [request.name]
    return [(name, qtype) for qtype in types if qtype is not None for name in names]


async def _busybox_server(call: Call, server: Endpoint, questions: list[tuple[str, int]]) -> int | None:
    """Send all questions, print the answers as they come; None when none came."""
    host = call.host
    waiting = {host.rng.below(65536): question for question in questions}
    sock = await host.udp(remote=server)
    codes: list[int] = []
    try:
        for _ in range(BUSYBOX_SENDS):
            for number, (name, qtype) in waiting.items():
                await sock.send(dns.query(number, dnsquery.absolute(name), qtype), cause=call.cause)
            async for message in _replies(sock, host, waiting):
                if not codes:
                    call.write(f"Server:\t\t{server.address}\nAddress:\t{server}\n\n")
                codes.append(message.rcode)
                call.write(_busybox_text(message, waiting.pop(message.id)[0]))
            if not waiting:
                break
    except ConnectionRefusedError:
        call.error(f"nslookup: write to '{server.address}': Connection refused\n")
    finally:
        sock.close()
    return int(any(codes) or bool(waiting)) if codes else None


async def _replies(
    sock: UdpSocket, host: Host, waiting: Mapping[int, tuple[str, int]]
) -> AsyncIterator[dns.Message]:
    """What answers the questions that still wait, as it comes, until busybox would send again."""
    until = host.now() + BUSYBOX_INTERVAL
    try:
        while waiting:
            message = dns.parse((await sock.recv(timeout=until - host.now())).data)
            if message.id in waiting:
                yield message
    except (TimeoutError, WireError):
        return


def _busybox_text(message: dns.Message, name: str) -> str:
    """One answer, and the empty line behind it."""
    if message.rcode != dns.Rcode.NOERROR:
        shown = without_dot(name) if name.endswith(".arpa.") else name
        return f"** server can't find {shown}: {dns.rcode_name(message.rcode)}\n\n"
    text = "" if message.authoritative else "Non-authoritative answer:\n"
    for record in message.answers:
        owner = without_dot(record.name)
        if record.rtype in (dns.A, dns.AAAA, dns.SOA):
            text += _bind_line(record)
        elif record.rtype in _WORDS:
            text += f"{owner}\t{_WORDS[record.rtype]} = {without_dot(dns.render_rdata(record))}\n"
    return f"{text}\n"

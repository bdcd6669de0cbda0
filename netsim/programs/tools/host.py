"""host (bind9-host): a name's addresses and mail servers, an address's name, in a line each."""

from __future__ import annotations

from netsim.base.errors import WireError
from netsim.programs.host import Endpoint
from netsim.programs.tools import dnsquery
from netsim.programs.tools.call import Call, Failure
from netsim.programs.tools.dnsquery import Answer, without_dot
from netsim.programs.tools.names import literal
from netsim.programs.tools.options import read_options
from netsim.resolver.commands import DNS_PORT
from netsim.wire import dns

TRIES = 2
TIMEOUT = 5.0
_PHRASES = {
    dns.A: "has address", dns.AAAA: "has IPv6 address", dns.CNAME: "is an alias for",
    dns.PTR: "domain name pointer", dns.MX: "mail is handled by", dns.TXT: "descriptive text",
    dns.SRV: "has SRV record", dns.NS: "name server", dns.SOA: "has SOA record",
}  # fmt: skip
_QUIET = (dns.AAAA, dns.MX)
"""The types that are asked for besides A, of which nothing is said when there are none."""


async def host(call: Call) -> int:
    options = read_options(call, "46aCdilrTvVwt:c:R:W:N:")
    if not options.operands:
        call.error("Usage: host [-aCdilrTvVw] [-t type] [-W time] [-R number] hostname [server]\n")
        return 1
    name = options.operands[0]
    conf = dnsquery.read_conf(call.host)
    if options.has("4") and options.has("6"):
        raise Failure("only one of -4 and -6 allowed")
    version = 6 if options.has("6") else 4 if options.has("4") else None
    server = options.operands[1] if len(options.operands) > 1 else ""
    addresses = await dnsquery.servers_asked(call, server, conf.nameservers, version)
    if not addresses:
        call.write(dnsquery.skipped(server))
        return 1
    lookup = _Host(call, [Endpoint(address, DNS_PORT) for address in addresses])
    lookup.timeout = options.number("W", default=TIMEOUT)
    lookup.tcp = options.has("T")
    if server:
        lookup.server_name = server
    address = literal(name)
    if address is not None:
        return await lookup.walk([dnsquery.reverse_name(address)], [dns.PTR])
    word = options.value("t")
    types: list[int] = [dns.A, *_QUIET]
    if word is not None:
        qtype = dnsquery.type_from_word(word)
        if qtype is None:
            raise Failure(f"invalid type: {word}", 2)
        types = [qtype]
    return await lookup.walk(dnsquery.candidates(name, conf, search=True), types)


class _Host:
    """One run of bin/dig/host.c."""

    def __init__(self, call: Call, servers: list[Endpoint]) -> None:
        self.call = call
        self.servers = servers
        self.server_name = ""
        self.timeout = TIMEOUT
        self.tcp = False

    async def walk(self, names: list[str], types: list[int]) -> int:
        """Find the candidate that exists, print its records, then those of the other types."""
        first, *rest = types
        for name in names:
            answer = await self._ask(name, first)
            if answer is None:
                return 1
            if answer.message.rcode != dns.Rcode.NXDOMAIN or name == names[-1]:
                self._introduce(answer)
                status = self._report(answer, name, first, said=not rest)
                if status:
                    return status
                name = dnsquery.chase(answer.message, name)
                break
        for qtype in rest:
            answer = await self._ask(name, qtype)
            if answer is not None:
                self._report(answer, name, qtype, said=False)
        return 0

    def _introduce(self, answer: Answer) -> None:
        if self.server_name:
            where = f"{answer.server.address}#{answer.server.port}"
            self.call.write(
                f"Using domain server:\nName: {self.server_name}\nAddress: {where}\nAliases: \n\n"
            )

    def _report(self, answer: Answer, name: str, qtype: int, *, said: bool) -> int:
        write, message = self.call.write, answer.message
        if message.rcode != dns.Rcode.NOERROR:
            shown = name if qtype == dns.PTR else without_dot(name)
            write(f"Host {shown} not found: {int(message.rcode)}({dns.rcode_name(message.rcode)})\n")
            return 1
        for record in message.answers:
            phrase = _PHRASES.get(record.rtype, f"has {dns.type_name(record.rtype)} record")
            write(f"{without_dot(record.name)} {phrase} {dns.render_rdata(record)}\n")
        if not message.answers and said:
            write(f"{without_dot(name)} has no {dns.type_name(qtype)} record\n")
        return 0

    async def _ask(self, name: str, qtype: int) -> Answer | None:
        call = self.call
        question = dns.Question(name, qtype)
        query = dns.Message(call.host.rng.below(65536), recursion_desired=True, questions=(question,))
        for _ in range(TRIES):
            for server in self.servers:
                try:
                    answer = await dnsquery.ask(
                        call.host, server, query, timeout=self.timeout, cause=call.cause, tcp=self.tcp
                    )
                    if not answer.message.truncated or self.tcp:
                        return answer
                    return await dnsquery.ask(
                        call.host, server, query, timeout=self.timeout, cause=call.cause, tcp=True
                    )
                except (OSError, WireError) as error:
                    call.write(f"{dnsquery.trouble(error, server)}\n")
        call.write(";; no servers could be reached\n")
        return None

"""dig (bind9-dnsutils 9.18): one name to one server, without a search list unless ``+search`` is given."""

from __future__ import annotations

from netsim.base.errors import WireError
from netsim.programs.clock import wall_clock
from netsim.programs.host import Endpoint
from netsim.programs.ports import port_from_text
from netsim.programs.tools import dnsquery
from netsim.programs.tools.call import Call, Failure
from netsim.programs.tools.dnsquery import Answer
from netsim.programs.tools.names import literal
from netsim.resolver.commands import DNS_PORT
from netsim.wire import dns

VERSION = "9.18.49"
UDP_SIZE = 1232
COOKIE = 10
"""The EDNS option of RFC 7873; dig sends one, CoreDNS sends it back."""
NO_REPLY = 9
SECTIONS = ("cmd", "comments", "question", "answer", "authority", "additional", "stats")
CLASSES = {"IN": dns.IN, "CH": dns.CHAOS, "CHAOS": dns.CHAOS}
USAGE = """Usage:  dig [@global-server] [domain] [q-type] [q-class] {q-opt}
            {global-d-opt} host [@local-server] {local-d-opt}
            [ host [@local-server] {local-d-opt} [...]]

Use "dig -h" (or "dig -h | more") for complete list of options"""


class Settings:
    """What the command line says, with dig's defaults."""

    def __init__(self) -> None:
        self.names: list[tuple[str, int]] = []
        self.qtype: int | None = None
        self.qclass: int = dns.IN
        self.server = ""
        self.version: int | None = None
        self.port = DNS_PORT
        self.show = set(SECTIONS)
        self.flags = {"recurse": True, "edns": True, "cookie": True, "adflag": True}
        self.timeout = 5.0
        self.tries = 3

    def on(self, flag: str) -> bool:
        return self.flags.get(flag, False)


class _BadOption(Failure):
    """As dig puts it: the complaint, then the usage."""

    def __init__(self, option: str) -> None:
        super().__init__(f"Invalid option: {option}\n{USAGE}", bare=True)


async def dig(call: Call) -> int:
    settings = _read_arguments(call.args)
    conf = dnsquery.read_conf(call.host)
    addresses = await dnsquery.servers_asked(call, settings.server, conf.nameservers, settings.version)
    if not addresses:
        call.write(dnsquery.skipped(settings.server) * max(len(settings.names), 1))
        return 0
    servers = [Endpoint(address, settings.port) for address in addresses]
    status = 0
    for index, (name, qtype) in enumerate(settings.names or [(".", dns.NS)]):
        names = dnsquery.candidates(name, conf, search=settings.on("search"))
        answer = await _walk(call, settings, servers, names, qtype)
        if index == 0 and "cmd" in settings.show:
            call.write(_banner(call, settings))
        if answer is None:
            call.write(";; no servers could be reached\n")
            status = NO_REPLY
        else:
            call.write(_render(call, settings, answer))
    return status


# --- arguments -------------------------------------------------------------------------------------------


def _read_arguments(args: tuple[str, ...]) -> Settings:
    settings = Settings()
    words = list(args)
    while words:
        word = words.pop(0)
        if word.startswith("@"):
            settings.server = word[1:]
        elif word.startswith("+"):
            _read_flag(settings, word[1:])
        elif word.startswith("-") and len(word) > 1:
            _read_dashed(settings, word, words)
        else:
            _read_word(settings, word)
    default = settings.qtype or dns.A
    settings.names = [(name, qtype or default) for name, qtype in settings.names]
    return settings


def _read_word(settings: Settings, word: str) -> None:
    """A type or a class where one can stand, else a name."""
    qtype = dnsquery.type_from_word(word)
    if word.upper() in CLASSES and settings.names:
        settings.qclass = CLASSES[word.upper()]
    elif qtype is not None:
        _set_type(settings, qtype)
    else:
        settings.names.append((word, 0))


def _set_type(settings: Settings, qtype: int) -> None:
    """A type counts for the name before it, or for the names to come."""
    if settings.names and not settings.names[-1][1]:
        settings.names[-1] = (settings.names[-1][0], qtype)
    else:
        settings.qtype = qtype


def _read_dashed(settings: Settings, word: str, rest: list[str]) -> None:
    letter, value = word[1], word[2:]
    if letter in "46" and not value:
        if settings.version not in (None, int(letter)):
            raise Failure("only one of -4 and -6 allowed")
        settings.version = int(letter)
        return
    if letter in "hvmur" and not value:
        return
    if letter not in "xtqpcb":
        raise _BadOption(word)
    if not value:
        if not rest:
            raise _BadOption(word)
        value = rest.pop(0)
    if letter == "x":
        address = literal(value)
        if address is None:
            raise Failure(f"Invalid IP address {value}")
        settings.names.append((dnsquery.reverse_name(address), dns.PTR))
    elif letter == "q":
        settings.names.append((value, 0))
    elif letter == "p":
        port = port_from_text(value)
        if port is None:
            raise Failure(f"Couldn't parse port number '{value}'", bare=True)
        settings.port = port
    elif letter == "c":
        settings.qclass = CLASSES.get(value.upper(), dns.IN)
    elif letter == "t":
        qtype = dnsquery.type_from_word(value)
        if qtype is None:
            raise Failure(f";; Warning, ignoring invalid type {value}", bare=True)
        _set_type(settings, qtype)


_FLAG_NAMES = {
    "tcp": "tcp", "vc": "tcp", "search": "search", "defname": "search", "recurse": "recurse",
    "rec": "recurse", "rdflag": "recurse", "short": "short", "edns": "edns", "dnssec": "dnssec",
    "do": "dnssec", "cookie": "cookie", "adflag": "adflag", "ad": "adflag", "cdflag": "cdflag",
    "cd": "cdflag", "ignore": "ignore", "multiline": "multiline", "identify": "identify", "ttlid": "ttlid",
    "nssearch": "nssearch",
}  # fmt: skip


def _read_flag(settings: Settings, word: str) -> None:
    name, _, value = word.partition("=")
    wanted = not name.startswith("no")
    name = name.removeprefix("no")
    if name == "all":
        settings.show = set(SECTIONS) if wanted else set()
    elif name in SECTIONS or name == "comment":
        (settings.show.add if wanted else settings.show.discard)("comments" if name == "comment" else name)
    elif name in ("time", "timeout") and value.isdecimal():
        settings.timeout = max(float(value), 1.0)
    elif name in ("tries", "retry") and value.isdecimal():
        settings.tries = max(int(value) + (name == "retry"), 1)
    elif name in ("bufsize", "ndots", "domain", "subnet"):
        return
    elif name in _FLAG_NAMES:
        settings.flags[_FLAG_NAMES[name]] = wanted
        if name == "short" and wanted:
            settings.show.clear()
    else:
        raise _BadOption(f"+{word}")


# --- asking ----------------------------------------------------------------------------------------------


async def _walk(
    call: Call, settings: Settings, servers: list[Endpoint], names: list[str], qtype: int
) -> Answer | None:
    """The answer for the first candidate that is not NXDOMAIN, or the last's; None without an answer."""
    answer = None
    for name in names:
        answer = await _ask(call, settings, servers, dns.Question(name, qtype, settings.qclass))
        if answer is None or answer.message.rcode != dns.Rcode.NXDOMAIN:
            break
    return answer


async def _ask(
    call: Call, settings: Settings, servers: list[Endpoint], question: dns.Question
) -> Answer | None:
    for _ in range(settings.tries):
        for server in servers:
            query = _query(call, settings, question)
            try:
                answer = await dnsquery.ask(
                    call.host,
                    server,
                    query,
                    timeout=settings.timeout,
                    cause=call.cause,
                    tcp=settings.on("tcp"),
                )
                if answer.message.truncated and not answer.tcp and not settings.on("ignore"):
                    if not settings.on("short"):
                        call.write(";; Truncated, retrying in TCP mode.\n")
                    answer = await dnsquery.ask(
                        call.host, server, query, timeout=settings.timeout, cause=call.cause, tcp=True
                    )
            except (OSError, WireError) as error:
                call.write(f"{_trouble(error, server, question.name, tcp=settings.on('tcp'))}\n")
                continue
            return answer
    return None


def _trouble(error: OSError | WireError, server: Endpoint, name: str, *, tcp: bool) -> str:
    if tcp and isinstance(error, ConnectionRefusedError):
        where = f"{server.address}#{server.port}({server.address})"
        return f";; Connection to {where} for {dnsquery.without_dot(name)} failed: connection refused."
    return dnsquery.trouble(error, server)


def _query(call: Call, settings: Settings, question: dns.Question) -> dns.Message:
    rng = call.host.rng
    cookie = bytes(rng.below(256) for _ in range(8))
    options = ((COOKIE, cookie),) if settings.on("cookie") else ()
    edns = dns.Edns(UDP_SIZE, do=settings.on("dnssec"), options=options) if settings.on("edns") else None
    return dns.Message(
        rng.below(65536), recursion_desired=settings.on("recurse"), authentic=settings.on("adflag"),
        checking_disabled=settings.on("cdflag"), questions=(question,), edns=edns,
    )  # fmt: skip


# --- printing --------------------------------------------------------------------------------------------


def _banner(call: Call, settings: Settings) -> str:
    found = "; (1 server found)\n" if settings.server else ""
    words = " ".join(call.args)
    return f"\n; <<>> DiG {VERSION} <<>> {words}\n{found};; global options: +cmd\n"


def _render(call: Call, settings: Settings, answer: Answer) -> str:
    message = answer.message
    if settings.on("short"):
        return "".join(f"{dns.render_rdata(record)}\n" for record in message.answers)
    comments = "comments" in settings.show
    text = _head(message) if comments else ""
    if "question" in settings.show and message.questions:
        lines = [dns.render_question(question) for question in message.questions]
        text += _section("QUESTION", lines, comments=comments)
    for name in ("answer", "authority", "additional"):
        records: tuple[dns.Record, ...] = getattr(message, "answers" if name == "answer" else name)
        if name in settings.show and records:
            lines = [dns.render_record(record) for record in records]
            text += _section(name.upper(), lines, comments=comments)
    return text + (_stats(call, settings, answer) if "stats" in settings.show else "")


def _head(message: dns.Message) -> str:
    lines = [";; Got answer:"]
    if any(question.name.lower().endswith(".local.") for question in message.questions):
        lines += [
            ";; WARNING: .local is reserved for Multicast DNS",
            ";; You are currently testing what happens when an mDNS query is leaked to DNS",
        ]
    flags = {
        "qr": message.response, "aa": message.authoritative, "tc": message.truncated,
        "rd": message.recursion_desired, "ra": message.recursion_available, "ad": message.authentic,
        "cd": message.checking_disabled,
    }  # fmt: skip
    shown = " ".join(name for name, is_set in flags.items() if is_set)
    additional = len(message.additional) + (message.edns is not None)
    lines += [
        f";; ->>HEADER<<- opcode: {'QUERY' if message.opcode == dns.QUERY else message.opcode}, "
        f"status: {dns.rcode_name(message.rcode)}, id: {message.id}",
        f";; flags: {shown}; QUERY: {len(message.questions)}, ANSWER: {len(message.answers)}, "
        f"AUTHORITY: {len(message.authority)}, ADDITIONAL: {additional}",
    ]
    if message.recursion_desired and not message.recursion_available:
        lines.append(";; WARNING: recursion requested but not available")
    lines.append("")
    if message.edns is not None:
        lines += _edns_lines(message.edns)
    return "".join(f"{line}\n" for line in lines)


def _edns_lines(edns: dns.Edns) -> list[str]:
    do = " do" if edns.do else ""
    lines = [
        ";; OPT PSEUDOSECTION:",
        f"; EDNS: version: {edns.version}, flags:{do}; udp: {edns.size}",
    ]
    for code, data in edns.options:
        if code == COOKIE:
            lines.append(f"; COOKIE: {data.hex()} ({'echoed' if len(data) == 8 else 'good'})")
        else:
            lines.append(f"; OPT={code}: {data.hex(' ')}".rstrip())
    return lines


def _section(title: str, lines: list[str], *, comments: bool) -> str:
    body = "".join(f"{line}\n" for line in lines)
    return f";; {title} SECTION:\n{body}\n" if comments else body


def _stats(call: Call, settings: Settings, answer: Answer) -> str:
    server = answer.server
    named = settings.server or server.address
    return (
        f";; Query time: {int(answer.elapsed * 1000)} msec\n"
        f";; SERVER: {server.address}#{server.port}({named}) ({'TCP' if answer.tcp else 'UDP'})\n"
        f";; WHEN: {wall_clock(call.host):%a %b %d %H:%M:%S UTC %Y}\n"
        f";; MSG SIZE  rcvd: {answer.size}\n\n"
    )

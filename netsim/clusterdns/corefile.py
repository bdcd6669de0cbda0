"""The Corefile: text to server blocks, with the grammar and the error messages of CoreDNS.

``parse`` gives the server blocks with their zones and, per directive, the tokens that belong to it; what the
tokens mean is each plugin's business, which reads them through a ``Controller``. Sources: coredns/caddy
``caddyfile/lexer.go``, ``dispenser.go`` and ``parse.go``; coredns ``core/dnsserver/register.go``
(InspectServerBlocks) and ``plugin/normalize.go``.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from hashlib import sha512
from typing import NamedTuple

from netsim.base.errors import CorefileError
from netsim.clusterdns.names import normalize_zones, split_host_port

DEFAULT_NAME = "Corefile"
DEFAULT_PORT = 53
MAXIMUM_IMPORTS = 10000  # caddyfile/parse.go maxSnippetExpansions

TRANSPORTS = ("dns", "tls", "quic", "grpc", "https3", "https", "unix")
"""The schemes of plugin/pkg/transport; netsim serves ``dns`` alone."""

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_ENVIRONMENT = (re.compile(r"\{%(.+?)%\}"), re.compile(r"\{\$(.+?)\}"))


def default_corefile(dns_domain: str) -> str:
    """The Corefile that kubeadm 1.35 installs (kubernetes cmd/kubeadm/app/phases/addons/dns/manifests.go)."""
    return f""".:53 {{
    errors
    health {{
       lameduck 5s
    }}
    ready
    kubernetes {dns_domain} in-addr.arpa ip6.arpa {{
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }}
    prometheus :9153
    forward . /etc/resolv.conf {{
       max_concurrent 1000
    }}
    cache 30 {{
       disable success {dns_domain}
       disable denial {dns_domain}
    }}
    loop
    reload
    loadbalance
}}
"""


class Token(NamedTuple):
    """One word, where it stands; ``file`` is empty in the Corefile itself."""

    text: str
    line: int
    file: str = ""


class ZoneAddress(NamedTuple):
    """A zone (lower case, absolute) on a port."""

    zone: str
    port: int

    def __str__(self) -> str:
        return f"dns://{self.zone}:{self.port}"


class ServerBlock(NamedTuple):
    """One block: its zones, and its directives with the tokens of every time they were used."""

    zones: tuple[ZoneAddress, ...]
    directives: Mapping[str, Sequence[Token]]


# --- words ---------------------------------------------------------------------------------------------


def tokenize(text: str, file: str = "") -> list[Token]:
    """Words, ``"quoted words"`` and ``# comments``, as caddyfile/lexer.go reads them."""
    tokens = []
    characters = _Characters(text.removeprefix("\ufeff"))
    for character in characters:
        if character == "#":
            characters.skip_comment()
        elif character == '"':
            line = characters.line
            word, closed = characters.quoted()
            if word or closed:
                tokens.append(Token(word, line, file))
        elif not character.isspace():
            line = characters.line
            tokens.append(Token(character + characters.word(), line, file))
    return tokens


class _Characters:
    """The text, character by character, with the line that is being read."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self.line = 1

    def __iter__(self) -> Iterator[str]:
        while self._at < len(self._text):
            yield self._take()

    def _take(self) -> str:
        character = self._text[self._at]
        self._at += 1
        if character == "\n":
            self.line += 1
        return character

    def skip_comment(self) -> None:
        while self._at < len(self._text) and self._text[self._at] != "\n":
            self._at += 1

    def word(self) -> str:
        start = self._at
        while self._at < len(self._text):
            character = self._text[self._at]
            if character.isspace() or character == "#":
                break
            self._at += 1
        return self._text[start : self._at]

    def quoted(self) -> tuple[str, bool]:
        """Up to the closing quote, and whether there is one; a backslash escapes a quote and nothing else."""
        value: list[str] = []
        while self._at < len(self._text):
            character = self._take()
            if character == '"':
                return "".join(value), True
            if character == "\\" and self._text[self._at : self._at + 1] == '"':
                character = self._take()
            value.append(character)
        return "".join(value), False


class Cursor:
    """Walks tokens line by line (caddyfile/dispenser.go)."""

    def __init__(self, tokens: Sequence[Token], name: str) -> None:
        self.tokens = list(tokens)
        self.at = -1
        self._name = name
        self._nesting = 0

    @property
    def value(self) -> str:
        """The current word, or the empty string before the first and after the last."""
        return self.tokens[self.at].text if 0 <= self.at < len(self.tokens) else ""

    @property
    def line(self) -> int:
        return self.tokens[self.at].line if 0 <= self.at < len(self.tokens) else 0

    @property
    def file(self) -> str:
        return (self.tokens[self.at].file if 0 <= self.at < len(self.tokens) else "") or self._name

    def next(self) -> bool:
        """Step to the next word, wherever it stands."""
        if self.at >= len(self.tokens) - 1:
            return False
        self.at += 1
        return True

    def starts_line(self) -> bool:
        """Whether the current word is the first of its line."""
        if self.at < 1:
            return True
        before, here = self.tokens[self.at - 1 : self.at + 1]
        return before.file != here.file or before.line + before.text.count("\n") < here.line

    def next_argument(self) -> bool:
        """Step to the next word if it is on this line."""
        if 0 <= self.at < len(self.tokens) - 1:
            here, after = self.tokens[self.at : self.at + 2]
            if here.file != after.file or here.line + here.text.count("\n") != after.line:
                return False
        return self.next()

    def arguments(self) -> list[str]:
        """The rest of the line, up to an opening brace."""
        words = []
        while self.next_argument():
            if self.value == "{":
                self.at -= 1
                break
            words.append(self.value)
        return words

    def next_in_block(self) -> bool:
        """Step to the next word of the block that opens on this line; False at its closing brace."""
        if self._nesting == 0:
            if not self.next_argument():
                return False
            if self.value != "{":
                self.at -= 1
                return False
            self._nesting = 1
        if not self.next() or self.value == "}":
            self._nesting = 0
            return False
        return True

    def error(self, message: str) -> CorefileError:
        """``Corefile:3 - Error during parsing: …`` at the current word."""
        return CorefileError(
            f"{self.file}:{self.line} - Error during parsing: {message}", file=self.file, line=self.line
        )

    def syntax_error(self, expected: str) -> CorefileError:
        problem = f"Syntax error: Unexpected token '{self.value}', expecting '{expected}'"
        return CorefileError(f"{self.file}:{self.line} - {problem}", file=self.file, line=self.line)

    def argument_error(self) -> CorefileError:
        if self.value == "{":
            return self.error("Unexpected token '{', expecting argument")
        return self.error(f"Wrong argument count or unexpected line ending after '{self.value}'")


class Controller(Cursor):
    """What a plugin's ``parse`` reads: the tokens of its directive, and the zones of the server block."""

    def __init__(self, tokens: Sequence[Token], name: str, zones: Sequence[str]) -> None:
        super().__init__(tokens, name)
        self.zones = tuple(zones)

    def done(self) -> None:
        """Refuse a second use in one server block (plugin.ErrOnce)."""
        if self.next():
            raise CorefileError("this plugin can only be used once per Server Block")

    def origins(self, arguments: Sequence[str]) -> tuple[str, ...]:
        """The zones named, or the server block's when none is (plugin.OriginsFromArgsOrServerBlock)."""
        return normalize_zones(arguments) if arguments else self.zones

    def fall_zones(self) -> tuple[str, ...]:
        """The zones of ``fallthrough [ZONES...]``; all when none is named (fall.F)."""
        return normalize_zones(self.arguments() or ["."])

    def one_argument(self) -> str:
        """Exactly one argument."""
        words = self.arguments()
        if len(words) != 1:
            raise self.argument_error()
        return words[0]

    def listen_address(self, default: int) -> int:
        """The port of at most one argument, ``HOST:PORT`` (net.SplitHostPort)."""
        words = self.arguments()
        if len(words) > 1:
            raise self.argument_error()
        if words and not re.fullmatch(r"(\[[^\[\]]*\]|[^:\[\]]*):[^:]*", words[0]):
            raise CorefileError(_address_problem(words[0]))
        port = words[0].rpartition(":")[2] if words else ""
        return int(port) if port.isdigit() else default

    def no_argument(self) -> None:
        if self.arguments():
            raise self.argument_error()

    def flag(self) -> None:
        """No argument; of several the first is the one complained of."""
        if self.next_argument():
            raise self.argument_error()


def _address_problem(text: str) -> str:
    """Why a text is no HOST:PORT (net.SplitHostPort, and net.AddrError's way to say it)."""
    if text.startswith("[") and "]" not in text:
        problem = "missing ']' in address"
    else:
        problem = "too many colons in address" if ":" in text else "missing port in address"
    return f"address {text}: {problem}" if text else problem


def integer(text: str) -> int:
    """strconv.Atoi."""
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise CorefileError(f'strconv.Atoi: parsing "{text}": invalid syntax')
    return int(text)


def unsigned(text: str, bits: int) -> int:
    """strconv.ParseUint in base 10."""
    problem = "value out of range" if re.fullmatch(r"[0-9]+", text) else "invalid syntax"
    if problem == "invalid syntax" or int(text) >= 1 << bits:
        raise CorefileError(f'strconv.ParseUint: parsing "{text}": {problem}')
    return int(text)


def duration(text: str) -> float:
    """time.ParseDuration: ``5s``, ``1h30m``, ``500ms``; seconds."""
    body = text.lstrip("+-")
    if body == "0":
        return 0.0
    seconds = 0.0
    rest = body
    while rest:
        number = re.match(r"[0-9]*\.?[0-9]*", rest)
        assert number is not None
        if number[0] in ("", "."):
            break
        unit = re.match(r"[^0-9.]*", rest[number.end() :])
        assert unit is not None
        if not unit[0]:
            raise CorefileError(f'time: missing unit in duration "{text}"')
        if unit[0] not in _UNITS:
            raise CorefileError(f'time: unknown unit "{unit[0]}" in duration "{text}"')
        seconds += float(number[0]) * _UNITS[unit[0]]
        rest = rest[number.end() + unit.end() :]
    if rest or not body:
        raise CorefileError(f'time: invalid duration "{text}"')
    return -seconds if text.startswith("-") else seconds


def go_duration(seconds: float) -> str:
    """time.Duration's String, of a second or more: ``1h30m0s``, ``1.5s``; below that ``500ms``."""
    if not seconds:
        return "0s"
    sign, rest = ("-", -seconds) if seconds < 0 else ("", seconds)
    if rest < 1:
        scale, unit = next(pair for pair in ((1e3, "ms"), (1e6, "µs"), (1e9, "ns")) if rest * pair[0] >= 1)
        return f"{sign}{rest * scale:g}{unit}"
    minutes, last = divmod(rest, 60)
    hours, minutes = divmod(int(minutes), 60)
    hour = f"{hours}h" if hours else ""
    minute = f"{minutes}m" if hours or minutes else ""
    return f"{sign}{hour}{minute}{last:g}s"


# --- blocks --------------------------------------------------------------------------------------------


class _RawBlock(NamedTuple):
    keys: list[str]
    directives: dict[str, list[Token]]


class _Parser(Cursor):
    def __init__(
        self,
        text: str,
        name: str,
        directives: frozenset[str] | None,
        env: Mapping[str, str],
        files: Mapping[str, str],
    ) -> None:
        super().__init__(tokenize(text), name)
        self._directives = directives
        self._env = env
        self._files = files
        self._snippets: dict[str, list[Token]] = {}
        self._imports = 0

    def blocks(self) -> Iterator[_RawBlock]:
        while self.next():
            block = _RawBlock([], {})
            ended = self._addresses(block)
            snippet = block.keys[0] if len(block.keys) == 1 else ""
            if ended:
                yield block
            elif snippet.startswith("(") and snippet.endswith(")"):
                self._snippet(snippet[1:-1])
            else:
                self._contents(block)
                yield block

    def _expand(self, text: str) -> str:
        for pattern in _ENVIRONMENT:
            text = pattern.sub(lambda match: self._env.get(match[1], ""), text)
        return text

    def _addresses(self, block: _RawBlock) -> bool:
        """The zones before a block; True when the file ends with them."""
        more = False
        while True:
            word = self._expand(self.value)
            if word == "import" and self.starts_line():
                self._import()
                if not self.next():
                    return True
                continue
            if word == "{":
                if more:
                    raise self.error(f"Expected another address but had '{word}' - check for extra comma")
                return False
            more = word.endswith(",")
            if word.rstrip(","):
                block.keys.append(word.removesuffix(","))
            if not self.next():
                if more:
                    raise self.error("Unexpected EOF")
                return True
            if not more and self.starts_line():
                return False

    def _snippet(self, name: str) -> None:
        if name in self._snippets:
            raise self.error(f"redeclaration of previously declared snippet {name}")
        if self.value != "{":
            raise self.syntax_error("{")
        depth, tokens, endless = 1, [], False
        while self.next():
            depth += (self.value == "{") - (self.value == "}")
            if depth == 0:
                break
            tokens.append(self.tokens[self.at])
            endless = endless or (
                self.tokens[self.at - 1].text == "import" and self._expand(self.value) == name
            )
        if depth:
            raise self.syntax_error("}")
        if endless:
            raise self.error(f"maximum snippet import depth ({MAXIMUM_IMPORTS}) exceeded")
        self._snippets[name] = tokens

    def _contents(self, block: _RawBlock) -> None:
        braced = self.value == "{"
        if not braced:
            self.at -= 1  # a single server needs no braces
        while self.next():
            if self.value == "}":
                break
            if self.value == "import":
                self._import()
            else:
                self._directive(block)
        if braced and self.value != "}":
            raise self.syntax_error("}")

    def _directive(self, block: _RawBlock) -> None:
        name = self._expand(self.value)
        if self._directives is not None and name not in self._directives:
            raise self.error(f"Unknown directive '{name}'")
        tokens = block.directives.setdefault(name, [])
        tokens.append(self.tokens[self.at]._replace(text=name))
        nesting = 0
        while self.next():
            if self.value == "{":
                nesting += 1
            elif self.starts_line() and nesting == 0:
                self.at -= 1
                break
            elif self.value == "}":
                if nesting == 0:
                    raise self.error("Unexpected '}' because no matching opening brace")
                nesting -= 1
            elif self.value == "import" and self.starts_line():
                self._import()
                continue
            token = self.tokens[self.at]
            tokens.append(token._replace(text=self._expand(token.text)))
        if nesting:
            raise self.error("Unexpected EOF")

    def _import(self) -> None:
        """Replace ``import NAME`` by the tokens of a snippet or of files; the next word is theirs."""
        if not self.next_argument():
            raise self.argument_error()
        pattern = self._expand(self.value)
        if not pattern:
            raise self.error("Import requires a non-empty filepath")
        if self.next_argument():
            raise self.error("Import takes only one argument (glob pattern or file)")
        self._imports += 1
        if self._imports > MAXIMUM_IMPORTS:
            raise self.error(f"maximum snippet import depth ({MAXIMUM_IMPORTS}) exceeded")
        found = self._snippets.get(pattern)
        tokens = self._import_files(pattern) if found is None else found
        self.tokens[self.at - 1 : self.at + 1] = tokens
        self.at -= 2

    def _import_files(self, pattern: str) -> list[Token]:
        path = posixpath.normpath(posixpath.join("/", posixpath.dirname(self.file), pattern))
        if path.count("*") > 1 or path.count("?") > 1 or ("[" in path and "]" in path):
            raise self.error(f"Glob pattern may only contain one wildcard (*), but has others: {path}")
        depth = path.count("/")
        names = [name for name in sorted(self._files) if name.count("/") == depth and fnmatchcase(name, path)]
        if not names and not any(wildcard in path for wildcard in "*?[]"):
            raise self.error(f"File to import not found: {pattern}")
        return [token for name in names for token in tokenize(self._files[name], name)]


def _zone_addresses(key: str) -> Iterator[ZoneAddress]:
    transport, separator, rest = key.partition("://")
    if separator and transport in TRANSPORTS:
        if transport != "dns":
            raise CorefileError(f"netsim does not serve DNS over {transport} yet: {key}")
        key = rest
    hosts, port = split_host_port(key)
    for host in hosts:
        yield ZoneAddress(host, DEFAULT_PORT if port is None else port)


def parse(
    text: str,
    directives: frozenset[str],
    *,
    name: str = DEFAULT_NAME,
    env: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
) -> tuple[ServerBlock, ...]:
    """Server blocks of a Corefile; CorefileError with CoreDNS's message when it is wrong.

    ``directives`` are the words that may begin a line of a block, ``name`` is the file's name in messages and
    the base of relative imports, ``env`` fills ``{$NAME}``, ``files`` are what ``import`` can find.
    """
    parser = _Parser(text, name, directives, env or {}, files or {})
    blocks = [block for block in parser.blocks() if block.keys]
    return tuple(ServerBlock(_inspected(block.keys), block.directives) for block in blocks)


def _inspected(keys: Sequence[str]) -> tuple[ZoneAddress, ...]:
    try:
        return tuple(address for key in keys for address in _zone_addresses(key))
    except CorefileError as error:
        raise CorefileError(f"error inspecting server blocks: {error.message}") from None


def fingerprint(text: str, *, name: str, env: Mapping[str, str], files: Mapping[str, str]) -> str:
    """The SHA512 of a Corefile's tokens, as the plugin reload computes it: of the JSON of the server blocks.

    CorefileError when the text has no valid form; what the directives are does not matter.
    """
    blocks = [
        {
            "Keys": block.keys,
            "Tokens": {
                directive: [
                    {"File": token.file or name, "Line": token.line, "Text": token.text} for token in tokens
                ]
                for directive, tokens in sorted(block.directives.items())
            },
        }
        for block in list(_Parser(text, name, None, env, files).blocks())
    ]
    document = json.dumps(blocks, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&":  # encoding/json escapes them
        document = document.replace(character, f"\\u{ord(character):04x}")
    return sha512(document.encode()).hexdigest()

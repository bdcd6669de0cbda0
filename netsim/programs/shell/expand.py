"""The mini-shell's expansions: words to fields (POSIX shell, XCU 2.6), and integer arithmetic."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Awaitable, Callable, Mapping

from netsim.programs.shell.tree import Arithmetic, Literal, Parameter, Substitution, Word


class ExpansionError(Exception):
    """An expansion that ends the shell: ``${x:?message}``, a division by zero, a bad number."""


class Variables:
    """Shell variables, which of them go into the environment, and the positional parameters.

    ``name`` is ``$0``, ``status`` is ``$?``.
    """

    __slots__ = ("exported", "last_background", "name", "positional", "status", "values")

    def __init__(self, env: Mapping[str, str], *, name: str = "sh") -> None:
        self.values = dict(env)
        self.exported = set(env)
        self.positional: tuple[str, ...] = ()
        self.name = name
        self.status = 0
        self.last_background = ""

    def environment(self) -> dict[str, str]:
        return {name: value for name, value in self.values.items() if name in self.exported}

    def copy(self) -> Variables:
        other = Variables(self.values, name=self.name)
        other.exported = set(self.exported)
        other.positional = self.positional
        other.status = self.status
        other.last_background = self.last_background
        return other

    def get(self, name: str) -> str | None:
        """The value of a variable or special parameter; None when it is not set."""
        if name.isdecimal() and name != "0":
            index = int(name) - 1
            return self.positional[index] if index < len(self.positional) else None
        specials = {
            "0": self.name,
            "?": str(self.status),
            "#": str(len(self.positional)),
            "@": " ".join(self.positional),
            "*": " ".join(self.positional),
            "$": "1",
            "!": self.last_background,
            "-": "",
        }
        return specials[name] if name in specials else self.values.get(name)


class _Fields:
    """Fields under construction: ``open`` says that the last one may still grow."""

    __slots__ = ("done", "open")

    def __init__(self) -> None:
        self.done: list[str] = []
        self.open = False

    def add(self, text: str) -> None:
        if self.open:
            self.done[-1] += text
        else:
            self.done.append(text)
            self.open = True

    def add_split(self, text: str) -> None:
        """Text from an unquoted expansion: white space ends a field."""
        if text[:1].isspace():
            self.open = False
        for index, piece in enumerate(text.split()):
            if index:
                self.open = False
            self.add(piece)
        if text[-1:].isspace():
            self.open = False


class Expander:
    """Expands words with some variables; ``substitute`` runs the text of ``$( )`` and gives its output."""

    def __init__(self, variables: Variables, substitute: Callable[[str], Awaitable[str]]) -> None:
        self._variables = variables
        self._substitute = substitute

    async def fields(self, word: Word) -> list[str]:
        """The fields that a word becomes: none for an unquoted empty expansion, several after splitting."""
        fields = _Fields()
        for part in word:
            if isinstance(part, Literal):
                fields.add(part.text)
            elif isinstance(part, Parameter) and part.name == "@" and part.quoted and not part.operator:
                for index, value in enumerate(self._variables.positional):
                    if index:
                        fields.open = False
                    fields.add(value)
            elif part.quoted:
                fields.add(await self._expand(part))
            else:
                fields.add_split(await self._expand(part))
        return fields.done

    async def text(self, word: Word) -> str:
        """The word as one text, without splitting: for assignments and redirections."""
        return "".join([p.text if isinstance(p, Literal) else await self._expand(p) for p in word])

    async def _expand(self, part: Parameter | Substitution | Arithmetic) -> str:
        if isinstance(part, Substitution):
            return (await self._substitute(part.source)).rstrip("\n")
        if isinstance(part, Arithmetic):
            return str(arithmetic(part.source, self._variables.values))
        return await self._parameter(part)

    async def _parameter(self, part: Parameter) -> str:
        value = self._variables.get(part.name)
        operator = part.operator
        if operator == "#" and not part.argument:
            return str(len(value or ""))
        if operator[:1] in ("%", "#"):
            return _trimmed(value or "", operator, await self.text(part.argument))
        missing = value is None or (operator.startswith(":") and not value)
        kind = operator[-1:]
        if kind == "+":
            return "" if missing else await self.text(part.argument)
        if not missing or not kind:
            return value or ""
        argument = await self.text(part.argument)
        if kind == "?":
            raise ExpansionError(f"{part.name}: {argument or 'parameter not set'}")
        if kind == "=":
            self._variables.values[part.name] = argument
        return argument


def _trimmed(value: str, operator: str, pattern: str) -> str:
    """``${x#p}``, ``${x##p}``, ``${x%p}`` and ``${x%%p}``."""
    lengths = range(len(value) + 1)
    longest = len(operator) == 2
    for length in reversed(lengths) if longest else lengths:
        piece = value[:length] if operator[0] == "#" else value[len(value) - length :]
        if fnmatch.fnmatchcase(piece, pattern):
            return value[length:] if operator[0] == "#" else value[: len(value) - length]
    return value


_NUMBER_OR_SIGN = re.compile(r"\s*(\d+|[A-Za-z_]\w*|<=|>=|==|!=|&&|\|\||[-+*/%()<>!])")
_LEVELS: tuple[tuple[str, ...], ...] = (
    ("||",), ("&&",), ("==", "!="), ("<", "<=", ">", ">="), ("+", "-"), ("*", "/", "%"),
)  # fmt: skip


def arithmetic(source: str, values: Mapping[str, str]) -> int:
    """The value of ``$(( source ))``: C's integer operators without assignments and bits."""
    tokens = []
    at = 0
    source = source.replace("$", "").rstrip()
    while at < len(source):
        match = _NUMBER_OR_SIGN.match(source, at)
        if match is None:
            raise ExpansionError(f'arithmetic expression: expecting primary: "{source}"')
        tokens.append(match[1])
        at = match.end()
    reader = _Arithmetic(tokens, values, source)
    value = reader.level(0) if tokens else 0
    reader.finish()
    return value


class _Arithmetic:
    def __init__(self, tokens: list[str], values: Mapping[str, str], source: str) -> None:
        self._tokens = [*tokens, ""]
        self._values = values
        self._source = source
        self._at = 0

    def _bad(self) -> ExpansionError:
        return ExpansionError(f'arithmetic expression: expecting primary: "{self._source}"')

    def finish(self) -> None:
        if self._tokens[self._at]:
            raise self._bad()

    def level(self, depth: int) -> int:
        """A left-associative chain of the operators of one precedence level."""
        if depth == len(_LEVELS):
            return self._primary()
        value = self.level(depth + 1)
        while (operator := self._tokens[self._at]) in _LEVELS[depth]:
            self._at += 1
            value = self._apply(operator, value, self.level(depth + 1))
        return value

    def _apply(self, operator: str, a: int, b: int) -> int:
        if operator in ("/", "%"):
            if b == 0:
                raise ExpansionError(f'arithmetic expression: division by zero: "{self._source}"')
            quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
            return quotient if operator == "/" else a - b * quotient
        results = {
            "||": bool(a or b), "&&": bool(a and b), "==": a == b, "!=": a != b, "<": a < b, "<=": a <= b,
            ">": a > b, ">=": a >= b, "+": a + b, "-": a - b, "*": a * b,
        }  # fmt: skip
        return int(results[operator])

    def _primary(self) -> int:
        token = self._tokens[self._at]
        self._at += 1
        if token == "(":
            value = self.level(0)
            if self._tokens[self._at] != ")":
                raise self._bad()
            self._at += 1
            return value
        if token in ("-", "+", "!"):
            value = self._primary()
            return {"-": -value, "+": value, "!": int(not value)}[token]
        if token.isdecimal():
            return int(token)
        if not token or not (token[0].isalpha() or token[0] == "_"):
            raise self._bad()
        text = self._values.get(token, "0") or "0"
        if not re.fullmatch(r"-?\d+", text):
            raise ExpansionError(f"Illegal number: {text}")
        return int(text)

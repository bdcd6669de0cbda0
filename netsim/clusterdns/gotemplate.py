"""Go's text/template, as far as the plugin ``template`` is used: fields, calls, pipes, variables, ``if``.

``Template(text)`` compiles or raises TemplateError; ``render(data)`` fills it. ``range``, ``with``,
``define`` and ``template`` are refused. Source: Go ``text/template`` (parse/parse.go, exec.go, funcs.go).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

_ACTION = re.compile(r"\{\{(-\s)?\s*(.*?)\s*(\s-)?\}\}", re.DOTALL)
_TOKEN = re.compile(
    r'"(?:[^"\\]|\\.)*"|`[^`]*`|[-+]?\d+(?:\.\d+)?|:=|\$\w*(?:\.\w+)*|(?:\.\w+)+|\.|\w+|[()|=,]'
)
_FORMAT = re.compile(r"%([-+# 0]*\d*(?:\.\d+)?)([a-zA-Z%])")


class TemplateError(Exception):
    """The text is no template, or cannot be filled."""


class _Text(NamedTuple):
    text: str


class _Print(NamedTuple):
    tokens: tuple[str, ...]


class _If(NamedTuple):
    branches: tuple[tuple[tuple[str, ...], tuple[Any, ...]], ...]


Node = _Text | _Print | _If


class Template:
    """A compiled template."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._pieces = list(_pieces(text))
        self._nodes = self._block(("",))[0]
        if self._pieces:
            raise TemplateError(f"unexpected {{{{{self._pieces[0][1]}}}}}")

    def _block(self, ends: Sequence[str]) -> tuple[tuple[Node, ...], str]:
        """Nodes up to one of the words that end them, and that word."""
        nodes: list[Node] = []
        while self._pieces:
            kind, body = self._pieces.pop(0)
            if kind == "text":
                nodes.append(_Text(body))
                continue
            tokens = _tokens(body)
            match tokens[:1]:
                case [("end" | "else") as word]:
                    if word not in ends:
                        raise TemplateError(f"unexpected {{{{{word}}}}}")
                    return tuple(nodes), body
                case ["if"]:
                    nodes.append(self._condition(tokens[1:]))
                case [("range" | "with" | "define" | "template" | "block" | "break" | "continue") as word]:
                    raise TemplateError(f"netsim does not read {{{{{word}}}}} in templates")
                case _:
                    _Evaluation({}).check(tokens)
                    nodes.append(_Print(tokens))
        if "" not in ends:
            raise TemplateError("unexpected EOF")
        return tuple(nodes), ""

    def _condition(self, tokens: tuple[str, ...]) -> _If:
        branches = []
        condition = tokens
        while True:
            nodes, end = self._block(("end", "else"))
            branches.append((condition, nodes))
            if end == "end":
                return _If(tuple(branches))
            words = _tokens(end)
            condition = words[2:] if words[1:2] == ("if",) else ()

    def render(self, data: Mapping[str, Any]) -> str:
        """The text with everything filled in; TemplateError when that cannot be."""
        return "".join(_render(self._nodes, _Evaluation(data)))


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    position, trim = 0, False
    for action in _ACTION.finditer(text):
        before = text[position : action.start()]
        before = before.lstrip() if trim else before
        yield "text", before.rstrip() if action[1] else before
        if not (action[2].startswith("/*") and action[2].endswith("*/")):
            if not action[2]:
                raise TemplateError("missing value for command")
            yield "action", action[2]
        position, trim = action.end(), bool(action[3])
    rest = text[position:].lstrip() if trim else text[position:]
    if "{{" in rest:
        raise TemplateError("unclosed action")
    yield "text", rest


def _tokens(body: str) -> tuple[str, ...]:
    tokens, position = [], 0
    while position < len(body):
        if body[position].isspace():
            position += 1
            continue
        found = _TOKEN.match(body, position)
        if found is None:
            raise TemplateError(f"unexpected {body[position:][:10]!r} in command")
        tokens.append(found[0])
        position = found.end()
    return tuple(tokens)


def _render(nodes: Sequence[Node], evaluation: _Evaluation) -> Iterator[str]:
    for node in nodes:
        match node:
            case _Text(text):
                yield text
            case _Print(tokens):
                shown, value = evaluation.statement(tokens)
                if shown:
                    yield _show(value)
            case _If(branches):
                for condition, body in branches:
                    if not condition or _true(evaluation.statement(condition)[1]):
                        yield from _render(body, evaluation)
                        break


class _Evaluation:
    """The data, the variables, and how a pipeline is worked out."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data = data
        self._variables: dict[str, Any] = {"$": data}
        self._dry = False

    def check(self, tokens: tuple[str, ...]) -> None:
        """Refuse functions that do not exist."""
        for index, token in enumerate(tokens):
            starts = index == 0 or tokens[index - 1] in ("(", "|", ":=", "=")
            if starts and re.fullmatch(r"[A-Za-z_]\w*", token) and token not in (*_FUNCTIONS, *_CONSTANTS):
                raise TemplateError(f'function "{token}" not defined')

    def statement(self, tokens: tuple[str, ...]) -> tuple[bool, Any]:
        """Whether it prints, and its value."""
        if len(tokens) > 2 and tokens[1] in (":=", "="):
            value = self._pipeline(list(tokens[2:]))
            self._variables[tokens[0]] = value
            return False, value
        return True, self._pipeline(list(tokens))

    def _pipeline(self, tokens: list[str]) -> Any:
        value = self._command(tokens, ())
        while tokens and tokens[0] == "|":
            tokens.pop(0)
            value = self._command(tokens, (value,))
        if tokens and tokens[0] != ")":
            raise TemplateError(f"unexpected {tokens[0]!r} in command")
        return value

    def _command(self, tokens: list[str], piped: tuple[Any, ...]) -> Any:
        if not tokens:
            raise TemplateError("missing value for command")
        head = tokens[0]
        if head in _FUNCTIONS:
            tokens.pop(0)
            arguments = self._operands(tokens)
            try:
                return _FUNCTIONS[head](*arguments, *piped)
            except (TypeError, ValueError, LookupError, ArithmeticError) as error:
                raise TemplateError(f"error calling {head}: {error}") from None
        value, *arguments = self._operands(tokens)
        if callable(value):
            return value(*arguments, *piped)
        if arguments or piped:
            raise TemplateError(f"can't give argument to non-function {head}")
        return value

    def _operands(self, tokens: list[str]) -> list[Any]:
        found = []
        while tokens and tokens[0] not in ("|", ")"):
            token = tokens.pop(0)
            if token == "(":
                value = self._pipeline(tokens)
                if not tokens or tokens.pop(0) != ")":
                    raise TemplateError("unclosed left paren")
                if tokens and tokens[0].startswith(".") and len(tokens[0]) > 1:
                    value = _fields(value, tokens.pop(0)[1:].split("."))
                found.append(value)
            else:
                found.append(self._operand(token))
        return found

    def _operand(self, token: str) -> Any:
        if token[0] == '"':
            return re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), token[1:-1])
        if token[0] == "`":
            return token[1:-1]
        if token == ".":
            return self._data
        if token[0] == ".":
            return _fields(self._data, token[1:].split("."))
        if token[0] == "$":
            name, *fields = token.split(".")
            if name not in self._variables:
                raise TemplateError(f'undefined variable "{name}"')
            return _fields(self._variables[name], fields)
        if token in _CONSTANTS:
            return _CONSTANTS[token]
        try:
            return int(token)
        except ValueError:
            raise TemplateError(f'function "{token}" not defined') from None


def _fields(value: Any, names: Sequence[str]) -> Any:
    for name in names:
        if not isinstance(value, Mapping):
            raise TemplateError(f"can't evaluate field {name}")
        value = value.get(name, "<no value>")
    return value


def _true(value: Any) -> bool:
    return bool(value) and value != "<no value>"


def _show(value: Any) -> str:
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(map(_show, value)) + "]"
    return str(value)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(key, "")
        elif not 0 <= key < len(value):
            raise IndexError(f"index out of range: {key}")
        else:
            value = value[key]
    return value


def _parse_int(text: str, base: int, bits: int) -> int:
    """strconv.ParseUint."""
    value = int(text, base)
    if not re.fullmatch(r"[0-9A-Za-z_]+", text) or value >= 1 << (bits or 64):
        raise ValueError(f'strconv.ParseUint: parsing "{text}": value out of range')
    return value


def _printf(text: str, *values: Any) -> str:
    left = list(values)

    def verb(match: re.Match[str]) -> str:
        if match[2] == "%":
            return "%"
        if not left:
            return f"%!{match[2]}(MISSING)"
        value = left.pop(0)
        match match[2]:
            case "v" | "s":
                return f"%{match[1]}s" % _show(value)
            case "q":
                return f'"{_show(value)}"'
            case "d" | "x" | "X" | "o" | "c":
                return str(f"%{match[1]}{match[2]}" % value)
            case "b":
                return format(value, "b")
        return f"%!{match[2]}({_show(value)})"

    return _FORMAT.sub(verb, text)


def _slice(value: Any, *bounds: int) -> Any:
    return value[slice(*bounds)] if bounds else value


_CONSTANTS: dict[str, Any] = {"true": True, "false": False, "nil": None}

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "parseInt": _parse_int,
    "index": _index,
    "slice": _slice,
    "len": len,
    "print": lambda *values: "".join(map(_show, values)),
    "println": lambda *values: " ".join(map(_show, values)) + "\n",
    "printf": _printf,
    "not": lambda value: not _true(value),
    "and": lambda *values: next((value for value in values if not _true(value)), values[-1]),
    "or": lambda *values: next((value for value in values if _true(value)), values[-1]),
    "eq": lambda first, *others: any(first == other for other in others),
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
}

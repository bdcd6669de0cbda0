"""YAML and JSON text → plain values, with the file, line and column of every key and value.

``manifest`` calls ``read_documents``; nobody else sees YAML. libyaml composes the node trees; this module
resolves the scalars as kubectl does (sigs.k8s.io/yaml, that is YAML 1.1 as in Go's yaml.v2: ``yes``, ``on``
and ``y`` are true, ``010`` is eight, a date is text), refuses keys that are set twice, and keeps the nodes so
that a position is looked up only when there is something to say about it. It does not know what a document
means.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import yaml
from yaml._yaml import CParser
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from netsim.base.errors import Problem, Source

Step = str | int
Path = tuple[Step, ...]
"""Where a value stands in its document: ``("spec", "ports", 0, "port")``."""

_EXPANSION_LIMIT = (
    1_000_000  # values that one document may hold, aliases expanded (a "billion laughs" has more)
)
_UNPRINTABLE = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)  # what YAML 1.1 allows nowhere (5.1, c-printable); libyaml would give up long before it gets there
_SEPARATOR = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")  # yamlStyleFloat of Go's yaml.v2
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|([1-9][0-9]*|0))")
_INTEGERS = range(-(2**63), 2**64)  # what Go reads as int64 or uint64; larger ones become floats
_BIGGEST_WHOLE_FLOAT = 1e21  # below it Go prints a whole float64 in JSON without an exponent

_WORDS: dict[str, Any] = {
    **dict.fromkeys(["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"], True),
    **dict.fromkeys(["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"], False),
    **dict.fromkeys(["", "~", "null", "Null", "NULL"]),
    **dict.fromkeys([".nan", ".NaN", ".NAN"], math.nan),
    **dict.fromkeys([".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"], math.inf),
    **dict.fromkeys(["-.inf", "-.Inf", "-.INF"], -math.inf),
}
"""resolveMap of Go's yaml.v2."""

_HINTS = (
    (
        "mapping values are not allowed",
        "quote a value that holds ': ', and give keys of one level one indentation",
    ),
    ("could not find expected ':'", "write `key: value`, with a space after the colon"),
    (
        "did not find expected '-' indicator",
        "the items of a list have one indentation, and each starts with `- `",
    ),
    ("did not find expected key", "the keys of one level have one indentation"),
    ("did not find expected ',' or ']'", "close the list with ]"),
    ("did not find expected ',' or '}'", "close the mapping with }"),
    ("found unexpected end of stream", "close the quotation mark"),
    ("found unexpected document indicator", "close the quotation mark"),
    (
        "found unknown escape character",
        "in double quotes a backslash escapes: double it, or use single quotes",
    ),
)

_TAG_PREFIX = "tag:yaml.org,2002:"
_MERGE_KEY = "<<"


class YamlDocument:
    """One document of a stream: its ``value`` in plain Python, and where each part of it was written.

    The nodes are not kept: the first question about a part composes the stream again.
    """

    __slots__ = ("_inside", "_number", "_start", "_stream", "value")

    def __init__(self, stream: _Stream, number: int, value: Any, start: Source, inside: Path = ()) -> None:
        self.value = value
        self._stream = stream
        self._number = number
        self._start = start
        self._inside = inside  # an item of a List

    @property
    def path(self) -> str:
        """The name of the file."""
        return self._stream.path

    def part(self, where: Path, value: Any) -> YamlDocument:
        """A document within this one: an item of a ``List``."""
        return YamlDocument(self._stream, self._number, value, self.source(where), (*self._inside, *where))

    def with_plain_keys(self) -> YamlDocument:
        """The same document with every key as it is written: the Topology's ``on`` is not true."""
        value = _Reader(self._stream, [], plain_keys=True).value(self._find(())[0])
        return YamlDocument(self._stream, self._number, value, self._start, self._inside)

    def source(self, where: Path = ()) -> Source:
        """Where the value at a path was written; for an absent one, the nearest thing that should hold it."""
        return self._stream.source(self._find(where)[0]) if where else self._start

    def key_source(self, where: Path) -> Source:
        """Where the key (or list item) at a path was written."""
        return self._stream.source(self._find(where)[1])

    def _find(self, where: Path) -> tuple[Node, Node]:
        """The value node at a path, and the node that names it. A part that is absent counts as its parent's
        key, or as its parent where that is a list item or the document."""
        value = name = self._stream.nodes()[self._number]
        for step in (*self._inside, *where):
            found = _child(value, step)
            if found is None:
                return name, name
            value, name = found
        return value, name


def read_documents(text: str, path: str) -> tuple[list[YamlDocument], list[Problem]]:
    """Every document of a stream and every mistake in it; ``path`` is what positions are called after.

    Empty documents are left out. After a syntax error reading goes on at the next ``---``.
    """
    documents: list[YamlDocument] = []
    problems = [_unprintable(text, found.start(), path) for found in _UNPRINTABLE.finditer(text)]
    if problems:
        text = _UNPRINTABLE.sub(" ", text)
    offset = 0  # lines of the file before ``text``
    while True:
        stream = _Stream(path, text, offset)
        try:
            for number, node in enumerate(stream.compose()):
                before = len(problems)
                value = _Reader(stream, problems).value(node)
                if value is not None and len(problems) == before:
                    documents.append(YamlDocument(stream, number, value, stream.source(node)))
            return documents, problems
        except yaml.YAMLError as error:
            problem, failed_at = _syntax_problem(error, stream)
        except RecursionError:
            problem, failed_at = Problem(Source(path, offset + 1, 1), "yaml: exceeded max depth"), len(text)
        problems.append(problem)
        following = _SEPARATOR.search(text, max(failed_at, 1))
        if following is None:
            return documents, problems
        offset += text.count("\n", 0, following.start())
        text = text[following.start() :]


class _Stream:
    """The text of one file, or what follows a syntax error in it; ``line_offset`` lines are before it."""

    __slots__ = ("_nodes", "line_offset", "path", "text")

    def __init__(self, path: str, text: str, line_offset: int) -> None:
        self.path = path
        self.text = text
        self.line_offset = line_offset
        self._nodes: list[Node] = []

    def compose(self) -> Iterator[Node]:
        """The root node of each document; raises YAMLError where the text is no YAML."""
        parser = _Parser(self.text)
        while parser.check_node():
            node = parser.get_node()
            assert node is not None  # there is one, says check_node
            yield node

    def nodes(self) -> list[Node]:
        """The root nodes up to the first syntax error, kept from the first call on."""
        if not self._nodes:
            with suppress(yaml.YAMLError):
                self._nodes.extend(self.compose())
        return self._nodes

    def source(self, node: Node) -> Source:
        """Where a node begins."""
        mark = node.start_mark
        return Source(self.path, mark.line + 1 + self.line_offset, mark.column + 1)


class _Parser(CParser):
    """libyaml's composer without tag resolution: a scalar's tag stays empty unless it was written."""

    def __init__(self, text: str) -> None:
        CParser.__init__(self, text)

    def resolve(self, kind: type[Node], value: object, implicit: object) -> str:
        return ""

    def descend_resolver(self, parent: object, index: object) -> None:
        pass

    def ascend_resolver(self) -> None:
        pass


class _Reader:
    """Turns the node tree of one document into a value, and collects what is wrong in it."""

    def __init__(self, stream: _Stream, problems: list[Problem], *, plain_keys: bool = False) -> None:
        self._stream = stream
        self._plain_keys = plain_keys
        self._problems = problems
        self._open: set[int] = set()  # the nodes that are being read: an alias to one of them has no end
        self._count = 0
        self._gave_up = False

    def value(self, node: Node) -> Any:
        """The value of a node, and None if something is wrong with it."""
        if isinstance(node, ScalarNode):
            return node.value if node.style and not node.tag else self._scalar(node)
        self._count += len(node.value)
        if self._count > _EXPANSION_LIMIT:
            if not self._gave_up:
                self._gave_up = True
                self._wrong(node, "yaml: document contains excessive aliasing")
            return None
        if id(node) in self._open:
            return self._wrong(node, "yaml: an anchor's value contains itself")
        self._open.add(id(node))
        value = (
            self._mapping(node)
            if isinstance(node, MappingNode)
            else [self.value(item) for item in node.value]
        )
        self._open.discard(id(node))
        return value

    def _mapping(self, node: MappingNode) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: list[Node] = []
        for key_node, value_node in node.value:
            if _is_merge(key_node):
                merged.append(value_node)
                continue
            key = self._key(key_node)
            if key in result:
                self._wrong(key_node, f'key "{key}" already set in map', "remove one of the two")
            elif key is not None:
                result[key] = self.value(value_node)
        for value_node in merged:
            for source in _merge_sources(value_node):
                inherited = self.value(source)
                if isinstance(inherited, dict):
                    result = inherited | result
                else:
                    self._wrong(value_node, "yaml: map merge requires map or sequence of maps as the value")
        return result

    def _key(self, node: Node) -> str | None:
        if not isinstance(node, ScalarNode):
            hint = "quote text that starts with {; a template must be rendered first (`helm template`)"
            self._wrong(node, "yaml: invalid map key: a key must be text", hint)
            return None
        if (self._plain_keys or node.style) and not node.tag:
            return str(node.value)
        key = self._scalar(node)
        if key is None:
            self._wrong(node, "unsupported map key of type: nil", 'write the key in quotes: ""')
            return None
        return _key_text(key)

    def _scalar(self, node: ScalarNode) -> Any:
        text: str = node.value
        tag: str = node.tag
        if not tag:
            return _resolve(text)
        kind = tag.removeprefix(_TAG_PREFIX)
        if kind == "str" or not tag.startswith(_TAG_PREFIX):
            return text
        if kind == "binary":
            try:
                return base64.b64decode("".join(text.split()), validate=True).decode("utf-8", "replace")
            except binascii.Error:
                return self._wrong(node, "yaml: !!binary value contains invalid base64 data")
        value = _resolve(text)
        if kind == "float" and isinstance(value, int):
            return value
        if kind != _kind(value):
            return self._wrong(node, f"yaml: cannot decode !!{_kind(value)} `{text}` as a !!{kind}")
        return value

    def _wrong(self, node: Node, message: str, hint: str = "") -> None:
        self._problems.append(Problem(self._stream.source(node), message, hint=hint))


def _resolve(text: str) -> Any:
    """The value of a plain scalar: ``resolve`` of Go's yaml.v2, then the number as JSON would write it."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "0123456789+-.":
        return text
    plain = text.replace("_", "")
    match = _INTEGER.fullmatch(plain)
    if match is not None:
        sign, hexadecimal, binary, octal, decimal = match.groups()
        digits, base = next(
            (digits, base)
            for digits, base in ((hexadecimal, 16), (binary, 2), (octal, 8), (decimal, 10))
            if digits is not None
        )
        whole = -int(digits, base) if sign == "-" else int(digits, base)
        return whole if whole in _INTEGERS else _number(float(whole))
    if _FLOAT.fullmatch(plain) is not None and math.isfinite(number := float(plain)):
        return _number(number)
    return text


def _number(value: float) -> int | float:
    """A float as JSON writes it: without a fraction when it has none."""
    return int(value) if abs(value) < _BIGGEST_WHOLE_FLOAT and value.is_integer() else value


def _key_text(key: Any) -> str:
    """A key as JSON has it."""
    return ("true" if key else "false") if isinstance(key, bool) else str(key)


def _kind(value: Any) -> str:
    names = {bool: "bool", int: "int", float: "float", str: "str"}
    return names.get(type(value), "null")


def _is_merge(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.value == _MERGE_KEY and not node.style


def _merge_sources(node: Node) -> Sequence[Node]:
    """The mappings that ``<<`` names; the first one wins."""
    return node.value if isinstance(node, SequenceNode) else (node,)


def _child(node: Node, step: Step) -> tuple[Node, Node] | None:
    """The value node under a step, and the node that names it (the key, or the list item itself)."""
    if isinstance(node, SequenceNode):
        if isinstance(step, int) and step < len(node.value):
            return node.value[step], node.value[step]
        return None
    if not isinstance(node, MappingNode):
        return None
    for key, value in node.value:
        if isinstance(key, ScalarNode) and step in (key.value, _key_text(_resolve(key.value))):
            return value, key
    for key, value in node.value:
        if _is_merge(key):
            for source in _merge_sources(value):
                found = _child(source, step)
                if found is not None:
                    return found
    return None


def _unprintable(text: str, at: int, path: str) -> Problem:
    line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
    return Problem(Source(path, line, column), "yaml: control characters are not allowed", hint="remove it")


def _syntax_problem(error: yaml.YAMLError, stream: _Stream) -> tuple[Problem, int]:
    """What libyaml says, with a hint; and the index in the text at which it gave up."""
    assert isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None
    mark = error.problem_mark
    lines = stream.text.split("\n")
    line = min(mark.line, len(lines) - 1)
    at = sum(len(earlier) + 1 for earlier in lines[:line])
    source = Source(stream.path, stream.line_offset + mark.line + 1, mark.column + 1)
    message, hint = str(error.problem), _syntax_hint(error, lines, line, stream.line_offset)
    if message == "found undefined alias":
        alias = re.match(r"\*([^\s,\]}]*)", lines[line][mark.column :])
        message = f"unknown anchor '{alias[1] if alias else ''}' referenced"
    elif str(error.context).startswith("found duplicate anchor"):
        message, hint = "an anchor is set twice in one document", "give the second one another name"
    return Problem(source, f"yaml: {message}", hint=hint), at


def _syntax_hint(error: yaml.MarkedYAMLError, lines: list[str], line: int, line_offset: int) -> str:
    problem = str(error.problem)
    assert error.problem_mark is not None
    indentation = lines[line][: len(lines[line]) - len(lines[line].lstrip())]
    if "\t" in indentation:
        return "YAML does not indent with tabs: replace the tab by spaces"
    character = lines[line][error.problem_mark.column : error.problem_mark.column + 1]
    if problem.startswith("found character that cannot start any token"):
        return f"quote text that starts with {character}" if character else ""
    hint = next((hint for start, hint in _HINTS if problem.startswith(start)), "")
    begun = error.context_mark
    if begun is not None and "close" in hint:
        opened = begun.line + 1 + line_offset
        return f"{hint}; it was opened in column {begun.column + 1} of line {opened}"
    return hint

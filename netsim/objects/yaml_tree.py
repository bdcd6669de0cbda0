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
from collections.abc import Sequence
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
    """One document of a stream: its ``value`` in plain Python, and where each part of it was written."""

    __slots__ = ("_line_offset", "node", "path", "value")

    def __init__(self, path: str, node: Node, value: Any, line_offset: int) -> None:
        self.path = path
        self.node = node
        self.value = value
        self._line_offset = line_offset

    def part(self, where: Path, value: Any) -> YamlDocument:
        """A document within this one: an item of a ``List``."""
        node, _ = self._find(where)
        return YamlDocument(self.path, node, value, self._line_offset)

    def with_plain_keys(self) -> YamlDocument:
        """The same document with every key as it is written: the Topology's ``on`` is not true."""
        reader = _Reader(self.path, self._line_offset, [], plain_keys=True)
        return reader.document(self.node) or self

    def source(self, where: Path = ()) -> Source:
        """Where the value at a path was written; for an absent one, the nearest thing that should hold it."""
        return self._at(self._find(where)[0])

    def key_source(self, where: Path) -> Source:
        """Where the key (or list item) at a path was written."""
        return self._at(self._find(where)[1])

    def _at(self, node: Node) -> Source:
        mark = node.start_mark
        return Source(self.path, mark.line + 1 + self._line_offset, mark.column + 1)

    def _find(self, where: Path) -> tuple[Node, Node]:
        """The value node at a path, and the node that names it. A part that is absent counts as its parent's
        key, or as its parent where that is a list item or the document."""
        value = name = self.node
        for step in where:
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
    problems: list[Problem] = []
    offset = 0  # lines of the file before ``text``
    while True:
        reader = _Reader(path, offset, problems)
        try:
            parser = _Parser(text)
            while parser.check_node():
                node = parser.get_node()
                assert node is not None  # there is one, says check_node
                document = reader.document(node)
                if document is not None:
                    documents.append(document)
            return documents, problems
        except yaml.YAMLError as error:
            problem, failed_at = _syntax_problem(error, text, path, offset)
        except RecursionError:
            problem, failed_at = Problem(Source(path, offset + 1, 1), "yaml: exceeded max depth"), len(text)
        problems.append(problem)
        following = _SEPARATOR.search(text, max(failed_at, 1))
        if following is None:
            return documents, problems
        offset += text.count("\n", 0, following.start())
        text = text[following.start() :]


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
    """Turns the node trees of one stream into values, and collects what is wrong in them."""

    def __init__(
        self, path: str, line_offset: int, problems: list[Problem], *, plain_keys: bool = False
    ) -> None:
        self._path = path
        self._offset = line_offset
        self._plain_keys = plain_keys
        self._problems = problems
        self._open: set[int] = set()  # the nodes that are being read: an alias to one of them has no end
        self._count = 0

    def document(self, node: Node) -> YamlDocument | None:
        self._count = 0
        before = len(self._problems)
        value = self._value(node)
        if len(self._problems) > before or value is None:
            return None
        return YamlDocument(self._path, node, value, self._offset)

    def _value(self, node: Node) -> Any:
        if isinstance(node, ScalarNode):
            return node.value if node.style and not node.tag else self._scalar(node)
        self._count += len(node.value)
        if self._count > _EXPANSION_LIMIT:
            return self._wrong(node, "yaml: document contains excessive aliasing") if self._open else None
        if id(node) in self._open:
            return self._wrong(node, "yaml: an anchor's value contains itself")
        self._open.add(id(node))
        value = (
            self._mapping(node)
            if isinstance(node, MappingNode)
            else [self._value(item) for item in node.value]
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
                result[key] = self._value(value_node)
        for value_node in merged:
            for source in _merge_sources(value_node):
                inherited = self._value(source)
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
                return base64.b64decode(text, validate=False).decode("utf-8", "replace")
            except binascii.Error:
                return self._wrong(node, "yaml: !!binary value contains invalid base64 data")
        value = _resolve(text)
        if kind == "float" and isinstance(value, int):
            return value
        if kind != _kind(value):
            return self._wrong(node, f"yaml: cannot decode !!{_kind(value)} `{text}` as a !!{kind}")
        return value

    def _wrong(self, node: Node, message: str, hint: str = "") -> None:
        mark = node.start_mark
        source = Source(self._path, mark.line + 1 + self._offset, mark.column + 1)
        self._problems.append(Problem(source, message, hint=hint))


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


def _syntax_problem(error: yaml.YAMLError, text: str, path: str, offset: int) -> tuple[Problem, int]:
    """What libyaml says, with a hint; and the index in ``text`` at which it gave up."""
    if isinstance(error, yaml.reader.ReaderError):
        at = error.position
        line, column = text.count("\n", 0, at), at - (text.rfind("\n", 0, at) + 1)
        message = f"yaml: {error.reason}"
        return Problem(Source(path, offset + line + 1, column + 1), message, hint="remove this character"), at
    assert isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None
    mark = error.problem_mark
    lines = text.split("\n")
    line = min(mark.line, len(lines) - 1)
    at = sum(len(earlier) + 1 for earlier in lines[:line])
    message = f"yaml: {error.problem}"
    source = Source(path, offset + mark.line + 1, mark.column + 1)
    return Problem(source, message, hint=_syntax_hint(error, lines, line)), at


def _syntax_hint(error: yaml.MarkedYAMLError, lines: list[str], line: int) -> str:
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
        return f"{hint}; it was opened in column {begun.column + 1} of line {begun.line + 1}"
    return hint

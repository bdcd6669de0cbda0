"""Label selectors in their three forms: a map, ``matchLabels`` and ``matchExpressions``, and text.

Semantics and grammar are those of apimachinery ``pkg/labels/selector.go``: all requirements must hold,
``NotIn`` and ``!=`` also match objects without the key, and the empty selector matches everything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from netsim.base.errors import UsageError
from netsim.objects.meta import LabelSelector

IN, NOT_IN, EXISTS, DOES_NOT_EXIST = "In", "NotIn", "Exists", "DoesNotExist"
EQUALS, NOT_EQUALS, GREATER, LESS = "=", "!=", "Gt", "Lt"


class Requirement(NamedTuple):
    """One condition on one label."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with those labels meets the condition."""
        value = labels.get(self.key)
        match self.operator:
            case "In" | "=":
                return value in self.values
            case "NotIn" | "!=":
                return value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
            case "Gt" | "Lt" if value is not None and _is_integer(value):
                above = int(value) - int(self.values[0])
                return above > 0 if self.operator == GREATER else above < 0
        return False

    def __str__(self) -> str:
        if self.operator == EXISTS:
            return self.key
        if self.operator == DOES_NOT_EXIST:
            return f"!{self.key}"
        if self.operator in _SIGNS:
            return f"{self.key}{_SIGNS[self.operator]}{self.values[0]}"
        word = "in" if self.operator == IN else "notin"
        return f"{self.key} {word} ({','.join(sorted(self.values))})"


class Selector(NamedTuple):
    """A conjunction of requirements."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with those labels is selected."""
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)


def selector_from_labels(labels: Mapping[str, str]) -> Selector:
    """The selector that wants each of those labels with its value, as ``spec.selector`` of a Service."""
    return Selector(tuple(Requirement(key, EQUALS, (labels[key],)) for key in sorted(labels)))


def selector_from_label_selector(selector: LabelSelector) -> Selector:
    """``matchLabels`` and ``matchExpressions`` as one conjunction, by key as apimachinery sorts it."""
    labels = selector_from_labels(selector.match_labels).requirements
    expressions = (Requirement(e.key, e.operator, e.values) for e in selector.match_expressions)
    return Selector(tuple(sorted((*labels, *expressions), key=lambda requirement: requirement.key)))


def has_all(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether ``labels`` hold every pair of ``wanted``."""
    return all(labels.get(key) == value for key, value in wanted.items())


_SIGNS = {EQUALS: "=", NOT_EQUALS: "!=", GREATER: ">", LESS: "<"}
_TOKEN = re.compile(r"\s*(?:(==|!=|[=!(),<>])|([^\s=!(),<>]+))")
_BINARY = "in, notin, =, ==, !=, gt, lt"


def _is_integer(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+", text) is not None


class _Parser:
    """Reads ``app=web,tier in (a,b),!legacy`` from left to right."""

    def __init__(self, text: str) -> None:
        self._tokens = [match[1] or match[2] for match in _TOKEN.finditer(text)]
        self._position = 0

    def requirements(self) -> list[Requirement]:
        found: list[Requirement] = []
        while self._peek():
            found.append(self._requirement())
            if self._peek() and self._next() != ",":
                raise self._unexpected("',' or 'end of string'", back=1)
            if self._tokens[-1] == "," and not self._peek():
                raise self._unexpected("identifier after ','")
        return found

    def _requirement(self) -> Requirement:
        if self._peek() == "!":
            self._next()
            return Requirement(self._word("identifier"), DOES_NOT_EXIST)
        key = self._word("!, identifier, or 'end of string'")
        operator = self._peek()
        if operator in ("", ","):
            return Requirement(key, EXISTS)
        self._next()
        match operator:
            case "=" | "==":
                return Requirement(key, EQUALS, (self._value(),))
            case "!=":
                return Requirement(key, NOT_EQUALS, (self._value(),))
            case "in" | "notin":
                return Requirement(key, IN if operator == "in" else NOT_IN, self._values())
            case "<" | ">":
                return Requirement(key, GREATER if operator == ">" else LESS, (self._integer(),))
        raise self._unexpected(_BINARY, back=1)

    def _value(self) -> str:
        return "" if self._peek() in ("", ",") else self._word("identifier")

    def _integer(self) -> str:
        value = self._word("identifier")
        if not _is_integer(value):
            raise self._unexpected("an integer", back=1)
        return value

    def _values(self) -> tuple[str, ...]:
        if self._next() != "(":
            raise self._unexpected("'('", back=1)
        values = [self._word("',', ')' or identifier")]
        while (token := self._next()) == ",":
            values.append(self._word("identifier"))
        if token != ")":
            raise self._unexpected("',' or ')'", back=1)
        return tuple(values)

    def _word(self, expected: str) -> str:
        token = self._next()
        if not token or token in ("==", "!=") or token in "=!(),<>":
            raise self._unexpected(expected, back=1)
        return token

    def _peek(self) -> str:
        return self._tokens[self._position] if self._position < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        self._position += 1
        return token

    def _unexpected(self, expected: str, back: int = 0) -> UsageError:
        self._position -= back
        return UsageError(
            f"unable to parse requirement: found '{self._peek()}', expected: {expected}",
            hint="write a selector as kubectl -l takes it: app=web,tier in (a,b),!legacy",
        )


def parse_selector(text: str) -> Selector:
    """The selector written as ``kubectl -l`` takes it; raises UsageError with the parser's wording."""
    return Selector(tuple(_Parser(text).requirements()))

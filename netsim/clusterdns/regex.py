"""Regular expressions as Go's regexp reads them.

Corefiles are written for RE2; Python's ``re`` reads nearly the same. What differs is translated (``\\z``,
``(?P<name>…)`` is the same, POSIX classes) or refused (back references and look-around are no RE2).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from netsim.base.errors import CorefileError

MAXIMUM_PATTERN = 10000
"""Plugins refuse longer patterns (maxRegexpLen)."""

_POSIX = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "ascii": r"\x00-\x7f", "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f", "digit": "0-9", "graph": "!-~", "lower": "a-z", "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ", "upper": "A-Z", "word": "0-9A-Za-z_", "xdigit": "0-9A-Fa-f",
}  # fmt: skip
_NOT_IN_RE2 = re.compile(r"\(\?(?:[=!]|<[=!]|>|\()|(?<!\\)(?:\\\\)*\\[1-9]")
_TRANSLATED = re.compile(r"\\[\s\S]|\[:(\^?)([a-z]+):\]|\(\?<([A-Za-z_]\w*)>")


def compile_pattern(text: str, error: Callable[[str], CorefileError]) -> re.Pattern[str]:
    """The compiled pattern; ``error`` makes the error for the words of Go's regexp."""
    try:
        return _compile(text)
    except re.error as problem:
        raise error(f"error parsing regexp: {_problem(text, problem)}") from None
    except (OverflowError, RecursionError) as problem:
        raise error(f"error parsing regexp: {problem}: `{text}`") from None


def _problem(text: str, error: re.error) -> str:
    """The error in the words of Go's regexp/syntax."""
    at = error.pos if error.pos is not None and error.pos < len(text) else len(text)
    escape = text[at : at + 2]
    problems = {
        "missing ), unterminated subpattern": f"missing closing ): `{text}`",
        "unbalanced parenthesis": f"unexpected ): `{text}`",
        "unterminated character set": f"missing closing ]: `{text[at:]}`",
        "nothing to repeat": f"missing argument to repetition operator: `{text[at : at + 1]}`",
        "multiple repeat": f"invalid nested repetition operator: `{text[max(at - 1, 0) : at + 1]}`",
        "bad escape (end of pattern)": "trailing backslash at end of expression: ``",
        f"bad escape {escape}": f"invalid escape sequence: `{escape}`",
    }
    if error.msg.startswith("bad character range "):
        return f"invalid character class range: `{error.msg.removeprefix('bad character range ')}`"
    return problems.get(error.msg, error.msg)


@lru_cache(maxsize=256)
def _compile(text: str) -> re.Pattern[str]:
    found = _NOT_IN_RE2.search(text)
    if found is not None:
        kind = "invalid or unsupported Perl syntax" if found[0].startswith("(") else "invalid escape sequence"
        raise re.error(f"{kind}: `{found[0]}`")
    return re.compile(_TRANSLATED.sub(_translate, text), re.ASCII)


def _translate(match: re.Match[str]) -> str:
    if match[3]:
        return f"(?P<{match[3]}>"
    if match[2]:
        inside = _POSIX.get(match[2])
        return match[0] if inside is None or match[1] else inside
    return {r"\z": r"\Z", r"\pL": r"[^\W\d_]"}.get(match[0], match[0])


def fill(replacement: str, match: re.Match[str]) -> str:
    """``{0}``, ``{1}`` … replaced by the groups, one after the other, as the plugin rewrite does."""
    for index in range(match.re.groups + 1):
        replacement = replacement.replace(f"{{{index}}}", match[index] or "")
    return replacement


def groups(match: re.Match[str]) -> Mapping[str, str]:
    """The groups by number and by name."""
    numbered = {str(index): match[index] or "" for index in range(match.re.groups + 1)}
    return {**numbered, **{name: match[name] or "" for name in match.re.groupindex}}

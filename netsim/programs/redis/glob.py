"""Redis's patterns (stringmatchlen in util.c): ``*``, ``?``, ``[a-z]``, ``[^x]``, ``\\`` before any of them.

KEYS and CONFIG GET match with it.
"""

from __future__ import annotations

import re


def matches(pattern: bytes, text: bytes, *, fold_case: bool = False) -> bool:
    """Whether the whole text fits."""
    flags = re.DOTALL | (re.IGNORECASE if fold_case else 0)
    return re.fullmatch(_translate(pattern), text, flags) is not None


def _translate(pattern: bytes) -> bytes:
    out, position = b"", 0
    while position < len(pattern):
        character = pattern[position : position + 1]
        position += 1
        if character == b"*":
            out += b".*"
        elif character == b"?":
            out += b"."
        elif character == b"[":
            group, position = _group(pattern, position)
            out += group
        elif character == b"\\" and position < len(pattern):
            out += re.escape(pattern[position : position + 1])
            position += 1
        else:
            out += re.escape(character)
    return out


def _group(pattern: bytes, position: int) -> tuple[bytes, int]:
    """A character class from behind its ``[``; one that does not end takes in the rest of the pattern."""
    negated = pattern[position : position + 1] == b"^"
    position += negated
    members: list[tuple[int, int]] = []
    while position < len(pattern) and pattern[position] != ord("]"):
        if pattern[position] == ord("\\") and position + 1 < len(pattern):
            position += 1
        low = high = pattern[position]
        if pattern[position + 1 : position + 2] == b"-" and position + 2 < len(pattern):
            high = pattern[position + 2]
            position += 2
        members.append((min(low, high), max(low, high)))
        position += 1
    ranges = b"".join(b"\\x%02x-\\x%02x" % pair for pair in members)
    if not ranges:
        return (b"." if negated else b"(?!)"), position + 1
    return b"[%b%b]" % (b"^" if negated else b"", ranges), position + 1

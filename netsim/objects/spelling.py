"""The nearest valid word, for the hint under an error message."""

from __future__ import annotations

from collections.abc import Iterable

_ENOUGH = 0.65  # difflib's ratio from which a word counts as meant; below it, hints mislead


def nearest(word: str, words: Iterable[str]) -> str:
    """The one of ``words`` that was probably meant, or the empty string."""
    from difflib import get_close_matches

    by_lower_case = {candidate.lower(): candidate for candidate in words}
    found = get_close_matches(word.lower(), by_lower_case, n=1, cutoff=_ENOUGH)
    return by_lower_case[found[0]] if found else ""


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """``did you mean "replicas"?``, or the empty string when no word is near."""
    found = nearest(word, words)
    return f'did you mean "{found}"?' if found else ""

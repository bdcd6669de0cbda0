"""Command-line options as glibc's getopt reads them: options and operands in any order."""

from __future__ import annotations

import math
from getopt import GetoptError, gnu_getopt

from netsim.programs.tools.call import Call, Failure


class Options:
    """The options that were given, by name without dashes, and the operands."""

    def __init__(self, given: list[tuple[str, str]], operands: list[str]) -> None:
        self.given = [(name.lstrip("-"), value) for name, value in given]
        self.operands = operands

    def has(self, *names: str) -> bool:
        return any(name in names for name, _ in self.given)

    def value(self, *names: str) -> str | None:
        """The value that was given last to an option of one of these names."""
        return next((value for name, value in reversed(self.given) if name in names), None)

    def values(self, *names: str) -> list[str]:
        return [value for name, value in self.given if name in names]

    def number(self, *names: str, default: float, low: float = 0, high: float = math.inf) -> float:
        """A number, as ping and nc take them; Failure for what is none or out of range."""
        text = self.value(*names)
        if text is None:
            return default
        try:
            number = float(text)
        except ValueError:
            raise Failure(f"invalid argument: '{text}'") from None
        if not low <= number <= high:
            raise Failure(f"invalid argument: '{text}': out of range: {low:g} <= value <= {high:g}")
        return number


def read_options(call: Call, short: str, long: tuple[str, ...] = (), *, code: int = 1) -> Options:
    """``short`` as getopt(3) has it, ``long`` names with ``=`` behind those that take a value.

    An unknown option is a Failure with exit code ``code``, worded as glibc words it.
    """
    try:
        given, operands = gnu_getopt(list(call.args), short, long)
    except GetoptError as error:
        raise Failure(_complaint(error), code) from None
    return Options(given, operands)


def _complaint(error: GetoptError) -> str:
    single, lacks_value = len(error.opt) == 1, "requires argument" in error.msg
    if single:
        return f"{'option requires an argument' if lacks_value else 'invalid option'} -- '{error.opt}'"
    return (
        f"option '--{error.opt}' requires an argument"
        if lacks_value
        else f"unrecognized option '--{error.opt}'"
    )

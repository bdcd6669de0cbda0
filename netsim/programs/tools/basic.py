"""Commands that need nothing but their arguments: echo, printf, test, true, false, seq, basename."""

from __future__ import annotations

import re

from netsim.programs.tools.call import Call, Failure

_ESCAPES = {
    "n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\\": "\\", "e": "\x1b",
}  # fmt: skip
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{1,2}|0?[0-7]{1,3}|.)", re.DOTALL)
_DIRECTIVE = re.compile(r"%(?P<flags>[-+ 0#]*\d*(?:\.\d+)?)(?P<kind>[sdiuxXofgcb%])")


async def true(call: Call) -> int:
    """Do nothing, successfully."""
    return 0


async def false(call: Call) -> int:
    return 1


async def echo(call: Call) -> int:
    """``-n``, ``-e`` and ``-E``, as bash and busybox have them."""
    args = list(call.args)
    newline, escapes = True, False
    while args and re.fullmatch(r"-[neE]+", args[0]):
        option = args.pop(0)
        newline = newline and "n" not in option
        escapes = "e" in option or (escapes and "E" not in option)
    text = " ".join(args)
    call.write((unescaped(text) if escapes else text) + ("\n" if newline else ""))
    return 0


def unescaped(text: str) -> str:
    """Backslash escapes as ``printf`` and ``echo -e`` read them; unknown ones stay as they are."""

    def replacement(match: re.Match[str]) -> str:
        code = match[1]
        if code[0] == "x":
            return chr(int(code[1:], 16))
        if code[0] in "01234567":
            return chr(int(code, 8) & 0xFF)
        return _ESCAPES.get(code, match[0])

    return _ESCAPE.sub(replacement, text)


async def printf(call: Call) -> int:
    """printf(1): the format is used again while arguments are left."""
    if not call.args:
        raise Failure("missing operand" if not call.context.busybox else "usage: printf FORMAT [ARG]...")
    template, args = unescaped(call.args[0]), list(call.args[1:])
    while True:
        before = len(args)
        call.write(_DIRECTIVE.sub(lambda match: _directive(match, args), template))
        if not args or len(args) == before:
            return 0


def _directive(match: re.Match[str], args: list[str]) -> str:
    kind = match["kind"]
    if kind == "%":
        return "%"
    value = args.pop(0) if args else ""
    if kind == "s":
        return f"%{match['flags']}s" % value
    if kind == "b":
        return unescaped(value)
    if kind == "c":
        return value[:1]
    number = _number(value)
    if kind in "fg":
        return f"%{match['flags']}{kind}" % number
    return f"%{match['flags']}{kind.replace('u', 'd')}" % int(number)


def _number(text: str) -> float:
    try:
        return int(text or "0", 0) if re.fullmatch(r"[-+]?\w+|", text) else float(text)
    except ValueError:
        raise Failure(f"'{text}': expected a numeric value") from None


async def seq(call: Call) -> int:
    """``seq [FIRST [STEP]] LAST``."""
    try:
        numbers = [int(text) for text in call.args]
    except ValueError:
        raise Failure(f"invalid floating point argument: ‘{call.args[0]}’") from None
    if not 1 <= len(numbers) <= 3:
        raise Failure("missing operand" if not numbers else "extra operand")
    first = numbers[0] if len(numbers) > 1 else 1
    step = numbers[1] if len(numbers) == 3 else 1
    if step == 0:
        raise Failure("invalid Zero increment value: ‘0’")
    last = numbers[-1]
    call.write("".join(f"{number}\n" for number in range(first, last + (1 if step > 0 else -1), step)))
    return 0


async def basename(call: Call) -> int:
    if not call.args:
        raise Failure("missing operand")
    name = call.args[0].rstrip("/").rpartition("/")[2] or "/"
    suffix = call.args[1] if len(call.args) > 1 else ""
    call.write(f"{name.removesuffix(suffix) if name != suffix else name}\n")
    return 0


async def test(call: Call) -> int:
    """``test`` and ``[``: strings, integers, files of the host, ``!``, ``-a`` and ``-o``."""
    args = list(call.args)
    if call.name == "[" and (not args or args.pop() != "]"):
        raise Failure("missing ]", 2)
    return 0 if _Test(args, call).whole() else 1


class _Test:
    def __init__(self, args: list[str], call: Call) -> None:
        self._args = args
        self._call = call

    def whole(self) -> bool:
        value = self._or() if self._args else False
        if self._args:
            raise Failure(f"{self._args[0]}: unexpected operator", 2)
        return value

    def _or(self) -> bool:
        value = self._and()
        while self._args[:1] == ["-o"]:
            self._args.pop(0)
            value = self._and() or value
        return value

    def _and(self) -> bool:
        value = self._one()
        while self._args[:1] == ["-a"]:
            self._args.pop(0)
            value = self._one() and value
        return value

    def _one(self) -> bool:
        args = self._args
        if len(args) >= 3 and args[1] in _COMPARISONS | _INTEGER_COMPARISONS:
            left, operator, right = args[:3]
            del args[:3]
            if operator in _COMPARISONS:
                return (left == right) == (operator != "!=")
            return _compare(self._number(left), operator, self._number(right))
        first = args.pop(0) if args else ""
        if first == "!":
            return not self._one()
        if first in _UNARY and args:
            return self._unary(first, args.pop(0))
        return bool(first)

    def _unary(self, operator: str, operand: str) -> bool:
        files, path = self._call.host.files, self._call.path(operand)
        if operator in ("-z", "-n"):
            return bool(operand) == (operator == "-n")
        if operator == "-d":
            folder = path.rstrip("/") + "/"
            return any(path.startswith(folder) for path in files) or folder == "/"
        if operator == "-s":
            return bool(files.get(path))
        return path in files

    def _number(self, text: str) -> int:
        try:
            return int(text)
        except ValueError:
            raise Failure(f"Illegal number: {text}", 2) from None


_COMPARISONS = frozenset({"=", "==", "!="})
_INTEGER_COMPARISONS = frozenset({"-eq", "-ne", "-lt", "-le", "-gt", "-ge"})
_UNARY = frozenset({"-z", "-n", "-e", "-f", "-r", "-w", "-x", "-d", "-s"})


def _compare(left: int, operator: str, right: int) -> bool:
    return {
        "-eq": left == right, "-ne": left != right, "-lt": left < right,
        "-le": left <= right, "-gt": left > right, "-ge": left >= right,
    }[operator]  # fmt: skip

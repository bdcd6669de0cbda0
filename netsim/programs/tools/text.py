"""Filters: grep, head, tail, wc, sort, uniq, cut, tr. As much of each as network exercises use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from netsim.programs.terminal import bytes_from_text
from netsim.programs.tools.call import Call, Failure
from netsim.programs.tools.files import NO_SUCH_FILE, file_text
from netsim.programs.tools.options import read_options
from netsim.programs.waiting import forever


def _texts(call: Call, paths: list[str]) -> Iterator[tuple[str, str | None]]:
    """(path, text) for each operand, stdin where there is none."""
    for path in paths or ["-"]:
        yield path, file_text(call, path)


def _missing(call: Call, path: str) -> int:
    if call.context.busybox:
        return call.fail(f"{path}: {NO_SUCH_FILE}")
    return call.fail(f"cannot open '{path}' for reading: {NO_SUCH_FILE}")


async def grep(call: Call) -> int:
    """Basic (and with ``-E`` extended) patterns are read as Python's, which agree in all that is common."""
    options = read_options(call, "EFGPivncoqshwxe:m:A:B:C:", ("color=", "colour="), code=2)
    patterns = options.values("e") or options.operands[:1]
    if not patterns:
        call.error("Usage: grep [OPTION]... PATTERNS [FILE]...\nTry 'grep --help' for more information.\n")
        return 2
    paths = options.operands if options.has("e") else options.operands[1:]
    read = re.escape if options.has("F") else partial(_python_pattern, extended=options.has("E", "P"))
    source = "|".join(map(read, patterns))
    if options.has("w"):
        source = rf"\b(?:{source})\b"
    if options.has("x"):
        source = rf"^(?:{source})$"
    try:
        pattern = re.compile(source, re.IGNORECASE if options.has("i") else 0)
    except re.error:
        raise Failure("Invalid regular expression", 2) from None
    status, found = 1, 0
    limit = int(options.number("m", default=0))
    for path, text in _texts(call, paths):
        if text is None:
            call.error(f"grep: {path}: {NO_SUCH_FILE}\n")
            status = 2
            continue
        prefix = f"{path}:" if len(paths) > 1 and not options.has("h") else ""
        hits = _hits(text, pattern, invert=options.has("v"))[: limit or None]
        found += len(hits)
        if options.has("c"):
            call.write(f"{prefix}{len(hits)}\n")
        elif not options.has("q"):
            for number, line in hits:
                numbered = f"{number}:" if options.has("n") else ""
                shown = [match[0] for match in pattern.finditer(line)] if options.has("o") else [line]
                call.write("".join(f"{prefix}{numbered}{piece}\n" for piece in shown))
    return 0 if found and status != 2 else status


def _python_pattern(pattern: str, *, extended: bool) -> str:
    if extended:
        return pattern
    swapped = re.sub(r"\\?[|+?(){}]", lambda m: m[0][1:] if len(m[0]) == 2 else f"\\{m[0]}", pattern)
    return swapped if not swapped.startswith("*") else f"\\{swapped}"


def _hits(text: str, pattern: re.Pattern[str], *, invert: bool) -> list[tuple[int, str]]:
    lines = enumerate(text.splitlines(), 1)
    return [(number, line) for number, line in lines if (pattern.search(line) is None) == invert]


async def head(call: Call) -> int:
    return _part(call, tail=False)


async def tail(call: Call) -> int:
    """``-f`` prints the end and then waits for ever: nothing is written behind its back."""
    status = _part(call, tail=True)
    if read_options(call, "n:c:fFq0123456789").has("f", "F"):
        await forever(call.host)
    return status


def _part(call: Call, *, tail: bool) -> int:
    options = read_options(call, "n:c:fFq0123456789")
    digits = "".join(name for name, _ in options.given if name.isdecimal())
    text_count = options.value("n") or digits or "10"
    if not text_count.lstrip("+-").isdecimal():
        raise Failure(f"invalid number of lines: ‘{text_count}’")
    count = int(text_count.lstrip("+-"))
    status = 0
    for path, text in _texts(call, options.operands):
        if text is None:
            status = _missing(call, path)
            continue
        if len(options.operands) > 1:
            call.write(f"==> {path} <==\n")
        size = options.value("c")
        if size is not None and size.isdecimal():
            call.write(text[-int(size) or len(text) :] if tail else text[: int(size)])
            continue
        lines = text.splitlines(keepends=True)
        if tail and text_count.startswith("+"):
            lines = lines[max(count - 1, 0) :]
        elif not tail and text_count.startswith("-"):
            lines = lines[: max(len(lines) - count, 0)]
        else:
            lines = lines[max(len(lines) - count, 0) :] if tail else lines[:count]
        call.write("".join(lines))
    return status


async def wc(call: Call) -> int:
    options = read_options(call, "lwcm")
    status = 0
    for path, text in _texts(call, options.operands):
        if text is None:
            status = call.fail(f"{path}: {NO_SUCH_FILE}")
            continue
        numbers = {"l": text.count("\n"), "w": len(text.split()), "c": len(bytes_from_text(text))}
        chosen = [numbers[name] for name in numbers if options.has(name)] or list(numbers.values())
        name = "" if path == "-" else f" {path}"
        width = 7 if path == "-" and len(chosen) > 1 else len(str(numbers["c"])) if len(chosen) > 1 else 1
        call.write(" ".join(f"{number:{width}}" for number in chosen) + name + "\n")
    return status


async def sort(call: Call) -> int:
    options = read_options(call, "nrut:k:fV")
    lines = [line for _, text in _texts(call, options.operands) for line in (text or "").splitlines()]
    if options.has("u"):
        lines = list(dict.fromkeys(lines))
    lines.sort(key=_leading_number if options.has("n") else str, reverse=options.has("r"))
    call.write("".join(f"{line}\n" for line in lines))
    return 0


def _leading_number(line: str) -> tuple[float, str]:
    match = re.match(r"\s*(-?\d+(?:\.\d+)?)", line)
    return (float(match[1]) if match else 0.0, line)


async def uniq(call: Call) -> int:
    options = read_options(call, "cdu")
    runs: list[tuple[str, int]] = []
    for _, text in _texts(call, options.operands):
        for line in (text or "").splitlines():
            if runs and runs[-1][0] == line:
                runs[-1] = (line, runs[-1][1] + 1)
            else:
                runs.append((line, 1))
    for line, count in runs:
        if (options.has("d") and count == 1) or (options.has("u") and count > 1):
            continue
        call.write(f"{count:7} {line}\n" if options.has("c") else f"{line}\n")
    return 0


async def cut(call: Call) -> int:
    options = read_options(call, "d:f:c:s")
    chosen = _ranges(options.value("f") or options.value("c") or "")
    delimiter = options.value("d") or "\t"
    for _, text in _texts(call, options.operands):
        for line in (text or "").splitlines():
            if options.has("c"):
                call.write("".join(c for n, c in enumerate(line, 1) if _chosen(n, chosen)) + "\n")
            elif delimiter in line:
                fields = enumerate(line.split(delimiter), 1)
                call.write(delimiter.join(field for n, field in fields if _chosen(n, chosen)) + "\n")
            elif not options.has("s"):
                call.write(f"{line}\n")
    return 0


def _ranges(text: str) -> list[tuple[int, float]]:
    if not re.fullmatch(r"(\d+(-\d*)?|-\d+)(,(\d+(-\d*)?|-\d+))*", text):
        raise Failure("you must specify a list of bytes, characters, or fields")
    ranges: list[tuple[int, float]] = []
    for piece in text.split(","):
        first, dash, last = piece.partition("-")
        ranges.append((int(first or 1), float(last or "inf") if dash else int(first)))
    return ranges


def _chosen(number: int, ranges: list[tuple[int, float]]) -> bool:
    return any(first <= number <= last for first, last in ranges)


async def tr(call: Call) -> int:
    """``tr SET1 SET2`` and ``tr -d SET1``, with ranges and escapes."""
    options = read_options(call, "ds")
    if not options.operands or (len(options.operands) < 2 and not options.has("d", "s")):
        raise Failure("missing operand")
    first = _character_set(options.operands[0])
    text = call.stdin.read()
    if options.has("d"):
        call.write(text.translate({ord(char): None for char in first}))
        return 0
    if options.has("s") and len(options.operands) == 1:
        call.write(re.sub(f"([{re.escape(first)}])\\1+", r"\1", text))
        return 0
    second = _character_set(options.operands[1])
    second += second[-1:] * (len(first) - len(second))
    call.write(text.translate({ord(a): b for a, b in zip(first, second, strict=False)}))
    return 0


_CLASSES = {
    "[:lower:]": "abcdefghijklmnopqrstuvwxyz", "[:upper:]": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "[:digit:]": "0123456789", "[:space:]": " \t\n\r\f\v",
}  # fmt: skip


def _character_set(text: str) -> str:
    from netsim.programs.tools.basic import unescaped

    for name, members in _CLASSES.items():
        text = text.replace(name, members)

    def spell_out(match: re.Match[str]) -> str:
        return "".join(map(chr, range(ord(match[1]), ord(match[2]) + 1)))

    return re.sub(r"(.)-(.)", spell_out, unescaped(text), flags=re.DOTALL)

"""Commands on the host's text files: cat, ls, tee, touch, rm, mkdir, chown.

There are no folders but in paths, and no owners or modes.
"""

from __future__ import annotations

from netsim.programs.tools.call import Call, Failure
from netsim.programs.tools.options import read_options

NO_SUCH_FILE = "No such file or directory"


def file_text(call: Call, path: str) -> str | None:
    """A file's text, ``-`` for stdin, /dev/null as it is, None where there is no such file."""
    if path in ("-", "/dev/stdin"):
        return call.stdin.read()
    if path == "/dev/null":
        return ""
    return call.host.files.get(call.path(path))


async def cat(call: Call) -> int:
    options = read_options(call, "nAbeEsTuv")
    status = 0
    for path in options.operands or ["-"]:
        text = file_text(call, path)
        if text is None:
            where = f"can't open '{path}'" if call.context.busybox else path
            status = call.fail(f"{where}: {NO_SUCH_FILE}")
        elif options.has("n"):
            call.write("".join(f"{n:6}\t{line}" for n, line in enumerate(text.splitlines(keepends=True), 1)))
        else:
            call.write(text)
    return status


async def ls(call: Call) -> int:
    options = read_options(call, "1aAlhrtRdF")
    status = 0
    for path in options.operands or ["."]:
        full = call.path(path).rstrip("/")
        folder = f"{full}/"
        names = {p.removeprefix(folder).partition("/")[0] for p in call.host.files if p.startswith(folder)}
        if full in call.host.files:
            call.write(f"{path}\n")
        elif names or not full:
            call.write("".join(f"{name}\n" for name in sorted(names)))
        elif call.context.busybox:
            status = call.fail(f"{path}: {NO_SUCH_FILE}")
        else:
            status = call.fail(f"cannot access '{path}': {NO_SUCH_FILE}", 2)
    return status


async def tee(call: Call) -> int:
    options = read_options(call, "ai")
    text = call.stdin.read()
    for path in map(call.path, options.operands):
        old = call.host.files.get(path, "") if options.has("a") else ""
        call.host.files[path] = old + text
    call.write(text)
    return 0


async def touch(call: Call) -> int:
    for path in read_options(call, "acmd:r:t:").operands:
        call.host.files.setdefault(call.path(path), "")
    return 0


async def rm(call: Call) -> int:
    options = read_options(call, "rRfiv")
    status = 0
    for path in options.operands:
        recursive = options.has("r", "R")
        full = call.path(path)
        inside = [p for p in call.host.files if p == full or (recursive and p.startswith(f"{full}/"))]
        for found in inside:
            del call.host.files[found]
        if not inside and not options.has("f"):
            status = call.fail(f"cannot remove '{path}': {NO_SUCH_FILE}")
    return status


async def mkdir(call: Call) -> int:
    """Folders need no making: a path is enough."""
    return 0


async def chown(call: Call) -> int:
    """chown, chgrp and chmod: files belong to nobody here, and a folder may be one that is mounted."""
    operands = [arg for arg in call.args if not arg.startswith("-")]
    if len(operands) < 2:
        raise Failure("missing operand")
    return 0

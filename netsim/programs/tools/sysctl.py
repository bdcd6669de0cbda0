"""sysctl: kernel settings as text files under /proc/sys. What is written can be read again and does nothing.

Init containers that raise a limit for a database need no more than that.
"""

from __future__ import annotations

from netsim.programs.tools.call import Call
from netsim.programs.tools.options import read_options

PROC_SYS = "/proc/sys/"
UNKNOWN_KEY = 255
"""procps's exit code for a key that is not there; busybox's is 1."""


async def sysctl(call: Call) -> int:
    options = read_options(call, "wneqNaAp", ("write",))
    if options.has("a", "A"):
        found = sorted(path for path in call.host.files if path.startswith(PROC_SYS))
        operands = [path.removeprefix(PROC_SYS).replace("/", ".") for path in found]
    else:
        operands = options.operands
    status = 0
    for operand in operands:
        key, equals, value = operand.partition("=")
        path = PROC_SYS + key.replace(".", "/")
        if equals:
            call.host.files[path] = f"{value}\n"
        text = call.host.files.get(path)
        if text is None:
            status = _unknown(call, key, path, quiet=options.has("e"))
        elif options.has("n"):
            call.write(text)
        elif not (equals and options.has("q")):
            call.write(f"{key.replace('/', '.')} = {text}")
    return status


def _unknown(call: Call, key: str, path: str, *, quiet: bool) -> int:
    if quiet:
        return 0
    if call.context.busybox:
        return call.fail(f"error: '{key}' is an unknown key")
    return call.fail(f"cannot stat {path}: No such file or directory", UNKNOWN_KEY)

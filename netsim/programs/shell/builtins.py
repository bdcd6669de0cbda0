"""The mini-shell's builtins: commands that change the shell itself. ``BUILTINS`` lists them.

What only reads and writes (echo, test, printf …) is a tool, so that it also runs without a shell.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from netsim.programs.shell.control import NOT_FOUND, ExitShell, LeaveLoop, ReturnFrom
from netsim.programs.shell.state import ShellState
from netsim.programs.terminal import Streams
from netsim.programs.tools import find_tool
from netsim.programs.tools.basic import echo, unescaped
from netsim.programs.tools.call import Call

Builtin: TypeAlias = Callable[[ShellState, Call, Streams], Awaitable[int]]


async def _nothing(shell: ShellState, call: Call, streams: Streams) -> int:
    return 0


async def _cd(shell: ShellState, call: Call, streams: Streams) -> int:
    """Any folder exists; where it is decides what relative paths mean."""
    shell.folder = shell.absolute(call.args[0] if call.args else shell.variables.get("HOME") or "/root")
    shell.variables.values["PWD"] = shell.folder
    shell.variables.exported.add("PWD")
    return 0


async def _pwd(shell: ShellState, call: Call, streams: Streams) -> int:
    call.write(f"{shell.folder}\n")
    return 0


async def _exit(shell: ShellState, call: Call, streams: Streams) -> int:
    raise ExitShell(_status(shell, call, streams))


async def _return(shell: ShellState, call: Call, streams: Streams) -> int:
    raise ReturnFrom(_status(shell, call, streams))


def _status(shell: ShellState, call: Call, streams: Streams) -> int:
    """What ``exit`` and ``return`` end with: their argument, or the last command's status."""
    text = call.args[0] if call.args else str(shell.variables.status)
    if not text.isdecimal():
        shell.complain(streams, f"{call.name}: Illegal number: {text}")
        raise ExitShell(2)
    return int(text) & 0xFF


async def _break(shell: ShellState, call: Call, streams: Streams) -> int:
    levels = int(call.args[0]) if call.args and call.args[0].isdecimal() else 1
    raise LeaveLoop(levels, again=call.name == "continue")


async def _export(shell: ShellState, call: Call, streams: Streams) -> int:
    for argument in call.args:
        name, equals, value = argument.partition("=")
        if equals:
            shell.variables.values[name] = value
        shell.variables.exported.add(name)
    if not call.args:
        for name, value in sorted(shell.variables.environment().items()):
            call.write(f"export {name}='{value}'\n")
    return 0


async def _unset(shell: ShellState, call: Call, streams: Streams) -> int:
    for name in call.args:
        shell.variables.values.pop(name, None)
        shell.variables.exported.discard(name)
    return 0


async def _assign(shell: ShellState, call: Call, streams: Streams) -> int:
    """``local`` and ``readonly`` only assign."""
    for argument in call.args:
        name, equals, value = argument.partition("=")
        if equals:
            shell.variables.values[name] = value
    return 0


async def _set(shell: ShellState, call: Call, streams: Streams) -> int:
    """``-e`` and ``+e`` count; of the other options nothing can be seen."""
    for index, argument in enumerate(call.args):
        if argument == "--" or argument[:1] not in "-+":
            shell.variables.positional = call.args[index + (argument == "--") :]
            break
        if "e" in argument and not argument.endswith("o"):
            shell.errexit = argument.startswith("-")
    return 0


async def _shift(shell: ShellState, call: Call, streams: Streams) -> int:
    count = int(call.args[0]) if call.args and call.args[0].isdecimal() else 1
    if count > len(shell.variables.positional):
        shell.complain(streams, "shift: can't shift that many")
        raise ExitShell(2)
    shell.variables.positional = shell.variables.positional[count:]
    return 0


async def _echo(shell: ShellState, call: Call, streams: Streams) -> int:
    """dash's echo always understands escapes and knows only ``-n``; the other shells' is the tool."""
    if shell.bash or shell.context.busybox:
        return await echo(call)
    quiet = call.args[:1] == ("-n",)
    call.write(unescaped(" ".join(call.args[quiet:])) + ("" if quiet else "\n"))
    return 0


async def _read(shell: ShellState, call: Call, streams: Streams) -> int:
    """``read [-r] NAME…``: one line, split on white space; the last name gets the rest."""
    names = [argument for argument in call.args if not argument.startswith("-")] or ["REPLY"]
    line = streams.stdin.read_line()
    words = (line or "").strip().split(None, len(names) - 1)
    for index, name in enumerate(names):
        shell.variables.values[name] = words[index].rstrip() if index < len(words) else ""
    return 0 if line is not None and line.endswith("\n") else 1


async def _eval(shell: ShellState, call: Call, streams: Streams) -> int:
    return await shell.evaluate(" ".join(call.args), streams)


async def _source(shell: ShellState, call: Call, streams: Streams) -> int:
    text = shell.context.host.files.get(shell.absolute(call.args[0])) if call.args else None
    if text is None:
        shell.complain(streams, f"{call.name}: cannot open {' '.join(call.args[:1])}: No such file")
        return 2
    return await shell.evaluate(text, streams)


async def _exec(shell: ShellState, call: Call, streams: Streams) -> int:
    if not call.args:
        return 0
    raise ExitShell(await shell.launch(call.args, streams, call.env, line=1))


async def _wait(shell: ShellState, call: Call, streams: Streams) -> int:
    status = 0
    for task in shell.background:
        status = await task.join()
    shell.background.clear()
    return status if call.args else 0


async def _command(shell: ShellState, call: Call, streams: Streams) -> int:
    """``command -v NAME`` says whether it could be run; ``command NAME …`` runs it."""
    if call.args[:1] not in (("-v",), ("-V",)):
        return await shell.launch(call.args, streams, call.env, line=1) if call.args else 0
    names = call.args[1:]
    for name in names:
        if name in BUILTINS or name in shell.functions:
            call.write(f"{name}\n")
        elif find_tool(name) is not None:
            call.write(f"/usr/bin/{name}\n")
        else:
            return NOT_FOUND
    return 0


async def _type(shell: ShellState, call: Call, streams: Streams) -> int:
    status = 0
    for name in call.args:
        if name in BUILTINS:
            call.write(f"{name} is a shell builtin\n")
        elif find_tool(name) is not None:
            call.write(f"{name} is /usr/bin/{name}\n")
        else:
            call.write(f"{name}: not found\n")
            status = NOT_FOUND
    return status


BUILTINS: Mapping[str, Builtin] = {
    ":": _nothing,
    ".": _source,
    "break": _break,
    "cd": _cd,
    "command": _command,
    "continue": _break,
    "echo": _echo,
    "eval": _eval,
    "exec": _exec,
    "exit": _exit,
    "export": _export,
    "local": _assign,
    "pwd": _pwd,
    "read": _read,
    "readonly": _assign,
    "return": _return,
    "set": _set,
    "shift": _shift,
    "source": _source,
    "trap": _nothing,
    "type": _type,
    "ulimit": _nothing,
    "umask": _nothing,
    "unset": _unset,
    "wait": _wait,
}

"""sh, bash and ash as commands: ``-c TEXT``, a script in a file, or a script on stdin."""

from __future__ import annotations

from netsim.programs.shell.control import NOT_FOUND
from netsim.programs.shell.interpreter import Shell
from netsim.programs.terminal import Streams
from netsim.programs.tools.call import Call


async def sh(call: Call) -> int:
    """``sh [-elx…] [-c TEXT [NAME ARG…] | FILE ARG… ]``; without both, stdin is the script."""
    args = list(call.args)
    flags = ""
    while args and args[0][:1] in "-+" and args[0] not in ("-", "--"):
        flag = args.pop(0)
        if flag in ("-o", "+o"):
            args[:1] = []
        elif not flag.startswith("--"):
            flags += flag[1:]
        if "c" in flags:
            break
    shell = Shell(call.context, call.env, name=call.name)
    shell.errexit = "e" in flags
    streams = Streams(call.stdin, call.write, call.error)
    if "c" in flags:
        if not args:
            return call.fail("-c requires an argument", 2)
        shell.variables.name = args[1] if len(args) > 1 else call.name
        shell.variables.positional = tuple(args[2:])
        return await shell.run_text(args[0], streams)
    if not args or args[0] == "-":
        return await shell.run_text(call.stdin.read(), streams)
    text = call.host.files.get(shell.absolute(args[0]))
    if text is None:
        shell.complain(streams, f"cannot open {args[0]}: No such file")
        return NOT_FOUND
    shell.variables.positional = tuple(args[1:])
    return await shell.run_text(text, streams)


async def busybox(call: Call) -> int:
    """``busybox APPLET …`` runs the applet, with busybox's output."""
    if not call.args:
        call.write("BusyBox: a multi-call binary. Usage: busybox [function [arguments]...]\n")
        return 0
    from netsim.programs.tools import find_tool
    from netsim.programs.tools.call import Flavour

    tool = find_tool(call.args[0])
    if tool is None:
        call.error(f"{call.args[0]}: applet not found\n")
        return NOT_FOUND
    context = call.context._replace(flavour=Flavour.BUSYBOX)
    return await tool(call._replace(context=context, argv=call.args))

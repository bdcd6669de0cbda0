"""What a host says of itself, and commands that run commands: env, hostname, ps, date, sleep, timeout …"""

from __future__ import annotations

import math
import re

from netsim.programs.clock import wall_clock
from netsim.programs.tools.call import Call, Failure
from netsim.programs.tools.options import read_options
from netsim.programs.waiting import within

SUFFIXES = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
KERNEL_RELEASE = "6.12.0"
TIMED_OUT = 124
"""timeout(1)'s exit code."""


async def env(call: Call) -> int:
    """Print the environment, or run a command with ``NAME=value`` added (``-i``: and nothing else)."""
    args = list(call.args)
    environment = dict(call.env)
    while args and (args[0] in ("-i", "-", "--") or re.match(r"[A-Za-z_]\w*=", args[0])):
        first = args.pop(0)
        if first in ("-i", "-"):
            environment.clear()
        elif first != "--":
            name, _, value = first.partition("=")
            environment[name] = value
    if args:
        return await call.run(args, environment)
    call.write("".join(f"{name}={value}\n" for name, value in environment.items()))
    return 0


async def printenv(call: Call) -> int:
    if not call.args:
        return await env(call)
    missing = [name for name in call.args if name not in call.env]
    call.write("".join(f"{call.env[name]}\n" for name in call.args if name in call.env))
    return 1 if missing else 0


async def hostname(call: Call) -> int:
    """``-f`` and ``-i`` read /etc/hosts, as the resolver would first; ``-I`` the interfaces."""
    long = ("fqdn", "long", "ip-address", "short", "domain", "all-ip-addresses")
    options = read_options(call, "fidsIA", long)
    name = call.host.name
    address, canonical = _own_entry(call, name)
    if options.has("f", "fqdn", "long"):
        call.write(f"{canonical}\n")
    elif options.has("i", "ip-address"):
        if not address:
            raise Failure("Name or service not known")
        call.write(f"{address}\n")
    elif options.has("I", "all-ip-addresses"):
        cidrs = (cidr for view in call.host.interfaces() if view.name != "lo" for cidr in view.addresses)
        call.write("".join(f"{cidr.partition('/')[0]} " for cidr in cidrs) + "\n")
    elif options.has("d", "domain"):
        call.write(f"{canonical.partition('.')[2]}\n")
    elif options.has("s", "short"):
        call.write(f"{name.partition('.')[0]}\n")
    else:
        call.write(f"{name}\n")
    return 0


def _own_entry(call: Call, name: str) -> tuple[str, str]:
    """The address and first name of the line of /etc/hosts that names this host."""
    for line in call.host.files.get("/etc/hosts", "").splitlines():
        words = line.partition("#")[0].split()
        if name in words[1:]:
            return words[0], words[1]
    return "", name


async def ps(call: Call) -> int:
    processes = [*call.host.processes()]
    if call.context.busybox:
        call.write("PID   USER     TIME  COMMAND\n")
        call.write("".join(f"{pid:5} root      0:00 {command}\n" for pid, command in processes))
    elif any("e" in arg and "f" in arg for arg in call.args):
        call.write("UID          PID    PPID  C STIME TTY          TIME CMD\n")
        row = "root     {:7} {:7}  0 00:00 ?        00:00:00 {}\n"
        call.write("".join(row.format(pid, int(pid != 1), command) for pid, command in processes))
    elif any("u" in arg for arg in call.args):
        call.write("USER         PID %CPU %MEM    VSZ   RSS TTY      STAT START   TIME COMMAND\n")
        row = "root     {:7}  0.0  0.0   4096  1024 ?        Ss   00:00   0:00 {}\n"
        call.write("".join(row.format(pid, command) for pid, command in processes))
    else:
        call.write("    PID TTY          TIME CMD\n")
        row = "{:7} ?        00:00:00 {}\n"
        call.write("".join(row.format(pid, command.partition(" ")[0]) for pid, command in processes))
    return 0


async def date(call: Call) -> int:
    """The virtual wall clock, in UTC; ``+FORMAT`` as strftime has it."""
    now = wall_clock(call.host)
    template = next((arg[1:] for arg in call.args if arg.startswith("+")), "%a %b %e %H:%M:%S UTC %Y")
    nanoseconds = f"{now.microsecond * 1000:09}"
    template = template.replace("%N", nanoseconds).replace("%s", str(int(now.timestamp())))
    call.write(now.strftime(template) + "\n")
    return 0


async def uname(call: Call) -> int:
    fields = {
        "s": "Linux", "n": call.host.name, "r": KERNEL_RELEASE, "v": "#1 SMP PREEMPT_DYNAMIC", "m": "x86_64",
        "o": "GNU/Linux" if not call.context.busybox else "Linux",
    }  # fmt: skip
    options = read_options(call, "asnrvmpio")
    chosen = [text for letter, text in fields.items() if options.has(letter, "a")] or ["Linux"]
    call.write(" ".join(chosen) + "\n")
    return 0


async def whoami(call: Call) -> int:
    call.write("root\n")
    return 0


async def id_(call: Call) -> int:
    if call.args[:1] in (("-u",), ("-g",)):
        call.write("0\n")
    else:
        call.write("uid=0(root) gid=0(root)" + ("" if call.context.busybox else " groups=0(root)") + "\n")
    return 0


async def which(call: Call) -> int:
    from netsim.programs.tools import find_tool

    status = 0
    for name in call.args:
        if find_tool(name) is None:
            status = 1
        else:
            call.write(f"/usr/bin/{name}\n")
    return status


async def sleep(call: Call) -> int:
    if not call.args:
        raise Failure("missing operand\nTry 'sleep --help' for more information.")
    await call.host.sleep(sum(duration(text) for text in call.args))
    return 0


def duration(text: str) -> float:
    """Seconds of ``5``, ``0.5``, ``2m``, ``infinity``, as coreutils reads them."""
    match = re.fullmatch(r"(\d+\.?\d*|\.\d+|inf|infinity)([smhd]?)", text)
    if match is None:
        raise Failure(f"invalid time interval ‘{text}’\nTry 'sleep --help' for more information.")
    return (math.inf if match[1].startswith("inf") else float(match[1])) * SUFFIXES[match[2]]


async def timeout(call: Call) -> int:
    """``timeout [-s SIG] [-k D] SECONDS COMMAND …``: exit 124 when the command was still running."""
    args = list(call.args)
    while args and args[0].startswith("-"):
        option = args.pop(0)
        if option in ("-s", "-k", "-t") and args:
            if option == "-t":  # busybox before 1.30
                break
            args.pop(0)
    if len(args) < 2:
        raise Failure("missing operand\nTry 'timeout --help' for more information.", 125)
    seconds = duration(args[0])
    try:
        return await within(call.host, None if seconds == 0 else seconds, call.run(args[1:], call.env))
    except TimeoutError:
        return 143 if call.context.busybox else TIMED_OUT


async def time(call: Call) -> int:
    """How long a command took, in virtual time."""
    began = call.host.now()
    status = await call.run(call.args, call.env) if call.args else 0
    minutes, seconds = divmod(call.host.now() - began, 60)
    if call.context.busybox:
        call.error(f"real\t{int(minutes)}m {seconds:.2f}s\nuser\t0m 0.00s\nsys\t0m 0.00s\n")
    else:
        call.error(f"\nreal\t{int(minutes)}m{seconds:.3f}s\nuser\t0m0.000s\nsys\t0m0.000s\n")
    return status


async def nohup(call: Call) -> int:
    return await call.run(call.args, call.env) if call.args else call.fail("missing operand", 125)

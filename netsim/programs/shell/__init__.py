"""The mini-shell: runs commands of users and containers on a Host. Never a host shell.

``run_command`` is the way in for ``exec``, checks and tests; ``images`` starts containers' commands with
``run_in``. The grammar is in ``tree``, the tools in ``programs.tools``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from netsim.base.errors import UsageError
from netsim.programs.host import Host, Identity
from netsim.programs.shell.interpreter import Shell
from netsim.programs.terminal import Input, Outcome, Recorder, Streams, Terminal
from netsim.programs.tools.call import Context, Flavour

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


async def run_command(
    host: Host,
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    identity: Identity | None = None,
    flavour: Flavour = Flavour.GNU,
    terminal: Terminal | None = None,
) -> Outcome:
    """Run one command line (no shell, unless ``argv`` names one) and give what it wrote and its exit code.

    ``terminal`` sees the output while it is written. ``images.flavour_of`` says whose tools an image has.
    """
    recorder = Recorder(terminal)
    context = Context(host, identity or Identity(), flavour)
    return recorder.outcome(await run_in(context, argv, env=env or {}, stdin=stdin, terminal=recorder))


async def run_in(
    context: Context, argv: Sequence[str], *, env: Mapping[str, str], stdin: str, terminal: Terminal
) -> int:
    """Run one command line in given surroundings, keeping nothing of its output; its exit code."""
    if not argv:
        raise UsageError("no command to run", hint="give one, for example: -- nslookup kubernetes.default")
    environment = {"PATH": PATH, "HOSTNAME": context.host.name, **env}
    environment.setdefault("HOME", "/root")
    streams = Streams(Input(stdin), terminal.stdout, terminal.stderr)
    return await Shell(context, environment).launch(argv, streams, environment)

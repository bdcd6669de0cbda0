"""What a running shell has: its variables, options, functions and jobs, with what it can do for a builtin.

POSIX calls it the shell execution environment (XCU 2.12). The builtins see a shell as this; the interpreter
is the subclass that runs commands on it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from posixpath import join, normpath

from netsim.programs.host import Task
from netsim.programs.shell.expand import Variables
from netsim.programs.shell.tree import Command
from netsim.programs.terminal import Streams
from netsim.programs.tools.call import Context


class ShellState(ABC):
    """Everything of a shell that its builtins read and change."""

    def __init__(self, context: Context, env: Mapping[str, str], *, name: str) -> None:
        self.context = context._replace(depth=context.depth + 1)
        self.variables = Variables(env, name=name)
        self.errexit = False
        self.folder = env.get("PWD", "/")
        self.background: list[Task[int]] = []
        self.functions: dict[str, Command] = {}

    @property
    def bash(self) -> bool:
        return self.variables.name.rpartition("/")[2] == "bash"

    def complain(self, streams: Streams, message: str, line: int = 1) -> None:
        """An error as the shell in question words it: dash, bash or busybox ash."""
        name = self.variables.name.rpartition("/")[2]
        if self.bash:
            name = f"{name}: line {line}"
        elif not self.context.busybox:
            name = f"{name}: {line}"
        streams.error(f"{name}: {message}\n")

    def absolute(self, path: str) -> str:
        """A path as ``host.files`` has it, relative ones from the current folder."""
        return normpath(join(self.folder, path))

    @abstractmethod
    async def evaluate(self, text: str, streams: Streams) -> int:
        """Run a script in this shell: ``exit`` and errors of expansion leave it as exceptions."""

    @abstractmethod
    async def launch(
        self, argv: Sequence[str], streams: Streams, env: Mapping[str, str], *, line: int | None = None
    ) -> int:
        """Run one command; ``line`` is where it stands in a script, None without a shell around it."""

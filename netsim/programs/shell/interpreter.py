"""The mini-shell: runs a tree of commands on a Host, with the tools of ``programs.tools``. No host shell.

Differences to a real one that can be seen: a pipe's commands run one after the other, each with all of the
last one's output; a loop that waits for nothing takes ``LOOP_TIME`` a turn, so that virtual time goes on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from collections.abc import Sequence as Items
from fnmatch import fnmatchcase
from functools import partial
from typing import assert_never

from netsim.programs.shell.builtins import BUILTINS
from netsim.programs.shell.control import NOT_FOUND, SYNTAX_ERROR, ExitShell, LeaveLoop, ReturnFrom
from netsim.programs.shell.expand import Expander, ExpansionError
from netsim.programs.shell.parser import parse
from netsim.programs.shell.redirect import CannotOpen, Redirections
from netsim.programs.shell.state import ShellState
from netsim.programs.shell.tree import (
    Case,
    Chain,
    Command,
    Conditional,
    For,
    Function,
    Group,
    If,
    Pipeline,
    Sequence,
    ShellSyntaxError,
    Simple,
    While,
)
from netsim.programs.terminal import Input, Streams
from netsim.programs.tools import find_tool
from netsim.programs.tools.call import Call, Context, Failure

LOOP_TIME = 0.001
"""Virtual seconds of a loop's turn in which nothing waited: about what forking one process takes."""
DEEPEST = 25
"""Shells within shells that may run: a script that calls itself must not take the simulation with it."""
PROGRAM_FOLDERS = frozenset({"/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"})


class Shell(ShellState):
    """One running shell. A subshell is a copy."""

    def __init__(self, context: Context, env: Mapping[str, str], *, name: str = "sh") -> None:
        super().__init__(context, env, name=name)
        self._calls = 0
        self._tested = 0

    def subshell(self) -> Shell:
        shell = Shell(self.context, {})
        shell.context = self.context
        shell.variables = self.variables.copy()
        shell.errexit, shell.folder = self.errexit, self.folder
        shell.functions, shell._calls = dict(self.functions), self._calls
        return shell

    # --- running -------------------------------------------------------------------------------------

    async def run_text(self, text: str, streams: Streams) -> int:
        """Run a script to its end, or to its ``exit``; the status it ends with."""
        if self.context.depth > DEEPEST:
            self.complain(streams, "too many shells within shells")
            return SYNTAX_ERROR
        try:
            return await self.evaluate(text, streams)
        except (ExitShell, ReturnFrom) as end:
            return end.status
        except LeaveLoop:
            return 0
        except ExpansionError as error:
            self.complain(streams, str(error))
            return 1 if self.bash else SYNTAX_ERROR

    async def evaluate(self, text: str, streams: Streams) -> int:
        """Run a script in this shell: ``exit`` and errors of expansion leave it as exceptions."""
        try:
            tree = parse(text)
        except ShellSyntaxError as error:
            word = "syntax error" if self.bash or self.context.busybox else "Syntax error"
            self.complain(streams, f"{word}: {error.message}", error.line)
            raise ExitShell(SYNTAX_ERROR) from None
        return await self._sequence(tree, streams)

    async def _sequence(self, sequence: Sequence, streams: Streams) -> int:
        status = 0
        for chain in sequence.chains:
            if chain.background:
                self._start(chain, streams)
                status = 0
            else:
                status = await self._chain(chain, streams)
            self.variables.status = status
        return status

    def _start(self, chain: Chain, streams: Streams) -> None:
        job = self.subshell()._contained(chain._replace(background=False), streams)
        task = self.context.host.spawn(job, "background job")
        self.background.append(task)
        self.variables.last_background = str(1 + len(self.background))

    async def _contained(self, chain: Chain, streams: Streams) -> int:
        """A chain that runs by itself: nothing that it raises leaves it."""
        try:
            return await self._chain(chain, streams)
        except (ExitShell, ReturnFrom) as end:
            return end.status
        except LeaveLoop:
            return 0
        except ExpansionError as error:
            self.complain(streams, str(error))
            return SYNTAX_ERROR

    async def _chain(self, chain: Chain, streams: Streams) -> int:
        last = len(chain.pipelines) - 1
        status = 0
        for index, pipeline in enumerate(chain.pipelines):
            if index and (chain.operators[index - 1] == "&&") != (status == 0):
                continue
            tested = index < last or pipeline.negated
            self._tested += tested
            try:
                status = await self._pipeline(pipeline, streams)
            finally:
                self._tested -= tested
            self.variables.status = status
            if status and self.errexit and not self._tested and not tested:
                raise ExitShell(status)
        return status

    async def _pipeline(self, pipeline: Pipeline, streams: Streams) -> int:
        if len(pipeline.commands) == 1:
            status = await self._command(pipeline.commands[0], streams)
        else:
            stdin = streams.stdin
            for command in pipeline.commands[:-1]:
                output: list[str] = []
                await self._in_subshell(command, Streams(stdin, output.append, streams.error))
                stdin = Input("".join(output))
            status = await self._in_subshell(pipeline.commands[-1], streams._replace(stdin=stdin))
        return int(status == 0) if pipeline.negated else status

    async def _in_subshell(self, command: Command, streams: Streams) -> int:
        chain = Chain((Pipeline((command,), False),), (), False)
        return await self.subshell()._contained(chain, streams)

    async def _command(self, command: Command, streams: Streams) -> int:
        expander = self._expander(streams)
        redirections = Redirections(self.context.host, self.folder, bash=self.bash)
        reads = isinstance(command.what, Simple) and not command.what.words
        try:
            opened = await redirections.open(command.redirects, expander, streams, connect_only=reads)
        except CannotOpen as error:
            if error.prelude:
                streams.error(f"{self.variables.name}: {error.prelude}\n")
            self.complain(streams, error.wording(bash=self.bash, busybox=self.context.busybox))
            return 1 if self.bash or self.context.busybox else SYNTAX_ERROR
        try:
            return await self._run(command, opened, expander)
        finally:
            await redirections.close()

    async def _run(self, command: Command, streams: Streams, expander: Expander) -> int:
        what = command.what
        match what:
            case Simple():
                return await self._simple(what, streams, expander)
            case Group():
                if what.subshell:
                    return await self.subshell().run_tree(what.body, streams)
                return await self._sequence(what.body, streams)
            case If():
                return await self._if(what, streams)
            case While():
                return await self._while(what, streams)
            case For():
                return await self._for(what, streams, expander)
            case Case():
                return await self._case(what, streams, expander)
            case Conditional():
                return await self._conditional(what, streams, expander)
            case Function():
                self.functions[what.name] = what.body
                return 0
        assert_never(what)

    async def run_tree(self, tree: Sequence, streams: Streams) -> int:
        """Run a tree in this shell to its end or its ``exit``."""
        try:
            return await self._sequence(tree, streams)
        except (ExitShell, ReturnFrom) as end:
            return end.status

    # --- compound commands ---------------------------------------------------------------------------

    async def _condition(self, condition: Sequence, streams: Streams) -> bool:
        self._tested += 1
        try:
            return await self._sequence(condition, streams) == 0
        finally:
            self._tested -= 1

    async def _if(self, what: If, streams: Streams) -> int:
        for condition, body in what.branches:
            if await self._condition(condition, streams):
                return await self._sequence(body, streams)
        return await self._sequence(what.otherwise, streams) if what.otherwise is not None else 0

    async def _case(self, what: Case, streams: Streams, expander: Expander) -> int:
        value = await expander.text(what.word)
        for patterns, body in what.branches:
            for pattern in patterns:
                if fnmatchcase(value, await expander.text(pattern)):
                    return await self._sequence(body, streams)
        return 0

    async def _conditional(self, what: Conditional, streams: Streams, expander: Expander) -> int:
        from netsim.programs.shell.conditional import holds

        if not self.bash and not self.context.busybox:
            return self._not_found("[[", streams, what.line)

        async def test(arguments: tuple[str, ...]) -> bool:
            argv = ("test", *arguments)
            return await self.launch(argv, streams, self.variables.environment(), line=what.line) == 0

        return 0 if await holds(what, expander, self.variables.values, test) else 1

    async def _call_function(self, body: Command, argv: Items[str], streams: Streams) -> int:
        if self._calls >= DEEPEST:
            self.complain(streams, f"{argv[0]}: too many calls within calls")
            raise ExitShell(SYNTAX_ERROR)
        outer, self.variables.positional = self.variables.positional, tuple(argv[1:])
        self._calls += 1
        try:
            return await self._command(body, streams)
        except ReturnFrom as end:
            return end.status
        finally:
            self._calls -= 1
            self.variables.positional = outer

    async def _while(self, what: While, streams: Streams) -> int:
        status = 0
        host = self.context.host
        while True:
            began = host.now()
            if await self._condition(what.condition, streams) == what.until:
                return status
            outcome = await self._turn(what.body, streams)
            if outcome is None:
                return 0
            status = outcome
            if host.now() == began:
                await host.sleep(LOOP_TIME)

    async def _for(self, what: For, streams: Streams, expander: Expander) -> int:
        if what.words is None:
            values = list(self.variables.positional)
        else:
            values = [field for word in what.words for field in await expander.fields(word)]
        status = 0
        for value in values:
            self.variables.values[what.name] = value
            outcome = await self._turn(what.body, streams)
            if outcome is None:
                return 0
            status = outcome
        return status

    async def _turn(self, body: Sequence, streams: Streams) -> int | None:
        """One turn of a loop; None when it was left with ``break``."""
        try:
            return await self._sequence(body, streams)
        except LeaveLoop as leave:
            if leave.levels > 1:
                raise LeaveLoop(leave.levels - 1, again=leave.again) from None
            return 0 if leave.again else None

    # --- simple commands -----------------------------------------------------------------------------

    def _expander(self, streams: Streams) -> Expander:
        async def substitute(source: str) -> str:
            output: list[str] = []
            shell = self.subshell()
            inner = Streams(streams.stdin, output.append, streams.error)
            self.variables.status = await shell.run_text(source, inner)
            return "".join(output)

        return Expander(self.variables, substitute)

    async def _simple(self, what: Simple, streams: Streams, expander: Expander) -> int:
        argv = [field for word in what.words for field in await expander.fields(word)]
        self.variables.status = 0 if not argv else self.variables.status
        assigned = {name: await expander.text(word) for name, word in what.assignments}
        if not argv:
            self.variables.values.update(assigned)
            return self.variables.status
        function = self.functions.get(argv[0])
        if function is not None:
            self.variables.values.update(assigned)
            return await self._call_function(function, argv, streams)
        return await self.launch(argv, streams, {**self.variables.environment(), **assigned}, line=what.line)

    async def launch(
        self, argv: Items[str], streams: Streams, env: Mapping[str, str], *, line: int | None = None
    ) -> int:
        """Run one command: a builtin, a tool, a script in a file, or the image's own program."""
        builtin = BUILTINS.get(argv[0])
        call = self._call(argv, streams, env)
        run: Callable[[], Awaitable[int]] | None = None
        if line is not None and builtin is not None:
            run = partial(builtin, self, call, streams)
        elif (tool := find_tool(_program_name(argv[0]))) is not None:
            run = partial(tool, call)
        elif (script := self.context.host.files.get(self.absolute(argv[0]))) is not None and "/" in argv[0]:
            run = partial(self._script, script, argv, streams, env)
        elif self.context.own is not None:
            run = partial(self.context.own, call)
        if run is None:
            return self._not_found(argv[0], streams, line)
        try:
            return await run()
        except Failure as failure:
            if not failure.bare:
                return call.fail(failure.message, failure.code)
            call.error(f"{failure.message}\n")
            return failure.code
        except OSError as error:
            return call.fail(error.strerror or str(error))

    def _call(self, argv: Items[str], streams: Streams, env: Mapping[str, str]) -> Call:
        async def run(other: Items[str], other_env: Mapping[str, str]) -> int:
            return await self.launch(other, streams, other_env)

        return Call(self.context, tuple(argv), env, streams.stdin, streams.write, streams.error, run)

    async def _script(self, text: str, argv: Items[str], streams: Streams, env: Mapping[str, str]) -> int:
        shell = Shell(self.context, env, name=argv[0])
        shell.variables.positional = tuple(argv[1:])
        return await shell.run_text(text, streams)

    def _not_found(self, name: str, streams: Streams, line: int | None) -> int:
        if line is None:
            streams.error(
                "OCI runtime exec failed: exec failed: unable to start container process: "
                f'exec: "{name}": executable file not found in $PATH: unknown\n'
            )
        else:
            self.complain(streams, f"{name}: {'command not found' if self.bash else 'not found'}", line)
        return NOT_FOUND


def _program_name(name: str) -> str:
    folder, _, base = name.rpartition("/")
    return base if folder in PROGRAM_FOLDERS else name

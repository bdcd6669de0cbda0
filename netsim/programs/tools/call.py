"""How a tool is called: its arguments, environment, streams and surroundings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from enum import Enum
from posixpath import join, normpath
from typing import Any, NamedTuple, TypeAlias

from netsim.base.cause import Cause, Stage
from netsim.programs.host import Host, Identity
from netsim.programs.terminal import Input, Writer


class Flavour(Enum):
    """Whose tools an image has: what they print differs."""

    GNU = "gnu"  # Debian's: coreutils, bind9-dnsutils, iputils, GNU wget, netcat-openbsd
    BUSYBOX = "busybox"


class Context(NamedTuple):
    """What is the same for every command of one container.

    ``own`` stands for the program of the container's image: at a container's start it is run for a command
    that nobody knows, which must be the image's own binary. None: such a command is not found. ``depth`` is
    how many shells are around this one.
    """

    host: Host
    identity: Identity = Identity()
    flavour: Flavour = Flavour.GNU
    own: Tool | None = None
    depth: int = 0

    @property
    def busybox(self) -> bool:
        return self.flavour is Flavour.BUSYBOX


class Call(NamedTuple):
    """One command as a tool sees it; ``run`` runs another command with this one's streams."""

    context: Context
    argv: tuple[str, ...]
    env: Mapping[str, str]
    stdin: Input
    write: Writer
    error: Writer
    run: Callable[[Sequence[str], Mapping[str, str]], Coroutine[Any, Any, int]]

    @property
    def host(self) -> Host:
        return self.context.host

    @property
    def name(self) -> str:
        """The command's name without its folder, as it stands before its error messages."""
        return self.argv[0].rpartition("/")[2]

    @property
    def args(self) -> tuple[str, ...]:
        return self.argv[1:]

    @property
    def cause(self) -> Cause:
        """Why this command's packets are sent, for captures."""
        return Cause(Stage.PROGRAM, " ".join((self.name, *self.args)))

    def path(self, text: str) -> str:
        """A path as ``host.files`` has it: a relative one starts in the shell's folder."""
        return normpath(join(self.env.get("PWD", "/"), text))

    def fail(self, message: str, code: int = 1) -> int:
        """Complain on stderr with the command's name in front, and give the exit code."""
        self.error(f"{self.name}: {message}\n")
        return code


class Failure(Exception):
    """A tool gives up: the message goes to stderr behind the tool's name, ``code`` is its exit code.

    ``bare``: the message stands without the name, as some tools have it.
    """

    def __init__(self, message: str, code: int = 1, *, bare: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.bare = bare


Tool: TypeAlias = Callable[[Call], Awaitable[int]]

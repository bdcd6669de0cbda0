"""Where a command reads and writes: text in, text out, piece by piece while it runs.

The mini-shell and its tools use this; who runs a command interactively gives a ``Terminal``. Text is what
a user sees: bytes from the network are decoded as UTF-8, and what is not UTF-8 survives a round trip.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeAlias

Writer: TypeAlias = Callable[[str], None]


class Terminal(Protocol):
    """Sees a command's output when it is written, in virtual time."""

    def stdout(self, text: str) -> None: ...

    def stderr(self, text: str) -> None: ...


class Outcome(NamedTuple):
    """How a command ended: its exit code and all it wrote."""

    exit: int
    stdout: str
    stderr: str


class Input:
    """Standard input: a text that the commands of one shell read on from where the last one stopped."""

    __slots__ = ("_position", "_text")

    def __init__(self, text: str = "") -> None:
        self._text = text
        self._position = 0

    def read(self) -> str:
        """All that is left."""
        rest = self._text[self._position :]
        self._position = len(self._text)
        return rest

    def read_line(self) -> str | None:
        """The next line with its newline, or None at the end."""
        if self._position >= len(self._text):
            return None
        end = self._text.find("\n", self._position) + 1 or len(self._text)
        line = self._text[self._position : end]
        self._position = end
        return line


class Streams(NamedTuple):
    """What a command's descriptors 0, 1 and 2 are."""

    stdin: Input
    write: Writer
    error: Writer


class Recorder:
    """Keeps what is written, and shows it to a terminal, if there is one, at once."""

    __slots__ = ("_err", "_out", "_terminal")

    def __init__(self, terminal: Terminal | None = None) -> None:
        self._out: list[str] = []
        self._err: list[str] = []
        self._terminal = terminal

    def stdout(self, text: str) -> None:
        self._out.append(text)
        if self._terminal is not None:
            self._terminal.stdout(text)

    def stderr(self, text: str) -> None:
        self._err.append(text)
        if self._terminal is not None:
            self._terminal.stderr(text)

    def outcome(self, code: int) -> Outcome:
        return Outcome(code, "".join(self._out), "".join(self._err))


class Discard:
    """The terminal of a container that nobody is attached to."""

    def stdout(self, text: str) -> None:
        """Forget it."""

    def stderr(self, text: str) -> None:
        """Forget it."""


def text_from_bytes(data: bytes) -> str:
    """Bytes off the network as text; ``bytes_from_text`` gives the same bytes back."""
    return data.decode("utf-8", "surrogateescape")


def bytes_from_text(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")

"""The mini-shell's redirections: to and from ``host.files``, descriptors, and bash's ``/dev/tcp``."""

from __future__ import annotations

from collections.abc import Sequence
from posixpath import join, normpath

from netsim.base.cause import Cause, Stage
from netsim.programs.host import Endpoint, Host, Stream
from netsim.programs.shell.expand import Expander
from netsim.programs.shell.tree import Redirect
from netsim.programs.terminal import Input, Streams, Writer, bytes_from_text, text_from_bytes

NULL = "/dev/null"
STREAM_FILES = {"/dev/stdout": 1, "/dev/stderr": 2, "/proc/1/fd/1": 1, "/proc/1/fd/2": 2}
TCP_FOLDER = "/dev/tcp/"


class CannotOpen(Exception):
    """A redirection's file or connection cannot be opened; ``reason`` is strerror's text.

    ``prelude`` is what bash says before, of a connection.
    """

    def __init__(self, path: str, reason: str, *, prelude: str = "") -> None:
        super().__init__(path)
        self.path = path
        self.reason = reason
        self.prelude = prelude

    def wording(self, *, bash: bool, busybox: bool) -> str:
        """As bash, busybox ash or dash words it."""
        if bash:
            return f"{self.path}: {self.reason}"
        short = "no such file" if busybox else "No such file"
        reason = short if self.reason == "No such file or directory" else self.reason
        return f"can't open {self.path}: {reason}" if busybox else f"cannot open {self.path}: {reason}"


class Redirections:
    """The open redirections of one command."""

    def __init__(self, host: Host, folder: str, *, bash: bool) -> None:
        self._host = host
        self._folder = folder
        self._bash = bash
        self._connections: list[tuple[Stream, list[str]]] = []

    async def open(
        self, redirects: Sequence[Redirect], expander: Expander, streams: Streams, *, connect_only: bool
    ) -> Streams:
        """The streams behind the redirections; raises CannotOpen. ``connect_only``: nobody will read."""
        stdin = streams.stdin
        writers = {1: streams.write, 2: streams.error}
        for redirect in redirects:
            target = await expander.text(redirect.target)
            match redirect.operator:
                case "<<":
                    stdin = Input(target)
                case "<<<":
                    stdin = Input(f"{target}\n")
                case "<":
                    stdin = await self._reader(target, connect_only=connect_only)
                case ">&" | "<&":
                    writers[redirect.fd] = writers.get(int(target) if target.isdecimal() else 0, _nowhere)
                case "&>" | "&>>":
                    both = redirect.operator == "&>>"
                    writers[1] = writers[2] = await self._writer(target, writers, append=both)
                case _:
                    append = redirect.operator == ">>"
                    writers[redirect.fd] = await self._writer(target, writers, append=append)
        return Streams(stdin, writers[1], writers[2])

    async def _reader(self, path: str, *, connect_only: bool) -> Input:
        if path == NULL:
            return Input()
        if self._bash and path.startswith(TCP_FOLDER):
            stream = await self._connect(path)
            return Input() if connect_only else Input(text_from_bytes(await _read_all(stream)))
        text = self._host.files.get(normpath(join(self._folder, path)))
        if text is None:
            raise CannotOpen(path, "No such file or directory")
        return Input(text)

    async def _writer(self, path: str, writers: dict[int, Writer], *, append: bool) -> Writer:
        if path == NULL:
            return _nowhere
        if path in STREAM_FILES:
            return writers[STREAM_FILES[path]]
        if self._bash and path.startswith(TCP_FOLDER):
            sent: list[str] = []
            await self._connect(path, sent)
            return sent.append
        files = self._host.files
        full = normpath(join(self._folder, path))
        files[full] = files.get(full, "") if append else ""

        def write(text: str) -> None:
            files[full] += text

        return write

    async def _connect(self, path: str, sent: list[str] | None = None) -> Stream:
        from netsim.programs.http import LookupFailed, resolve_name

        name, _, port = path.removeprefix(TCP_FOLDER).partition("/")
        try:
            remote = Endpoint((await resolve_name(self._host, name))[0], int(port))
            cause = Cause(Stage.PROGRAM, f"bash opens {path}")
            stream = await self._host.connect(remote, cause=cause)
        except LookupFailed:
            unknown = f"{name}: Name or service not known"
            raise CannotOpen(path, "Invalid argument", prelude=unknown) from None
        except ValueError:
            unknown = f"{port}: Servname not supported for ai_socktype"
            raise CannotOpen(path, "Invalid argument", prelude=unknown) from None
        except OSError as error:
            reason = error.strerror or "Connection timed out"
            raise CannotOpen(path, reason, prelude=f"connect: {reason}") from None
        self._connections.append((stream, sent if sent is not None else []))
        return stream

    async def close(self) -> None:
        """Send what was written to connections, and close them."""
        for stream, sent in self._connections:
            try:
                if sent:
                    cause = Cause(Stage.PROGRAM, "bash writes to /dev/tcp")
                    await stream.write(bytes_from_text("".join(sent)), cause=cause)
            except ConnectionError:
                continue  # the peer has gone; a real bash does not hear of it either
            finally:
                stream.close()


async def _read_all(stream: Stream) -> bytes:
    data = b""
    while piece := await stream.read():
        data += piece
    return data


def _nowhere(text: str) -> None:
    """/dev/null."""

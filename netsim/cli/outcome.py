"""Exit codes, and every error as the line that a user sees.

========  ======================================================================
exit      meaning
========  ======================================================================
0         done; for ``run``: all checks passed; for ``diff``: nothing differs
1         a check failed, ``trace`` found no connection, clusters differ, or with ``run --strict`` something
          looks broken (``exec`` and ``capture`` pass the command's own exit code through)
2         the input is wrong: a file, an option, a name
70        a bug in netsim (EX_SOFTWARE in sysexits.h)
124       ``exec`` and ``capture``: the command would never end, as timeout(1) says it
130       interrupted with Ctrl-C (128 + SIGINT)
141       the reader of our output went away (128 + SIGPIPE)
========  ======================================================================
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import click

from netsim.base.errors import ManifestError, NetsimError, Problem

PASSED = 0
CHECK_FAILED = 1
WRONG_INPUT = 2
INTERNAL_ERROR = 70
GAVE_UP = 124
INTERRUPTED = 130
READER_GONE = 141
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # what a write to stdout can end with


class StreamLost(Exception):
    """Our own stdout or stderr takes no more, as ``error`` says.

    Not an OSError: a program in a Pod whose output we write must not take it for an error of its network.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def reported() -> Iterator[None]:
    """Run a command's body: what it raises becomes a message on stderr and an exit code."""
    try:
        yield
        sys.stdout.flush()
    except NetsimError as error:
        explain(error)
        sys.exit(WRONG_INPUT)
    except (click.ClickException, click.exceptions.Exit):
        raise  # click explains wrong options itself, with exit 2
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except StreamLost as lost:
        _explain_system(lost.error)
    except OSError as error:
        _explain_system(error)
    except Exception:
        _own_up()


def _explain_system(error: OSError) -> NoReturn:
    if isinstance(error, BrokenPipeError):
        _forget_stdout()
        sys.exit(READER_GONE)
    if error.filename is not None:
        complain(f"{error.filename}: {error.strerror}")
    elif error.errno in UNWRITABLE:
        complain(f"cannot write the output: {error.strerror}")
        _forget_stdout()
    else:
        _own_up()
    sys.exit(WRONG_INPUT)


def _forget_stdout() -> None:
    """The interpreter flushes stdout once more at exit; there must be something to flush it into."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def complain(message: str) -> None:
    """One error on stderr."""
    print(f"{mark('error:', 'red')} {message}", file=sys.stderr)


def warn(problem: Problem) -> None:
    """One warning on stderr."""
    print(f"{problem.source}: {mark('warning:', 'yellow')} {problem.message}", file=sys.stderr)
    if problem.hint:
        print(f"  hint: {problem.hint}", file=sys.stderr)


def print_json(document: object) -> None:
    """A JSON document on stdout, the same for the same values."""
    import json

    print(json.dumps(document, indent=2, ensure_ascii=False))


def explain(error: NetsimError) -> None:
    """What is wrong with the input, on stderr."""
    if not isinstance(error, ManifestError):
        complain(str(error))
        return
    for problem in error.problems:
        print(problem, file=sys.stderr)
    mistakes = "1 mistake" if len(error.problems) == 1 else f"{len(error.problems)} mistakes"
    complain(f"{mistakes} in the input; nothing was run")


def _own_up() -> None:
    import traceback

    import netsim

    traceback.print_exc()
    python = ".".join(str(part) for part in sys.version_info[:3])
    complain(
        f"this is a bug in netsim {netsim.__version__} (Python {python}), not in your files.\n"
        "  Please report it to the project, with the lines above and the files that lead to it."
    )
    sys.exit(INTERNAL_ERROR)


ANSI = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "cyan": 36}


def mark(text: str, style: str, *, stream: object = None) -> str:
    """The text in a colour, when ``stream`` (stderr by default) is a terminal and NO_COLOR is not set."""
    if not coloured(sys.stderr if stream is None else stream):
        return text
    return f"\x1b[{ANSI[style]}m{text}\x1b[0m"


def coloured(stream: object) -> bool:
    """Whether a stream takes colours (https://no-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    isatty = getattr(stream, "isatty", None)
    return bool(isatty and isatty())

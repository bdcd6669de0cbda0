"""The mini-shell's own exit statuses, and the exceptions behind ``exit``, ``return`` and ``break``.

The builtins raise them, the interpreter catches them.
"""

from __future__ import annotations

NOT_FOUND = 127
SYNTAX_ERROR = 2


class ExitShell(Exception):
    """``exit``: ends the shell with a status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"exit {status}")
        self.status = status


class ReturnFrom(Exception):
    """``return``: ends a function with a status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"return {status}")
        self.status = status


class LeaveLoop(Exception):
    """``break`` and ``continue``: leave ``levels`` loops, or go on with the last of them."""

    def __init__(self, levels: int, *, again: bool) -> None:
        super().__init__()
        self.levels = levels
        self.again = again

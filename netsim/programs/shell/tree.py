"""The mini-shell's grammar, as a tree of commands (POSIX shell, XCU section 2, a small part of it).

Understood: quoting, parameters, ``$( )`` and backquotes, ``$(( ))``, lists with ``;`` ``&`` ``&&`` ``||``,
pipes, redirections and here-documents, ``for``, ``while``, ``until``, ``if``, ``case``, functions, ``{ }``,
``( )`` and ``[[ ]]``. Not understood: globbing of file names, arrays, aliases, job control. ``lexer`` and
``parser`` make the tree, ``interpreter`` runs it.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias


class ShellSyntaxError(Exception):
    """What dash says behind ``Syntax error:``, and the line it says it of."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


class Literal(NamedTuple):
    text: str
    quoted: bool


class Parameter(NamedTuple):
    """``$name`` or ``${name op argument}``; ``operator`` is empty for the plain form, ``#`` for a length."""

    name: str
    operator: str
    argument: Word
    quoted: bool


class Substitution(NamedTuple):
    """``$(source)``."""

    source: str
    quoted: bool


class Arithmetic(NamedTuple):
    """``$((source))``."""

    source: str
    quoted: bool


Part: TypeAlias = Literal | Parameter | Substitution | Arithmetic
Word: TypeAlias = tuple[Part, ...]


class Redirect(NamedTuple):
    """``fd`` is the descriptor on the left; ``operator`` one of ``> >> < >& &> &>> << <<<``."""

    fd: int
    operator: str
    target: Word


class Simple(NamedTuple):
    """Assignments, then words: the command as typed."""

    assignments: tuple[tuple[str, Word], ...]
    words: tuple[Word, ...]
    line: int


class For(NamedTuple):
    name: str
    words: tuple[Word, ...] | None  # None: "$@"
    body: Sequence


class While(NamedTuple):
    condition: Sequence
    body: Sequence
    until: bool


class If(NamedTuple):
    branches: tuple[tuple[Sequence, Sequence], ...]
    otherwise: Sequence | None


class Case(NamedTuple):
    """Branches in order: the patterns of each, and what it runs."""

    word: Word
    branches: tuple[tuple[tuple[Word, ...], Sequence], ...]


class Clause(NamedTuple):
    """One comparison: a word, an operator and a word, or an operator between two."""

    negated: bool
    words: tuple[Word, ...]


class Conditional(NamedTuple):
    """``[[ … ]]``: clauses joined with ``&&``, alternatives with ``||``."""

    alternatives: tuple[tuple[Clause, ...], ...]
    line: int


class Function(NamedTuple):
    """A definition: from now on ``name`` runs ``body``."""

    name: str
    body: Command


class Group(NamedTuple):
    """``{ }``, or ``( )`` when it runs in a shell of its own."""

    body: Sequence
    subshell: bool


Compound: TypeAlias = Simple | For | While | If | Case | Conditional | Function | Group


class Command(NamedTuple):
    what: Compound
    redirects: tuple[Redirect, ...]


class Pipeline(NamedTuple):
    commands: tuple[Command, ...]
    negated: bool


class Chain(NamedTuple):
    """Pipelines joined with ``&&`` and ``||``; ``operators`` has one less."""

    pipelines: tuple[Pipeline, ...]
    operators: tuple[str, ...]
    background: bool


class Sequence(NamedTuple):
    chains: tuple[Chain, ...]

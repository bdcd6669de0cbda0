"""The mini-shell's tokens to a tree: recursive descent, with dash's wording of errors."""

from __future__ import annotations

import re

from netsim.programs.shell.lexer import Lexer, Token
from netsim.programs.shell.tree import (
    Case,
    Chain,
    Clause,
    Command,
    Compound,
    Conditional,
    For,
    Function,
    Group,
    If,
    Literal,
    Pipeline,
    Redirect,
    Sequence,
    ShellSyntaxError,
    Simple,
    While,
    Word,
)

_CLOSERS = frozenset({"then", "elif", "else", "fi", "do", "done", "esac", "}"})
LONGEST_CLAUSE = 3
"""Words of one comparison in ``[[ ]]``."""
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)


def parse(text: str) -> Sequence:
    """The tree of a whole script; raises ShellSyntaxError."""
    parser = _Parser(text)
    tree = parser.sequence()
    parser.expect_end()
    return tree


class _Parser:
    def __init__(self, text: str) -> None:
        lexer = Lexer(text)
        self._tokens = lexer.tokens()
        self._here = lexer.here_documents
        self._at = 0

    @property
    def _token(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self._token
        self._at += 1
        return token

    def _is(self, text: str) -> bool:
        return self._token.text == text and self._token.kind in ("op", "word")

    def _skip_newlines(self) -> None:
        while self._token.kind == "newline":
            self._at += 1

    def _unexpected(self, expected: str = "") -> ShellSyntaxError:
        token = self._token
        names = {"end": "end of file", "newline": "newline", "redirect": "redirection"}
        seen = names.get(token.kind) or (f'"{token.text}"' if token.text else "word")
        wanted = f' (expecting "{expected}")' if expected else ""
        return ShellSyntaxError(f"{seen} unexpected{wanted}", token.line)

    def _expect(self, text: str) -> None:
        if not self._is(text):
            raise self._unexpected(text)
        self._at += 1

    def expect_end(self) -> None:
        if self._token.kind != "end":
            raise self._unexpected()

    # --- lists ---------------------------------------------------------------------------------------

    def sequence(self) -> Sequence:
        chains: list[Chain] = []
        self._skip_newlines()
        while self._starts_command():
            chains.append(self._chain())
            if self._is(";") or self._is("&"):
                self._at += 1
            elif self._token.kind != "newline":
                break
            self._skip_newlines()
        return Sequence(tuple(chains))

    def _required_sequence(self, closer: str) -> Sequence:
        body = self.sequence()
        if not body.chains:
            raise self._unexpected(closer if self._token.kind == "end" else "")
        return body

    def _starts_command(self) -> bool:
        token = self._token
        if token.kind == "op":
            return token.text == "("
        return token.kind == "redirect" or (token.kind == "word" and token.text not in _CLOSERS)

    def _chain(self) -> Chain:
        pipelines, operators = [self._pipeline()], []
        while self._is("&&") or self._is("||"):
            operators.append(self._take().text)
            self._skip_newlines()
            pipelines.append(self._pipeline())
        return Chain(tuple(pipelines), tuple(operators), self._is("&"))

    def _pipeline(self) -> Pipeline:
        negated = self._is("!")
        if negated:
            self._at += 1
        commands = [self._command()]
        while self._is("|"):
            self._at += 1
            self._skip_newlines()
            commands.append(self._command())
        return Pipeline(tuple(commands), negated)

    # --- commands ------------------------------------------------------------------------------------

    def _command(self) -> Command:
        if not self._starts_command():
            raise self._unexpected()
        what = self._compound()
        if what is None:
            return self._simple()
        redirects = []
        while self._token.kind == "redirect":
            redirects.append(self._redirect())
        return Command(what, tuple(redirects))

    def _compound(self) -> Compound | None:
        if self._is("("):
            self._at += 1
            body = self._required_sequence(")")
            self._expect(")")
            return Group(body, subshell=True)
        if self._token.kind != "word":
            return None
        match self._token.text:
            case "{":
                self._at += 1
                body = self._required_sequence("}")
                self._expect("}")
                return Group(body, subshell=False)
            case "for":
                return self._for()
            case "while" | "until":
                until = self._take().text == "until"
                condition = self._required_sequence("do")
                return While(condition, self._do_body(), until)
            case "if":
                return self._if()
            case "case":
                return self._case()
            case "[[":
                return self._conditional()
        if self._tokens[self._at + 1].text == "(" and self._tokens[self._at + 1].kind == "op":
            return self._function()
        return None

    def _function(self) -> Function:
        name = self._take()
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", name.text):
            raise ShellSyntaxError("Bad function name", name.line)
        self._expect("(")
        self._expect(")")
        self._skip_newlines()
        return Function(name.text, self._command())

    def _case(self) -> Case:
        self._at += 1
        if self._token.kind != "word":
            raise self._unexpected()
        word = self._take().word
        self._skip_newlines()
        self._expect("in")
        self._skip_newlines()
        branches = []
        while not self._is("esac"):
            branches.append((self._patterns(), self.sequence()))
            if not self._is("esac"):
                self._expect(";;")
            self._skip_newlines()
        self._at += 1
        return Case(word, tuple(branches))

    def _patterns(self) -> tuple[Word, ...]:
        """``pattern | pattern )``, perhaps with a ``(`` before."""
        if self._is("("):
            self._at += 1
        patterns = []
        while True:
            if self._token.kind != "word":
                raise self._unexpected("esac" if self._token.kind == "end" else "")
            patterns.append(self._take().word)
            if not self._is("|"):
                break
            self._at += 1
        self._expect(")")
        return tuple(patterns)

    def _conditional(self) -> Conditional:
        line = self._take().line
        alternatives: list[list[Clause]] = [[]]
        while True:
            alternatives[-1].append(self._clause())
            closer = self._take().text
            if closer == "]]":
                return Conditional(tuple(map(tuple, alternatives)), line)
            if closer == "||":
                alternatives.append([])

    def _clause(self) -> Clause:
        """Up to three words of ``[[``, among which ``<`` and ``>`` are words like others."""
        self._skip_newlines()
        negated = False
        while self._is("!"):
            negated = not negated
            self._at += 1
        words: list[Word] = []
        while not any(map(self._is, ("]]", "&&", "||"))):
            token = self._token
            if token.kind not in ("word", "redirect") or len(words) == LONGEST_CLAUSE:
                raise self._unexpected("]]")
            words.append(self._take().word if token.kind == "word" else (Literal(self._take().text, False),))
            self._skip_newlines()
        if not words:
            raise self._unexpected()
        return Clause(negated, tuple(words))

    def _do_body(self) -> Sequence:
        self._expect("do")
        body = self._required_sequence("done")
        self._expect("done")
        return body

    def _for(self) -> For:
        self._at += 1
        name = self._take()
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name.text):
            raise ShellSyntaxError("Bad for loop variable", name.line)
        self._skip_newlines()
        words: list[Word] | None = None
        if self._is("in"):
            self._at += 1
            words = []
            while self._token.kind == "word":
                words.append(self._take().word)
        if self._is(";"):
            self._at += 1
        self._skip_newlines()
        return For(name.text, tuple(words) if words is not None else None, self._do_body())

    def _if(self) -> If:
        self._at += 1
        branches = []
        otherwise = None
        while True:
            condition = self._required_sequence("then")
            self._expect("then")
            branches.append((condition, self._required_sequence("fi")))
            if self._is("elif"):
                self._at += 1
                continue
            if self._is("else"):
                self._at += 1
                otherwise = self._required_sequence("fi")
            self._expect("fi")
            return If(tuple(branches), otherwise)

    def _redirect(self) -> Redirect:
        token = self._take()
        if self._token.kind != "word":
            raise self._unexpected()
        target = self._take().word
        if token.here >= 0:
            return Redirect(token.fd, "<<", self._here[token.here])
        return Redirect(token.fd, token.text, target)

    def _simple(self) -> Command:
        line = self._token.line
        assignments: list[tuple[str, Word]] = []
        words: list[Word] = []
        redirects: list[Redirect] = []
        while self._token.kind in ("word", "redirect"):
            if self._token.kind == "redirect":
                redirects.append(self._redirect())
                continue
            word = self._take().word
            assignment = _assignment(word) if not words else None
            if assignment is not None:
                assignments.append(assignment)
            else:
                words.append(word)
        return Command(Simple(tuple(assignments), tuple(words), line), tuple(redirects))


def _assignment(word: Word) -> tuple[str, Word] | None:
    """``NAME=value`` taken apart, or None for an ordinary word."""
    first = word[0] if word else None
    if not isinstance(first, Literal) or first.quoted:
        return None
    match = _ASSIGNMENT.fullmatch(first.text)
    if match is None:
        return None
    rest = (Literal(match[2], False),) if match[2] else ()
    return match[1], (*rest, *word[1:])

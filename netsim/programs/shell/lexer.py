"""The mini-shell's text to tokens; words come out with their quoting and expansions taken apart."""

from __future__ import annotations

import re
from typing import NamedTuple

from netsim.programs.shell.tree import (
    Arithmetic,
    Literal,
    Parameter,
    Part,
    ShellSyntaxError,
    Substitution,
    Word,
)


class Token(NamedTuple):
    """``kind`` is ``word``, ``op``, ``redirect``, ``newline`` or ``end``.

    ``text`` of a word is empty unless all of it stood there unquoted, as a reserved word must. ``here`` is
    the number of the here-document that a redirection announces.
    """

    kind: str
    text: str
    line: int
    word: Word = ()
    fd: int = -1
    here: int = -1


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SPECIAL_PARAMETERS = "?$!#@*-0123456789"
_OPERATORS = ("&&", "||", ";;", ";", "|", "(", ")", "&")
_REDIRECT = re.compile(r"(\d?)(&>>|&>|<<-|<<<|<<|>>|>&|<&|>\||<|>)")
_BRACED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*|[?$!#@*\-0-9])(:?[-=+?]|%%?|##?)?")
_METACHARACTERS = frozenset(" \t\n;&|()<>")
_IN_DOUBLE_QUOTES = '$`"\\\n'


class Lexer:
    """One pass over one text. ``here_documents`` holds their bodies, in order."""

    def __init__(self, text: str, line: int = 1) -> None:
        self._text = text
        self._at = 0
        self._line = line
        self.here_documents: list[Word] = []
        self._pending: list[tuple[str, bool, bool]] = []  # delimiter, quoted, strip tabs

    def tokens(self) -> list[Token]:
        found = []
        while True:
            token = self._next()
            found.append(token)
            if token.here >= 0:
                delimiter = self._next()
                if delimiter.kind != "word":
                    raise ShellSyntaxError("missing here-document delimiter", self._line)
                quoted = any(isinstance(part, Literal) and part.quoted for part in delimiter.word)
                self._pending.append((text_of(delimiter.word), quoted, token.text == "<<-"))
                found.append(delimiter)
            if token.kind == "newline":
                self._read_here_documents()
            if token.kind == "end":
                self._read_here_documents()
                return found

    def _next(self) -> Token:
        text = self._text
        while self._at < len(text):
            if text[self._at] in " \t":
                self._at += 1
            elif text.startswith("\\\n", self._at):
                self._at += 2
                self._line += 1
            elif text[self._at] == "#":
                end = text.find("\n", self._at)
                self._at = len(text) if end < 0 else end
            else:
                break
        if self._at >= len(text):
            return Token("end", "", self._line)
        if text[self._at] == "\n":
            self._at += 1
            self._line += 1
            return Token("newline", "\n", self._line - 1)
        return self._operator() or self._word_token()

    def _operator(self) -> Token | None:
        redirect = _REDIRECT.match(self._text, self._at)
        if redirect is not None:
            self._at = redirect.end()
            default = 0 if redirect[2].startswith("<") else 1
            fd = int(redirect[1]) if redirect[1] else default
            announces = redirect[2] in ("<<", "<<-")
            here = len(self._pending) + len(self.here_documents) if announces else -1
            return Token("redirect", redirect[2], self._line, fd=fd, here=here)
        for operator in _OPERATORS:
            if self._text.startswith(operator, self._at):
                self._at += len(operator)
                return Token("op", operator, self._line)
        return None

    def _word_token(self) -> Token:
        line = self._line
        word = self._word(_METACHARACTERS)
        plain = "".join(p.text for p in word if isinstance(p, Literal) and not p.quoted)
        is_plain = all(isinstance(part, Literal) and not part.quoted for part in word)
        return Token("word", plain if is_plain else "", line, word)

    # --- words ---------------------------------------------------------------------------------------

    def _word(self, stops: frozenset[str]) -> Word:
        parts: list[Part] = []
        text = self._text
        while self._at < len(text) and text[self._at] not in stops:
            char = text[self._at]
            if char == "'":
                end = text.find("'", self._at + 1)
                if end < 0:
                    raise ShellSyntaxError("Unterminated quoted string", self._line)
                parts.append(Literal(self._counted(text[self._at + 1 : end]), True))
                self._at = end + 1
            elif char == '"':
                self._at += 1
                parts += self._double_quoted() or [Literal("", True)]
            elif char == "\\":
                escaped = text[self._at + 1 : self._at + 2]
                parts.append(Literal("" if escaped == "\n" else escaped or "\\", True))
                self._at += 2
            elif char in "$`":
                parts.append(self._expansion(quoted=False))
            else:
                parts.append(Literal(char, False))
                self._at += 1
        return merged(parts)

    def _counted(self, text: str) -> str:
        self._line += text.count("\n")
        return text

    def _double_quoted(self, end: str = '"') -> list[Part]:
        parts: list[Part] = []
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == end:
                self._at += 1
                return parts
            if char == "\\" and self._text[self._at + 1 : self._at + 2] in tuple(_IN_DOUBLE_QUOTES):
                escaped = self._text[self._at + 1]
                parts.append(Literal("" if escaped == "\n" else escaped, True))
                self._at += 2
            elif char in "$`":
                parts.append(self._expansion(quoted=True))
            else:
                parts.append(Literal(self._counted(char), True))
                self._at += 1
        if end:
            raise ShellSyntaxError("Unterminated quoted string", self._line)
        return parts

    def _expansion(self, *, quoted: bool) -> Part:
        text = self._text
        if text[self._at] == "`":
            end = _end_of_backquote(text, self._at + 1, self._line)
            source = text[self._at + 1 : end].replace("\\`", "`").replace("\\$", "$").replace("\\\\", "\\")
            self._at = end + 1
            return Substitution(self._counted(source), quoted)
        if text.startswith("$((", self._at):
            end = text.find("))", self._at)
            if end < 0:
                raise ShellSyntaxError("missing '))'", self._line)
            source = text[self._at + 3 : end]
            self._at = end + 2
            return Arithmetic(source, quoted)
        if text.startswith("$(", self._at):
            end = _end_of_parenthesis(text, self._at + 2, self._line)
            source = text[self._at + 2 : end]
            self._at = end + 1
            return Substitution(self._counted(source), quoted)
        if text.startswith("${", self._at):
            return self._braced(quoted)
        name = _NAME.match(text, self._at + 1)
        if name is not None:
            self._at = name.end()
            return Parameter(name[0], "", (), quoted)
        if text[self._at + 1 : self._at + 2] in tuple(_SPECIAL_PARAMETERS):
            self._at += 2
            return Parameter(text[self._at - 1], "", (), quoted)
        self._at += 1
        return Literal("$", True)

    def _braced(self, quoted: bool) -> Part:
        self._at += 2
        if self._text[self._at : self._at + 1] == "#" and self._text[self._at + 1 : self._at + 2] != "}":
            match = _BRACED.match(self._text, self._at + 1)
            if match is None or not self._text.startswith("}", match.end()):
                raise ShellSyntaxError("Bad substitution", self._line)
            self._at = match.end() + 1
            return Parameter(match[1], "#", (), quoted)
        match = _BRACED.match(self._text, self._at)
        if match is None:
            raise ShellSyntaxError("Bad substitution", self._line)
        self._at = match.end()
        argument = self._word(frozenset("}"))
        if not self._text.startswith("}", self._at):
            raise ShellSyntaxError("Missing '}'", self._line)
        self._at += 1
        if argument and not match[2]:
            raise ShellSyntaxError("Bad substitution", self._line)
        return Parameter(match[1], match[2] or "", argument, quoted)

    # --- here-documents ------------------------------------------------------------------------------

    def _read_here_documents(self) -> None:
        for delimiter, quoted, strip in self._pending:
            lines = []
            while self._at < len(self._text):
                end = self._text.find("\n", self._at)
                end = len(self._text) if end < 0 else end
                line = self._text[self._at : end]
                self._at = min(end + 1, len(self._text))
                self._line += 1
                line = line.lstrip("\t") if strip else line
                if line == delimiter:
                    break
                lines.append(f"{line}\n")
            body = "".join(lines)
            parts: list[Part] = (
                [Literal(body, True)] if quoted else Lexer(body, self._line)._double_quoted(end="")
            )
            self.here_documents.append(merged(parts))
        self._pending.clear()


def _end_of_backquote(text: str, at: int, line: int) -> int:
    while at < len(text) and text[at] != "`":
        at += 2 if text[at] == "\\" else 1
    if at >= len(text):
        raise ShellSyntaxError("EOF in backquote substitution", line)
    return at


def _end_of_parenthesis(text: str, at: int, line: int) -> int:
    """The position of the ``)`` that closes a ``$(`` before ``at``; quotes and nested pairs are skipped."""
    depth = 1
    while at < len(text):
        char = text[at]
        if char == "\\":
            at += 1
        elif char == "'":
            at = text.find("'", at + 1)
            if at < 0:
                break
        elif char == '"':
            at += 1
            while at < len(text) and text[at] != '"':
                at += 2 if text[at] == "\\" else 1
        elif char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
            if depth == 0:
                return at
        at += 1
    raise ShellSyntaxError('end of file unexpected (expecting ")")', line)


def merged(parts: list[Part]) -> Word:
    """Neighbouring literals of one kind become one part."""
    whole: list[Part] = []
    for part in parts:
        last = whole[-1] if whole else None
        if isinstance(part, Literal) and isinstance(last, Literal) and last.quoted == part.quoted:
            whole[-1] = Literal(last.text + part.text, part.quoted)
        else:
            whole.append(part)
    return tuple(whole)


def text_of(word: Word) -> str:
    return "".join(part.text for part in word if isinstance(part, Literal))

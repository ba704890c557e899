"""Tags of a template, and the tokens in them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modelbuild.ollama.jinja.values import Unsupported
from modelbuild.tuples import NamedTuple


class Token(NamedTuple):
    """kind: `float`, `int`, `name`, `string` (with its quotes and escapes) or `mark`."""

    kind: str
    text: str


class Tag(NamedTuple):
    """A part of a template.

    kind    `text`, `expression` or `statement`
    text    that of a `text`, as it is written
    tokens  those of the other two, without what opens and closes them
    """

    kind: str
    text: str
    tokens: list[Token]


_OPEN = re.compile(r"\{([{%#])([-+]?)")
_COMMENT_END = re.compile(r"([-+]?)#\}")
_TOKEN = re.compile(
    r"\s*(?:(?P<end>[-+]?%\}|-?\}\})"
    r"|(?P<float>\d[\d_]*(?:\.\d+(?:[eE][+-]?\d+)?|[eE][+-]?\d+))"
    r"|(?P<int>\d[\d_]*)"
    r"|(?P<name>[^\W\d]\w*)"
    r"|(?P<string>'(?:[^'\\]|\\.)*+'|\"(?:[^\"\\]|\\.)*+\")"
    r"|(?P<mark>//|\*\*|==|!=|>=|<=|[-+/*%~\[\](){}<>=.:|,]))",
    re.DOTALL,
)
_CLOSERS = {")": "(", "]": "[", "}": "{"}


def split(text: str) -> Iterator[Tag]:
    """The parts of a template, in order, with trim_blocks and lstrip_blocks applied. Raises Unsupported for what is no template."""
    text = re.sub(r"\r\n|\r", "\n", text)
    text = text.removesuffix("\n")
    at = 0
    while opened := _OPEN.search(text, at):
        before = text[at : opened.start()]
        if opened[2] == "-":
            before = before.rstrip()
        elif opened[2] != "+" and opened[1] != "{":
            line = before.rfind("\n") + 1
            starts = line > 0 or text[at - 1 : at] in ("", "\n") or at == 0
            if starts and not before[line:].strip():
                before = before[:line]
        if before:
            yield Tag("text", before, [])
        if opened[1] == "#":
            closed = _COMMENT_END.search(text, opened.end())
            if closed is None:
                raise Unsupported("comment without end")
            at = _resume(text, closed.end(), closed[1], True)
            continue
        tokens, at, sign = _tokens(text, opened.end(), "}}" if opened[1] == "{" else "%}")
        statement = opened[1] == "%"
        yield Tag("statement" if statement else "expression", "", tokens)
        at = _resume(text, at, sign, statement)
    if at < len(text):
        yield Tag("text", text[at:], [])


def _resume(text: str, at: int, sign: str, trims: bool) -> int:
    """Where the text goes on after a tag: `-` takes all blanks, a statement the line's end."""
    if sign == "-":
        while text[at : at + 1].isspace():
            at += 1
    elif trims and sign != "+" and text.startswith("\n", at):
        at += 1
    return at


def _tokens(text: str, at: int, end: str) -> tuple[list[Token], int, str]:
    tokens: list[Token] = []
    opened: list[str] = []
    while True:
        match = _TOKEN.match(text, at)
        if match is None:
            raise Unsupported(f"unread text in a tag at {at}")
        kind, word = str(match.lastgroup), match[str(match.lastgroup)]
        if kind == "end":
            if not opened and word.endswith(end):
                return tokens, match.end(), word[0] if len(word) == 3 else ""
            # A `}` that closes a mapping, or an operator before something else: taken one character at a time.
            word = word[0]
            kind, stop = "mark", match.start("end") + 1
        else:
            stop = match.end()
        if kind == "mark" and word in "([{":
            opened.append(word)
        elif kind == "mark" and word in _CLOSERS and (not opened or opened.pop() != _CLOSERS[word]):
            raise Unsupported("brackets")
        tokens.append(Token(kind, word))
        at = stop


_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{1,3}|.)", re.DOTALL)
_ESCAPES = {
    "n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"', "\n": "", "a": "\a", "b": "\b", "f": "\f", "v": "\v"
}  # fmt: skip


def unquoted(word: str) -> str:
    """What a string says, its escapes those of Python."""

    def escape(match: re.Match[str]) -> str:
        name = match[1]
        if name in _ESCAPES:
            return _ESCAPES[name]
        if name[0] in "01234567":
            return chr(int(name, 8))
        if len(name) == 1:
            return "\\" + name
        if (code := int(name[1:], 16)) > 0x10FFFF:
            raise Unsupported("escape")
        return chr(code)

    return _ESCAPE.sub(escape, word[1:-1])

"""Execute a Go template (text/template/exec.go), as far as templates of chats go. What goes further is refused, never guessed."""

from __future__ import annotations

import ast
import datetime
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from modelbuild.ollama.template import Token, pieces

MOST = 1_000_000
"""Nodes that one execution may visit, and characters that it may print: ranges of ranges have no other end."""


class Unsupported(Exception):
    """What a template does that is not carried out here, in words that follow 'it uses'."""


@dataclass
class Node:
    """A text, or an action: `value`, `set`, `if`, `range`, `with`, `break`, `continue`.

    names     the variables that it declares or sets
    body      what `if`, `range` and `with` hold; `other` what follows their `else`
    """

    kind: str
    text: str = ""
    names: tuple[str, ...] = ()
    declares: bool = False
    pipe: Pipe = ()
    body: list[Node] = field(default_factory=list)
    other: list[Node] = field(default_factory=list)


@dataclass(frozen=True)
class Field:
    """A field of a value."""

    of: Any
    name: str


Pipe = tuple[tuple[Any, ...], ...]
"""Commands, each of operands: a Token, a Field, or a Pipe in parentheses."""


def parse(text: str) -> list[Node]:
    """Read a template that `find_fault` finds nothing wrong with. Raises Unsupported."""
    reader = _Reader(pieces(text))
    return reader.nodes()[0]


def fields(nodes: list[Node]) -> set[str]:
    """The names of all fields that a template asks for."""
    return {name for node in nodes for name in (*_asked(node.pipe), *fields(node.body), *fields(node.other))}


def asks_for(node: Node, name: str) -> bool:
    """Whether the pipeline of a node asks for a field."""
    return name in _asked(node.pipe)


def execute(nodes: list[Node], data: Mapping[str, Any]) -> str:
    """The text that a template prints of its values: texts, whole numbers, truth values, lists and mappings. Raises Unsupported."""
    run = _Run()
    run.walk(nodes, data, _Variables({"$": data}, None))
    return "".join(run.out)


def _asked(operand: Any) -> Iterator[str]:
    if isinstance(operand, tuple):
        for each in operand:
            if not isinstance(each, str):
                yield from _asked(each)
    if isinstance(operand, Token) and operand.kind == "field":
        yield operand.text[1:]
    if isinstance(operand, Field):
        yield operand.name
        yield from _asked(operand.of)


class _Reader:
    def __init__(self, parts: Iterator[str | list[Token]]) -> None:
        self._parts = parts

    def nodes(self) -> tuple[list[Node], list[Token]]:
        """The nodes up to `else` or `end`, and the words of that."""
        found: list[Node] = []
        for part in self._parts:
            if isinstance(part, str):
                found.append(Node("text", part))
                continue
            first = part[0].text if part[0].kind == "word" else ""
            if first in ("else", "end"):
                return found, part
            if first in ("if", "range", "with"):
                found.append(self._branch(part))
            elif first in ("break", "continue"):
                found.append(Node(first))
            elif first in ("define", "block", "template"):
                raise Unsupported(f"'{first}'")
            else:
                names, declares, rest = _declared(part)
                found.append(Node("set" if names else "value", "", names, declares, _pipe(rest)))
        return found, []

    def _branch(self, words: list[Token]) -> Node:
        names, declares, rest = _declared(words[1:])
        body, ended = self.nodes()
        node = Node(words[0].text, "", names, declares, _pipe(rest), body)
        if len(ended) > 1:
            # What `else if` opens has the same end.
            node.other = [self._branch(ended[1:])]
        elif ended[0].text == "else":
            node.other, _ = self.nodes()
        return node


def _declared(words: list[Token]) -> tuple[tuple[str, ...], bool, list[Token]]:
    """The variables before `:=` or `=`, which of these it is, and the words after it."""
    for at in (1, 3):
        if (
            len(words) > at
            and words[0].kind == "variable"
            and words[at].text in (":=", "=")
            and words[at].kind == "mark"
        ):
            return tuple(word.text for word in words[:at:2]), words[at].text == ":=", words[at + 1 :]
    return (), False, words


def _pipe(words: list[Token]) -> Pipe:
    found, _ = _commands(words, 0)
    return found


def _commands(words: list[Token], at: int) -> tuple[Pipe, int]:
    commands: list[list[Any]] = [[]]
    while at < len(words) and not _is(words[at], ")"):
        word = words[at]
        at += 1
        if _is(word, "|"):
            commands.append([])
            continue
        operand: Any = word
        if _is(word, "("):
            operand, at = _commands(words, at)
            at += 1
        while at < len(words) and words[at].kind == "field" and not words[at].spaced:
            operand = Field(operand, words[at].text[1:])
            at += 1
        commands[-1].append(operand)
    return tuple(map(tuple, commands)), at


def _is(word: Token, mark: str) -> bool:
    return word.kind == "mark" and word.text == mark


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class _Variables:
    def __init__(self, values: dict[str, Any], outer: _Variables | None) -> None:
        self.values = values
        self._outer = outer

    def home(self, name: str) -> dict[str, Any]:
        scope: _Variables | None = self
        while scope is not None and name not in scope.values:
            scope = scope._outer
        if scope is None:
            raise Unsupported(f"the variable {name}")
        return scope.values


class _Run:
    def __init__(self) -> None:
        self.out: list[str] = []
        self._left = MOST

    def walk(self, nodes: list[Node], dot: Any, variables: _Variables) -> None:
        for node in nodes:
            self._count(1)
            if node.kind == "text":
                self._print(node.text)
            elif node.kind == "break":
                raise _Break
            elif node.kind == "continue":
                raise _Continue
            elif node.kind == "value":
                self._print(_printed(self.pipe(node.pipe, dot, variables)))
            elif node.kind == "set":
                value = self.pipe(node.pipe, dot, variables)
                (variables.values if node.declares else variables.home(node.names[0]))[node.names[0]] = value
            elif node.kind == "range":
                self._range(node, dot, variables)
            else:
                value = self.pipe(node.pipe, dot, variables)
                inner = _Variables(dict.fromkeys(node.names, value), variables)
                body, inside = (node.body, value if node.kind == "with" else dot) if value else (node.other, dot)
                self.walk(body, inside, inner)

    def _range(self, node: Node, dot: Any, variables: _Variables) -> None:
        values = self.pipe(node.pipe, dot, variables)
        if not isinstance(values, list) or (node.names and not node.declares):
            raise Unsupported("a 'range' over something else than a list")
        for index, value in enumerate(values):
            named = (index, value) if len(node.names) == 2 else (value,)
            try:
                self.walk(node.body, value, _Variables(dict(zip(node.names, named, strict=False)), variables))
            except _Continue:
                continue
            except _Break:
                return
        if not values:
            self.walk(node.other, dot, _Variables({}, variables))

    def pipe(self, commands: Pipe, dot: Any, variables: _Variables) -> Any:
        last: list[Any] = []
        for operands in commands:
            first = operands[0]
            if isinstance(first, Token) and first.kind == "word":
                last = [self._call(first.text, operands[1:], last, dot, variables)]
            elif len(operands) > 1 or last:
                raise Unsupported("a method")
            else:
                last = [self.operand(first, dot, variables)]
        return last[0]

    def _call(self, name: str, operands: tuple[Any, ...], last: list[Any], dot: Any, variables: _Variables) -> Any:
        if name in ("and", "or"):
            # The rest is not evaluated once the result is known.
            value: Any = None
            for operand in operands:
                value = self.operand(operand, dot, variables)
                if bool(value) == (name == "or"):
                    return value
            return last[0] if last else value
        if (function := _FUNCTIONS.get(name)) is None:
            raise Unsupported(f"the function '{name}'")
        given = [*(self.operand(operand, dot, variables) for operand in operands), *last]
        try:
            return function(*given)
        except (TypeError, ValueError, LookupError):
            raise Unsupported(f"'{name}' with values that it does not take") from None

    def operand(self, operand: Any, dot: Any, variables: _Variables) -> Any:
        if isinstance(operand, Field):
            return _field(self.operand(operand.of, dot, variables), operand.name)
        if not isinstance(operand, Token):
            return self.pipe(operand, dot, variables)
        text = operand.text
        if operand.kind == "dot":
            return dot
        if operand.kind == "field":
            return _field(dot, text[1:])
        if operand.kind == "variable":
            return variables.home(text)[text]
        if operand.kind == "string":
            return text[1:-1].replace("\r", "") if text[0] == "`" else _unquoted(text)
        if operand.kind == "literal":
            return {"true": True, "false": False}.get(text)
        if operand.kind == "word":
            return self._call(text, (), [], dot, variables)
        try:
            return int(text)
        except ValueError:
            raise Unsupported(f"the number {text}") from None

    def _print(self, text: str) -> None:
        self._count(len(text))
        self.out.append(text)

    def _count(self, number: int) -> None:
        self._left -= number
        if self._left < 0:
            raise Unsupported("too many steps, or prints too much")


def _unquoted(text: str) -> str:
    try:
        return str(ast.literal_eval(text))
    except (ValueError, SyntaxError):
        raise Unsupported(f"the text {text}") from None


def _field(value: Any, name: str) -> Any:
    """A missing member of a mapping is nothing: false, and printed as `<no value>`."""
    if not isinstance(value, Mapping):
        raise Unsupported(f"the field '.{name}' of a value that has none")
    return value.get(name)


def _printed(value: Any) -> str:
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int):
        return str(value)
    raise Unsupported("a list or a mapping as text")


def _length(value: Any) -> int:
    return len(value.encode()) if isinstance(value, str) else len(value)


def _slice(value: Any, *bounds: int) -> Any:
    """Go's, of which a bound may not lie outside; texts are cut by bytes."""
    whole = value.encode() if isinstance(value, str) else value
    start, end = (*bounds, len(whole))[:2] if bounds else (0, len(whole))
    if not 0 <= start <= end <= len(whole):
        raise ValueError
    return whole[start:end].decode() if isinstance(value, str) else whole[start:end]


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, list) and not 0 <= key < len(value):
            raise LookupError
        value = value.get(key) if isinstance(value, Mapping) else value[key]
    return value


def _equal(first: Any, *others: Any) -> bool:
    if not others or not isinstance(first, str | int) or any(type(other) is not type(first) for other in others):
        raise TypeError
    return first in others


def _less(first: Any, other: Any) -> bool:
    if type(first) is not type(other) or isinstance(first, bool):
        raise TypeError
    return bool(first < other)


def _print(*values: Any) -> str:
    """fmt.Sprint puts a blank between two operands if neither is a text."""
    out = ""
    for at, value in enumerate(values):
        blank = at and not isinstance(value, str) and not isinstance(values[at - 1], str)
        out += (" " if blank else "") + _printed(value)
    return out


def _json(value: Any) -> str:
    if not isinstance(value, str | int):
        raise TypeError
    text = json.dumps(value, ensure_ascii=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "not": lambda value: not value,
    "eq": _equal,
    "ne": lambda first, other: not _equal(first, other),
    "lt": _less,
    "le": lambda first, other: not _less(other, first),
    "gt": lambda first, other: _less(other, first),
    "ge": lambda first, other: not _less(first, other),
    "len": _length,
    "index": _index,
    "slice": _slice,
    "print": _print,
    "println": lambda *values: " ".join(map(_printed, values)) + "\n",
    "json": _json,
    "currentDate": lambda *_: datetime.date.today().isoformat(),
}

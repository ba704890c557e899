"""Execute Go templates as Go's text/template and Ollama do (template/template.go), as far as our templates go."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

DATE = "2026-11-23"
"""What `currentDate` says."""


def chat(template: str, messages: list[dict[str, str]], think: bool | None = None) -> str:
    """Render a conversation as Ollama does for a template that ranges over .Messages."""
    system = "\n\n".join(message["content"] for message in messages if message["role"] == "system")
    collated: list[dict[str, str]] = []
    for message in messages:
        if collated and collated[-1]["Role"] == message["role"]:
            collated[-1]["Content"] += "\n\n" + message["content"]
        else:
            collated.append(
                {"Role": message["role"], "Content": message["content"], "Thinking": message.get("thinking", "")}
            )
    switches = {"Think": bool(think), "IsThinkSet": think is not None, "ThinkLevel": ""}
    return execute(template, {"System": system, "Messages": collated, "Response": "", "Tools": [], **switches})


def execute(template: str, data: Any) -> str:
    reader = _Reader(template)
    nodes = reader.nodes()
    assert reader.ended is None, f"unexpected {reader.ended}"
    run = _Run(data)
    run.walk(nodes, data, _Variables({"$": data}, None))
    return "".join(run.out)


# Reading

_ACTION = re.compile(
    r"\{\{(-(?=\s))?(/\*.*?\*/|(?:\"(?:[^\"\\]|\\.)*\"|`[^`]*`|(?!(?<=\s)-\}\}|\}\})[^\"`])*)((?<=\s)-|(?<=\*/) -)?\}\}",
    re.DOTALL,
)
_WORD = re.compile(r"\s*(\"(?:[^\"\\]|\\.)*\"|`[^`]*`|-?\d+|\$\w*|\.\w+|\.|\w+|:=|[=|(),])(\s*)", re.DOTALL)


@dataclass
class _Node:
    kind: str
    """text, value, set, if, range, with, break, continue"""
    text: str = ""
    names: tuple[str, ...] = ()
    declares: bool = False
    pipe: Any = None
    body: list[_Node] | None = None
    other: list[_Node] | None = None


class _Reader:
    def __init__(self, template: str) -> None:
        self.parts = self.split(template)
        self.ended: list[str] | None = None

    @staticmethod
    def split(template: str) -> Iterator[str | list[str]]:
        """Texts, and the words of actions."""
        at, trims = 0, False
        while (opening := template.find("{{", at)) >= 0:
            match = _ACTION.match(template, opening)
            assert match, f"no action at {template[opening : opening + 40]!r}"
            text = template[at:opening]
            text = text.lstrip(" \t\r\n") if trims else text
            yield text.rstrip(" \t\r\n") if match[1] else text
            if not match[2].strip().startswith("/*"):
                yield _words(match[2])
            at, trims = match.end(), bool(match[3])
        yield template[at:].lstrip(" \t\r\n") if trims else template[at:]

    def nodes(self) -> list[_Node]:
        """Read up to `else` or `end`, which is then `ended`."""
        found: list[_Node] = []
        self.ended = None
        for part in self.parts:
            if isinstance(part, str):
                found.append(_Node("text", part))
            elif part[0] in ("else", "end"):
                self.ended = part
                return found
            elif part[0] in ("if", "range", "with"):
                found.append(self.branch(part))
            elif part[0] in ("break", "continue"):
                found.append(_Node(part[0]))
            else:
                names, declares, rest = _declared(part)
                found.append(_Node("set" if names else "value", names=names, declares=declares, pipe=_pipe(rest)))
        self.ended = None
        return found

    def branch(self, words: list[str]) -> _Node:
        names, declares, rest = _declared(words[1:])
        node = _Node(words[0], names=names, declares=declares, pipe=_pipe(rest), body=self.nodes())
        assert self.ended, f"'{words[0]}' without end"
        if self.ended[0] == "else":
            if len(self.ended) > 1:
                node.other = [self.branch(self.ended[1:])]
                return node
            node.other = self.nodes()
        assert self.ended == ["end"], f"expected end, got {self.ended}"
        return node


def _words(action: str) -> list[str]:
    words, at = [], 0
    action = action.strip()
    while at < len(action):
        match = _WORD.match(action, at)
        assert match, f"no word at {action[at:]!r}"
        words.append(match[1])
        # A field right behind a value belongs to it.
        if match[1] not in ("(", "|", ",", "=", ":=") and not match[2] and action[match.end() : match.end() + 1] == ".":
            words.append("<of>")
        at = match.end()
    return words


def _declared(words: list[str]) -> tuple[tuple[str, ...], bool, list[str]]:
    if len(words) > 1 and words[0].startswith("$"):
        if words[1] in (":=", "="):
            return (words[0],), words[1] == ":=", words[2:]
        if words[1] == "," and words[3] == ":=":
            return (words[0], words[2]), True, words[4:]
    return (), False, words


def _pipe(words: list[str]) -> list[list[Any]]:
    """Commands, each a list of operands; an operand in parentheses is a pipe of its own."""
    commands, rest = _commands(list(words))
    assert not rest, rest
    return commands


def _commands(words: list[str]) -> tuple[list[list[Any]], list[str]]:
    commands: list[list[Any]] = [[]]
    while words and words[0] != ")":
        word = words.pop(0)
        operand: Any = word
        if word == "|":
            commands.append([])
            continue
        if word == "(":
            operand, words = _commands(words)
            assert words.pop(0) == ")"
        while words[:1] == ["<of>"]:
            words.pop(0)
            operand = ("<of>", operand, words.pop(0))
        commands[-1].append(operand)
    assert all(commands), "an empty pipeline"
    return commands, words


# Running


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class _Variables:
    def __init__(self, values: dict[str, Any], outer: _Variables | None) -> None:
        self.values = values
        self.outer = outer

    def home(self, name: str) -> dict[str, Any]:
        if name in self.values:
            return self.values
        assert self.outer is not None, f"undefined variable {name}"
        return self.outer.home(name)


class _Run:
    def __init__(self, data: Any) -> None:
        self.data = data
        self.out: list[str] = []

    def walk(self, nodes: list[_Node], dot: Any, variables: _Variables) -> None:
        for node in nodes:
            if node.kind == "text":
                self.out.append(node.text)
            elif node.kind == "break":
                raise _Break
            elif node.kind == "continue":
                raise _Continue
            elif node.kind == "value":
                self.out.append(_printed(self.pipe(node.pipe, dot, variables)))
            elif node.kind == "set":
                value = self.pipe(node.pipe, dot, variables)
                (variables.values if node.declares else variables.home(node.names[0]))[node.names[0]] = value
            elif node.kind == "range":
                self.range(node, dot, variables)
            else:
                value = self.pipe(node.pipe, dot, variables)
                inner = _Variables(dict.fromkeys(node.names, value), variables)
                if _true(value):
                    self.walk(node.body or [], value if node.kind == "with" else dot, inner)
                else:
                    self.walk(node.other or [], dot, inner)

    def range(self, node: _Node, dot: Any, variables: _Variables) -> None:
        values = self.pipe(node.pipe, dot, variables)
        for index, value in enumerate(values):
            named = (index, value) if len(node.names) == 2 else (value,)
            inner = _Variables(dict(zip(node.names, named, strict=False)), variables)
            try:
                self.walk(node.body or [], value, inner)
            except _Continue:
                continue
            except _Break:
                break
        if not values:
            self.walk(node.other or [], dot, _Variables({}, variables))

    def pipe(self, commands: list[list[Any]], dot: Any, variables: _Variables) -> Any:
        value: list[Any] = []
        for operands in commands:
            first = operands[0]
            if isinstance(first, str) and first in _FUNCTIONS:
                value = [self.function(first, operands[1:], value, dot, variables)]
            else:
                assert len(operands) == 1 and not value, f"{first} is no function"
                value = [self.operand(first, dot, variables)]
        return value[0]

    def function(self, name: str, operands: list[Any], last: list[Any], dot: Any, variables: _Variables) -> Any:
        if name in ("and", "or"):
            value: Any = None
            for operand in operands:
                value = self.operand(operand, dot, variables)
                if _true(value) == (name == "or"):
                    return value
            return last[0] if last else value
        return _FUNCTIONS[name](*[self.operand(operand, dot, variables) for operand in operands], *last)

    def operand(self, operand: Any, dot: Any, variables: _Variables) -> Any:
        if isinstance(operand, list):
            return self.pipe(operand, dot, variables)
        if isinstance(operand, tuple):
            return _field(self.operand(operand[1], dot, variables), operand[2][1:])
        if operand == ".":
            return dot
        if operand.startswith("."):
            return _field(dot, operand[1:])
        if operand.startswith("$"):
            return variables.home(operand)[operand]
        if operand[0] == "`":
            return operand[1:-1]
        if operand[0] == '"':
            return _unquoted(operand[1:-1])
        if operand in ("true", "false"):
            return operand == "true"
        if operand in _FUNCTIONS:
            return _FUNCTIONS[operand]()
        return int(operand)


def _unquoted(text: str) -> str:
    escapes = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}
    return re.sub(r"\\(.)", lambda match: escapes[match[1]], text)


def _field(value: Any, name: str) -> Any:
    """A missing key of a map is printed as `<no value>`, and false."""
    assert isinstance(value, dict), f"no field {name} in {value!r}"
    return value.get(name)


def _true(value: Any) -> bool:
    return bool(value)


def _printed(value: Any) -> str:
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    assert isinstance(value, (str, int)), f"printed {value!r}"
    return str(value)


def _slice(value: Any, *bounds: int) -> Any:
    start, end = (*bounds, len(value))[:2] if bounds else (0, len(value))
    size = len(value.encode()) if isinstance(value, str) else len(value)
    assert 0 <= start <= end <= size, f"slice {bounds} of {size}"
    return value.encode()[start:end].decode() if isinstance(value, str) else value[start:end]


def _equal(first: Any, *others: Any) -> bool:
    for other in others:
        assert type(first) is type(other), f"incompatible types: {first!r}, {other!r}"
    return first in others


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": lambda *_: None,
    "or": lambda *_: None,
    "not": lambda value: not _true(value),
    "eq": _equal,
    "ne": lambda first, other: not _equal(first, other),
    "lt": lambda first, other: first < other,
    "gt": lambda first, other: first > other,
    "len": lambda value: len(value.encode()) if isinstance(value, str) else len(value),
    "index": lambda value, *keys: value if not keys else value[keys[0]],
    "slice": _slice,
    "print": lambda *values: "".join(map(_printed, values)),
    "printf": lambda form, *values: form % values,
    "currentDate": lambda *_: DATE,
}

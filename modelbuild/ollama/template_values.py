"""What a template may name: the values that Ollama gives it (template/template.go, Execute), and the fields of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from modelbuild.ollama.template import Fault, Token, actions
from modelbuild.tuples import NamedTuple
from modelbuild.words import did_you_mean


class Kind(NamedTuple):
    """A value of which we know what can be asked: its fields by name, or of what it is a list. A field of None may hold anything."""

    noun: str
    fields: Mapping[str, Kind | None]
    of: Kind | None = None


def _list(noun: str, of: Kind) -> Kind:
    return Kind(noun, {"String": None}, of)


_TEXT = Kind("a text", {})
_SCHEMA = Kind("the parameters of a tool", dict.fromkeys(("Type", "Defs", "Items", "Required", "Properties", "String")))
_FUNCTION = Kind("the function of a tool", {"Name": _TEXT, "Description": _TEXT, "Parameters": _SCHEMA, "String": None})
_TOOL = Kind("a tool", {"Type": None, "Items": None, "Function": _FUNCTION, "String": None})
_CALLED = Kind("the function of a tool call", dict.fromkeys(("Index", "Name", "Arguments", "String")))
_CALL = Kind("a tool call", {"ID": _TEXT, "Function": _CALLED})
_MESSAGE = Kind(
    "a message",
    {
        **dict.fromkeys(("Role", "Content", "Thinking", "ToolName", "ToolCallID"), _TEXT),
        "Images": None,
        "ToolCalls": _list("the list of tool calls", _CALL),
    },
)
ROOT = Kind(
    "the values of a template",
    {
        **dict.fromkeys(("System", "Prompt", "Suffix", "Response"), _TEXT),
        **dict.fromkeys(("Think", "ThinkLevel", "IsThinkSet", "Query", "Document", "Instruction")),
        "Messages": _list("the list of messages", _MESSAGE),
        "Tools": _list("the list of tools", _TOOL),
    },
)


@lru_cache(maxsize=64)
def unknown(text: str) -> tuple[Fault, ...]:
    """The names in a template that Ollama gives it nothing for, each once; the template has no fault of its grammar."""
    return _Walk(text).run()


class _Scope(NamedTuple):
    """What `.` and `$` are, and the variables; None is a value of which nothing is known."""

    dot: Kind | None
    variables: dict[str, Kind | None]


class _Walk:
    def __init__(self, text: str) -> None:
        self.actions = list(actions(text))
        # What is assigned anew may hold one thing here and another there.
        self.changing = {
            words[number - 1].text
            for _, words in self.actions
            for number, word in enumerate(words)
            if word.kind == "mark" and word.text == "=" and number
        }
        self.scopes = [_Scope(ROOT, {"$": ROOT})]
        self.found: dict[tuple[str, str], Fault] = {}

    def run(self) -> tuple[Fault, ...]:
        for _, tokens in self.actions:
            first = tokens[0].text if tokens and tokens[0].kind == "word" else ""
            if first in ("if", "with", "range"):
                self.scopes.append(self.inside(first, tokens[1:], self.scopes[-1]))
            elif first in ("define", "block"):
                dot = self.pipeline(tokens[2:], self.scopes[-1]) if first == "block" else None
                self.scopes.append(_Scope(dot, {"$": dot}))
            elif first == "else":
                self.scopes.pop()
                opens = tokens[1].text if len(tokens) > 1 else "if"
                self.scopes.append(self.inside(opens, tokens[2:], self.scopes[-1]))
            elif first == "end":
                self.scopes.pop()
            elif first == "template":
                self.pipeline(tokens[2:], self.scopes[-1])
            elif first not in ("break", "continue"):
                self.pipeline(tokens, self.scopes[-1])
        return tuple(self.found.values())

    def inside(self, keyword: str, tokens: Sequence[Token], outer: _Scope) -> _Scope:
        """The scope between a keyword and its `end` or `else`."""
        scope = _Scope(outer.dot, dict(outer.variables))
        value = self.pipeline(tokens, scope, is_range=keyword == "range")
        if keyword == "range":
            return scope._replace(dot=value.of if value else None)
        return scope._replace(dot=value) if keyword == "with" else scope

    def pipeline(self, tokens: Sequence[Token], scope: _Scope, *, is_range: bool = False) -> Kind | None:
        """Look at all that a pipeline names. Returns what it comes to, and notes what it declares."""
        names: list[str] = []
        at = 0
        while at + 1 < len(tokens) and tokens[at].kind == "variable" and tokens[at + 1].text in (":=", "=", ","):
            names.append(tokens[at].text)
            at += 2
            if tokens[at - 1].text != ",":
                break
        else:
            if names and at < len(tokens) and tokens[at].kind == "variable":
                names.append(tokens[at].text)
        value, _ = self.value(tokens, at, scope)
        for name in names:
            known = value.of if is_range and value else value
            scope.variables[name] = None if name in self.changing or (name != names[-1]) else known
        return value

    def value(self, tokens: Sequence[Token], at: int, scope: _Scope) -> tuple[Kind | None, int]:
        """What a pipeline comes to from `at` to its end or its `)`, and where that is."""
        commands: list[list[tuple[Token, Kind | None]]] = [[]]
        while at < len(tokens) and tokens[at].text != ")":
            token = tokens[at]
            if token.kind == "mark" and token.text == "|":
                commands.append([])
                at += 1
                continue
            kind, at = self.operand(tokens, at, scope)
            commands[-1].append((token, kind))
        (first, kind), *arguments = commands[0] or [(Token("mark", "", 0, False), None)]
        if len(commands) > 1:
            return None, at
        if first.kind == "word" and arguments:
            given = arguments[0][1]
            if first.text == "slice":
                return given, at
            if first.text == "index" and len(arguments) == 2:
                return given.of if given else None, at
            return None, at
        return (kind if not arguments else None), at

    def operand(self, tokens: Sequence[Token], at: int, scope: _Scope) -> tuple[Kind | None, int]:
        token = tokens[at]
        kind: Kind | None = None
        if token.kind == "dot":
            kind = scope.dot
        elif token.kind == "field":
            kind = self.field(scope.dot, token, scope)
        elif token.kind == "variable":
            kind = scope.variables.get(token.text)
        elif token.text == "(" and token.kind == "mark":
            kind, at = self.value(tokens, at + 1, scope)
        at += 1
        while at < len(tokens) and tokens[at].kind == "field" and not tokens[at].spaced:
            kind = self.field(kind, tokens[at], scope)
            at += 1
        return kind, at

    def field(self, kind: Kind | None, token: Token, scope: _Scope) -> Kind | None:
        name = token.text[1:]
        if kind is None or name in kind.fields:
            return kind.fields[name] if kind else None
        hint = did_you_mean(f".{name}", [f".{field}" for field in kind.fields])
        if kind is not ROOT and name in ROOT.fields:
            hint = f"write '$.{name}'" if scope.variables.get("$") is ROOT else hint
        elif kind.of and name in kind.of.fields:
            hint = f"range over them: {{{{ range … }}}}{{{{ .{name} }}}}{{{{ end }}}}"
        elif not hint and kind is ROOT and name in _MESSAGE.fields:
            hint = f"range over the messages: {{{{ range .Messages }}}}{{{{ .{name} }}}}{{{{ end }}}}"
        what = f"Ollama gives a template no '.{name}'" if kind is ROOT else f"{kind.noun} has no '.{name}'"
        self.found.setdefault((kind.noun, name), Fault(token.offset, what, len(token.text), hint))
        return None

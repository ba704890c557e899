"""Render chat templates: the part of Jinja that they use, in bounded time and memory, with nothing of Python in reach.

A chat template comes with the weights, from anyone. This reads what transformers reads (Jinja 3.1 with trim_blocks, lstrip_blocks and loop
controls; utils/chat_template_utils.py of transformers 4.57) as far as chat templates go: anything else is `Unsupported`. Values are text,
numbers, lists and mappings of our own making; a name of a filter, test or method reaches only what stands in the tables below. Every step
and every text made counts against a budget.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from modelbuild.ollama.chat_templates._values import (
    DATE,
    FILTERS,
    GLOBALS,
    LONGEST_TEXT,
    OPERATORS,
    TESTS,
    UNDEFINED,
    Function,
    Loop,
    Namespace,
    Unsupported,
    attribute_of,
    bounded,
    elements,
    item_of,
    printed,
)

LONGEST_TEMPLATE = 1 << 18
"""Characters. The longest published ones have some 20 thousand."""
STEPS = 20_000
"""Expressions evaluated in one rendering; long values count for more."""
DEEPEST = 60
"""Nesting, of statements, expressions and calls of macros."""


Message = Mapping[str, str]


class Template:
    """A chat template, read; raises Unsupported."""

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST_TEMPLATE:
            raise Unsupported("too long")
        if DATE[0] in text or DATE[1] in text:
            raise Unsupported("a mark of a date")
        try:
            self.body = _Parser(_split(text)).body()
        except RecursionError as error:
            raise Unsupported("too deep") from error

    def render(self, messages: Sequence[Message], names: Mapping[str, str]) -> str:
        """Render a conversation as transformers' apply_chat_template(add_generation_prompt=True) does.

        names  further variables: `bos_token`, `eos_token`
        A date comes out as DATE with the format in it. Raises Unsupported or Refused.
        """
        given = {"messages": [dict(message) for message in messages], "add_generation_prompt": True, "tools": None}
        run = _Run()
        scope = _Scope({**GLOBALS, **names, "documents": None, **given}, None)
        out: list[str] = []
        try:
            _execute(self.body, run, scope, out)
        except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
            raise Unsupported(str(error)) from error
        return "".join(out)


# Tags


class _Token(NamedTuple):
    kind: str
    text: str


class _Tag(NamedTuple):
    kind: str
    """text, expression or statement"""
    text: str
    tokens: list[_Token]


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


def _split(text: str) -> Iterator[_Tag]:
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
            yield _Tag("text", before, [])
        if opened[1] == "#":
            closed = _COMMENT_END.search(text, opened.end())
            if closed is None:
                raise Unsupported("comment without end")
            at = _resume(text, closed.end(), closed[1], True)
            continue
        tokens, at, sign = _tokens(text, opened.end(), "}}" if opened[1] == "{" else "%}")
        statement = opened[1] == "%"
        yield _Tag("statement" if statement else "expression", "", tokens)
        at = _resume(text, at, sign, statement)
    if at < len(text):
        yield _Tag("text", text[at:], [])


def _resume(text: str, at: int, sign: str, trims: bool) -> int:
    """Where the text goes on after a tag: `-` takes all blanks, a statement the line's end."""
    if sign == "-":
        while text[at : at + 1].isspace():
            at += 1
    elif trims and sign != "+" and text.startswith("\n", at):
        at += 1
    return at


def _tokens(text: str, at: int, end: str) -> tuple[list[_Token], int, str]:
    tokens: list[_Token] = []
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
        tokens.append(_Token(kind, word))
        at = stop


# Running


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class _Run:
    """What one rendering has used up."""

    def __init__(self) -> None:
        self.steps = 0
        self.written = 0
        self.depth = 0

    def step(self, steps: int = 1) -> None:
        self.steps += steps
        if self.steps > STEPS:
            raise Unsupported("too many steps")

    def handle(self, value: Any) -> None:
        """Count a value that is about to be read or was just made by its length."""
        if isinstance(value, str):
            self.step(len(value) // 64)
        elif isinstance(value, (list, tuple, dict)):
            self.step(len(value))

    def keep(self, value: Any) -> Any:
        """Count a list or mapping that was made by all that it holds, however often: it may be compared or printed."""
        waiting = [value]
        while waiting:
            item = waiting.pop()
            self.step()
            self.handle(item)
            if isinstance(item, dict):
                waiting.extend(item.values())
            elif isinstance(item, (list, tuple)):
                waiting.extend(item)
        return value

    def write(self, out: list[str], text: str) -> None:
        self.written += len(text)
        if self.written > LONGEST_TEXT * 4:
            raise Unsupported("too much text")
        out.append(text)


class _Scope:
    def __init__(self, names: dict[str, Any], outer: _Scope | None) -> None:
        self.names = names
        self.outer = outer

    def get(self, name: str) -> Any:
        scope: _Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.outer
        return UNDEFINED


_Expression = Callable[[_Run, _Scope], Any]
_Statement = Callable[[_Run, _Scope, list[str]], None]


# Reading


class _Parser:
    def __init__(self, tags: Iterable[_Tag]) -> None:
        self.tags = iter(tags)
        self.tokens: list[_Token] = []
        self.at = 0
        self.depth = 0
        self.loops = 0

    # Statements

    def body(self, *ends: str) -> list[_Statement]:
        """Statements up to one of `ends`, whose tag is then the current one; to the end of the template without."""
        statements: list[_Statement] = []
        self.deeper()
        for tag in self.tags:
            self.tokens, self.at = tag.tokens, 0
            if tag.kind == "text":
                statements.append(_written(tag.text))
            elif tag.kind == "expression":
                statements.append(_printed(self.whole(self.expression())))
            else:
                word = self.name()
                if word in ends:
                    self.depth -= 1
                    self.at = 0
                    return statements
                statements.append(self.statement(word))
        if ends:
            raise Unsupported(f"no {ends[-1]}")
        self.depth -= 1
        return statements

    def statement(self, word: str) -> _Statement:
        if word == "if":
            return self.branches()
        if word == "for":
            return self.loop()
        if word == "set":
            return self.assignment()
        if word == "macro":
            return self.macro()
        if word == "generation":
            self.whole(None)
            inner = self.body("endgeneration")
            self.name()
            self.whole(None)
            return _block(inner)
        if word in ("break", "continue") and self.loops:
            self.whole(None)
            return _leaving(_Break if word == "break" else _Continue)
        raise Unsupported(f"statement '{word}'")

    def branches(self) -> _Statement:
        branches: list[tuple[_Expression | None, list[_Statement]]] = []
        condition: _Expression | None = self.whole(self.expression())
        while True:
            branches.append((condition, self.body("elif", "else", "endif")))
            word = self.name()
            if word == "endif":
                self.whole(None)
                return _conditional(branches)
            if condition is None:
                raise Unsupported("else after else")
            condition = self.whole(self.expression() if word == "elif" else None)

    def loop(self) -> _Statement:
        targets = self.targets()
        self.expect("in")
        items = self.expression(conditional=False)
        only = self.expression() if self.take("if") else None
        self.whole(None)
        self.loops += 1
        inner = self.body("else", "endfor")
        self.loops -= 1
        otherwise: list[_Statement] = []
        if self.name() == "else":
            self.whole(None)
            otherwise = self.body("endfor")
            self.name()
        self.whole(None)
        return _looping(targets, items, only, inner, otherwise)

    def targets(self) -> list[str]:
        wrapped = self.take("(")
        names = [self.name()]
        while self.take(","):
            names.append(self.name())
        if wrapped:
            self.expect(")")
        return names

    def assignment(self) -> _Statement:
        target = self.name()
        attribute = self.name() if self.take(".") else None
        if self.take("="):
            return _assigned(target, attribute, self.whole(self.expression(sequence=True)))
        self.whole(None)
        inner = self.body("endset")
        self.name()
        self.whole(None)
        return _assigned(target, attribute, _captured(inner))

    def macro(self) -> _Statement:
        name = self.name()
        self.expect("(")
        parameters: list[tuple[str, _Expression | None]] = []
        while not self.take(")"):
            parameters.append((self.name(), self.expression() if self.take("=") else None))
            if not self.take(","):
                self.expect(")")
                break
        self.whole(None)
        loops, self.loops = self.loops, 0
        inner = self.body("endmacro")
        self.name()
        self.whole(None)
        self.loops = loops
        return _defined(name, parameters, inner)

    # Tokens

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise Unsupported("too deep")

    def peek(self) -> _Token:
        return self.tokens[self.at] if self.at < len(self.tokens) else _Token("end", "")

    def take(self, *words: str) -> str:
        token = self.peek()
        if token.text in words and token.kind in ("name", "mark"):
            self.at += 1
            return token.text
        return ""

    def expect(self, word: str) -> None:
        if not self.take(word):
            raise Unsupported(f"expected '{word}', got '{self.peek().text}'")

    def name(self) -> str:
        token = self.peek()
        if token.kind != "name":
            raise Unsupported(f"expected a name, got '{token.text}'")
        self.at += 1
        return token.text

    def whole(self, value: Any) -> Any:
        """Check that nothing is left in the tag."""
        if self.at < len(self.tokens):
            raise Unsupported(f"unexpected '{self.peek().text}'")
        return value

    # Expressions, weakest first

    def expression(self, sequence: bool = False, conditional: bool = True) -> _Expression:
        self.deeper()
        value = self.choice() if conditional else self.alternatives()
        if sequence and self.peek().text == "," and self.peek().kind == "mark":
            values = [value]
            while self.take(","):
                values.append(self.choice())
            value = _listed(values)
        self.depth -= 1
        return value

    def choice(self) -> _Expression:
        value = self.alternatives()
        while self.take("if"):
            condition = self.alternatives()
            other = self.expression() if self.take("else") else _constant(UNDEFINED)
            value = _either(condition, value, other)
        return value

    def alternatives(self) -> _Expression:
        value = self.conditions()
        while self.take("or"):
            value = _or(value, self.conditions())
        return value

    def conditions(self) -> _Expression:
        value = self.negation()
        while self.take("and"):
            value = _and(value, self.negation())
        return value

    def negation(self) -> _Expression:
        if self.take("not"):
            self.deeper()
            value = _not(self.negation())
            self.depth -= 1
            return value
        return self.comparison()

    def comparison(self) -> _Expression:
        first = self.sum()
        rest: list[tuple[str, _Expression]] = []
        while True:
            word = self.take("==", "!=", "<", "<=", ">", ">=", "in")
            if (
                not word
                and self.peek().text == "not"
                and self.tokens[self.at + 1 : self.at + 2] == [_Token("name", "in")]
            ):
                self.at += 2
                word = "not in"
            if not word:
                return _compared(first, rest) if rest else first
            rest.append((word, self.sum()))

    def sum(self) -> _Expression:
        value = self.joined()
        while word := self.take("+", "-"):
            value = _operation(word, value, self.joined())
        return value

    def joined(self) -> _Expression:
        parts = [self.product()]
        while self.take("~"):
            parts.append(self.product())
        return _concatenated(parts) if len(parts) > 1 else parts[0]

    def product(self) -> _Expression:
        value = self.unary()
        while word := self.take("*", "/", "//", "%"):
            value = _operation(word, value, self.unary())
        return value

    def unary(self, filters: bool = True) -> _Expression:
        if self.take("-"):
            self.deeper()
            value = _negative(self.unary(False))
            self.depth -= 1
        else:
            value = self.postfix(self.primary())
        return self.filtered(value) if filters else value

    def primary(self) -> _Expression:
        token = self.peek()
        self.at += 1
        if token.kind == "name":
            if token.text.lower() in ("true", "false", "none") and token.text[1:] == token.text[1:].lower():
                return _constant({"true": True, "false": False, "none": None}[token.text.lower()])
            if token.text in ("if", "else", "and", "or", "not", "in", "is"):
                raise Unsupported(f"unexpected '{token.text}'")
            return _named(token.text)
        if token.kind == "string":
            text = _unquoted(token.text)
            while self.peek().kind == "string":
                text += _unquoted(self.peek().text)
                self.at += 1
            return _constant(text)
        if token.kind in ("int", "float"):
            if len(token.text) > 18:
                raise Unsupported("too large a number")
            return _constant(int(token.text) if token.kind == "int" else float(token.text))
        if token == _Token("mark", "("):
            return self.parenthesis()
        if token == _Token("mark", "["):
            return _listed(self.arguments("]")[0])
        if token == _Token("mark", "{"):
            return self.mapping()
        raise Unsupported(f"unexpected '{token.text}'")

    def parenthesis(self) -> _Expression:
        if self.take(")"):
            return _listed([])
        first = self.expression()
        if self.take(")"):
            return first
        self.expect(",")
        return _listed([first, *self.arguments(")")[0]])

    def mapping(self) -> _Expression:
        pairs: list[tuple[_Expression, _Expression]] = []
        while not self.take("}"):
            key = self.expression()
            self.expect(":")
            pairs.append((key, self.expression()))
            if not self.take(","):
                self.expect("}")
                break
        return lambda run, scope: run.keep({key(run, scope): value(run, scope) for key, value in pairs})

    def arguments(self, end: str) -> tuple[list[_Expression], dict[str, _Expression]]:
        """Values up to a closing bracket; with `name=value` ones in a call."""
        values: list[_Expression] = []
        named: dict[str, _Expression] = {}
        while not self.take(end):
            is_named = self.peek().kind == "name" and self.tokens[self.at + 1 : self.at + 2] == [_Token("mark", "=")]
            if is_named and end == ")":
                name = self.name()
                self.expect("=")
                named[name] = self.expression()
            else:
                values.append(self.expression())
            if not self.take(","):
                self.expect(end)
                break
        return values, named

    def postfix(self, value: _Expression) -> _Expression:
        while word := self.take(".", "[", "("):
            if word == ".":
                token = self.peek()
                if token.kind == "int":
                    self.at += 1
                    value = _element(value, _constant(int(token.text)))
                else:
                    value = _member(value, self.name())
            elif word == "[":
                value = self.subscript(value)
            else:
                value = _called(value, *self.arguments(")"))
        return value

    def subscript(self, value: _Expression) -> _Expression:
        bounds: list[_Expression | None] = [None]
        if self.peek().text != ":":
            key = self.expression()
            if self.take("]"):
                return _element(value, key)
            bounds[0] = key
        while self.take(":") and len(bounds) < 3:
            bounds.append(None if self.peek().text in (":", "]") and self.peek().kind == "mark" else self.expression())
        self.expect("]")
        return _sliced(value, bounds)

    def filtered(self, value: _Expression) -> _Expression:
        while word := self.take("|", "is", "("):
            if word == "|":
                name = self.name()
                given = self.arguments(")") if self.take("(") else ([], {})
                value = _applied(FILTERS, "filter", name, value, *given)
            elif word == "(":
                value = _called(value, *self.arguments(")"))
            else:
                value = self.test(value)
        return value

    def test(self, value: _Expression) -> _Expression:
        negated = bool(self.take("not"))
        name = self.name()
        token = self.peek()
        arguments: tuple[list[_Expression], dict[str, _Expression]] = ([], {})
        if self.take("("):
            arguments = self.arguments(")")
        elif (
            token.kind in ("string", "int", "float")
            or (token.kind == "mark" and token.text in "[{")
            or (token.kind == "name" and token.text not in ("else", "or", "and", "is", "if", "in", "not"))
        ):
            arguments = ([self.postfix(self.primary())], {})
        result = _applied(TESTS, "test", name, value, *arguments)
        return _not(result) if negated else result


_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{1,3}|.)", re.DOTALL)
_ESCAPES = {
    "n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"', "\n": "", "a": "\a", "b": "\b", "f": "\f", "v": "\v"
}  # fmt: skip


def _unquoted(word: str) -> str:
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


# What the reader makes: functions of the run and the names in scope


def _written(text: str) -> _Statement:
    return lambda run, scope, out: run.write(out, text)


def _printed(value: _Expression) -> _Statement:
    return lambda run, scope, out: run.write(out, printed(value(run, scope)))


def _execute(statements: Sequence[_Statement], run: _Run, scope: _Scope, out: list[str]) -> None:
    for statement in statements:
        run.step()
        statement(run, scope, out)


def _block(inner: list[_Statement]) -> _Statement:
    return lambda run, scope, out: _execute(inner, run, scope, out)


def _leaving(by: type[Exception]) -> _Statement:
    def leave(run: _Run, scope: _Scope, out: list[str]) -> None:
        raise by

    return leave


def _conditional(branches: list[tuple[_Expression | None, list[_Statement]]]) -> _Statement:
    def execute(run: _Run, scope: _Scope, out: list[str]) -> None:
        for condition, inner in branches:
            if condition is None or condition(run, scope):
                _execute(inner, run, scope, out)
                return

    return execute


def _looping(
    targets: list[str],
    items: _Expression,
    only: _Expression | None,
    inner: list[_Statement],
    otherwise: list[_Statement],
) -> _Statement:
    def named(item: Any) -> dict[str, Any]:
        if len(targets) == 1:
            return {targets[0]: item}
        values = elements(item)
        if len(values) != len(targets):
            raise ValueError("unpacking")
        return dict(zip(targets, values, strict=True))

    def execute(run: _Run, scope: _Scope, out: list[str]) -> None:
        values = []
        for item in elements(items(run, scope)):
            run.step()
            if only is None or only(run, _Scope(named(item), scope)):
                values.append(item)
        loop = Loop(values)
        for loop.at, item in enumerate(values):
            try:
                _execute(inner, run, _Scope({"loop": loop, **named(item)}, scope), out)
            except _Continue:
                continue
            except _Break:
                break
        if not values:
            _execute(otherwise, run, _Scope({}, scope), out)

    return execute


def _assigned(target: str, attribute: str | None, value: _Expression) -> _Statement:
    def execute(run: _Run, scope: _Scope, out: list[str]) -> None:
        if attribute is None:
            scope.names[target] = value(run, scope)
            return
        space = scope.get(target)
        if not isinstance(space, Namespace):
            raise TypeError("not a namespace")
        space.values[attribute] = value(run, scope)

    return execute


def _captured(inner: list[_Statement]) -> _Expression:
    def evaluate(run: _Run, scope: _Scope) -> str:
        out: list[str] = []
        _execute(inner, run, _Scope({}, scope), out)
        return "".join(out)

    return evaluate


def _defined(name: str, parameters: list[tuple[str, _Expression | None]], inner: list[_Statement]) -> _Statement:
    def execute(run: _Run, scope: _Scope, out: list[str]) -> None:
        names = [parameter for parameter, _ in parameters]

        def call(*given: Any, **named: Any) -> str:
            if len(given) > len(names) or not named.keys() <= set(names[len(given) :]):
                raise TypeError("arguments")
            run.depth += 1
            if run.depth > DEEPEST // 3:
                raise Unsupported("too deep")
            values = {**dict(zip(names, given, strict=False)), **named}
            local = _Scope({}, scope)
            for parameter, default in parameters:
                if parameter in values:
                    local.names[parameter] = values[parameter]
                else:
                    local.names[parameter] = default(run, local) if default else UNDEFINED
            text: list[str] = []
            _execute(inner, run, local, text)
            run.depth -= 1
            return "".join(text)

        scope.names[name] = Function(call)

    return execute


def _constant(value: Any) -> _Expression:
    return lambda run, scope: value


def _named(name: str) -> _Expression:
    return lambda run, scope: scope.get(name)


def _listed(values: list[_Expression]) -> _Expression:
    return lambda run, scope: run.keep([value(run, scope) for value in values])


def _either(condition: _Expression, value: _Expression, other: _Expression) -> _Expression:
    return lambda run, scope: value(run, scope) if condition(run, scope) else other(run, scope)


def _or(left: _Expression, right: _Expression) -> _Expression:
    return lambda run, scope: left(run, scope) or right(run, scope)


def _and(left: _Expression, right: _Expression) -> _Expression:
    return lambda run, scope: left(run, scope) and right(run, scope)


def _not(value: _Expression) -> _Expression:
    return lambda run, scope: not value(run, scope)


def _negative(value: _Expression) -> _Expression:
    return lambda run, scope: -value(run, scope)


def _compared(first: _Expression, rest: list[tuple[str, _Expression]]) -> _Expression:
    def evaluate(run: _Run, scope: _Scope) -> bool:
        left = first(run, scope)
        for word, value in rest:
            run.step()
            right = value(run, scope)
            run.handle(right)
            if not OPERATORS[word](left, right):
                return False
            left = right
        return True

    return evaluate


def _operation(word: str, left: _Expression, right: _Expression) -> _Expression:
    operator = OPERATORS[word]

    def evaluate(run: _Run, scope: _Scope) -> Any:
        run.step()
        operands = left(run, scope), right(run, scope)
        for operand in operands:
            run.handle(operand)
        result = bounded(operator(*operands))
        return run.keep(result) if isinstance(result, (list, tuple)) else result

    return evaluate


def _concatenated(parts: list[_Expression]) -> _Expression:
    def evaluate(run: _Run, scope: _Scope) -> Any:
        run.step()
        return bounded("".join(printed(part(run, scope)) for part in parts))

    return evaluate


def _member(value: _Expression, name: str) -> _Expression:
    def evaluate(run: _Run, scope: _Scope) -> Any:
        run.step()
        return attribute_of(value(run, scope), name)

    return evaluate


def _element(value: _Expression, key: _Expression) -> _Expression:
    def evaluate(run: _Run, scope: _Scope) -> Any:
        run.step()
        return item_of(value(run, scope), key(run, scope))

    return evaluate


def _sliced(value: _Expression, bounds: list[_Expression | None]) -> _Expression:
    def evaluate(run: _Run, scope: _Scope) -> Any:
        run.step()
        whole = value(run, scope)
        numbers = [bound and bound(run, scope) for bound in bounds]
        if not isinstance(whole, (str, list, tuple)):
            raise TypeError("a slice of neither text nor list")
        run.handle(whole)
        return whole[slice(*numbers)]

    return evaluate


def _called(function: _Expression, values: list[_Expression], named: dict[str, _Expression]) -> _Expression:
    def evaluate(run: _Run, scope: _Scope) -> Any:
        run.step()
        called = function(run, scope)
        if not isinstance(called, Function):
            raise TypeError("not callable")
        given = {name: value(run, scope) for name, value in named.items()}
        result = bounded(called.call(*[value(run, scope) for value in values], **given))
        run.handle(result)
        return result

    return evaluate


def _applied(
    table: Mapping[str, Callable[..., Any]],
    what: str,
    name: str,
    value: _Expression,
    values: list[_Expression],
    named: dict[str, _Expression],
) -> _Expression:
    def evaluate(run: _Run, scope: _Scope) -> Any:
        run.step()
        if name not in table:
            raise Unsupported(f"{what} '{name}'")
        given = {word: argument(run, scope) for word, argument in named.items()}
        subject = value(run, scope)
        run.handle(subject)
        return bounded(table[name](subject, *[argument(run, scope) for argument in values], **given))

    return evaluate

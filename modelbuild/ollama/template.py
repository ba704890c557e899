"""Check that a TEMPLATE is a Go template: with one that is not, Ollama can neither show nor run the model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from modelbuild.errors import Error
from modelbuild.ollama.go_number import is_number
from modelbuild.tuples import NamedTuple
from modelbuild.words import did_you_mean

FUNCTIONS = frozenset(
    ("and", "or", "not", "len", "index", "slice", "print", "printf", "println", "html", "js", "urlquery", "call", "eq",
     "ne", "lt", "le", "gt", "ge", "json", "currentDate", "yesterdayDate", "toTypeScriptType")
)  # fmt: skip
"""Go's own (text/template/funcs.go) and those that Ollama adds (template/template.go)."""

KEYWORDS = frozenset(("if", "else", "end", "range", "with", "define", "block", "template", "break", "continue"))


WORDS = 10_000
"""Of all actions of a template together, ten times as many as in the longest that models have: who writes more is wrong or hostile."""


class Fault(NamedTuple):
    """What is wrong, and where in the text."""

    offset: int
    what: str
    width: int = 1
    hint: str | None = None


def placed(
    fault: Fault, text: str, path: str | None = None, line: int = 1, column: int = 1, source: str | None = None
) -> Error:
    """The error for a fault of a template that begins at a line and column of `path`; `source` is that line, if it holds more."""
    row = text.count("\n", 0, fault.offset)
    start = text.rfind("\n", 0, fault.offset) + 1
    if row or source is None:
        end = text.find("\n", fault.offset)
        source = text[start : end if end >= 0 else len(text)]
    return Error(
        f"template: {fault.what}", path=path, line=line + row, column=fault.offset - start + (1 if row else column),
        source=source, width=fault.width, hint=fault.hint,
    )  # fmt: skip


@lru_cache(maxsize=64)
def find_fault(text: str) -> Fault | None:
    """The first thing for which Go would not parse a template (text/template/parse, lex.go and parse.go).

    Many Modelfiles share one template, so answers are kept.
    """
    try:
        _Checker(text).run()
    except _Found as found:
        return found.fault
    return None


def actions(text: str) -> Iterator[tuple[int, list[Token]]]:
    """The actions of a template without a fault: where each opens, and its words."""
    return _Checker(text).actions()


def pieces(text: str) -> Iterator[str | list[Token]]:
    """What a template without a fault prints and does, in order: texts as its actions have trimmed them, and the words of actions."""
    checker, at, trims = _Checker(text), 0, False
    while (start := text.find("{{", at)) >= 0:
        before = text[at:start].lstrip(_BLANKS) if trims else text[at:start]
        yield before.rstrip(_BLANKS) if _TRIM.match(text, start + 2) else before
        if comment := _COMMENT.match(text, start + 2):
            at = checker.comment_end(start, comment.end())
        else:
            tokens, at = checker.tokens(start)
            yield tokens
        trims = text[at - 3] == "-" and text[at - 4] in _BLANKS
    yield text[at:].lstrip(_BLANKS) if trims else text[at:]


class _Found(Exception):
    def __init__(self, fault: Fault) -> None:
        self.fault = fault


class Token(NamedTuple):
    kind: str
    text: str
    offset: int
    spaced: bool
    """Whether a blank stands before it."""


class _Open:
    """A control structure that waits for its end. `define` and `block` are templates of their own."""

    def __init__(self, kind: str, offset: int, variables: list[str]) -> None:
        self.kind = kind
        self.offset = offset
        self.variables = variables
        self.known = len(variables)
        self.in_else = False


_BLANKS = " \t\r\n"
_COMMENT = re.compile(r"(?:-[ \t\r\n])?/\*")
_COMMENT_END = re.compile(r"(?:[ \t\r\n]-)?\}\}")
_TRIM = re.compile(r"-(?=[ \t\r\n])")
_ACTION_END = re.compile(r"(?:[ \t\r\n]*[ \t\r\n]-|[ \t\r\n]*)\}\}")
_TOKEN = re.compile(
    r"[ \t\r\n]*(?:"
    r'(?P<string>"(?:[^"\\\n]|\\[^\n])*"|`[^`]*`)'
    r"|(?P<number>'(?:[^'\\\n]|\\[^\n])*'|[+-]?(?:0[xX][0-9a-fA-F_]*+\.?+[0-9a-fA-F_]*+(?:[pP][+-]?+[0-9_]*+)?+"
    r"|(?=[0-9]|\.[0-9])[0-9_]*+(?:[oObB][0-9_]*+)?+\.?+[0-9_]*+(?:[eE][+-]?+[0-9_]*+)?+)(?:[+-][0-9a-zA-Z_.]++(?:(?<=[eEpP])[+-][0-9_]*+i?+)?+)?+i?+(?!\w))"
    r"|(?P<field>\.[^\W\d]\w*)"
    r"|(?P<variable>\$\w*)"
    r"|(?P<word>[^\W\d]\w*)"
    r"|(?P<mark>:=|[=,|().])"
    r")"
)
_NAME_ENDS = " \t\r\n.,|:)("
_ESCAPE = re.compile(r'\\(?:[abfnrtv\\"]|[0-3][0-7]{2}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})')
_OPENS = ("if", "range", "with")
_LITERALS = ("string", "number", "literal", "dot")


class _Checker:
    def __init__(self, text: str) -> None:
        self.text = text
        self.stack: list[_Open] = []
        self.variables = ["$"]
        self.left = WORDS

    def run(self) -> None:
        for position, tokens in self.actions():
            self.action(position, tokens)
        if self.stack:
            opened = self.stack[-1]
            raise self.found(opened.offset, f"'{{{{ {opened.kind} … }}}}' has no '{{{{ end }}}}'", 2)

    def found(self, offset: int, what: str, width: int = 1, hint: str | None = None) -> _Found:
        if hint is None and "{%" in self.text:
            hint = "this looks like a Jinja template; TEMPLATE takes a Go template"
        return _Found(Fault(offset, what, width, hint))

    # Words

    def actions(self) -> Iterator[tuple[int, list[Token]]]:
        """Where each action opens, and its words."""
        text = self.text
        position = text.find("{{")
        while position >= 0:
            comment = _COMMENT.match(text, position + 2)
            if comment is not None:
                end = self.comment_end(position, comment.end())
            else:
                tokens, end = self.tokens(position)
                yield position, tokens
            position = text.find("{{", end)

    def comment_end(self, start: int, inside: int) -> int:
        close = self.text.find("*/", inside)
        if close < 0:
            raise self.found(start, "comment is never closed", 2, "a comment ends with '*/}}'")
        end = _COMMENT_END.match(self.text, close + 2)
        if end is None:
            raise self.found(close, "a comment must end right before '}}'", 2)
        return end.end()

    def tokens(self, start: int) -> tuple[list[Token], int]:
        """The words of the action that opens at `start`, and where the text goes on."""
        text = self.text
        tokens: list[Token] = []
        position = start + 2
        if trim := _TRIM.match(text, position):
            position = trim.end()
        while (end := _ACTION_END.match(text, position)) is None:
            match = _TOKEN.match(text, position)
            if match is None:
                raise self.no_token(start, position)
            kind = str(match.lastgroup)
            word = match[kind]
            offset = match.start(kind)
            if kind in ("word", "field", "variable"):
                self.check_end_of_name(word, match.end())
            elif word[0] == "'":
                self.check_character(word, offset)
            elif kind == "number" and not is_number(word):
                raise self.found(offset, f"malformed number '{word}'", len(word))
            elif word[0] == '"':
                self.check_escapes(word, offset)
            if kind == "word" and word in ("true", "false", "nil"):
                kind = "literal"
            elif word == ".":
                kind = "dot"
            tokens.append(Token(kind, word, offset, offset > position))
            self.left -= 1
            if self.left < 0:
                hint = "texts of any length may stand between actions"
                raise self.found(offset, f"more than {WORDS:,} words in its actions", len(word), hint)
            position = match.end()
        return tokens, end.end()

    def no_token(self, start: int, position: int) -> _Found:
        text = self.text
        while text[position : position + 1] in (" ", "\t", "\r", "\n"):
            position += 1
        char = text[position : position + 1]
        if not char:
            return self.found(start, "'{{' is never closed", 2)
        if char in "\"`'":
            return self.found(position, f"text in {char} is never closed")
        if text.startswith("-}}", position):
            return self.found(position, "expected a space before '-}}'", 3)
        hint = "'{{-' needs a space after it" if char == "-" and position == start + 2 else None
        return self.found(position, f"unexpected '{char}' in an action", hint=hint)

    def check_end_of_name(self, word: str, end: int) -> None:
        after = self.text[end : end + 1]
        if after and after not in _NAME_ENDS and not self.text.startswith("}}", end):
            raise self.found(end, f"unexpected '{after}' after '{word}'")

    def check_character(self, word: str, offset: int) -> None:
        if len(word) != 3 and (word[1:2] != "\\" or word == "'\\'"):
            raise self.found(offset, f"malformed character {word}", len(word), "text needs double quotes")

    def check_escapes(self, word: str, offset: int) -> None:
        if "\\" in word:
            rest = _ESCAPE.sub(lambda match: "_" * len(match[0]), word)
            if (at := rest.find("\\")) >= 0:
                raise self.found(offset + at, f"unknown escape '{rest[at : at + 2]}'", 2)

    # Actions

    def action(self, start: int, tokens: list[Token]) -> None:
        first = tokens[0] if tokens else None
        if first is None or first.kind != "word" or first.text not in KEYWORDS:
            self.pipeline(start, tokens, "action")
            return
        keyword, rest = first.text, tokens[1:]
        if keyword in _OPENS:
            self.stack.append(_Open(keyword, start, self.variables))
            self.pipeline(start, rest, keyword)
        elif keyword == "else":
            self.otherwise(start, first, rest)
        elif keyword == "end":
            self.nothing_after(first, rest)
            self.close(first)
        elif keyword in ("break", "continue"):
            self.nothing_after(first, rest)
            self.check_in_range(first)
        else:
            self.named(start, first, rest)

    def otherwise(self, start: int, word: Token, rest: list[Token]) -> None:
        opened = self.stack[-1] if self.stack else None
        if opened is None or opened.kind not in _OPENS or opened.in_else:
            raise self.found(word.offset, "'else' has no 'if', 'range' or 'with'", 4)
        if not rest:
            opened.in_else = True
        elif rest[0].kind == "word" and rest[0].text == opened.kind and opened.kind != "range":
            self.pipeline(start, rest[1:], opened.kind)
        else:
            self.nothing_after(word, rest)

    def close(self, word: Token) -> None:
        if not self.stack:
            raise self.found(word.offset, "'end' has nothing to close", 3)
        opened = self.stack.pop()
        self.variables = opened.variables
        del self.variables[opened.known :]

    def check_in_range(self, word: Token) -> None:
        for opened in reversed(self.stack):
            if opened.kind in ("define", "block"):
                break
            if opened.kind == "range" and not opened.in_else:
                return
        raise self.found(word.offset, f"'{word.text}' outside of 'range'", len(word.text))

    def named(self, start: int, word: Token, rest: list[Token]) -> None:
        """`define "name"`, `block "name" value` and `template "name" value`."""
        if not rest or rest[0].kind != "string":
            at = rest[0] if rest else word
            raise self.found(at.offset, f"'{word.text}' expects a name in double quotes", len(at.text))
        if word.text == "define":
            self.nothing_after(rest[0], rest[1:])
            if self.stack:
                raise self.found(word.offset, f"'define' inside of '{self.stack[-1].kind}'", len(word.text))
        else:
            self.pipeline(start, rest[1:], word.text)
        if word.text != "template":
            self.stack.append(_Open(word.text, start, self.variables))
            self.variables = ["$"]

    def nothing_after(self, word: Token, rest: list[Token]) -> None:
        if rest:
            what = f"unexpected '{rest[0].text}' after '{word.text}'"
            raise self.found(rest[0].offset, what, len(rest[0].text))

    # Values

    def pipeline(self, start: int, tokens: list[Token], context: str) -> None:
        """Check `value | function | …`, with the declarations before it and the parentheses in it."""
        parens: list[tuple[Token, _Stage]] = []
        stage = _Stage()
        index = 0
        before: Token | None = None
        while index < len(tokens):
            if stage.fresh and (skip := self.declarations(tokens, index, context if not parens else "(…)")):
                index += skip
                stage.fresh = False
                before = None
                continue
            token = tokens[index]
            kind, word = token.kind, token.text
            index += 1
            stage.fresh = False
            if kind == "mark" and word == "|":
                if not stage.arguments:
                    raise self.found(token.offset, "nothing comes before '|'")
                stage.arguments, stage.first = 0, False
                before = None
                continue
            if kind == "mark" and word == ")":
                if not parens:
                    raise self.found(token.offset, "')' without '('")
                if stage.first and not stage.arguments:
                    raise self.found(token.offset, "'()' is empty")
                opening, stage = parens.pop()
                before = opening._replace(text="(…)")
                continue
            if kind == "field" and before is not None and not token.spaced:
                if before.kind in _LITERALS:
                    raise self.found(token.offset, f"unexpected '{word}' after '{before.text}'", len(word))
                continue
            if (kind == "mark" and word != "(") or (before is not None and not token.spaced):
                behind = f" after '{before.text}'" if before is not None else ""
                hint = (
                    'a function\'s arguments are set apart by blanks: {{ eq .Role "user" }}' if word in "(," else None
                )
                raise self.found(token.offset, f"unexpected '{word}'{behind}", len(word), hint)
            self.check_operand(token)
            if not stage.first and not stage.arguments and kind in _LITERALS:
                raise self.found(token.offset, f"expected a function after '|', got '{word}'", len(word))
            stage.arguments += 1
            before = token
            if word == "(" and kind == "mark":
                parens.append((token, stage))
                stage = _Stage()
                before = None
        if parens:
            raise self.found(parens[-1][0].offset, "'(' is never closed")
        if stage.first and not stage.arguments:
            what = f"'{context}' has no value" if context != "action" else "'{{ }}' is empty"
            hint = 'Ollama needs one, as in {{ template "name" . }}' if context == "template" else None
            raise self.found(start, what, 2, hint)

    def declarations(self, tokens: list[Token], index: int, context: str) -> int:
        """Take `$x :=`, `$x =` and, in a range, `$i, $x :=` (or `$i,` alone); how many tokens they were."""
        words = [token.text if token.kind in ("variable", "mark") else "" for token in tokens[index : index + 4]]
        words += [""] * (4 - len(words))
        if not words[0].startswith("$"):
            return 0
        if words[1] in (":=", "="):
            self.variables.append(words[0])
            return 2
        if context != "range" or words[1] != "," or not words[2].startswith("$"):
            return 0
        self.variables.append(words[0])
        if words[3] not in (":=", "="):
            return 2
        self.variables.append(words[2])
        return 4

    def check_operand(self, token: Token) -> None:
        word, width = token.text, len(token.text)
        if token.kind == "variable" and word not in self.variables:
            raise self.found(token.offset, f"undefined variable '{word}'", width, did_you_mean(word, self.variables))
        if token.kind == "word" and word not in FUNCTIONS:
            if word in KEYWORDS:
                raise self.found(token.offset, f"unexpected '{word}'", width)
            hint = f"write '.{word}'" if word[0].isupper() else did_you_mean(word, FUNCTIONS)
            raise self.found(token.offset, f"no function '{word}'", width, hint)


class _Stage:
    """Where a pipeline stands: at its beginning, in its first command or a later one, after how many arguments."""

    def __init__(self) -> None:
        self.fresh = True
        self.first = True
        self.arguments = 0

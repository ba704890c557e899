"""Statements: the tags of a template become nodes."""

from __future__ import annotations

from collections.abc import Iterable

from modelbuild.ollama.jinja import nodes
from modelbuild.ollama.jinja.expressions import Expressions
from modelbuild.ollama.jinja.lexer import Tag
from modelbuild.ollama.jinja.nodes import Expression, Statement
from modelbuild.ollama.jinja.values import Unsupported


class Parser(Expressions):
    """Reads statements, tag by tag."""

    def __init__(self, tags: Iterable[Tag]) -> None:
        super().__init__()
        self.tags = iter(tags)
        self.loops = 0

    def body(self, *ends: str) -> list[Statement]:
        """Statements up to one of `ends`, whose tag is then the current one; to the end of the template without."""
        statements: list[Statement] = []
        self.deeper()
        for tag in self.tags:
            self.tokens, self.at = tag.tokens, 0
            if tag.kind == "text":
                statements.append(nodes.written(tag.text))
            elif tag.kind == "expression":
                statements.append(nodes.output(self.whole(self.expression())))
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

    def statement(self, word: str) -> Statement:
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
            return nodes.block(inner)
        if word in ("break", "continue") and self.loops:
            self.whole(None)
            return nodes.leaving(nodes.Break if word == "break" else nodes.Continue)
        raise Unsupported(f"statement '{word}'")

    def branches(self) -> Statement:
        branches: list[tuple[Expression | None, list[Statement]]] = []
        condition: Expression | None = self.whole(self.expression())
        while True:
            branches.append((condition, self.body("elif", "else", "endif")))
            word = self.name()
            if word == "endif":
                self.whole(None)
                return nodes.conditional(branches)
            if condition is None:
                raise Unsupported("else after else")
            condition = self.whole(self.expression() if word == "elif" else None)

    def loop(self) -> Statement:
        targets = self.targets()
        self.expect("in")
        items = self.expression(conditional=False)
        only = self.expression() if self.take("if") else None
        self.whole(None)
        self.loops += 1
        inner = self.body("else", "endfor")
        self.loops -= 1
        otherwise: list[Statement] = []
        if self.name() == "else":
            self.whole(None)
            otherwise = self.body("endfor")
            self.name()
        self.whole(None)
        return nodes.looping(targets, items, only, inner, otherwise)

    def targets(self) -> list[str]:
        wrapped = self.take("(")
        names = [self.name()]
        while self.take(","):
            names.append(self.name())
        if wrapped:
            self.expect(")")
        return names

    def assignment(self) -> Statement:
        target = self.name()
        attribute = self.name() if self.take(".") else None
        if self.take("="):
            return nodes.assigned(target, attribute, self.whole(self.expression(sequence=True)))
        self.whole(None)
        inner = self.body("endset")
        self.name()
        self.whole(None)
        return nodes.assigned(target, attribute, nodes.captured(inner))

    def macro(self) -> Statement:
        name = self.name()
        self.expect("(")
        parameters: list[tuple[str, Expression | None]] = []
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
        return nodes.defined(name, parameters, inner)

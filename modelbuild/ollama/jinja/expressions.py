"""Expressions: the tokens of a tag become nodes."""

from __future__ import annotations

from typing import Any

from modelbuild.ollama.jinja import nodes
from modelbuild.ollama.jinja.functions import FILTERS, TESTS
from modelbuild.ollama.jinja.lexer import Token, unquoted
from modelbuild.ollama.jinja.nodes import Expression
from modelbuild.ollama.jinja.run import DEEPEST
from modelbuild.ollama.jinja.values import UNDEFINED, Unsupported


class Tokens:
    """The tokens of the tag that is being read, and how deep in statements and expressions that is."""

    def __init__(self) -> None:
        self.tokens: list[Token] = []
        self.at = 0
        self.depth = 0

    def deeper(self) -> None:
        """Go one level in; what goes in takes `depth` back when it is through. Raises Unsupported past DEEPEST."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise Unsupported("too deep")

    def peek(self) -> Token:
        """The next token; one of kind `end` behind the last."""
        return self.tokens[self.at] if self.at < len(self.tokens) else Token("end", "")

    def take(self, *words: str) -> str:
        """Take the next token where it is one of some words or marks; empty where it is not."""
        token = self.peek()
        if token.text in words and token.kind in ("name", "mark"):
            self.at += 1
            return token.text
        return ""

    def expect(self, word: str) -> None:
        if not self.take(word):
            raise Unsupported(f"expected '{word}', got '{self.peek().text}'")

    def name(self) -> str:
        """Take a name. Raises Unsupported for anything else."""
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


class Expressions(Tokens):
    """Reads expressions; a method for each level of precedence, the weakest first."""

    def expression(self, sequence: bool = False, conditional: bool = True) -> Expression:
        """Any expression.

        sequence     whether `a, b` is one, a list
        conditional  whether `a if b` is one: the items of a loop end before its `if`
        """
        self.deeper()
        value = self.choice() if conditional else self.alternatives()
        if sequence and self.peek().text == "," and self.peek().kind == "mark":
            values = [value]
            while self.take(","):
                values.append(self.choice())
            value = nodes.listed(values)
        self.depth -= 1
        return value

    def choice(self) -> Expression:
        value = self.alternatives()
        while self.take("if"):
            condition = self.alternatives()
            other = self.expression() if self.take("else") else nodes.constant(UNDEFINED)
            value = nodes.either(condition, value, other)
        return value

    def alternatives(self) -> Expression:
        value = self.conditions()
        while self.take("or"):
            value = nodes.or_(value, self.conditions())
        return value

    def conditions(self) -> Expression:
        value = self.negation()
        while self.take("and"):
            value = nodes.and_(value, self.negation())
        return value

    def negation(self) -> Expression:
        if self.take("not"):
            self.deeper()
            value = nodes.not_(self.negation())
            self.depth -= 1
            return value
        return self.comparison()

    def comparison(self) -> Expression:
        first = self.sum()
        rest: list[tuple[str, Expression]] = []
        while True:
            word = self.take("==", "!=", "<", "<=", ">", ">=", "in")
            if (
                not word
                and self.peek().text == "not"
                and self.tokens[self.at + 1 : self.at + 2] == [Token("name", "in")]
            ):
                self.at += 2
                word = "not in"
            if not word:
                return nodes.compared(first, rest) if rest else first
            rest.append((word, self.sum()))

    def sum(self) -> Expression:
        value = self.joined()
        while word := self.take("+", "-"):
            value = nodes.operation(word, value, self.joined())
        return value

    def joined(self) -> Expression:
        parts = [self.product()]
        while self.take("~"):
            parts.append(self.product())
        return nodes.concatenated(parts) if len(parts) > 1 else parts[0]

    def product(self) -> Expression:
        value = self.unary()
        while word := self.take("*", "/", "//", "%"):
            value = nodes.operation(word, value, self.unary())
        return value

    def unary(self, filters: bool = True) -> Expression:
        """A sign binds stronger than a filter: `-x | abs` is `(-x) | abs`."""
        if self.take("-"):
            self.deeper()
            value = nodes.negative(self.unary(False))
            self.depth -= 1
        else:
            value = self.postfix(self.primary())
        return self.filtered(value) if filters else value

    def primary(self) -> Expression:
        token = self.peek()
        self.at += 1
        if token.kind == "name":
            if token.text.lower() in ("true", "false", "none") and token.text[1:] == token.text[1:].lower():
                return nodes.constant({"true": True, "false": False, "none": None}[token.text.lower()])
            if token.text in ("if", "else", "and", "or", "not", "in", "is"):
                raise Unsupported(f"unexpected '{token.text}'")
            return nodes.named(token.text)
        if token.kind == "string":
            text = unquoted(token.text)
            while self.peek().kind == "string":
                text += unquoted(self.peek().text)
                self.at += 1
            return nodes.constant(text)
        if token.kind in ("int", "float"):
            if len(token.text) > 18:
                raise Unsupported("too large a number")
            return nodes.constant(int(token.text) if token.kind == "int" else float(token.text))
        if token == Token("mark", "("):
            return self.parenthesis()
        if token == Token("mark", "["):
            return nodes.listed(self.arguments("]")[0])
        if token == Token("mark", "{"):
            return self.mapping()
        raise Unsupported(f"unexpected '{token.text}'")

    def parenthesis(self) -> Expression:
        if self.take(")"):
            return nodes.listed([])
        first = self.expression()
        if self.take(")"):
            return first
        self.expect(",")
        return nodes.listed([first, *self.arguments(")")[0]])

    def mapping(self) -> Expression:
        pairs: list[tuple[Expression, Expression]] = []
        while not self.take("}"):
            key = self.expression()
            self.expect(":")
            pairs.append((key, self.expression()))
            if not self.take(","):
                self.expect("}")
                break
        return nodes.mapped(pairs)

    def arguments(self, end: str) -> tuple[list[Expression], dict[str, Expression]]:
        """Values up to a closing bracket; with `name=value` ones in a call."""
        values: list[Expression] = []
        named: dict[str, Expression] = {}
        while not self.take(end):
            is_named = self.peek().kind == "name" and self.tokens[self.at + 1 : self.at + 2] == [Token("mark", "=")]
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

    def postfix(self, value: Expression) -> Expression:
        while word := self.take(".", "[", "("):
            if word == ".":
                token = self.peek()
                if token.kind == "int":
                    self.at += 1
                    value = nodes.element(value, nodes.constant(int(token.text)))
                else:
                    value = nodes.member(value, self.name())
            elif word == "[":
                value = self.subscript(value)
            else:
                value = nodes.called(value, *self.arguments(")"))
        return value

    def subscript(self, value: Expression) -> Expression:
        bounds: list[Expression | None] = [None]
        if self.peek().text != ":":
            key = self.expression()
            if self.take("]"):
                return nodes.element(value, key)
            bounds[0] = key
        while self.take(":") and len(bounds) < 3:
            bounds.append(None if self.peek().text in (":", "]") and self.peek().kind == "mark" else self.expression())
        self.expect("]")
        return nodes.sliced(value, bounds)

    def filtered(self, value: Expression) -> Expression:
        while word := self.take("|", "is", "("):
            if word == "|":
                name = self.name()
                given = self.arguments(")") if self.take("(") else ([], {})
                value = nodes.applied(FILTERS, "filter", name, value, *given)
            elif word == "(":
                value = nodes.called(value, *self.arguments(")"))
            else:
                value = self.test(value)
        return value

    def test(self, value: Expression) -> Expression:
        negated = bool(self.take("not"))
        name = self.name()
        token = self.peek()
        arguments: tuple[list[Expression], dict[str, Expression]] = ([], {})
        if self.take("("):
            arguments = self.arguments(")")
        elif (
            token.kind in ("string", "int", "float")
            or (token.kind == "mark" and token.text in "[{")
            or (token.kind == "name" and token.text not in ("else", "or", "and", "is", "if", "in", "not"))
        ):
            arguments = ([self.postfix(self.primary())], {})
        result = nodes.applied(TESTS, "test", name, value, *arguments)
        return nodes.not_(result) if negated else result

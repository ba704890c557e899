"""Expressions: which operator takes what."""

from __future__ import annotations

from typing import Any

import pytest

from modelbuild.ollama.jinja.expressions import Expressions
from modelbuild.ollama.jinja.lexer import split
from modelbuild.ollama.jinja.run import DEEPEST, Run, Scope
from modelbuild.ollama.jinja.values import Unsupported


def value(text: str) -> Any:
    reader = Expressions()
    (tag,) = split("{{ " + text + " }}")
    reader.tokens = tag.tokens
    return reader.whole(reader.expression())(Run(), Scope({"x": 5}, None))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("7 - 2 - 1", 4),
        ("'x' + 1 ~ 2", "x12"),
        ("'a' ~ 1 * 2", "a2"),
        ("-x", -5),
        ("'a' + 'b' | upper", "aB"),
        ("not 1 == 2", True),
        ("0 or 2 and 3", 3),
        ("1 < 2 < 3", True),
        ("2 not in [1]", True),
        ("1 if x > 9 else 2 if x > 4 else 3", 2),
        ("not x is odd", False),
        ("{'a': [1, {'b': 2}]}.a[1].b", 2),
    ],
)
def test_operators_bind_as_in_jinja(text: str, expected: object) -> None:
    assert value(text) == expected


def test_nesting_ends() -> None:
    assert value("(" * (DEEPEST - 1) + "x" + ")" * (DEEPEST - 1)) == 5
    with pytest.raises(Unsupported, match="too deep"):
        value("(" * DEEPEST + "x" + ")" * DEEPEST)


@pytest.mark.parametrize("text", ["", "1 2", "a b", "x[", "x.", "x |", "1 +", "if", "{1}", "1234567890123456789"])
def test_half_an_expression_is_not_read(text: str) -> None:
    with pytest.raises(Unsupported):
        value(text)

"""Statements: which belong together, and which are none."""

from __future__ import annotations

import pytest

from modelbuild.ollama.jinja.lexer import split
from modelbuild.ollama.jinja.nodes import execute_all
from modelbuild.ollama.jinja.parser import Parser
from modelbuild.ollama.jinja.run import DEEPEST, Run, Scope
from modelbuild.ollama.jinja.values import Unsupported


def rendered(text: str) -> str:
    out: list[str] = []
    execute_all(Parser(split(text)).body(), Run(), Scope({}, None), out)
    return "".join(out)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{% if 0 %}a{% elif 1 %}b{% else %}c{% endif %}", "b"),
        ("{% for a in [1, 2] %}{% for b in [3] %}{{ a }}{{ b }}{% endfor %}{% else %}c{% endfor %}", "1323"),
        ("{% for a, b in [(1, 2)] %}{{ b }}{{ a }}{% endfor %}", "21"),
        ("{% set a %}x{% endset %}{{ a }}{{ a }}", "xx"),
        ("{% macro m(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(b=3, a=4) }}", "1243"),
        ("{% generation %}x{% endgeneration %}", "x"),
    ],
)
def test_statements(text: str, expected: str) -> None:
    assert rendered(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "{% if 1 %}",
        "{% if 1 %}{% endfor %}",
        "{% if 1 %}{% else %}{% else %}{% endif %}",
        "{% endif %}",
        "{% break %}",
        "{% for a in [1] %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}",
        "{% if 1 2 %}{% endif %}",
        "{% include 'a' %}",
    ],
)
def test_what_belongs_nowhere_is_not_read(text: str) -> None:
    with pytest.raises(Unsupported):
        rendered(text)


def test_statements_and_expressions_nest_so_deep_together() -> None:
    deep, rest = DEEPEST // 2, DEEPEST - DEEPEST // 2 - 2
    begin, end = "{% if 1 %}" * deep, "{% endif %}" * deep
    assert rendered(begin + "{{ " + "(" * rest + "1" + ")" * rest + " }}" + end) == "1"
    with pytest.raises(Unsupported, match="too deep"):
        rendered(begin + "{{ " + "(" * (rest + 1) + "1" + ")" * (rest + 1) + " }}" + end)

"""How large a module, a function and a list of parameters may be: past it a reader loses the thread, and a second thing has moved in.

What is larger stands in `EXCEPTIONS`, each with its reason. One that is no longer needed must go, so that the list cannot hide growth.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache

import pytest

from tests.test_imports import parsed, sources

LINES = 400
"""Of a module."""

BODY = 60
"""Lines of a function, its decorators included."""

PARAMETERS = 7
"""Of a function; `self`, `cls`, `*args` and `**options` are not counted."""

EXCEPTIONS: Mapping[str, str] = {
    "errors:Error.__init__": "what can be said of a fault, all by keyword; most say two or three",
}
"""`package.module` or `package.module:Class.function` below modelbuild -> why it may be larger."""


def larger(module: str, text: str) -> Iterator[tuple[str, str]]:
    """What of a module's text is past the budget: (its name, how large it is)."""
    name = module.removeprefix("modelbuild").removeprefix(".")
    if (lines := len(text.splitlines())) > LINES:
        yield name, f"{lines} lines"
    for path, node in _functions(parsed(text)):
        first = min(part.lineno for part in (node, *node.decorator_list))
        lines = (node.end_lineno or first) - first + 1
        arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        parameters = [each.arg for each in arguments if each.arg not in ("self", "cls")]
        if lines > BODY:
            yield f"{name}:{path}", f"{lines} lines"
        if len(parameters) > PARAMETERS:
            yield f"{name}:{path}", f"{len(parameters)} parameters"


def _functions(tree: ast.AST, inside: str = "") -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for node in ast.iter_child_nodes(tree):
        below = inside
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            below = f"{inside}{node.name}."
            if not isinstance(node, ast.ClassDef):
                yield below.removesuffix("."), node
        yield from _functions(node, below)


@cache
def found() -> list[tuple[str, str]]:
    return [each for module, text in sources().items() for each in larger(module, text)]


def test_nothing_is_larger_than_it_may_be() -> None:
    assert [f"{name}: {size}" for name, size in found() if name not in EXCEPTIONS] == []


def test_no_exception_outlives_its_need() -> None:
    assert sorted(EXCEPTIONS.keys() - {name for name, _ in found()}) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\n" * 400, []),
        ("\n" * 401, [("a", "401 lines")]),
        ("def f():\n" + "    pass\n" * 59, []),
        ("@cache\ndef f():\n" + "    pass\n" * 59, [("a:f", "61 lines")]),
        ("class C:\n    def f(self, a, b, *, c, d, e, f, g, **more): ...", []),
        ("class C:\n    def f(self, a, b, /, c, d, e, f, g, h): ...", [("a:C.f", "8 parameters")]),
        ("if True:\n    def f():\n        async def g(a, b, c, d, e, f, g, h): ...", [("a:f.g", "8 parameters")]),
    ],
)
def test_how_it_is_counted(text: str, expected: list[tuple[str, str]]) -> None:
    assert list(larger("modelbuild.a", text)) == expected

"""What each package may import, and that no modules import one another in a circle: the walls of modelbuild/DESIGN.md.

Every import counts for both, also inside functions, under TYPE_CHECKING and by name (`import_module`), so that none can hide. An import
inside a function keeps the start quick; it is no way around a wall. A registry that opens the files of its own folder is not counted.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import modelbuild

ROWS = (
    ("cli",),
    ("session",),
    ("plan",),
    ("steps", "project", "publish", "runners", "sharing"),
    ("shapes", "tools", "remotes"),
    ("checkpoint", "registry"),
    ("ollama", "tensors", "engine"),
    ("ground",),
)
"""A package imports itself and the rows below it; never what stands beside it."""

NEVER = {
    ("checkpoint", "modelbuild.engine"),
    ("checkpoint", "modelbuild.ollama"),
    ("registry", "modelbuild.engine"),
    ("registry", "modelbuild.tensors"),
    ("steps", "modelbuild.engine.store"),
}
"""(package, what it may not import either, though that stands below it)"""

GROUND = frozenset(
    {
        "",
        "_contain",
        "bounded_json",
        "code",
        "contained",
        "digest",
        "direct",
        "errors",
        "internal_error",
        "files",
        "interrupt",
        "lfs",
        "machine",
        "misspelled",
        "observed",
        "ownership",
        "page_cache",
        "plugins",
        "synced",
        "trace",
        "tuples",
    }
    | {"words"}
)

PLACES = {"modelbuild.__main__": "cli", "modelbuild.extend": "checkpoint"}
"""The modules that belong to a package and cannot lie in it."""


@cache
def sources() -> Mapping[str, str]:
    """The text of every module, by its name."""
    root = Path(modelbuild.__file__).parent
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = ("modelbuild", *path.relative_to(root).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text(encoding="utf-8")
    return found


parsed = cache(ast.parse)
"""The tree of a text, which nobody changes."""


def imports(modules: Mapping[str, str]) -> dict[str, set[str]]:
    """The modules of ours that each text imports."""
    found: dict[str, set[str]] = {}
    for module, text in modules.items():
        found[module] = set()
        for name in _spelled(parsed(text)):
            while name.startswith("modelbuild") and name not in modules:
                name = name.rpartition(".")[0]
            if name.startswith("modelbuild") and name != module:
                found[module].add(name)
    return found


def _spelled(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node.func) in ("import_module", "find_spec"):
            words = [word for argument in node.args for word in ast.walk(argument) if isinstance(word, ast.Constant)]
            yield from (str(word.value) for word in words)


def _called(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def package(module: str) -> str:
    """The package that a module belongs to."""
    name = module
    while name:
        if name in PLACES:
            return PLACES[name]
        name = name.rpartition(".")[0]
    inside = module.removeprefix("modelbuild").removeprefix(".")
    first = inside.partition(".")[0]
    if any(first in row for row in ROWS):
        return first
    assert inside in GROUND, f"{module} belongs to no package: put it into one, or say in {__name__} that it is ground"
    return "ground"


def wrong(graph: Mapping[str, set[str]]) -> set[tuple[str, str]]:
    """The imports against the rule: (module, what it imports)."""
    height = {name: level for level, row in enumerate(ROWS) for name in row}
    found = set()
    for module, others in graph.items():
        here = package(module)
        for other in others:
            there = package(other)
            below = here == there or height[here] < height[there]
            if not below or {(here, f"modelbuild.{there}"), (here, other)} & NEVER:
                found.add((module, other))
    return found


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Modules of which each imports the next; empty where there are none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_each_package_imports_what_stands_below_it() -> None:
    assert sorted(wrong(imports(sources()))) == []


def test_no_modules_import_one_another_in_a_circle() -> None:
    assert circle(imports(sources())) == []


@pytest.mark.parametrize(
    "text",
    [
        "from modelbuild.cli import commands",
        "def f():\n    import modelbuild.cli.commands as folder",
        "if TYPE_CHECKING:\n    from modelbuild.cli.commands import build",
        "import_module(f'modelbuild.cli.commands.{name}')",
        "importlib.util.find_spec('modelbuild.cli.commands.' + name)",
    ],
)
def test_an_import_is_seen_however_it_is_written(text: str) -> None:
    modules = {"modelbuild": "", "modelbuild.cli": "", "modelbuild.cli.commands": "", "modelbuild.plan": text}
    assert wrong(imports(modules)) == {("modelbuild.plan", "modelbuild.cli.commands")}


def test_the_rule_and_what_stands_beside_it() -> None:
    modules = {
        "modelbuild.errors": "",
        "modelbuild.engine.graph": "from modelbuild.errors import Error",
        "modelbuild.tensors.tensor": "from modelbuild.engine import graph",
        "modelbuild.checkpoint.card": "from modelbuild.engine import graph",
        "modelbuild.steps.layer": "from modelbuild.engine import graph",
    }
    beside = ("modelbuild.tensors.tensor", "modelbuild.engine.graph")
    assert wrong(imports(modules)) == {beside, ("modelbuild.checkpoint.card", "modelbuild.engine.graph")}
    assert circle(imports(modules)) == []
    modules["modelbuild.errors"] = "def f():\n    from modelbuild.engine.graph import Graph"
    found = circle(imports(modules))
    assert set(found) == {"modelbuild.errors", "modelbuild.engine.graph"}

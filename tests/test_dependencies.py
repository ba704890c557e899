"""What an install brings along is what the package imports, and docs/dependencies.md says why."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import modelbuild

ROOT = Path(__file__).parents[1]
MODULES = {"pyyaml": "yaml", "tomli-w": "tomli_w"}
"""Where a package is imported by another name than its own."""


def declared() -> set[str]:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return {re.split(r"[<>=]", line)[0] for line in table["project"]["dependencies"]}


def imported() -> set[str]:
    """The modules of other packages that ours import, also inside functions."""
    found = set()
    for path in Path(modelbuild.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module or "")
    return {name.partition(".")[0] for name in found} - sys.stdlib_module_names - {"modelbuild", "_typeshed"}


def test_every_dependency_is_imported_and_nothing_else() -> None:
    assert imported() == {MODULES.get(name, name) for name in declared()}


def test_the_page_says_why_each_is_there() -> None:
    page = (ROOT / "docs/dependencies.md").read_text()
    assert set(re.findall(r"^\| ([\w-]+) \| .+ \|$", page, re.MULTILINE)) - {"package"} == declared()

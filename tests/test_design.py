"""The map of the code, modelbuild/DESIGN.md, and the code agree."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import modelbuild
from tests.test_imports import sources

ROOT = Path(modelbuild.__file__).parent
PACKAGES = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))


def flat(text: str) -> str:
    """A text on one line, so that it reads the same however it is wrapped."""
    return " ".join(text.split())


def first_sentence(docstring: str) -> str:
    """All up to the first full stop that ends a word: that of `ModelBuild.toml` does not."""
    found = re.match(r".*?\.(?=\s|$)", flat(docstring))
    assert found, f"no sentence: {docstring!r}"
    return found[0]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_map_holds_what_each_package_says_of_itself(package: str) -> None:
    docstring = ast.get_docstring(ast.parse(sources()[f"modelbuild.{package}"]))
    assert docstring, f"the package {package} has no docstring"
    assert first_sentence(docstring) in flat((ROOT / "DESIGN.md").read_text())


def test_a_sentence_ends_with_a_full_stop_behind_a_word() -> None:
    assert first_sentence("What a ModelBuild.toml\nsays. And that.") == "What a ModelBuild.toml says."

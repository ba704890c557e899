"""The face for other packages: what is in it says what it is, and whoever is shown how to extend uses nothing else."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

from modelbuild import extend
from modelbuild.checkpoint import architectures
from modelbuild.checkpoint.architectures import Architecture
from modelbuild.checkpoint.architectures.llama import Llama

ROOT = Path(__file__).parents[1]


def faces() -> dict[str, str]:
    """Name -> the module that defines it, of all that `extend` imports."""
    tree = ast.parse(Path(extend.__file__).read_text())
    found = [node for node in tree.body if isinstance(node, ast.ImportFrom) and "modelbuild" in str(node.module)]
    names = {alias.asname or alias.name: str(node.module) for node in found for alias in node.names}
    return {name: module for name, module in names.items() if not name.startswith("_")}


def explained(name: str, module: str) -> bool:
    """Whether the definition of a name is followed by a docstring."""
    source = importlib.import_module(module).__file__
    assert source is not None
    body = ast.parse(Path(source).read_text()).body
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return ast.get_docstring(node) is not None
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            return isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
    pytest.fail(f"{module} does not define {name}")


@pytest.mark.parametrize(("name", "module"), faces().items())
def test_every_name_is_explained_where_it_is_defined(name: str, module: str) -> None:
    assert explained(name, module)


def test_it_holds_the_class_of_every_known_architecture() -> None:
    assert extend.Llama is Llama
    for architecture in architectures.known():
        assert getattr(extend, architecture.__name__) is architecture
        assert architecture.__name__ in dir(extend)
    with pytest.raises(AttributeError, match="has no attribute 'Lama'"):
        _ = extend.Lama


@pytest.mark.parametrize(
    "file", ["docs/extending.md", "examples/extending/modelbuild_starling.py", "tests/e2e/test_extending.py"]
)
def test_who_extends_imports_nothing_else(file: str) -> None:
    text = (ROOT / file).read_text()
    imported = set(re.findall(r"(?:from|import) +(modelbuild[\w.]*)", text))
    assert imported == {"modelbuild.extend"}
    assert set(re.findall(r"`(modelbuild\.[\w.]+)`", text)) <= {"modelbuild.extend", "modelbuild.architectures"}


def test_the_page_tells_every_member_that_a_package_may_set() -> None:
    told = (ROOT / "docs/extending.md").read_text().partition("## The class")[2]
    rows = set(re.findall(r"\w+", " ".join(re.findall(r"^\| (`[^|]*`) \|", told, re.MULTILINE))))
    members = {name for name in vars(Architecture) if not name.startswith("_")} | {"NAME"}
    without_effect = set(re.findall(r"`([A-Z_]+)`", re.findall(r"^.* have an effect only in", told, re.MULTILINE)[0]))
    assert members - rows == without_effect == {"ALIASES", "MTP", "ASKS", "ASKS_BESIDE"}


def test_the_page_names_only_what_there_is() -> None:
    page = (ROOT / "docs/extending.md").read_text()
    told = page.partition("## The class")[2]
    for members in re.findall(r"^\| (`[^|]*`) \|", told, re.MULTILINE):
        for name in re.findall(r"`(\w+)", members):
            assert hasattr(Architecture, name) or name in Architecture.__annotations__, name
    operations = re.findall(r"`(\w+)`", told.partition("The operations are")[2].partition("The final type")[0])
    assert {"permute", "slice_", "scale"} < set(operations)
    assert set(operations) < faces().keys()

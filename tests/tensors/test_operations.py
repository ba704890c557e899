"""The folder of operations: every file says all that an operation is, and has its test."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from types import ModuleType

import pytest

from modelbuild.tensors import operations
from modelbuild.tensors.recipe import Expression

PARTS = {"unit": ["x"], "footprint": ["x", "first", "count"], "evaluate": ["x", "reader", "name", "first", "count"]}


@pytest.mark.parametrize("name", operations.names())
def test_every_file_says_all_that_an_operation_is(name: str) -> None:
    operation = operations.get(name)
    assert f'Expression("{name}", ' in inspect.getsource(operation)
    assert type(operation.VERSION) is int and operation.VERSION > 0
    for part, parameters in PARTS.items():
        assert list(inspect.signature(getattr(operation, part)).parameters) == parameters, part
        assert getattr(operation, part).__module__ == operation.__name__, f"{part} is another's"


@pytest.mark.parametrize("name", operations.names())
def test_a_version_is_told_from_the_text_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    operation = operations.get(name)
    assert operations.version(name) == operation.VERSION
    monkeypatch.delitem(sys.modules, operation.__name__)
    assert operations.version(name) == operation.VERSION
    assert operation.__name__ not in sys.modules, "it was imported to be asked"


@pytest.mark.parametrize("name", operations.names())
def test_every_operation_has_its_test(name: str) -> None:
    assert (Path(__file__).parent / "operations" / f"test_{name}.py").is_file()


@pytest.mark.parametrize("missing", ["VERSION", "incomplete", "unit", "footprint", "evaluate"])
def test_an_operation_that_lacks_a_part_is_refused(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    incomplete = ModuleType("modelbuild.tensors.operations.incomplete")
    incomplete.__file__ = "incomplete.py"
    for part in ("VERSION", "incomplete", "unit", "footprint", "evaluate"):
        if part != missing:
            setattr(incomplete, part, None)
    monkeypatch.setattr(operations, "names", lambda: ("incomplete",))
    monkeypatch.setitem(sys.modules, incomplete.__name__, incomplete)
    with pytest.raises(TypeError, match=f"operation 'incomplete' lacks {missing}"):
        Expression("incomplete", (), "f32", (8,)).footprint(0, 8)


@pytest.mark.parametrize("name", ["nothing", "slice_", "__init__", "../recipe"])
def test_an_unknown_name_is_a_key_error(name: str) -> None:
    with pytest.raises(KeyError):
        operations.get(name)


def test_a_first_version_is_not_said_so_that_a_new_operation_makes_no_model_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in operations.names():
        monkeypatch.setattr(operations.get(name), "VERSION", 1)
    assert operations.versions() == {}


@pytest.mark.parametrize("name", operations.names())
def test_each_version_counts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations.get(name), "VERSION", 99)
    assert operations.versions()[name] == 99

"""The step that takes over GGUF files: a recipe of leaves, the parts of a split file as one."""

from __future__ import annotations

import pytest

from modelbuild.errors import Error
from modelbuild.steps import import_
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.recipe import Recipe
from modelbuild.tensors.tensor import Tensor, TensorTable
from tests.steps.inputs import Given


def table(*names: str, **metadata: bytes) -> TensorTable:
    tensors = {name: Tensor(name, "f32", (1, 1, 2), 0, 8, f"xxh3:{name}") for name in names}
    return TensorTable({"general.architecture": encode_value("str", "llama"), **metadata}, tensors)


def part(number: int, *names: str) -> TensorTable:
    values = {"split.no": number, "split.count": 2}
    encoded = {key: encode_value("u16", value) for key, value in values.items()}
    return table(*names, **encoded, **{"split.tensors.count": encode_value("i32", 2)})


def imported(**tables: TensorTable) -> Recipe:
    return Recipe.decode(import_.run(import_.Parameters(), Given(tables)))


def test_a_file_is_its_tensors_as_they_are() -> None:
    made = imported(file=table("a", "b"))
    assert [(entry.name, entry.shape, entry.expression.digest) for entry in made.tensors] == [
        ("a", (1, 1, 2), "xxh3:a"),
        ("b", (1, 1, 2), "xxh3:b"),
    ]


def test_an_alignment_that_is_not_ours_goes() -> None:
    for alignment, kept in ((32, True), (64, False)):
        value = {"general.alignment": encode_value("u32", alignment)}
        assert ("general.alignment" in imported(file=table("a", **value)).metadata) is kept


def test_parts_are_one_model_with_shapes_as_ggml_holds_them() -> None:
    made = imported(first=part(0, "a"), second=part(1, "b"))
    assert [(entry.name, entry.shape) for entry in made.tensors] == [("a", (2,)), ("b", (2,))]


def test_what_is_wrong_with_a_part_is_told_of_that_input() -> None:
    with pytest.raises(Error) as caught:
        imported(first=part(0, "a"), second=part(0, "b"))
    assert (caught.value.path, caught.value.input) == (None, "second")

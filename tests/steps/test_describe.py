"""The step that sets metadata: those it is given, and nothing else of the recipe."""

from __future__ import annotations

from modelbuild.steps import describe
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.operations.leaf import leaf
from modelbuild.tensors.recipe import Entry, Recipe
from tests.steps.inputs import Given

SOURCE = Recipe(
    {"general.architecture": encode_value("str", "llama"), "general.name": encode_value("str", "A")},
    [Entry("a", (2,), leaf("xxh3:a", "f32", (2,)))],
    {"xxh3:c": b"c"},
)


def test_the_recipe_is_that_of_the_input_with_other_metadata() -> None:
    values = describe.Parameters(metadata={"general.name": "B"})
    made = Recipe.decode(describe.run(values, Given(recipe=SOURCE.encode())))
    assert made.metadata == {**SOURCE.metadata, "general.name": encode_value("str", "B")}
    assert (made.tensors, made.constants) == (SOURCE.tensors, SOURCE.constants)

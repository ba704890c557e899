"""The step that makes the blob of a layer: text, a file as it is, or what a recipe describes."""

from __future__ import annotations

import pytest

from modelbuild.ollama import manifest
from modelbuild.steps import layer
from modelbuild.tensors.recipe import Recipe
from tests.steps.inputs import Given


@pytest.mark.parametrize(
    ("values", "blob"),
    [
        (layer.Parameters(text="T"), b"T"),
        (layer.Parameters(text="", recognized="chatml"), b""),
        (layer.Parameters(parameters={"top_k": 1}), manifest.params_blob({"top_k": 1})),
        (layer.Parameters(messages=[("user", "hi")]), manifest.messages_blob([("user", "hi")])),
    ],
)
def test_text_is_the_blob_that_ollama_makes_of_it(values: layer.Parameters, blob: bytes) -> None:
    assert layer.run(values, Given()) == blob


@pytest.mark.parametrize(("values", "link"), [(layer.Parameters(link=True), True), (layer.Parameters(), False)])
def test_a_file_is_taken_as_it_is(values: layer.Parameters, link: bool) -> None:
    inputs = Given(file=b"GGUF")
    layer.run(values, inputs)
    assert (inputs.copied, inputs.materialized) == ([("file", link)], [])


def test_a_recipe_becomes_the_file_that_it_describes() -> None:
    inputs = Given(recipe=Recipe({}, []).encode())
    layer.run(layer.Parameters(operations={"cast": 2}), inputs)
    assert (inputs.copied, inputs.materialized) == ([], [Recipe({}, [])])

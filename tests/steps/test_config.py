"""The step that makes the config: from the recipe of the model, else from the config of its base."""

from __future__ import annotations

import json

from modelbuild.ollama.manifest import ConfigV2
from modelbuild.steps import config
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.operations.leaf import leaf
from modelbuild.tensors.recipe import Entry, Recipe
from tests.steps.inputs import Given


def recipe(**metadata: bytes) -> bytes:
    return Recipe(metadata, [Entry("a", (3, 4), leaf("xxh3:a", "f32", (3, 4)))]).encode()


def test_a_recipe_tells_family_size_and_type() -> None:
    metadata = {"general.architecture": encode_value("str", "llama"), "general.file_type": encode_value("u32", 7)}
    made = config.run({"models": 1, "renderer": "r"}, Given(recipe=recipe(**metadata)))
    assert made == ConfigV2("gguf", "llama", ["llama"], "12", "Q8_0", renderer="r").encode()


def test_a_value_of_another_type_counts_as_missing() -> None:
    odd = {"general.architecture": encode_value("u32", 1), "general.file_type": encode_value("str", "x")}
    assert config.run({"models": 1}, Given(recipe=recipe(**odd))) == config.run({"models": 1}, Given(recipe=recipe()))


def test_without_a_recipe_the_base_tells() -> None:
    base = {"model_family": "gemma", "model_families": ["gemma", "clip"], "model_type": "9B", "file_type": 7}
    found = json.loads(config.run({"models": 1, "base": base, "capabilities": ["vision"]}, Given()))
    assert (found["model_family"], found["model_families"], found["model_type"]) == ("gemma", ["gemma", "clip"], "9B")
    assert found.get("file_type", "") == "" and found["capabilities"] == ["vision"]

"""The step that converts: errors name its inputs, and a look tells all that is wrong at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelbuild.errors import Error, Errors
from modelbuild.steps import convert
from modelbuild.tensors.recipe import Recipe
from tests import checkpoints, recipes

ASKED = convert.Parameters(folder="m", outtype="source")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return checkpoints.write(tmp_path / "m")


def change(folder: Path, **values: object) -> recipes.Folder:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **values}))
    return recipes.Folder(folder)


def test_a_look_makes_the_same_recipe(folder: Path) -> None:
    made, (warning,) = convert.look(ASKED, recipes.Folder(folder))
    assert made.encode() == convert.run(ASKED, recipes.Folder(folder))
    assert (warning.input, warning.what.partition(":")[0]) == ("tokenizer_config.json", "is missing")


def test_a_run_tells_the_first_fault_and_a_look_all_of_them(folder: Path) -> None:
    inputs = change(folder, num_hidden_layers=3, rms_norm_eps="small")
    (folder / "tokenizer.model").write_bytes(b"")
    with pytest.raises(Error) as first:
        convert.run(ASKED, inputs)
    with pytest.raises(Errors) as all_of_them:
        convert.look(ASKED, inputs)
    assert (first.value.path, first.value.input) == (None, "tokenizer.model")
    found = [(error.path, error.input) for error in all_of_them.value.errors]
    assert found == [(None, "tokenizer.model"), (None, "config.json"), (None, "config.json")]


def test_a_look_refuses_what_the_runtime_would_not_load(folder: Path) -> None:
    inputs = change(folder, intermediate_size=300)
    assert convert.run(ASKED, inputs)
    with pytest.raises(Errors, match="not have the shape that config.json declares"):
        convert.look(ASKED, inputs)


def test_what_is_wrong_with_an_input_itself_is_told_as_it_is(folder: Path) -> None:
    class Gone(recipes.Folder):
        def file(self, role: str) -> bytes | None:
            if role == "tokenizer.model":
                raise Error("cannot be read", input=role)
            return super().file(role)

    with pytest.raises(Error) as caught:
        convert.run(ASKED, Gone(folder))
    assert (caught.value.what, caught.value.input) == ("cannot be read", "tokenizer.model")


def test_what_is_said_of_a_tensor_is_no_part_of_its_recipe(folder: Path) -> None:
    from modelbuild.checkpoint.conversion import Conversion

    recipe = Conversion(recipes.Folder(folder), folder="m", outtype="source").recipe
    labels = {leaf.label for entry in recipe.tensors for leaf in entry.expression.leaves()}
    assert "model.layers.0.mlp.up_proj.weight" in labels
    again = Recipe.decode(recipe.encode())
    assert {leaf.label for entry in again.tensors for leaf in entry.expression.leaves()} == {""}
    assert again == recipe
    assert b"up_proj" not in recipe.encode()

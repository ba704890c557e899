"""The step that takes a checkpoint as it is sees its files, and says in which of them something is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.errors import Error
from modelbuild.steps import gather
from modelbuild.tensors.recipe import Recipe
from tests import checkpoints, recipes


def test_it_has_the_checkpoints_own_names(tmp_path: Path) -> None:
    made = Recipe.decode(gather.run({}, recipes.Folder(checkpoints.write(tmp_path / "m"))))
    assert "model.layers.0.self_attn.q_proj.weight" in [entry.name for entry in made.tensors]


def test_what_is_wrong_stands_in_an_input(tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "m")
    (folder / "config.json").write_text("{")
    with pytest.raises(Error) as caught:
        gather.run({}, recipes.Folder(folder))
    assert (caught.value.path, caught.value.input) == (None, "config.json")

"""The step that puts an adapter into a checkpoint sees the recipe of that and the adapter's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.errors import Error
from modelbuild.steps import gather, graft
from modelbuild.tensors.recipe import Recipe
from tests import adapters, recipes, zoo

CASE = zoo.cases("llama")["bf16"]


class Files(adapters.Files):
    """An adapter, and the checkpoint that it goes into."""

    def __init__(self, folder: Path, **config: int) -> None:
        model = zoo.write(folder / "model", CASE)
        lora = adapters.write_peft(folder / "lora", adapters.factors(CASE.shapes, r".*q_proj"), **config)
        super().__init__(lora, recipes.converted(model))
        self.checkpoint = gather.run({}, recipes.Folder(model))

    def artifact(self, role: str) -> bytes:
        assert role == "checkpoint"
        return self.checkpoint


def test_it_changes_what_the_adapter_names(tmp_path: Path) -> None:
    files = Files(tmp_path)
    before, after = Recipe.decode(files.checkpoint), Recipe.decode(graft.run({"scale": 1.0}, files))
    old = {entry.name: entry.expression for entry in before.tensors}
    changed = [entry.name for entry in after.tensors if entry.expression != old[entry.name]]
    assert changed == [name for name in old if name.endswith("q_proj.weight")]


def test_what_is_wrong_stands_in_an_input(tmp_path: Path) -> None:
    with pytest.raises(Error) as caught:
        graft.run({"scale": 1.0}, Files(tmp_path, r=0))
    assert (caught.value.path, caught.value.input) == (None, "adapter_config.json")

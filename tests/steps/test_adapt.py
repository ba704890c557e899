"""The step that makes the file of an adapter sees the recipe of its model and the adapter's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.errors import Error
from modelbuild.steps import adapt
from modelbuild.tensors.formats.gguf import decode_value
from modelbuild.tensors.recipe import Recipe
from tests import adapters, recipes, zoo

CASE = zoo.cases("llama")["bf16"]


def inputs(folder: Path, **config: int) -> adapters.Files:
    base = recipes.converted(zoo.write(folder / "model", CASE))
    return adapters.Files(adapters.write_peft(folder / "lora", adapters.factors(CASE.shapes), **config), base)


def test_it_is_an_adapter_named_after_its_folder(tmp_path: Path) -> None:
    made = Recipe.decode(adapt.run({"folder": "My-tales", "outtype": "f16", "scale": 1.0}, inputs(tmp_path)))
    assert decode_value(made.metadata["general.type"]) == "adapter"
    assert decode_value(made.metadata["general.name"]) == "My Tales"
    assert len(made.tensors) == 28


def test_what_is_wrong_stands_in_an_input(tmp_path: Path) -> None:
    with pytest.raises(Error) as caught:
        adapt.run({"folder": "x", "outtype": "f16", "scale": 1.0}, inputs(tmp_path, r=0))
    assert (caught.value.path, caught.value.input) == (None, "adapter_config.json")

"""Cohere: what transformers fills in, the context, and norms of heads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint.architectures import complete
from modelbuild.checkpoint.conversion import Conversion
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value
from tests import recipes, zoo
from tests.zoo.cohere import CONFIG, shapes
from tests.zoo.mistral import changed


def test_defaults_are_transformers() -> None:
    full, wanted = (
        complete({"model_type": "cohere"}),
        {"num_key_value_heads": 64, "layer_norm_eps": 1e-5, "logit_scale": 0.0625, "vocab_size": 256000},
    )
    assert {key: full[key] for key in wanted} == wanted


def test_the_older_name_of_rope_type_is_not_known() -> None:
    assert "vocab_size" not in complete({"model_type": "cohere", "rope_scaling": {"type": "linear", "factor": 2.0}})


def test_context_that_it_was_trained_with(tmp_path: Path) -> None:
    case = zoo.cases("cohere")["a longer context, f32 in shards"]
    recipe = recipes.converted(zoo.write(tmp_path / "m", case), "f16", case.pre)
    assert decode_value(recipe.metadata["command-r.context_length"]) == 1024


@pytest.mark.parametrize("scale", [None, "much", True])
def test_logit_scale_is_a_number(scale: Any, tmp_path: Path) -> None:
    case = zoo.cases("cohere")["short"]
    folder = zoo.write(tmp_path / "m", replace(case, config={**case.config, "logit_scale": scale}))
    with pytest.raises(Error, match="'logit_scale' expects a number, got"):
        recipes.converted(folder, "f16", case.pre)


def faults(folder: Path, case: zoo.Case) -> list[str]:
    folder = zoo.write(folder, case)
    conversion = Conversion(recipes.Folder(folder), folder="m", outtype="f16", pre=case.pre)
    return [error.what for error in conversion.faults()]


def test_norms_of_heads_belong_to_64_blocks(tmp_path: Path) -> None:
    case = zoo.cases("cohere")["short"]
    (error,) = faults(tmp_path / "few", replace(case, shapes=shapes(CONFIG, normed=True)))
    assert "norm of queries or keys, which llama.cpp's runtime reads only in models of 64 blocks or more" in error
    config = changed(CONFIG, {"num_hidden_layers": 64, "hidden_size": 32, "intermediate_size": 8})
    assert faults(tmp_path / "many", replace(case, config=config, shapes=shapes(config))) == [
        "the checkpoint lacks 128 tensors that this architecture has"
    ]

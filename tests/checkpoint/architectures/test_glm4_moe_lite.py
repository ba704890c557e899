"""GLM-4.7-Flash: how its experts are chosen, and which of its blocks have some."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value
from modelbuild.tensors.recipe import Recipe
from tests import recipes, zoo
from tests.zoo.mistral import changed

CASE = zoo.cases("glm4_moe_lite")["blocks for further tokens dropped"]


def convert(folder: Path, **changes: Any) -> Recipe:
    folder = zoo.write(folder, replace(CASE, config=changed(CASE.config, changes)))
    return recipes.converted(folder, "f16", CASE.pre, "drop")


def test_experts_are_chosen_by_a_sigmoid_which_config_json_does_not_say(tmp_path: Path) -> None:
    """The runtime knows it of GLM-4.7-Flash alone, by its blocks and tokens: in its file the key is not."""
    recipe = convert(tmp_path / "m", scoring_func=...)
    assert decode_value(recipe.metadata["deepseek2.expert_gating_func"]) == 2
    assert decode_value(recipe.metadata["tokenizer.ggml.bos_token_id"]) == 281


def test_kinds_of_blocks_in_the_words_of_transformers_5(tmp_path: Path) -> None:
    recipe = convert(tmp_path / "m", first_k_dense_replace=..., mlp_layer_types=["dense", "sparse"])
    assert decode_value(recipe.metadata["deepseek2.leading_dense_block_count"]) == 1


@pytest.mark.parametrize(
    "kinds", [["sparse", "dense"], ["dense"], ["dense", "sparse", "sparse"], "dense", ["dense", 7]]
)
def test_kinds_of_blocks_in_another_order(kinds: Any, tmp_path: Path) -> None:
    with pytest.raises(Error, match="'mlp_layer_types' expects 2 kinds, first 'dense' and then 'sparse'"):
        convert(tmp_path / "m", first_k_dense_replace=..., mlp_layer_types=kinds)


def test_queries_must_be_compressed(tmp_path: Path) -> None:
    with pytest.raises(Error, match="only with a 'q_lora_rank', got null"):
        convert(tmp_path / "m", q_lora_rank=None)

"""DeepSeek V3: a block for further tokens that is left out, the way to choose experts, scales of fp8 blocks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from modelbuild.checkpoint.architectures import complete
from modelbuild.tensors.formats.gguf import decode_value
from tests import recipes, zoo
from tests.zoo.mistral import changed

CASES = zoo.cases("deepseek3")
PLAIN = CASES["groups of experts"]


def test_the_block_for_further_tokens_is_left_out_with_its_scales(tmp_path: Path) -> None:
    for number, name in enumerate(("groups of experts", "fp8 with scales of blocks")):
        case = CASES[name]
        assert any(each.startswith("model.layers.2.") for each in case.shapes)
        recipe = recipes.converted(zoo.write(tmp_path / str(number), case), "f16", case.pre)
        assert not any(entry.name.startswith("blk.2.") for entry in recipe.tensors)
        assert decode_value(recipe.metadata["deepseek2.block_count"]) == 2
        assert "deepseek2.nextn_predict_layers" not in recipe.metadata


def test_experts_are_chosen_by_a_sigmoid_where_config_json_does_not_say(tmp_path: Path) -> None:
    found = []
    for number, value in enumerate(("sigmoid", ...)):
        case = replace(PLAIN, config=changed(PLAIN.config, {"scoring_func": value}))
        recipe = recipes.converted(zoo.write(tmp_path / str(number), case), "f16", case.pre)
        found.append(recipe.metadata["deepseek2.expert_gating_func"])
    assert list(map(decode_value, found)) == [2, 2]
    assert "scoring_func" not in complete({"model_type": "kimi_k2"})

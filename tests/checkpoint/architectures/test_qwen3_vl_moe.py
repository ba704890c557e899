"""Qwen3-VL with experts: what transformers fills in, and the shape of stacked experts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from modelbuild.checkpoint.architectures import complete
from modelbuild.errors import Error
from modelbuild.tensors.recipe import Expression
from tests import recipes, zoo

STACKED = zoo.cases("qwen3_vl_moe")["stacked"]


def test_defaults_are_transformers() -> None:
    full = complete({"model_type": "qwen3_vl_moe", "text_config": {"head_dim": 0}})
    wanted = {
        "hidden_size": 2048, "num_attention_heads": 16, "num_key_value_heads": 16, "head_dim": 128, "num_experts": 60,
        "num_experts_per_tok": 4, "moe_intermediate_size": 1408, "rope_theta": 5e6,
    }  # fmt: skip
    assert {key: full[key] for key in wanted} == wanted


def test_stacked_experts_have_three_dimensions(tmp_path: Path) -> None:
    name = "model.language_model.layers.0.mlp.experts.down_proj"
    case = replace(STACKED, shapes={**STACKED.shapes, name: (96, 64)})
    with pytest.raises(Error, match=r"expects three dimensions, the experts first, got \[96, 64\]"):
        recipes.converted(zoo.write(tmp_path / "m", case), pre=case.pre)


@pytest.mark.parametrize("size", [96, 64, 32])
def test_experts_are_read_in_the_form_that_transformers_5_writes(tmp_path: Path, size: int) -> None:
    """Where an expert, or its gate and what it makes together, are as wide as the model, the other of the two matrices tells."""
    part = STACKED.config["text_config"]
    config = {**STACKED.config, "text_config": {**part, "moe_intermediate_size": size}}
    experts, width = part["num_experts"], part["hidden_size"]
    assert width == 64
    shapes = {"gate_up_proj": (experts, width, 2 * size), "down_proj": (experts, size, width)}
    made = {}
    for form in ("old", "new"):
        found = {}
        for name, shape in STACKED.shapes.items():
            old = next((each for stem, each in shapes.items() if name.endswith(f".experts.{stem}")), shape)
            found[name] = (old[0], old[2], old[1]) if form == "new" and old is not shape else old
        case = replace(STACKED, config=config, shapes=found)
        recipe = recipes.converted(zoo.write(tmp_path / form, case), pre=case.pre)
        made[form] = {entry.name: entry for entry in recipe.tensors}
    assert {name: each.shape for name, each in made["new"].items()} == {
        name: each.shape for name, each in made["old"].items()
    }
    for name, entry in made["new"].items():
        assert "transpose" not in operations(entry.expression)
        assert ("transpose" in operations(made["old"][name].expression)) == ("_exps" in name)


def operations(x: Expression) -> set[str]:
    return {x.operation}.union(*map(operations, x.operands))

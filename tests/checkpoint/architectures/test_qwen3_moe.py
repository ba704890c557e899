"""Qwen3 with experts: what transformers fills in, one model in two forms, and forms that are none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint.architectures import complete
from modelbuild.checkpoint.architectures.qwen3_moe import Qwen3Moe
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.errors import Error
from modelbuild.tensors.operations.leaf import leaf
from modelbuild.tensors.recipe import Expression
from tests import checkpoints, recipes, zoo

CASE = zoo.cases("qwen3_moe")["eight experts"]
STACKED = zoo.cases("qwen3_moe")["eight experts, stacked"]
EXPERTS = "model.layers.{}.mlp.experts"


def tensors(shapes: Mapping[str, tuple[int, ...]], **changes: Any) -> dict[str, Expression]:
    config = {**CASE.config, **changes}
    architecture = Qwen3Moe(Checkpoint({"config.json": json.dumps(config).encode()}.get))
    return dict(architecture.tensors({name: leaf(f"xxh3:{name}", "bf16", shapes[name]) for name in sorted(shapes)}))


def test_defaults_are_transformers() -> None:
    full = complete({"model_type": "qwen3_moe"})
    wanted = {
        "num_key_value_heads": 4, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "rope_theta": 1e4, "num_experts": 128,
        "num_experts_per_tok": 8, "moe_intermediate_size": 768, "hidden_size": 2048, "num_hidden_layers": 24, "vocab_size": 151936,
    }  # fmt: skip
    assert {key: full[key] for key in wanted} == wanted
    assert "head_dim" not in full
    assert complete({"model_type": "qwen3_moe", "num_key_value_heads": None})["num_key_value_heads"] is None


def test_order_of_stacks() -> None:
    parts = ["blk.0.ffn_down_exps.weight", "blk.0.ffn_gate_exps.weight", "blk.0.ffn_up_exps.weight"]
    assert [name for name in tensors(CASE.shapes) if "blk.0" in name and "_exps" in name] == parts
    assert [name for name in tensors(STACKED.shapes) if "blk.0" in name and "_exps" in name] == parts


def test_both_forms_of_a_checkpoint_become_one_file(tmp_path: Path) -> None:
    apart = zoo.write(tmp_path / "apart" / "m", CASE)
    together = zoo.write(tmp_path / "together" / "m", STACKED)
    found = {}
    for name in CASE.shapes:
        dtype, shape, data = zoo.tensor(name, CASE.dtype, CASE.shapes[name])
        found[name] = (dtype, shape, data)
    for name, shape in STACKED.shapes.items():
        if ".experts." in name:
            stem, _, part = name.rpartition(".")
            parts = ("gate_proj", "up_proj") if part == "gate_up_proj" else ("down_proj",)
            pieces = [found.pop(f"{stem}.{index}.{each}.weight")[2] for index in range(8) for each in parts]
            found[name] = ("BF16", shape, b"".join(pieces))
    checkpoints.save(together / "model.safetensors", found)
    files = [
        recipes.file_of(recipes.converted(folder, "q8_0", CASE.pre), recipes.Folder(folder).leaves())
        for folder in (apart, together)
    ]
    assert files[0] == files[1]


@pytest.mark.parametrize("shape", [(8, 192), (192, 64), (8, 191, 64), (2, 8, 192, 64), (8,), ()])
def test_gate_and_up_in_one_of_another_shape_are_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(Error, match="gate_up_proj' expects"):
        tensors({**STACKED.shapes, f"{EXPERTS.format(0)}.gate_up_proj": shape})


def test_experts_in_both_forms_are_an_error() -> None:
    mixed = {**STACKED.shapes, f"{EXPERTS.format(1)}.3.up_proj.weight": (96, 64)}
    with pytest.raises(Error, match="block 1 lacks tensors of its experts: expert 0 has no 'down_proj'"):
        tensors(mixed)


def test_block_without_experts_is_an_error() -> None:
    """llama.cpp's qwen3moe has none, whatever mlp_only_layers says."""
    shapes = {name: shape for name, shape in CASE.shapes.items() if "layers.0.mlp" not in name}
    with pytest.raises(Error, match="cannot be mapped"):
        tensors({**shapes, "model.layers.0.mlp.up_proj.weight": (192, 64)}, mlp_only_layers=[0])


def test_first_count_of_experts_wins() -> None:
    with pytest.raises(Error) as caught:
        tensors(CASE.shapes, num_local_experts=9)
    assert ("experts", "9 (num_local_experts)") in caught.value.facts

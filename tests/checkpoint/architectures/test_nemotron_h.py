"""Nemotron-H: patterns of blocks, in letters and in words, and the block for further tokens, which is stored as two."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint import loadable
from modelbuild.checkpoint.conversion import Conversion
from modelbuild.errors import Error
from modelbuild.ollama import renderers
from modelbuild.tensors.formats.gguf import decode_value
from tests import recipes, zoo
from tests.zoo import nemotron_h, nemotron_h_moe

DENSE = zoo.cases("nemotron_h")["dense"]
EXPERTS = zoo.cases("nemotron_h_moe")["experts"]
NEXTN = zoo.cases("nemotron_h_moe")["latent experts, a block for further tokens"]


def of(folder: Path, case: zoo.Case = DENSE, **changes: Any) -> Conversion:
    config = {key: value for key, value in {**case.config, **changes}.items() if value is not ...}
    inputs = recipes.Folder(zoo.write(folder, replace(case, config=config)))
    return Conversion(inputs, folder="m", outtype="source", pre=case.pre, mtp=case.mtp)


@pytest.mark.parametrize(
    ("case", "heads", "rows"),
    [
        (DENSE, [0, 0, 0, 2, 0], [0, 96, 0, 0, 96]),
        (EXPERTS, [0, 0, 0, 2, 0], [0, 32, 0, 0, 32]),
        (NEXTN, [0, 0, 0, 2, 0, 2], [0, 32, 0, 0, 32, 32]),
    ],
)  # fmt: skip
def test_blocks_are_told_by_heads_and_rows(case: zoo.Case, heads: list[int], rows: list[int], tmp_path: Path) -> None:
    recipe = of(tmp_path / "m", case).recipe
    name = decode_value(recipe.metadata["general.architecture"])
    assert name == ("nemotron_h" if case is DENSE else "nemotron_h_moe")
    assert decode_value(recipe.metadata[f"{name}.attention.head_count_kv"]) == heads
    assert decode_value(recipe.metadata[f"{name}.feed_forward_length"]) == rows
    assert loadable.faults(recipe.metadata, {entry.name: entry.shape for entry in recipe.tensors}) == []


def test_dense_one_may_have_keys_of_experts(tmp_path: Path) -> None:
    """As transformers 5 saves all of them: with words, without a number of blocks, and with the names of `model`."""
    words = nemotron_h.case(nemotron_h.WORDS, {"n_routed_experts": 8, "num_experts_per_tok": 2})
    shapes = {name.replace("backbone.", "model."): shape for name, shape in words.shapes.items()}
    found = of(tmp_path / "new" / "m", replace(words, shapes=shapes))
    assert found.architecture.NAME == "nemotron_h"
    names = {entry.name for entry in of(tmp_path / "old" / "m").entries}
    assert {entry.name for entry in found.entries} == names
    assert not found.faults()


def test_experts_may_be_stacked(tmp_path: Path) -> None:
    stacked = nemotron_h.case(nemotron_h_moe.EXPERTS, nemotron_h.WORDS, stacked=True)
    found, apart = of(tmp_path / "stacked" / "m", stacked), of(tmp_path / "apart" / "m", EXPERTS)
    assert not found.faults()
    shapes = {entry.name: entry.shape for entry in apart.entries}
    assert {entry.name: entry.shape for entry in found.entries} == shapes
    assert shapes["blk.1.ffn_up_exps.weight"] == (4, 32, 64)


def test_model_that_lost_its_further_block_is_made_without(tmp_path: Path) -> None:
    shapes = {name: shape for name, shape in NEXTN.shapes.items() if not name.startswith("mtp.")}
    recipe = of(tmp_path / "m", replace(NEXTN, shapes=shapes)).recipe
    assert "nemotron_h_moe.nextn_predict_layers" not in recipe.metadata
    assert decode_value(recipe.metadata["nemotron_h_moe.block_count"]) == 5


@pytest.mark.parametrize(
    ("case", "changes", "said"),
    [
        (DENSE, {"hybrid_override_pattern": "M-M"}, "'hybrid_override_pattern' expects the kind of each of 5 blocks, got 3"),
        (DENSE, {"hybrid_override_pattern": None}, "'layers_block_type' expects the kind of each of 5 blocks"),
        (DENSE, {"hybrid_override_pattern": "M-X*-"}, "'hybrid_override_pattern' expects M, .* got the text \"X\""),
        (DENSE, {"hybrid_override_pattern": "*-*--"}, "no Nemotron-H with no Mamba mixer"),
        (DENSE, {"layers_block_type": [1], "hybrid_override_pattern": ""}, "got the number 1"),
        (EXPERTS, {"hybrid_override_pattern": "MEM*-"}, "experts in some blocks and none in others"),
        (DENSE, {"mlp_hidden_act": "silu"}, "'mlp_hidden_act' expects relu2"),
        (DENSE, {"layer_norm_epsilon": ...}, "'layer_norm_epsilon' expects a number above 0, which is missing"),
        (DENSE, {"mamba_head_dim": ...}, "'mamba_head_dim' expects a whole number"),
        (DENSE, {"head_dim": ...}, "'head_dim' expects a whole number"),
        (DENSE, {"n_groups": 3}, "do not divide into 3 groups"),
        (EXPERTS, {"norm_topk_prob": 1}, "'norm_topk_prob' expects true or false"),
        (EXPERTS, {"routed_scaling_factor": "2"}, "'routed_scaling_factor' expects a number"),
        (EXPERTS, {"n_routed_experts": 5}, "lacks tensors of its experts"),
        (EXPERTS, {"moe_latent_size": 32}, "lacks 4 tensors"),
        (NEXTN, {"num_nextn_predict_layers": 2}, "the checkpoint has 2 blocks for the prediction"),
        (NEXTN, {"moe_latent_size": 16}, "config.json declares"),
    ],
)  # fmt: skip
def test_configurations_that_lie(case: zoo.Case, changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(Error, match=said):
        if found := of(tmp_path / "m", case, **changes).faults():
            raise Error("\n".join(map(str, found)))


@pytest.mark.parametrize(
    ("template", "name"), [("", "nemotron-3-nano"), ("{reasoning effort: efficient}", "nemotron-3.5-nano")]
)
def test_server_has_a_renderer(template: str, name: str) -> None:
    found = renderers.of_checkpoint(["NemotronHForCausalLM", "nemotron_h"], template)
    assert found is not None and (found.renderer, found.parser) == (name, name)

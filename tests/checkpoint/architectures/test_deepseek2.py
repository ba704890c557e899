"""DeepSeek V2: keys and values of one matrix in two tensors, queries that are compressed or not, what the runtime computes otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelbuild.checkpoint.architectures import complete
from modelbuild.checkpoint.conversion import Conversion
from modelbuild.errors import Error
from modelbuild.steps import adapt, merge
from modelbuild.tensors.formats.gguf import decode_value
from modelbuild.tensors.recipe import Recipe
from tests import adapters, recipes, zoo
from tests.zoo.deepseek2 import YARN
from tests.zoo.mistral import changed

CASE = zoo.cases("deepseek2")["scaled rotary embeddings"]
LITE = zoo.cases("deepseek2")["Lite, queries not compressed, f16 in shards"]


def opened(folder: Path, case: zoo.Case = CASE, **changes: Any) -> Conversion:
    folder = zoo.write(folder, replace(case, config=changed(case.config, changes)))
    return Conversion(recipes.Folder(folder), folder="m", outtype="f32", pre=case.pre)


def test_keys_are_transposed_and_values_are_not(tmp_path: Path) -> None:
    folder = zoo.write(tmp_path / "m", CASE)
    leaves = recipes.Folder(folder).leaves()
    found = {
        entry.name: np.frombuffer(recipes.evaluate(entry.expression, leaves), "<f4").reshape(entry.shape)
        for entry in recipes.converted(folder, "f32", CASE.pre).tensors
        if entry.name.startswith("blk.0.attn_")
    }
    name = "model.layers.0.self_attn.kv_b_proj.weight"
    _, shape, data = zoo.tensor(name, "bf16", CASE.shapes[name])
    both = (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").reshape(4, 32 + 24, 32)
    assert shape == (4 * (32 + 24), 32)
    assert np.array_equal(found["blk.0.attn_k_b.weight"], both[:, :32].transpose(0, 2, 1))
    assert np.array_equal(found["blk.0.attn_v_b.weight"], both[:, 32:])


def test_all_heads_share_one_key(tmp_path: Path) -> None:
    found = opened(tmp_path / "m").recipe.metadata
    keys = ("head_count_kv", "key_length", "value_length", "key_length_mla", "value_length_mla", "q_lora_rank")
    assert [decode_value(found[f"deepseek2.attention.{key}"]) for key in keys] == [1, 48, 32, 48, 24, 48]
    assert decode_value(found["deepseek2.rope.scaling.yarn_log_multiplier"]) == pytest.approx(0.0707)
    lite = opened(tmp_path / "lite", LITE).recipe.metadata
    assert "deepseek2.attention.q_lora_rank" not in lite


def test_defaults_are_transformers() -> None:
    full = complete({"model_type": "deepseek_v2", "qk_rope_head_dim": 32})
    assert (full["head_dim"], full["q_lora_rank"], full["n_group"], full["rms_norm_eps"]) == (32, 1536, None, 1e-6)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"qk_nope_head_dim": 40}, r"kv_b_proj.weight' expects 256 rows, got \[224, 32\]"),
        ({"v_head_dim": 0}, "'v_head_dim' expects a whole number of at least 1"),
        ({"kv_lora_rank": "32"}, "'kv_lora_rank' expects a whole number"),
        ({"n_shared_experts": None}, "'n_shared_experts' expects a whole number of at least 1"),
        ({"q_lora_rank": None}, "with 3 blocks only with a 'q_lora_rank', got null"),
        ({"first_k_dense_replace": -1}, "'first_k_dense_replace' expects a number of blocks"),
        ({"rope_scaling": {**YARN, "mscale_all_dim": "1"}}, "'mscale_all_dim' expects a number"),
    ],
)
def test_configurations_that_lie(changes: Mapping[str, Any], what: str, tmp_path: Path) -> None:
    with pytest.raises(Error, match=what):
        _ = opened(tmp_path / "m", **changes).recipe


def test_compressed_queries_are_not_looked_for_in_a_model_of_27_blocks(tmp_path: Path) -> None:
    with pytest.raises(Error, match="with 27 blocks only without a 'q_lora_rank', got the number 48"):
        _ = opened(tmp_path / "m", LITE, q_lora_rank=48).recipe


@pytest.mark.parametrize(
    "changes", [{"kv_lora_rank": 24}, {"q_lora_rank": 40}, {"num_attention_heads": 3, "v_head_dim": 42}]
)
def test_sizes_that_config_json_says_otherwise(changes: Mapping[str, Any], tmp_path: Path) -> None:
    assert any("config.json" in str(error) for error in opened(tmp_path / "m", **changes).faults())


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({}, None),
        ({"topk_method": "group_limited_greedy", "n_group": 2}, "chooses groups of experts"),
        ({"rope_interleave": False}, "rope_interleave false"),
        ({"rope_scaling": {**YARN, "mscale": 1.0}}, "'mscale' to be 'mscale_all_dim'"),
    ],
)
def test_what_the_runtime_computes_otherwise_is_told(
    changes: Mapping[str, Any], what: str | None, tmp_path: Path
) -> None:
    found = [error.what for error in opened(tmp_path / "m", **changes).warnings()]
    assert found == [] if what is None else any(what in each for each in found)


def test_a_model_without_experts_is_dense_in_all_blocks(tmp_path: Path) -> None:
    shapes = {name: shape for name, shape in CASE.shapes.items() if ".mlp." not in name}
    for block in range(3):
        for part in ("gate_proj", "up_proj", "down_proj"):
            shapes[f"model.layers.{block}.mlp.{part}.weight"] = (64, 96) if part == "down_proj" else (96, 64)
    case = replace(CASE, shapes=shapes)
    none = dict.fromkeys(("n_routed_experts", "first_k_dense_replace", "n_shared_experts", "num_experts_per_tok"))
    found = opened(tmp_path / "m", case, **none)
    assert not found.faults()
    assert decode_value(found.recipe.metadata["deepseek2.leading_dense_block_count"]) == 3


def test_a_tokenizer_that_is_code_is_refused(tmp_path: Path) -> None:
    case = replace(CASE, tokenizer="", files={"tokenizer_config.json": '{"tokenizer_class": "TikTokenTokenizer"}'})
    with pytest.raises(Error, match="code that comes with the checkpoint") as caught:
        _ = opened(tmp_path / "m", case).vocabulary
    assert "trust = true" in str(caught.value)


PROJECTIONS = r".*\.0\.self_attn\.(q_a_proj|q_b_proj|kv_a_proj_with_mqa|kv_b_proj|o_proj)"


def test_an_adapter_of_keys_and_values_goes_into_both_of_their_tensors(tmp_path: Path) -> None:
    base = zoo.write(tmp_path / "model", replace(CASE, dtype="f32"))
    model = recipes.converted(base, "source", CASE.pre)
    pairs = adapters.factors(CASE.shapes, PROJECTIONS)
    files = adapters.Files(adapters.write_peft(tmp_path / "adapter", pairs), model)
    made = Recipe.decode(merge.run({"scale": 1.0}, files))
    leaves = {**recipes.Folder(base).leaves(), **files.leaves(), **made.constants}
    names = [f"blk.0.attn_{part}.weight" for part in ("k_b", "v_b", "q_b", "kv_a_mqa")]
    before, after = (
        [
            np.frombuffer(recipes.evaluate(entry.expression, leaves), "<f4").reshape(entry.shape)
            for name in names
            for entry in recipe.tensors
            if entry.name == name
        ]
        for recipe in (model, made)
    )
    stem = "model.layers.0.self_attn"
    grown = {name: 2 * pair["B"] @ pair["A"] for name, pair in pairs.items()}
    both = grown[f"{stem}.kv_b_proj"].reshape(4, 56, 32)
    wanted = [both[:, :32].transpose(0, 2, 1), both[:, 32:], grown[f"{stem}.q_b_proj"]]
    wanted.append(grown[f"{stem}.kv_a_proj_with_mqa"])
    for old, new, delta in zip(before, after, wanted, strict=True):
        assert np.allclose(new - old, delta, atol=1e-6) and np.abs(delta).max() > 0.01


def test_a_layer_over_what_the_runtime_multiplies_without_adapters_is_refused(tmp_path: Path) -> None:
    model = recipes.converted(zoo.write(tmp_path / "model", CASE), "source", CASE.pre)
    pairs = adapters.factors(CASE.shapes, PROJECTIONS)
    files = adapters.Files(adapters.write_peft(tmp_path / "adapter", pairs), model)
    with pytest.raises(Error, match="changes 5 tensors to which the runtime applies no layer") as caught:
        adapt.run({"folder": "adapter", "outtype": "f32", "scale": 1.0}, files)
    assert "merge" in str(caught.value) and "attn_output" not in str(caught.value)

"""Llama checkpoints become recipes: names, rotations, constants, types, metadata."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint.architectures import complete
from modelbuild.checkpoint.architectures.llama import Llama
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.digest import xxh3
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value
from modelbuild.tensors.operations.leaf import leaf
from modelbuild.tensors.recipe import Recipe
from tests import checkpoints, recipes


def llama(config: Mapping[str, Any]) -> Llama:
    return Llama(Checkpoint({"config.json": json.dumps(config).encode()}.get))


def values(recipe: Recipe) -> dict[str, Any]:
    return {key: decode_value(value) for key, value in recipe.metadata.items()}


def expressions(recipe: Recipe) -> dict[str, str]:
    """Each tensor's operations, from the outermost in."""
    found = {}
    for entry in recipe.tensors:
        x, words = entry.expression, []
        while x.operands:
            words.append(f"{x.operation} {x.dtype}" if x.operation != "permute" else f"permute {x.parameters[0]}")
            (x,) = x.operands
        found[entry.name] = " ".join([*words, x.dtype])
    return found


def test_the_recipe_of_a_checkpoint(tmp_path: Path) -> None:
    recipe = recipes.converted(checkpoints.write(tmp_path / "m"))
    found = expressions(recipe)
    assert list(found)[:5] == [
        "output.weight", "token_embd.weight", "blk.0.attn_norm.weight", "blk.0.ffn_down.weight", "blk.0.ffn_gate.weight",
    ]  # fmt: skip
    assert found["blk.1.attn_q.weight"] == "permute 8 bf16"
    assert found["blk.1.attn_k.weight"] == "permute 4 bf16"
    assert found["blk.1.attn_v.weight"] == "bf16"
    assert found["blk.1.ffn_norm.weight"] == "cast f32 bf16"
    assert list(values(recipe)) == [
        "general.architecture", "general.type", "general.name", "general.size_label", "llama.block_count", "llama.context_length",
        "llama.embedding_length", "llama.feed_forward_length", "llama.attention.head_count", "llama.attention.head_count_kv",
        "llama.rope.freq_base", "llama.attention.layer_norm_rms_epsilon", "llama.attention.key_length",
        "llama.attention.value_length", "general.file_type", "llama.vocab_size", "llama.rope.dimension_count",
        "general.quantization_version", "tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.tokens",
        "tokenizer.ggml.scores", "tokenizer.ggml.token_type", "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("dtype", "outtype", "matrix", "file_type"),
    [
        ("f32", "source", "f32", 0), ("f16", "source", "f16", 1), ("bf16", "source", "bf16", 32), ("f32", "auto", "cast f16 f32", 1),
        ("bf16", "auto", "bf16", 32), ("bf16", "f16", "cast f16 bf16", 1), ("f16", "bf16", "cast bf16 f16", 32),
        ("bf16", "f32", "cast f32 bf16", 0), ("bf16", "q8_0", "quantize q8_0 bf16", 7),
    ],
)  # fmt: skip
def test_outtypes(dtype: str, outtype: str, matrix: str, file_type: int, tmp_path: Path) -> None:
    recipe = recipes.converted(checkpoints.write(tmp_path / "m", dtype), outtype)
    assert expressions(recipe)["blk.0.attn_v.weight"] == matrix
    assert values(recipe)["general.file_type"] == file_type


def test_rows_that_do_not_fit_q8_0_become_f16(tmp_path: Path) -> None:
    folder = checkpoints.write(
        tmp_path / "m", hidden_size=48, num_attention_heads=2, num_key_value_heads=1, intermediate_size=64
    )
    found = expressions(recipes.converted(folder, "q8_0"))
    assert found["blk.0.ffn_up.weight"] == "cast f16 bf16"
    assert found["blk.0.ffn_down.weight"] == "quantize q8_0 bf16"


def test_a_tied_checkpoint_has_no_output(tmp_path: Path) -> None:
    recipe = recipes.converted(checkpoints.write(tmp_path / "m", tied=True, tie_word_embeddings=False))
    assert "output.weight" not in expressions(recipe)


def test_shards_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    whole = recipes.converted(checkpoints.write(tmp_path / "whole/m"))
    shards = recipes.converted(checkpoints.write(tmp_path / "shards/m", shards=3))
    assert shards.metadata == whole.metadata
    assert {e.name: e.expression.key for e in shards.tensors} == {e.name: e.expression.key for e in whole.tensors}


def test_nothing_but_the_folder_decides(tmp_path: Path) -> None:
    here, there = checkpoints.write(tmp_path / "a/m"), checkpoints.write(tmp_path / "b/m")
    assert recipes.converted(here).encode() == recipes.converted(there).encode()
    assert values(recipes.converted(checkpoints.write(tmp_path / "other-1B")))["general.name"] == "Other 1B"


SCALING = {
    "rope_type": "llama3",
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


@pytest.mark.parametrize(
    ("head_dim", "factor", "ones", "middle", "digest"),
    [
        (128, 8.0, 29, [1.2074838876724243, 1.5534145832061768, 2.026313066482544, 2.6945300102233887, 3.684253215789795,
          5.257327079772949],
         "8b516af9cb5db26e"),
        (64, 32.0, 15, [1.6513292789459229, 3.2922627925872803, 9.666730880737305], "d25a6d176d931306"),
        (128, 32.0, 29, None, "af00a6286e9cba87"),
    ],
)  # fmt: skip
def test_rope_freqs_are_llama_cpps(
    head_dim: int, factor: float, ones: int, middle: list[float] | None, digest: str
) -> None:
    """The published Llama 3.1 8B, 3.2 1B and 3.2 3B."""
    config = {"rope_theta": 500000.0, "head_dim": head_dim, "rope_scaling": {**SCALING, "factor": factor}}
    data = llama(config).constants()["rope_freqs.weight"]
    found = struct.unpack(f"<{head_dim // 2}f", data)
    assert found[:ones] == (1.0,) * ones and found[ones] > 1
    if middle is not None:
        assert list(found[ones:]) == middle + [factor] * (head_dim // 2 - ones - len(middle))
    assert hashlib.sha256(data).hexdigest().startswith(digest)


def test_rope_freqs_are_a_constant_of_the_recipe(tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "m", rope_scaling={**SCALING, "factor": 8.0})
    recipe = recipes.converted(folder)
    entry = recipe.tensors[0]
    assert (entry.name, entry.shape, entry.expression.dtype) == ("rope_freqs.weight", (16,), "f32")
    assert {entry.expression.digest: recipes.evaluate(entry.expression, recipe.constants)} == recipe.constants
    assert xxh3(recipe.constants[entry.expression.digest]) == entry.expression.digest
    assert recipes.quantized(recipe, "q4_K_M").constants == recipe.constants


def test_defaults_are_transformers(tmp_path: Path) -> None:
    drop = {"num_key_value_heads": None, "max_position_embeddings": None, "rms_norm_eps": None, "rope_theta": None}
    full = complete({**checkpoints.CONFIG, **drop, "head_dim": None})
    assert (full["num_key_value_heads"], full["head_dim"]) == (8, 32)
    bare = complete({"model_type": "llama"})
    assert (bare["max_position_embeddings"], bare["rms_norm_eps"], bare["head_dim"]) == (2048, 1e-6, 128)
    assert "head_dim" not in complete({"model_type": "other"})


def test_names_with_and_without_their_prefix() -> None:
    sources = {
        name: leaf("xxh3:0", "bf16", (8, 8))
        for name in ("layers.1.mlp.up_proj.weight", "model.norm.weight", "lm_head.weight")
    }
    config = {**checkpoints.CONFIG, "num_attention_heads": 2}
    assert [name for name, _ in llama(config).tensors(sources)] == [
        "blk.1.ffn_up.weight",
        "output_norm.weight",
        "output.weight",
    ]


def test_tensors_that_no_model_of_text_needs_are_left_out(tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "m")
    before = recipes.converted(folder)
    tensors = checkpoints.tensors(checkpoints.CONFIG, "bf16")
    tensors |= {
        "model.layers.0.self_attn.rotary_emb.inv_freq": ("I64", (2,), bytes(16)),
        "vision_tower.x": ("F8_E4M3", (2,), bytes(2)),
    }
    checkpoints.save(folder / "model.safetensors", tensors)
    assert recipes.converted(folder).encode() == before.encode()


def test_a_config_is_json_with_whatever_else_transformers_writes(tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "m")
    plain = recipes.converted(folder)
    path = folder / "config.json"
    path.write_text(
        json.dumps(
            {**json.loads(path.read_text()), "torch_dtype": "float16", "use_cache": True, "transformers_version": "9"}
        )
    )
    assert recipes.converted(folder).encode() == plain.encode()


def test_mistrals_own_tokenizer_is_not_read_alone(tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "m")
    (folder / "tekken.json").write_text("{}")
    with pytest.raises(
        Error, match="is Mistral's own tokenizer, which is not supported without a tokenizer.json"
    ) as caught:
        recipes.converted(folder)
    assert caught.value.hint and "copy tokenizer.json" in caught.value.hint and "mistral-common" in caught.value.hint
    (folder / "tokenizer.json").write_text("{}")
    recipes.converted(folder)

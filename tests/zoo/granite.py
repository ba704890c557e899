"""Granite: multipliers of all kinds, biases, scaled rotary embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import Case

CONFIG: dict[str, Any] = {
    "architectures": ["GraniteForCausalLM"],
    "model_type": "granite",
    "vocab_size": 288,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "attention_multiplier": 0.0625,
    "embedding_multiplier": 12.0,
    "residual_multiplier": 0.22,
    "logits_scaling": 8.0,
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def shapes(config: Mapping[str, Any], *, biases: bool = False) -> dict[str, tuple[int, ...]]:
    """The tensors of a checkpoint but those of its feed forward networks and its output."""
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    keys = hidden // heads * (config.get("num_key_value_heads") or heads)
    found: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config["vocab_size"], hidden),
        "model.norm.weight": (hidden,),
    }
    for block in range(config["num_hidden_layers"]):
        stem = f"model.layers.{block}."
        for name, rows, columns in (
            ("q", hidden, hidden),
            ("k", keys, hidden),
            ("v", keys, hidden),
            ("o", hidden, hidden),
        ):
            found[f"{stem}self_attn.{name}_proj.weight"] = (rows, columns)
            if biases:
                found[f"{stem}self_attn.{name}_proj.bias"] = (rows,)
        found[f"{stem}input_layernorm.weight"] = found[f"{stem}post_attention_layernorm.weight"] = (hidden,)
    return found


def dense(config: Mapping[str, Any], *, biases: bool = False, tied: bool = True) -> dict[str, tuple[int, ...]]:
    hidden, forward = config["hidden_size"], config["intermediate_size"]
    found = shapes(config, biases=biases)
    for block in range(config["num_hidden_layers"]):
        stem = f"model.layers.{block}.mlp."
        for name, rows, columns in (("gate", forward, hidden), ("up", forward, hidden), ("down", hidden, forward)):
            found[f"{stem}{name}_proj.weight"] = (rows, columns)
            if biases:
                found[f"{stem}{name}_proj.bias"] = (rows,)
    if not tied:
        found["lm_head.weight"] = (config["vocab_size"], hidden)
    return found


def case(changes: Mapping[str, Any] | None = None, *, biases: bool = False, tied: bool = True, **options: Any) -> Case:
    config = {key: value for key, value in {**CONFIG, **(changes or {})}.items() if value is not ...}
    full = {**CONFIG, **config}
    return Case(config, dense(full, biases=biases, tied=tied), **options)


MULTIPLIERS = ("attention_multiplier", "embedding_multiplier", "residual_multiplier", "logits_scaling")
FILLED = (
    *MULTIPLIERS, "num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "rope_theta", "tie_word_embeddings",
    "bos_token_id", "eos_token_id",
)  # fmt: skip
"""What transformers fills in."""

CASES = {
    "tied": case(),
    "untied, f16": case({"tie_word_embeddings": False}, tied=False, dtype="f16"),
    "f32": case(dtype="f32"),
    "biases": case({"attention_bias": True, "mlp_bias": True}, biases=True),
    "a head size of its own": case({"head_dim": 16}),
    "no multipliers": case(dict.fromkeys(MULTIPLIERS, ...)),
    "multipliers of zero and null": case(
        {"attention_multiplier": 0, "embedding_multiplier": 0.0, "residual_multiplier": None, "logits_scaling": 1},
        logits=False,
    ),
    "few keys": case({**dict.fromkeys(FILLED, ...), "num_key_value_heads": None}, logits=False),
    "another model_type": case({"model_type": "unheard-of"}, logits=False),
    "linear scaling": case({"rope_scaling": {"rope_type": "linear", "factor": 2.0}}),
    "linear scaling in older words": case(
        {"rope_scaling": {"type": "linear", "factor": 2.0}, "embedding_multiplier": ..., "max_position_embeddings": ...},
        logits=False,
    ),
    "scaling of two types": case(
        {"rope_scaling": {"type": "linear", "rope_type": "dynamic", "factor": 2.0}, "embedding_multiplier": ...}, logits=False
    ),
    "yarn": case(
        {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "beta_fast": 16.0}}
    ),
    "rows of 40": case({"hidden_size": 40, "intermediate_size": 72}, logits=False),
    "12 blocks in shards": case({"num_hidden_layers": 12}, shards=3),
    "another model's vocabulary": case({"vocab_size": 49152}, logits=False),
}  # fmt: skip

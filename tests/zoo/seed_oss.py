"""Seed-OSS: biases on queries, keys and values, heads of their own size."""

from __future__ import annotations

from typing import Any

from . import Case, mistral
from .mistral import changed, shapes

CONFIG: dict[str, Any] = changed(
    {
        **mistral.CONFIG, "architectures": ["SeedOssForCausalLM"], "model_type": "seed_oss", "vocab_size": 280, "head_dim": 32,
        "attention_bias": True, "attention_out_bias": False, "mlp_bias": False, "attention_dropout": 0.0, "residual_dropout": 0.0,
    },
    {"sliding_window": ...},
)  # fmt: skip
INPUTS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
FEW = {
    key: CONFIG[key]
    for key in ("architectures", "model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "attention_dropout")
} | {"residual_dropout": 0.0, "num_attention_heads": 8}  # fmt: skip
TIED = {**CONFIG, "tie_word_embeddings": True, "head_dim": None, "attention_bias": False}

CASES = {
    "untied": Case(CONFIG, shapes(CONFIG, biases=INPUTS), tokenizer="byte pairs"),
    "few keys, f16": Case(
        FEW,
        shapes({**FEW, "head_dim": 128, "num_key_value_heads": 8}, biases=INPUTS),
        dtype="f16",
        tokenizer="byte pairs",
    ),
    "tied, no biases, f32 in shards": Case(
        TIED, shapes(TIED, tied=True), dtype="f32", shards=2, tokenizer="byte pairs"
    ),
}

"""Nomic's encoder with experts and Unigram."""

from __future__ import annotations

from typing import Any

from .nomic_bert import CONFIG, case

EXPERTS: dict[str, Any] = {
    **CONFIG,
    "activation_function": "gelu",
    "mlp_fc1_bias": True,
    "mlp_fc2_bias": True,
    "qkv_proj_bias": True,
    "n_positions": 2048,
    "rotary_emb_base": 10000.0,
    "type_vocab_size": 1,
    "vocab_size": 180,
    "pad_token_id": 1,
    "moe_every_n_layers": 2,
    "moe_top_k": 2,
    "num_experts": 4,
}

CASES = {
    "experts": case(EXPERTS, tokenizer="unigram", pooling="mean_tokens"),
    "experts, four blocks, f16": case({**EXPERTS, "n_layer": 4}, tokenizer="unigram", dtype="f16"),
}

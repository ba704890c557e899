"""Qwen3: norms over queries and keys, heads of another width than hidden_size / heads, both kinds of tokenizers."""

from __future__ import annotations

import json
from typing import Any

from . import BYTE_PAIRS_CONFIG, Case

CONFIG: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 256,
    "max_window_layers": 2,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000,
    "rope_scaling": None,
    "sliding_window": None,
    "use_sliding_window": False,
    "tie_word_embeddings": True,
}


def shapes(config: dict[str, Any], *, tied: bool = False, bias: bool = False) -> dict[str, tuple[int, ...]]:
    hidden, forward, heads = config["hidden_size"], config["intermediate_size"], config.get("num_attention_heads", 32)
    head, kv = config.get("head_dim", 128), config.get("num_key_value_heads", 32)
    found: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config["vocab_size"], hidden),
        "model.norm.weight": (hidden,),
    }
    if not tied:
        found["lm_head.weight"] = (config["vocab_size"], hidden)
    for block in range(config["num_hidden_layers"]):
        stem = f"model.layers.{block}"
        found |= {
            f"{stem}.input_layernorm.weight": (hidden,),
            f"{stem}.post_attention_layernorm.weight": (hidden,),
            f"{stem}.self_attn.q_norm.weight": (head,),
            f"{stem}.self_attn.k_norm.weight": (head,),
            f"{stem}.mlp.gate_proj.weight": (forward, hidden),
            f"{stem}.mlp.up_proj.weight": (forward, hidden),
            f"{stem}.mlp.down_proj.weight": (hidden, forward),
        }
        for part, rows, columns in (
            ("q", heads * head, hidden), ("k", kv * head, hidden), ("v", kv * head, hidden), ("o", hidden, heads * head),
        ):  # fmt: skip
            found[f"{stem}.self_attn.{part}_proj.weight"] = (rows, columns)
            if bias:
                found[f"{stem}.self_attn.{part}_proj.bias"] = (rows,)
    return found


FEW = {key: CONFIG[key] for key in ("architectures", "model_type", "vocab_size", "hidden_size", "num_hidden_layers")}
FEW |= {"intermediate_size": 40}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
BIASED = {**CONFIG, "attention_bias": True, "tie_word_embeddings": False}
TWELVE = {**CONFIG, "num_hidden_layers": 12, "hidden_size": 32}

CASES = {
    "tied": Case(CONFIG, shapes(CONFIG, tied=True), tokenizer="byte pairs"),
    "untied, biases, f16": Case(BIASED, shapes(BIASED, bias=True), dtype="f16", logits=False),
    "few keys, rows of 40": Case(FEW, shapes(FEW), tokenizer="byte pairs"),
    "yarn, tied with an output, f32": Case({**CONFIG, "rope_scaling": YARN}, shapes(CONFIG), dtype="f32", logits=False),
    "twelve blocks in shards": Case(TWELVE, shapes(TWELVE, tied=True), shards=4, tokenizer="byte pairs"),
    "embeddings": Case(
        CONFIG,
        {name.removeprefix("model."): shape for name, shape in shapes(CONFIG, tied=True).items()},
        tokenizer="byte pairs",
        files={
            "modules.json": json.dumps([{"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}]),
            "1_Pooling/config.json": json.dumps({"pooling_mode_mean_tokens": False, "pooling_mode_lasttoken": True}),
        },
        logits=False,
    ),
    "reranker": Case(
        CONFIG,
        shapes(CONFIG, tied=True),
        tokenizer="answers",
        files={"README.md": "# Qwen3-Reranker-0.6B\n"},
        logits=False,
    ),
    "reranker, untied, with a template": Case(
        {**BIASED, "attention_bias": False},
        shapes(BIASED),
        dtype="f16",
        tokenizer="answers",
        files={
            "README.md": "---\nlicense: mit\n---\n# Qwen3-Reranker-4B\n",
            "tokenizer_config.json": json.dumps(BYTE_PAIRS_CONFIG | {"chat_template": "{{ messages }}"}),
        },
        logits=False,
    ),
    "a real tokenizer": Case(
        {**CONFIG, "vocab_size": 151936, "hidden_size": 32},
        shapes({**CONFIG, "vocab_size": 151936, "hidden_size": 32}, tied=True),
        tokenizer="qwen2.5",
        logits=False,
    ),
}

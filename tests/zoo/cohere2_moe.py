"""Cohere 2 with experts: with and without dense blocks and shared experts, both kinds of norms, biases of zero."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import Case
from .mistral import Shapes, changed
from .mistral import shapes as dense

FULL, WINDOW = "full_attention", "sliding_attention"

CONFIG: dict[str, Any] = {
    "architectures": ["Cohere2MoeForCausalLM"],
    "model_type": "cohere2_moe",
    "vocab_size": 280,
    "hidden_size": 64,
    "intermediate_size": 32,
    "prefix_dense_intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 256,
    "layer_norm_eps": 1e-5,
    "logit_scale": 0.25,
    "rope_theta": 50000,
    "sliding_window": 32,
    "layer_types": [FULL, WINDOW, WINDOW, FULL],
    "first_k_dense_replace": 1,
    "prefix_dense_sliding_window_pattern": 1,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "num_shared_experts": 1,
    "shared_expert_combination_strategy": "average",
    "expert_selection_fn": "sigmoid",
    "norm_topk_prob": True,
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 6,
}


def shapes(config: Mapping[str, Any], mtp: int = 0) -> Shapes:
    hidden, width, experts = config["hidden_size"], config["intermediate_size"], config["num_experts"]
    blocks, shared = config["num_hidden_layers"], config.get("num_shared_experts") or 0
    whole = {
        **config,
        "num_hidden_layers": blocks + mtp,
        "intermediate_size": config.get("prefix_dense_intermediate_size") or width,
    }
    plain = dense(whole, tied=True)
    sparse = tuple(f"model.layers.{n}.mlp." for n in range(config.get("first_k_dense_replace", 0), blocks + mtp))
    found = {
        name: shape for name, shape in plain.items() if not name.startswith(sparse) and "post_attention" not in name
    }
    for stem in sparse:
        found[f"{stem}gate.weight"] = (experts, hidden)
        parts = [(f"experts.{expert}", width) for expert in range(experts)]
        for each, wide in [*parts, *([("shared_experts", width * shared)] if shared else [])]:
            found[f"{stem}{each}.gate_proj.weight"] = found[f"{stem}{each}.up_proj.weight"] = (wide, hidden)
            found[f"{stem}{each}.down_proj.weight"] = (hidden, wide)
    for number in range(blocks, blocks + mtp):
        found[f"model.layers.{number}.eh_proj.weight"] = (hidden, 2 * hidden)
        for name in ("enorm", "hnorm", "shared_head.norm"):
            found[f"model.layers.{number}.{name}.weight"] = (hidden,)
    return found


PLAIN = changed(
    CONFIG,
    {
        "prefix_dense_intermediate_size": None, "first_k_dense_replace": ..., "num_shared_experts": 0, "rms_norm_eps": 1e-6,
        "num_experts": 8, "num_experts_per_tok": 3, "layer_types": [WINDOW, WINDOW, WINDOW, FULL],
        "mlp_layer_types": ["sparse"] * 4, "rope_theta": ..., "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
    },
)  # fmt: skip
FURTHER = changed(CONFIG, {"num_nextn_predict_layers": 1, "num_hidden_layers": 2, "layer_types": [FULL, WINDOW]})
CASES = {
    "a dense block, shared experts": Case(CONFIG, shapes(CONFIG), tokenizer="byte pairs", newer=True),
    "eight experts, rms norms, f32": Case(PLAIN, shapes(PLAIN), dtype="f32", tokenizer="byte pairs", newer=True),
    "a block for further tokens, f16 in shards": Case(
        FURTHER, shapes(FURTHER, 1), dtype="f16", tokenizer="byte pairs", shards=2, logits=False
    ),
}  # fmt: skip

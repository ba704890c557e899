"""MiniMax M2: experts chosen with a bias, half of each head turns, heads of their own size."""

from __future__ import annotations

from typing import Any

from . import Case
from .mistral import Shapes, changed
from .mistral import shapes as dense

CONFIG: dict[str, Any] = {
    "architectures": ["MiniMaxM2ForCausalLM"],
    "model_type": "minimax_m2",
    "vocab_size": 280,
    "hidden_size": 64,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "rotary_dim": 16,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-6,
    "rope_theta": 5000000,
    "scoring_func": "sigmoid",
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "use_qk_norm": True,
    "qk_norm_type": "per_layer",
    "use_routing_bias": True,
    "use_mtp": True,
    "num_mtp_modules": 3,
    "tie_word_embeddings": False,
}


def shapes(config: dict[str, Any]) -> Shapes:
    hidden, forward, experts = config["hidden_size"], config["intermediate_size"], config["num_local_experts"]
    head = config["head_dim"]
    found = {name: shape for name, shape in dense(config).items() if ".mlp." not in name}
    for block in range(config["num_hidden_layers"]):
        stem = f"model.layers.{block}."
        found[f"{stem}self_attn.q_norm.weight"] = (config["num_attention_heads"] * head,)
        found[f"{stem}self_attn.k_norm.weight"] = (config["num_key_value_heads"] * head,)
        found[f"{stem}block_sparse_moe.gate.weight"] = (experts, hidden)
        found[f"{stem}block_sparse_moe.e_score_correction_bias"] = (experts,)
        for expert in range(experts):
            each = f"{stem}block_sparse_moe.experts.{expert}"
            found[f"{each}.w1.weight"] = found[f"{each}.w3.weight"] = (forward, hidden)
            found[f"{each}.w2.weight"] = (hidden, forward)
    return found


EIGHT = changed(
    CONFIG,
    {"num_local_experts": 8, "hidden_size": 40, "head_dim": 16, "num_hidden_layers": 1, "num_experts_per_tok": 3},
)

CASES = {
    "four experts": Case(CONFIG, shapes(CONFIG), tokenizer="byte pairs", newer=True),
    "eight experts, rows of 40, f32": Case(EIGHT, shapes(EIGHT), dtype="f32", tokenizer="byte pairs", newer=True),
    "f16 in shards, gates of f32": Case(
        changed(CONFIG, {"rotary_dim": 32, "num_hidden_layers": 1}),
        shapes({**CONFIG, "num_hidden_layers": 1}),
        dtype="f16",
        dtypes={"model.layers.0.block_sparse_moe.gate.weight": "f32", "model.layers.0.block_sparse_moe.e_score_correction_bias": "f32"},
        shards=2, tokenizer="byte pairs", logits=False,
    ),
}  # fmt: skip

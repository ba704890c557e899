"""Mixtral: four and eight experts, tied or not, in shards, of several dtypes."""

from __future__ import annotations

from typing import Any

from . import Case

CONFIG: dict[str, Any] = {
    "architectures": ["MixtralForCausalLM"],
    "model_type": "mixtral",
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1e6,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "sliding_window": None,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def shapes(config: dict[str, Any], *, tied: bool = False) -> dict[str, tuple[int, ...]]:
    hidden, forward, heads = config["hidden_size"], config["intermediate_size"], config.get("num_attention_heads", 32)
    head = config.get("head_dim") or hidden // heads
    experts, kv = config.get("num_local_experts", 8), config.get("num_key_value_heads", 8)
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
            f"{stem}.self_attn.q_proj.weight": (heads * head, hidden),
            f"{stem}.self_attn.k_proj.weight": (kv * head, hidden),
            f"{stem}.self_attn.v_proj.weight": (kv * head, hidden),
            f"{stem}.self_attn.o_proj.weight": (hidden, heads * head),
            f"{stem}.block_sparse_moe.gate.weight": (experts, hidden),
        }
        for expert in range(experts):
            found |= {
                f"{stem}.block_sparse_moe.experts.{expert}.w1.weight": (forward, hidden),
                f"{stem}.block_sparse_moe.experts.{expert}.w2.weight": (hidden, forward),
                f"{stem}.block_sparse_moe.experts.{expert}.w3.weight": (forward, hidden),
            }
    return found


def without(config: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in keys}


FEW = without(
    {**CONFIG, "num_attention_heads": 8, "tie_word_embeddings": True},
    "num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "rope_theta", "num_local_experts", "num_experts_per_tok",
)  # fmt: skip
FOUR = {**CONFIG, "num_local_experts": 4, "num_key_value_heads": None, "intermediate_size": 40, "head_dim": 24}
TWELVE = {**CONFIG, "num_local_experts": 4, "num_hidden_layers": 12, "intermediate_size": 32}
EXPERT = "model.layers.{}.block_sparse_moe.experts.{}.w{}.weight"

CASES = {
    "eight experts": Case(CONFIG, shapes(CONFIG)),
    "eight experts, few keys, tied, f16": Case(FEW, shapes(FEW, tied=True), dtype="f16"),
    "four experts, head_dim, rows of 40, f32": Case(
        {**FOUR, "rope_scaling": {"type": "linear", "factor": 2.0}},
        {**shapes({**FOUR, "num_key_value_heads": 4}), "model.layers.0.self_attn.rotary_emb.inv_freq": (12,)},
        dtype="f32",
    ),
    "twelve blocks of four experts, in shards": Case(TWELVE, shapes(TWELVE), shards=5),
    "experts of several dtypes": Case(
        CONFIG, shapes(CONFIG), dtypes={EXPERT.format(0, 3, 1): "f32", EXPERT.format(1, 0, 2): "f16"}, logits=False
    ),
}

"""OLMo 2 and 3: norms after attention and feed-forward, over all queries and all keys; windows in three of four blocks."""

from __future__ import annotations

from typing import Any

from . import Case

CONFIG: dict[str, Any] = {
    "architectures": ["Olmo2ForCausalLM"],
    "model_type": "olmo2",
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-6,
    "rope_theta": 500000,
    "rope_scaling": None,
    "pad_token_id": 5,
    "eos_token_id": 4,
}


def shapes(config: dict[str, Any], *, tied: bool = False) -> dict[str, tuple[int, ...]]:
    hidden, forward, heads = (
        config["hidden_size"],
        config.get("intermediate_size", 11008),
        config["num_attention_heads"],
    )
    kv = config.get("num_key_value_heads") or heads
    narrow = kv * hidden // heads
    found: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config["vocab_size"], hidden),
        "model.norm.weight": (hidden,),
    }
    if not tied:
        found["lm_head.weight"] = (config["vocab_size"], hidden)
    for block in range(config["num_hidden_layers"]):
        stem = f"model.layers.{block}"
        found |= {
            f"{stem}.post_attention_layernorm.weight": (hidden,),
            f"{stem}.post_feedforward_layernorm.weight": (hidden,),
            f"{stem}.self_attn.q_norm.weight": (hidden,),
            f"{stem}.self_attn.k_norm.weight": (narrow,),
            f"{stem}.self_attn.q_proj.weight": (hidden, hidden),
            f"{stem}.self_attn.k_proj.weight": (narrow, hidden),
            f"{stem}.self_attn.v_proj.weight": (narrow, hidden),
            f"{stem}.self_attn.o_proj.weight": (hidden, hidden),
            f"{stem}.mlp.gate_proj.weight": (forward, hidden),
            f"{stem}.mlp.up_proj.weight": (forward, hidden),
            f"{stem}.mlp.down_proj.weight": (hidden, forward),
        }
    return found


def keeping(config: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: config[key] for key in ("architectures", "model_type", *keys)}


FEW = keeping(CONFIG, "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
GROUPED = {
    **CONFIG,
    "num_key_value_heads": 2,
    "intermediate_size": 40,
    "rope_scaling": {"type": "linear", "factor": 2.0},
}
TWELVE = {**CONFIG, "num_hidden_layers": 12, "hidden_size": 32}
THREE = {
    **CONFIG,
    "architectures": ["Olmo3ForCausalLM"],
    "model_type": "olmo3",
    "num_hidden_layers": 5,
    "sliding_window": 64,
}
FEW_OF_THREE = {**FEW, "architectures": ["Olmo3ForCausalLM"], "model_type": "olmo3"}
YARN = {
    "rope_type": "yarn",
    "factor": 8.0,
    "beta_fast": 32,
    "beta_slow": 1,
    "attention_factor": 1.2,
    "original_max_position_embeddings": 64,
}
LEFTOVER = {"model.layers.0.self_attn.rotary_emb.inv_freq": (8,)}

CASES = {
    "untied": Case(CONFIG, shapes(CONFIG), tokenizer="byte pairs"),
    "grouped, linear, rows of 40, f32": Case(GROUPED, shapes(GROUPED), dtype="f32", tokenizer="byte pairs"),
    "few keys, tied, f16": Case(FEW, {**shapes(FEW, tied=True), **LEFTOVER}, dtype="f16", tokenizer="byte pairs", logits=False),
    "twelve blocks in shards": Case(TWELVE, shapes(TWELVE), shards=4, tokenizer="byte pairs"),
    "scaling that transformers refuses": Case(
        {**FEW, "rope_scaling": YARN}, shapes(FEW), tokenizer="byte pairs", logits=False
    ),
    "olmo 3": Case(THREE, shapes(THREE), tokenizer="byte pairs", logits=False),
    "olmo 3, few keys, f16": Case(FEW_OF_THREE, shapes(FEW_OF_THREE), dtype="f16", tokenizer="byte pairs", logits=False),
    "olmo 3, layer_types, yarn": Case(
        {**THREE, "layer_types": ["full_attention", *["sliding_attention"] * 4], "rope_scaling": YARN},
        shapes(THREE), tokenizer="byte pairs", logits=False,
    ),
    "olmo 2 with a window": Case({**CONFIG, "sliding_window": 64}, shapes(CONFIG), tokenizer="byte pairs", logits=False),
}  # fmt: skip

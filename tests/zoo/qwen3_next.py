"""Qwen3-Next: blocks of two kinds, queries to gates in one matrix, experts in both forms, blocks for further tokens."""

from __future__ import annotations

from typing import Any

from . import Case

CONFIG: dict[str, Any] = {
    "architectures": ["Qwen3NextForCausalLM"],
    "model_type": "qwen3_next",
    "vocab_size": 288,
    "hidden_size": 64,
    "intermediate_size": 96,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 32,
    "linear_value_head_dim": 32,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0,
    "partial_rotary_factor": 0.25,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "norm_topk_prob": True,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "tie_word_embeddings": False,
}

Shapes = dict[str, tuple[int, ...]]


def ends(config: dict[str, Any], *, tied: bool = False, prefix: str = "model.") -> Shapes:
    hidden, vocabulary = config["hidden_size"], config["vocab_size"]
    found: Shapes = {f"{prefix}embed_tokens.weight": (vocabulary, hidden), f"{prefix}norm.weight": (hidden,)}
    return found if tied else {**found, "lm_head.weight": (vocabulary, hidden)}


def attention(config: dict[str, Any], stem: str) -> Shapes:
    hidden, heads, head = config["hidden_size"], config["num_attention_heads"], config["head_dim"]
    keys = config["num_key_value_heads"] * head
    return {
        f"{stem}.input_layernorm.weight": (hidden,),
        f"{stem}.post_attention_layernorm.weight": (hidden,),
        f"{stem}.self_attn.q_proj.weight": (2 * heads * head, hidden),
        f"{stem}.self_attn.k_proj.weight": (keys, hidden),
        f"{stem}.self_attn.v_proj.weight": (keys, hidden),
        f"{stem}.self_attn.o_proj.weight": (hidden, heads * head),
        f"{stem}.self_attn.q_norm.weight": (head,),
        f"{stem}.self_attn.k_norm.weight": (head,),
    }


def linear(config: dict[str, Any], stem: str, *, apart: bool = False) -> Shapes:
    """`apart`: queries to gates and the two projections of ranks are tensors of their own, as in Qwen3.5."""
    hidden, rank = config["hidden_size"], config["linear_num_value_heads"]
    keys = config["linear_num_key_heads"] * config["linear_key_head_dim"]
    values = rank * config["linear_value_head_dim"]
    mixed = 2 * keys + values
    found: Shapes = {
        f"{stem}.input_layernorm.weight": (hidden,),
        f"{stem}.post_attention_layernorm.weight": (hidden,),
        f"{stem}.linear_attn.A_log": (rank,),
        f"{stem}.linear_attn.dt_bias": (rank,),
        f"{stem}.linear_attn.conv1d.weight": (mixed, 1, config["linear_conv_kernel_dim"]),
        f"{stem}.linear_attn.norm.weight": (config["linear_value_head_dim"],),
        f"{stem}.linear_attn.out_proj.weight": (hidden, values),
    }
    parts = {"qkv": mixed, "z": values, "a": rank, "b": rank} if apart else {"qkvz": mixed + values, "ba": 2 * rank}
    return found | {f"{stem}.linear_attn.in_proj_{part}.weight": (rows, hidden) for part, rows in parts.items()}


def experts(config: dict[str, Any], stem: str, *, stacked: bool = False) -> Shapes:
    hidden, forward, shared = (
        config[key] for key in ("hidden_size", "moe_intermediate_size", "shared_expert_intermediate_size")
    )
    count = config["num_experts"]
    found: Shapes = {
        f"{stem}.mlp.gate.weight": (count, hidden),
        f"{stem}.mlp.shared_expert_gate.weight": (1, hidden),
        f"{stem}.mlp.shared_expert.gate_proj.weight": (shared, hidden),
        f"{stem}.mlp.shared_expert.up_proj.weight": (shared, hidden),
        f"{stem}.mlp.shared_expert.down_proj.weight": (hidden, shared),
    }
    if stacked:
        stems = f"{stem}.mlp.experts"
        return found | {
            f"{stems}.gate_up_proj": (count, 2 * forward, hidden),
            f"{stems}.down_proj": (count, hidden, forward),
        }
    for expert in range(count):
        parts = {"gate_proj": (forward, hidden), "up_proj": (forward, hidden), "down_proj": (hidden, forward)}
        found |= {f"{stem}.mlp.experts.{expert}.{part}.weight": shape for part, shape in parts.items()}
    return found


def joining(config: dict[str, Any]) -> Shapes:
    """What joins the blocks for further tokens to the model."""
    hidden = config["hidden_size"]
    norms = ("pre_fc_norm_embedding", "pre_fc_norm_hidden", "norm")
    return {"mtp.fc.weight": (hidden, 2 * hidden), **{f"mtp.{norm}.weight": (hidden,) for norm in norms}}


def is_linear(config: dict[str, Any], block: int) -> bool:
    types = config.get("layer_types")
    if types:
        return bool(types[block] == "linear_attention")
    return (block + 1) % config.get("full_attention_interval", 4) != 0


def shapes(config: dict[str, Any], *, stacked: bool = False, mtp: bool = False) -> Shapes:
    found = ends(config, tied=config["tie_word_embeddings"])
    for block in range(config["num_hidden_layers"]):
        stem = f"model.layers.{block}"
        found |= linear(config, stem) if is_linear(config, block) else attention(config, stem)
        found |= experts(config, stem, stacked=stacked)
    if mtp:
        found |= joining(config) | attention(config, "mtp.layers.0") | experts(config, "mtp.layers.0", stacked=stacked)
    return found


FOUR = {
    **CONFIG,
    "linear_num_key_heads": 4,
    "layer_types": ["full_attention", "linear_attention", "linear_attention", "full_attention"],
    "tie_word_embeddings": True,
    "dtype": "float16",
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5},
}
del FOUR["rope_theta"], FOUR["partial_rotary_factor"]

CASES = {
    "blocks for further tokens": Case(
        {**CONFIG, "full_attention_interval": 2},
        shapes({**CONFIG, "full_attention_interval": 2}, mtp=True),
        tokenizer="byte pairs",
    ),
    "as many heads of values as of keys, tied, stacked, f16": Case(
        FOUR, shapes(FOUR, stacked=True), dtype="f16", tokenizer="byte pairs", mtp="drop", logits=False
    ),
    # Each token has all experts: else two that are as good for it decide its logits.
    "without blocks for further tokens, in shards": Case(
        {**CONFIG, "num_experts_per_tok": 4}, shapes(CONFIG), shards=3, tokenizer="byte pairs", mtp="drop"
    ),
}

"""Granite 4: Mamba-2 blocks with some of attention, dense and with experts, and models of attention alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import Case
from .granite import CONFIG as DENSE

CONFIG: dict[str, Any] = {
    **{key: value for key, value in DENSE.items() if key != "num_hidden_layers"},
    "architectures": ["GraniteMoeHybridForCausalLM"],
    "model_type": "granitemoehybrid",
    "num_hidden_layers": 4,
    "shared_intermediate_size": 96,
    "num_local_experts": 0,
    "num_experts_per_tok": 0,
    "position_embedding_type": "nope",
    "layer_types": ["mamba", "mamba", "attention", "mamba"],
    "mamba_n_heads": 4,
    "mamba_d_head": 32,
    "mamba_n_groups": 1,
    "mamba_d_state": 16,
    "mamba_d_conv": 4,
    "mamba_expand": 2,
    "mamba_conv_bias": True,
    "mamba_proj_bias": False,
}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2, "shared_intermediate_size": 64, "intermediate_size": 32}
ATTENTION = {"layer_types": ["attention"] * 2, "num_hidden_layers": 2, "position_embedding_type": "rope"}

Shapes = dict[str, tuple[int, ...]]


def mixer(stem: str, hidden: int, inner: int, groups: int, state: int, heads: int, conv: int) -> Shapes:
    """The tensors of a Mamba-2 mixer."""
    mixed = inner + 2 * groups * state
    return {
        f"{stem}A_log": (heads,),
        f"{stem}D": (heads,),
        f"{stem}dt_bias": (heads,),
        f"{stem}conv1d.weight": (mixed, 1, conv),
        f"{stem}conv1d.bias": (mixed,),
        f"{stem}in_proj.weight": (inner + mixed + heads, hidden),
        f"{stem}norm.weight": (inner,),
        f"{stem}out_proj.weight": (hidden, inner),
    }


def shapes(config: Mapping[str, Any], *, biases: bool = False) -> Shapes:
    hidden, heads, forward = config["hidden_size"], config["num_attention_heads"], config["intermediate_size"]
    shared, experts = config["shared_intermediate_size"], config.get("num_local_experts")
    keys = hidden // heads * config["num_key_value_heads"]
    found: Shapes = {"model.embed_tokens.weight": (config["vocab_size"], hidden), "model.norm.weight": (hidden,)}
    for block, kind in enumerate(config["layer_types"]):
        stem = f"model.layers.{block}."
        found |= {
            f"{stem}input_layernorm.weight": (hidden,),
            f"{stem}post_attention_layernorm.weight": (hidden,),
            f"{stem}shared_mlp.input_linear.weight": (2 * shared, hidden),
            f"{stem}shared_mlp.output_linear.weight": (hidden, shared),
        }
        if experts:
            found |= {
                f"{stem}block_sparse_moe.router.layer.weight": (experts, hidden),
                f"{stem}block_sparse_moe.input_linear.weight": (experts, 2 * forward, hidden),
                f"{stem}block_sparse_moe.output_linear.weight": (experts, hidden, forward),
            }
        if kind in ("mamba", "linear_attention"):
            inner = config["mamba_expand"] * hidden
            numbers = (config[f"mamba_{key}"] for key in ("n_groups", "d_state", "n_heads", "d_conv"))
            found |= mixer(f"{stem}mamba.", hidden, inner, *numbers)
            continue
        for name, rows, columns in (
            ("q", hidden, hidden),
            ("k", keys, hidden),
            ("v", keys, hidden),
            ("o", hidden, hidden),
        ):
            found[f"{stem}self_attn.{name}_proj.weight"] = (rows, columns)
            if biases:
                found[f"{stem}self_attn.{name}_proj.bias"] = (rows,)
    return found


def case(*changes: Mapping[str, Any], biases: bool = False, tied: bool = True, **options: Any) -> Case:
    config = {key: value for each in (CONFIG, *changes) for key, value in each.items()}
    found = shapes({**CONFIG, **{key: value for key, value in config.items() if value is not ...}}, biases=biases)
    if not tied:
        found["lm_head.weight"] = (config["vocab_size"], config["hidden_size"])
    return Case({key: value for key, value in config.items() if value is not ...}, found, **options)


CASES = {
    "dense": case(),
    "experts, untied, f16": case(EXPERTS, {"tie_word_embeddings": False}, tied=False, dtype="f16"),
    "biases, f32 in shards": case({"attention_bias": True}, biases=True, dtype="f32", shards=2),
    # The runtime norms the channels of each group, transformers all of them.
    "two groups": case({"mamba_n_groups": 2}, logits=False),
    "byte pairs": case({"vocab_size": 280}, tokenizer="byte pairs", logits=False),
    "attention alone": case(ATTENTION),
    "attention alone, experts": case(ATTENTION, EXPERTS),
    "few keys": case(
        {"attention_multiplier": ..., "rms_norm_eps": 1e-6, "max_position_embeddings": ..., "rope_theta": ..., "hidden_act": "silu"},
        logits=False,
    ),
}  # fmt: skip

"""Gemma 4, text alone: an embedding and shared keys as in the small ones, keys as values and experts as in the large ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import Case
from .mistral import Shapes, changed

CONFIG: dict[str, Any] = {
    "architectures": ["Gemma4ForCausalLM"],
    "model_type": "gemma4_text",
    "vocab_size": 307,
    "vocab_size_per_layer_input": 307,
    "hidden_size": 64,
    "hidden_size_per_layer_input": 32,
    "intermediate_size": 96,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_global_key_value_heads": None,
    "head_dim": 16,
    "global_head_dim": 32,
    "num_kv_shared_layers": 3,
    "use_double_wide_mlp": True,
    "attention_k_eq_v": False,
    "enable_moe_block": False,
    "num_experts": None,
    "top_k_experts": None,
    "moe_intermediate_size": None,
    "layer_types": ["sliding_attention", "sliding_attention", "full_attention"] * 2,
    "sliding_window": 16,
    "max_position_embeddings": 512,
    "final_logit_softcapping": 30.0,
    "rms_norm_eps": 1e-6,
    "hidden_activation": "gelu_pytorch_tanh",
    "tie_word_embeddings": True,
    "rope_parameters": {
        "full_attention": {"rope_type": "proportional", "rope_theta": 1000000.0, "partial_rotary_factor": 0.25},
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
    },
    "bos_token_id": 2,
    "eos_token_id": [1, 6],
    "pad_token_id": 0,
}


def shapes(config: Mapping[str, Any], *, prefix: str = "model.") -> Shapes:
    hidden, layer, blocks = config["hidden_size"], config["hidden_size_per_layer_input"], config["num_hidden_layers"]
    found: Shapes = {f"{prefix}embed_tokens.weight": (config["vocab_size"], hidden), f"{prefix}norm.weight": (hidden,)}
    if layer:
        found |= {
            f"{prefix}embed_tokens_per_layer.weight": (config["vocab_size_per_layer_input"], blocks * layer),
            f"{prefix}per_layer_model_projection.weight": (blocks * layer, hidden),
            f"{prefix}per_layer_projection_norm.weight": (layer,),
        }
    for block in range(blocks):
        found |= {f"{prefix}layers.{block}.{name}": shape for name, shape in of_block(config, block).items()}
    return found


def of_block(config: Mapping[str, Any], block: int) -> Shapes:
    hidden, layer = config["hidden_size"], config["hidden_size_per_layer_input"]
    full = config["layer_types"][block] == "full_attention"
    own = block < config["num_hidden_layers"] - config["num_kv_shared_layers"]
    head = config["global_head_dim" if full else "head_dim"]
    queries = config["num_attention_heads"] * head
    shared = config["num_key_value_heads"]
    if full and config["num_global_key_value_heads"]:
        shared = config["num_global_key_value_heads"]
    forward = config["intermediate_size"] * (2 if config["use_double_wide_mlp"] and not own else 1)
    found: Shapes = {
        "self_attn.q_proj.weight": (queries, hidden),
        "self_attn.o_proj.weight": (hidden, queries),
        "self_attn.q_norm.weight": (head,),
        "mlp.gate_proj.weight": (forward, hidden),
        "mlp.up_proj.weight": (forward, hidden),
        "mlp.down_proj.weight": (hidden, forward),
        "layer_scalar": (1,),
    }
    norms = ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm")
    found |= {f"{norm}.weight": (hidden,) for norm in norms}
    if own:
        found |= {"self_attn.k_proj.weight": (shared * head, hidden), "self_attn.k_norm.weight": (head,)}
    if own and not (full and config["attention_k_eq_v"]):
        found["self_attn.v_proj.weight"] = (shared * head, hidden)
    if layer:
        found |= {
            "per_layer_input_gate.weight": (layer, hidden),
            "per_layer_projection.weight": (hidden, layer),
            "post_per_layer_input_norm.weight": (hidden,),
        }
    if config["enable_moe_block"]:
        experts, size = config["num_experts"], config["moe_intermediate_size"]
        found |= {
            "router.proj.weight": (experts, hidden),
            "router.scale": (hidden,),
            "router.per_expert_scale": (experts,),
            "experts.gate_up_proj": (experts, 2 * size, hidden),
            "experts.down_proj": (experts, hidden, size),
            "pre_feedforward_layernorm_2.weight": (hidden,),
            "post_feedforward_layernorm_1.weight": (hidden,),
            "post_feedforward_layernorm_2.weight": (hidden,),
        }
    return found


LARGE: dict[str, Any] = {
    "hidden_size_per_layer_input": 0,
    "num_kv_shared_layers": 0,
    "use_double_wide_mlp": False,
    "attention_k_eq_v": True,
    "num_global_key_value_heads": 1,
    "num_hidden_layers": 3,
    "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
}
"""What the 26B and the 31B have otherwise."""

EXPERTS = {**LARGE, "enable_moe_block": True, "num_experts": 4, "top_k_experts": 2, "moe_intermediate_size": 32}
NEWER = {
    **LARGE,
    "global_head_dim": ...,
    "num_global_key_value_heads": ...,
    "per_layer_config": {"2": {"head_dim": 32, "num_key_value_heads": 1}},
}
"""The same as transformers 5 saves it."""


def case(changes: Mapping[str, Any], like: Mapping[str, Any] | None = None, **options: Any) -> Case:
    """A checkpoint whose tensors are those of `like`, where its config.json does not say it all in the same words."""
    return Case(
        changed(CONFIG, changes),
        shapes({**CONFIG, **(like or changes)}),
        tokenizer="gemma4",
        **{"newer": True, **options},
    )


CASES = {
    "an embedding for each block, shared keys": case({}),
    "keys as values, saved by transformers 5, f16, in shards": case(NEWER, LARGE, dtype="f16", shards=2),
    "experts, f32": case(EXPERTS, dtype="f32"),
}

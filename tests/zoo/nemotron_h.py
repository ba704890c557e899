"""Nemotron-H: a mixer, attention or a feed forward in each block, by a pattern of letters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import Case
from .granitemoehybrid import Shapes, mixer

CONFIG: dict[str, Any] = {
    "architectures": ["NemotronHForCausalLM"],
    "model_type": "nemotron_h",
    "vocab_size": 280,
    "hidden_size": 64,
    "intermediate_size": 96,
    "hybrid_override_pattern": "M-M*-",
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "attention_bias": False,
    "mamba_num_heads": 4,
    "mamba_head_dim": 16,
    "mamba_hidden_act": "silu",
    "n_groups": 2,
    "ssm_state_size": 16,
    "conv_kernel": 4,
    "expand": 2,
    "use_conv_bias": True,
    "use_bias": False,
    "mlp_bias": False,
    "mlp_hidden_act": "relu2",
    "max_position_embeddings": 256,
    "layer_norm_epsilon": 1e-5,
    "rope_theta": 10000,
    "time_step_min": 0.001,
    "tie_word_embeddings": False,
    "eos_token_id": 2,
}
WORDS = {"hybrid_override_pattern": ..., "num_hidden_layers": ...}
LETTERS = {"M": "linear_attention", "*": "full_attention", "-": "mlp", "E": "moe"}


def block(config: Mapping[str, Any], kind: str, stem: str, *, biases: bool, stacked: bool) -> Shapes:
    hidden = config["hidden_size"]
    found: Shapes = {f"{stem}norm.weight": (hidden,)}
    stem = f"{stem}mixer."
    if kind == "M":
        inner = config["mamba_num_heads"] * config["mamba_head_dim"]
        numbers = (config[key] for key in ("n_groups", "ssm_state_size", "mamba_num_heads", "conv_kernel"))
        return found | mixer(stem, hidden, inner, *numbers)
    if kind == "*":
        queries, keys = (config[f"num_{key}_heads"] * config["head_dim"] for key in ("attention", "key_value"))
        for name, rows, columns in (
            ("q", queries, hidden),
            ("k", keys, hidden),
            ("v", keys, hidden),
            ("o", hidden, queries),
        ):
            found[f"{stem}{name}_proj.weight"] = (rows, columns)
        return found
    if kind == "-":
        forward = config["intermediate_size"]
        found |= {f"{stem}up_proj.weight": (forward, hidden), f"{stem}down_proj.weight": (hidden, forward)}
        return found | ({f"{stem}up_proj.bias": (forward,), f"{stem}down_proj.bias": (hidden,)} if biases else {})
    experts, forward, latent = (
        config.get(key) for key in ("n_routed_experts", "moe_intermediate_size", "moe_latent_size")
    )
    shared = config["moe_shared_expert_intermediate_size"]
    found |= {
        f"{stem}gate.weight": (experts, hidden),
        f"{stem}gate.e_score_correction_bias": (experts,),
        f"{stem}shared_experts.up_proj.weight": (shared, hidden),
        f"{stem}shared_experts.down_proj.weight": (hidden, shared),
    }
    if latent:
        found |= {
            f"{stem}fc1_latent_proj.weight": (latent, hidden),
            f"{stem}fc2_latent_proj.weight": (hidden, latent),
        }
    parts = {"up_proj": (forward, latent or hidden), "down_proj": (latent or hidden, forward)}
    for part, shape in parts.items():
        if stacked:
            found[f"{stem}experts.{part}"] = (experts, *shape)
        else:
            found |= {f"{stem}experts.{number}.{part}.weight": shape for number in range(experts)}
    return found


def shapes(
    config: Mapping[str, Any], pattern: str, prefix: str = "backbone.", *, biases: bool = False, stacked: bool = False
) -> Shapes:
    hidden, vocabulary = config["hidden_size"], config["vocab_size"]
    found: Shapes = {f"{prefix}embeddings.weight": (vocabulary, hidden), f"{prefix}norm_f.weight": (hidden,)}
    for number, kind in enumerate(pattern):
        found |= block(config, kind, f"{prefix}layers.{number}.", biases=biases, stacked=stacked)
    if not config.get("tie_word_embeddings"):
        found["lm_head.weight"] = (vocabulary, hidden)
    if config.get("num_nextn_predict_layers"):
        for number, kind in enumerate("*E"):
            found |= block(config, kind, f"mtp.layers.{number}.", biases=False, stacked=stacked)
        found |= {
            **{f"mtp.layers.0.{norm}.weight": (hidden,) for norm in ("enorm", "hnorm")},
            "mtp.layers.0.eh_proj.weight": (hidden, 2 * hidden),
            "mtp.layers.1.final_layernorm.weight": (hidden,),
        }
    return found


def case(*changes: Mapping[str, Any], biases: bool = False, stacked: bool = False, **options: Any) -> Case:
    whole = {key: value for each in (CONFIG, *changes) for key, value in each.items()}
    pattern = {**CONFIG, **{key: value for each in changes for key, value in each.items() if value is not ...}}[
        "hybrid_override_pattern"
    ]
    if whole["hybrid_override_pattern"] is ...:
        whole["layers_block_type"] = [LETTERS[letter] for letter in pattern]
    config = {key: value for key, value in whole.items() if value is not ...}
    found = shapes(config, pattern, biases=biases, stacked=stacked)
    return Case(config, found, **{"tokenizer": "byte pairs", "newer": True, **options})


CASES = {
    "dense": case(),
    "biases, f16": case({"mlp_bias": True, "rms_norm_eps": 1e-5}, biases=True, dtype="f16"),
    # transformers' class has an output of its own, whatever the configuration says.
    "tied": case({"tie_word_embeddings": True}, logits=False),
}

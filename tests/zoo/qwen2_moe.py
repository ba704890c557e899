"""Qwen2 with experts and one that all tokens share: experts apart or stacked already, biases on queries, keys and values."""

from __future__ import annotations

from typing import Any

from . import Case
from .mistral import Shapes, changed
from .mistral import shapes as dense
from .olmo2 import keeping

CONFIG: dict[str, Any] = {
    "architectures": ["Qwen2MoeForCausalLM"],
    "model_type": "qwen2_moe",
    "vocab_size": 280,
    "hidden_size": 64,
    "intermediate_size": 96,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "norm_topk_prob": False,
    "tie_word_embeddings": False,
}
BIASED = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")


def with_experts(found: Shapes, experts: int, forward: int, hidden: int, *, stacked: bool = False) -> Shapes:
    """The tensors of a model with those of experts in place of its feed forward."""
    made: Shapes = {}
    for name, shape in found.items():
        stem, _, part = name.partition(".mlp.")
        if not part:
            made[name] = shape
        elif part == "gate_proj.weight":
            made[f"{stem}.mlp.gate.weight"] = (experts, hidden)
            if stacked:
                made[f"{stem}.mlp.experts.gate_up_proj"] = (experts, 2 * forward, hidden)
                made[f"{stem}.mlp.experts.down_proj"] = (experts, hidden, forward)
            for expert in range(0 if stacked else experts):
                for each in ("gate_proj", "up_proj"):
                    made[f"{stem}.mlp.experts.{expert}.{each}.weight"] = (forward, hidden)
                made[f"{stem}.mlp.experts.{expert}.down_proj.weight"] = (hidden, forward)
    return made


def shapes(config: dict[str, Any], *, stacked: bool = False) -> Shapes:
    full = {"moe_intermediate_size": 1408, "shared_expert_intermediate_size": 5632, "num_experts": 60, **config}
    hidden, shared = full["hidden_size"], full["shared_expert_intermediate_size"]
    plain = dense({"intermediate_size": 1, "num_key_value_heads": 16, **config}, biases=BIASED)
    found = with_experts(plain, full["num_experts"], full["moe_intermediate_size"], hidden, stacked=stacked)
    for block in range(config["num_hidden_layers"]):
        stem = f"model.layers.{block}.mlp.shared_expert"
        found[f"{stem}.gate_proj.weight"] = found[f"{stem}.up_proj.weight"] = (shared, hidden)
        found[f"{stem}.down_proj.weight"] = (hidden, shared)
        found[f"{stem}_gate.weight"] = (1, hidden)
    return found


FEW = keeping(CONFIG, "vocab_size", "num_hidden_layers", "moe_intermediate_size") | {
    "hidden_size": 32,
    "num_attention_heads": 16,
    "shared_expert_intermediate_size": 40,
    "num_experts": 5,
}
LINEAR = changed(CONFIG, {"rope_scaling": {"type": "linear", "factor": 2.0}, "hidden_size": 40, "num_hidden_layers": 1})

CASES = {
    "four experts": Case(CONFIG, shapes(CONFIG), tokenizer="byte pairs"),
    "stacked, linear scaling, rows of 40, f32": Case(
        LINEAR, shapes(LINEAR, stacked=True), dtype="f32", tokenizer="byte pairs", logits=False
    ),
    "few keys, f16 in shards": Case(FEW, shapes(FEW), dtype="f16", shards=3, tokenizer="byte pairs"),
}  # fmt: skip

"""LFM2 with experts, behind blocks without."""

from __future__ import annotations

from typing import Any

from . import Case, lfm2
from .mistral import Shapes, changed

CONFIG: dict[str, Any] = changed(
    {
        **lfm2.CONFIG, "architectures": ["Lfm2MoeForCausalLM"], "model_type": "lfm2_moe", "intermediate_size": 96,
        "moe_intermediate_size": 40, "num_experts": 4, "num_experts_per_tok": 2, "num_dense_layers": 1, "norm_topk_prob": True,
        "use_expert_bias": True, "routed_scaling_factor": 1.0, "tie_word_embeddings": True,
    },
    dict.fromkeys(("block_ff_dim", "block_auto_adjust_ff_dim", "block_ffn_dim_multiplier", "block_multiple_of", "tie_embedding"), ...),
)  # fmt: skip


def shapes(config: dict[str, Any], attention: tuple[int, ...] = (2,), *, tied: bool = True) -> Shapes:
    found: Shapes = {}
    hidden, forward = config["hidden_size"], config["moe_intermediate_size"]
    for name, shape in lfm2.shapes(config, 96, attention, tied=tied).items():
        stem, _, part = name.partition(".feed_forward.")
        if not part or int(stem.rpartition(".")[2]) < config["num_dense_layers"]:
            found[name] = shape
            continue
        for expert in range(config["num_experts"]):
            found[f"{stem}.feed_forward.experts.{expert}.{part}"] = (
                (hidden, forward) if part.startswith("w2") else (forward, hidden)
            )
        found[f"{stem}.feed_forward.gate.weight"] = (config["num_experts"], hidden)
        found[f"{stem}.feed_forward.expert_bias"] = (config["num_experts"],)
    return found


FIRST = {
    **CONFIG,
    "num_dense_layers": 2,
    "num_experts": 8,
    "layer_types": ["conv", "full_attention", "full_attention", "conv"],
}
BIASES = {name: "f32" for name in shapes(CONFIG) if name.endswith("expert_bias")}

CASES = {
    "four experts": Case(CONFIG, shapes(CONFIG), dtypes=BIASES, tokenizer="byte pairs", newer=True),
    "eight experts, f16 in shards": Case(
        FIRST, shapes(FIRST, (1, 2)), dtype="f16", shards=2, tokenizer="byte pairs", newer=True
    ),
}

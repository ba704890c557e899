"""K-EXAONE: blocks without experts before the others, shared experts, windows, blocks for the prediction of several tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import Case
from .mistral import Shapes, changed
from .mistral import shapes as dense

FULL, WINDOW = "full_attention", "sliding_attention"

CONFIG: dict[str, Any] = {
    "architectures": ["ExaoneMoEForCausalLM"],
    "model_type": "exaone_moe",
    "vocab_size": 280,
    "hidden_size": 64,
    "intermediate_size": 96,
    "moe_intermediate_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1000000,
    "sliding_window": 32,
    "sliding_window_pattern": "LLLG",
    "layer_types": [WINDOW, WINDOW, WINDOW, FULL],
    "first_k_dense_replace": 1,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "num_shared_experts": 1,
    "n_group": 1,
    "topk_group": 1,
    "norm_topk_prob": True,
    "routed_scaling_factor": 2.5,
    "scoring_func": "sigmoid",
    "num_nextn_predict_layers": 0,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 6,
}


def with_norms(found: Shapes, config: Mapping[str, Any]) -> Shapes:
    norms = {
        name.replace("_proj", "_norm"): (config["head_dim"],)
        for name in found
        if name.endswith(("q_proj.weight", "k_proj.weight"))
    }
    return {**found, **norms}


def further(config: Mapping[str, Any], made: Shapes, count: int = 1) -> Shapes:
    """The blocks for further tokens, of the tensors of a model's first block, and what joins them to the model."""
    hidden = config["hidden_size"]
    stem = "model.layers.0."
    found: Shapes = {
        f"mtp.layers.{number}.{name.removeprefix(stem)}": shape
        for number in range(count) for name, shape in made.items() if name.startswith(stem)
    }  # fmt: skip
    norms = ("mtp.norm", "mtp.pre_fc_norm_embedding", "mtp.pre_fc_norm_hidden")
    return found | {f"{name}.weight": (hidden,) for name in norms} | {"mtp.fc.weight": (hidden, 2 * hidden)}


def shapes(config: Mapping[str, Any], mtp: int = 0) -> Shapes:
    hidden, width, experts = config["hidden_size"], config["moe_intermediate_size"], config["num_experts"]
    plain = with_norms(dense(config), config)
    sparse = [f"model.layers.{n}.mlp." for n in range(config["first_k_dense_replace"], config["num_hidden_layers"])]
    found = {name: shape for name, shape in plain.items() if not name.startswith(tuple(sparse))}
    for stem in sparse:
        found[f"{stem}gate.weight"] = (experts, hidden)
        found[f"{stem}e_score_correction_bias"] = (experts,)
        rows = width * config["num_shared_experts"]
        for each, wide in [("shared_experts", rows), *((f"experts.{expert}", width) for expert in range(experts))]:
            found[f"{stem}{each}.gate_proj.weight"] = found[f"{stem}{each}.up_proj.weight"] = (wide, hidden)
            found[f"{stem}{each}.down_proj.weight"] = (hidden, wide)
    return found | (further(config, plain, mtp) if mtp else {})


NEW = changed(
    CONFIG,
    {
        "architectures": ["ExaoneMoeForCausalLM"], "rope_theta": ..., "rope_parameters": {"rope_theta": 1e6, "rope_type": "default"},
        "num_experts": 8, "num_experts_per_tok": 3, "num_shared_experts": 2, "first_k_dense_replace": 2, "norm_topk_prob": False,
        "mlp_layer_types": ["dense", "dense", "sparse", "sparse"], "sliding_window_pattern": 4, "n_group": 2, "head_dim": 16,
    },
)  # fmt: skip
TWO = changed(CONFIG, {"num_nextn_predict_layers": 2, "num_hidden_layers": 2, "layer_types": ...})

CASES = {
    "four experts": Case(CONFIG, shapes(CONFIG), tokenizer="byte pairs", newer=True),
    "eight experts, two shared, f32": Case(
        changed(NEW, {"n_group": 1}), shapes(NEW), dtype="f32", tokenizer="byte pairs", newer=True
    ),
    "two blocks for further tokens, f16 in shards": Case(
        TWO, shapes(TWO, 2), dtype="f16", tokenizer="byte pairs", shards=2, logits=False
    ),
}  # fmt: skip

"""EXAONE 4: norms behind attention and feed forward, windows of several forms, scaled rotations."""

from __future__ import annotations

from typing import Any

from . import Case
from .mistral import LLAMA3, Shapes, changed
from .mistral import shapes as dense

CONFIG: dict[str, Any] = {
    "architectures": ["Exaone4ForCausalLM"],
    "model_type": "exaone4",
    "vocab_size": 280,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1000000,
    "sliding_window": None,
    "layer_types": ["full_attention", "full_attention"],
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 6,
}


def shapes(config: dict[str, Any], *, tied: bool = False) -> Shapes:
    head = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    found: Shapes = {}
    for name, shape in dense(config, tied=tied).items():
        found[name.replace("input_layernorm", "post_feedforward_layernorm")] = shape
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            found[name.replace("_proj", "_norm")] = (head,)
    return found


SCALED = changed(CONFIG, {"rope_scaling": {**LLAMA3, "factor": 16.0}, "tie_word_embeddings": True, "head_dim": 16})
LARGE = changed(
    CONFIG,
    {
        "num_hidden_layers": 64, "hidden_size": 32, "intermediate_size": 8, "sliding_window": 64, "layer_types": None,
        "sliding_window_pattern": 4,
    },
)  # fmt: skip
LETTERS = changed(
    CONFIG,
    {
        "num_hidden_layers": 5,
        "sliding_window": 32,
        "sliding_window_pattern": "LLLG",
        "layer_types": ...,
        "hidden_size": 40,
    },
)

CASES = {
    "untied": Case(CONFIG, shapes(CONFIG), tokenizer="byte pairs"),
    "llama3 scaling, tied, f32": Case(SCALED, shapes(SCALED, tied=True), dtype="f32", tokenizer="byte pairs"),
    "64 blocks with windows, f16": Case(LARGE, shapes(LARGE), dtype="f16", tokenizer="byte pairs", shards=2),
    "a pattern of letters": Case(LETTERS, shapes(LETTERS), tokenizer="byte pairs", logits=False),
}  # fmt: skip

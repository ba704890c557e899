"""Phi-1, 1.5 and 2: biases throughout, half of each head turns."""

from __future__ import annotations

from typing import Any

from . import Case
from .mistral import Shapes, changed
from .olmo2 import keeping

CONFIG: dict[str, Any] = {
    "architectures": ["PhiForCausalLM"],
    "model_type": "phi",
    "vocab_size": 280,
    "hidden_size": 64,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 256,
    "layer_norm_eps": 1e-5,
    "hidden_act": "gelu_new",
    "rope_theta": 10000.0,
    "partial_rotary_factor": 0.5,
    "qk_layernorm": False,
    "tie_word_embeddings": False,
}


def shapes(config: dict[str, Any]) -> Shapes:
    hidden, vocabulary = config["hidden_size"], config["vocab_size"]
    found: Shapes = {"model.embed_tokens.weight": (vocabulary, hidden)}

    def biased(stem: str, *shape: int) -> None:
        found[f"{stem}.weight"], found[f"{stem}.bias"] = shape, shape[:1]

    biased("lm_head", vocabulary, hidden)
    biased("model.final_layernorm", hidden)
    for block in range(config["num_hidden_layers"]):
        stem = f"model.layers.{block}"
        biased(f"{stem}.input_layernorm", hidden)
        for part in ("q_proj", "k_proj", "v_proj", "dense"):
            biased(f"{stem}.self_attn.{part}", hidden, hidden)
        biased(f"{stem}.mlp.fc1", 4 * hidden, hidden)
        biased(f"{stem}.mlp.fc2", hidden, 4 * hidden)
    return found


FEW = keeping(CONFIG, "vocab_size", "hidden_size", "num_hidden_layers") | {
    "num_attention_heads": 4,
    "intermediate_size": 256,
}
NARROW = changed(
    CONFIG,
    {
        "hidden_size": 40,
        "intermediate_size": 160,
        "num_attention_heads": 2,
        "num_key_value_heads": None,
        "partial_rotary_factor": 0.4,
    },
)

CASES = {
    "half of each head": Case(CONFIG, shapes(CONFIG), tokenizer="byte pairs"),
    "rows of 40, f32": Case(NARROW, shapes(NARROW), dtype="f32", tokenizer="byte pairs"),
    "few keys, f16 in shards": Case(FEW, shapes(FEW), dtype="f16", shards=2, tokenizer="byte pairs"),
}

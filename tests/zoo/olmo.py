"""OLMo, the first: no norm has a weight; values are clamped in some."""

from __future__ import annotations

from typing import Any

from . import Case
from .mistral import Shapes, changed
from .mistral import shapes as dense
from .olmo2 import keeping

CONFIG: dict[str, Any] = {
    "architectures": ["OlmoForCausalLM"],
    "model_type": "olmo",
    "vocab_size": 280,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "rope_theta": 10000.0,
    "clip_qkv": None,
    "tie_word_embeddings": False,
    "eos_token_id": 6,
    "pad_token_id": 1,
}


def shapes(config: dict[str, Any], *, tied: bool = False) -> Shapes:
    return {name: shape for name, shape in dense(config, tied=tied).items() if "norm" not in name}


CLAMPED = changed(CONFIG, {"clip_qkv": 0.5, "tie_word_embeddings": True, "hidden_size": 40})
FEW = keeping(CONFIG, "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers") | {
    "num_attention_heads": 4
}

CASES = {
    "untied": Case(CONFIG, shapes(CONFIG), tokenizer="byte pairs"),
    "clamped, tied, f32": Case(CLAMPED, shapes(CLAMPED, tied=True), dtype="f32", tokenizer="byte pairs"),
    "few keys, f16 in shards": Case(FEW, shapes(FEW), dtype="f16", shards=2, tokenizer="byte pairs"),
}

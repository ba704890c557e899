"""Cohere 2: windows in three of four blocks, which alone turn with the position."""

from __future__ import annotations

from typing import Any

from . import Case, cohere
from .cohere import shapes
from .mistral import changed
from .olmo2 import keeping

CONFIG: dict[str, Any] = changed(
    cohere.CONFIG,
    {
        "architectures": ["Cohere2ForCausalLM"], "model_type": "cohere2", "num_hidden_layers": 4, "sliding_window": 64,
        "rotary_pct": 1.0, "order_of_interleaved_layers": "local_attn_first", "layer_switch": 4,
    },
)  # fmt: skip
FEW = keeping(CONFIG, "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers") | {
    "num_attention_heads": 4,
    "rotary_pct": 0.5,
}
FIVE = changed(
    CONFIG,
    {
        "num_hidden_layers": 5,
        "hidden_size": 40,
        "layer_types": ["sliding_attention"] * 3 + ["full_attention", "sliding_attention"],
    },
)

CASES = {
    "four blocks": Case(CONFIG, shapes(CONFIG), tokenizer="byte pairs"),
    "layer_types, f32 in shards": Case(FIVE, shapes(FIVE), dtype="f32", shards=2, tokenizer="byte pairs"),
    "few keys, half of each head, f16": Case(FEW, shapes(FEW), dtype="f16", tokenizer="byte pairs", logits=False),
}  # fmt: skip

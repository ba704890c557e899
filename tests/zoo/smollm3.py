"""SmolLM3: blocks without rotations, keys that transformers fills in, both kinds of tokenizers."""

from __future__ import annotations

from typing import Any

from . import Case, mistral
from .mistral import changed, shapes

CONFIG: dict[str, Any] = changed(
    {
        **mistral.CONFIG, "architectures": ["SmolLM3ForCausalLM"], "model_type": "smollm3", "num_hidden_layers": 4, "sliding_window": None,
        "no_rope_layer_interval": 4, "no_rope_layers": [1, 1, 1, 0], "use_sliding_window": False, "tie_word_embeddings": True,
        "pad_token_id": 0,
    },
    {},
)  # fmt: skip
FEW = {
    key: CONFIG[key]
    for key in ("architectures", "model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "pad_token_id")
} | {"bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": False}  # fmt: skip
BIASED = {**CONFIG, "attention_bias": True, "tie_word_embeddings": False}
INPUTS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}

CASES = {
    "tied": Case(CONFIG, shapes(CONFIG, tied=True)),
    "few keys, untied, f16": Case(
        FEW | {"num_attention_heads": 8},
        shapes({**FEW, "num_attention_heads": 8, "num_key_value_heads": 4}),
        dtype="f16",
    ),
    "biases, byte pairs, f32 in shards": Case(
        {**BIASED, "vocab_size": 280, "bos_token_id": 276, "eos_token_id": 278},
        shapes({**BIASED, "vocab_size": 280}, biases=INPUTS),
        dtype="f32",
        shards=2,
        tokenizer="byte pairs",
        logits=False,
    ),
    "yarn": Case({**CONFIG, "rope_scaling": YARN}, shapes(CONFIG, tied=True), logits=False),
}

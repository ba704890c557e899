"""GLM-4: four norms a block, gate and up in one matrix, a part of each head turns."""

from __future__ import annotations

import json
from typing import Any

from . import Case, byte_pairs
from .mistral import Shapes, changed
from .mistral import shapes as dense
from .olmo2 import keeping

CONFIG: dict[str, Any] = {
    "architectures": ["Glm4ForCausalLM"],
    "model_type": "glm4",
    "vocab_size": 288,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "partial_rotary_factor": 0.5,
    "attention_bias": True,
    "tie_word_embeddings": False,
    "eos_token_id": [276, 280],
    "pad_token_id": 276,
}
BIASED = tuple(f"self_attn.{part}_proj" for part in "qkv")


def shapes(config: dict[str, Any], *, tied: bool = False, biases: tuple[str, ...] = BIASED) -> Shapes:
    found: Shapes = {}
    for name, shape in dense(config, tied=tied, biases=biases).items():
        if name.endswith("up_proj.weight"):
            found[name.replace("up_proj", "gate_up_proj")] = (2 * shape[0], shape[1])
        elif "gate_proj" not in name:
            found[name] = shape
        if name.endswith("input_layernorm.weight"):
            for part in ("post_self_attn_layernorm", "post_mlp_layernorm"):
                found[name.replace("input_layernorm", part)] = shape
    return found


def tokenizer() -> str:
    """The synthetic byte pairs, with the token of a user's turn."""
    data = byte_pairs()
    last = data["added_tokens"][-1]
    data["added_tokens"].append({**last, "id": last["id"] + 1, "content": "<|user|>", "special": True})
    return json.dumps(data, ensure_ascii=False)


FILES = {"tokenizer.json": tokenizer()}
NARROW = changed(
    CONFIG,
    {
        "hidden_size": 40,
        "head_dim": 16,
        "tie_word_embeddings": True,
        "partial_rotary_factor": 1.0,
        "attention_bias": False,
    },
)
FEW = keeping(CONFIG, "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers") | {
    "num_attention_heads": 2
}

CASES = {
    "biases": Case(CONFIG, shapes(CONFIG), tokenizer="byte pairs", files=FILES),
    "tied, whole heads, f32": Case(NARROW, shapes(NARROW, tied=True, biases=()), dtype="f32", tokenizer="byte pairs", files=FILES),
    "few keys, f16 in shards": Case(
        FEW, shapes({**FEW, "head_dim": 128, "num_key_value_heads": 2}), dtype="f16", shards=2, tokenizer="byte pairs", files=FILES,
        logits=False,
    ),
}  # fmt: skip

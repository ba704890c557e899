"""EXAONE 3.5: names of GPT-2's kind, scaled rotations, both names of the epsilon."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import Case
from .mistral import LLAMA3, Shapes, changed
from .mistral import shapes as dense

CONFIG: dict[str, Any] = {
    "architectures": ["ExaoneForCausalLM"],
    "model_type": "exaone",
    "vocab_size": 280,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "activation_function": "silu",
    "layer_norm_epsilon": 1e-5,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1000000,
    "rope_scaling": LLAMA3,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

RENAMED = {
    "model.embed_tokens": "transformer.wte",
    "model.norm": "transformer.ln_f",
    "model.layers.": "transformer.h.",
    "input_layernorm": "ln_1",
    "post_attention_layernorm": "ln_2",
    "self_attn.o_proj": "attn.attention.out_proj",
    "self_attn": "attn.attention",
    "gate_proj": "c_fc_0",
    "up_proj": "c_fc_1",
    "down_proj": "c_proj",
}


def shapes(config: Mapping[str, Any], *, tied: bool = False) -> Shapes:
    found: Shapes = {}
    for name, shape in dense({**config, "num_hidden_layers": config["num_layers"]}, tied=tied).items():
        for old, new in RENAMED.items():
            name = name.replace(old, new)
        found[name] = shape
    return found


PLAIN = changed(
    CONFIG, {"rope_scaling": None, "rope_theta": 10000.0, "tie_word_embeddings": True, "num_key_value_heads": 4}
)

CASES = {
    "scaled rotations": Case(CONFIG, shapes(CONFIG), tokenizer="byte pairs", newer=True),
    "tied, f32": Case(PLAIN, shapes(PLAIN, tied=True), dtype="f32", tokenizer="byte pairs", newer=True),
    "f16 in shards, rows of 40": Case(
        changed(CONFIG, {"hidden_size": 40, "num_attention_heads": 4, "head_dim": 10, "num_layers": 3}),
        shapes({**CONFIG, "hidden_size": 40, "head_dim": 10, "num_layers": 3}),
        dtype="f16", tokenizer="byte pairs", shards=2, logits=False,
    ),
}  # fmt: skip

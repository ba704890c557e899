"""Gemma: norms less one in every dtype, outputs that are left out, a configuration made small."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from . import Case
from .mistral import Shapes, changed, published, shapes

CONFIG: dict[str, Any] = {
    "architectures": ["GemmaForCausalLM"],
    "model_type": "gemma",
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_activation": "gelu_pytorch_tanh",
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "bos_token_id": 2,
    "eos_token_id": 1,
    "pad_token_id": 0,
}

FILES = ("generation_config.json", "special_tokens_map.json", "tokenizer_config.json")


def case(changes: Mapping[str, Any] | None = None, *, more: Shapes | None = None, **options: Any) -> Case:
    config = changed(CONFIG, changes or {})
    # Where a key is left out, transformers has 16 heads for keys and values, of 256.
    full = {**CONFIG, "num_key_value_heads": 16, "head_dim": 256, **config}
    return Case(config, shapes(full, tied=True) | (more or {}), **options)


FEW = dict.fromkeys(
    (
        "num_key_value_heads", "head_dim", "max_position_embeddings", "rms_norm_eps", "rope_theta", "bos_token_id", "eos_token_id",
        "pad_token_id",
    ),
    ...,
)  # fmt: skip
OUTPUT: Shapes = {"lm_head.weight": (320, 64)}
TURNS = json.dumps({
    "added_tokens_decoder": {
        "106": {"content": "<start_of_turn>", "special": True}, "107": {"content": "<end_of_turn>", "special": True},
        "300": {"content": "<unused1>", "special": False}, "301": {"content": "\u2581a\u2581b"}, "900": {"content": "far"},
    },
    "add_bos_token": True, "add_eos_token": False, "chat_template": "{{ bos_token }}{{ messages }}",
})  # fmt: skip

SMALL = {
    key: CONFIG[key]
    for key in ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
}

CASES = {
    "bf16": case(),
    "f16, with an output": case(more=OUTPUT, dtype="f16"),
    "f32": case({"num_key_value_heads": 4}, dtype="f32"),
    "few keys": case({**FEW, "num_attention_heads": 16}, logits=False),
    "norms of several dtypes": case(
        dtypes={
            "model.norm.weight": "f32",
            "model.layers.0.input_layernorm.weight": "f16",
            "model.layers.1.input_layernorm.weight": "f32",
        },
        logits=False,
    ),
    "turns and unused tokens": case(files={"tokenizer_config.json": TURNS}, logits=False),
    "another end of a turn": case({"eot_token_id": 5}, files={"tokenizer_config.json": "{}"}, logits=False),
    "scaling that is not written": case({"rope_scaling": {"type": "linear", "factor": 2.0}}, logits=False),
    "another model_type": case({"model_type": "unheard-of"}, logits=False),
    "another model_type, no key heads": case(
        {"model_type": "unheard-of", "num_key_value_heads": ...}, logits=False
    ),
    "leftover frequencies": case(more={"model.layers.0.self_attn.rotary_emb.inv_freq": (16,)}, logits=False),
    "rows of 40": case({"hidden_size": 40, "intermediate_size": 72}, logits=False),
    "12 blocks in shards": case({"num_hidden_layers": 12}, more=OUTPUT, shards=3),
    "2b": published("gemma-2b-it", SMALL, partial(shapes, tied=True), FILES, CONFIG, logits=False),
}  # fmt: skip

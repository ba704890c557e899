"""Qwen2: biases on queries, keys and values; both kinds of tokenizers; windows that are not written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from . import Case
from .mistral import Shapes, changed, published, shapes

CONFIG: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "max_window_layers": 1,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0,
    "sliding_window": 4096,
    "use_sliding_window": False,
    "tie_word_embeddings": True,
}

BIASES = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")


def case(
    changes: Mapping[str, Any] | None = None, *, tied: bool = False, more: Shapes | None = None, **options: Any
) -> Case:
    config = changed(CONFIG, changes or {})
    # Where a key is left out, transformers has 32 heads for keys and values.
    full = {**CONFIG, "num_key_value_heads": 32, **config}
    weights = shapes(full, tied=tied, biases=BIASES) | (more or {})
    return Case(config, weights, **{"tokenizer": "byte pairs", **options})


FEW = dict.fromkeys(
    (
        "num_key_value_heads", "max_position_embeddings", "max_window_layers", "rms_norm_eps", "rope_theta", "sliding_window",
        "use_sliding_window", "tie_word_embeddings",
    ),
    ...,
)  # fmt: skip
FEW["num_attention_heads"] = 32
YARN = {"factor": 4.0, "original_max_position_embeddings": 64, "type": "yarn"}

MODULES = json.dumps([
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
])  # fmt: skip

SMALL = {
    key: CONFIG[key] for key in ("num_hidden_layers", "num_attention_heads", "num_key_value_heads", "intermediate_size")
} | {"hidden_size": 32}


def real(tied: bool, changes: Mapping[str, Any] | None = None) -> Case:
    return published(
        "qwen2.5-14b-cogito",
        {**SMALL, **(changes or {})},
        partial(shapes, tied=tied, biases=BIASES),
        ("tokenizer_config.json", "special_tokens_map.json"),
        CONFIG,
        tokenizer="qwen2.5",
        logits=False,
    )


CASES = {
    "tied": case(tied=True),
    "untied, f16": case({"tie_word_embeddings": False}, dtype="f16"),
    "f32, pieces": case({"tie_word_embeddings": False}, dtype="f32", tokenizer="sentencepiece"),
    "few keys": case(FEW, logits=False),
    "a head size of its own": case({"head_dim": 32}, tied=True, logits=False),
    "as many keys as queries": case({"num_key_value_heads": None}, tied=True),
    "windows": case({"use_sliding_window": True, "sliding_window": 32}, tied=True, logits=False),
    "yarn, by its old name": case({"rope_scaling": YARN}, tied=True),
    "yarn with all its factors": case(
        {"rope_scaling": {**YARN, "attention_factor": 1.5, "beta_fast": 16, "beta_slow": 2.0, "extrapolation_factor": 1}},
        tied=True, logits=False,
    ),
    "dynamic scaling": case({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, tied=True, logits=False),
    "half of a scaling": case({**FEW, "rope_scaling": {"type": "linear"}}, logits=False),
    "sections of positions": case(
        {"rope_scaling": {"type": "default", "mrope_section": [2, 3, 3]}}, tied=True, logits=False
    ),
    "too many layer_types": case({**FEW, "layer_types": ["full_attention"] * 3}, logits=False),
    "rope_parameters": case(
        {"rope_theta": ..., "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}}, tied=True, logits=False
    ),
    "names without their prefix": Case(
        CONFIG,
        {name.removeprefix("model."): shape for name, shape in shapes(CONFIG, tied=True, biases=BIASES).items()},
        tokenizer="byte pairs",
        logits=False,
    ),
    "leftover frequencies": case(more={"model.layers.0.self_attn.rotary_emb.inv_freq": (8,)}, logits=False),
    "rows of 40": case({"hidden_size": 40, "intermediate_size": 72}, tied=True, logits=False),
    "pooling": case(files={"modules.json": MODULES, "1_Pooling/config.json": '{"pooling_mode_lasttoken": true}'}, logits=False),
    "pooling by its new name": case(
        files={"modules.json": MODULES, "1_Pooling/config.json": '{"pooling_mode": "mean"}'}, logits=False
    ),
    "12 blocks in shards": case({"num_hidden_layers": 12}, tied=True, shards=3),
    "2.5": real(tied=False),
    "2.5, padded": real(tied=True, changes={"vocab_size": 152064}),
}  # fmt: skip

"""Mistral: windows that are not written, heads of their own size, scaled rotary embeddings, the published configurations made small."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from . import Case

PUBLISHED = Path(__file__).parents[2] / "../shared/data/configs"

CONFIG: dict[str, Any] = {
    "architectures": ["MistralForCausalLM"],
    "model_type": "mistral",
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "sliding_window": 4096,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

Shapes = dict[str, tuple[int, ...]]


def shapes(config: Mapping[str, Any], *, tied: bool = False, biases: tuple[str, ...] = ()) -> Shapes:
    """The tensors of a Llama and of all that differ from it in a few; `biases`: the projections that have one."""
    hidden, forward, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    head, narrow = config.get("head_dim") or hidden // heads, config.get("num_key_value_heads") or heads
    found: Shapes = {"model.embed_tokens.weight": (config["vocab_size"], hidden), "model.norm.weight": (hidden,)}
    if not tied:
        found["lm_head.weight"] = (config["vocab_size"], hidden)
    for block in range(config["num_hidden_layers"]):
        stem = f"model.layers.{block}."
        found[f"{stem}input_layernorm.weight"] = found[f"{stem}post_attention_layernorm.weight"] = (hidden,)
        for part, rows, columns in (
            ("self_attn.q_proj", heads * head, hidden),
            ("self_attn.k_proj", narrow * head, hidden),
            ("self_attn.v_proj", narrow * head, hidden),
            ("self_attn.o_proj", hidden, heads * head),
            ("mlp.gate_proj", forward, hidden),
            ("mlp.up_proj", forward, hidden),
            ("mlp.down_proj", hidden, forward),
        ):
            found[f"{stem}{part}.weight"] = (rows, columns)
            if part in biases:
                found[f"{stem}{part}.bias"] = (rows,)
    return found


def changed(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with some keys of other values, and without those that are `...`."""
    return {key: value for key, value in {**config, **changes}.items() if value is not ...}


def published(
    folder: str,
    changes: Mapping[str, Any],
    make: Callable[[Mapping[str, Any]], Shapes],
    files: tuple[str, ...],
    like: Mapping[str, Any],
    **options: Any,
) -> Case:
    """A configuration of ../shared/data made small, with files that lie beside it; where it is absent, a case that is skipped."""
    path = PUBLISHED / folder
    if not path.is_dir():
        return Case(like, {}, tokenizer=folder)
    config = changed(json.loads((path / "config.json").read_text()), changes)
    return Case(config, make(config), files={name: (path / name).read_text() for name in files}, **options)


SMALL = {
    key: CONFIG[key] for key in ("intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
} | {"hidden_size": 32}
FILES = ("generation_config.json", "special_tokens_map.json", "tokenizer_config.json")


def case(
    changes: Mapping[str, Any] | None = None,
    *,
    tied: bool = False,
    biases: tuple[str, ...] = (),
    more: Shapes | None = None,
    **options: Any,
) -> Case:
    config = changed(CONFIG, changes or {})
    # Where a key is left out, transformers has 8 heads for keys and values.
    full = {**CONFIG, "num_key_value_heads": 8, **config}
    return Case(config, shapes(full, tied=tied, biases=biases) | (more or {}), **options)


FEW = dict.fromkeys(
    (
        "num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "rope_theta", "sliding_window", "tie_word_embeddings",
        "bos_token_id", "eos_token_id",
    ),
    ...,
)  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}

CASES = {
    "untied": case(),
    "tied, f16": case({"tie_word_embeddings": True}, tied=True, dtype="f16"),
    "f32, no window": case({"sliding_window": None, "rope_theta": 1e6}, dtype="f32"),
    "tied with an output, a narrow window": case({"tie_word_embeddings": True, "sliding_window": 32}, logits=False),
    "a head size of its own": case({"head_dim": 24}),
    "head_dim of null, as many keys as queries": case({"head_dim": None, "num_key_value_heads": None}),
    "few keys": case({**FEW, "num_attention_heads": 8}, logits=False),
    "another model_type": case({"model_type": "unheard-of"}, logits=False),
    "biases on queries and keys": case(biases=("self_attn.q_proj", "self_attn.k_proj"), logits=False),
    "linear scaling, by its old name": case({"rope_scaling": {"type": "linear", "factor": 2.0}}),
    "half of a scaling": case({**FEW, "num_attention_heads": 8, "rope_scaling": {"rope_type": "yarn"}}, logits=False),
    "llama3 scaling": case({"rope_scaling": LLAMA3}, logits=False),
    "leftover frequencies": case(
        more={f"model.layers.{block}.self_attn.rotary_emb.inv_freq": (8,) for block in range(2)}, dtype="f16", logits=False
    ),
    "rows of 40": case({"hidden_size": 40, "intermediate_size": 72}, logits=False),
    "norms of f32": case(dtypes={"model.norm.weight": "f32", "model.layers.0.input_layernorm.weight": "f16"}, logits=False),
    "a prefix that is not added": case(files={"tokenizer_config.json": '{"add_prefix_space": false}'}, logits=False),
    "12 blocks in shards": case({"num_hidden_layers": 12}, shards=3),
    "v0.2": published("mistral-7b", SMALL, shapes, FILES, CONFIG, tokenizer="mistral"),
    "v0.3": published("mistral-7b-instruct-v0.3", SMALL, shapes, FILES, CONFIG, tokenizer="mistral v3"),
}  # fmt: skip

"""Gemma 3: norms over queries and keys, two bases of rotation, windows, more rows than tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import Case, gemma, gemma2
from .mistral import Shapes, changed

CONFIG: dict[str, Any] = {
    **gemma.CONFIG,
    "architectures": ["Gemma3ForCausalLM"],
    "model_type": "gemma3_text",
    "num_key_value_heads": 2,
    "num_hidden_layers": 7,
    "attn_logit_softcapping": None,
    "final_logit_softcapping": None,
    "query_pre_attn_scalar": 32,
    "rope_local_base_freq": 10000.0,
    "rope_scaling": None,
    "rope_theta": 1000000.0,
    "sliding_window": 64,
    "sliding_window_pattern": 6,
}

FEW = gemma.FEW | dict.fromkeys(
    (
        "attn_logit_softcapping", "final_logit_softcapping", "query_pre_attn_scalar", "rope_local_base_freq", "rope_scaling",
        "rope_theta", "sliding_window", "sliding_window_pattern",
    ),
    ...,
)  # fmt: skip


def shapes(config: Mapping[str, Any], *, tied: bool = True) -> Shapes:
    found = gemma2.shapes(config, tied=tied)
    for block in range(config["num_hidden_layers"]):
        for name in ("q_norm", "k_norm"):
            found[f"model.layers.{block}.self_attn.{name}.weight"] = (config["head_dim"],)
    return found


def case(
    changes: Mapping[str, Any] | None = None, *, tied: bool = True, more: Shapes | None = None, **options: Any
) -> Case:
    config = changed(CONFIG, changes or {})
    # Where a key is left out, transformers has 4 heads for keys and values, of 256.
    full = {**CONFIG, "num_key_value_heads": 4, "head_dim": 256, **config}
    return Case(config, shapes(full, tied=tied) | (more or {}), **options)


ONE = {"num_hidden_layers": 1}
TWO = {"num_hidden_layers": 2}
LINEAR = {"rope_type": "linear", "factor": 8.0}
BY_KIND = {
    "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 500000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 20000.0},
}

CASES = {
    "bf16": case(),
    "f16": case(TWO, dtype="f16"),
    "f32, untied": case({**TWO, "tie_word_embeddings": False}, tied=False, dtype="f32"),
    "few keys": case({**FEW, **TWO}, logits=False),
    "few keys, another model_type": case(
        {**FEW, **TWO, "head_dim": 256, "sliding_window": 64, "model_type": "unheard-of"}, logits=False
    ),
    "linear scaling": case({"rope_scaling": LINEAR}),
    "scaling by its old name": case(
        {**FEW, **TWO, "head_dim": 256, "sliding_window": 64, "rope_scaling": {"type": "linear", "factor": 8.0}}, logits=False
    ),
    "rope_parameters by kind of attention": case(
        {**TWO, "rope_theta": ..., "rope_local_base_freq": ..., "rope_parameters": BY_KIND}, logits=False
    ),
    "rope_parameters of one kind": case(
        {**TWO, "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}}, logits=False
    ),
    "a cap on logits": case({**TWO, "final_logit_softcapping": 20.0}),
    "a cap of zero": case({**ONE, "final_logit_softcapping": 0}, logits=False),
    "no windows": case({**TWO, "sliding_window_pattern": 1}, logits=False),
    "layer_types": case({**TWO, "layer_types": ["full_attention", "sliding_attention"]}, logits=False),
    "too many layer_types": case({**TWO, "layer_types": ["full_attention"] * 3}, logits=False),
    "windows to both sides": case({**TWO, "use_bidirectional_attention": True}, logits=False),
    "more rows than tokens": case(TWO, more={"model.embed_tokens.weight": (352, 64)}, logits=False),
    "turns and unused tokens": case(TWO, files={"tokenizer_config.json": gemma.TURNS}, logits=False),
    "norms of several dtypes": case(
        ONE,
        dtypes={
            "model.norm.weight": "f32",
            "model.layers.0.self_attn.q_norm.weight": "f16",
            "model.layers.0.self_attn.k_norm.weight": "f32",
        },
        logits=False,
    ),
    "rows of 40": case({**ONE, "hidden_size": 40, "intermediate_size": 72}, logits=False),
    "12 blocks in shards": case({"num_hidden_layers": 12}, shards=3),
    # A tokenizer.json alone: rows are cut to the tokens that it holds.
    "byte pairs, more rows than tokens": case(
        {**ONE, "vocab_size": 151665, "hidden_size": 32},
        more={"model.embed_tokens.weight": (151680, 32)},
        tokenizer="qwen2.5",
        files={"tokenizer_config.json": '{"tokenizer_class": "Qwen2Tokenizer"}'},
        logits=False,
    ),
}  # fmt: skip

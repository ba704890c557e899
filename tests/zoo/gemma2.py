"""Gemma 2: four norms to a block, caps, windows in every other block, a configuration made small."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import Case, gemma
from .mistral import Shapes, changed, published
from .mistral import shapes as plain

CONFIG: dict[str, Any] = {
    **gemma.CONFIG,
    "architectures": ["Gemma2ForCausalLM"],
    "model_type": "gemma2",
    "num_key_value_heads": 2,
    "attn_logit_softcapping": 50.0,
    "final_logit_softcapping": 30.0,
    "query_pre_attn_scalar": 32,
    "sliding_window": 64,
    "cache_implementation": "hybrid",
}


def shapes(config: Mapping[str, Any], *, tied: bool = True) -> Shapes:
    found = plain(config, tied=tied)
    for block in range(config["num_hidden_layers"]):
        for name in ("pre_feedforward_layernorm", "post_feedforward_layernorm"):
            found[f"model.layers.{block}.{name}.weight"] = (config["hidden_size"],)
    return found


def case(changes: Mapping[str, Any] | None = None, *, tied: bool = True, **options: Any) -> Case:
    config = changed(CONFIG, changes or {})
    # Where a key is left out, transformers has 4 heads for keys and values, of 256.
    return Case(config, shapes({**CONFIG, "num_key_value_heads": 4, "head_dim": 256, **config}, tied=tied), **options)


FEW = gemma.FEW | dict.fromkeys(
    ("attn_logit_softcapping", "final_logit_softcapping", "query_pre_attn_scalar", "sliding_window"), ...
)

CASES = {
    "bf16": case(),
    "f16, with an output": case(tied=False, dtype="f16"),
    "f32": case({"num_key_value_heads": 4}, dtype="f32"),
    "few keys": case(FEW, logits=False),
    "caps of whole numbers": case({"attn_logit_softcapping": 25, "final_logit_softcapping": 15}, logits=False),
    "turns and unused tokens": case(files={"tokenizer_config.json": gemma.TURNS}, logits=False),
    "layer_types": case({"layer_types": ["sliding_attention", "full_attention"]}),
    "another model_type": case({"model_type": "unheard-of"}, logits=False),
    "too many layer_types": case({"layer_types": ["full_attention"] * 3}, logits=False),
    "rows of 40": case({"hidden_size": 40, "intermediate_size": 72}, logits=False),
    "12 blocks in shards": case({"num_hidden_layers": 12}, shards=3),
    "2b": published(
        "gemma-2-2b-it-ft", {**gemma.SMALL, "num_key_value_heads": 2}, shapes, gemma.FILES, CONFIG, logits=False
    ),
}

"""DistilBERT: other names, no kinds of segments, heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import Case, _encoders
from ._encoders import linear

CONFIG: dict[str, Any] = {
    "architectures": ["DistilBertModel"],
    "model_type": "distilbert",
    "vocab_size": 160,
    "dim": 64,
    "hidden_dim": 96,
    "n_layers": 2,
    "n_heads": 4,
    "max_position_embeddings": 64,
    "activation": "gelu",
    "pad_token_id": 0,
}


def case(
    changes: Mapping[str, Any] | None = None,
    more: Mapping[str, tuple[int, ...]] | None = None,
    prefix: str = "",
    **options: Any,
) -> Case:
    config = {**CONFIG, **(changes or {})}
    found = _encoders.embeddings(CONFIG, prefix)
    for block in range(2):
        stem = f"{prefix}transformer.layer.{block}."
        for part in ("q_lin", "k_lin", "v_lin", "out_lin"):
            found |= linear(f"{stem}attention.{part}", 64, 64)
        found |= linear(f"{stem}sa_layer_norm", 64) | linear(f"{stem}output_layer_norm", 64)
        found |= linear(f"{stem}ffn.lin1", 96, 64) | linear(f"{stem}ffn.lin2", 64, 96)
    return _encoders.case(config, {**found, **(more or {})}, **{"tokenizer": "word pieces", **options})


CASES = {
    "mean": case(pooling="mean_tokens"),
    "a pre-training's heads, f32": case(
        {"architectures": ["DistilBertForMaskedLM"]},
        {**linear("vocab_transform", 64, 64), **linear("vocab_layer_norm", 64), "vocab_projector.bias": (160,)},
        prefix="distilbert.", dtype="f32",
    ),
    "three labels, other keys": case(
        {
            "architectures": ["DistilBertForSequenceClassification"], "num_labels": 3, "dim": ..., "n_heads": ..., "n_layers": ...,
            "hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2,
        },
        {**linear("pre_classifier", 64, 64), **linear("classifier", 3, 64)},
        prefix="distilbert.", dtype="f16",
    ),
}  # fmt: skip

"""Jina's second embeddings: gates in one matrix and in two, norms of queries and keys, byte pairs."""

from __future__ import annotations

from typing import Any

from . import Case, _encoders
from ._encoders import Shapes, linear
from .bert import CONFIG as BERT

CONFIG: dict[str, Any] = {
    **BERT,
    "architectures": ["JinaBertModel"],
    "auto_map": {"AutoConfig": "jinaai/jina-bert-implementation--configuration_bert.JinaBertConfig"},
    "feed_forward_type": "geglu",
    "position_embedding_type": "alibi",
    "max_position_embeddings": 8192,
    "emb_pooler": "mean",
}


def case(changes: dict[str, Any] | None = None, *, normed: bool = False, prefix: str = "", **options: Any) -> Case:
    config = {**CONFIG, **(changes or {})}
    found = {name: shape for name, shape in _encoders.embeddings(config, prefix).items() if "position" not in name}
    for block in range(2):
        stem = f"{prefix}encoder.layer.{block}."
        for part in ("query", "key", "value"):
            found |= linear(f"{stem}attention.self.{part}", 64, 64)
        found |= linear(f"{stem}attention.output.dense", 64, 64)
        if normed:
            found |= linear(f"{stem}attention.self.layer_norm_q", 64) | linear(f"{stem}attention.self.layer_norm_k", 64)
            found |= linear(f"{stem}attention.output.LayerNorm", 64)
            found |= linear(f"{stem}layer_norm_1", 64) | linear(f"{stem}layer_norm_2", 64)
            found |= linear(f"{stem}mlp.up_gated_layer", 192, 64, bias=False) | linear(f"{stem}mlp.down_layer", 64, 96)
        elif config.get("parts"):
            found |= linear(f"{stem}attention.output.LayerNorm", 64) | linear(f"{stem}mlp.layernorm", 64)
            parts: Shapes = {f"{stem}mlp.gated_layers_v.weight": (96, 64), f"{stem}mlp.gated_layers_w.weight": (96, 64)}
            found |= parts | linear(f"{stem}mlp.wo", 64, 96)
        else:
            found |= linear(f"{stem}attention.output.LayerNorm", 64) | linear(f"{stem}mlp.layernorm", 64)
            found |= linear(f"{stem}mlp.gated_layers", 192, 64, bias=False) | linear(f"{stem}mlp.wo", 64, 96)
    found |= linear(f"{prefix}pooler.dense", 64, 64)
    return _encoders.case(config, found, **{"tokenizer": "word pieces", **options})


CASES = {
    "mean": case(pooling="mean_tokens"),
    "a pre-training's, f32": case({"architectures": ["JinaBertForMaskedLM"]}, prefix="bert.", dtype="f32"),
    "norms of queries and keys, byte pairs, f16": case(
        {"vocab_size": 288, "model_type": "bert"}, normed=True, tokenizer="roberta", dtype="f16"
    ),
    "gates of their own": case({"parts": True}),
}

"""ModernBERT: a window in most blocks, heads, the keys of transformers 5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import Case, _encoders
from ._encoders import Shapes, linear

CONFIG: dict[str, Any] = {
    "architectures": ["ModernBertModel"],
    "model_type": "modernbert",
    "vocab_size": 288,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "local_attention": 16,
    "norm_eps": 1e-5,
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "cls_token_id": 0,
    "sep_token_id": 2,
}

NEW: dict[str, Any] = {
    "rope_parameters": {
        "full_attention": {"rope_theta": 160000.0, "rope_type": "default"},
        "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"},
    },
    "layer_types": ["full_attention", "sliding_attention", "sliding_attention", "full_attention"],
    "dtype": "bfloat16",
    "transformers_version": "5.24.0",
}


def case(
    changes: Mapping[str, Any] | None = None, more: Shapes | None = None, prefix: str = "", **options: Any
) -> Case:
    config = {**CONFIG, **(changes or {})}
    found: Shapes = {f"{prefix}embeddings.tok_embeddings.weight": (288, 64), f"{prefix}embeddings.norm.weight": (64,)}
    for block in range(4):
        stem = f"{prefix}layers.{block}."
        if block:
            found[f"{stem}attn_norm.weight"] = (64,)
        found |= {
            f"{stem}attn.Wqkv.weight": (192, 64),
            f"{stem}attn.Wo.weight": (64, 64),
            f"{stem}mlp_norm.weight": (64,),
        }
        found |= {f"{stem}mlp.Wi.weight": (192, 64), f"{stem}mlp.Wo.weight": (64, 96)}
    found[f"{prefix}final_norm.weight"] = (64,)
    return _encoders.case(config, {**found, **(more or {})}, **{"tokenizer": "modernbert", **options})


HEAD: Shapes = {"head.dense.weight": (64, 64), "head.norm.weight": (64,)}

CASES = {
    "cls": case(pooling="cls_token"),
    "f32, keys of transformers 5": case(NEW, dtype="f32"),
    "a pre-training's heads": case({"architectures": ["ModernBertForMaskedLM"]}, HEAD, prefix="model."),
    "reranker, mean, f16, silu": case(
        {
            "architectures": ["ModernBertForSequenceClassification"], "classifier_pooling": "mean", "id2label": {"0": "LABEL_0"},
            "hidden_activation": "silu", "global_attn_every_n_layers": 2, "rope_theta": 5000.0,
        },
        {**HEAD, **linear("classifier", 1, 64)}, prefix="model.", dtype="f16",
    ),
}  # fmt: skip

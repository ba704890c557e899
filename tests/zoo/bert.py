"""BERT: embeddings with both kinds of pooling, heads with labels and without, older names of norms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from . import Case, _encoders
from ._encoders import linear

CONFIG: dict[str, Any] = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "vocab_size": 160,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
    "pad_token_id": 0,
}


def case(
    changes: Mapping[str, Any] | None = None,
    more: Mapping[str, tuple[int, ...]] | None = None,
    prefix: str = "",
    **options: Any,
) -> Case:
    config = {**CONFIG, **(changes or {})}
    full = {**CONFIG, **{key: value for key, value in config.items() if value is not ...}}
    options = {"tokenizer": "word pieces", **options}
    return _encoders.case(config, {**_encoders.shapes(full, prefix), **(more or {})}, **options)


def older(found: Case) -> Case:
    """With the names that norms had before."""

    def name(new: str) -> str:
        return new.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")

    shapes = {name(new): shape for new, shape in found.shapes.items()}
    return replace(found, shapes=shapes, dtypes={name(new): dtype for new, dtype in found.dtypes.items()})


CASES = {
    "cls": case(pooling="cls_token"),
    "mean, f16, padded, cased": case(
        {"vocab_size": 192, "type_vocab_size": 1}, pooling="mean_tokens", dtype="f16", tokenizer="cased word pieces"
    ),
    "a pre-training's heads, older names": older(
        case(
            {"architectures": ["BertForMaskedLM"]},
            {
                **linear("cls.predictions.transform.dense", 64, 64),
                "cls.predictions.bias": (160,),
                **linear("cls.seq_relationship", 2, 64),
            },
            prefix="bert.", dtype="f32",
        )
    ),
    "reranker, f32, shards": case(
        {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "LABEL_0"}, "num_hidden_layers": 1},
        linear("classifier", 1, 64), prefix="bert.", dtype="f32", shards=2,
    ),
    "three labels, rows of 48": case(
        {
            "architectures": ["BertForSequenceClassification"], "hidden_size": 48, "num_hidden_layers": 1,
            "id2label": {"2": "maybe", "0": "no", "1": "ja, \u00e7a"},
        },
        linear("classifier", 3, 48), prefix="bert.",
    ),
    "few keys": case(
        dict.fromkeys(("type_vocab_size", "layer_norm_eps", "pad_token_id", "hidden_act"), ...)
        | {"num_hidden_layers": 1}
    ),
}  # fmt: skip

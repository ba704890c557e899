"""RoBERTa: byte pairs, and two positions less than the checkpoint has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import Case, _encoders
from ._encoders import linear
from .bert import CONFIG as BERT

CONFIG: dict[str, Any] = {
    **BERT,
    "architectures": ["RobertaModel"],
    "model_type": "roberta",
    "vocab_size": 288,
    "max_position_embeddings": 66,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}


def case(
    changes: Mapping[str, Any] | None = None,
    more: Mapping[str, tuple[int, ...]] | None = None,
    prefix: str = "",
    **options: Any,
) -> Case:
    config = {**CONFIG, **(changes or {})}
    full = {**CONFIG, **{key: value for key, value in config.items() if value is not ...}}
    return _encoders.case(
        config, {**_encoders.shapes(full, prefix), **(more or {})}, **{"tokenizer": "roberta", **options}
    )


CASES = {
    "mean": case(pooling="mean_tokens"),
    "reranker, f32": case(
        {"architectures": ["RobertaForSequenceClassification"], "num_labels": 1, "num_hidden_layers": 1},
        {**linear("classifier.dense", 64, 64), **linear("classifier.out_proj", 1, 64)},
        prefix="roberta.", dtype="f32",
    ),
    "few keys": case({"pad_token_id": ..., "bos_token_id": ..., "num_hidden_layers": 1}, dtype="f16"),
}  # fmt: skip

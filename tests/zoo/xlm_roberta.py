"""XLM-RoBERTa: pieces from both files, padded, a reranker; blocks for flash attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import Case, _encoders
from ._encoders import Shapes, linear
from .roberta import CONFIG as ROBERTA

CONFIG: dict[str, Any] = {
    **ROBERTA,
    "architectures": ["XLMRobertaModel"],
    "model_type": "xlm-roberta",
    "vocab_size": 180,
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
        config, {**_encoders.shapes(full, prefix), **(more or {})}, **{"tokenizer": "unigram", **options}
    )


def fused(prefix: str = "") -> Shapes:
    found: Shapes = {}
    for block in range(2):
        stem = f"{prefix}encoder.layers.{block}."
        found |= linear(f"{stem}mixer.Wqkv", 192, 64) | linear(f"{stem}mixer.out_proj", 64, 64)
        found |= linear(f"{stem}norm1", 64) | linear(f"{stem}norm2", 64)
        found |= linear(f"{stem}mlp.fc1", 96, 64) | linear(f"{stem}mlp.fc2", 64, 96)
    return found


CASES = {
    "pieces of tokenizer.json, cls": case(pooling="cls_token"),
    "pieces of sentencepiece, f16, padded": case({"vocab_size": 192}, tokenizer="unigram, sentencepiece", dtype="f16"),
    "reranker, f32": case(
        {"architectures": ["XLMRobertaForSequenceClassification"], "id2label": {"0": "LABEL_0"}, "num_hidden_layers": 1},
        {**linear("classifier.dense", 64, 64), **linear("classifier.out_proj", 1, 64)},
        prefix="roberta.", dtype="f32",
    ),
    "blocks for flash attention": _encoders.case(
        CONFIG, {**_encoders.embeddings(CONFIG), **fused()}, tokenizer="unigram", pooling="mean_tokens"
    ),
}  # fmt: skip

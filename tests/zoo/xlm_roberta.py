"""XLM-RoBERTa: pieces from both files, padded, a reranker; blocks for flash attention; Jina's third embeddings."""

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

JINA: dict[str, Any] = {
    **CONFIG,
    "auto_map": {"AutoConfig": "jinaai/x--configuration_xlm_roberta.XLMRobertaFlashConfig"},
    "lora_adaptations": ["retrieval.query", "text-matching"],
    "lora_alpha": 1,
    "lora_rank": 2,
    "position_embedding_type": "rotary",
    "rotary_emb_base": 20000.0,
}


def case(
    changes: Mapping[str, Any] | None = None, more: Mapping[str, tuple[int, ...]] | None = None, prefix: str = "", **options: Any
) -> Case:
    config = {**CONFIG, **(changes or {})}
    full = {**CONFIG, **{key: value for key, value in config.items() if value is not ...}}
    return _encoders.case(config, {**_encoders.shapes(full, prefix), **(more or {})}, **{"tokenizer": "unigram", **options})


def fused(prefix: str = "") -> Shapes:
    found: Shapes = {}
    for block in range(2):
        stem = f"{prefix}encoder.layers.{block}."
        found |= linear(f"{stem}mixer.Wqkv", 192, 64) | linear(f"{stem}mixer.out_proj", 64, 64)
        found |= linear(f"{stem}norm1", 64) | linear(f"{stem}norm2", 64)
        found |= linear(f"{stem}mlp.fc1", 96, 64) | linear(f"{stem}mlp.fc2", 64, 96)
    return found


def jina() -> Case:
    """Weights under the names of torch's parametrizations, with the adapters of two tasks."""
    found: Shapes = {"roberta.embeddings.word_embeddings.parametrizations.weight.original": (180, 64)}
    found["roberta.embeddings.word_embeddings.parametrizations.weight.0.lora_A"] = (2, 180, 2)
    found["roberta.embeddings.word_embeddings.parametrizations.weight.0.lora_B"] = (2, 2, 64)
    found["roberta.embeddings.token_type_embeddings.parametrizations.weight.original"] = (1, 64)
    found |= linear("roberta.emb_ln", 64)
    for name, shape in fused("roberta.").items():
        if not name.endswith(".weight") or "norm" in name:
            found[name] = shape
            continue
        stem = name.replace(".weight", ".parametrizations.weight")
        found |= {f"{stem}.original": shape, f"{stem}.0.lora_A": (2, 2, shape[1]), f"{stem}.0.lora_B": (2, shape[0], 2)}
    return _encoders.case(JINA, found, pooling="mean_tokens", tokenizer="unigram")


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
    "adapters of two tasks": jina(),
}  # fmt: skip

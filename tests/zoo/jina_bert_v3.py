"""Jina's third embeddings: an XLM-RoBERTa with rotary positions, and adapters for its tasks."""

from __future__ import annotations

from typing import Any

from . import Case, _encoders
from ._encoders import Shapes, linear
from .xlm_roberta import CONFIG, fused

CONFIG_V3: dict[str, Any] = {
    **CONFIG,
    "auto_map": {"AutoConfig": "jinaai/x--configuration_xlm_roberta.XLMRobertaFlashConfig"},
    "lora_adaptations": ["retrieval.query", "text-matching"],
    "lora_alpha": 1,
    "lora_rank": 2,
    "position_embedding_type": "rotary",
    "rotary_emb_base": 20000.0,
}


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
    return _encoders.case(CONFIG_V3, found, pooling="mean_tokens", tokenizer="unigram")


CASES = {"adapters of two tasks": jina()}

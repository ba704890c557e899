"""What the cases of encoders have in common: names and shapes of their tensors, and the files of sentence-transformers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from . import Case

Shapes = dict[str, tuple[int, ...]]


def linear(name: str, *shape: int, bias: bool = True) -> Shapes:
    found: Shapes = {f"{name}.weight": shape}
    return found | ({f"{name}.bias": shape[:1]} if bias else {})


def pooled(mode: str) -> dict[str, str]:
    """modules.json, and the configuration that it names."""
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    modes = {f"pooling_mode_{name}": name == mode for name in ("cls_token", "mean_tokens", "max_tokens")}
    return {"modules.json": json.dumps(modules), "1_Pooling/config.json": json.dumps(modes)}


def embeddings(config: Mapping[str, Any], prefix: str = "") -> Shapes:
    hidden = config.get("hidden_size") or config["dim"]
    found: Shapes = {f"{prefix}embeddings.word_embeddings.weight": (config["vocab_size"], hidden)}
    found[f"{prefix}embeddings.position_embeddings.weight"] = (config["max_position_embeddings"], hidden)
    if kinds := config.get("type_vocab_size"):
        found[f"{prefix}embeddings.token_type_embeddings.weight"] = (kinds, hidden)
    return found | linear(f"{prefix}embeddings.LayerNorm", hidden)


def shapes(config: Mapping[str, Any], prefix: str = "") -> Shapes:
    """A BERT's tensors, its pooler among them."""
    hidden, forward = config["hidden_size"], config["intermediate_size"]
    found = {f"{prefix}embeddings.position_ids": (1, config["max_position_embeddings"]), **embeddings(config, prefix)}
    for block in range(config["num_hidden_layers"]):
        stem = f"{prefix}encoder.layer.{block}."
        for part in ("query", "key", "value"):
            found |= linear(f"{stem}attention.self.{part}", hidden, hidden)
        found |= linear(f"{stem}attention.output.dense", hidden, hidden)
        found |= linear(f"{stem}attention.output.LayerNorm", hidden)
        found |= linear(f"{stem}intermediate.dense", forward, hidden)
        found |= linear(f"{stem}output.dense", hidden, forward)
        found |= linear(f"{stem}output.LayerNorm", hidden)
    return found | linear(f"{prefix}pooler.dense", hidden, hidden)


def case(
    config: Mapping[str, Any],
    found: Mapping[str, tuple[int, ...]],
    *,
    pooling: str = "",
    files: Mapping[str, str] | None = None,
    dtypes: Mapping[str, str] | None = None,
    **options: Any,
) -> Case:
    files = {**(pooled(pooling) if pooling else {}), **(files or {})}
    whole = {name: "i64" for name in found if name.endswith("position_ids")}
    return Case(
        {key: value for key, value in config.items() if value is not ...},
        found, files=files, dtypes={**whole, **(dtypes or {})}, logits=False, **options,
    )  # fmt: skip

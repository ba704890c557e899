"""EmbeddingGemma: its window, its pooling, and the layers behind it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelbuild.checkpoint.architectures import find
from modelbuild.checkpoint.architectures.gemma_embedding import GemmaEmbedding
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value
from tests.zoo.gemma_embedding import CONFIG, MODULES, POOLED


def model(files: dict[str, str] | None = None, **changes: Any) -> GemmaEmbedding:
    texts = {"config.json": json.dumps({**CONFIG, **changes}), **(files or {})}
    return GemmaEmbedding(Checkpoint({name: text.encode() for name, text in texts.items()}.get))


def parameters(files: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    return {key: decode_value(value) for key, value in model(files, **changes).parameters(1).items()}


def test_its_window_is_the_whole_one() -> None:
    assert find("Gemma3TextModel") is GemmaEmbedding
    # transformers' own is half of it, since the blocks see to both sides.
    assert model().config["sliding_window"] == 33
    assert parameters()["gemma-embedding.attention.sliding_window"] == 64


def test_a_window_is_needed() -> None:
    with pytest.raises(Error, match="'sliding_window' expects a whole number"):
        parameters(sliding_window=None, use_bidirectional_attention=False)


def test_how_it_pools() -> None:
    assert parameters(POOLED)["gemma-embedding.pooling_type"] == 1
    assert "gemma-embedding.pooling_type" not in parameters()


def test_layers_behind_the_pooling_are_told() -> None:
    dense = [
        {"idx": n, "name": str(n), "path": f"{n}_Dense", "type": "sentence_transformers.models.Dense"} for n in (2, 3)
    ]
    assert list(model(POOLED).doubts()) == []
    (doubt,) = model({**POOLED, "modules.json": json.dumps([*MODULES, *dense])}).doubts()
    assert "which are left out" in doubt.what and doubt.facts == (("left out", "2_Dense, 3_Dense"),)


def test_no_pooling_is_told() -> None:
    (doubt,) = model().doubts()
    assert doubt.path == "modules.json" and "(pooling)" in doubt.what

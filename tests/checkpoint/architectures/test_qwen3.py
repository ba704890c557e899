"""Qwen3: what transformers fills in, which checkpoints are rerankers, and what becomes of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint.architectures import complete
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value
from modelbuild.tensors.recipe import Recipe
from tests import recipes, zoo

TIED = zoo.cases("qwen3")["tied"]


def test_defaults_are_transformers() -> None:
    full = complete({"model_type": "qwen3"})
    wanted = {
        "num_key_value_heads": 32, "head_dim": 128, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "rope_theta": 1e4,
        "intermediate_size": 22016, "vocab_size": 151936,
    }  # fmt: skip
    assert {key: full[key] for key in wanted} == wanted
    assert complete({"model_type": "qwen3", "num_key_value_heads": None})["num_key_value_heads"] == 32
    assert complete({"model_type": "qwen3", "head_dim": None})["head_dim"] is None


@pytest.mark.parametrize("types", [["full_attention"], ["full_attention", "wide_attention"], "full_attention"])
def test_layer_types_that_do_not_fit_leave_the_bare_file(types: Any) -> None:
    config = {"model_type": "qwen3", "num_hidden_layers": 2, "layer_types": types}
    assert complete(config) == config
    assert "head_dim" in complete({**config, "layer_types": ["full_attention"] * 2})


def convert(folder: Path, tokenizer: str = "answers", **changes: Any) -> Recipe:
    zoo.write(folder, replace(TIED, tokenizer=tokenizer))
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return recipes.converted(folder, pre=TIED.pre)


def labels(recipe: Recipe) -> object:
    data = recipe.metadata.get("qwen3.classifier.output_labels")
    return None if data is None else decode_value(data)


def test_reranker_is_known_by_its_name(tmp_path: Path) -> None:
    said, refused = {"_name_or_path": "Qwen/qwen3-vl-reranker-2B"}, {"layer_types": []}
    for name, changes in (("Qwen3-Reranker-0.6B", {}), ("a", said | refused)):
        recipe = convert(tmp_path / name, **changes)
        assert labels(recipe) == ["yes", "no"]
        assert "cls.output.weight" in {entry.name for entry in recipe.tensors}
    assert labels(convert(tmp_path / "Qwen3-0.6B", **said)) is None


def test_reranker_is_known_by_its_card(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Qwen3-Reranker-4B\n")
    assert labels(convert(folder)) == ["yes", "no"]
    (folder / "README.md").write_text("Made for use beside Qwen3-Reranker-4B.\n")
    assert labels(convert(folder)) is None


def test_reranker_without_answers(tmp_path: Path) -> None:
    with pytest.raises(Error, match="the tokenizer has no token 'yes'"):
        convert(tmp_path / "Qwen3-Reranker", tokenizer="byte pairs")
    with pytest.raises(Error, match="the checkpoint of a reranker lacks 'lm_head'"):
        convert(tmp_path / "Qwen3-Reranker", tie_word_embeddings=False)

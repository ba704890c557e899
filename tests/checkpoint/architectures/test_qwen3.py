"""Qwen3: what transformers fills in, and which checkpoints are rerankers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint.architectures import complete
from modelbuild.errors import Error
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


def convert(folder: Path, **changes: str) -> None:
    zoo.write(folder, TIED)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    recipes.converted(folder, pre=TIED.pre)


def test_reranker_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(Error, match="rerankers of Qwen3 are not supported yet"):
        convert(tmp_path / "Qwen3-Reranker-0.6B")
    with pytest.raises(Error, match="rerankers"):
        convert(tmp_path / "a", _name_or_path="Qwen/Qwen3-Reranker-0.6B")


def test_reranker_is_refused_by_its_card(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Qwen3-Reranker-4B\n")
    with pytest.raises(Error) as caught:
        convert(folder)
    assert ("found in", "README.md") in caught.value.facts
    (folder / "README.md").write_text("Made for use beside Qwen3-Reranker-4B.\n")
    convert(folder)

"""Granite: what transformers fills in, and what the runtime has no place for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from modelbuild.checkpoint.architectures import complete
from modelbuild.errors import Error
from tests import recipes, zoo

TIED = zoo.cases("granite")["tied"]


@pytest.mark.parametrize("model_type", ["granite", "granitemoe", "granitemoeshared"])
def test_defaults_are_transformers(model_type: str) -> None:
    full = complete({"model_type": model_type, "num_attention_heads": 16})
    wanted = {
        "num_key_value_heads": 16, "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "rope_theta": 1e4, "vocab_size": 32000,
        "attention_multiplier": 1.0, "embedding_multiplier": 1.0, "residual_multiplier": 1.0, "logits_scaling": 1.0,
    }  # fmt: skip
    assert {key: full[key] for key in wanted} == wanted
    assert "head_dim" not in full


def test_scaling_in_older_words_leaves_the_bare_file() -> None:
    config = {"model_type": "granite", "rope_scaling": {"type": "linear", "factor": 2.0}}
    assert complete(config) == config
    both = {"type": "linear", "rope_type": "dynamic", "factor": 2.0}
    assert complete({**config, "rope_scaling": both})["rope_scaling"] == {"rope_type": "dynamic", "factor": 2.0}


def test_a_multiplier_of_zero_is_none(tmp_path: Path) -> None:
    config = {**TIED.config, "embedding_multiplier": 0, "head_dim": 16}
    metadata = recipes.converted(zoo.write(tmp_path, replace(TIED, config=config))).metadata
    assert "granite.attention.scale" in metadata
    assert metadata.keys().isdisjoint({"granite.embedding_scale", "granite.attention.key_length"})


def test_llama3_scaling_is_refused(tmp_path: Path) -> None:
    scaling = {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }  # fmt: skip
    folder = zoo.write(tmp_path, replace(TIED, config={**TIED.config, "rope_scaling": scaling}))
    with pytest.raises(Error, match="llama3 rope scaling is not known for Granite"):
        recipes.converted(folder)

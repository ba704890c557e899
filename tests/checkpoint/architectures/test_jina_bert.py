"""Jina's second embeddings: gates in several forms, and three kinds of tokenizers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from tests import zoo
from tests.zoo import _tokenizers, byte_pairs

from .encoders import faults, metadata

MEAN = zoo.cases("jina_bert")["mean"]
PAIRS = zoo.cases("jina_bert")["norms of queries and keys, byte pairs, f16"]


def test_tokenizers_are_told_by_their_class(tmp_path: Path) -> None:
    assert metadata(tmp_path / "a", MEAN)["tokenizer.ggml.model"] == "bert"
    assert metadata(tmp_path / "b", PAIRS)["tokenizer.ggml.model"] == "gpt2"
    data = json.loads(_tokenizers.byte_pairs(byte_pairs())["tokenizer.json"])
    white = json.dumps({**data, "pre_tokenizer": {"type": "Whitespace"}})
    found = metadata(tmp_path / "c", replace(PAIRS, files={"tokenizer.json": white}))
    assert (found["tokenizer.ggml.model"], found["tokenizer.ggml.pre"]) == ("whitespace", "whitespace")


def test_another_class_is_an_error(tmp_path: Path) -> None:
    config = json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"})
    assert "'tokenizer_class' expects BertTokenizer or RobertaTokenizer" in faults(
        tmp_path, replace(MEAN, files={"tokenizer_config.json": config})
    )


def test_a_gate_may_stand_in_the_rows_of_another(tmp_path: Path) -> None:
    assert faults(tmp_path / "a", MEAN) == faults(tmp_path / "b", zoo.cases("jina_bert")["gates of their own"]) == ""
    name = "encoder.layer.0.mlp.gated_layers.weight"
    assert "gated_layers.weight" in faults(tmp_path / "c", replace(MEAN, shapes={**MEAN.shapes, name: (190, 64)}))

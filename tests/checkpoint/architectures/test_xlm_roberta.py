"""XLM-RoBERTa, and Jina's third embeddings among its class."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from tests import recipes, zoo
from tests.zoo import _tokenizers

from .encoders import changed, conversion, faults, metadata

CLS = zoo.cases("xlm_roberta")["pieces of tokenizer.json, cls"]
JINA = zoo.cases("jina_bert_v3")["adapters of two tasks"]


def test_a_larger_vocabulary_than_the_embedding_is_told(tmp_path: Path) -> None:
    assert "'token_embd.weight' has 176 rows" in faults(
        tmp_path,
        replace(
            changed(CLS, {"vocab_size": 176}), shapes={**CLS.shapes, "embeddings.word_embeddings.weight": (176, 64)}
        ),
    )


def test_adapters_of_tasks_are_left_out_and_told(tmp_path: Path) -> None:
    recipe = recipes.converted(zoo.write(tmp_path / "a", JINA))
    assert not any("lora" in entry.name for entry in recipe.tensors)
    found = metadata(tmp_path / "a", JINA)
    assert found["general.architecture"] == "jina-bert-v3" and found["jina-bert-v3.rope.freq_base"] == 20000.0
    (warning,) = conversion(tmp_path / "b", JINA).warnings()
    assert "adapters for its tasks (2)" in warning.what


def test_spaces_that_the_converter_takes_from_other_keys_are_told(tmp_path: Path) -> None:
    assert conversion(tmp_path / "a", CLS).warnings() == []
    config = json.dumps({**_tokenizers.UNIGRAM_CONFIG, "clean_up_tokenization_spaces": False})
    other = replace(CLS, files={**CLS.files, "tokenizer_config.json": config})
    (warning,) = conversion(tmp_path / "b", other).warnings()
    assert "clean_up_tokenization_spaces, which is not true" in warning.what
    assert conversion(tmp_path / "c", replace(other, tokenizer="unigram, sentencepiece")).warnings() == []


def test_rotary_positions_have_no_table(tmp_path: Path) -> None:
    shapes = {**JINA.shapes, "roberta.embeddings.position_embeddings.weight": (66, 64)}
    assert "cannot be mapped" in faults(tmp_path, replace(JINA, shapes=shapes))

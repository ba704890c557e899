"""Unigram vocabularies: of a SentencePiece model, of a tokenizer.json, and of damaged ones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.tokenizers.unigram import unigram
from modelbuild.errors import Error
from tests.checkpoints import pieces, protobuf
from tests.zoo import _tokenizers

from .folders import folder, shown, tiny


def xlm(changes: dict[str, Any] | None = None, config: dict[str, Any] | None = None, **files: Any) -> Checkpoint:
    data = {**json.loads(_tokenizers.unigram_json()["tokenizer.json"]), **(changes or {})}
    return folder(
        tokenizer_dot_json=data, tokenizer_config_dot_json={**_tokenizers.UNIGRAM_CONFIG, **(config or {})}, **files
    )


def model(**changes: Any) -> dict[str, Any]:
    found = json.loads(_tokenizers.unigram_json()["tokenizer.json"])["model"]
    assert isinstance(found, dict)
    return {**found, **changes}


def test_pieces_of_tokenizer_json() -> None:
    found = shown(unigram(xlm(), 184, 1))
    assert found["tokens"][:5] == ["<s>", "<pad>", "</s>", "<unk>", "\u2581"]
    assert found["tokens"][179:] == ["<mask>", "[PAD180]", "[PAD181]", "[PAD182]", "[PAD183]"]
    assert found["token_type"][:5] == [3, 3, 3, 2, 1] and found["token_type"][179:181] == [3, 5]
    assert found["scores"][4] == -2.0 and found["scores"][180] == -10000.0
    assert (found["model"], found["pre"], found["token_type_count"]) == ("t5", "default", 1)
    assert found["add_space_prefix"] and found["remove_extra_whitespaces"]
    assert bytes(found["precompiled_charsmap"]) == _tokenizers.CHARSMAP
    assert found["bos_token_id"] == 0 and found["add_bos_token"] and found["add_eos_token"]


def test_flags_are_the_configurations() -> None:
    found = shown(unigram(xlm(config={"clean_up_tokenization_spaces": False, "add_prefix_space": False}), None, 1))
    assert not found["add_space_prefix"] and not found["remove_extra_whitespaces"]


def test_a_sentencepiece_model_comes_first_and_gets_transformers_four_tokens() -> None:
    found = shown(unigram(xlm(sentencepiece_dot_bpe_dot_model=_tokenizers.unigram_model()), 180, 1))
    assert found["tokens"][:6] == ["<s>", "<pad>", "</s>", "<unk>", "\u2581", "\u2581the"]
    # One of the 180 goes: the model has one token less at its start.
    assert found["tokens"][-1] == "[PAD178]" and len(found["tokens"]) == 180
    assert found["add_space_prefix"] and found["remove_extra_whitespaces"]


def test_damaged_models_are_errors() -> None:
    with pytest.raises(Error, match="expected a Unigram model"):
        unigram(xlm(sentencepiece_dot_bpe_dot_model=pieces()), 288, 1)
    with pytest.raises(Error, match="expected at least 4 pieces"):
        unigram(xlm(sentencepiece_dot_bpe_dot_model=protobuf([("<unk>", 2, 0.0)], trainer=b"\x18\x01")), 10, 1)
    with pytest.raises(Error, match="is not a SentencePiece model"):
        unigram(xlm(sentencepiece_dot_bpe_dot_model=b"\xff\xff"), 10, 1)
    broken = protobuf(
        [("<unk>", 2, 0.0), *((chr(97 + n), 1, 0.0) for n in range(4))],
        trainer=b"\x18\x01",
        normalizer=b"\x12\x04\xff\0\0\0",
    )
    with pytest.raises(Error, match="claims a table of 255"):
        unigram(xlm(sentencepiece_dot_bpe_dot_model=broken), 10, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"normalizer": None}, "expected a 'normalizer' with a 'precompiled_charsmap'"),
        ({"normalizer": {"type": "NFC"}}, "expected a 'normalizer' with a 'precompiled_charsmap'"),
        ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "A"}}, "is not base64"),
        ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "/////3g="}}, "claims a table"),
        ({"model": model(vocab=[["a", "b"]])}, "pieces, each with a finite score"),
        ({"model": model(vocab=[["a", float("inf")]])}, "pieces, each with a finite score"),
        ({"model": model(vocab=[["a"]])}, "pieces, each with a finite score"),
        ({"model": model(vocab=[])}, "expected 1 to"),
        ({"model": model(vocab=[["a", 0.0], ["b", 0.0], ["a", 1.0]])}, "more than once"),
        ({"model": model(vocab={"a": 0})}, "pieces, each with a finite score"),
    ],
)  # fmt: skip
def test_damaged_tokenizers_are_errors(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(Error, match=message):
        unigram(xlm(changes), None, 1)


def test_byte_pairs_are_none() -> None:
    with pytest.raises(Error, match="expected a Unigram tokenizer, got BPE"):
        unigram(folder(tokenizer_dot_json=tiny()), None, 1)


def test_a_sequence_of_normalizers_is_read_as_transformers_means_it() -> None:
    data = json.loads(_tokenizers.unigram_json()["tokenizer.json"])
    spaces = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
    changes = {
        "normalizer": {"type": "Sequence", "normalizers": [data["normalizer"], spaces]},
        "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True},
    }
    found = shown(unigram(xlm(changes, {"add_prefix_space": None, "clean_up_tokenization_spaces": False}), None, 1))
    assert found["add_space_prefix"] and found["remove_extra_whitespaces"]
    assert bytes(found["precompiled_charsmap"]) == _tokenizers.CHARSMAP

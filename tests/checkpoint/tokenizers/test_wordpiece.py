"""WordPiece vocabularies: marks at the beginning of words, and which tokenizers are none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.tokenizers.fast import FastTokenizer
from modelbuild.checkpoint.tokenizers.wordpiece import word_pieces
from modelbuild.errors import Error
from tests.zoo import _tokenizers

from .folders import folder, shown, tiny


def berts(
    changes: dict[str, Any] | None = None, config: dict[str, Any] | None = None, *, lowercase: bool = True
) -> Checkpoint:
    """The zoo's WordPiece, changed."""
    files = {name: json.loads(text) for name, text in _tokenizers.word_pieces(lowercase=lowercase).items()}
    return folder(
        tokenizer_dot_json={**files["tokenizer.json"], **(changes or {})},
        tokenizer_config_dot_json={**files["tokenizer_config.json"], **(config or {})},
    )


def test_marks_move_from_the_inside_of_words_to_their_beginning() -> None:
    found = shown(word_pieces(berts(), 164, 2))
    assert found["tokens"][:7] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "\u2581a", "\u2581b"]
    assert {"the", "\u2581the", "a", "\u2581a", "\u2581[unused0]"} <= set(found["tokens"])
    assert found["tokens"][160:] == ["\u2581[PAD160]", "\u2581[PAD161]", "\u2581[PAD162]", "\u2581[PAD163]"]
    assert (found["token_type"][:6], found["token_type"][160]) == ([3, 3, 3, 3, 3, 1], 5)
    assert (found["model"], found["pre"], found["token_type_count"]) == ("bert", "default", 2)
    assert next(iter(word_pieces(berts(), 160, 2))) == "tokenizer.ggml.token_type_count"


def test_flags_of_the_normalizer_and_special_tokens() -> None:
    found = shown(word_pieces(berts(lowercase=False), 160, 1))
    assert found["normalizer.lowercase"] is False and "normalizer.strip_accents" not in found
    ids = {key: value for key, value in found.items() if key.endswith("_id")}
    assert ids == {
        "bos_token_id": 2, "eos_token_id": 3, "unknown_token_id": 1, "seperator_token_id": 3, "padding_token_id": 0, "mask_token_id": 4,
    }  # fmt: skip
    assert found["add_bos_token"] and found["add_eos_token"]


def test_a_class_lays_its_own_flags_over_the_normalizer() -> None:
    """With them it splits text otherwise, by which its pre-tokenizer is told."""

    def ids(**config: Any) -> list[int]:
        return FastTokenizer(berts(lowercase=False, config=config)).encoded("The")

    cased = ids(do_lower_case=False)
    assert ids(do_lower_case=True) != cased
    assert ids(tokenizer_class="PreTrainedTokenizerFast", do_lower_case=True) == cased


def test_another_way_to_split_text_has_to_be_named() -> None:
    other = berts({"pre_tokenizer": {"type": "Whitespace"}})
    with pytest.raises(Error, match="does not know this pre-tokenizer"):
        word_pieces(other, 160, 2)
    other.pre = "jina-v2-en"
    assert shown(word_pieces(other, 160, 2))["pre"] == "jina-v2-en"


def test_byte_pairs_and_unigram_are_none() -> None:
    with pytest.raises(Error, match="expected a WordPiece tokenizer, got BPE"):
        word_pieces(folder(tokenizer_dot_json=tiny()), None, 2)
    files = _tokenizers.unigram_json()
    with pytest.raises(Error, match="got Unigram") as caught:
        word_pieces(folder(tokenizer_dot_json=json.loads(files["tokenizer.json"])), None, 2)
    assert caught.value.hint and "multilingual" in caught.value.hint


def test_two_pieces_that_become_one_text_are_an_error() -> None:
    model = json.loads(_tokenizers.word_pieces()["tokenizer.json"])["model"]
    vocabulary = {**model["vocab"], "##\u2581the": 160}
    with pytest.raises(Error, match="are both"):
        word_pieces(berts({"model": {**model, "vocab": vocabulary}}), 161, 2)

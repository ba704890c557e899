"""Vocabularies, special tokens and templates, from the files that checkpoints keep them in."""

from __future__ import annotations

from typing import Any

import pytest

from modelbuild.checkpoint.tokenizers import pretokenizers, vocabulary
from modelbuild.checkpoint.tokenizers.fast import FastTokenizer
from modelbuild.errors import Error
from tests import checkpoints
from tests.checkpoint.tokenizers.folders import CLASS, LLAMA_HF, folder, known, shown, tiny


def test_pieces_fill_up_to_the_size_of_the_vocabulary() -> None:
    values = vocabulary.sentencepiece(folder(tokenizer_dot_model=checkpoints.pieces(264)), 266)
    assert values is not None
    found = shown(values)
    assert found["model"] == "llama" and found["pre"] == "default"
    assert found["tokens"][-2:] == ["[PAD264]", "[PAD265]"]
    assert found["scores"][-2:] == [-10000.0, -10000.0]
    assert found["token_type"][:4] == [2, 3, 3, 6] and found["token_type"][-3:] == [1, 5, 5]
    assert vocabulary.tokens_in(values) == 266


def test_added_tokens_replace_pieces_and_pads() -> None:
    values = vocabulary.sentencepiece(
        folder(
            tokenizer_dot_model=checkpoints.pieces(264),
            added_tokens_dot_json={"<x>": 264, "<far>": 900},
            tokenizer_config_dot_json={
                "added_tokens_decoder": {
                    "0": {"content": "<unk>", "special": True},
                    "262": {"content": "\u2581two words", "special": False},
                    "263": {"content": "<|im_end|>", "special": False},
                    "999": {"content": "beyond"},
                }
            },
        ),
        265,
    )
    assert values is not None
    found = shown(values)
    assert [(found["tokens"][i], found["token_type"][i], found["scores"][i]) for i in (0, 262, 263, 264)] == [
        ("<unk>", 3, -1000.0), (" two words", 4, -1000.0), ("<|im_end|>", 3, -1000.0), ("<x>", 4, -1000.0),
    ]  # fmt: skip


def test_a_folder_without_pieces_has_none() -> None:
    assert vocabulary.sentencepiece(folder(), 10) is None


def byte_pairs(monkeypatch: pytest.MonkeyPatch, size: int | None, **files: Any) -> dict[str, Any]:
    checkpoint = folder(**{"tokenizer_config_dot_json": CLASS, **files})
    known(monkeypatch, checkpoint)
    return shown(vocabulary.byte_pairs(checkpoint, size))


def test_byte_level_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    found = byte_pairs(monkeypatch, 262, tokenizer_dot_json=tiny())
    assert (found["model"], found["pre"]) == ("gpt2", "tiny")
    assert found["tokens"][256:] == ["\u0120\u0120", "th", "<|end|>", "[PAD259]", "[PAD260]", "[PAD261]"]
    assert found["token_type"][256:] == [1, 1, 3, 5, 5, 5]
    assert found["merges"] == ["\u0120 \u0120", "t h"]
    assert "scores" not in found
    assert (found["add_bos_token"], found["add_eos_token"]) == (False, False)
    assert list(found) == ["model", "pre", "tokens", "token_type", "merges", "add_bos_token", "add_eos_token"]


def test_merges_as_pairs_are_the_same_merges(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = tiny()
    pairs["model"] = {**pairs["model"], "merges": [["\u0120", "\u0120"], ["t", "h"]]}
    assert byte_pairs(monkeypatch, None, tokenizer_dot_json=pairs) == byte_pairs(
        monkeypatch, None, tokenizer_dot_json=tiny()
    )


@pytest.mark.parametrize("merges", [None, []])
def test_byte_pairs_without_merges_are_an_error(monkeypatch: pytest.MonkeyPatch, merges: Any) -> None:
    """The runtime does not load the file."""
    bare = tiny()
    bare["model"] = {**bare["model"], "merges": merges}
    with pytest.raises(Error, match="'merges' of the byte pairs are missing") as found:
        byte_pairs(monkeypatch, None, tokenizer_dot_json=bare)
    assert found.value.path == "tokenizer.json"


def test_merges_may_stand_in_merges_txt(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = tiny()
    bare["model"] = {**bare["model"], "merges": []}
    text = b"#version: 0.2\na b\n\nthree words here\nc d\n"
    assert byte_pairs(monkeypatch, None, tokenizer_dot_json=bare, merges_dot_txt=text)["merges"] == ["a b", "c d"]


def test_special_tokens_that_the_vocabulary_lacks_are_added_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {**CLASS, "pad_token": "<pad>", "additional_special_tokens": ["<|end|>", "th"]}
    found = byte_pairs(monkeypatch, None, tokenizer_dot_json=tiny(), tokenizer_config_dot_json=config)
    assert found["tokens"][257:] == ["th", "<|end|>", "<pad>"]
    assert found["token_type"][257:] == [3, 3, 3]


def test_added_tokens_of_the_configuration_change_flags_and_come_after_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoder = {
        "258": {"content": "<|end|>", "special": False},
        "700": {"content": "\u2581new one .", "normalized": False},
    }
    config = {**CLASS, "added_tokens_decoder": decoder, "clean_up_tokenization_spaces": True}
    found = byte_pairs(monkeypatch, None, tokenizer_dot_json=tiny(), tokenizer_config_dot_json=config)
    assert found["tokens"][258:] == ["<|end|>", " new one."]
    assert found["token_type"][258:] == [3, 4]


def test_too_many_tokens_for_the_model_are_an_error() -> None:
    checkpoint = folder(tokenizer_dot_json=tiny(), tokenizer_config_dot_json=CLASS)
    with pytest.raises(Error, match="contains token 258, but the model has room for 258 tokens"):
        vocabulary.byte_pairs(checkpoint, 258)


@pytest.mark.parametrize(
    ("files", "place", "what"),
    [
        (
            {},
            "tokenizer_config.json",
            "is missing: without it the class LlamaTokenizer of transformers adds <s>, </s>, <unk>",
        ),
        (
            {"tokenizer_config_dot_json": {"bos_token": "<|end|>", "eos_token": "<|end|>"}},
            "tokenizer_config.json",
            "does not name all special tokens, so the class LlamaTokenizer of transformers adds <unk>",
        ),
        (
            {"tokenizer_config_dot_json": {**CLASS, "pad_token": "<new>"}},
            "tokenizer_config.json",
            "adds <new> to the tokens of tokenizer.json",
        ),
        (
            {"tokenizer_config_dot_json": CLASS, "special_tokens_map_dot_json": {"pad_token": {"content": "<map>"}}},
            "special_tokens_map.json",
            "adds <map> to the tokens of tokenizer.json",
        ),
        (
            {"tokenizer_config_dot_json": CLASS, "added_tokens_dot_json": {"<older>": 259}},
            "added_tokens.json",
            "adds <older> to the tokens of tokenizer.json",
        ),
    ],
)
def test_tokens_beyond_the_rows_are_told_of_the_file_that_adds_them(
    files: dict[str, Any], place: str, what: str
) -> None:
    config = {"model_type": "llama", "vocab_size": 259}
    checkpoint = folder(tokenizer_dot_json=tiny(), config_dot_json=config, **files)
    with pytest.raises(Error) as caught:
        vocabulary.byte_pairs(checkpoint, 259)
    assert caught.value.path == place and caught.value.what.startswith(what)
    assert ("tokenizer.json", "tokens 0 to 258") in caught.value.facts
    assert ("config.json", "vocab_size 259") in caught.value.facts


def test_a_small_file_that_is_missing_is_told() -> None:
    def doubts(**files: Any) -> list[Error]:
        checkpoint = folder(
            tokenizer_dot_model=checkpoints.pieces(264), config_dot_json={"model_type": "llama"}, **files
        )
        values = vocabulary.sentencepiece(checkpoint, 264)
        assert values is not None
        return vocabulary.doubts(checkpoint, values)

    (found,) = doubts(chat_template_dot_jinja="{{ messages }}")
    assert found.path == "tokenizer_config.json" and found.facts == (("not used", "chat_template.jinja"),)
    assert doubts(tokenizer_config_dot_json=CLASS) == []


def test_an_id_beyond_the_vocabulary_is_told() -> None:
    checkpoint = folder(
        tokenizer_dot_json=tiny(),
        tokenizer_config_dot_json=CLASS,
        config_dot_json={"eos_token_id": 900, "bos_token_id": 3},
    )
    checkpoint.pre = "smollm"
    (found,) = vocabulary.doubts(checkpoint, vocabulary.byte_pairs(checkpoint, None))
    assert found.what == "the id of the eos token is 900, but the vocabulary has 259 tokens"


def test_a_pre_tokenizer_that_llama_cpp_does_not_know_is_an_error() -> None:
    with pytest.raises(Error, match="llama.cpp does not know this pre-tokenizer"):
        vocabulary.byte_pairs(folder(tokenizer_dot_json=tiny(), tokenizer_config_dot_json=CLASS), None)


def test_a_pre_tokenizer_that_is_named_is_believed() -> None:
    known = folder(tokenizer_dot_json=tiny(), tokenizer_config_dot_json=CLASS)
    known.pre = "smollm"
    assert shown(vocabulary.byte_pairs(known, None))["pre"] == "smollm"


def test_a_pre_tokenizer_nobody_knows_tells_what_to_write() -> None:
    with pytest.raises(Error) as caught:
        vocabulary.byte_pairs(folder(tokenizer_dot_json=tiny(), tokenizer_config_dot_json=CLASS), None)
    assert "`pre` in ModelBuild.toml" in str(caught.value.hint)
    assert dict(caught.value.facts)["known"].split(", ") == list(pretokenizers.NAMES)


@pytest.mark.parametrize(
    ("name", "added"),
    [
        ("PreTrainedTokenizerFast", []),
        ("GemmaTokenizerFast", ["<bos>", "<eos>", "<unk>", "<pad>"]),
        ("CodeLlamaTokenizer", ["<s>", "</s>", "<unk>", "\u2581<PRE>", "\u2581<MID>", "\u2581<SUF>", "\u2581<EOT>"]),
        ("GPTNeoXTokenizerFast", ["<|endoftext|>"]),
        ("CohereTokenizerFast", ["<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>", "<UNK>"]),
    ],
)
def test_a_class_brings_special_tokens_of_its_own(name: str, added: list[str]) -> None:
    known = folder(tokenizer_dot_json=tiny(), tokenizer_config_dot_json={"tokenizer_class": name})
    known.pre = "gpt-2"
    plain = len(FastTokenizer(folder(tokenizer_dot_json=tiny(), tokenizer_config_dot_json=CLASS)).texts())
    assert shown(vocabulary.byte_pairs(known, None))["tokens"][plain:] == added


NAMED = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>"}


def test_sentencepiece_in_another_spelling() -> None:
    assert vocabulary.is_llama_hf(LLAMA_HF) and not vocabulary.is_llama_hf(tiny())
    found = shown(vocabulary.llama_hf(folder(tokenizer_dot_json=LLAMA_HF, config_dot_json={"model_type": "llama"})))
    assert found["tokens"] == ["<unk>", "<s>", "</s>", "<0x0A>", "\u2581a", "b", "<new>"]
    assert found["token_type"] == [3, 3, 3, 6, 1, 1, 4]
    assert found["scores"] == [-1000.0] * 7


def test_sentencepiece_in_another_spelling_is_filled_up_to_the_rows_of_the_embedding() -> None:
    source = folder(tokenizer_dot_json=LLAMA_HF, config_dot_json={"model_type": "llama"})
    found = shown(vocabulary.llama_hf(source, 9))
    assert found["tokens"][6:] == ["<new>", "[PAD7]", "[PAD8]"]
    assert found["token_type"][6:] == [4, 5, 5]
    assert found["scores"][6:] == [-1000.0, -10000.0, -10000.0]


def test_the_tokenizer_of_gemma_4_has_scores_and_merges() -> None:
    data = {**LLAMA_HF, "model": {**LLAMA_HF["model"], "merges": [["\u2581", "a"], ["a", " b"]]}}
    source = folder(tokenizer_dot_json=data, tokenizer_config_dot_json={"tokenizer_class": "GemmaTokenizer", **NAMED})
    found = shown(vocabulary.gemma4(source, 8, {"</s>"}))
    assert found["model"] == "gemma4" and "pre" not in found
    assert found["token_type"] == [3, 3, 4, 6, 1, 1, 4, 5]
    assert found["scores"][5:] == [-1000.0, -1000.0, -10000.0]
    assert found["merges"] == ["\u2581 a", "a \u0120b"]
    assert found["bos_token_id"] == 1


def test_a_tokenizer_of_another_kind_is_none_of_gemma_4() -> None:
    with pytest.raises(Error, match="expected byte pairs that fall back to bytes"):
        vocabulary.gemma4(folder(tokenizer_dot_json=tiny()), None, ())
    with pytest.raises(Error, match="the tokenizer is missing"):
        vocabulary.gemma4(folder(), None, ())


def test_two_tokens_of_one_text_are_an_error() -> None:
    data = {**LLAMA_HF, "added_tokens": [{"id": 6, "content": "[PAD7]", "special": True}]}
    with pytest.raises(Error, match=r'tokens 6 and 7 of the vocabulary are both "\[PAD7\]"'):
        vocabulary.llama_hf(folder(tokenizer_dot_json=data, config_dot_json={"model_type": "llama"}), 8)


def test_a_hole_in_the_ids_is_an_error() -> None:
    data = {**LLAMA_HF, "model": {**LLAMA_HF["model"], "vocab": {"a": 0, "b": 2}}, "added_tokens": []}
    config = {**CLASS, "added_tokens_decoder": {}}
    with pytest.raises(Error, match="has no token for id 1"):
        vocabulary.llama_hf(folder(tokenizer_dot_json=data, tokenizer_config_dot_json=config))


def test_what_looks_special_is() -> None:
    words = ["<pad>", "<|x|>", "<\uff5cx\uff5c>", "<unused7>", "[@BOS@]", "<x>", "|x|", "<|x"]
    assert [vocabulary.looks_special(word) for word in words] == [True] * 5 + [False] * 3

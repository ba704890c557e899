"""Vocabularies, special tokens and templates, from the files that checkpoints keep them in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.tokenizers import pretokenizers, sentencepiece, vocabulary
from modelbuild.checkpoint.tokenizers.fast import Added, FastTokenizer
from modelbuild.checkpoint.tokenizers.special import special_tokens
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value
from tests import checkpoints

DATA = Path(__file__).parents[3] / "../shared/data"
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def folder(**files: Any) -> Checkpoint:
    """A checkpoint of files by name, dots written as '_dot_'; what is no bytes becomes JSON."""
    data = {"config.json": b"{}"}
    for name, value in files.items():
        data[name.replace("_dot_", ".").replace("_in_", "/")] = (
            value if isinstance(value, bytes) else json.dumps(value).encode()
        )
    return Checkpoint(data.get, list(data), "m")


def shown(values: Mapping[str, bytes]) -> dict[str, Any]:
    return {key.removeprefix("tokenizer.ggml."): decode_value(value) for key, value in values.items()}


# --- SentencePiece


def test_pieces_are_read_in_the_order_of_their_ids() -> None:
    found = sentencepiece.pieces(checkpoints.pieces(270))
    assert len(found) == 270
    assert found[0] == (b"<unk>", 0.0, sentencepiece.UNKNOWN)
    assert found[3 + 0xAB] == (b"<0xAB>", 0.0, sentencepiece.BYTE)
    assert found[-1].text.startswith("\u2581".encode()) and found[-1].score == -10.0


@pytest.mark.parametrize(
    "data", [b"", b"\x0a", b"\x0a\xff", b"\x0a\x02\x0a\x00", b"\x0b", b"\xff" * 20, b"{}", checkpoints.pieces()[:-9]]
)
def test_what_is_no_model_is_said(data: bytes) -> None:
    with pytest.raises(Error, match="tokenizer.model: is no SentencePiece model"):
        sentencepiece.pieces(data)


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


# --- tokenizer.json


def tiny(**changes: Any) -> dict[str, Any]:
    """A byte-level tokenizer of the 256 bytes and two merges."""
    alphabet = sorted({chr(c) for c in (*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324))})
    words = [*alphabet, "\u0120\u0120", "th"]
    return {
        "added_tokens": [{"id": 258, "content": "<|end|>", "special": True, "normalized": False}],
        "normalizer": None,
        "pre_tokenizer": BYTE_LEVEL,
        "post_processor": BYTE_LEVEL,
        "decoder": BYTE_LEVEL,
        "model": {"type": "BPE", "vocab": {w: i for i, w in enumerate(words)}, "merges": ["\u0120 \u0120", "t h"]},
        **changes,
    }


def known(monkeypatch: pytest.MonkeyPatch, checkpoint: Checkpoint) -> None:
    """Make the tokenizer's pre-tokenizer one that llama.cpp knows."""
    loaded = FastTokenizer(checkpoint)
    library = loaded._library(loaded.vocabulary, loaded.merges)
    digest = hashlib.sha256(str(library.ids_with_special(pretokenizers.TEXT)).encode()).hexdigest()
    monkeypatch.setitem(pretokenizers.HASHES, "tiny", (digest,))


CLASS = {"tokenizer_class": "PreTrainedTokenizerFast"}


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


def test_a_space_within_a_merge_is_spelled_as_a_byte() -> None:
    model = {"type": "BPE", "vocab": {"a": 0, " ": 1, "a b": 2}, "merges": [["a", " b"], ["a", "b"]]}
    loaded = FastTokenizer(folder(tokenizer_dot_json=tiny(model=model), tokenizer_config_dot_json=CLASS))
    assert loaded.merges == ["a \u0120b", "a b"]


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
    with pytest.raises(Error, match="holds token 258, but the model has room for 258 tokens"):
        vocabulary.byte_pairs(checkpoint, 258)


def test_a_pre_tokenizer_that_llama_cpp_does_not_know_is_an_error() -> None:
    with pytest.raises(Error, match="the pre-tokenizer is none that llama.cpp knows"):
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


def test_the_text_is_the_one_whose_hashes_are_known() -> None:
    assert hashlib.sha256(pretokenizers.TEXT.encode()).hexdigest().startswith("a36179c1e2b1cfcfbfad1dc779addad2")
    digests = [digest for found in pretokenizers.HASHES.values() for digest in found]
    assert len(digests) == len(set(digests)) == 95


REAL = {
    "tokenizers/llama-3.2/tokenizer.json": ("configs/llama-3.2-1b-ft/tokenizer_config.json", "llama-bpe", 280147),
    "tokenizers/qwen2.5/tokenizer.json": ("configs/qwen2.5-14b-cogito/tokenizer_config.json", "qwen2", 151387),
}


@pytest.mark.parametrize("file", REAL)
def test_real_pre_tokenizers_are_found_from_a_small_part_of_the_vocabulary(file: str) -> None:
    if not DATA.is_dir():
        pytest.skip("no ../shared/data beside the repository")
    config, name, merges = REAL[file]
    files = {
        "tokenizer_dot_json": (DATA / file).read_bytes(),
        "tokenizer_config_dot_json": (DATA / config).read_bytes(),
    }
    loaded = FastTokenizer(folder(**files))
    assert len(loaded.merges) == merges
    needed = loaded._needed()
    assert needed is not None and len(needed[0]) < 2000 and len(needed[1]) < 2000
    assert loaded.pre_tokenizer()[0] == name


def test_a_part_of_the_vocabulary_makes_the_same_ids_as_the_whole() -> None:
    loaded = FastTokenizer(folder(tokenizer_dot_json=tiny(), tokenizer_config_dot_json=CLASS))
    needed = loaded._needed()
    assert needed is not None
    ids = [
        loaded._library(*part).ids_with_special(pretokenizers.TEXT)
        for part in (needed, (loaded.vocabulary, loaded.merges))
    ]
    assert ids[0] == ids[1]


def test_added_tokens_within_the_text_need_the_whole_vocabulary() -> None:
    data = tiny(added_tokens=[{"id": 258, "content": "apple"}])
    assert FastTokenizer(folder(tokenizer_dot_json=data, tokenizer_config_dot_json=CLASS))._needed() is None


LLAMA_HF = {
    "added_tokens": [{"id": 1, "content": "<s>", "special": True}, {"id": 6, "content": "<new>", "special": False}],
    "decoder": {"type": "Sequence", "decoders": []},
    "model": {
        "type": "BPE", "byte_fallback": True, "merges": [],
        "vocab": {"<unk>": 0, "<s>": 1, "</s>": 2, "<0x0A>": 3, "\u2581a": 4, "b": 5},
    },
}  # fmt: skip


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


def test_two_tokens_of_one_text_are_an_error() -> None:
    data = {**LLAMA_HF, "added_tokens": [{"id": 6, "content": "[PAD7]", "special": True}]}
    with pytest.raises(Error, match=r'tokens 6 and 7 of the vocabulary are both "\[PAD7\]"'):
        vocabulary.llama_hf(folder(tokenizer_dot_json=data, config_dot_json={"model_type": "llama"}), 8)


def test_folders_without_added_tokens_decoder_add_the_tokens_of_added_tokens_json() -> None:
    config = {**CLASS, "eos_token": "<end>"}
    files = {"tokenizer_dot_json": tiny(), "tokenizer_config_dot_json": config}
    more = folder(**files, added_tokens_dot_json={"<end>": 90, "<tool>": 80})
    plain, found = FastTokenizer(folder(**files)), FastTokenizer(more)
    size = len(plain.texts())
    assert [text for number, text in sorted(found.texts().items())][size - 1 :] == ["<tool>", "<end>"]
    assert [found.added[number].special for number in sorted(found.added)[-2:]] == [False, True]
    declared = folder(
        **{**files, "tokenizer_config_dot_json": {**config, "added_tokens_decoder": {}}},
        added_tokens_dot_json={"<tool>": 80},
    )
    assert "<tool>" not in FastTokenizer(declared).texts().values()


def test_a_hole_in_the_ids_is_an_error() -> None:
    data = {**LLAMA_HF, "model": {**LLAMA_HF["model"], "vocab": {"a": 0, "b": 2}}, "added_tokens": []}
    config = {**CLASS, "added_tokens_decoder": {}}
    with pytest.raises(Error, match="has no token for id 1"):
        vocabulary.llama_hf(folder(tokenizer_dot_json=data, tokenizer_config_dot_json=config))


def test_what_looks_special_is() -> None:
    words = ["<pad>", "<|x|>", "<\uff5cx\uff5c>", "<unused7>", "[@BOS@]", "<x>", "|x|", "<|x"]
    assert [vocabulary.looks_special(word) for word in words] == [True] * 5 + [False] * 3


def test_a_special_token_is_not_normalized_unless_it_says_so() -> None:
    assert Added.of({"content": "a", "special": True}, "f").normalized is False
    assert Added.of({"content": "a"}, "f").normalized is True


# --- special tokens


def part(word: str) -> dict[str, Any]:
    return {"Sequence": {"id": word}} if word in ("A", "B") else {"SpecialToken": {"id": word}}


def flags(single: str, pair: str, **config: Any) -> dict[str, Any]:
    data = {
        "post_processor": {
            "type": "TemplateProcessing", "single": [part(w) for w in single.split()], "pair": [part(w) for w in pair.split()],
        },
        "added_tokens": [{"id": i, "content": w} for i, w in enumerate(("<s>", "</s>", "<x>"))],
    }  # fmt: skip
    return shown(special_tokens(folder(tokenizer_dot_json=data, tokenizer_config_dot_json=config)))


def test_flags_follow_the_template() -> None:
    both = {"bos_token": "<s>", "eos_token": "</s>"}
    ids = {"bos_token_id": 0, "eos_token_id": 1}
    assert flags("<s> A", "<s> A <s> B", **both) == ids | {"add_bos_token": True, "add_sep_token": False}
    assert flags("<s> A </s>", "<s> A </s> B </s>", **both) == ids | {
        "add_bos_token": True, "add_eos_token": True, "add_sep_token": False,
    }  # fmt: skip
    assert flags("<s> A", "<s> A </s> B", **both)["add_sep_token"] is True
    assert flags("<x> A", "<x> A B", cls_token="<s>", **both) == ids | {"add_bos_token": False}
    assert flags("A", "A B", **both) == ids


def test_a_token_that_ended_texts_becomes_the_one_that_ends_turns() -> None:
    found = flags("A <x>", "A B <x>", eos_token="</s>")
    assert found["eos_token_id"] == 2 and found["eot_token_id"] == 1 and found["add_eos_token"] is True


def test_flags_of_the_configuration_fill_what_the_template_leaves() -> None:
    found = flags("<s> A", "<s> A B", bos_token="<s>", add_bos_token=False, add_eos_token=False)
    assert (found["add_bos_token"], found["add_eos_token"]) == (True, False)


def test_ids_come_from_config_json_where_the_tokenizer_says_none() -> None:
    config = {"bos_token_id": 5, "eos_token_id": [6, 7], "pad_token_id": 99, "text_config": {"unk_token_id": 3}}
    found = shown(special_tokens(folder(config_dot_json=config), count=50))
    assert found == {"bos_token_id": 5, "unknown_token_id": 3}


def test_normalizer_flags() -> None:
    normalizer = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, {"type": "NFC"}, {"type": "StripAccents"}]}
    found = shown(special_tokens(folder(tokenizer_dot_json={"normalizer": normalizer})))
    assert found == {"normalizer.lowercase": True, "normalizer.strip_accents": True}


def templates(**files: Any) -> dict[str, Any]:
    found = shown(special_tokens(folder(**{"tokenizer_config_dot_json": {"x": 1}, **files})))
    return {key.removeprefix("tokenizer."): value for key, value in found.items()}


def test_chat_templates() -> None:
    assert templates(tokenizer_config_dot_json={"chat_template": "T"}) == {"chat_template": "T"}
    assert templates(tokenizer_config_dot_json={"chat_template": None, "x": 1}, chat_template_dot_jinja=b"F") == {}
    assert templates(chat_template_dot_jinja=b"a\r\nb") == {"chat_template": "a\nb"}
    assert templates(chat_template_dot_json={"chat_template": "J"}) == {"chat_template": "J"}
    assert templates(chat_template_dot_jinja=b"a", tokenizer_config_dot_json={}) == {}
    named = [
        {"name": "default", "template": "D"},
        {"name": "tool use", "template": "U"},
        {"name": "x", "template": None},
    ]
    assert templates(tokenizer_config_dot_json={"chat_template": named}) == {
        "chat_template.tool_use": "U", "chat_templates": ["tool_use"], "chat_template": "D",
    }  # fmt: skip
    files = {"chat_template_dot_jinja": b"D", "additional_chat_templates_in_rag_dot_jinja": b"R"}
    assert templates(**files) == {"chat_template.rag": "R", "chat_templates": ["rag"], "chat_template": "D"}

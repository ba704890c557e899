"""A tokenizer.json with the files around it, as transformers reads them."""

from __future__ import annotations

import json

import pytest

from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.tokenizers import pretokenizers
from modelbuild.checkpoint.tokenizers.fast import Added, FastTokenizer
from tests.attacks import hostile
from tests.checkpoint.tokenizers.folders import CLASS, DATA, folder, tiny


def test_a_space_within_a_merge_is_spelled_as_a_byte() -> None:
    model = {"type": "BPE", "vocab": {"a": 0, " ": 1, "a b": 2}, "merges": [["a", " b"], ["a", "b"]]}
    loaded = FastTokenizer(folder(tokenizer_dot_json=tiny(model=model), tokenizer_config_dot_json=CLASS))
    assert loaded.merges == ["a \u0120b", "a b"]


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
        loaded._bounded(*part).ids_with_special(pretokenizers.TEXT)
        for part in (needed, (loaded.vocabulary, loaded.merges))
    ]
    assert ids[0] == ids[1]


def test_added_tokens_within_the_text_need_the_whole_vocabulary() -> None:
    data = tiny(added_tokens=[{"id": 258, "content": "apple"}])
    assert FastTokenizer(folder(tokenizer_dot_json=data, tokenizer_config_dot_json=CLASS))._needed() is None


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


def test_a_special_token_is_not_normalized_unless_it_says_so() -> None:
    assert Added.of({"content": "a", "special": True}, "f").normalized is False
    assert Added.of({"content": "a"}, "f").normalized is True


def test_added_tokens_are_numbered_after_the_vocabulary() -> None:
    data = hostile.tokenizer(
        added_tokens=[{"id": 999, "content": "a"}, *({"id": 9, "content": f"<{n}>"} for n in range(3))]
    )
    files = {"tokenizer.json": json.dumps(data).encode(), "config.json": b"{}"}
    assert [*FastTokenizer(Checkpoint(files.get)).added] == [hostile.tokenizer()["model"]["vocab"]["a"], 256, 257, 258]

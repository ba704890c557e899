"""The pre-tokenizers that llama.cpp knows."""

from __future__ import annotations

import hashlib

from modelbuild.checkpoint.tokenizers import pretokenizers


def test_the_text_is_the_one_whose_hashes_are_known() -> None:
    assert hashlib.sha256(pretokenizers.TEXT.encode()).hexdigest().startswith("a36179c1e2b1cfcfbfad1dc779addad2")
    digests = [digest for found in pretokenizers.HASHES.values() for digest in found]
    assert len(digests) == len(set(digests)) == 95


def test_a_hash_names_its_pre_tokenizer() -> None:
    assert pretokenizers.find(pretokenizers.HASHES["qwen2"][1]) == "qwen2"
    assert pretokenizers.find("0" * 64) is None


def test_what_is_found_the_runtime_takes() -> None:
    # The other two have no byte pairs.
    assert set(pretokenizers.HASHES) - set(pretokenizers.NAMES) == {"bert-bge-large", "jina-v2-en"}

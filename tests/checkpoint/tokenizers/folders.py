"""Tokenizers in folders of a few files, and what they become, as the tests of several modules need them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.tokenizers import pretokenizers
from modelbuild.checkpoint.tokenizers.fast import FastTokenizer
from modelbuild.tensors.formats.gguf import decode_value

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
    library = loaded._bounded(loaded.vocabulary, loaded.merges)
    digest = hashlib.sha256(str(library.ids_with_special(pretokenizers.TEXT)).encode()).hexdigest()
    monkeypatch.setitem(pretokenizers.HASHES, "tiny", (digest,))


CLASS = {"tokenizer_class": "PreTrainedTokenizerFast"}


LLAMA_HF = {
    "added_tokens": [{"id": 1, "content": "<s>", "special": True}, {"id": 6, "content": "<new>", "special": False}],
    "decoder": {"type": "Sequence", "decoders": []},
    "model": {
        "type": "BPE", "byte_fallback": True, "merges": [],
        "vocab": {"<unk>": 0, "<s>": 1, "</s>": 2, "<0x0A>": 3, "\u2581a": 4, "b": 5},
    },
}  # fmt: skip

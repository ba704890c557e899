"""Encoders: llama.cpp's runtime makes the embeddings and scores of our files that transformers makes of the checkpoints."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import recipes, zoo

from .peers import Process

MODEL_TYPES = (
    "bert", "distilbert", "roberta", "xlm_roberta", "nomic_bert", "nomic_bert_moe", "modernbert", "jina_bert", "jina_bert_v3",
    "gemma_embedding",
)  # fmt: skip
CASES = [(model_type, name) for model_type in MODEL_TYPES for name in zoo.cases(model_type)]

TEXTS = (
    "the cat and the dog", "water", "time is up, isn't it?", "THE HOUSE", "  two  spaces  ", "x", "42 - 17 = 25!", "re-encoded, unordered",
    "\u00e9\u00fc\u00f1 caf\u00e9", "cafe\u0301", "\u03b1\u03b2 \u0438\u043d", "\u6211\u7231\u65e5\u672c", "\ud55c\u304b", "tab\tand\nline",
    "\u00a0no-break\u3000wide", "\ufb01ne \uff21 \u00bd", "\U0001f680 rocket", "control\u0001\u200bs", "a" * 40, "the " * 12,
    "[CLS] the [MASK] cat", "<s> the <mask> cat", "I've been 'told he's there", "a.b.c,d!e?f-g", "\u00df stra\u00dfe STRASSE \u0130",
)  # fmt: skip


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = Process(tmp_path_factory.mktemp("runtime"), "encoders.py")
    yield process
    process.close()


def made(model_type: str, name: str, scratch: Path) -> dict[str, Any]:
    """The checkpoint, its f32 file, and how it pools."""
    case = zoo.cases(model_type)[name]
    folder = zoo.write(scratch / "model", case)
    path = scratch / "f32.gguf"
    path.write_bytes(recipes.file_of(recipes.converted(folder, "f32", case.pre), recipes.Folder(folder).leaves()))
    modes = json.loads(case.files.get("1_Pooling/config.json", "{}"))
    return {
        "folder": str(folder),
        "model": str(path),
        "pooling": "cls" if modes.get("pooling_mode_cls_token") else "mean",
    }


@pytest.mark.peer
@pytest.mark.parametrize(("model_type", "name"), CASES)
def test_embeddings_are_transformers(model_type: str, name: str, runtime: Process, tmp_path: Path) -> None:
    texts = [*TEXTS, *(f"the {first} {second}" for first in ("dog", "cat", "ing", "house", "un") for second in "abcde")]
    assert len(texts) >= 50
    answer = runtime.ask(do="embed", texts=texts, **made(model_type, name, tmp_path))
    assert answer["error"] is None, answer["error"]
    assert min(answer["cosines"]) >= 0.9999, answer["cosines"]


RANKED = [
    ("xlm_roberta", "reranker, f32"),
    ("roberta", "reranker, f32"),
    ("modernbert", "reranker, mean, f16, silu"),
]


@pytest.mark.peer
@pytest.mark.parametrize(("model_type", "name"), RANKED)
def test_scores_of_rerankers_are_transformers(model_type: str, name: str, runtime: Process, tmp_path: Path) -> None:
    texts = [text for text in TEXTS if text.isascii() and "\n" not in text and "mask" not in text.lower()]
    answer = runtime.ask(do="rank", query="the dog", texts=texts, **made(model_type, name, tmp_path))
    assert answer["error"] is None, answer["error"]
    assert len(texts) > 10
    assert answer["llama"] == pytest.approx(answer["transformers"], abs=0.01)


SPLIT = [
    ("bert", "cls"),
    ("bert", "mean, f16, padded, cased"),
    ("roberta", "mean"),
    ("xlm_roberta", "pieces of tokenizer.json, cls"),
    ("xlm_roberta", "pieces of sentencepiece, f16, padded"),
    ("nomic_bert_moe", "experts"),
    ("modernbert", "cls"),
    ("jina_bert", "mean"),
]


@pytest.mark.peer
@pytest.mark.parametrize(("model_type", "name"), SPLIT)
def test_texts_are_split_as_the_tokenizers_library_does(
    model_type: str, name: str, runtime: Process, tmp_path: Path
) -> None:
    """But for a special token that takes the space before it, as `<mask>`: the runtime's does not."""
    path = Path(os.environ["MODELBUILD_LLAMA_SRC"]) / "models/ggml-vocab-bert-bge.gguf.inp"
    texts = [*TEXTS, *path.read_text().split("\n__ggml_vocab_test__\n")[:-1]]
    texts = [text for text in texts if "mask" not in text.lower()]
    answer = runtime.ask(do="tokens", texts=texts, **made(model_type, name, tmp_path))
    assert answer["error"] is None, answer["error"]
    assert len(texts) > 60
    for text, theirs, ours in zip(texts, answer["transformers"], answer["llama"], strict=True):
        assert ours == theirs, text

"""The tokenizers library, within bounds: what it can do it does, what it must not be given never reaches it."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from modelbuild.checkpoint.tokenizers.library import TEXT_LIMIT, BoundedTokenizer
from modelbuild.errors import Error
from tests.attacks import hostile


def what(act: Any, *args: Any) -> str:
    with pytest.raises(Error) as caught:
        act(*args)
    return caught.value.what


def library(**changes: Any) -> BoundedTokenizer:
    data = hostile.tokenizer(**changes)
    data["added_tokens"] = [{"normalized": False, **token} for token in data["added_tokens"]]
    return BoundedTokenizer(data, "tokenizer.json")


def test_what_the_library_can_do_it_does() -> None:
    known = library(
        normalizer={"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Prepend", "prepend": "x"}]}
    )
    assert known.pieces("ab 3") == ["xab", "\u01203"]
    assert known.decoded(known.ids("ab")) == "xab"


def test_a_missing_library_is_an_error_that_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(Error) as caught:
        library()
    assert caught.value.what == "reading it needs the tokenizers library, which is not installed here"
    assert caught.value.path == "tokenizer.json"
    assert caught.value.hint == f"install it: {sys.executable} -m pip install tokenizers"


@pytest.mark.parametrize(
    "part",
    (
        {"type": "Prepend", "prepend": "x" * (TEXT_LIMIT + 1)},
        {"prepend": "x" * (TEXT_LIMIT + 1)},
        {
            "type": "Sequence",
            "normalizers": [{"type": "Replace", "pattern": {"String": "3"}, "content": "3" * 1000}] * 4,
        },
        {"type": "Sequence", "normalizers": [{"pattern": {"Regex": ""}, "content": "3" * 1000}] * 4},
        {"type": "Sequence", "normalizers": [{"type": "NFKD"}, {"type": "ByteLevel"}] * 9},
    ),
)
def test_texts_that_grow_are_refused_before(part: dict[str, Any]) -> None:
    known = library(normalizer=part)
    assert "may make texts of" in what(known.ids, "33 \u00e9")


def test_pre_tokenizers_that_grow_are_refused_before() -> None:
    known = library(pre_tokenizer={"type": "Sequence", "pretokenizers": [hostile.BYTE_LEVEL] * 60})
    assert "may make texts of" in what(known.pieces, "33 \u00e9")


def test_panics_and_exceptions_of_the_library_are_errors() -> None:
    with pytest.raises(Error) as caught:
        library(pre_tokenizer={"type": "FixedLength", "length": 0}).pieces("abc")
    assert (caught.value.path, caught.value.what) == ("tokenizer.json", "the tokenizers library cannot split text")
    assert caught.value.facts and caught.value.hint
    assert what(lambda: library(pre_tokenizer={"type": "X"})) == "the tokenizers library cannot read it"


@pytest.mark.parametrize("prefix", ("x", "\u0120\u0120"))
def test_merges_without_their_prefix_never_reach_the_library(prefix: str) -> None:
    model = {"continuing_subword_prefix": prefix, "merges": ["a \u0120"], "vocab": {"a": 0, "\u0120": 1, "a\u0120": 2}}
    assert what(lambda: library(model=model)).startswith("'merges' joins a \u0120")
    assert library(
        model={"continuing_subword_prefix": "##", "merges": ["a ##b"], "vocab": {"a": 0, "##b": 1, "ab": 2}}
    ).ids("ab") == [2]


def test_charsmaps_are_looked_at_before_the_library_sees_them() -> None:
    for given in ("", "AAAA", "/////w=="):
        part = {"type": "Precompiled", "precompiled_charsmap": given}
        assert "'normalizer' cannot be read" in what(lambda part=part: library(normalizer=part))

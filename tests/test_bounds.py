"""Bounds on what is read from outside: what is within them is read as ever, what is not is an error that says which one it is."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelbuild.checkpoint import card, card_yaml, metadata, shards
from modelbuild.checkpoint.checkpoint import SIZE_LIMIT, SIZE_LIMITS, Checkpoint, kind
from modelbuild.checkpoint.tokenizers.fast import FastTokenizer
from modelbuild.checkpoint.tokenizers.library import TEXT_LIMIT, Library
from modelbuild.errors import Error
from modelbuild.tensors.formats import gguf, imatrix, safetensors, split
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.tensor import Tensor, TensorTable
from modelbuild.words import shown

from .attacks import hostile


def what(act: Any, *args: Any) -> str:
    with pytest.raises(Error) as caught:
        act(*args)
    return caught.value.what


def test_small_files_have_a_size() -> None:
    assert what(Checkpoint({"config.json": b"{" + bytes(SIZE_LIMIT)}.get).json, "config.json").startswith(
        "is 16,777,217 bytes long"
    )
    assert SIZE_LIMITS["tokenizer.json"] > 3 * 35_000_000


def test_values_are_shown_however_long_deep_and_large_they_are() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    assert shown(nested) == "[" * 77 + "…"
    assert shown([1] * 1_000_000).endswith("…")
    assert shown(1 << 20_000) == kind(1 << 20_000) == "a number of thousands of digits"
    assert shown([1, "a", None, 1.5, {"b": True}]) == '[1, "a", null, 1.5, {"b": true}]'
    assert kind("x" * 100) == 'the text "' + "x" * 58 + "…"


def test_numbers_of_metadata_fit_64_bits() -> None:
    for value in (10**400, [10**400], -(10**20), 1 << 64):
        assert what(metadata.check, "acme.x", value).startswith("'acme.x' expects numbers that 64 bits hold")
    assert metadata.check("acme.x", (1 << 64) - 1) == (1 << 64) - 1


# Cards


def test_cards_may_merge_but_not_without_end() -> None:
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {<<: [*a, {z: 4}]}\nd: &d {<<: *d, e: 5}\n"
    assert card_yaml.load(text) == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 3},
        "c": {"x": 1, "y": 2, "z": 4},
        "d": {"e": 5},
    }
    doubled = ["a0: &a0 {x: 1}", *(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 60))]
    wide = [f"a: &a {{{', '.join(f'k{n}: 1' for n in range(1000))}}}", f"b: {{<<: [{', '.join(['*a'] * 5000)}]}}"]
    for lines in (doubled, wide):
        try:
            # Newer versions of PyYAML take in each key once.
            assert card_yaml.load("\n".join(lines))
        except card_yaml.Refused as refused:
            assert refused.problem == "it has more than 100,000 values"


@pytest.mark.parametrize(
    "value", ("1" + ":1" * 5000, "1" + ":1" * 5000 + ".5", "0x" + "f" * 5000, "0b" + "1" * 5000, "9" * 5000)
)
def test_numbers_of_a_card_have_a_length(value: str) -> None:
    with pytest.raises(card_yaml.Refused):
        card_yaml.load(f"a: {value}\n")


@pytest.mark.parametrize("value", ("!!bool x", "!!int x", "!!int ''", "!!float x", "!!timestamp x"))
def test_values_of_a_card_that_are_not_of_their_type(value: str) -> None:
    with pytest.raises(card_yaml.Refused, match="a value is not of its type"):
        card_yaml.load(f"a: {value}\n")


def general(text: str) -> dict[str, bytes]:
    files = {"README.md": f"---\n{text}\n---\n".encode(), "config.json": b"{}"}
    return card.general(Checkpoint(files.get), card.Parameters(0, 0, 0, 0))


def test_a_text_that_a_card_repeats_counts_each_time() -> None:
    long = f"a: &a {'x' * 20_000}"
    assert len(general(f"{long}\ntags: [{', '.join(['*a'] * 10)}]")["general.tags"]) > 200_000
    for key in ("tags", "license", "base_model"):
        assert "characters of text, expected at most" in what(general, f"{long}\n{key}: [{', '.join(['*a'] * 900)}]")
    assert what(general, f"tags: [{', '.join(['a'] * 10_001)}]") == "'tags' has 10,001 items, expected at most 10,000"


# Tokenizers


def library(**changes: Any) -> Library:
    data = hostile.tokenizer(**changes)
    data["added_tokens"] = [{"normalized": False, **token} for token in data["added_tokens"]]
    return Library(data, "tokenizer.json")


def test_what_the_library_can_do_it_does() -> None:
    known = library(
        normalizer={"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Prepend", "prepend": "x"}]}
    )
    assert known.pieces("ab 3") == ["xab", "\u01203"]
    assert known.decoded(known.ids("ab")) == "xab"


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


def test_added_tokens_are_numbered_after_the_vocabulary() -> None:
    data = hostile.tokenizer(
        added_tokens=[{"id": 999, "content": "a"}, *({"id": 9, "content": f"<{n}>"} for n in range(3))]
    )
    files = {"tokenizer.json": json.dumps(data).encode(), "config.json": b"{}"}
    assert [*FastTokenizer(Checkpoint(files.get)).added] == [hostile.tokenizer()["model"]["vocab"]["a"], 256, 257, 258]


# Weights files


def test_means_of_an_importance_matrix_over_several_chunks(tmp_path: Path) -> None:
    count = imatrix.CHUNK + 77
    values = np.linspace(0, 9, count, dtype=np.float32)
    data = struct.pack("<ii", 1, 1) + b"a" + struct.pack("<ii", 3, count) + values.tobytes()
    assert imatrix.parse(data, "x").entries["a"] == (values / np.float32(3)).tobytes()
    rows = values[: count // 4 * 4].reshape(4, -1)
    counts = np.array([1, 0, 2, 7], np.float32)
    expected = np.where(counts[:, None] > 0, rows / np.maximum(counts, 1)[:, None], np.float32(1))
    sums = Tensor("a.in_sum2", "f32", rows.shape, 5, rows.nbytes)
    file = io.BytesIO(bytes(5) + rows.tobytes())
    assert imatrix._means("a", file, sums, counts, "x") == expected.astype("<f4").tobytes()
    values[-1] = np.nan
    broken = data[: -4 * count] + values.tobytes()
    assert what(imatrix.parse, broken, "x") == f"'a' holds nan at {count - 1}, expected finite numbers"


def test_lists_are_no_scalars() -> None:
    values = {"a": encode_value("[u8]", [1]), "b": encode_value("u8", 2)}
    assert (gguf.scalar(values, "a"), gguf.scalar(values, "b"), gguf.scalar(values, "c")) == (None, 2, None)
    absurd = struct.pack("<IIQ", 9, 0, gguf.LIST_LIMIT + 1) + bytes(gguf.LIST_LIMIT + 1)
    assert what(gguf.decode_value, absurd).startswith("has a list of 4,194,305 items")


@pytest.mark.parametrize(
    "value", (encode_value("str", "two"), encode_value("[u16]", [2]), encode_value("f64", float("nan")))
)
def test_a_number_of_parts_that_is_none_makes_no_part(value: bytes) -> None:
    assert not split.is_part(TensorTable({"split.count": value}, {}))


def test_all_files_of_a_checkpoint_have_a_bound_together() -> None:
    table = TensorTable({}, {str(n): Tensor(str(n), "f32", (0,), 8, 0) for n in range(shards.TENSORS_LIMIT // 2)})
    assert len(list(shards.bounded([("a", table), ("b", table)]))) == 2
    assert "the weights files up to this one hold" in what(
        list, shards.bounded([("a", table), ("b", table), ("c", table)])
    )


def test_a_shape_has_no_more_than_a_few_sizes(tmp_path: Path) -> None:
    entry = {"dtype": "F32", "shape": [(1 << 62) + 1] * 100_000, "data_offsets": [0, 0]}
    text = json.dumps({"a": entry}).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    assert "a shape that is not a list of sizes" in what(safetensors.table, str(path))

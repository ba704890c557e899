"""Bounds on what is read from outside: what is within them is read as ever, what is not is an error that says which one it is."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelbuild import bounded_json
from modelbuild.checkpoint import metadata
from modelbuild.errors import Error
from modelbuild.project import variables
from modelbuild.tensors.formats import gguf, imatrix, safetensors, shown
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.tensor import Tensor, TensorTable
from modelbuild.words import in_json

from .attacks import hostile


def what(act: Any, *args: Any) -> str:
    with pytest.raises(Error) as caught:
        act(*args)
    return caught.value.what


# JSON


def read(text: str) -> Any:
    return bounded_json.parse(bounded_json.text(text.encode(), "x.json"), "x.json")


@pytest.mark.parametrize("character", ("a", "\u0120", "\u2581", "🦙", '"', "\\", "\n"))
def test_a_large_json_file_is_what_it_is(character: str) -> None:
    value = {"texts": [character * 100 + str(number) for number in range(12_000)], "numbers": [1, -2.5, True, None]}
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        assert len(text.encode()) > 1 << 20
        assert read(text) == value


def test_one_character_of_four_bytes_does_not_make_a_text_four_times_as_large() -> None:
    data = ('{"a": "' + "x" * (2 << 20) + '🦙"}').encode()
    assert len(bounded_json.text(data, "x.json").encode()) < len(data) + 20
    assert read(data.decode())["a"].endswith("x🦙")


@pytest.mark.parametrize("item", (b"[],", b'{"":1},', b'"ab",', b'"ab":1,'))
def test_more_values_than_memory_is_an_error_before_they_are_made(item: bytes) -> None:
    data = b"[" + item * (36_000_000 // len(item)) + b"0]"
    assert what(bounded_json.text, data, "x.json") == "holds more than can be read"


def test_json_as_large_as_the_largest_real_tokenizers_is_read() -> None:
    """As many marks as Gemma 3's file has: 262 thousand tokens and 515 thousand merges as pairs."""
    memory = bounded_json.check(b'["a", "b"],' * 515_000 + b'"a": 1,' * 262_000, "x.json")
    assert memory + 3 * 2 * 33_000_000 < bounded_json.MEMORY_LIMIT


def test_how_deep_json_may_be() -> None:
    limit = bounded_json.DEPTH_LIMIT
    assert read(hostile.deep(limit)) is not None
    for depth in (limit + 1, 300, 9_000, 200_000):
        for opening, closing in (("[", "]"), ('{"a":', "}")):
            text = opening * depth + "1" + closing * depth
            assert what(read, text).startswith("expected JSON that can be read: it is nested too deeply")


def test_values_are_shown_however_long_deep_and_large_they_are() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    assert shown(nested) == "[" * 77 + "…"
    assert shown([1] * 1_000_000).endswith("…")
    assert shown(1 << 20_000) == in_json(1 << 20_000) == "a number of thousands of digits"
    assert shown([1, "a", None, 1.5, {"b": True}]) == '[1, "a", null, 1.5, {"b": true}]'
    assert in_json("x" * 100) == 'the text "' + "x" * 58 + "…"


def test_numbers_of_a_toml_file_are_shown_and_bounded() -> None:
    number = int("f" * 4000, 16)
    assert variables.as_text(number) == hex(number)
    assert variables.got(number) == hex(number)[:59] + "…"
    assert variables.as_text(12) == "12"
    for value in (10**400, [10**400], -(10**20), 1 << 64):
        assert what(metadata.check, "acme.x", value).startswith("'acme.x' expects numbers that 64 bits hold")
    assert metadata.check("acme.x", (1 << 64) - 1) == (1 << 64) - 1


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
    assert not gguf.is_part(TensorTable({"split.count": value}, {}))


def test_a_shape_has_no_more_than_a_few_sizes(tmp_path: Path) -> None:
    entry = {"dtype": "F32", "shape": [(1 << 62) + 1] * 100_000, "data_offsets": [0, 0]}
    text = json.dumps({"a": entry}).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    assert "a shape that is not a list of sizes" in what(safetensors.read_header, str(path))

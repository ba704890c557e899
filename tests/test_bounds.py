"""Bounds on what is read from outside: what is within them is read as ever, what is not is an error that says which one it is."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelbuild.checkpoint import metadata
from modelbuild.errors import Error
from modelbuild.tensors.formats import gguf, imatrix, safetensors, split
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.tensor import Tensor, TensorTable
from modelbuild.words import shown


def what(act: Any, *args: Any) -> str:
    with pytest.raises(Error) as caught:
        act(*args)
    return caught.value.what


def test_values_are_shown_however_long_deep_and_large_they_are() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    assert shown(nested) == "[" * 79 + "…"
    assert shown([1] * 1_000_000).endswith("…")
    assert shown(1 << 20_000) == "a number of thousands of digits"
    assert shown([1, "a", None, 1.5, {"b": True}]) == '[1, "a", null, 1.5, {"b": true}]'


def test_numbers_of_metadata_fit_64_bits() -> None:
    for value in (10**400, [10**400], -(10**20), 1 << 64):
        assert what(metadata.check, "acme.x", value).startswith("'acme.x' expects numbers that fit 64 bits")
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
    assert what(imatrix.parse, broken, "x") == f"'a' contains nan at {count - 1}, expected finite numbers"


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


def test_a_shape_has_no_more_than_a_few_sizes(tmp_path: Path) -> None:
    entry = {"dtype": "F32", "shape": [(1 << 62) + 1] * 100_000, "data_offsets": [0, 0]}
    text = json.dumps({"a": entry}).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    assert "a shape that is not a list of sizes" in what(safetensors.table, str(path))

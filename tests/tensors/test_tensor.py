"""Tensors as files hold them: their sizes, and tables that survive encoding."""

from __future__ import annotations

import pytest

from modelbuild.tensors.tensor import Tensor, TensorTable, byte_count


@pytest.mark.parametrize(
    ("dtype", "shape", "size"),
    [("f32", (), 4), ("f32", (3, 5), 60), ("bf16", (0, 7), 0), ("q8_0", (2, 64), 136), ("q4_k", (3, 256), 432)],
)
def test_bytes_of_a_tensor(dtype: str, shape: tuple[int, ...], size: int) -> None:
    assert byte_count(dtype, shape) == size


def test_a_row_is_whole_blocks() -> None:
    with pytest.raises(ValueError, match="rows of 48 values are not a multiple of the 32 of a q8_0 block"):
        byte_count("q8_0", (2, 48))


def test_a_table_survives_encoding() -> None:
    tensors = [Tensor("a", "bf16", (2, 3), 64, 12, "xxh3:00"), Tensor("\udc80é", "q8_0", (32,), 96, 34)]
    table = TensorTable({"k": b"\0\n\xff", "empty": b""}, {tensor.name: tensor for tensor in tensors})
    again = TensorTable.decode(table.encode())
    assert again == table
    assert list(again.tensors) == list(table.tensors)


def test_what_is_unread_has_a_stand_in_for_each_digest() -> None:
    table = TensorTable({"a": b"b"}, {name: Tensor(name, "f32", (1,), 0, 4) for name in "xy"})
    assert table.marked("") is table
    marked = table.marked(" of f")
    assert [each.digest for each in marked.tensors.values()] == ["unread:x of f", "unread:y of f"]
    assert marked.metadata == table.metadata and marked.tensors["x"]._replace(digest="") == table.tensors["x"]

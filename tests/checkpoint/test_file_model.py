"""The hyper-parameters of a file: which block has which sizes, and what its kind is."""

from __future__ import annotations

from typing import Any

from modelbuild.checkpoint.file_model import FileModel, items
from modelbuild.tensors.formats.gguf import encode_value


def model(**values: tuple[str, Any]) -> FileModel:
    return FileModel("x", {f"x.{key.replace('__', '.')}": encode_value(*value) for key, value in values.items()})


SIZES = model(
    block_count=("u32", 4),
    embedding_length=("u32", 64),
    feed_forward_length=("[i32]", [96, 96, 192]),
    attention__head_count=("u32", 4),
    attention__head_count_kv=("[i32]", [2, 2, 1, 1]),
    attention__key_length=("u32", 32),
    attention__value_length=("u32", 32),
    attention__key_length_swa=("u32", 16),
    attention__value_length_swa=("u32", 16),
    attention__sliding_window_pattern=("[bool]", [True, False, True, False]),
    attention__shared_kv_layers=("u32", 1),
    embedding_length_per_layer_input=("u32", 8),
)


def test_sizes_are_those_of_a_block() -> None:
    found = [SIZES.dimensions(block) for block in range(4)]
    assert [each["head"] for each in found] == [16, 32, 16, 32]
    assert [each["keys"] for each in found] == [32, 64, 16, 32]
    # A list that is too short says nothing of the others.
    assert [each["ff"] for each in found] == [96, 96, 192, 0]
    assert {(each["layer"], each["layered"], each["rot"]) for each in found} == {(8, 32, 32)}


def test_the_last_blocks_use_the_keys_of_others() -> None:
    assert [SIZES.lends(block) for block in range(4)] == [False, False, False, True]


def test_kinds_of_blocks() -> None:
    every = model(block_count=("u32", 5), full_attention_interval=("u32", 2), nextn_predict_layers=("u32", 1))
    assert [every.kind(block) for block in range(5)] == ["recurrent", "attention"] * 2 + ["nextn"]
    told = model(block_count=("u32", 2), attention__recurrent_layers=("[bool]", [False]))
    assert [told.kind(block) for block in range(2)] == ["attention", "attention"]


def test_items_of_what_is_no_list() -> None:
    assert [items(data) for data in (None, b"", encode_value("u32", 7), encode_value("[u32]", [1, 2]))] == [0, 0, 0, 2]

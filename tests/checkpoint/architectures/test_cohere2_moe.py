"""Cohere 2 with experts: what the runtime computes otherwise, and blocks without experts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint.conversion import Conversion
from tests import recipes, zoo
from tests.zoo.mistral import changed

CASES = zoo.cases("cohere2_moe")
CASE = CASES["a dense block, shared experts"]
BIAS = "model.layers.1.self_attn.q_proj.bias"


def conversion(folder: Path, case: zoo.Case = CASE, **changes: Any) -> Conversion:
    case = replace(case, config=changed(case.config, changes))
    return Conversion(recipes.Folder(zoo.write(folder, case)), folder="m", outtype="f16", pre=case.pre)


@pytest.mark.parametrize(
    ("changes", "doubted"),
    [
        ({}, ""),
        ({"expert_selection_fn": "softmax"}, ""),
        ({"expert_selection_fn": "softmax", "norm_topk_prob": False}, "as a part of all"),
        ({"prefix_dense_sliding_window_pattern": 4}, "turns queries and keys in every block without experts"),
        ({"num_nextn_predict_layers": 1}, "the checkpoint has none"),
    ],
)
def test_what_the_runtime_computes_otherwise(changes: dict[str, Any], doubted: str, tmp_path: Path) -> None:
    found = conversion(tmp_path / "m", **changes)
    assert found.faults() == []
    doubts = [error.what for error in found.warnings()]
    assert len(doubts) == bool(doubted) and all(doubted in text for text in doubts)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"shared_expert_combination_strategy": "sum"}, "expects 'average'"),
        ({"layer_types": ...}, "'layer_types' expects a list with one text for each of 4 blocks, got null"),
        ({"layer_types": ["full_attention"]}, "got a list of 1"),
        ({"num_nextn_predict_layers": -1}, "'num_nextn_predict_layers' expects a whole number from 0 to 16"),
        ({"sliding_window": None}, "'sliding_window' expects a whole number"),
    ],
)
def test_values_that_do_not_fit(changes: dict[str, Any], what: str, tmp_path: Path) -> None:
    found = [error.what for error in conversion(tmp_path / "m", **changes).faults()]
    assert any(what in text for text in found), found


@pytest.mark.parametrize(("value", "count"), [(0, 0), (1, 1)])
def test_biases_of_zero_are_left_out(value: int, count: int, tmp_path: Path) -> None:
    case = replace(CASE, shapes={**CASE.shapes, BIAS: (128,)}, given={BIAS: bytes(255) + bytes([value])})
    found = conversion(tmp_path / "m", case)
    assert sum("1 bias that llama.cpp's runtime does not read" in error.what for error in found.faults()) == count
    assert any(entry.name.endswith(".bias") for entry in found.entries) == bool(count)

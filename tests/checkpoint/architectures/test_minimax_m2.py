"""MiniMax M2: the bias by which experts are chosen, and the part of a head that turns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint.conversion import Conversion
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value
from tests import recipes, zoo
from tests.zoo.mistral import changed

CASE = zoo.cases("minimax_m2")["four experts"]


def metadata(folder: Path, changes: Mapping[str, Any]) -> Mapping[str, bytes]:
    folder = zoo.write(folder, replace(CASE, config=changed(CASE.config, changes)))
    return recipes.converted(folder, "f16", CASE.pre).metadata


@pytest.mark.parametrize(
    "changes",
    [
        {"rotary_dim": ..., "rope_theta": ..., "rope_parameters": {"rope_theta": 5e6, "partial_rotary_factor": 0.5}},
        {"rotary_dim": ..., "partial_rotary_factor": 0.5},
        {"scoring_func": ...},
    ],
)
def test_what_transformers_5_writes(changes: Mapping[str, Any], tmp_path: Path) -> None:
    found, as_released = metadata(tmp_path / "new", changes), metadata(tmp_path / "old", {})
    keys = ["rope.dimension_count", "rope.freq_base", "expert_gating_func"]
    assert [found[f"minimax-m2.{key}"] for key in keys] == [as_released[f"minimax-m2.{key}"] for key in keys]
    assert decode_value(found["minimax-m2.rope.dimension_count"]) == 16


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"rotary_dim": 0}, "'rotary_dim' expects a whole number of at least 1, got the number 0"),
        (
            {"rotary_dim": ..., "partial_rotary_factor": 2},
            "'partial_rotary_factor' expects a number above 0 and at most 1, got the number 2",
        ),
        ({"num_local_experts": 3}, r"no expert of block \d has such a tensor"),
    ],
)
def test_values_that_do_not_fit(changes: Mapping[str, Any], what: str, tmp_path: Path) -> None:
    with pytest.raises(Error, match=what):
        metadata(tmp_path / "m", changes)


def test_bias_is_needed(tmp_path: Path) -> None:
    shapes = {name: shape for name, shape in CASE.shapes.items() if not name.endswith("correction_bias")}
    folder = zoo.write(tmp_path / "m", replace(CASE, shapes=shapes))
    conversion = Conversion(recipes.Folder(folder), folder="m", outtype="f16", pre=CASE.pre)
    assert [error.what for error in conversion.faults()] == [
        "the checkpoint lacks 2 tensors that this architecture has"
    ]

"""Phi-2: what transformers fills in, the part of a head that turns, and biases."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint.architectures import complete
from modelbuild.checkpoint.conversion import Conversion
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value
from tests import recipes, zoo

CASE = zoo.cases("phi")["half of each head"]


def test_defaults_are_transformers() -> None:
    full, wanted = (
        complete({"model_type": "phi"}),
        {"partial_rotary_factor": 0.5, "num_key_value_heads": 32, "vocab_size": 51200},
    )
    assert {key: full[key] for key in wanted} == wanted


def test_no_token_stands_before_a_text(tmp_path: Path) -> None:
    metadata = recipes.converted(zoo.write(tmp_path / "m", CASE), "f16", CASE.pre).metadata
    assert decode_value(metadata["tokenizer.ggml.add_bos_token"]) is False
    assert decode_value(metadata["phi2.rope.dimension_count"]) == 8


@pytest.mark.parametrize("part", [0, 1.5, None, "half"])
def test_part_of_a_head(part: Any, tmp_path: Path) -> None:
    folder = zoo.write(tmp_path / "m", replace(CASE, config={**CASE.config, "partial_rotary_factor": part}))
    with pytest.raises(Error, match="'partial_rotary_factor' expects a number above 0 and at most 1, got"):
        recipes.converted(folder, "f16", CASE.pre)


def test_biases_are_needed(tmp_path: Path) -> None:
    shapes = {
        name: shape for name, shape in CASE.shapes.items() if not name.endswith("fc1.bias") and name != "lm_head.bias"
    }
    folder = zoo.write(tmp_path / "m", replace(CASE, shapes=shapes))
    conversion = Conversion(recipes.Folder(folder), folder="m", outtype="f16", pre=CASE.pre)
    assert [error.what for error in conversion.faults()] == [
        "the checkpoint lacks 3 tensors that this architecture has"
    ]

"""GLM-4: what transformers fills in, the part of a head that turns, and special tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint.architectures import complete
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value
from tests import recipes, zoo
from tests.zoo.mistral import changed

CASE = zoo.cases("glm4")["biases"]


def test_defaults_are_transformers() -> None:
    full, wanted = (
        complete({"model_type": "glm4"}),
        {"head_dim": 128, "num_key_value_heads": 2, "rms_norm_eps": 1.5625e-7},
    )
    assert {key: full[key] for key in wanted} == wanted


def test_special_tokens_of_the_family(tmp_path: Path) -> None:
    found = recipes.converted(zoo.write(tmp_path / "m", CASE), "f16", CASE.pre).metadata
    ids = {kind: decode_value(found[f"tokenizer.ggml.{kind}_token_id"]) for kind in ("eos", "eot", "unknown", "bos")}
    assert ids == {"eos": 278, "eot": 280, "unknown": 276, "bos": 276}


def test_special_tokens_that_are_missing(tmp_path: Path) -> None:
    folder = zoo.write(tmp_path / "m", replace(CASE, files={}))
    with pytest.raises(Error, match=r"expected '<\|user\|>' among the added tokens"):
        recipes.converted(folder, "f16", CASE.pre)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"partial_rotary_factor": 0}, "'partial_rotary_factor' expects a number above 0 and at most 1"),
        ({"head_dim": 0}, "'head_dim' expects a whole number of at least 1"),
        ({"rope_scaling": {"rope_type": "default", "mrope_section": [8, 12, 12]}}, "GLM-4 with 'mrope_section'"),
    ],
)
def test_values_that_do_not_fit(changes: Mapping[str, Any], what: str, tmp_path: Path) -> None:
    folder = zoo.write(tmp_path / "m", replace(CASE, config=changed(CASE.config, changes)))
    with pytest.raises(Error, match=what):
        recipes.converted(folder, "f16", CASE.pre)

"""OLMo: what transformers fills in, values that are clamped, and the order of rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint.architectures import complete
from modelbuild.checkpoint.conversion import Conversion
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from tests import recipes, zoo
from tests.zoo.mistral import LLAMA3

CASE = zoo.cases("olmo")["untied"]


def test_defaults_are_transformers() -> None:
    full, wanted = (
        complete({"model_type": "olmo"}),
        {"vocab_size": 50304, "num_key_value_heads": 32, "hidden_size": 4096},
    )
    assert {key: full[key] for key in wanted} == wanted
    assert "rms_norm_eps" not in full


def test_transformers_takes_two_kinds_of_scaling() -> None:
    assert "vocab_size" in complete({"model_type": "olmo", "rope_scaling": {"type": "linear", "factor": 2.0}})
    assert "vocab_size" not in complete({"model_type": "olmo", "rope_scaling": LLAMA3})


def test_clamp(tmp_path: Path) -> None:
    key = "olmo.attention.clamp_kqv"
    clamped = zoo.cases("olmo")["clamped, tied, f32"]
    assert recipes.converted(zoo.write(tmp_path / "c", clamped), "f16", CASE.pre).metadata[key] == encode_value(
        "f32", 0.5
    )
    assert key not in recipes.converted(zoo.write(tmp_path / "m", CASE), "f16", CASE.pre).metadata


@pytest.mark.parametrize("value", ["much", float("inf")])
def test_clamp_is_a_number(value: Any, tmp_path: Path) -> None:
    folder = zoo.write(tmp_path / "m", replace(CASE, config={**CASE.config, "clip_qkv": value}))
    with pytest.raises(Error, match=r"'clip_qkv' expects a|Infinity|not finite"):
        recipes.converted(folder, "f16", CASE.pre)


def test_norms_are_of_another_model(tmp_path: Path) -> None:
    shapes = {**CASE.shapes, "model.norm.weight": (64,)}
    folder = zoo.write(tmp_path / "m", replace(CASE, shapes=shapes))
    conversion = Conversion(recipes.Folder(folder), folder="m", outtype="f16", pre=CASE.pre)
    assert ["cannot be mapped" in error.what for error in conversion.faults()] == [True]

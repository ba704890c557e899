"""StarCoder2: what transformers fills in, and biases."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from modelbuild.checkpoint.architectures import complete
from modelbuild.checkpoint.conversion import Conversion
from tests import recipes, zoo


def test_defaults_are_transformers() -> None:
    full, wanted = (
        complete({"model_type": "starcoder2"}),
        {"num_key_value_heads": 2, "norm_epsilon": 1e-5, "max_position_embeddings": 4096, "hidden_size": 3072},
    )
    assert {key: full[key] for key in wanted} == wanted


def test_biases_are_needed(tmp_path: Path) -> None:
    case = zoo.cases("starcoder2")["tied"]
    shapes = {name: shape for name, shape in case.shapes.items() if not name.endswith("c_fc.bias")}
    folder = zoo.write(tmp_path / "m", replace(case, shapes=shapes))
    conversion = Conversion(recipes.Folder(folder), folder="m", outtype="f16", pre=case.pre)
    assert [error.what for error in conversion.faults()] == [
        "the checkpoint lacks 2 tensors that this architecture has"
    ]


def test_a_model_without_biases_is_no_incomplete_download(tmp_path: Path) -> None:
    case = zoo.cases("starcoder2")["tied"]
    shapes = {name: shape for name, shape in case.shapes.items() if "norm" in name or not name.endswith(".bias")}
    folder = zoo.write(tmp_path / "m", replace(case, config={**case.config, "use_bias": False}, shapes=shapes))
    (error,) = Conversion(recipes.Folder(folder), folder="m", outtype="f16", pre=case.pre).faults()
    assert "only with these biases" in str(error) and "incomplete" not in str(error)

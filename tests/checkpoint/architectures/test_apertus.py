"""Apertus: the numbers of its activations, which stand in the metadata."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from modelbuild.checkpoint.architectures import complete
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value
from tests import recipes, zoo

CASE = zoo.cases("apertus")["no scaling, heads of their own size, f32"]
ACT = "model.layers.1.mlp.act_fn."


def metadata(folder: Path, given: Mapping[str, bytes], shapes: Mapping[str, tuple[int, ...]]) -> Mapping[str, bytes]:
    case = replace(CASE, given={**CASE.given, **given}, shapes=shapes)
    return recipes.converted(zoo.write(folder, case), "f16", case.pre).metadata


def test_defaults_are_transformers() -> None:
    full = complete({"model_type": "apertus"})
    assert (
        full["rope_scaling"]["rope_type"] == "llama3" and full["num_key_value_heads"] == 32 and "head_dim" not in full
    )


def test_numbers_are_those_of_the_blocks_in_order(tmp_path: Path) -> None:
    found = metadata(tmp_path / "m", {f"{ACT}beta": struct.pack("<f", 0.75)}, CASE.shapes)
    assert list(found)[1:5] == ["xielu.alpha_n", "xielu.alpha_p", "xielu.beta", "xielu.eps"]
    (first,) = struct.unpack("<f", CASE.given["model.layers.0.mlp.act_fn.beta"])
    assert decode_value(found["xielu.beta"]) == [first, 0.75]


@pytest.mark.parametrize(
    ("name", "shape", "what"),
    [
        (f"{ACT}eps", None, "lacks what the activations of its blocks have learned: block 1 has no 'eps'"),
        (f"{ACT}eps", (2,), f"tensor '{ACT}eps' expects one number, got 2"),
        (f"{ACT}eps", (300, 300), f"tensor '{ACT}eps' expects 1 to 65,536 values, got [300, 300]"),
        ("model.layers.2.mlp.act_fn.eps", (1,), "tensor 'model.layers.2.mlp.act_fn.eps' cannot be mapped"),
    ],
)
def test_numbers_that_do_not_fit(name: str, shape: tuple[int, ...] | None, what: str, tmp_path: Path) -> None:
    shapes = {key: size for key, size in CASE.shapes.items() if key != name} | ({name: shape} if shape else {})
    data = {name: bytes(4 * shape[0] * (shape[1] if len(shape) > 1 else 1))} if shape else {}
    with pytest.raises(Error) as caught:
        metadata(tmp_path / "m", data, shapes)
    assert what in caught.value.what


def test_a_number_that_is_not_finite(tmp_path: Path) -> None:
    with pytest.raises(Error, match="contains a value that is not finite"):
        metadata(tmp_path / "m", {f"{ACT}eps": struct.pack("<f", float("nan"))}, CASE.shapes)

"""NVFP4 times the scales beside it."""

from __future__ import annotations

from math import prod
from typing import Any

import pytest

from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.multiplied import multiplied
from modelbuild.tensors.operations.dequantize import dequantize
from modelbuild.tensors.operations.reshape import reshape
from modelbuild.tensors.operations.scale import scale
from modelbuild.tensors.quantization import quantize
from modelbuild.tensors.recipe import Entry, Expression, Recipe
from tests.tensors.made import Made, noise

EXTRA = {"general.tensor_extra.name": encode_value("[str]", ["a.weight"])}


def packed(made: Made, *shape: int) -> Expression:
    return made.leaf(*shape, dtype="nvfp4", data=noise("u8", prod(shape) // 64 * 36))


def recipe(**entries: Expression) -> Recipe:
    named = {name.replace("__", "."): x for name, x in entries.items()}
    return Recipe(EXTRA, [Entry(name, x.shape, x) for name, x in named.items()])


def test_scales_go_into_the_values(made: Made) -> None:
    one, many = packed(made, 4, 64), packed(made, 3, 4, 64)
    source = recipe(
        a__weight=one, a__scale=made.leaf(1), a__input_scale=made.leaf(1), b__weight=many, b__scale=made.leaf(3)
    )
    found = multiplied(source, {"a.weight": "q4_0", "b.weight": "q4_0"})
    assert [entry.name for entry in found.tensors] == ["a.weight", "b.weight"] and found.metadata == {}
    grid = reshape(made.leaf(3), (3, 1, 1))
    assert found.tensors[1].expression == scale(dequantize(many), grid, (4, 64))
    made.check(*(entry.expression for entry in found.tensors))


def test_what_stays_nvfp4_keeps_its_scales(made: Made) -> None:
    source = recipe(a__weight=packed(made, 4, 64), a__scale=made.leaf(1), b__weight=made.leaf(4, 64))
    assert multiplied(source, {"a.weight": "nvfp4", "b.weight": "q4_0"}) is source
    plain = recipe(a__weight=packed(made, 4, 64))
    assert multiplied(plain, {"a.weight": "f16"}).tensors[0].expression == dequantize(plain.tensors[0].expression)


def test_scales_that_do_not_fit(made: Made) -> None:
    source = recipe(a__weight=packed(made, 4, 64), a__scale=made.leaf(2))
    with pytest.raises(Error, match="the scales 'a.scale' do not fit 'a.weight'"):
        multiplied(source, {"a.weight": "q4_0"})


def test_quantizing_nvfp4_has_to_be_allowed(made: Made) -> None:
    metadata: dict[str, Any] = {"general.architecture": "llama", "llama.block_count": 1}
    encoded = {key: encode_value("str" if isinstance(value, str) else "u32", value) for key, value in metadata.items()}
    x, factor = packed(made, 4, 64), made.leaf(1)
    source = Recipe(encoded, [Entry("output.weight", x.shape, x), Entry("output.scale", (1,), factor)])
    with pytest.raises(Error, match="it is already nvfp4") as caught:
        quantize(source, "q8_0")
    assert "allow_requantize" in str(caught.value.hint)
    assert [entry.name for entry in quantize(source, "q8_0", requantize=True).tensors] == ["output.weight"]

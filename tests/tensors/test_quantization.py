"""Recipes of quantized files: what goes over from the source, and what cannot be quantized."""

from __future__ import annotations

import re

import pytest

from modelbuild.errors import Error
from modelbuild.tensors import quantization
from modelbuild.tensors.formats import gguf
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.operations.leaf import leaf
from modelbuild.tensors.recipe import Entry, Recipe
from tests.tensors.test_ftypes import Kind


def recipe(kind: Kind, dtype: str = "bf16", **values: bytes) -> Recipe:
    entries = [Entry(name, shape, leaf(f"xxh3:{name}", dtype, shape)) for name, shape in reversed(kind.tensors.items())]
    return Recipe({**kind.metadata, **values}, entries, {"xxh3:c": b"c"})


def test_metadata_go_over_but_for_what_quantizing_changes() -> None:
    source = recipe(
        Kind(), **{
            "general.file_type": encode_value("u32", 32), "split.no": encode_value("u16", 0),
            "x": encode_value("str", "kept"),
        },
    )  # fmt: skip
    made = quantization.quantize(source, "q6_K")
    assert list(made.metadata) == [*Kind().metadata, "x", "general.quantization_version", "general.file_type"]
    assert gguf.decode_value(made.metadata["general.file_type"]) == 18
    assert made.constants == source.constants
    assert [entry.name for entry in made.tensors] == list(Kind().tensors)


def test_ones_at_the_end_of_a_shape_are_dropped() -> None:
    shape = (1, 1, 4, 256)
    made = quantization.quantize(
        Recipe(Kind().metadata, [Entry("a.weight", shape, leaf("xxh3:a", "f32", shape))]), "q8_0"
    )
    assert made.tensors[0].shape == (4, 256)


@pytest.mark.parametrize(
    ("source", "ftype", "complaint"),
    [
        (recipe(Kind(), "q8_0"), "q4_K_M", "cannot make q4_K_M of tensor 'output.weight': it is already q8_0"),
        (
            recipe(Kind(), "i32"),
            "q8_0",
            "cannot make q8_0 of tensor 'output.weight': it is i32, which can only be copied",
        ),
        (recipe(Kind()), "q2_K_S", "ftype q2_K_S needs an importance matrix"),
        (Recipe({}, []), "q8_0", "a GGUF file without an architecture cannot be quantized"),
        (
            recipe(Kind(), **{"general.type": encode_value("str", "adapter")}),
            "q8_0",
            "a GGUF file of type 'adapter' cannot be quantized",
        ),
        (Recipe({"general.architecture": encode_value("str", "llama")}, []), "q8_0", "'llama.block_count' is missing"),
        (recipe(Kind(architecture="bailingmoe3")), "q8_0", "of architecture 'bailingmoe3' is not supported yet"),
        (
            recipe(Kind(blocks=2, experts=4), **{"llama.block_count": encode_value("u32", 1)}),
            "q4_K_M",
            "do not fit the model",
        ),
    ],
)
def test_what_cannot_be_quantized_says_why(source: Recipe, ftype: str, complaint: str) -> None:
    with pytest.raises(Error, match=re.escape(complaint)):
        quantization.quantize(source, ftype)

"""Recipes of quantized files: what goes over from the source, and what cannot be quantized."""

from __future__ import annotations

import re
from math import prod

import pytest

from modelbuild.errors import Error
from modelbuild.tensors import ftypes, quantization
from modelbuild.tensors.formats import gguf
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.formats.imatrix import Imatrix
from modelbuild.tensors.operations.leaf import leaf
from modelbuild.tensors.quantization import Importance
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
        (recipe(Kind()), "q2_K_S", "type q2_K_S needs an importance matrix"),
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


def matrix(source: Recipe, *names: str) -> Importance:
    """An importance matrix of some tensors of a recipe, all ones."""
    shapes = {entry.name: entry.shape for entry in source.tensors}
    ones = gguf.encode_value("f32", 1.0)[4:]
    sizes = {name: prod((*shapes[name][:-2], shapes[name][-1])) if name in shapes else 1 for name in names}
    return Importance(Imatrix({name: ones * size for name, size in sizes.items()}), "some.dat")


def doubts(source: Recipe, ftype: str, importance: Importance | None = None) -> list[Error]:
    made = quantization.quantize(source, ftype, importance=importance)
    return quantization.doubts(source, made, ftype, importance=importance)


def covered(source: Recipe) -> list[str]:
    return [entry.name for entry in source.tensors if entry.name.startswith("blk.")]


def test_nothing_is_doubtful_where_all_rows_divide_and_the_matrix_knows_all() -> None:
    source = recipe(Kind())
    assert doubts(source, "q4_K_M") == []
    assert doubts(source, "q4_K_M", matrix(source, *covered(source))) == []


def test_types_that_fall_back_are_counted() -> None:
    shapes = {"token_embd.weight": (8, 256), "blk.0.attn_q.weight": (8, 64), "blk.0.ffn_down.weight": (8, 96)}
    source = Recipe(Kind().metadata, [Entry(name, shape, leaf(name, "f16", shape)) for name, shape in shapes.items()])
    (found,) = doubts(source, "q4_K_M")
    assert found.what == "2 of 3 tensors fall back to other types: 256 does not divide their rows"
    assert found.parameter == ("ftype",)
    assert dict(found.facts)["types"] == "2 q4_k -> q5_0"
    assert "blk.0.attn_q.weight (rows of 64)" in dict(found.facts)["tensors"]
    assert doubts(source, "q8_0") == []


def test_a_matrix_that_knows_no_tensor_is_an_error() -> None:
    source = recipe(Kind())
    with pytest.raises(Error, match="has no entry for any of the") as caught:
        quantization.quantize(source, "q4_K_M", importance=matrix(source, "other.weight"))
    assert caught.value.input == "imatrix" and ("it has", "other.weight") in caught.value.facts
    # Tokens alone are something.
    quantization.quantize(source, "q4_K_M", importance=matrix(source, "token_embd.weight"))


def test_tensors_that_a_matrix_does_not_know_are_counted() -> None:
    source = recipe(Kind())
    names = covered(source)
    (found,) = doubts(source, "q4_K_M", matrix(source, *names[1:]))
    assert re.fullmatch(r"has no entry for 1 of the \d+ tensors that could use one", found.what)
    assert (found.input, dict(found.facts)["tensors"]) == ("imatrix", names[0])


def test_the_older_names_of_experts_are_told_as_such() -> None:
    source = recipe(Kind(experts=4))
    importance = matrix(source, "blk.0.attn_q.weight", "blk.0.ffn_down.0.weight")
    (found,) = doubts(source, "q2_K", importance)
    assert found.hint is not None and "older names of single experts" in found.hint
    assert ("it has", "blk.0.ffn_down.0.weight") in found.facts
    with pytest.raises(Error, match="has no entry for 'blk.*', for which type q2_K_S needs one") as caught:
        quantization.quantize(source, "q2_K_S", importance=importance)
    assert caught.value.input == "imatrix" and "name one" not in str(caught.value.hint)


def test_a_matrix_without_effect_is_told() -> None:
    source = recipe(Kind())
    (found,) = doubts(source, "q8_0", matrix(source, *covered(source)))
    assert found.what == "has no effect: no tensor of ftype q8_0 is quantized by importance"


PREDICTING = {"llama.nextn_predict_layers": encode_value("u32", 1)}


def test_blocks_for_further_tokens_need_no_importance() -> None:
    """llama-imatrix never runs them; llama-quantize stops there."""
    source = recipe(Kind(), **PREDICTING)
    last = Kind().blocks - 1
    first = [name for name in covered(source) if not name.startswith(f"blk.{last}.")]
    made = quantization.quantize(source, "q2_K_S", importance=matrix(source, *first))
    types = {entry.name: entry.expression.dtype for entry in made.tensors}
    assert types[f"blk.{last}.ffn_up.weight"] == "q4_k"
    assert types["blk.0.ffn_up.weight"] == "q2_k"
    (said,) = [
        each for each in doubts(source, "q2_K_S", matrix(source, *first)) if "needs an importance matrix" in str(each)
    ]
    assert "are q4_k" in said.what and said.hint


def test_a_draft_is_quantized_as_its_model_is() -> None:
    """It has few of the tensors that a mix or an importance matrix is about."""
    whole = recipe(Kind(), **PREDICTING)
    last = f"blk.{Kind().blocks - 1}."
    draft = Recipe(
        whole.metadata,
        [each for each in whole.tensors if not each.name.startswith("blk.") or each.name.startswith(last)],
    )
    mix = ftypes.Mix(tensors=(("blk.0.ffn_up", "q8_0"),))
    made = quantization.quantize(draft, "q4_K_M", mix, importance=matrix(whole, "blk.0.ffn_up.weight"))
    assert len(made.tensors) == len(draft.tensors)
    with pytest.raises(Error, match="no quantized tensor has a name that matches"):
        quantization.quantize(whole, "q4_K_M", ftypes.Mix(tensors=(("blk.77.ffn_up", "q8_0"),)))

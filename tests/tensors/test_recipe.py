"""Recipes: what keys are made of, and that they survive encoding."""

from __future__ import annotations

from pathlib import Path

from modelbuild.digest import xxh3
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.operations.add_one import add_one
from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.operations.dequantize import dequantize
from modelbuild.tensors.operations.leaf import leaf
from modelbuild.tensors.operations.mxfp4 import mxfp4
from modelbuild.tensors.operations.permute import permute
from modelbuild.tensors.operations.quantize import quantize
from modelbuild.tensors.operations.scale import scale
from modelbuild.tensors.operations.slice import slice_
from modelbuild.tensors.operations.stack import stack
from modelbuild.tensors.operations.transpose import transpose
from modelbuild.tensors.recipe import Entry, Expression, Recipe
from tests.tensors.made import ARCHITECTURE, Made


def test_recipe_survives_encoding() -> None:
    x = quantize("q4_k", permute(leaf("xxh3:00", "bf16", (64, 256)), 4))
    data = bytes(32)
    made = Recipe(
        ARCHITECTURE,
        [Entry("x", (64, 256), x), Entry("c", (8,), leaf(xxh3(data), "f32", (8,)))],
        {xxh3(data): data},
    )
    again = Recipe.decode(made.encode())
    assert again == made
    assert again.tensors[0].expression.key == x.key


def test_keys_tell_different_bytes_apart() -> None:
    x = leaf("xxh3:00", "bf16", (64, 256))
    others = [
        x,
        leaf("xxh3:01", "bf16", (64, 256)),
        leaf("xxh3:00", "f16", (64, 256)),
        leaf("xxh3:00", "bf16", (256, 64)),
        permute(x, 4),
        permute(x, 8),
        cast("f32", x),
        quantize("q4_k", x),
        quantize("q4_k", cast("f16", x)),
    ]
    assert len({x.key for x in others}) == len(others)


def test_keys_stay_as_they_were() -> None:
    """Every tensor that was made is found by its key: another spelling of one would compute them all again."""
    x = quantize("q4_k", add_one(cast("f32", permute(leaf("xxh3:00", "bf16", (64, 256)), 4))))
    assert x.key == "xxh3:5d18722229be77fa697ca4db107363b3"
    x = slice_(stack([transpose(leaf("xxh3:01", "f16", (8, 32)))] * 3), 1, 0, 8, 2)
    assert x.key == "xxh3:8e125ce6780bc2264a1dfd9b830db0f9"
    x = dequantize(mxfp4(leaf("xxh3:02", "u8", (4, 2, 16)), leaf("xxh3:03", "u8", (4, 2))))
    assert scale(x, leaf("xxh3:04", "f32", (1, 1)), (128, 128)).key == "xxh3:156f4786ccf76e90a03a1596db222230"
    weights = leaf("xxh3:05", "f32", (1, 256))
    assert quantize("iq4_xs", leaf("xxh3:06", "f32", (2, 256)), weights).key == "xxh3:2d076fdac3e1b4048a994797a6c0be0d"


def test_recipes_of_every_operation_survive_encoding(tmp_path: Path) -> None:
    made = Made(tmp_path, 1, 1 << 20)
    x = scale(made.leaf(4, 8, dtype="f8_e4m3"), made.leaf(1, 1), (4, 8))
    x = quantize("q8_0", slice_(stack([transpose(add_one(x))] * 32), 1, 0, 8, 2))
    again = Expression.decode(x.encode())
    assert (again, again.key) == (x, x.key)
    assert Recipe.decode(Recipe({}, []).encode()) == Recipe({}, [])


def test_a_recipe_decodes_to_itself() -> None:
    entries = [Entry("a", (1, 32), leaf("xxh3:00", "q8_0", (1, 32)))]
    recipe = Recipe({"k\u00e9y": encode_value("str", "v")}, entries, {"xxh3:1": b"\0\n"})
    assert Recipe.decode(recipe.encode()) == recipe


def test_equal_expressions_have_equal_hashes() -> None:
    def made(digest: str, label: str) -> Expression:
        return stack([leaf(digest, "f32", (2,), label), leaf("xxh3:1", "f32", (2,))])

    one, other = made("xxh3:0", "a"), made("xxh3:0", "b")
    assert one == other and hash(one) == hash(one) == hash(other)
    assert hash(made("xxh3:2", "a")) != hash(one) and made("xxh3:2", "a") != one

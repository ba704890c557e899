"""Weights of dtypes that no model has: an error where config.json says otherwise, else a warning."""

from __future__ import annotations

from modelbuild.checkpoint import dtypes
from modelbuild.errors import Error
from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.operations.leaf import leaf
from modelbuild.tensors.operations.scale import scale
from modelbuild.tensors.operations.stack import stack
from modelbuild.tensors.recipe import Entry, Expression


def weights(dtype: str, *shape: int) -> Expression:
    x = leaf("xxh3:0", dtype, shape, "w")
    return x if dtype == "bf16" else cast("f32", x)


def found(x: Expression, said: str = "") -> tuple[list[Error], list[Error]]:
    config = {"torch_dtype": said}
    entries = [Entry("blk.0.w.weight", x.shape, x)]
    return list(dtypes.faults(entries, config)), list(dtypes.doubts(entries, config, "llama model"))


def test_floats_are_weights() -> None:
    assert found(weights("bf16", 4, 32), "bfloat16") == ([], [])
    assert found(weights("f64", 4, 32), "bfloat16") == ([], [])


def test_whole_numbers_are_codes() -> None:
    for dtype in ("i8", "u8", "i32"):
        (fault,), _ = found(weights(dtype, 4, 32), "float16")
        assert fault.what == "the checkpoint contains 1 matrix of whole numbers, but config.json says float16"
        faults, (doubt,) = found(weights(dtype, 4, 32))
        assert not faults and "no llama model has such weights" in doubt.what
    # One expert of several is enough; a list of numbers is none.
    (fault,), _ = found(stack([weights("f64", 4, 32), weights("i8", 4, 32)]), "float16")
    assert "1 matrix" in fault.what
    assert found(weights("i8", 4), "float16") == ([], [])


def test_with_their_scales_they_are_weights() -> None:
    x = scale(weights("i8", 4, 32), weights("f64", 4, 1), (1, 32))
    assert found(x, "float16") == ([], [])


def test_fp8_without_scales_is_right_where_it_is_said() -> None:
    faults, (doubt,) = found(weights("f8_e4m3", 4, 32), "bfloat16")
    assert not faults and "1 matrix of fp8 without scales" in doubt.what
    assert found(weights("f8_e4m3", 4, 32), "float8_e4m3fn") == ([], [])


def test_the_dtype_may_be_said_in_a_part() -> None:
    x = weights("i8", 4, 32)
    for part in ("text_config", "vision_config"):
        (fault,) = dtypes.faults([Entry("v.blk.0.w.weight", x.shape, x)], {part: {"dtype": "bfloat16"}})
        assert "config.json says bfloat16" in fault.what

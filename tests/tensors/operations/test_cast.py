"""Other float types."""

from __future__ import annotations

from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.operations.leaf import leaf
from modelbuild.tensors.operations.quantize import quantize
from tests.tensors.made import Made


def test_casts_from_everything(made: Made) -> None:
    wide = ("f64", "i64", "i32", "i16", "i8", "u8", "bool", "f8_e4m3", "f8_e5m2", "f8_e8m0")
    narrow = ("f32", "f16", "bf16")
    made.check(
        *(cast("f32", made.leaf(37, 65, dtype=dtype)) for dtype in wide),
        *(cast("bf16", cast("f32", made.leaf(9, 33, dtype=dtype))) for dtype in wide if dtype != "f8_e8m0"),
        *(cast(to, made.leaf(31, 40, dtype=dtype)) for dtype in narrow for to in narrow),
    )  # fmt: skip


def test_widening_is_no_detour() -> None:
    x = leaf("xxh3:00", "bf16", (64, 256))
    wide = cast("f32", x)
    assert quantize("q4_k", wide).key == quantize("q4_k", x).key
    assert cast("bf16", wide) == x
    assert cast("f16", wide).key == cast("f16", x).key

"""A pair of factors is added to a matrix: the same sums in any pieces, and in native kernels as in numpy."""

from __future__ import annotations

import numpy as np
import pytest

from modelbuild.errors import Error
from modelbuild.tensors import kernels, products
from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.operations.merge import merge
from modelbuild.tensors.operations.permute import permute
from modelbuild.tensors.operations.quantize import quantize
from modelbuild.tensors.operations.scale import scale
from modelbuild.tensors.operations.stack import stack
from modelbuild.tensors.operations.transpose import transpose
from modelbuild.tensors.recipe import Expression
from tests.tensors.made import Made


def pair(
    made: Made, rows: int, columns: int, rank: int, seed: int = 0, dtype: str = "f32"
) -> tuple[Expression, Expression]:
    return made.leaf(rank, columns, dtype=dtype, seed=seed + 100), made.leaf(rows, rank, dtype=dtype, seed=seed + 200)


def test_matrices_of_every_float(made: Made) -> None:
    made.check(
        merge(made.leaf(33, 70), *pair(made, 33, 70, 4), 0.3),
        merge(made.leaf(64, 32, dtype="bf16"), *pair(made, 64, 32, 1), -2.0),
        cast("bf16", merge(made.leaf(64, 96, dtype="bf16"), *pair(made, 64, 96, 16, dtype="bf16"), 2.0)),
        cast("f16", merge(cast("f32", made.leaf(64, 96, dtype="f16")), *pair(made, 64, 96, 8, dtype="f16"), 1e-3)),
        quantize("q4_k", merge(made.leaf(12, 512, dtype="bf16"), *pair(made, 12, 512, 3), 1.0)),
    )


def test_a_product_may_be_rounded_before_it_is_added(made: Made) -> None:
    x, factors = made.leaf(64, 96, dtype="bf16"), pair(made, 64, 96, 8)
    rounded = merge(x, *factors, 0.3, rounded=True)
    made.check(
        cast("bf16", rounded),
        cast("f16", merge(made.leaf(64, 96, dtype="f16"), *factors, 0.3, rounded=True)),
    )
    assert rounded.key != merge(x, *factors, 0.3).key
    wide = made.leaf(64, 96)
    assert merge(wide, *factors, 0.3, rounded=True).key == merge(wide, *factors, 0.3).key


def test_what_is_made_of_others(made: Made) -> None:
    a, b = pair(made, 64, 32, 4)
    twice = merge(merge(made.leaf(64, 32, dtype="bf16"), a, b, 0.5), *pair(made, 64, 32, 2, seed=1), 3.0)
    made.check(
        merge(permute(made.leaf(64, 32, dtype="bf16"), 4), a, permute(b, 4), 0.5),
        merge(transpose(made.leaf(32, 64)), transpose(made.leaf(32, 4)), transpose(made.leaf(4, 64)), 1.0),
        cast("bf16", twice),
    )


def test_several_matrices_and_one_row(made: Made) -> None:
    parts = [made.leaf(24, 40, dtype="bf16", seed=seed) for seed in range(5)]
    made.check(
        merge(stack(parts), made.leaf(5, 4, 40), made.leaf(5, 24, 4), 0.7),
        merge(made.leaf(3, 24, 40), made.leaf(3, 4, 40), made.leaf(3, 24, 4), 0.7),
        merge(made.leaf(120), made.leaf(1, 120), made.leaf(1, 1), 0.7),
    )


def test_a_widened_matrix_is_the_same_tensor(made: Made) -> None:
    x, factors = made.leaf(64, 32, dtype="bf16"), pair(made, 64, 32, 4)
    assert merge(cast("f32", x), *factors, 0.1).key == merge(x, *factors, 0.1).key


@pytest.mark.parametrize("shape", [(64, 33), (32, 64), (2, 64, 32), (64,)])
def test_other_shapes_are_refused(shape: tuple[int, ...], made: Made) -> None:
    with pytest.raises(ValueError, match="do not make"):
        merge(made.leaf(*shape), *pair(made, 64, 32, 4), 1.0)


@pytest.mark.parametrize(("rows", "columns", "rank"), [(1, 1, 1), (7, 5, 3), (4, 64, 16), (9, 131, 2), (130, 1031, 33)])
def test_every_instruction_set_makes_numpys_bytes(
    rows: int, columns: int, rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    native, _ = kernels.choose()
    if native is None:
        pytest.skip("the native kernels are not built here")
    random = np.random.default_rng(rows)
    x, a, b = (
        random.standard_normal(shape, dtype=np.float32) for shape in ((rows, columns), (rank, columns), (rows, rank))
    )
    x[0, 0], a[0, 0], b[0, 0] = -0.0, 0.0, -1.0
    made = {}
    for name in (*native.instruction_sets(), "numpy"):
        monkeypatch.setattr(kernels, "choose", lambda name=name: (None if name == "numpy" else native, name))
        # Any alignment.
        made[name] = bytearray(1) + bytearray(x.tobytes())
        products.add_product(memoryview(made[name])[1:], a.tobytes(), b.tobytes(), columns, rank, 0.3)
    assert len(set(map(bytes, made.values()))) == 1


@pytest.mark.parametrize("sizes", [(0, 16, 16), (32, 12, 16), (32, 16, 12), (30, 16, 16)])
def test_other_sizes_are_refused(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError):
        products.add_product(bytearray(sizes[0]), bytes(sizes[1]), bytes(sizes[2]), 4, 1 if sizes[0] else 0, 1.0)


def test_a_sum_that_cannot_be_stored_blames_both(made: Made) -> None:
    x, a, b = (made.leaf(*shape, data=np.full(shape, 1e30, "<f4").tobytes()) for shape in ((2, 3), (1, 3), (2, 1)))
    with pytest.raises(Error, match="with the adapter merged into it") as caught:
        made.make(made.folder / "out", ("t", cast("bf16", merge(x, a, b, 1.0))))
    assert [label for label, _ in caught.value.facts] == ["at", "the model", "the adapter"]


def test_factors_that_are_computed_from_small_ones(made: Made) -> None:
    a, b = pair(made, 64, 32, 4)
    scaled = scale(b, made.leaf(1), (64, 4))
    made.check(merge(made.leaf(64, 32, dtype="bf16"), a, scaled, 0.5))

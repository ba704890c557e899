"""What each operation does to bytes, chunk by chunk, is what its plain specification does to the whole (tests/recipes.py)."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import prod
from pathlib import Path

import numpy as np
import pytest

from modelbuild.digest import xxh3
from modelbuild.tensors import quants
from modelbuild.tensors.evaluate import Mismatch, Region
from modelbuild.tensors.materialize import Materialized
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
from modelbuild.tensors.recipe import Expression, Recipe
from tests import recipes
from tests.tensors.test_materialize import Weights

Leaf = Callable[..., Expression]


class Made(Weights):
    """A file of tensors that knows their bytes, and compares what is made of them with the specification."""

    def __init__(self, folder: Path, jobs: int, memory: int) -> None:
        super().__init__(folder / "weights", jobs=jobs, memory=memory)
        self.folder = folder
        self.bytes: dict[str, bytes] = {}

    def leaf(self, *shape: int, dtype: str = "f32", data: bytes | None = None, seed: int = 0) -> Expression:
        found = noise(dtype, prod(shape), seed) if data is None else data
        self.bytes[xxh3(found)] = found
        return self.add(dtype, shape, found)

    def check(self, *expressions: Expression) -> Materialized:
        """Each becomes a tensor of one file; the file is the specification's."""
        # GGUF has no type for u8.
        expressions = tuple(cast("f32", x) if x.dtype == "u8" else x for x in expressions)
        entries = [(f"t{number}", x) for number, x in enumerate(expressions)]
        made = self.make(self.folder / "out", *entries)
        whole = (self.folder / "out").read_bytes()
        for span, x in zip(made.spans, expressions, strict=True):
            expected = recipes.evaluate(x, self.bytes)
            assert len(expected) == x.size
            assert whole[span.offset : span.offset + span.length] == expected, x.operation
            assert span.xxh3 == xxh3(expected)
        return made


def noise(dtype: str, count: int, seed: int = 0) -> bytes:
    """Finite values of any dtype."""
    generator = np.random.default_rng(seed)
    floats = generator.standard_normal(count, dtype=np.float32)
    if dtype == "bf16":
        return (floats.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    if dtype in ("f16", "f32", "f64"):
        return floats.astype({"f16": "<f2", "f32": "<f4", "f64": "<f8"}[dtype]).tobytes()
    if dtype == "bool":
        return generator.integers(0, 2, count, np.uint8).tobytes()
    if dtype.startswith("f8"):
        codes = generator.integers(0, 120, count, np.uint8)
        return (codes if dtype == "f8_e8m0" else codes | generator.integers(0, 2, count, np.uint8) << 7).tobytes()
    return generator.integers(0, 256, count * quants.get(dtype).bytes, np.uint8).tobytes()


@pytest.fixture(
    params=[(1, 1 << 12), (4, 1 << 12), (4, 1 << 16), (1, 64 << 20), (4, 64 << 20)],
    ids=lambda p: f"{p[0]} jobs, {p[1]} bytes",
)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Made:
    return Made(tmp_path, *request.param)


def test_casts_from_everything(made: Made) -> None:
    wide = ("f64", "i64", "i32", "i16", "i8", "u8", "bool", "f8_e4m3", "f8_e5m2", "f8_e8m0")
    narrow = ("f32", "f16", "bf16")
    made.check(
        *(cast("f32", made.leaf(37, 65, dtype=dtype)) for dtype in wide),
        *(cast("bf16", cast("f32", made.leaf(9, 33, dtype=dtype))) for dtype in wide if dtype != "f8_e8m0"),
        *(cast(to, made.leaf(31, 40, dtype=dtype)) for dtype in narrow for to in narrow),
    )  # fmt: skip


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
def test_one_is_added(made: Made, dtype: str) -> None:
    x = add_one(made.leaf(3000, dtype=dtype))
    assert x.dtype == ("f32" if dtype == "bf16" else dtype)
    made.check(x, cast("f32", x))


def test_one_is_added_to_every_half_with_one_rounding(tmp_path: Path) -> None:
    """The sums in f64 are exact: what is rounded from them is rounded once."""
    made = Made(tmp_path, 2, 1 << 20)
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves) & (halves < 65504)]
    x = add_one(made.leaf(len(halves), dtype="f16", data=halves.tobytes()))
    made.check(x)


def test_parts_are_stacked(made: Made) -> None:
    made.check(
        stack([made.leaf(17, 24, dtype="bf16", seed=n) for n in range(5)]),
        stack([made.leaf(7, seed=n) for n in range(3)]),
        stack([stack([made.leaf(4, 40, seed=2 * n + m) for m in range(2)]) for n in range(3)]),
    )


def test_equal_parts_are_stacked(made: Made) -> None:
    x = made.leaf(40, 64, dtype="bf16")
    zeros = made.leaf(40, 64, dtype="bf16", data=bytes(40 * 64 * 2))
    once = stack([x, x, zeros, x, zeros])
    made.check(once, once, quantize("q8_0", once), stack([once, once]))


SLICES = [
    (axis, start, stop, step)
    for axis in (0, 1, 2)
    for start, stop, step in ((0, 3, 1), (2, 6, 1), (0, 6, 2), (1, 6, 2), (1, 2, 1), (5, 6, 1), (0, 5, 3))
]


@pytest.mark.parametrize("dtype", ["f32", "bf16", "u8"])
def test_slices_of_every_axis(made: Made, dtype: str) -> None:
    x = made.leaf(6, 6, 6, dtype=dtype)
    long = made.leaf(6, 700, dtype=dtype)
    made.check(
        *(slice_(x, *found) for found in SLICES),
        slice_(long, 0, 1, 5, 3),
        *(slice_(long, 1, start, 700, 2) for start in (0, 1)),
        slice_(slice_(long, 1, 1, 700, 2), 1, 3, 200, 2),
    )


def test_slices_of_what_comes_in_large_pieces(made: Made) -> None:
    x = made.leaf(3, 12, 20)
    flat = made.leaf(24, 20)
    turned, permuted = transpose(x), permute(flat, 3)
    made.check(
        *(slice_(turned, axis, 1, 3, step) for axis in (0, 1, 2) for step in (1, 2)),
        *(slice_(permuted, axis, 1, 17, step) for axis in (0, 1) for step in (1, 2)),
        slice_(stack([transpose(flat), transpose(flat)]), 2, 0, 24, 2),
        cast("f16", transpose(slice_(turned, 1, 0, 20, 2))),
        slice_(scale(made.leaf(40, 48, dtype="f8_e4m3"), made.leaf(3, 3), (16, 16)), 1, 0, 48, 2),
    )


def test_slices_of_packed_blocks(made: Made) -> None:
    blocks, scales = made.leaf(4, 10, 6, 16, dtype="u8"), made.leaf(4, 10, 6, dtype="u8")
    whole = mxfp4(blocks, scales)
    halves = [mxfp4(slice_(blocks, 1, n, 10, 2), slice_(scales, 1, n, 10, 2)) for n in (0, 1)]
    made.check(whole, *halves, slice_(whole, 0, 1, 3), *(slice_(whole, 1, n, 10, 2) for n in (0, 1)))


def test_axes_are_exchanged(made: Made) -> None:
    made.check(
        transpose(made.leaf(33, 70, dtype="bf16")),
        transpose(made.leaf(5, 12, 40)),
        transpose(made.leaf(2, 3, 4, 5, dtype="u8")),
        quantize("q8_0", transpose(made.leaf(4, 64, 20, dtype="bf16"))),
        stack([transpose(made.leaf(8, 16)), transpose(made.leaf(8, 16, seed=1))]),
    )


def test_rows_are_permuted(made: Made) -> None:
    x = made.leaf(48, 64, dtype="bf16")
    made.check(
        permute(x, 1), permute(x, 4), permute(x, 24), permute(made.leaf(48), 4),
        quantize("q4_k", permute(made.leaf(32, 256, dtype="bf16"), 4)),
        quantize("q8_0", stack([permute(x, 4), permute(x, 4)])),
        permute(slice_(x, 0, 0, 48, 2), 4),
    )  # fmt: skip


@pytest.mark.parametrize("dtype", ["f8_e4m3", "f8_e5m2", "i8"])
def test_blocks_are_scaled(made: Made, dtype: str) -> None:
    made.check(
        scale(made.leaf(40, 50, dtype=dtype), made.leaf(3, 4), (16, 16)),
        scale(made.leaf(128, 64, dtype=dtype), made.leaf(1, 1, dtype="bf16"), (128, 128)),
        scale(made.leaf(40, 50, dtype=dtype), made.leaf(40, 1), (1, 50)),
        scale(made.leaf(3, 20, 32, dtype=dtype), made.leaf(3, 2, 2), (16, 16)),
        cast("bf16", scale(made.leaf(40, 64, dtype=dtype), made.leaf(3, 2), (16, 32))),
        quantize("q4_0", permute(scale(made.leaf(32, 64, dtype=dtype), made.leaf(2, 2), (16, 32)), 4)),
    )  # fmt: skip


def test_quantized_and_back(made: Made) -> None:
    x = made.leaf(24, 256, dtype="bf16")
    for quant in ("q8_0", "q4_k", "q6_k", "iq4_nl"):
        packed = quantize(quant, x)
        made.check(packed, dequantize(packed), quantize("q4_0", dequantize(packed)))


def test_every_matrix_has_weights_of_its_own(made: Made) -> None:
    weights = np.abs(np.random.default_rng(3).standard_normal((3, 256), dtype=np.float32)).tobytes()
    importance = leaf(xxh3(weights), "f32", (3, 256))
    x = stack([made.leaf(9, 256, dtype="bf16", seed=n) for n in range(3)])
    expression = quantize("q4_k", x, importance)
    result = made.make(made.folder / "out", ("t", expression), weights=weights)
    expected = recipes.evaluate(expression, {**made.bytes, xxh3(weights): weights})
    assert result.spans[0].xxh3 == xxh3(expected)


@pytest.mark.parametrize("seed", range(20))
def test_random_expressions(made: Made, seed: int) -> None:
    chance = random.Random(seed)
    expressions = []
    for number in range(6):
        x = made.leaf(
            *(chance.choice((4, 6, 12, 20)) for _ in range(3)), dtype=chance.choice(("f32", "bf16", "f16")), seed=number
        )
        for _ in range(chance.randint(1, 5)):
            x = changed(x, chance, made)
        expressions.append(x)
    made.check(*expressions)


def changed(x: Expression, chance: random.Random, made: Made) -> Expression:
    """One more operation on it."""
    kind = chance.choice(("slice", "slice", "stack", "transpose", "permute", "add_one", "cast"))
    if kind == "slice":
        axis = chance.randrange(len(x.shape))
        start = chance.randrange(x.shape[axis])
        return slice_(x, axis, start, chance.randint(start + 1, x.shape[axis]), chance.randint(1, 3))
    if kind == "stack" and len(x.shape) < 5 and x.size < 1 << 16:
        return stack([x, made.leaf(*x.shape, dtype=x.dtype, seed=99), x])
    if kind == "transpose":
        return transpose(x)
    if kind == "permute" and x.shape[0] % 4 == 0:
        return permute(x, chance.choice((1, 2)))
    if kind == "add_one":
        return add_one(x)
    return cast(chance.choice(("f32", "f16", "bf16")), x)


PLACES = {
    "taken": lambda shape: (1, 1),
    "left out before": lambda shape: (0, 0),
    "left out between": lambda shape: (2, 2),
    "left out behind": lambda shape: (shape[0] - 1, shape[1] - 1),
}


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("place", PLACES)
def test_a_changed_byte_is_noticed_wherever_it_lies(made: Made, place: str, axis: int) -> None:
    shape = (12, 1000)
    x = made.leaf(*shape, dtype="bf16")
    row, column = PLACES[place](shape)
    with made.path.open("r+b") as file:
        file.seek((row * shape[1] + column) * 2)
        file.write(bytes([file.read(1)[0] ^ 1]))
    with pytest.raises(Mismatch):
        made.make(made.folder / "out", ("t", cast("f16", slice_(x, axis, 1, 4, 2))))


def test_a_changed_byte_is_noticed_among_equal_parts(made: Made) -> None:
    """The second part is read as its own tensor, from the same place."""
    x = made.leaf(30, 500, dtype="bf16")
    good = made.leaf(30, 500, dtype="bf16", seed=1)
    digest, region = x.digest, made.regions[x.digest]
    made.check(stack([x, good, x]))
    made.regions[digest] = Region(region.path, made.regions[good.digest].offset, region.length, "another's bytes")
    with pytest.raises(Mismatch):
        made.make(made.folder / "out", ("t", stack([good, good, x])))


@pytest.mark.parametrize("dtype", ["f8_e4m3", "f8_e5m2", "f8_e8m0"])
def test_every_code_of_eight_bits_has_its_value(dtype: str) -> None:
    out = bytearray(1024)
    quants.widen(dtype, bytes(range(256)), out)
    expected = np.array([recipes.eight_bits(dtype, code) for code in range(256)], "<f4")
    found = np.frombuffer(out, "<f4")
    assert np.array_equal(found, expected, equal_nan=True)
    numbers = ~np.isnan(expected)
    assert np.array_equal(np.signbit(found[numbers]), np.signbit(expected[numbers]))


@pytest.mark.peer
def test_the_values_of_eight_bits_are_torchs() -> None:
    import json
    import os
    import subprocess

    script = (
        "import torch, json, sys\n"
        "codes = torch.arange(256, dtype=torch.uint8)\n"
        "kinds = ('float8_e4m3fn', 'float8_e5m2', 'float8_e8m0fnu')\n"
        "print(json.dumps([codes.view(getattr(torch, k)).float().view(torch.int32).tolist() for k in kinds]))\n"
    )
    python = os.environ.get("MODELBUILD_PEERS_PYTHON")
    if not python:
        pytest.skip("MODELBUILD_PEERS_PYTHON names no Python with torch")
    answer = json.loads(subprocess.run([python, "-c", script], check=True, capture_output=True, text=True).stdout)
    for dtype, patterns in zip(("f8_e4m3", "f8_e5m2", "f8_e8m0"), answer, strict=True):
        out = bytearray(1024)
        quants.widen(dtype, bytes(range(256)), out)
        theirs = np.array(patterns, np.int32).view(np.float32)
        assert np.array_equal(np.frombuffer(out, "<f4"), theirs, equal_nan=True)


def test_recipes_of_every_operation_survive_encoding(tmp_path: Path) -> None:
    made = Made(tmp_path, 1, 1 << 20)
    x = scale(made.leaf(4, 8, dtype="f8_e4m3"), made.leaf(1, 1), (4, 8))
    x = quantize("q8_0", slice_(stack([transpose(add_one(x))] * 32), 1, 0, 8, 2))
    again = Expression.decode(x.encode())
    assert (again, again.key) == (x, x.key)
    assert Recipe.decode(Recipe({}, []).encode()) == Recipe({}, [])

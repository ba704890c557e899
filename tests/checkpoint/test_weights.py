"""Weights, with scales and without: their values are what numpy makes of the same bytes, however they are stored."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from modelbuild.checkpoint.scaled import Method
from modelbuild.checkpoint.weights import floats, values
from modelbuild.digest import xxh3
from modelbuild.errors import Error
from modelbuild.tensors import materialize, packing, recipe
from modelbuild.tensors.evaluate import Region
from modelbuild.tensors.formats import gguf
from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.recipe import Entry, Recipe
from modelbuild.tensors.tensor import Tensor
from tests import checkpoints, recipes

Array = NDArray[Any]
RANDOM = np.random.default_rng(5)
FP8 = Method("fp8", ((".qscale_weight", ".weight"), ("_scale_inv", "")), (".activation_scale",))


def tensors(**arrays: tuple[str, Array]) -> tuple[dict[str, Tensor], dict[str, bytes]]:
    found, data = {}, {}
    for name, (dtype, array) in arrays.items():
        name = name.replace("__", ".")
        data[xxh3(array.tobytes())] = array.tobytes()
        found[name] = Tensor(name, dtype, array.shape, 0, array.nbytes, xxh3(array.tobytes()))
    return found, data


def made(x: recipe.Expression, data: dict[str, bytes], folder: Path) -> Array:
    """The f32 values of an expression, by the real thing, in small chunks."""
    regions = {}
    with (folder / "leaves").open("wb") as file:
        for digest, content in data.items():
            regions[digest] = Region(str(folder / "leaves"), file.tell(), len(content), digest)
            file.write(content)
    (folder / "out").write_bytes(b"")
    with ThreadPoolExecutor(2) as pool, (folder / "out").open("r+b") as file:
        resources = materialize.Resources(pool, 2, 1 << 14, threading.Event())
        plan = Recipe({}, [Entry("x", x.shape, cast("f32", x))])
        materialize.materialize(plan, file.fileno(), find=lambda _: {}, open_leaf=regions.__getitem__, resources=resources)  # fmt: skip
    (tensor,) = gguf.read_header(str(folder / "out")).table.tensors.values()
    content = (folder / "out").read_bytes()[tensor.offset : tensor.offset + tensor.length]
    return np.frombuffer(content, "<f4").reshape(x.shape)


def codes(*shape: int) -> Array:
    """fp8 codes that are numbers."""
    return RANDOM.integers(0, 127, shape, np.uint8) | RANDOM.integers(0, 2, shape, np.uint8) << 7


def plain(array: Array) -> Array:
    out = bytearray(4 * array.size)
    packing.widen("f8_e4m3", array.tobytes(), out)
    return np.frombuffer(out, "<f4").reshape(array.shape)


@pytest.mark.parametrize(
    ("shape", "scales", "block"),
    [
        ((100, 90), (3, 2), (40, 48)),
        ((4, 6), (1, 1), (128, 128)),
        ((3, 50, 40), (3, 2, 2), (32, 32)),
        ((100, 90), (), None),
        ((100, 90), (1,), None),
        ((100, 90), (100,), None),
        ((100, 90), (100, 1), None),
        ((100, 90), (1, 90), None),
        ((30, 20), (30, 20), None),
        ((3, 50, 40), (3,), None),
        ((3, 50, 40), (3, 50, 1), None),
        ((3, 50, 40), (), None),
        ((1, 40), (1, 1), None),
        ((90,), (), None),
        ((90,), (90,), None),
    ],
)
def test_values_are_those_of_numpy(
    shape: tuple[int, ...], scales: tuple[int, ...], block: tuple[int, int] | None, tmp_path: Path
) -> None:
    weights = codes(*shape)
    factors = np.asarray(RANDOM.random(scales), "<f4")
    known, data = tensors(a__weight=("f8_e4m3", weights), a__weight_scale_inv=("f32", factors))
    wide = factors
    if block:
        for axis, size in zip((-2, -1), block, strict=True):
            wide = np.repeat(wide, size, axis)
        wide = wide[tuple(slice(extent) for extent in shape)]
    wide = wide.reshape(*wide.shape, *(1,) * (len(shape) - wide.ndim))
    (found,) = values(known, FP8._replace(block=block), packed=False).items()
    assert found[0] == "a.weight"
    assert (made(found[1], data, tmp_path) == plain(weights) * wide).all()


def test_a_block_larger_than_the_matrix_takes_no_memory() -> None:
    known, _ = tensors(a__weight=("f8_e4m3", codes(4, 6)), a__weight_scale_inv=("f32", np.ones((1, 1), "<f4")))
    (x,) = values(known, FP8._replace(block=(1 << 30, 1 << 30)), packed=False).values()
    assert x.parameters == (4, 6)


def test_scales_and_what_activations_need_are_no_tensors_of_the_model() -> None:
    scale = ("f32", np.ones((), "<f4"))
    known, _ = tensors(
        a__weight=("f8_e4m3", codes(4, 4)), a__weight_scale_inv=scale, a__activation_scale=scale, b__weight=("bf16", np.ones(4, "<u2")),
        c__weight=("f8_e4m3", codes(4, 4)), c__qscale_weight=scale,
    )  # fmt: skip
    assert list(values(known, FP8, packed=False)) == ["a.weight", "b.weight", "c.weight"]


@pytest.mark.parametrize("dtype", ["f64", "i64", "i32", "i16", "i8", "u8", "bool"])
def test_numbers_that_are_no_floats_are_widened_first(dtype: str, tmp_path: Path) -> None:
    numpy = {"f64": "<f8", "u8": "u1", "bool": "u1"}.get(dtype, f"<i{int(dtype[1:]) // 8}" if dtype[0] == "i" else "")
    array = RANDOM.integers(0, 2, (8, 32)).astype(numpy) if dtype == "bool" else (100 * RANDOM.random((8, 32))).astype(numpy)  # fmt: skip
    known, data = tensors(a=(dtype, array))
    (x,) = values(known, None, packed=False).values()
    assert x.dtype == "f32"
    assert (made(x, data, tmp_path) == array.astype("<f4")).all()


def test_powers_of_two_can_be_scales(tmp_path: Path) -> None:
    weights, exponents = codes(4, 4), np.array([[0, 127], [130, 120]], np.uint8)
    known, data = tensors(a__weight=("f8_e4m3", weights), a__weight_scale_inv=("f8_e8m0", exponents))
    (x,) = values(known, FP8._replace(block=(2, 2)), packed=False).values()
    wide = np.repeat(np.repeat(np.ldexp(1.0, exponents.astype(int) - 127), 2, 0), 2, 1).astype("<f4")
    assert (made(x, data, tmp_path) == plain(weights) * wide).all()


def fp8_checkpoint(folder: Path, **config: Any) -> Path:
    checkpoints.write(folder, **config)
    found = dict(checkpoints.tensors(checkpoints.CONFIG, "bf16"))
    for name in [name for name in found if "proj" in name]:
        rows, columns = found[name][1]
        found[name] = ("F8_E4M3", (rows, columns), codes(rows, columns).tobytes())
        grid = (-(-rows // 128), -(-columns // 128))
        found[f"{name}_scale_inv"] = ("F32", grid, np.ones(grid, "<f4").tobytes())
    checkpoints.save(folder / "model.safetensors", found)
    return folder


QUANTIZATION = {"quant_method": "fp8", "weight_block_size": [128, 128]}


def test_the_type_of_an_fp8_checkpoint_is_that_of_its_other_tensors(tmp_path: Path) -> None:
    folder = fp8_checkpoint(tmp_path / "m", quantization_config=QUANTIZATION)
    types = {entry.name: entry.expression.dtype for entry in recipes.converted(folder).tensors}
    assert types["blk.0.attn_q.weight"] == types["token_embd.weight"] == "bf16"
    assert types["blk.0.attn_norm.weight"] == "f32"
    assert not [name for name in types if "scale" in name]


def test_f64_is_f32_and_not_less(tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "m")
    found = checkpoints.tensors(checkpoints.CONFIG, "bf16")
    wide = {name: ("F64", shape, bytes(4 * len(data))) for name, (_, shape, data) in found.items()}
    checkpoints.save(folder / "model.safetensors", wide)
    types = {entry.expression.dtype for entry in recipes.converted(folder).tensors}
    assert types == {"f32"}


def test_scales_of_nothing_are_an_error() -> None:
    known, _ = tensors(a__weight_scale_inv=("f32", np.ones((1, 1), "<f4")))
    with pytest.raises(Error, match="tensor 'a.weight_scale_inv' contains the scales of 'a.weight', which is missing"):
        values(known, FP8, packed=False)
    assert values(known, FP8._replace(orphans=True), packed=False) == {}


def test_fp8_without_scales_is_an_error() -> None:
    known, _ = tensors(a__weight=("f8_e4m3", codes(4, 4)))
    with pytest.raises(
        Error, match="tensor 'a.weight' lacks its scales: fp8 stores f8_e4m3 values without their scale"
    ) as caught:
        values(known, FP8, packed=False)
    assert caught.value.facts == (("expected", "a.weight_scale_inv"),)


def test_bytes_that_an_architecture_reads_stay() -> None:
    known, _ = tensors(a_blocks=("u8", codes(2, 2)))
    assert values(known, None, packed=True)["a_blocks"].dtype == "u8"
    assert values(known, None, packed=False)["a_blocks"].dtype == "f32"


def test_dtypes_that_are_not_read() -> None:
    known, _ = tensors(a=("c64", codes(4, 4)))
    with pytest.raises(Error, match="tensor 'a' contains c64 values, which are not supported"):
        values(known, None, packed=False)


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "f64", "i8"])
def test_numbers_of_a_small_tensor(dtype: str) -> None:
    data = {"f64": np.array([1, -2], "<f8").tobytes(), "i8": np.array([1, -2], np.int8).tobytes()}.get(dtype)
    data = data or checkpoints.encode(np.array([1, -2], np.float32), dtype)
    tensor = Tensor("a", dtype, (2, 1), 0, len(data), xxh3(data))
    assert floats(tensor, lambda x: recipes.evaluate(x, {tensor.digest: data})) == (1, -2)


@pytest.mark.parametrize(
    ("shape", "values", "what"),
    [
        ((0,), [], "expects 1 to 65,536 values, got \\[0\\]"),
        ((2, 40000), [], "expects 1 to 65,536 values, got \\[2, 40000\\]"),
        ((), [np.inf], "contains a value that is not finite"),
    ],
)
def test_numbers_that_are_none(shape: tuple[int, ...], values: list[float], what: str) -> None:
    tensor = Tensor("a", "f32", shape, 0, 4 * len(values), "d")
    with pytest.raises(Error, match=what):
        floats(tensor, lambda x: np.array(values, "<f4").tobytes())

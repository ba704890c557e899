"""A folder as the inputs of a step, and a plain way to make the bytes of a recipe: what the materializer is checked against."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from math import exp, inf, nan, prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelbuild.checkpoint import shards
from modelbuild.steps import convert, import_
from modelbuild.tensors import packing, quantization, quants
from modelbuild.tensors.formats import gguf, safetensors
from modelbuild.tensors.recipe import Expression, Recipe
from modelbuild.tensors.tensor import TensorTable


class Folder:
    """A checkpoint folder, or GGUF files, as the inputs of a step."""

    def __init__(self, path: Path, files: list[str] | None = None) -> None:
        self.path = path
        names = [str(p.relative_to(path)) for p in path.rglob("*") if p.is_file()]
        self.sources = shards.small(names, self.file)
        index = self.file(shards.INDEX)
        self.weights = files if files is not None else shards.weights(names, index)

    def roles(self) -> list[str]:
        return [*self.sources, *self.weights]

    def file(self, role: str) -> bytes | None:
        path = self.path / role
        return path.read_bytes() if path.is_file() else None

    def tables(self) -> list[tuple[str, TensorTable]]:
        survey = {".safetensors": safetensors.survey, ".gguf": gguf.survey}
        return [(name, survey[os.path.splitext(name)[1]](str(self.path / name)).table) for name in self.weights]

    def values(self, x: Expression) -> bytes:
        return evaluate(x, self.leaves())

    def shared(self, what: object, make: Callable[[], Any]) -> Any:
        return make()

    def leaves(self) -> dict[str, bytes]:
        """The bytes of every tensor, by digest."""
        found = {}
        for name, table in self.tables():
            data = (self.path / name).read_bytes()
            for tensor in table.tensors.values():
                found[tensor.digest] = data[tensor.offset : tensor.offset + tensor.length]
        return found


def converted(
    path: Path, outtype: str = "source", pre: str | None = None, mtp: str = "keep", architecture: str = ""
) -> Recipe:
    parameters = convert.Parameters(outtype=outtype, folder=path.name, pre=pre, mtp=mtp)
    if architecture:
        parameters["architecture"] = architecture
    return Recipe.decode(convert.run(parameters, Folder(path)))


def imported(path: Path, files: list[str]) -> Recipe:
    return Recipe.decode(import_.run({}, Folder(path, files)))


def quantized(recipe: Recipe, ftype: str) -> Recipe:
    return Recipe.decode(quantization.quantize(recipe, ftype).encode())


def file_of(recipe: Recipe, leaves: Mapping[str, bytes]) -> bytes:
    """Make the whole file, one tensor after the other: the materializer's specification."""
    parts = [gguf.header(recipe.metadata, [(e.name, e.expression.dtype, e.shape) for e in recipe.tensors])]
    known = {**leaves, **recipe.constants}
    for entry in recipe.tensors:
        data = evaluate(entry.expression, known)
        assert len(data) == entry.expression.size, entry.name
        parts += (data, bytes(-len(data) % gguf.ALIGNMENT))
    return b"".join(parts)


def evaluate(x: Expression, leaves: Mapping[str, bytes]) -> bytes:
    """The bytes of a tensor."""
    if x.operation == "leaf":
        return leaves[x.digest]
    parts = [evaluate(operand, leaves) for operand in x.operands]
    if x.operation == "stack":
        return b"".join(parts)
    if x.operation in ("cast", "quantize", "dequantize"):
        return _converted(x, parts)
    arrays = [_items(data, operand) for data, operand in zip(parts, x.operands, strict=True)]
    specified = {
        "permute": _permute, "slice": _slice, "transpose": _transpose, "add_one": _add_one, "scale": _scale, "mxfp4": _mxfp4,
        "merge": _merge, "lengthen": _lengthen, "replace_rows": _replace_rows, "pad": _pad,
        "nvfp4": _nvfp4, "unpack": _unpack,
        "reciprocal": _reciprocal,
        "take": _take, "concat": _concat, "neg_exp": _neg_exp, "softplus": _softplus,
    }  # fmt: skip
    if x.operation == "reshape":
        return parts[0]
    assert x.operation in specified, f"say in {__name__} what '{x.operation}' makes, in numpy's own words"
    made = specified[x.operation](x, *arrays)
    return np.ascontiguousarray(made).tobytes()


Array = NDArray[Any]


def _items(data: bytes, x: Expression) -> Array:
    """Bytes as an array of x's shape; a block of a block format is one item, so that its last axis is shorter."""
    quant = quants.get(x.dtype)
    forms = {"f32": "<f4", "f16": "<f2", "u8": "u1", "i32": "<i4"}
    form = np.dtype(forms[x.dtype]) if x.dtype in forms else np.dtype((np.void, quant.bytes))
    shape = (*x.shape[:-1], x.shape[-1] // quant.block) if quant.block > 1 else x.shape
    return np.frombuffer(data, form).reshape(shape)


def _converted(x: Expression, parts: list[bytes]) -> bytes:
    (operand, *_), (data, *weights) = x.operands, parts
    assert operand.shape == x.shape
    out = bytearray(x.size)
    if x.operation == "dequantize":
        packing.dequantize(operand.dtype, data, out)
    elif weights:
        # Each matrix of the tensor has a row of weights of its own.
        matrices, columns = prod(x.shape[:-2]), x.shape[-1]
        whole, size, row = len(data) // matrices, len(out) // matrices, columns * 4
        with memoryview(out) as view:
            for number in range(matrices):
                piece = view[number * size : (number + 1) * size]
                source = data[number * whole : (number + 1) * whole]
                packing.quantize(
                    x.dtype, operand.dtype, source, piece, weights[0][number * row : (number + 1) * row], columns
                )
    elif operand.dtype in quants.FLOATS:
        packing.quantize(x.dtype, operand.dtype, data, out)
    else:
        return wide(operand.dtype, data)
    return bytes(out)


def wide(dtype: str, data: bytes) -> bytes:
    """The values of what ggml cannot compute with, as f32."""
    forms = {"f64": "<f8", "i64": "<i8", "i32": "<i4", "i16": "<i2", "i8": "i1", "u8": "u1", "bool": "u1"}
    if dtype in forms:
        return np.frombuffer(data, forms[dtype]).astype("<f4").tobytes()
    values = np.array([eight_bits(dtype, pattern) for pattern in range(256)], "<f4")
    return values[np.frombuffer(data, np.uint8)].tobytes()


def eight_bits(dtype: str, pattern: int) -> float:
    """The value of a float of eight bits, by its definition (OCP 8-bit floating point, OCP microscaling formats)."""
    if dtype == "f8_e8m0":
        return 2.0 ** (pattern - 127) if pattern < 255 else nan
    fraction, bias = {"f8_e4m3": (3, 7), "f8_e5m2": (2, 15)}[dtype]
    sign = -1.0 if pattern > 127 else 1.0
    exponent, rest = (pattern & 127) >> fraction, (pattern & (1 << fraction) - 1) / (1 << fraction)
    if dtype == "f8_e4m3" and pattern & 127 == 127:
        return nan
    if dtype == "f8_e5m2" and exponent == 31:
        return nan if rest else sign * inf
    return float(sign * ((1 + rest) * 2.0 ** (exponent - bias) if exponent else rest * 2.0 ** (1 - bias)))


def _permute(x: Expression, old: Array) -> Array:
    (heads,) = x.parameters
    half = x.shape[0] // heads // 2
    return old[[(h * 2 + p) * half + j for h in range(heads) for j in range(half) for p in (0, 1)]]


def _slice(x: Expression, old: Array) -> Array:
    axis, start, stop, step = x.parameters
    return old[(slice(None),) * axis + (slice(start, stop, step),)]


def _transpose(x: Expression, old: Array) -> Array:
    return old.swapaxes(-1, -2)


def _add_one(x: Expression, old: Array) -> Array:
    # By way of f64, which holds every sum of two halves or floats near one exactly enough to round it once.
    return (old.astype(np.float64) + 1).astype(old.dtype)


def _softplus(x: Expression, old: Array) -> Array:
    # In wider floats than it is made in, and rounded where that is: behind each of the two functions.
    values = old.astype(np.longdouble)
    exp = np.exp(np.minimum(values, 20)).astype(np.float32).astype(np.longdouble)
    return np.where(values > 20, values, np.log1p(exp)).astype(np.float32).astype(old.dtype)


def _scale(x: Expression, old: Array, scales: Array) -> Array:
    high, wide = x.parameters
    rows, columns = (1, 1, *x.shape)[-2:]
    spread = scales.reshape((1, 1, *scales.shape)[-max(2, len(x.shape)) :])
    spread = spread.repeat(high, axis=-2)[..., :rows, :].repeat(wide, axis=-1)[..., :columns]
    return old.reshape(spread.shape) * spread


def _merge(x: Expression, old: Array, a: Array, b: Array) -> Array:
    if x.operands[0].dtype == "bf16":
        old = (old.view("<u2").astype("<u4") << 16).view("<f4")
    total = np.zeros(x.shape if len(x.shape) > 1 else (1, *x.shape), np.float32)
    for k in range(a.shape[-2]):
        total = total + b[..., :, k, None] * a[..., None, k, :]
    total = (np.float32(x.parameters[0]) * total).reshape(x.shape)
    if len(x.parameters) == 2:
        total = _as(x.operands[0].dtype, total)
    return old.astype(np.float32) + total


def _as(dtype: str, floats: Array) -> Array:
    """Rounded to f16 or bf16 and back."""
    if dtype == "f16":
        return floats.astype(np.float16).astype(np.float32)
    bits = np.ascontiguousarray(floats).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).view(np.float32)


def _lengthen(x: Expression, old: Array, lengths: Array) -> Array:
    """Each row by itself, halves of its squares added to halves."""
    made = []
    for row, length in zip(old, lengths, strict=True):
        squares = [float(value) ** 2 for value in row]
        while len(squares) > 1:
            half = (len(squares) + 1) // 2
            squares = [v + squares[i + half] if i + half < len(squares) else v for i, v in enumerate(squares[:half])]
        made.append(row * np.float32(float(length) / squares[0] ** 0.5))
    return np.array(made)


def _pad(x: Expression, old: Array) -> Array:
    below = np.zeros((*old.shape[:-2], x.shape[-2] - old.shape[-2], old.shape[-1]), old.dtype)
    return np.concatenate([old, below], axis=-2)


def _replace_rows(x: Expression, old: Array, rows: Array) -> Array:
    made = old.copy()
    made[list(x.parameters)] = rows
    return made


def _mxfp4(x: Expression, blocks: Array, scales: Array) -> Array:
    values = np.stack([blocks & 15, blocks >> 4], axis=-1).reshape(*scales.shape, 32)
    packed = values[..., :16] | values[..., 16:] << 4
    return np.concatenate([scales[..., None], packed], axis=-1)


def _nvfp4(x: Expression, blocks: Array, scales: Array) -> Array:
    made = []
    for row, factors in zip(blocks.tolist(), scales.view(np.uint8).tolist(), strict=True):
        values = [value for byte in row for value in (byte & 15, byte >> 4)]
        for at in range(0, len(values), 64):
            made += [factor & 127 for factor in factors[at // 16 : at // 16 + 4]]
            for sixteen in range(at, at + 64, 16):
                made += [values[i] | values[i + 8] << 4 for i in range(sixteen, sixteen + 8)]
    return np.array(made, np.uint8)


def _unpack(x: Expression, words: Array, *zeros: Array) -> Array:
    """By strings of bits, the highest first."""
    bits, per = x.parameters[0], 32 // x.parameters[0]

    def numbers(word: int) -> list[int]:
        digits = f"{word % (1 << 32):032b}"
        return [int(digits[32 - (i + 1) * bits : 32 - i * bits], 2) for i in range(per)]

    rows, columns = x.shape
    found = [[n for word in row for n in numbers(word)][:columns] for row in words.tolist()]
    points = [[1 << bits - 1]] * rows
    if zeros:
        grid = [[numbers(word) for word in row] for row in zeros[0].tolist()]
        points = [[word[row % per] for word in grid[row // per]] for row in range(rows)]
    wide = columns // len(points[0])
    return np.array([[n - points[r][c // wide] for c, n in enumerate(row)] for r, row in enumerate(found)], np.float32)


def _reciprocal(x: Expression, old: Array) -> Array:
    return (1 / old.astype(np.float64)).astype(np.float32)


def _take(x: Expression, old: Array) -> Array:
    axis, *numbers = x.parameters
    indices = []
    for at in range(0, len(numbers), 6):
        start, length, inner, inner_step, outer, outer_step = numbers[at : at + 6]
        for i in range(outer):
            for j in range(inner):
                indices += [start + i * outer_step + j * inner_step + k for k in range(length)]
    return old.take(indices, axis)


def _concat(x: Expression, *parts: Array) -> Array:
    return np.concatenate(parts, axis=x.parameters[0])


def _neg_exp(x: Expression, old: Array) -> Array:
    made = [-exp(value) if value < 700 else -inf for value in map(float, old.reshape(-1))]
    with np.errstate(over="ignore"):
        return np.array(made).astype(old.dtype).reshape(old.shape)

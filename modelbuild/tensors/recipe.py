"""Recipes: the metadata of a GGUF file and, for every tensor, an expression over bytes that exist already.

An expression is a tree: a *leaf* names bytes by digest, an *operation* makes a tensor of its operands. Its key is a digest of
all that decides the bytes (operation, its version, parameters, dtype, shape, keys of the operands) and of nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

from modelbuild.digest import canonical, xxh3
from modelbuild.tensors.tensor import Shape, byte_count

VERSIONS = {
    "leaf": 1, "cast": 1, "permute": 1, "add_one": 1, "stack": 1, "slice": 1, "transpose": 1, "scale": 1, "mxfp4": 1, "quantize": 1,
    "dequantize": 1,
}  # fmt: skip
"""The version of each operation; one that makes other bytes than before gets the next number."""


def versions() -> str:
    """What stands for the versions of all operations: a file that is made of a recipe must be made again when one is another."""
    return xxh3(canonical(VERSIONS))


MAGIC = b"modelbuild recipe 1\n"


@dataclass(frozen=True)
class Expression:
    """A tensor to be made. Build these with the functions below, which check what they are given."""

    operation: str
    parameters: tuple[Any, ...]
    dtype: str
    shape: Shape
    operands: tuple[Expression, ...] = ()
    label: str = field(default="", compare=False)
    """Of a leaf: what errors call its bytes. It is no part of a recipe's encoding, nor of the key."""

    @cached_property
    def key(self) -> str:
        keys = [operand.key for operand in self.operands]
        parts = [self.operation, VERSIONS[self.operation], self.parameters, self.dtype, self.shape, keys]
        return xxh3(canonical(parts))

    @property
    def size(self) -> int:
        return byte_count(self.dtype, self.shape)

    @property
    def digest(self) -> str:
        """Of a leaf: the digest of its bytes."""
        assert self.operation == "leaf"
        return str(self.parameters[0])

    def leaves(self) -> Iterator[Expression]:
        if self.operation == "leaf":
            yield self
        for operand in self.operands:
            yield from operand.leaves()

    def encode(self) -> list[Any]:
        head = [self.operation, list(self.parameters), self.dtype, list(self.shape)]
        return [*head, *(operand.encode() for operand in self.operands)]

    @staticmethod
    def decode(value: list[Any]) -> Expression:
        operation, parameters, dtype, shape, *operands = value
        return Expression(
            operation, tuple(parameters), dtype, tuple(shape), tuple(Expression.decode(operand) for operand in operands)
        )


def leaf(digest: str, dtype: str, shape: Shape, label: str = "") -> Expression:
    """Bytes that exist: `digest` of exactly the tensor's bytes, `label` for what is said of them."""
    return Expression("leaf", (digest,), dtype, shape, label=label)


def cast(dtype: str, x: Expression) -> Expression:
    """Round to another float type (f32, f16, bf16), nearest even; the identity where the dtype is the same.

    What is no float of those three (f64, integers, f8_e4m3, f8_e5m2) can be cast to f32 alone.
    """
    if x.dtype == dtype:
        return x
    x = _narrow(x)
    return x if x.dtype == dtype else Expression("cast", (), dtype, x.shape, (x,))


def _narrow(x: Expression) -> Expression:
    """See through a widening, which changes no value: whatever is made of it is the same as if made of its operand."""
    widened = x.operation == "cast" and x.dtype == "f32" and x.operands[0].dtype in ("f16", "bf16")
    return x.operands[0] if widened else x


def permute(x: Expression, heads: int) -> Expression:
    """Reorder rotary rows from halves to pairs, as llama.cpp's llama architecture wants them.

    In each of `heads` groups of hd = shape[0] / heads rows, new row 2j + p is old row p * hd/2 + j.
    Source: llama.cpp conversion, LlamaModel.permute. Raises ValueError where the rows do not divide.
    """
    rows = x.shape[0] if x.shape else 1
    if heads < 1 or rows % (2 * heads):
        raise ValueError(f"{rows} rows cannot be permuted in {heads} heads of an even number of rows")
    return Expression("permute", (heads,), x.dtype, x.shape, (x,))


def add_one(x: Expression) -> Expression:
    """Add one to every value, in the dtype of the tensor (f16, f32); bf16 is widened to f32 first.

    Source: llama.cpp conversion, GemmaModel.modify_tensors (norms are stored less one).
    """
    if x.dtype == "bf16":
        x = cast("f32", x)
    if x.dtype not in ("f32", "f16"):
        raise ValueError(f"one cannot be added to {x.dtype} values")
    return Expression("add_one", (), x.dtype, x.shape, (x,))


def stack(xs: Sequence[Expression]) -> Expression:
    """Lay tensors of one dtype and shape one after another: [n, *shape]. Raises ValueError where they differ."""
    kinds = {(x.dtype, x.shape) for x in xs}
    if len(kinds) != 1:
        raise ValueError(f"tensors of {len(kinds)} dtypes or shapes cannot be stacked")
    return Expression("stack", (), xs[0].dtype, (len(xs), *xs[0].shape), tuple(xs))


def slice_(x: Expression, axis: int, start: int, stop: int, step: int = 1) -> Expression:
    """Take indices `start`, `start + step`, … below `stop` of an axis. Raises ValueError where there are none such.

    The axis is not that of the rows of a block format.
    """
    if not (0 <= axis < len(x.shape) and 0 <= start < stop <= x.shape[axis] and step > 0):
        raise ValueError(f"no rows {start}:{stop}:{step} along axis {axis} of {list(x.shape)}")
    extent = -(-(stop - start) // step)
    if extent == x.shape[axis]:
        return x
    shape = (*x.shape[:axis], extent, *x.shape[axis + 1 :])
    return Expression("slice", (axis, start, stop, step), x.dtype, shape, (x,))


def transpose(x: Expression) -> Expression:
    """Exchange the last two axes. Raises ValueError where there are not two."""
    if len(x.shape) < 2:
        raise ValueError(f"a tensor of shape {list(x.shape)} cannot be transposed")
    return Expression("transpose", (), x.dtype, (*x.shape[:-2], x.shape[-1], x.shape[-2]), (x,))


def scale(x: Expression, scales: Expression, block: tuple[int, int]) -> Expression:
    """Multiply each block of `block` rows and columns by its scale, in f32: the values of an fp8 checkpoint.

    x       [..., rows, columns]
    scales  [..., rows / block, columns / block], rounded up
    Source: llama.cpp conversion, ModelBase.dequant_model (dequant_simple). Raises ValueError where the shapes do not fit.
    """
    rows, columns = ((1, 1) + x.shape)[-2:]
    fitting = (*x.shape[:-2], -(-rows // block[0]), -(-columns // block[1]))
    if prod(fitting) != prod(scales.shape) or (len(x.shape) > 1 and fitting != scales.shape and prod(fitting) != 1):
        raise ValueError(f"scales of shape {list(scales.shape)} do not fit {list(x.shape)} in blocks of {list(block)}")
    scales = Expression(scales.operation, scales.parameters, scales.dtype, fitting, scales.operands)
    return Expression("scale", block, "f32", x.shape, (cast("f32", x), cast("f32", scales)))


def mxfp4(blocks: Expression, scales: Expression) -> Expression:
    """Pack MXFP4 as checkpoints store it into ggml's blocks; no value changes.

    blocks  u8 [..., rows, columns / 32, 16], element 2i in the low nibble of byte i and 2i + 1 in the high one
    scales  u8 [..., rows, columns / 32], the exponent (E8M0) of each block
    Source: llama.cpp conversion, GptOssModel.repack_mxfp4. Raises ValueError where dtypes or shapes do not fit.
    """
    if (blocks.dtype, scales.dtype) != ("u8", "u8") or blocks.shape != (*scales.shape, 16):
        raise ValueError(f"MXFP4 blocks {list(blocks.shape)} and scales {list(scales.shape)} do not fit each other")
    return Expression("mxfp4", (), "mxfp4", (*scales.shape[:-1], scales.shape[-1] * 32), (blocks, scales))


WEIGHTED = ("q4_0", "q4_1", "q5_0", "q5_1", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_nl", "iq4_xs")
"""The quants that an importance matrix changes."""


def quantize(quant: str, x: Expression, weights: Expression | None = None) -> Expression:
    """Pack a float tensor into blocks of `quant`; the identity where it is of that type already.

    weights  f32, importance of each column, one row for each matrix of the tensor: [columns] or [experts, columns]
    """
    if x.dtype == quant:
        return x
    if quant in ("f32", "f16", "bf16"):
        return cast(quant, x)
    x = _narrow(x)
    if weights is None or quant not in WEIGHTED:
        return Expression("quantize", (), quant, x.shape, (x,))
    assert prod(weights.shape) == prod(x.shape[:-2]) * x.shape[-1]
    return Expression("quantize", (), quant, x.shape, (x, weights))


def dequantize(x: Expression) -> Expression:
    """Unpack a quantized tensor into f32."""
    return Expression("dequantize", (), "f32", x.shape, (x,))


@dataclass(frozen=True)
class Entry:
    """One tensor of the file to be made. `shape` is what its header says: the expression's, maybe less leading ones."""

    name: str
    shape: Shape
    expression: Expression

    def __post_init__(self) -> None:
        assert prod(self.shape) == prod(self.expression.shape), self.name


@dataclass(frozen=True)
class Recipe:
    """A GGUF file not made yet.

    metadata   key -> value as GGUF spells it (u32 type, little endian, then the payload), in file order
    tensors    in file order
    constants  digest -> bytes of the leaves that no source holds (rotary factors)
    """

    metadata: Mapping[str, bytes]
    tensors: Sequence[Entry]
    constants: Mapping[str, bytes] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Spell the recipe: the magic, one line of JSON, then the metadata values and constants back to back."""
        head = {
            "metadata": [[key, len(value)] for key, value in self.metadata.items()],
            "constants": [[digest, len(data)] for digest, data in self.constants.items()],
            "tensors": [[entry.name, list(entry.shape), entry.expression.encode()] for entry in self.tensors],
        }
        line = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
        return b"".join([MAGIC, line, *self.metadata.values(), *self.constants.values()])

    @staticmethod
    def decode(data: bytes) -> Recipe:
        """Read what `encode` wrote; the caller has checked the digest."""
        if not data.startswith(MAGIC):
            raise ValueError("not a recipe")
        end = data.index(b"\n", len(MAGIC))
        head = json.loads(data[len(MAGIC) : end])
        at = end + 1
        parts: dict[str, dict[str, bytes]] = {"metadata": {}, "constants": {}}
        for part, found in parts.items():
            for key, length in head[part]:
                found[key] = data[at : at + length]
                at += length
        tensors = [Entry(name, tuple(shape), Expression.decode(value)) for name, shape, value in head["tensors"]]
        return Recipe(parts["metadata"], tensors, parts["constants"])

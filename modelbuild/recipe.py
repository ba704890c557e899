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
from modelbuild.tensor import Shape, byte_count

VERSIONS = {"leaf": 1, "cast": 1, "permute": 1, "quantize": 1, "dequantize": 1}
"""The version of each operation; one that makes other bytes than before gets the next number."""

MAGIC = b"modelbuild recipe 1\n"


@dataclass(frozen=True)
class Expression:
    """A tensor to be made. Build these with `leaf`, `cast`, `permute`, `quantize`, which check what they are given."""

    operation: str
    parameters: tuple[Any, ...]
    dtype: str
    shape: Shape
    operands: tuple[Expression, ...] = ()

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


def leaf(digest: str, dtype: str, shape: Shape) -> Expression:
    """Bytes that exist: `digest` of exactly the tensor's bytes."""
    return Expression("leaf", (digest,), dtype, shape)


def cast(dtype: str, x: Expression) -> Expression:
    """Round to another float type (f32, f16, bf16), nearest even; the identity where the dtype is the same."""
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
    if heads < 1 or x.shape[0] % (2 * heads):
        raise ValueError(f"{x.shape[0]} rows cannot be permuted in {heads} heads of an even number of rows")
    return Expression("permute", (heads,), x.dtype, x.shape, (x,))


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

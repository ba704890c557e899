"""Recipes: the metadata of a GGUF file and, for every tensor, an expression over bytes that exist already.

An expression is a tree: a *leaf* names bytes by digest, any other *operation* (a file in operations/) makes a tensor of its operands.
Its key is a digest of all that decides the bytes (operation, its version, parameters, dtype, shape, keys of the operands) and of
nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import lcm, prod
from typing import Any

from modelbuild.digest import canonical, xxh3
from modelbuild.tensors import operations, quants
from modelbuild.tensors.tensor import Shape, byte_count

MAGIC = b"modelbuild recipe 1\n"


# Not frozen: to set the fields of a frozen one takes thrice as long, and a model of experts has a hundred thousand.
@dataclass
class Expression:
    """A tensor to be made; it never changes. Build these with the functions of operations/, which check what they are given."""

    operation: str
    parameters: tuple[Any, ...]
    dtype: str
    shape: Shape
    operands: tuple[Expression, ...] = ()
    label: str = field(default="", compare=False)
    """Of a leaf: what errors call its bytes. It is no part of a recipe's encoding, nor of the key."""

    def __hash__(self) -> int:
        # A leaf keeps nothing: leaves are many, and what they belong to asks each once.
        return self._hash if self.operands else hash((self.operation, self.parameters, self.dtype, self.shape))

    @cached_property
    def _hash(self) -> int:
        return hash((self.operation, self.parameters, self.dtype, self.shape, self.operands))

    @cached_property
    def key(self) -> str:
        keys = [operand.key for operand in self.operands]
        parts = [self.operation, operations.get(self.operation).VERSION, self.parameters, self.dtype, self.shape, keys]
        return xxh3(canonical(parts))

    @property
    def size(self) -> int:
        return byte_count(self.dtype, self.shape)

    def bytes_of(self, elements: int) -> int:
        """Bytes of some elements, whole blocks of them."""
        quant = quants.get(self.dtype)
        return elements // quant.block * quant.bytes

    @cached_property
    def unit(self) -> int:
        """The number of consecutive elements that the tensor is computed in whole multiples of."""
        return lcm(quants.get(self.dtype).block, operations.get(self.operation).unit(self))

    def footprint(self, first: int, count: int) -> int:
        """Bytes of memory that it takes to compute elements `first` to `first + count`, those of all operands too.

        A buffer that is done with is kept for the next.
        """
        beside: int = operations.get(self.operation).footprint(self, first, count)
        return self.bytes_of(count) + beside

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

"""Tensors as files hold them: a name, a dtype, a shape, and where the bytes lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from modelbuild import quants

Shape = tuple[int, ...]
"""Outermost dimension first, as in numpy and safetensors; GGUF writes the reverse."""


def byte_count(dtype: str, shape: Shape) -> int:
    """Bytes of a tensor. Raises ValueError where a row is not a whole number of blocks."""
    quant = quants.get(dtype)
    row = shape[-1] if shape else 1
    if row % quant.block:
        raise ValueError(f"rows of {row} values are not a multiple of the {quant.block} of a {dtype} block")
    return prod(shape) // quant.block * quant.bytes


@dataclass(frozen=True)
class Tensor:
    """A tensor in a source file: `length` bytes at `offset`, dtype in lower case (`bf16`, `q4_k`)."""

    name: str
    dtype: str
    shape: Shape
    offset: int
    length: int
    digest: str = ""
    """`xxh3:` of the bytes; empty until they have been hashed."""


@dataclass(frozen=True)
class TensorTable:
    """What a weights file says of itself, without its weights.

    metadata  safetensors: the `__metadata__` strings, UTF-8 encoded; GGUF: encoded values (see formats.gguf)
    tensors   by name, in file order
    """

    metadata: Mapping[str, bytes]
    tensors: Mapping[str, Tensor]

"""Block formats, a file each: what a quant is called, how its blocks are sized, and in numpy what its bytes are.

Numpy is the specification. The native kernels (native/) give the same bytes, many times as fast.
"""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from modelbuild.tensors.quants import _carried
from modelbuild.tuples import NamedTuple

if TYPE_CHECKING:
    from modelbuild.tensors.quants._numpy import Bytes, Floats

FLOATS = ("f32", "f16", "bf16")
"""The dtypes that can be quantized."""


class Quant(NamedTuple):
    """A block format: `block` elements in `bytes` bytes."""

    name: str
    ggml_type: int
    block: int
    bytes: int


class Format(Protocol):
    """What the file of a format says. Arrays have one dimension where nothing else is said, and the byte order of files."""

    GGML_TYPE: int
    """Its id in ggml."""
    BLOCK: int
    """Elements of a block."""
    BYTES: int
    """Bytes of a block."""
    HALVES: tuple[int, ...]
    """Where in a block its f16 scales stand."""

    def quantize(self, values: Floats) -> Bytes:
        """f32 `[blocks * BLOCK]` -> u8 `[blocks * BYTES]`"""

    def dequantize(self, data: Bytes) -> Floats:
        """u8 `[blocks * BYTES]` -> f32 `[blocks * BLOCK]`"""


class Weighted(Format, Protocol):
    """A format that an importance matrix changes."""

    def quantize_weighted(self, rows: Floats, importance: Floats) -> Bytes:
        """f32 `[rows, columns]`, whole blocks in a row, and f32 `[columns]` -> u8 `[rows * columns / BLOCK * BYTES]`"""


@cache
def names() -> tuple[str, ...]:
    """The quants that can be made."""
    files = os.listdir(os.path.dirname(__file__))
    return tuple(sorted(file[:-3] for file in files if file.endswith(".py") and not file.startswith("_")))


@cache
def get(name: str) -> Quant:
    """The quant of that name (lower case): one that can be made, one that can only be carried, or what only checkpoints hold.

    The last have no id in ggml: -1. Raises KeyError.
    """
    if name in _carried.SIZES:
        return Quant(name, *_carried.SIZES[name])
    if name in _carried.SOURCES:
        return Quant(name, -1, 1, _carried.SOURCES[name])
    if name not in names():
        raise KeyError(name)
    made = module(name)
    return Quant(name, made.GGML_TYPE, made.BLOCK, made.BYTES)


def is_carried(name: str) -> bool:
    """Whether tensors of a type can only be copied, their values neither made nor read."""
    return name in _carried.SIZES


def by_ggml_type(ggml_type: int) -> Quant | None:
    """The quant with that id in ggml's `enum ggml_type`, as GGUF files hold it; None for an unknown or retired id."""
    return _by_ggml_type().get(ggml_type)


@cache
def takes_weights(quant: str) -> bool:
    """Whether the weights of `quantize` change what is made; other formats ignore them. Raises KeyError."""
    return not is_carried(quant) and hasattr(module(get(quant).name), "quantize_weighted")


@cache
def _by_ggml_type() -> dict[int, Quant]:
    return {quant.ggml_type: quant for quant in map(get, (*names(), *_carried.SIZES))}


def module(name: str) -> Format:
    """The file of a quant that can be made; of a Weighted one where `takes_weights`."""
    return cast(Format, import_module(f"modelbuild.tensors.quants.{name}"))

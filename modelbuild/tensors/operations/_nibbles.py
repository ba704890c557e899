"""What the operations share that put values of four bits and their scales, which a checkpoint has in two tensors, into one block format."""

from __future__ import annotations

from math import lcm
from typing import TYPE_CHECKING, Any

from modelbuild.tensors.lazy import np
from modelbuild.tensors.recipe import Expression

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from modelbuild.tensors.evaluate import Buffer, Reader


def unit(x: Expression, scaled: int) -> int:
    """Elements that are made together, where `scaled` of them have one scale."""
    values, scales = x.operands
    return lcm(2 * values.unit, scaled * scales.unit)


def footprint(x: Expression, first: int, count: int, scaled: int) -> int:
    values, scales = x.operands
    nibbles = count
    return nibbles + values.footprint(first // 2, count // 2) + scales.footprint(first // scaled, count // scaled)


def operands(x: Expression, reader: Reader, name: str, first: int, count: int, scaled: int) -> tuple[Buffer, Buffer]:
    """The bytes of the values and of the scales of some elements; the caller gives both back."""
    values, scales = x.operands
    source = reader.evaluate(values, name + "/blocks", first // 2, count // 2)
    return source, reader.evaluate(scales, name + "/scales", first // scaled, count // scaled)


def halves(source: Buffer, size: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Runs of 4 * `size` elements, neighbours in one byte -> bytes of an element and the one that is 2 * `size` behind it.

    Returns the even bytes of each run and the odd ones, u8 [bytes / 2 / size, size] each. `size` is 4 or 8: so many bytes at a time.
    """
    low, high = np.frombuffer(source, f"<u{size}").reshape(-1, 2).T
    nibbles, four = low.dtype.type(int.from_bytes(b"\x0f" * size, "little")), low.dtype.type(4)
    even = low & nibbles | (high & nibbles) << four
    odd = low >> four & nibbles | high & ~nibbles
    return tuple(part.astype(f"<u{size}").view(np.uint8).reshape(-1, size) for part in (even, odd))

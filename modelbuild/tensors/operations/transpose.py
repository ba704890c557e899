"""The last two axes, exchanged."""

from __future__ import annotations

from math import lcm, prod
from typing import TYPE_CHECKING

from modelbuild.tensors.lazy import np
from modelbuild.tensors.recipe import Expression

if TYPE_CHECKING:
    from modelbuild.tensors.evaluate import Buffer, Reader

VERSION = 1


def transpose(x: Expression) -> Expression:
    """[..., rows, columns] -> [..., columns, rows]; back to itself. Raises ValueError where there are not two axes."""
    if len(x.shape) < 2:
        raise ValueError(f"a tensor of shape {list(x.shape)} cannot be transposed")
    if x.operation == "transpose":
        return x.operands[0]
    return Expression("transpose", (), x.dtype, (*x.shape[:-2], x.shape[-1], x.shape[-2]), (x,))


def unit(x: Expression) -> int:
    """Whole matrices."""
    return lcm(prod(x.shape[-2:]), x.operands[0].unit)


def footprint(x: Expression, first: int, count: int) -> int:
    return x.operands[0].footprint(first, count)


def evaluate(x: Expression, reader: Reader, name: str, first: int, count: int) -> Buffer:
    source = reader.evaluate(x.operands[0], name, first, count)
    out = reader.buffer(x.bytes_of(count))
    columns, rows = x.shape[-2:]
    item = np.dtype((np.void, x.bytes_of(1)))
    old = np.frombuffer(source, item).reshape(-1, rows, columns)
    np.frombuffer(out, item).reshape(-1, columns, rows)[:] = old.transpose(0, 2, 1)
    reader.give_back(source)
    return out

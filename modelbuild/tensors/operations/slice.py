"""Some indices of an axis."""

from __future__ import annotations

from math import lcm, prod
from typing import TYPE_CHECKING

from modelbuild.tensors.lazy import np
from modelbuild.tensors.recipe import Expression

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from modelbuild.tensors.evaluate import Buffer, Reader

VERSION = 1

PIECE = 1 << 21
"""Elements of the operand that are at hand at a time, where its unit allows."""


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


def unit(x: Expression) -> int:
    """What lies between two indices of the axis, or of one before it where the operand is to be had in larger pieces alone."""
    (operand,) = x.operands
    axis = int(x.parameters[0]) + 1
    while prod(operand.shape[axis:]) % operand.unit:
        axis -= 1
    return prod(x.shape[axis:])


def footprint(x: Expression, first: int, count: int) -> int:
    # Five arrays of int64 say where each piece comes from.
    begin, end = _reach(x, first), _reach(x, first + count)
    return 40 * count // _inner(x) + x.operands[0].footprint(begin, min(end - begin, _piece(x)))


def evaluate(x: Expression, reader: Reader, name: str, first: int, count: int) -> Buffer:
    (operand,) = x.operands
    axis, start, _, step = x.parameters
    inner = _inner(x)
    outer, row = np.divmod(np.arange(first // inner, (first + count) // inner), x.shape[axis])
    wanted = outer * operand.shape[axis] + start + row * step
    out = reader.buffer(x.bytes_of(count))
    made = _grid(out, x.bytes_of(inner))
    # What is left out may be far more than what is taken: it passes in pieces.
    piece = _piece(x)
    begin, end = _reach(x, first), _reach(x, first + count)
    for low in range(begin, end, piece):
        high = min(end, low + piece)
        source = reader.evaluate(operand, name, low, high - low)
        some = slice(*np.searchsorted(wanted, (low // inner, high // inner)))
        _grid(source, made.itemsize).take(wanted[some] - low // inner, axis=0, out=made[some], mode="clip")
        reader.give_back(source)
    return out


def _inner(x: Expression) -> int:
    """Elements from one index of the axis to the next."""
    return prod(x.shape[x.parameters[0] + 1 :])


def _piece(x: Expression) -> int:
    """How many elements of the operand are at hand at a time."""
    unit = lcm(_inner(x), x.operands[0].unit)
    return max(unit, PIECE // unit * unit)


def _reach(x: Expression, element: int) -> int:
    """How far the operand has been read when the elements up to `element` are made.

    The pieces so cut lie end to end, from the operand's first element to its last, so that all of it is read and hashed.
    """
    (operand,) = x.operands
    axis, start, _, step = map(int, x.parameters)
    if element == prod(x.shape):
        return prod(operand.shape)
    outer, row = divmod(element // _inner(x), x.shape[axis])
    return (outer * operand.shape[axis] + (start + row * step if row else 0)) * _inner(x)


def _grid(data: Buffer, width: int) -> NDArray[np.void]:
    """Bytes as a column of rows of `width` bytes."""
    return np.frombuffer(data, np.dtype((np.void, width)))

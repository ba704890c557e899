"""Indices of an axis, by a pattern: rows or columns in another order."""

from __future__ import annotations

from math import lcm, prod
from typing import TYPE_CHECKING

from modelbuild.tensors.lazy import np
from modelbuild.tensors.recipe import Expression
from modelbuild.tuples import NamedTuple

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from modelbuild.tensors.evaluate import Buffer, Reader

VERSION = 1


class Run(NamedTuple):
    """The indices start + i * outer_step + j * inner_step + k, for i below `outer`, j below `inner` and k below `length`; k runs first."""

    start: int
    length: int
    inner: int = 1
    inner_step: int = 0
    outer: int = 1
    outer_step: int = 0

    @property
    def size(self) -> int:
        return self.outer * self.inner * self.length

    @property
    def last(self) -> int:
        return self.start + (self.outer - 1) * self.outer_step + (self.inner - 1) * self.inner_step + self.length - 1


def take(x: Expression, axis: int, *runs: Run) -> Expression:
    """[…, n, …] -> […, indices of all runs, …], in their order. An index may be left out, or taken twice.

    The axis is not that of the rows of a block format. Raises ValueError where there is no such axis or index.
    """
    if not 0 <= axis < len(x.shape) or not runs:
        raise ValueError(f"no axis {axis} of {list(x.shape)}, or no indices of it")
    for run in runs:
        if min(run) < 0 or run.size < 1 or run.last >= x.shape[axis]:
            raise ValueError(f"no indices {tuple(run)} along axis {axis} of {list(x.shape)}")
    shape = (*x.shape[:axis], sum(run.size for run in runs), *x.shape[axis + 1 :])
    return Expression("take", (axis, *(number for run in runs for number in run)), x.dtype, shape, (x,))


def runs_of(x: Expression) -> tuple[Run, ...]:
    """The runs of a `take`, whose first parameter is the axis."""
    numbers = list(map(int, x.parameters[1:]))
    width = len(Run._fields)
    return tuple(Run(*numbers[at : at + width]) for at in range(0, len(numbers), width))


def unit(x: Expression) -> int:
    """All indices of the axis, since the first may come last; as often as makes whole units of the operand."""
    before, after = _extents(x)
    return lcm(before, x.operands[0].unit) // before * after


def footprint(x: Expression, first: int, count: int) -> int:
    before, after = _extents(x)
    indices = 8 * x.shape[int(x.parameters[0])]
    return 2 * indices + x.operands[0].footprint(first // after * before, count // after * before)


def evaluate(x: Expression, reader: Reader, name: str, first: int, count: int) -> Buffer:
    (operand,) = x.operands
    axis = int(x.parameters[0])
    before, after = _extents(x)
    source = reader.evaluate(operand, name, first // after * before, count // after * before)
    out = reader.buffer(x.bytes_of(count))
    item = np.dtype((np.void, x.bytes_of(prod(x.shape[axis + 1 :]))))
    old = np.frombuffer(source, item).reshape(-1, operand.shape[axis])
    new = np.frombuffer(out, item).reshape(-1, x.shape[axis])
    np.take(old, _indices(x), axis=1, out=new, mode="clip")
    reader.give_back(source)
    return out


def _extents(x: Expression) -> tuple[int, int]:
    """Elements of the operand, and of the result, in which the axis is passed once."""
    axis = int(x.parameters[0])
    return prod(x.operands[0].shape[axis:]), prod(x.shape[axis:])


def _indices(x: Expression) -> NDArray[np.int64]:
    def of(run: Run) -> NDArray[np.int64]:
        outer, inner, length = (np.arange(extent) for extent in (run.outer, run.inner, run.length))
        grid = outer[:, None, None] * run.outer_step + inner[:, None] * run.inner_step + length
        return run.start + grid.reshape(-1)

    return np.concatenate([of(run) for run in runs_of(x)])

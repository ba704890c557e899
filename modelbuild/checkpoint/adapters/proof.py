"""What recipes say of adapters that were applied: which tensors of the adapter's file went into them, and how much these change."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from math import prod
from typing import TYPE_CHECKING

from modelbuild.checkpoint.adapters.gguf import EMBEDDING
from modelbuild.tensors.formats.gguf import scalar
from modelbuild.tensors.lazy import np
from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.operations.dequantize import dequantize
from modelbuild.tensors.operations.transpose import transpose
from modelbuild.tensors.recipe import Expression, Recipe
from modelbuild.tensors.tensor import TensorTable
from modelbuild.tuples import NamedTuple

if TYPE_CHECKING:
    from numpy.typing import NDArray

Values = Callable[[Expression, int, int], bytes]
"""The bytes of some elements of a tensor, in turn from its first to its last: the tensor, the first element, how many."""

_FACTORS = (".lora_a", ".lora_b", "lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B")
PIECE = 1 << 20
"""Elements that are at hand at a time."""


class Change(NamedTuple):
    """A product that was added: to which tensor of the model, what that was before, the factors and their factor."""

    name: str
    matrix: Expression
    a: Expression
    b: Expression
    scale: float

    @property
    def key(self) -> str:
        return f"{self.matrix.key} {self.a.key} {self.b.key} {self.scale!r}"


def taken(table: TensorTable, recipe: Recipe) -> tuple[int, int, list[str]]:
    """How many pairs an adapter's file has, how many went into a recipe, and the names of its tensors that did not."""
    leaves = {leaf.digest for entry in recipe.tensors for leaf in entry.expression.leaves()}
    left = [name for name, tensor in table.tensors.items() if tensor.digest not in leaves]
    halves = [name for name in table.tensors if any(part in name for part in _FACTORS) and not name.endswith(".bias")]
    return len(halves) // 2, len(set(halves) - set(left)) // 2, left


def touched(table: TensorTable, recipe: Recipe) -> list[str]:
    """The tensors of a recipe that some of an adapter's file went into."""
    digests = {tensor.digest for tensor in table.tensors.values()}
    names = (entry.name for entry in recipe.tensors if _has(entry.expression, digests))
    return list(dict.fromkeys(name.removesuffix(".lora_a").removesuffix(".lora_b") for name in names))


def merged(table: TensorTable, recipe: Recipe) -> Iterator[Change]:
    """The products of an adapter that stand in a recipe that it was merged into."""
    digests = {tensor.digest for tensor in table.tensors.values()}
    for entry in recipe.tensors:
        for x in _nodes(entry.expression):
            if x.operation == "merge" and len(x.shape) > 1 and any(_has(half, digests) for half in x.operands[1:]):
                yield Change(entry.name, x.operands[0], x.operands[1], x.operands[2], x.parameters[0])


def layered(adapter: Recipe, base: Recipe) -> Iterator[Change]:
    """The products that the runtime adds by an adapter's own file."""
    alpha = scalar(adapter.metadata, "adapter.lora.alpha")
    matrices = {entry.name: entry.expression for entry in base.tensors}
    halves = {entry.name: entry.expression for entry in adapter.tensors}
    for name, a in halves.items():
        stem, _, half = name.rpartition(".")
        if half == "lora_a" and stem in matrices:
            b = halves[f"{stem}.lora_b"]
            if stem == EMBEDDING:
                a, b = transpose(b), a
            yield Change(stem, matrices[stem], a, b, float(alpha or 0) / b.shape[-1])


def squares(change: Change, values: Values) -> tuple[float, float]:
    """The sums of the squares of what is added, and of the matrix that it is added to.

    Of the product by way of its factors: |b a|² is the sum of (bᵀb) times (a aᵀ), element by element.
    """
    a, b = (_whole(half, values) for half in (change.a, change.b))
    total = float((np.swapaxes(b, -1, -2) @ b * (a @ np.swapaxes(a, -1, -2))).sum())
    return change.scale**2 * total, _sum_of_squares(change.matrix, values)


def _whole(x: Expression, values: Values) -> NDArray[np.float64]:
    wide = _wide(x)
    return np.frombuffer(values(wide, 0, prod(x.shape)), "<f4").astype("<f8").reshape(x.shape)


def _sum_of_squares(x: Expression, values: Values) -> float:
    wide = _wide(x)
    step = max(wide.unit, PIECE // wide.unit * wide.unit)
    count, total = prod(x.shape), 0.0
    for first in range(0, count, step):
        part = np.frombuffer(values(wide, first, min(step, count - first)), "<f4")
        total += float(np.square(part, dtype="<f8").sum())
    return total


def _wide(x: Expression) -> Expression:
    return cast("f32", x) if x.dtype in ("f32", "f16", "bf16", "f64") else dequantize(x)


def _nodes(x: Expression) -> Iterator[Expression]:
    yield x
    for operand in x.operands:
        yield from _nodes(operand)


def _has(x: Expression, digests: Container[str]) -> bool:
    return any(leaf.digest in digests for leaf in x.leaves())

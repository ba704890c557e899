"""What becomes of a pair of factors where a model's file holds the matrix otherwise than its checkpoint does.

W is b a: what happens to the rows of W happens to b, what happens to its columns to a, and a transposed W exchanges the two.
Source: llama.cpp convert_lora_to_gguf.py, LoraTorchTensor
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

from modelbuild.checkpoint.adapters.adapter import Pair
from modelbuild.digest import xxh3
from modelbuild.errors import Error
from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.operations.leaf import leaf
from modelbuild.tensors.operations.pad import pad
from modelbuild.tensors.operations.permute import permute
from modelbuild.tensors.operations.reshape import reshape
from modelbuild.tensors.operations.scale import scale
from modelbuild.tensors.operations.slice import slice_
from modelbuild.tensors.operations.stack import stack
from modelbuild.tensors.operations.take import runs_of, take
from modelbuild.tensors.operations.transpose import transpose
from modelbuild.tensors.recipe import Expression
from modelbuild.words import shown


class Factors:
    """Pairs by the name of a checkpoint's tensor, which is the digest of a leaf. `constants` are the bytes of new leaves."""

    def __init__(self, pairs: Mapping[str, Pair]) -> None:
        self._pairs = pairs
        self.constants: dict[str, bytes] = {}

    def of(self, x: Expression) -> Pair | None:
        """The pair of a tensor that is made of leaves; None where none of them has a pair."""
        match x.operation:
            case "leaf":
                pair = self._pairs.get(x.digest)
                return pair and _in_matrices(pair, x.shape)
            case "stack":
                return self._stacked(x)
            case "cast":
                return self.of(x.operands[0])
        found = self.of(x.operands[0])
        if found is None:
            return None
        a, b = found.a, found.b
        match x.operation:
            case "permute":
                b = permute(b, *map(int, x.parameters))
            case "transpose":
                a, b = transpose(b), transpose(a)
            case "slice":
                a, b = _sliced(a, b, x.parameters)
            case "take":
                a, b = _taken(a, b, x)
            case other:
                raise Error(f"a model's tensor is made by '{other}', through which no adapter is brought yet")
        return replace(found, a=a, b=b, magnitude=self._magnitude(x, found))

    def _magnitude(self, x: Expression, pair: Pair) -> Expression | None:
        """DoRA's lengths of rows follow the rows."""
        m = pair.magnitude
        if m is None:
            return None
        if x.operation == "permute" and not pair.columns:
            return permute(m, *map(int, x.parameters))
        if x.operation == "slice" and not pair.columns and x.parameters[0] == len(m.shape) - 1 == len(x.shape) - 2:
            return slice_(m, *map(int, x.parameters))
        if x.operation == "take" and not pair.columns and x.parameters[0] == len(m.shape) - 1 == len(x.shape) - 2:
            return take(m, int(x.parameters[0]), *runs_of(x))
        if x.operation == "take" and not pair.columns and x.parameters[0] == len(x.shape) - 1:
            return m
        raise Error(
            f"a DoRA of '{shown(pair.files[0])}' cannot be brought to the model's tensor, whose rows lie otherwise"
        )

    def _stacked(self, x: Expression) -> Pair | None:
        """Of matrices one after another; those without a pair get one of zeros."""
        found = [self.of(operand) for operand in x.operands]
        pairs = [pair for pair in found if pair is not None]
        if not pairs:
            return None
        some = max(pairs, key=lambda pair: pair.rank)
        for pair in pairs:
            if pair.shape != some.shape:
                raise Error(
                    "the factors of a block's experts are of matrices of several shapes",
                    facts=[(shown(each.files[0]), f"{list(each.shape)}") for each in (some, pair)],
                    hint="the adapter is another model's; name the base that it was trained on in FROM",
                )
        dtypes = {half.dtype for pair in pairs for half in (pair.a, pair.b)}
        dtype = dtypes.pop() if len(dtypes) == 1 else "f32"
        both = [self._same(pair, some, dtype) for pair in found]
        files = tuple(name for pair in pairs for name in pair.files)
        a, b = stack([a for a, _ in both]), stack([b for _, b in both])
        return Pair(a, b, some.scale, _lengths(found), files, some.rounded)

    def _same(self, pair: Pair | None, other: Pair, dtype: str) -> tuple[Expression, Expression]:
        """Factors in a dtype, and with the scale and rank of another pair."""
        if pair is None:
            return self._zeros(dtype, other.a.shape), self._zeros(dtype, other.b.shape)
        b = pair.b if pair.scale == other.scale or not other.scale else self.times(pair.b, pair.scale / other.scale)
        # What a lower rank lacks is zero.
        a, b = pad(pair.a, other.rank), transpose(pad(transpose(b), other.rank))
        return cast(dtype, a), cast(dtype, b)

    def _zeros(self, dtype: str, shape: tuple[int, ...]) -> Expression:
        data = bytes(prod(shape) * (4 if dtype == "f32" else 2))
        return self.constant(dtype, shape, data)

    def constant(self, dtype: str, shape: tuple[int, ...], data: bytes) -> Expression:
        digest = xxh3(data)
        self.constants[digest] = data
        return leaf(digest, dtype, shape)

    def times(self, x: Expression, factor: float) -> Expression:
        """Every value times a number, in f32."""
        one = (1,) * len(x.shape)
        matrices = prod(x.shape[:-2])
        factors = self.constant("f32", (*x.shape[:-2], *one[-2:]), struct.pack("<f", factor) * matrices)
        rows, columns = ((1, 1) + x.shape)[-2:]
        return scale(x, factors, (rows, columns))


def _lengths(pairs: Sequence[Pair | None]) -> Expression | None:
    """DoRA's lengths of the rows of matrices one after another."""
    found = [cast("f32", pair.magnitude) for pair in pairs if pair is not None and pair.magnitude is not None]
    if found and len(found) < len(pairs):
        plain = sum(pair is None or pair.magnitude is None for pair in pairs)
        raise Error(
            f"{plain:,} of {len(pairs):,} experts of a block have no magnitude, and the others are DoRA, which is not supported yet",
            facts=[("a DoRA", shown(next(pair.files[0] for pair in pairs if pair and pair.magnitude)))],
            hint="merge it with PEFT (merge_and_unload), and name the merged folder in FROM",
        )
    return stack(found) if found else None


def _in_matrices(pair: Pair, shape: tuple[int, ...]) -> Pair:
    """The factors of a matrix whose rows the model holds as several matrices: the same columns for each of them."""
    if len(pair.shape) != 2 or len(shape) != 3 or shape[2] != pair.shape[1]:
        return pair
    if pair.magnitude is not None:
        raise Error(
            f"a DoRA of '{shown(pair.files[0])}' cannot be brought to the model's tensor, whose rows lie otherwise",
        )
    return replace(pair, a=stack([pair.a] * shape[0]), b=reshape(pair.b, (*shape[:2], pair.rank)))


def _sliced(a: Expression, b: Expression, parameters: tuple[Any, ...]) -> tuple[Expression, Expression]:
    axis, start, stop, step = map(int, parameters)
    last = len(b.shape) - 1
    if axis < last - 1:
        return slice_(a, axis, start, stop, step), slice_(b, axis, start, stop, step)
    return (slice_(a, last, start, stop, step), b) if axis == last else (a, slice_(b, axis, start, stop, step))


def _taken(a: Expression, b: Expression, x: Expression) -> tuple[Expression, Expression]:
    axis, last = int(x.parameters[0]), len(b.shape) - 1
    if axis < last - 1:
        return take(a, axis, *runs_of(x)), take(b, axis, *runs_of(x))
    return (take(a, last, *runs_of(x)), b) if axis == last else (a, take(b, axis, *runs_of(x)))

"""Compute tensors in chunks: what every operation of a recipe does to the bytes of its operands.

A leaf's bytes are hashed as they are read, whatever the number of threads: the chunks of a tensor are read in turn, from the
first byte to the last, also those that the tensor leaves out.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from modelbuild import page_cache
from modelbuild.digest import Xxh3
from modelbuild.errors import Error, Stopped
from modelbuild.tensors import quants
from modelbuild.tensors.recipe import Entry, Expression

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Buffer = bytearray | memoryview

_SMALL = 64
"""Scales of so many tensors are kept while others may still ask for them; those dropped too early are read again."""

_PIECE = 1 << 21
"""Elements of a slice's operand that are at hand at a time, where its unit allows."""


class Region(NamedTuple):
    """Bytes that exist: `length` at `offset` of a file. `label` is what errors call them.

    passing  they are not to stay in the kernel's page cache for having been read
    """

    path: str
    offset: int
    length: int
    label: str
    passing: bool = False


class Mismatch(Exception):
    """The bytes of a region are not those of the digest they were looked up by."""

    def __init__(self, region: Region, digest: str) -> None:
        super().__init__(region.path)
        self.region = region
        self.digest = digest


class Gone(Exception):
    """A file that the tensor index led to is no longer there."""


class Chunk(NamedTuple):
    """Elements `first` to `first + elements` of a tensor, to be written at `at`; copied from `copy_from` where that is known."""

    entry: Entry
    first: int
    elements: int
    at: int
    copy_from: Region | None
    xxh3: str


class Reader:
    """Computes chunks. Holds the open files, the turns in which a region's chunks are read, and spare buffers.

    Spare buffers are let go where `memory` bytes would not hold them as well as what is asked for.
    """

    def __init__(
        self, stop: threading.Event, constants: Mapping[str, bytes], open_leaf: Callable[[str], Region], memory: int
    ) -> None:
        self._stop = stop
        self._constants = constants
        self._open_leaf = open_leaf
        self._turn = threading.Condition()
        self._aborted = False
        self.cause: BaseException | None = None
        self._files: dict[str, int] = {}
        self._tapes: dict[tuple[str, str], _Tape] = {}
        self._memory = memory
        self._held = 0
        self._spare: list[bytearray] = []
        self._small_turn = threading.Lock()
        self._small: dict[str, Buffer] = {}

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._files.values():
            os.close(descriptor)

    def abort(self, cause: BaseException) -> None:
        """Have all threads give up, with Stopped; `cause` tells why, where it is the first."""
        with self._turn:
            self.cause = self.cause or cause
            self._aborted = True
            self._turn.notify_all()

    def give_back(self, data: Buffer) -> None:
        if isinstance(data, bytearray):
            with self._turn:
                if len(self._spare) < 64 and self._held <= self._memory:
                    self._spare.append(data)
                else:
                    self._held -= len(data)

    def _buffer(self, size: int) -> bytearray:
        # Pages of a buffer used before are mapped already; a fresh one costs a page fault per 4 KiB.
        with self._turn:
            for index, spare in enumerate(self._spare):
                if len(spare) == size:
                    return self._spare.pop(index)
            many = len(self._spare) >= 16
            while self._spare and (many or self._held + size > self._memory):
                self._held -= len(self._spare.pop(0))
                many = False
            self._held += size
        return bytearray(size)

    def chunk(self, task: Chunk) -> Buffer:
        entry, expression = task.entry, task.entry.expression
        if task.copy_from is not None:
            quant = quants.get(expression.dtype)
            start = task.first // quant.block * quant.bytes
            size = task.elements // quant.block * quant.bytes
            try:
                return self._read(task.copy_from, task.xxh3, entry.name, start, size)
            except FileNotFoundError as error:
                raise Gone(task.copy_from.path) from error
        try:
            data = self.evaluate(expression, entry.name, task.first, task.elements)
            if expression.operation != "quantize" and expression.dtype in ("f32", "f16", "bf16", "f64"):
                bad = quants.first_nonfinite(expression.dtype, data)
                if bad >= 0:
                    raise quants.NotFinite(bad)
        except quants.NotFinite as error:
            raise self._unstorable(task, error.index, "holds a value that is not finite (NaN or infinity)") from error
        except quants.Overflow as error:
            raise self._unstorable(task, error.index, f"holds a value too large for {expression.dtype}") from error
        return data

    def _unstorable(self, task: Chunk, index: int, what: str) -> Error:
        expression = task.entry.expression
        place = []
        rest = task.first + index
        for extent in reversed(expression.shape):
            place.append(rest % extent)
            rest //= extent
        facts = [("at", "[" + ", ".join(map(str, reversed(place))) + "]")]
        leaf = next(expression.leaves(), None)
        path = None
        if leaf is not None and leaf.digest not in self._constants:
            region = self._open_leaf(leaf.digest)
            path = region.path
            facts.append(("source", region.label))
        return Error(
            f"tensor '{task.entry.name}' {what}",
            path=path,
            facts=facts,
            hint="the weights are damaged or were not trained to an end; get them again from where they come from",
        )

    def evaluate(self, expression: Expression, name: str, first: int, count: int) -> Buffer:
        """Elements `first` to `first + count` of an expression; both are multiples of its unit.

        name  one for each place an expression stands in: its chunks are asked for in turn, whichever thread asks
        """
        operation = expression.operation
        if operation == "leaf":
            return self._leaf(expression, name, first, count)
        if operation == "stack":
            return self._stack(expression, name, first, count)
        if operation == "slice":
            return self._slice(expression, name, first, count)
        if operation == "mxfp4":
            return self._mxfp4(expression, name, first, count)
        operand = expression.operands[0]
        source = self.evaluate(operand, name, first, count)
        out = self._buffer(_bytes(expression, count))
        if operation == "permute":
            _permute(source, out, expression, count)
        elif operation == "transpose":
            _transpose(source, out, expression, count)
        elif operation == "add_one":
            _add_one(source, out, expression.dtype)
        elif operation == "scale":
            _scale(source, out, expression, self._whole(expression.operands[1], name + "/scale"), first)
        elif operation == "dequantize":
            quants.dequantize(operand.dtype, source, out)
        elif len(expression.operands) == 2:
            weights = self._constants[expression.operands[1].digest]
            _quantize_weighted(source, out, expression, weights, first, count)
        elif operation == "cast" and operand.dtype not in quants.SOURCES:
            quants.widen(operand.dtype, source, out)
        else:
            quants.quantize(expression.dtype, operand.dtype, source, out)
        self.give_back(source)
        return out

    def _leaf(self, expression: Expression, name: str, first: int, count: int) -> Buffer:
        size, start = _bytes(expression, count), _bytes(expression, first)
        constant = self._constants.get(expression.digest)
        if constant is not None:
            return memoryview(constant)[start:][:size]
        return self._read(self._open_leaf(expression.digest), expression.digest, name, start, size)

    def _stack(self, expression: Expression, name: str, first: int, count: int) -> Buffer:
        each = math.prod(expression.shape[1:])
        parts = []
        for index in range(first // each, -(-(first + count) // each)):
            low, high = max(first, index * each), min(first + count, (index + 1) * each)
            operand = expression.operands[index]
            parts.append(self.evaluate(operand, f"{name}/{index}", low - index * each, high - low))
        if len(parts) == 1:
            return parts[0]
        out = self._buffer(_bytes(expression, count))
        at = 0
        with memoryview(out) as view:
            for part in parts:
                view[at : at + len(part)] = part
                at += len(part)
                self.give_back(part)
        return out

    def _slice(self, expression: Expression, name: str, first: int, count: int) -> Buffer:
        import numpy as np

        operand = expression.operands[0]
        axis, start, _, step = expression.parameters
        inner = math.prod(expression.shape[axis + 1 :])
        outer, row = np.divmod(np.arange(first // inner, (first + count) // inner), expression.shape[axis])
        wanted = outer * operand.shape[axis] + start + row * step
        out = self._buffer(_bytes(expression, count))
        made = _grid(out, _bytes(expression, inner))
        # What is left out may be far more than what is taken: it passes in pieces.
        piece = _piece(expression)
        begin, end = _reach(expression, first), _reach(expression, first + count)
        for low in range(begin, end, piece):
            high = min(end, low + piece)
            source = self.evaluate(operand, name, low, high - low)
            some = slice(*np.searchsorted(wanted, (low // inner, high // inner)))
            _grid(source, made.itemsize).take(wanted[some] - low // inner, axis=0, out=made[some], mode="clip")
            self.give_back(source)
        return out

    def _mxfp4(self, expression: Expression, name: str, first: int, count: int) -> Buffer:
        import numpy as np

        blocks, scales = expression.operands
        source = self.evaluate(blocks, name + "/blocks", first // 2, count // 2)
        exponents = self.evaluate(scales, name + "/scales", first // 32, count // 32)
        out = self._buffer(_bytes(expression, count))
        packed = np.frombuffer(out, np.uint8).reshape(-1, 17)
        packed[:, 0] = np.frombuffer(exponents, np.uint8)
        # Eight bytes at a time: elements 0 to 15 lie in the first eight, 16 to 31 in the last eight.
        low, high = np.frombuffer(source, "<u8").reshape(-1, 2).T
        nibbles = np.uint64(0x0F0F0F0F0F0F0F0F)
        even = low & nibbles | (high & nibbles) << np.uint64(4)
        odd = low >> np.uint64(4) & nibbles | high & ~nibbles
        packed[:, 1::2] = even.astype("<u8").view(np.uint8).reshape(-1, 8)
        packed[:, 2::2] = odd.astype("<u8").view(np.uint8).reshape(-1, 8)
        self.give_back(source)
        self.give_back(exponents)
        return out

    def _whole(self, expression: Expression, name: str) -> Buffer:
        """A small operand that every chunk needs, read once."""
        with self._small_turn:
            found = self._small.get(name)
            if found is None:
                if len(self._small) >= _SMALL:
                    del self._small[next(iter(self._small))]
                found = self._small[name] = self.evaluate(expression, name, 0, math.prod(expression.shape))
            return found

    def _read(self, region: Region, digest: str, name: str, start: int, size: int) -> bytearray:
        with self._turn:
            tape = self._tapes.get((name, digest))
            if tape is None:
                tape = self._tapes[name, digest] = _Tape(self._open(region.path))
        data = self._buffer(size)
        with self._turn:
            while tape.at != start and not self._aborted:
                self._turn.wait()
            if self._aborted or self._stop.is_set():
                raise Stopped
        # It is this chunk's turn: nobody else moves the tape until `at` does.
        got = 0
        with memoryview(data) as view:
            while got < size:
                count = os.preadv(tape.file, [view[got:]], region.offset + start + got)
                if not count:
                    raise Mismatch(region, digest)
                got += count
        tape.hasher.update(data)
        with self._turn:
            tape.at += size
            finished = tape.at == region.length
            if finished:
                del self._tapes[name, digest]
            self._turn.notify_all()
        if finished and tape.hasher.digest() != digest:
            raise Mismatch(region, digest)
        if finished and region.passing:
            page_cache.forget(tape.file, region.offset, region.length)
        return data

    def _open(self, path: str) -> int:
        descriptor = self._files.get(path)
        if descriptor is None:
            descriptor = self._files[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return descriptor


class _Tape:
    """How far a region has been read for one tensor, and the hash so far."""

    def __init__(self, file: int) -> None:
        self.file = file
        self.at = 0
        self.hasher = Xxh3()


def unit_of(expression: Expression) -> int:
    """The number of consecutive elements that an expression is computed in whole multiples of."""
    unit = quants.get(expression.dtype).block
    shape, operation, operands = expression.shape, expression.operation, expression.operands
    if operation == "slice":
        # What lies between two indices of the axis, or of one before it where the operand is to be had in larger pieces alone.
        axis, wanted = expression.parameters[0] + 1, unit_of(operands[0])
        while math.prod(operands[0].shape[axis:]) % wanted:
            axis -= 1
        return math.prod(shape[axis:])
    if operation == "mxfp4":
        return math.lcm(unit, 2 * unit_of(operands[0]), 32 * unit_of(operands[1]))
    if operation == "scale":
        return math.lcm(shape[-1] if shape else 1, unit_of(operands[0]))
    if operation == "permute":
        unit = math.lcm(unit, math.prod(shape) // int(expression.parameters[0]))
    if operation == "transpose":
        unit = math.lcm(unit, math.prod(shape[-2:]))
    if operation == "quantize" and len(operands) == 2:
        # Importance is given by column: whole rows.
        return math.lcm(unit, shape[-1], unit_of(operands[0]))
    return math.lcm(unit, *(unit_of(operand) for operand in operands))


def footprint(expression: Expression, first: int, count: int) -> int:
    """Bytes that `evaluate` takes for these elements, of all its operands too: a buffer that is done with is kept for the next."""
    operation, operands = expression.operation, expression.operands
    here = _bytes(expression, count)
    if operation == "leaf":
        return here
    if operation == "stack":
        each = math.prod(expression.shape[1:])
        for index in range(first // each, -(-(first + count) // each)):
            low, high = max(first, index * each), min(first + count, (index + 1) * each)
            here += footprint(operands[index], low - index * each, high - low)
        return here
    if operation == "slice":
        # Five arrays of int64 say where each piece comes from.
        inner = math.prod(expression.shape[expression.parameters[0] + 1 :])
        begin, end = _reach(expression, first), _reach(expression, first + count)
        return here + 40 * count // inner + footprint(operands[0], begin, min(end - begin, _piece(expression)))
    if operation == "mxfp4":
        nibbles = count
        blocks = footprint(operands[0], first // 2, count // 2)
        return here + nibbles + blocks + footprint(operands[1], first // 32, count // 32)
    if operation == "scale":
        factors = here
        return here + factors + footprint(operands[0], first, count)
    return here + footprint(operands[0], first, count)


def _bytes(expression: Expression, elements: int) -> int:
    quant = quants.get(expression.dtype)
    return elements // quant.block * quant.bytes


def _piece(expression: Expression) -> int:
    """How many elements of its operand a slice has at hand at a time."""
    unit = math.lcm(math.prod(expression.shape[expression.parameters[0] + 1 :]), unit_of(expression.operands[0]))
    return max(unit, _PIECE // unit * unit)


def _reach(expression: Expression, element: int) -> int:
    """How far the operand of a slice has been read when its elements up to `element` are made.

    The pieces so cut lie end to end, from the operand's first element to its last, so that all of it is read and hashed.
    """
    operand = expression.operands[0]
    axis, start, _, step = map(int, expression.parameters)
    inner = math.prod(expression.shape[axis + 1 :])
    if element == math.prod(expression.shape):
        return math.prod(operand.shape)
    outer, row = divmod(element // inner, expression.shape[axis])
    return (outer * operand.shape[axis] + (start + row * step if row else 0)) * inner


def _grid(data: Buffer, width: int) -> NDArray[np.void]:
    """Bytes as a column of rows of `width` bytes."""
    import numpy as np

    return np.frombuffer(data, np.dtype((np.void, width)))


def _add_one(source: Buffer, out: bytearray, dtype: str) -> None:
    import numpy as np

    form = np.dtype("<f2" if dtype == "f16" else "<f4")
    # One rounding, to the nearest: numpy adds halves as floats and rounds the sum, as torch does.
    np.add(np.frombuffer(source, form), form.type(1), out=np.frombuffer(out, form))


def _transpose(source: Buffer, out: bytearray, expression: Expression, count: int) -> None:
    import numpy as np

    columns, rows = expression.shape[-2:]
    form = np.dtype((np.void, quants.get(expression.dtype).bytes))
    old = np.frombuffer(source, form).reshape(-1, rows, columns)
    np.frombuffer(out, form).reshape(-1, columns, rows)[:] = old.transpose(0, 2, 1)


def _scale(source: Buffer, out: bytearray, expression: Expression, scales: Buffer, first: int) -> None:
    import numpy as np

    columns = expression.shape[-1] if expression.shape else 1
    high, wide = expression.parameters
    grid = expression.operands[1].shape
    values = np.frombuffer(source, "<f4").reshape(-1, columns)
    row = np.arange(first // columns, first // columns + len(values))
    if len(expression.shape) > 2:
        # Each matrix has scales of its own.
        matrix, row = np.divmod(row, expression.shape[-2])
        row = matrix * grid[-2] + row // high
    else:
        row = row // high
    factors = np.frombuffer(scales, "<f4").reshape(-1, grid[-1] if grid else 1)
    np.multiply(
        values, np.repeat(factors[row], wide, axis=1)[:, :columns], out=np.frombuffer(out, "<f4").reshape(-1, columns)
    )


def _quantize_weighted(
    source: Buffer, out: bytearray, expression: Expression, weights: bytes, first: int, count: int
) -> None:
    """Quantize whole rows, each matrix of the tensor with its own row of weights."""
    dtype = expression.operands[0].dtype
    wide, narrow = quants.get(dtype), quants.get(expression.dtype)
    columns = expression.shape[-1]
    matrix = math.prod(expression.shape[-2:])
    done = 0
    with memoryview(source) as old, memoryview(out) as new:
        while done < count:
            index = (first + done) // matrix
            part = min(count - done, (index + 1) * matrix - first - done)
            importance = weights[4 * columns * index : 4 * columns * (index + 1)]
            here = old[done // wide.block * wide.bytes :][: part // wide.block * wide.bytes]
            there = new[done // narrow.block * narrow.bytes :][: part // narrow.block * narrow.bytes]
            try:
                quants.quantize(expression.dtype, dtype, here, there, weights=importance, columns=columns)
            except quants.NotFinite as error:
                raise quants.NotFinite(done + error.index) from error
            except quants.Overflow as error:
                raise quants.Overflow(done + error.index) from error
            done += part


def _permute(source: Buffer, out: bytearray, expression: Expression, count: int) -> None:
    quant = quants.get(expression.dtype)
    heads = int(expression.parameters[0])
    half = expression.shape[0] // heads // 2
    row = math.prod(expression.shape[1:]) // quant.block * quant.bytes
    with memoryview(source) as old, memoryview(out) as new:
        for head in range(0, count // quant.block * quant.bytes, 2 * half * row):
            for j in range(half):
                low, high, at = head + j * row, head + (half + j) * row, head + 2 * j * row
                new[at : at + row] = old[low : low + row]
                new[at + row : at + 2 * row] = old[high : high + row]

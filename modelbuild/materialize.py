"""Make the bytes of a recipe: tensor by tensor, in parallel, in bounded memory, hashed while they are written.

Tensors are cut into chunks of whole rows. Threads read, compute and write chunks; the calling thread follows in file order with
sha256. A leaf's bytes are hashed as they are read, whatever the number of threads: the chunks of a tensor are read in turn.
"""

from __future__ import annotations

import hashlib
import math
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import NamedTuple

from modelbuild import quants
from modelbuild.digest import Xxh3
from modelbuild.errors import Error, Stopped
from modelbuild.formats import gguf
from modelbuild.recipe import Entry, Expression, Recipe

CHUNK = 2 << 20
"""Elements of a chunk, where memory allows; 4 MiB of bf16."""


class Region(NamedTuple):
    """Bytes that exist: `length` at `offset` of a file. `label` is what errors call them."""

    path: str
    offset: int
    length: int
    label: str


class Mismatch(Exception):
    """The bytes of a region are not those of the digest they were looked up by."""

    def __init__(self, region: Region, digest: str) -> None:
        super().__init__(region.path)
        self.region = region
        self.digest = digest


class Gone(Exception):
    """A file that the tensor index led to is no longer there."""


class Span(NamedTuple):
    """Where a tensor lies in the file that was made, and the xxh3 of its bytes."""

    key: str
    offset: int
    length: int
    xxh3: str


@dataclass(frozen=True)
class Materialized:
    """A finished GGUF file: its sha256, its size, its tensors, and how many of them were computed and copied."""

    digest: str
    size: int
    spans: tuple[Span, ...]
    computed: int
    reused: int


@dataclass(frozen=True)
class Resources:
    """What a materialization may use: threads, how many, and bytes of memory for chunks under way."""

    pool: Executor
    jobs: int
    memory: int
    stop: threading.Event
    progress: Callable[[int, int], None] = field(default=lambda done, total: None)
    """Called in file order with bytes done and bytes in all."""


def layout(recipe: Recipe) -> tuple[bytes, list[int], int]:
    """The header of the file, the offset of each tensor from the start of the file, and the file's size."""
    header = gguf.header(recipe.metadata, [(e.name, e.expression.dtype, e.shape) for e in recipe.tensors])
    offsets = []
    at = len(header)
    for entry in recipe.tensors:
        offsets.append(at)
        at += -(-entry.expression.size // gguf.ALIGNMENT) * gguf.ALIGNMENT
    return header, offsets, at


def materialize(
    recipe: Recipe,
    file: int,
    *,
    find: Callable[[Iterable[str]], Mapping[str, tuple[Region, str]]],
    open_leaf: Callable[[str], Region],
    resources: Resources,
) -> Materialized:
    """Write the GGUF file that a recipe describes to the open file descriptor `file`.

    find       tensor keys -> where those bytes lie already, and their xxh3
    open_leaf  digest of a leaf -> where its bytes lie; raises Error where no source has them
    Raises Mismatch where bytes are not what their digest says, Error for values that cannot be stored.
    """
    header, offsets, size = layout(recipe)
    os.ftruncate(file, size)
    found = find([entry.expression.key for entry in recipe.tensors])
    sha = hashlib.sha256(header)
    os.pwrite(file, header, 0)
    with Reader(resources.stop, recipe.constants, open_leaf) as reader:
        spans = _run(recipe, offsets, found, reader, file, sha.update, resources)
    reused = sum(entry.expression.key in found for entry in recipe.tensors)
    return Materialized("sha256:" + sha.hexdigest(), size, tuple(spans), len(recipe.tensors) - reused, reused)


class _Task(NamedTuple):
    """One chunk: elements `first` to `first + count` of a tensor, written at `at`."""

    entry: Entry
    first: int
    elements: int
    at: int
    copy_from: Region | None
    xxh3: str


def _tasks(recipe: Recipe, offsets: list[int], found: Mapping[str, tuple[Region, str]], limit: int) -> Iterator[_Task]:
    for entry, offset in zip(recipe.tensors, offsets, strict=True):
        expression = entry.expression
        region, xxh3 = found.get(expression.key, (None, ""))
        quant = quants.get(expression.dtype)
        unit = quant.block if region else unit_of(expression)
        step = max(unit, limit // unit * unit)
        total = math.prod(expression.shape)
        for first in range(0, total, step):
            at = offset + first // quant.block * quant.bytes
            yield _Task(entry, first, min(step, total - first), at, region, xxh3)


def _run(
    recipe: Recipe,
    offsets: list[int],
    found: Mapping[str, tuple[Region, str]],
    reader: Reader,
    file: int,
    sha_update: Callable[[bytes | bytearray | memoryview], None],
    resources: Resources,
) -> list[Span]:
    # A chunk under way holds its source, one f32 stage and its result: at most 12 bytes an element.
    window = 2 * resources.jobs + 2
    limit = max(256, min(CHUNK, resources.memory // (12 * window)))
    pending: deque[tuple[_Task, Future[bytearray | memoryview]]] = deque()
    spans: list[Span] = []
    hasher = Xxh3()
    end = offsets[0] if offsets else 0
    done, total = 0, sum(entry.expression.size for entry in recipe.tensors)

    def make(task: _Task) -> bytearray | memoryview:
        try:
            data = reader.chunk(task)
        except BaseException:
            reader.abort()
            raise
        written = 0
        with memoryview(data) as view:
            while written < len(view):
                written += os.pwrite(file, view[written:], task.at + written)
        return data

    def drain() -> None:
        nonlocal hasher, end, done
        task, future = pending.popleft()
        data = future.result()
        if task.first == 0:
            sha_update(bytes(task.at - end))
            hasher = Xxh3()
        sha_update(data)
        hasher.update(data)
        end = task.at + len(data)
        done += len(data)
        expression = task.entry.expression
        if task.first + task.elements == math.prod(expression.shape):
            spans.append(Span(expression.key, end - expression.size, expression.size, hasher.digest()))
        reader.give_back(data)
        resources.progress(done, total)

    try:
        for task in _tasks(recipe, offsets, found, limit):
            while len(pending) >= window:
                drain()
            pending.append((task, resources.pool.submit(make, task)))
        while pending:
            drain()
    except BaseException:
        reader.abort()
        for _, future in pending:
            if not future.cancel():
                future.exception()
        raise
    if recipe.tensors:
        sha_update(bytes(-end % gguf.ALIGNMENT))
    return spans


class Reader:
    """Computes chunks. Holds the open files, the turns in which a region's chunks are read, and spare buffers."""

    def __init__(
        self, stop: threading.Event, constants: Mapping[str, bytes], open_leaf: Callable[[str], Region]
    ) -> None:
        self._stop = stop
        self._constants = constants
        self._open_leaf = open_leaf
        self._turn = threading.Condition()
        self._aborted = False
        self._files: dict[str, int] = {}
        self._tapes: dict[tuple[str, str], _Tape] = {}
        self._spare: list[bytearray] = []

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._files.values():
            os.close(descriptor)

    def abort(self) -> None:
        with self._turn:
            self._aborted = True
            self._turn.notify_all()

    def give_back(self, data: bytearray | memoryview) -> None:
        if isinstance(data, bytearray) and len(self._spare) < 64:
            self._spare.append(data)

    def _buffer(self, size: int) -> bytearray:
        # Pages of a buffer used before are mapped already; a fresh one costs a page fault per 4 KiB.
        with self._turn:
            for index, spare in enumerate(self._spare):
                if len(spare) == size:
                    return self._spare.pop(index)
            if len(self._spare) >= 16:
                self._spare.pop(0)
        return bytearray(size)

    def chunk(self, task: _Task) -> bytearray | memoryview:
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

    def _unstorable(self, task: _Task, index: int, what: str) -> Error:
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

    def evaluate(self, expression: Expression, name: str, first: int, count: int) -> bytearray | memoryview:
        """Elements `first` to `first + count` of an expression; both are multiples of its unit."""
        quant = quants.get(expression.dtype)
        size = count // quant.block * quant.bytes
        if expression.operation == "leaf":
            constant = self._constants.get(expression.digest)
            if constant is not None:
                return memoryview(constant)[first // quant.block * quant.bytes :][:size]
            region = self._open_leaf(expression.digest)
            return self._read(region, expression.digest, name, first // quant.block * quant.bytes, size)
        operand = expression.operands[0]
        source = self.evaluate(operand, name, first, count)
        out = self._buffer(size)
        if expression.operation == "permute":
            _permute(source, out, expression, count)
        elif expression.operation == "dequantize":
            quants.dequantize(operand.dtype, source, out)
        elif len(expression.operands) == 2:
            weights = self._constants[expression.operands[1].digest]
            _quantize_weighted(source, out, expression, weights, first, count)
        else:
            quants.quantize(expression.dtype, operand.dtype, source, out)
        self.give_back(source)
        return out

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
    if expression.operation == "permute":
        unit = math.lcm(unit, math.prod(expression.shape) // int(expression.parameters[0]))
    if len(expression.operands) == 2:
        # Importance is given by column: whole rows.
        return math.lcm(unit, expression.shape[-1], unit_of(expression.operands[0]))
    return math.lcm(unit, *(unit_of(operand) for operand in expression.operands))


def _quantize_weighted(
    source: bytearray | memoryview, out: bytearray, expression: Expression, weights: bytes, first: int, count: int
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


def _permute(source: bytearray | memoryview, out: bytearray, expression: Expression, count: int) -> None:
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

"""Make the bytes of a recipe: tensor by tensor, in parallel, in bounded memory, hashed while they are written.

Tensors are cut into chunks of whole rows. Threads read, compute and write chunks; the calling thread follows in file order with
sha256.
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

from modelbuild import page_cache
from modelbuild.digest import Xxh3
from modelbuild.errors import Stopped
from modelbuild.tensors import quants
from modelbuild.tensors.evaluate import Buffer, Chunk, Reader, Region
from modelbuild.tensors.formats import gguf, safetensors
from modelbuild.tensors.recipe import Recipe

CHUNK = 2 << 20
"""Elements of a chunk, where memory allows; 4 MiB of bf16."""


class Span(NamedTuple):
    """Where a tensor lies in the file that was made, and the xxh3 of its bytes."""

    key: str
    offset: int
    length: int
    xxh3: str


@dataclass(frozen=True)
class Materialized:
    """A finished file: its sha256, its size, its tensors, and how many of them were computed and copied."""

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

    @property
    def window(self) -> int:
        """Chunks that may be under way."""
        return 2 * self.jobs + 2


class Layout(NamedTuple):
    """The header of a file, the offset of each tensor from the start of the file, and the file's size."""

    header: bytes
    offsets: list[int]
    size: int


def packed(recipe: Recipe) -> Layout:
    """The layout of a safetensors file: no padding between tensors."""
    header = safetensors.header([(e.name, e.expression.dtype, e.shape) for e in recipe.tensors])
    offsets = []
    at = len(header)
    for entry in recipe.tensors:
        offsets.append(at)
        at += entry.expression.size
    return Layout(header, offsets, at)


def layout(recipe: Recipe) -> Layout:
    """The layout of a GGUF file."""
    header = gguf.header(recipe.metadata, [(e.name, e.expression.dtype, e.shape) for e in recipe.tensors])
    offsets = []
    at = len(header)
    for entry in recipe.tensors:
        offsets.append(at)
        at += gguf.padded(entry.expression.size)
    return Layout(header, offsets, at)


def materialize(
    recipe: Recipe,
    file: int,
    *,
    find: Callable[[Iterable[str]], Mapping[str, tuple[Region, str]]],
    open_leaf: Callable[[str], Region],
    resources: Resources,
    laid: Layout | None = None,
) -> Materialized:
    """Write the file that a recipe describes to the open file descriptor `file`.

    find       tensor keys -> where those bytes lie already, and their xxh3
    open_leaf  digest of a leaf -> where its bytes lie; raises Error where no source has them
    laid       the layout of the file, where it is not a GGUF
    Raises Mismatch where bytes are not what their digest says, Error for values that cannot be stored.
    """
    header, offsets, size = laid or layout(recipe)
    os.ftruncate(file, size)
    found = find([entry.expression.key for entry in recipe.tensors])
    os.pwrite(file, header, 0)
    # Most chunks hold a source, one f32 stage and a result: at most 12 bytes an element. Operations that take more, or
    # whole matrices at a time, have fewer chunks under way.
    limit = max(256, min(CHUNK, resources.memory // (12 * resources.window)))
    follower = _Follower(file, header, recipe, resources.progress)
    with Reader(resources.stop, recipe.constants, open_leaf, resources.memory) as reader:
        _run(_tasks(recipe, offsets, found, limit), reader, file, follower, resources)
    reused = sum(entry.expression.key in found for entry in recipe.tensors)
    return Materialized(follower.finish(size), size, tuple(follower.spans), len(recipe.tensors) - reused, reused)


def _tasks(recipe: Recipe, offsets: list[int], found: Mapping[str, tuple[Region, str]], limit: int) -> Iterator[Chunk]:
    for entry, offset in zip(recipe.tensors, offsets, strict=True):
        expression = entry.expression
        region, xxh3 = found.get(expression.key, (None, ""))
        unit = quants.get(expression.dtype).block if region else expression.unit
        step = max(unit, limit // unit * unit)
        total = math.prod(expression.shape)
        for first in range(0, total, step):
            yield Chunk(entry, first, min(step, total - first), offset + expression.bytes_of(first), region, xxh3)


def _footprint(task: Chunk) -> int:
    expression = task.entry.expression
    if task.copy_from is not None:
        return expression.bytes_of(task.elements)
    return expression.footprint(task.first, task.elements)


class _Follower:
    """Follows what is written, in file order: takes the digests of the file and of each tensor."""

    def __init__(self, file: int, header: bytes, recipe: Recipe, progress: Callable[[int, int], None]) -> None:
        self.spans: list[Span] = []
        self._sha = hashlib.sha256(header)
        self._xxh3 = Xxh3()
        self._end = len(header)
        self._growing = page_cache.Growing(file)
        self._progress = progress
        self._done, self._total = 0, sum(entry.expression.size for entry in recipe.tensors)

    def follow(self, task: Chunk, data: Buffer) -> None:
        if task.first == 0:
            self._sha.update(bytes(task.at - self._end))
            self._xxh3 = Xxh3()
        self._sha.update(data)
        self._xxh3.update(data)
        self._end = task.at + len(data)
        expression = task.entry.expression
        if task.first + task.elements == math.prod(expression.shape):
            size = expression.size
            self.spans.append(Span(expression.key, self._end - size, size, self._xxh3.digest()))
        self._growing.reach(self._end)
        self._done += len(data)
        self._progress(self._done, self._total)

    def finish(self, size: int) -> str:
        """The sha256 of the whole file, up to the padding of its last tensor."""
        self._sha.update(bytes(size - self._end))
        return "sha256:" + self._sha.hexdigest()


def _run(tasks: Iterable[Chunk], reader: Reader, file: int, follower: _Follower, resources: Resources) -> None:
    """Have threads make chunks and write them, as many at a time as memory allows, and follow in file order."""
    pending: deque[tuple[Chunk, int, Future[Buffer]]] = deque()
    held = 0

    def drain() -> None:
        nonlocal held
        task, size, future = pending.popleft()
        data = future.result()
        follower.follow(task, data)
        reader.give_back(data)
        held -= size

    try:
        for task in tasks:
            size = _footprint(task)
            while pending and (len(pending) >= resources.window or held + size > resources.memory):
                drain()
            held += size
            pending.append((task, size, resources.pool.submit(_make, task, reader, file)))
        while pending:
            drain()
    except BaseException as error:
        reader.abort(error)
        for _, _, future in pending:
            if not future.cancel():
                future.exception()
        # In file order a chunk that was told to give up may come before the one that failed.
        if isinstance(error, Stopped) and reader.cause is not None:
            raise reader.cause from None
        raise


def _make(task: Chunk, reader: Reader, file: int) -> Buffer:
    """Compute a chunk and write it."""
    try:
        data = reader.chunk(task)
    except BaseException as error:
        reader.abort(error)
        raise
    written = 0
    with memoryview(data) as view:
        while written < len(view):
            written += os.pwrite(file, view[written:], task.at + written)
    return data

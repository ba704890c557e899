"""Make the bytes of a recipe: tensor by tensor, in parallel, in bounded memory, hashed while they are written.

Tensors are cut into chunks of whole rows. Threads compute chunks, and others read those that lie in a file already; the calling
thread follows in file order with sha256, and two more threads write.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from modelbuild import direct, trace
from modelbuild.digest import Xxh3
from modelbuild.errors import Stopped
from modelbuild.tensors import quants, shared
from modelbuild.tensors.evaluate import Buffer, Chunk, Reader, Region
from modelbuild.tensors.formats import gguf, safetensors
from modelbuild.tensors.recipe import Recipe
from modelbuild.tuples import NamedTuple

CHUNK = 2 << 20
"""Elements of a chunk that is computed, where memory allows; 4 MiB of bf16."""
COPIED = 4 << 20
"""Bytes of a chunk that is copied, where memory allows."""
COPYING = 4
"""Threads that read what is copied: they mostly wait for the disk."""
_AHEAD = 2 * COPYING
"""Copied chunks that may be under way."""
_SHARE = 8
"""As many times a buffer of the written file, or a chunk that is copied, fits into the memory."""


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
    finished: Callable[[Span], None] = field(default=lambda span: None)
    """Called in file order for each tensor that was computed, once its bytes are in the file; also if the rest cannot be made."""

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
    direct.reserve(file, size)
    keys = [entry.expression.key for entry in recipe.tensors]
    found = find(keys)
    # Most chunks hold a source, one f32 stage and a result: at most 12 bytes an element. Operations that take more, or
    # whole matrices at a time, have fewer chunks under way.
    limits = _Limits(
        max(256, min(CHUNK, resources.memory // (12 * resources.window))), min(COPIED, resources.memory // _SHARE)
    )
    buffer = _buffer(size, resources.memory)
    left = resources.memory - direct.BUFFERS * buffer
    kept = shared.take(file, [(found[key][0], at) for key, at in zip(keys, offsets, strict=True) if key in found])
    with (
        direct.Growing(file, buffer, kept.parts) as growing,
        Reader(resources.stop, recipe.constants, open_leaf, resources.memory) as reader,
    ):
        follower = _Follower(growing, header, recipe, resources)
        try:
            _run(_tasks(recipe, offsets, found, limits), reader, follower, resources, left)
        except BaseException:
            follower.give_up()
            raise
        digest = follower.finish(size)
    kept.check()
    reused = sum(entry.expression.key in found for entry in recipe.tensors)
    return Materialized(digest, size, tuple(follower.spans), len(recipe.tensors) - reused, reused)


class _Limits(NamedTuple):
    """Elements of a chunk that is computed, and bytes of one that is copied; never less than a unit of its tensor."""

    elements: int
    copied: int


def _buffer(size: int, memory: int) -> int:
    """Bytes of a buffer for a file of `size` bytes."""
    return min(direct.BUFFER, direct.room(min(size, memory // _SHARE)))


def _tasks(
    recipe: Recipe, offsets: list[int], found: Mapping[str, tuple[Region, str]], limits: _Limits
) -> Iterator[Chunk]:
    for entry, offset in zip(recipe.tensors, offsets, strict=True):
        expression = entry.expression
        region, xxh3 = found.get(expression.key, (None, ""))
        if region is None:
            unit, limit = expression.unit, limits.elements
        else:
            quant = quants.get(expression.dtype)
            unit, limit = quant.block, limits.copied // quant.bytes * quant.block
        step = max(unit, limit // unit * unit)
        total = math.prod(expression.shape)
        for first in range(0, total, step):
            yield Chunk(entry, first, min(step, total - first), offset + expression.bytes_of(first), region, xxh3)


def _footprint(task: Chunk) -> int:
    expression = task.entry.expression
    if task.copy_from is not None:
        return direct.room(expression.bytes_of(task.elements))
    return expression.footprint(task.first, task.elements)


class _Follower:
    """Follows what is made, in file order: writes it, and takes the digests of the file and of each tensor."""

    def __init__(self, growing: direct.Growing, header: bytes, recipe: Recipe, resources: Resources) -> None:
        self.spans: list[Span] = []
        self._unwritten: deque[Span] = deque()
        self._growing = growing
        self._sha = hashlib.sha256()
        self._xxh3 = Xxh3()
        self._end = 0
        self._progress = resources.progress
        self._finished = resources.finished
        self._done, self._total = 0, sum(entry.expression.size for entry in recipe.tensors)
        self._append(header)

    def follow(self, task: Chunk, data: Buffer) -> None:
        expression = task.entry.expression
        if task.first == 0:
            self._append(bytes(task.at - self._end))
            self._xxh3 = Xxh3()
        self._append(data)
        # What is copied has been hashed, and compared, when it was read.
        if task.copy_from is None:
            self._xxh3.update(data)
        if task.first + task.elements == math.prod(expression.shape):
            xxh3 = self._xxh3.digest() if task.copy_from is None else task.xxh3
            span = Span(expression.key, self._end - expression.size, expression.size, xxh3)
            self.spans.append(span)
            if task.copy_from is None:
                self._unwritten.append(span)
        self._tell()
        self._done += len(data)
        self._progress(self._done, self._total)

    def _append(self, data: bytes | Buffer) -> None:
        self._growing.write(data)
        self._sha.update(data)
        self._end += len(data)

    def _tell(self) -> None:
        while self._unwritten and self._unwritten[0].offset + self._unwritten[0].length <= self._growing.written:
            self._finished(self._unwritten.popleft())

    def give_up(self) -> None:
        """Have the file contain all that was followed so far, as far as the disk takes it."""
        with contextlib.suppress(OSError):
            self._growing.finish()
            self._tell()

    def finish(self, size: int) -> str:
        """The sha256 of the whole file, up to the padding of its last tensor."""
        self._append(bytes(size - self._end))
        self._growing.finish()
        return "sha256:" + self._sha.hexdigest()


class _Pending:
    """Chunks under way, in file order, and the bytes and the threads that they may take."""

    def __init__(
        self, reader: Reader, follower: _Follower, resources: Resources, memory: int, copying: Executor
    ) -> None:
        self._reader = reader
        self._follower = follower
        self._resources = resources
        self._memory = memory
        self._copying = copying
        self._chunks: deque[tuple[Chunk, int, Future[Buffer]]] = deque()
        self._held = 0
        self._copies = 0

    def add(self, task: Chunk) -> None:
        """Begin a chunk; before that, follow those that have to be finished first."""
        size, copied = _footprint(task), task.copy_from is not None
        while self._chunks and (self._full(copied) or self._held + size > self._memory):
            self.drain("threads" if self._full(copied) else "memory")
        self._held += size
        self._copies += copied
        pool, make = (self._copying, self._reader.copy) if copied else (self._resources.pool, self._reader.chunk)
        self._chunks.append((task, size, pool.submit(_make, make, task, self._reader)))

    def _full(self, copied: bool) -> bool:
        if copied:
            return self._copies >= _AHEAD
        return len(self._chunks) - self._copies >= self._resources.window

    def drain(self, room: str = "chunks") -> None:
        """Follow the first chunk, once it is made; `room` is what is missing for more to begin."""
        task, size, future = self._chunks.popleft()
        with trace.span(f"wait for {room}", "wait", held=self._held):
            data = future.result()
        with trace.span("hash", "hash", bytes=len(data)):
            self._follower.follow(task, data)
        self._reader.give_back(data)
        self._held -= size
        self._copies -= task.copy_from is not None

    def __bool__(self) -> bool:
        return bool(self._chunks)

    def cancel(self) -> None:
        """Wait until no thread is busy with a chunk."""
        for _, _, future in self._chunks:
            if not future.cancel():
                future.exception()


def _run(tasks: Iterable[Chunk], reader: Reader, follower: _Follower, resources: Resources, memory: int) -> None:
    """Have threads make chunks, as many at a time as `memory` bytes allow, and follow in file order."""
    with ThreadPoolExecutor(COPYING, thread_name_prefix="copy") as copying:
        pending = _Pending(reader, follower, resources, memory, copying)
        try:
            for task in tasks:
                pending.add(task)
            while pending:
                pending.drain()
        except BaseException as error:
            reader.abort(error)
            pending.cancel()
            # In file order a chunk that was told to give up may come before the one that failed.
            if isinstance(error, Stopped) and reader.cause is not None:
                raise reader.cause from None
            raise


def _make(make: Callable[[Chunk], Buffer], task: Chunk, reader: Reader) -> Buffer:
    try:
        doing = "copy" if task.copy_from is not None else "compute"
        size = task.entry.expression.bytes_of(task.elements)
        with trace.span(task.entry.name, doing, type=task.entry.expression.dtype, bytes=size):
            return make(task)
    except BaseException as error:
        reader.abort(error)
        raise

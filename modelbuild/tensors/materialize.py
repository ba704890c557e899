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
from modelbuild.tensors.evaluate import Chunk, Reader, Region
from modelbuild.tensors.formats import gguf
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
    with Reader(resources.stop, recipe.constants, open_leaf, resources.memory) as reader:
        spans = _run(recipe, offsets, found, reader, file, sha.update, resources)
    reused = sum(entry.expression.key in found for entry in recipe.tensors)
    return Materialized("sha256:" + sha.hexdigest(), size, tuple(spans), len(recipe.tensors) - reused, reused)


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


def _run(
    recipe: Recipe,
    offsets: list[int],
    found: Mapping[str, tuple[Region, str]],
    reader: Reader,
    file: int,
    sha_update: Callable[[bytes | bytearray | memoryview], None],
    resources: Resources,
) -> list[Span]:
    # Most chunks hold a source, one f32 stage and a result: at most 12 bytes an element. Operations that take more, or
    # whole matrices at a time, have fewer chunks under way.
    window = 2 * resources.jobs + 2
    limit = max(256, min(CHUNK, resources.memory // (12 * window)))
    pending: deque[tuple[Chunk, int, Future[bytearray | memoryview]]] = deque()
    held = 0
    spans: list[Span] = []
    hasher = Xxh3()
    end = offsets[0] if offsets else 0
    growing = page_cache.Growing(file)
    done, total = 0, sum(entry.expression.size for entry in recipe.tensors)

    def make(task: Chunk) -> bytearray | memoryview:
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

    def drain() -> None:
        nonlocal hasher, end, done, held
        task, size, future = pending.popleft()
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
        growing.reach(end)
        held -= size
        resources.progress(done, total)

    try:
        for task in _tasks(recipe, offsets, found, limit):
            size = _footprint(task)
            while pending and (len(pending) >= window or held + size > resources.memory):
                drain()
            held += size
            pending.append((task, size, resources.pool.submit(make, task)))
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
    if recipe.tensors:
        sha_update(bytes(-end % gguf.ALIGNMENT))
    return spans

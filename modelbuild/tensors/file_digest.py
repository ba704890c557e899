"""The digest of a weights file, over those of its tensors and of all that lies between, taken in one pass."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from modelbuild import interrupt
from modelbuild.digest import Xxh3, canonical, xxh3
from modelbuild.errors import Error
from modelbuild.files import reason
from modelbuild.tensors.tensor import Tensor, TensorTable
from modelbuild.tuples import NamedTuple

if TYPE_CHECKING:
    from concurrent.futures import Executor


CHUNK = 1 << 20
BATCH = 8 << 20
"""Bytes of neighbouring small tensors that one task hashes."""


class Digested(NamedTuple):
    """All that is kept of a weights file: its digest, and its table with the digest of every tensor."""

    digest: str
    table: TensorTable


class State(Protocol):
    """A running hash."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None: ...

    def digest(self) -> str: ...


class Head(NamedTuple):
    """The bytes before the tensors, which the file's digest covers: how many, and their digest."""

    size: int
    digest: str

    @staticmethod
    def of(data: bytes | memoryview) -> Head:
        return Head(len(data), xxh3(data))


def digest_all(path: str, head: Head, table: TensorTable, size: int, executor: Executor | None) -> Digested:
    """Read the whole file once, in bounded memory, and take the digest of each tensor and of all that lies between.

    executor  runs the reading in parallel; it must have a free thread, since this waits for it
    Raises Error where the file ends early.
    """
    regions = _regions(head.size, table, size)
    with open(path, "rb", buffering=0) as file:
        descriptor = file.fileno()
        run = executor.map if executor is not None else map
        digests = dict[tuple[int, int], str]()
        for batch in run(lambda regions: _hash(path, descriptor, regions), _batches(regions)):
            digests.update(batch)
    known = {t.name: t._replace(digest=digests[t.offset, t.length]) for t in table.tensors.values()}
    parts = [head.digest, *(digests[region] for region in regions)]
    return Digested(xxh3(canonical(parts)), TensorTable(table.metadata, known))


def of_tensors(path: str, tensors: Iterable[Tensor]) -> dict[tuple[int, int], str]:
    """The digests of some tensors of a file, by offset and length. Raises Error where the file ends early, or cannot be read."""
    regions = sorted({(tensor.offset, tensor.length) for tensor in tensors})
    try:
        with open(path, "rb", buffering=0) as file:
            return _hash(path, file.fileno(), regions)
    except OSError as error:
        raise Error(f"cannot be read: {reason(error)}", path=path) from None


class RunningDigest:
    """The digest that `digest_all` finds, of a file whose bytes are given in their order."""

    def __init__(self, header: int, table: TensorTable, size: int) -> None:
        self._begin([header, *(length for _, length in _regions(header, table, size))][::-1], Xxh3)

    def _begin(self, lengths: list[int], new: Callable[[], State]) -> None:
        self._all, self._lengths, self._new = tuple(lengths), lengths, new
        self._state, self._left = new(), lengths.pop()
        self._digests: list[str] = []

    def twin(self, new: Callable[[], State]) -> RunningDigest:
        """One over the same regions by another hash, to be given the same bytes."""
        made = RunningDigest.__new__(RunningDigest)
        made._begin(list(self._all), new)
        return made

    def regions(self) -> list[str]:
        """The digests of the head, each tensor and all that lies between, once all bytes were given."""
        self._next()
        return [*self._digests, self._state.digest()]

    def update(self, data: bytes | bytearray | memoryview) -> None:
        with memoryview(data) as view:
            at = 0
            while at < len(view):
                self._next()
                # What stands behind the end of the file as it was belongs to no region, and changes the digest.
                taken = view[at : at + self._left] if self._left else view[at:]
                self._state.update(taken)
                self._left = max(0, self._left - len(taken))
                at += len(taken)

    def _next(self) -> None:
        while not self._left and self._lengths:
            self._digests.append(self._state.digest())
            self._state, self._left = self._new(), self._lengths.pop()

    def digest(self) -> str:
        return xxh3(canonical(self.regions()))


def _regions(header: int, table: TensorTable, size: int) -> list[tuple[int, int]]:
    """Offset and length of each tensor and of all that lies between, in order."""
    tensors = sorted(table.tensors.values(), key=lambda tensor: tensor.offset)
    return sorted([(tensor.offset, tensor.length) for tensor in tensors] + _gaps(tensors, header, size))


def _gaps(tensors: Iterable[Tensor], start: int, size: int) -> list[tuple[int, int]]:
    found = []
    for tensor in tensors:
        if tensor.offset > start:
            found.append((start, tensor.offset - start))
        start = tensor.offset + tensor.length
    if size > start:
        found.append((start, size - start))
    return found


def _batches(regions: Iterable[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    batch: list[tuple[int, int]] = []
    size = 0
    for region in regions:
        batch.append(region)
        size += region[1]
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _hash(path: str, file: int, regions: Sequence[tuple[int, int]]) -> dict[tuple[int, int], str]:
    buffer = bytearray(min(CHUNK, max(length for _, length in regions)))
    digests = {}
    with memoryview(buffer) as view:
        for offset, length in regions:
            state = Xxh3()
            at, end = offset, offset + length
            while at < end:
                interrupt.check()
                count = os.preadv(file, [view[: min(len(view), end - at)]], at)
                if not count:
                    raise Error("the file ends early: it was cut short while it was read", path=path)
                state.update(view[:count])
                at += count
            digests[offset, length] = state.digest()
    return digests

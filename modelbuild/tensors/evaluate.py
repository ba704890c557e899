"""Compute tensors in chunks: the tapes that leaves are read from, and the buffers that operations fill.

A leaf's bytes are hashed as they are read, whatever the number of threads: the chunks of a tensor are read in turn, from the
first byte to the last, also those that the tensor leaves out.
"""

from __future__ import annotations

import math
import mmap
import os
import threading
from collections.abc import Callable, Mapping

from modelbuild import direct
from modelbuild.digest import Xxh3
from modelbuild.errors import Error, Stopped
from modelbuild.tensors import operations, packing
from modelbuild.tensors.recipe import Entry, Expression
from modelbuild.tuples import NamedTuple

Buffer = bytearray | memoryview

_SMALL = 64
"""Scales of so many tensors are kept while others may still ask for them; those dropped too early are read again."""
_SMALL_SHARE = 4
"""As many times their bytes fit into the memory; one that is larger is kept by itself."""


class Region(NamedTuple):
    """Bytes that exist: `length` at `offset` of a file. `label` is what errors call them.

    passing  they are read past the kernel's page cache
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
        self._passing: dict[str, direct.Passing] = {}
        self._tapes: dict[tuple[str, str], _Tape] = {}
        self._memory = memory
        self._held = 0
        self._spare: list[bytearray] = []
        self._copies: list[mmap.mmap] = []
        self._small_turn = threading.RLock()  # an operand may be computed from other small ones
        self._small: dict[str, Buffer] = {}

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._files.values():
            os.close(descriptor)
        for file in self._passing.values():
            file.close()

    def abort(self, cause: BaseException) -> None:
        """Have all threads give up, with Stopped; `cause` tells why, where it is the first."""
        with self._turn:
            self.cause = self.cause or cause
            self._aborted = True
            self._turn.notify_all()

    def give_back(self, data: Buffer) -> None:
        """Take what `evaluate` or `buffer` gave, for the next to be filled."""
        if isinstance(data, bytearray):
            with self._turn:
                if len(self._spare) < 64 and self._held <= self._memory:
                    self._spare.append(data)
                else:
                    self._held -= len(data)
        elif isinstance(data.obj, mmap.mmap):
            with self._turn:
                if self._held <= self._memory:
                    self._copies.append(data.obj)
                else:
                    self._held -= len(data.obj)

    def buffer(self, size: int) -> bytearray:
        """One to be filled; what is in it is left over. It is due to `give_back`."""
        # Pages of a buffer used before are mapped already; a fresh one costs a page fault per 4 KiB.
        with self._turn:
            for index, spare in enumerate(self._spare):
                if len(spare) == size:
                    return self._spare.pop(index)
            many = len(self._spare) >= 16
            while self._spare and (many or self._held + size > self._memory):
                self._held -= len(self._spare.pop(0))
                many = False
            while self._copies and self._held + size > self._memory:
                self._held -= len(self._copies.pop())
            self._held += size
        return bytearray(size)

    def copy(self, task: Chunk) -> Buffer:
        """A chunk of a tensor that lies in a file already; it is due to `give_back`."""
        region, expression = task.copy_from, task.entry.expression
        assert region is not None
        start, size = expression.bytes_of(task.first), expression.bytes_of(task.elements)
        try:
            if not region.passing:
                return self._read(region, task.xxh3, task.entry.name, start, size)
            with self._turn:
                file = self._passing.get(region.path)
                if file is None:
                    file = self._passing[region.path] = direct.Passing(region.path)
        except FileNotFoundError as error:
            raise Gone(region.path) from error
        data = file.read(self._aligned(direct.room(size)), region.offset + start, size)
        if len(data) != size:
            raise Mismatch(region, task.xxh3)
        if self._follow(region, task.xxh3, task.entry.name, start, data):
            file.forget(region.offset, region.length)
        return data

    def _aligned(self, size: int) -> mmap.mmap:
        """A buffer that a chunk can be read into past the page cache."""
        with self._turn:
            spare = self._copies.pop() if self._copies else None
            if spare is not None and len(spare) >= size:
                return spare
            self._held += size - (len(spare) if spare is not None else 0)
        return direct.buffer(size)

    def chunk(self, task: Chunk) -> Buffer:
        """A chunk of a tensor that is computed; it is due to `give_back`."""
        entry, expression = task.entry, task.entry.expression
        try:
            data = self.evaluate(expression, entry.name, task.first, task.elements)
            if expression.dtype in packing.CHECKED:
                bad = packing.first_nonfinite(expression.dtype, data)
                if bad >= 0:
                    raise packing.NotFinite(bad)
        except packing.NotFinite as error:
            raise self._unstorable(
                task, error.index, "contains a value that is not finite (NaN or infinity)"
            ) from error
        except packing.Overflow as error:
            raise self._unstorable(task, error.index, f"contains a value too large for {expression.dtype}") from error
        return data

    def _unstorable(self, task: Chunk, index: int, what: str) -> Error:
        expression = task.entry.expression
        place = []
        rest = task.first + index
        for extent in reversed(expression.shape):
            place.append(rest % extent)
            rest //= extent
        facts = [("at", "[" + ", ".join(map(str, reversed(place))) + "]")]
        if (added := _added(expression)) is not None:
            return self._of_sum(task, what, facts, added)
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
            hint="the weights are damaged, or training was not finished; download them again",
        )

    def _of_sum(self, task: Chunk, what: str, facts: list[tuple[str, str]], added: Expression) -> Error:
        """Of a tensor with something merged into it: which of both is to blame, it does not show."""
        for label, x in (("the model", added.operands[0]), ("the adapter", added.operands[1])):
            if (leaf := next(x.leaves(), None)) is not None and leaf.digest not in self._constants:
                facts.append((label, self._open_leaf(leaf.digest).path))
        return Error(
            f"tensor '{task.entry.name}' {what}, with the adapter merged into it",
            facts=facts,
            hint="the adapter's factors, its alpha or its scale are too large, or the weights of the model are damaged",
        )

    def evaluate(self, expression: Expression, name: str, first: int, count: int) -> Buffer:
        """Elements `first` to `first + count` of an expression; both are multiples of its unit.

        name  one for each place an expression stands in: its chunks are asked for in turn, whichever thread asks
        """
        data: Buffer = operations.get(expression.operation).evaluate(expression, self, name, first, count)
        return data

    def leaf(self, digest: str, name: str, start: int, size: int) -> Buffer:
        """Bytes `start` to `start + size` of a leaf."""
        constant = self._constants.get(digest)
        if constant is not None:
            return memoryview(constant)[start:][:size]
        return self._read(self._open_leaf(digest), digest, name, start, size)

    def whole(self, expression: Expression, name: str) -> Buffer:
        """A small operand that every chunk needs, read once."""
        with self._small_turn:
            found = self._small.get(name)
            if found is None:
                self._drop_small(expression.size)
                found = self._small[name] = self.evaluate(expression, name, 0, math.prod(expression.shape))
            return found

    def _drop_small(self, size: int) -> None:
        """Make room for another of `size` bytes. Who still has one that is dropped keeps its bytes."""
        held = sum(map(len, self._small.values()))
        while self._small and (len(self._small) >= _SMALL or held + size > self._memory // _SMALL_SHARE):
            dropped = self._small.pop(next(iter(self._small)))
            held -= len(dropped)
            if isinstance(dropped, bytearray):
                with self._turn:
                    self._held -= len(dropped)

    def _read(self, region: Region, digest: str, name: str, start: int, size: int) -> bytearray:
        with self._turn:
            file = self._open(region.path)
        data = self.buffer(size)
        got = 0
        with memoryview(data) as view:
            while got < size:
                count = os.preadv(file, [view[got:]], region.offset + start + got)
                if not count:
                    raise Mismatch(region, digest)
                got += count
        self._follow(region, digest, name, start, data)
        return data

    def _follow(self, region: Region, digest: str, name: str, start: int, data: Buffer) -> bool:
        """Hash what was read, in its turn. Returns whether it was the end of the region, which has the digest then."""
        with self._turn:
            tape = self._tapes.setdefault((name, digest), _Tape())
            while tape.at != start and not self._aborted:
                self._turn.wait()
            if self._aborted or self._stop.is_set():
                raise Stopped
        # It is this chunk's turn: nobody else moves the tape until `at` does.
        tape.hasher.update(data)
        with self._turn:
            tape.at += len(data)
            finished = tape.at == region.length
            if finished:
                del self._tapes[name, digest]
            self._turn.notify_all()
        if finished and tape.hasher.digest() != digest:
            raise Mismatch(region, digest)
        return finished

    def _open(self, path: str) -> int:
        descriptor = self._files.get(path)
        if descriptor is None:
            descriptor = self._files[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return descriptor


def _added(x: Expression) -> Expression | None:
    """The product that was added to a tensor last, where one was."""
    while x.operation != "merge" and x.operands:
        x = x.operands[0]
    return x if x.operation == "merge" else None


class _Tape:
    """How far a region has been hashed for one tensor, and the hash so far."""

    def __init__(self) -> None:
        self.at = 0
        self.hasher = Xxh3()

"""Which bytes of a file that is being downloaded are there: kept in a journal, so that a killed download goes on."""

from __future__ import annotations

import bisect
import os
import re

from modelbuild.tuples import NamedTuple

LARGEST = 4 << 20
"""Bytes of a journal that are read. A real one has some ten for each few MiB of the file."""


class Extent(NamedTuple):
    """The bytes [start, end)."""

    start: int
    end: int


class Extents:
    """A set of bytes as disjoint extents in order."""

    def __init__(self) -> None:
        self._all: list[Extent] = []

    def add(self, start: int, end: int) -> None:
        if start >= end:
            return
        # The extents that touch [start, end] become one.
        low = bisect.bisect_left(self._all, start, key=lambda each: each.end)
        high = bisect.bisect_right(self._all, end, key=lambda each: each.start)
        touched = self._all[low:high]
        if touched:
            start, end = min(start, touched[0].start), max(end, touched[-1].end)
        self._all[low:high] = [Extent(start, end)]

    def reach(self, start: int) -> int:
        """The end of the extent that a byte lies in; the byte itself where it is missing."""
        at = bisect.bisect_right(self._all, start, key=lambda each: each.start) - 1
        return max(start, self._all[at].end) if at >= 0 else start

    def missing(self, start: int, end: int) -> list[Extent]:
        """What is not there of the bytes [start, end)."""
        found, at = [], start
        for each in self._all:
            if each.start >= end:
                break
            if at < each.start:
                found.append(Extent(at, each.start))
            at = max(at, each.end)
        return [*found, Extent(at, end)] if at < end else found

    @property
    def count(self) -> int:
        return sum(each.end - each.start for each in self._all)


class Journal:
    """Extents in a file, a line for each; only appended to. A line that is cut short counts for nothing."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor: int | None = None

    def read(self, size: int) -> Extents:
        """What it says is there, of a file that has `size` bytes so far. Raises OSError."""
        found = Extents()
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return found
        with open(descriptor, "rb") as file:
            for line in re.finditer(rb"^([0-9]{1,19})-([0-9]{1,19})\n", file.read(LARGEST), re.MULTILINE):
                found.add(int(line[1]), min(int(line[2]), size))
        return found

    def add(self, start: int, end: int) -> None:
        """Note bytes that have been written. Raises OSError."""
        if self._descriptor is None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(self.path, flags, 0o644)
            # What a killed process left half written must not run into our first line.
            os.write(self._descriptor, b"\n")
        os.write(self._descriptor, b"%d-%d\n" % (start, end))

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

"""Download blobs: parts of them over several connections at once, hashed as they arrive, in bounded memory.

The parts of a blob are fetched in order, so that the digest follows closely. The first answer for a blob tells whether its server
knows ranges; one that does not sends the blob in one piece.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from modelbuild import interrupt
from modelbuild.errors import Error, Stopped
from modelbuild.registry.faults import Unreachable
from modelbuild.registry.partial import Partial
from modelbuild.registry.repository import Repository
from modelbuild.registry.transport import Answer

CONNECTIONS = 6
"""Connections at once."""

PART = 32 << 20
"""Bytes of a request: large enough that asking for it costs nothing, small enough that the parts under way stay close together."""

NOTED = 4 << 20
"""Bytes of a part after which the journal is told."""

STRIDE = 1 << 20
"""Bytes after which a connection that breaks counts as a first failure again."""

Hear = Callable[[dict[str, Any]], None]
"""Told events: `progress` (done, total: bytes) from any thread."""


@dataclass
class Part:
    """The bytes of a blob that one request is for, from those that have not arrived yet."""

    at: int
    end: int


class Course:
    """A blob on its way.

    parts     those that nobody fetches yet
    asked     whether its server has been asked for one
    in_parts  whether it may be asked for several at once: not before the first answer says so
    """

    def __init__(self, partial: Partial) -> None:
        self.partial = partial
        self.begin()

    def begin(self) -> None:
        """Fetch what is missing of it."""
        self.parts = deque(
            Part(at, min(at + PART, end)) for start, end in self.partial.missing() for at in range(start, end, PART)
        )
        self.asked = self.in_parts = False


class Download:
    """Fetches what is missing of some blobs, and checks all of each."""

    def __init__(self, repository: Repository, partials: Sequence[Partial], hear: Hear) -> None:
        self._repository = repository
        self._courses = [Course(partial) for partial in partials]
        self._hear = hear
        self._total = sum(partial.blob.size for partial in partials)
        self._done = sum(partial.count for partial in partials)
        self.received = 0
        """Bytes that were fetched."""
        self._mutex = threading.Condition()
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._answers: set[Answer] = set()

    def run(self) -> None:
        """Return when each blob is there, whole and checked. Raises Error, OSError and Stopped; what arrived stays for another try."""
        wanted = max(1, min(CONNECTIONS, sum(len(course.parts) for course in self._courses)))
        threads = [threading.Thread(target=self._guarded, args=[self._check_all], daemon=True)]
        threads += [threading.Thread(target=self._guarded, args=[self._fetch_all], daemon=True) for _ in range(wanted)]
        try:
            for thread in threads:
                thread.start()
            while not self._ended.wait(0.1):
                interrupt.check()
        finally:
            self._end()
            for thread in filter(threading.Thread.is_alive, threads):
                thread.join(timeout=5)
        if self._error is not None:
            raise self._error

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Stopped as stopped:
            # Ours after an end, or that of the whole transport.
            self._end(stopped)
        except BaseException as error:
            self._end(error)

    def _end(self, error: BaseException | None = None) -> None:
        with self._mutex:
            if not self._ended.is_set():
                self._error = error
                self._ended.set()
            answers = list(self._answers)
            self._mutex.notify_all()
        for answer in answers:
            answer.stop()
        for course in self._courses:
            course.partial.end()

    # Checking, in one thread

    def _check_all(self) -> None:
        for course in self._courses:
            partial = course.partial
            while partial.hash() != partial.blob.digest:
                was_resumed = partial.resumed
                self._add(-partial.count)
                partial.reset()
                if not was_resumed:
                    partial.discard()
                    raise self._wrong(partial)
                # What an earlier run left may have been damaged since.
                with self._mutex:
                    course.begin()
                    self._mutex.notify_all()
            partial.sync()
        self._end()

    def _wrong(self, partial: Partial) -> Error:
        what = f"a blob from '{self._repository.origin}' has another digest than the manifest says; it was removed"
        hint = "try again; if it stays so, the registry or a proxy changes what it sends"
        return Error(what, facts=[("blob", partial.blob.digest)], hint=hint)

    # Fetching, in several

    def _fetch_all(self) -> None:
        while (found := self._next()) is not None:
            self._fetch(*found)

    def _next(self) -> tuple[Course, Part] | None:
        """The next part to fetch; None at the end. Waits while there may be more to do."""
        with self._mutex:
            while not self._ended.is_set():
                for course in self._courses:
                    if course.parts and (course.in_parts or not course.asked):
                        course.asked = True
                        return course, course.parts.popleft()
                self._mutex.wait()
        return None

    def _fetch(self, course: Course, part: Part) -> None:
        """Fetch a part, going on where a connection broke."""
        patience = self._repository.transport.patience
        failures = 0
        while part.at < part.end:
            before = part.at
            blob = course.partial.blob
            answer, begin = self._repository.open(blob.digest, blob.size, part.at, part.end)
            try:
                with self._reading(answer):
                    self._told(course, part, answer)
                    self._receive(course.partial, part, answer, begin)
            except Unreachable:
                failures = 1 if part.at - before >= STRIDE else failures + 1
                if failures >= patience.tries:
                    raise
                if self._ended.wait(patience.before(failures)):
                    raise Stopped from None

    def _told(self, course: Course, part: Part, answer: Answer) -> None:
        """Take what an answer says of ranges: a server that knows none sends all of the blob, on this connection."""
        with self._mutex:
            blob = course.partial.blob
            course.in_parts = answer.status == 206 or (part.at, part.end) == (0, blob.size)
            if not course.in_parts:
                course.parts.clear()
                part.end = blob.size
            self._mutex.notify_all()

    def _receive(self, partial: Partial, part: Part, answer: Answer, begin: int) -> None:
        """Write what arrives. Raises Unreachable where that is not all of the part."""
        position, noted = begin, part.at
        try:
            for data in answer.pieces():
                if self._ended.is_set():
                    raise Stopped
                self._add(partial.write(position, data[: part.end - position]))
                position += len(data)
                part.at = max(part.at, min(position, part.end))
                if part.at - noted >= NOTED:
                    partial.note(noted, part.at)
                    noted = part.at
                if position >= part.end:
                    return
        finally:
            partial.note(noted, part.at)
        raise Unreachable(f"'{answer.origin}' sent less than the whole blob", hint="try again later")

    @contextmanager
    def _reading(self, answer: Answer) -> Iterator[None]:
        with answer:
            with self._mutex:
                self._answers.add(answer)
                if self._ended.is_set():
                    raise Stopped
            try:
                yield
            finally:
                with self._mutex:
                    self._answers.discard(answer)

    def _add(self, count: int) -> None:
        """Count bytes that arrived, or that turned out to be wrong."""
        with self._mutex:
            self._done += count
            self.received += max(count, 0)
            done = self._done
        self._hear({"event": "progress", "done": done, "total": self._total})

"""Digests of the files that a project reads. Each is computed once; after that, a stat tells whether the file has changed."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping

from modelbuild import digest as digests
from modelbuild import trace
from modelbuild.engine.action import ABSENT
from modelbuild.engine.graph import Source
from modelbuild.engine.stat_cache import Hashed, StatCache
from modelbuild.errors import Error
from modelbuild.files import TICK, reason, remedy, signature, unwritten, young
from modelbuild.tuples import NamedTuple

SHORT = 1 << 20
"""Bytes of a file that is read at once, and once more by the next build, where it was written just now."""

LINKED = 3
"""Times that a file is read that other builds make links to meanwhile."""


class FileDigest(NamedTuple):
    """A file's digest, and what else was learned while reading it (opaque to the engine)."""

    digest: str
    detail: bytes | None


Digester = Callable[[str], FileDigest]
"""Reads a weights file to take its digest."""


class Limit(NamedTuple):
    """Bytes up to which a file is read whose digest is not known yet: a weights file (-1: none is), and any other."""

    weights: int
    other: int


BUILD = Limit(-1, 64 << 20)
"""What is read before anything is checked, to know which steps a build would run."""

LOOK = Limit(1 << 20, 1 << 20)
"""What is read without asking, to say how things stand."""

ALL = Limit(sys.maxsize, sys.maxsize)
"""What is read to say why steps would run."""


class Sources:
    """Knows the digest of every source, through the stat cache; `digesters` say by form how those of weights files are taken."""

    def __init__(self, cache: StatCache, digesters: Mapping[str, Digester]) -> None:
        self._stat_cache = cache
        self._digesters = digesters
        self._mutex = threading.Lock()
        self._known: dict[Source, str] = {}
        self._by_digest: dict[str, Source] = {}
        self._cached: dict[tuple[str, str], tuple[str, str]] = {}
        self._together: list[Hashed] | None = None

    def prepare(self, sources: Iterable[Source]) -> None:
        """Load what the stat cache says of these sources, in one go."""
        self._cached.update(self._stat_cache.digests({source.path for source in sources}))

    def prepare_paths(self, paths: Iterable[str]) -> None:
        """The same for files of any form."""
        self._cached.update(self._stat_cache.digests(set(paths)))

    def unhashed(self, sources: Iterable[Source]) -> list[tuple[Source, int]]:
        """The sources whose digest must be taken by reading them, with their sizes. What is wrong with one is said then."""
        found = []
        for source in sources:
            try:
                if self._peek(source) is None:
                    found.append((source, os.stat(source.path).st_size))
            except (Error, OSError):
                found.append((source, 0))
        return found

    def beyond(self, limit: Limit, sources: Iterable[Source]) -> set[Source]:
        """The sources whose digest must be taken by reading them and that are larger than what is read now."""
        self.prepare(sources := list(sources))
        sizes = self.unhashed(sources)
        return {source for source, size in sizes if size > (limit.weights if source.is_weights else limit.other)}

    def read(self, sources: Iterable[Source], but: Container[Source] = ()) -> dict[Source, Error]:
        """Take the digests of sources; returns what is wrong with those that cannot be read. Those of `but` are passed over."""
        wrong = {}
        for source in sources:
            try:
                if source not in but:
                    self.digest(source)
            except Error as error:
                wrong[source] = error
        return wrong

    def _peek(self, source: Source) -> str | None:
        if known := self._known.get(source):
            return known
        if source.is_away():
            return self._know(source, source.known)
        try:
            now = signature(os.stat(source.path))
        except (FileNotFoundError, NotADirectoryError):
            return self._know(source, ABSENT)
        except OSError as error:
            raise unreadable(source.path, error) from error
        cached = self._cached.get((source.path, source.form))
        return self._know(source, cached[1]) if cached and cached[0] == now else None

    def digest(self, source: Source) -> str:
        """The digest of a source; `absent` where there is no such file."""
        return self._peek(source) or self._hash(source)

    def file_digest(self, path: str) -> str:
        return self.digest(Source(path, "bytes"))

    def _hash(self, source: Source) -> str:
        path = source.path
        try:
            for left in reversed(range(LINKED)):
                started, before, found = self._take(source)
                after = os.stat(path)
                if signature(before) == signature(after):
                    break
                # Another build that links to the file changes its change time and no byte: take it once more. If more happened
                # to it, that reading sees it.
                if not left or not unwritten(before, after):
                    raise changed(path)
        except FileNotFoundError:
            return self._know(source, source.known or ABSENT)
        except OSError as error:
            raise unreadable(path, error) from error
        is_young = young(after, started)
        if not is_young or found.detail is not None:
            seen = "" if is_young else signature(after)
            self._note(Hashed(path, source.form, seen, found.digest, found.detail))
        return self._know(source, found.digest)

    def _note(self, hashed: Hashed) -> None:
        if self._together is None:
            self._stat_cache.remember([hashed])
        else:
            self._together.append(hashed)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Note the digests of many small files in one go. Only for one thread."""
        noted: list[Hashed] = []
        self._together = noted
        try:
            yield
        finally:
            self._together = None
            if noted:
                self._stat_cache.remember(noted)

    def _take(self, source: Source) -> tuple[float, os.stat_result, FileDigest]:
        """Read a file: when that began, the stat before it, and what was found."""
        path = source.path
        before = os.stat(path)
        if not (stat.S_ISREG(before.st_mode) or stat.S_ISDIR(before.st_mode)):
            # A pipe would be waited for without end.
            raise OSError(errno.EINVAL, "not a regular file", path)
        # A file changed again within a tick of the clock would look the same: let the tick pass first. A text is read sooner again.
        now = time.time()
        left = max((at + TICK - now for at in (before.st_mtime, before.st_ctime) if at <= now), default=0.0)
        if left > 0 and (source.is_weights or before.st_size > SHORT):
            time.sleep(left)
            before = os.stat(path)
        started = time.time()
        with trace.span(f"hash {os.path.basename(path)}", "io", path=path, bytes=before.st_size):
            if source.form == "bytes":
                return started, before, FileDigest(digests.file_xxh3(path), None)
            return started, before, self._digesters[source.form](path)

    def holds(self, source: Source, digest: str) -> os.stat_result:
        """The stat of a source that still has this digest, for a later look whether it was written to. Raises Error where it hasn't."""
        try:
            now = os.stat(source.path)
            known = self._stat_cache.digests([source.path]).get((source.path, source.form))
            if known == (signature(now), digest):
                return now
            # It was written just before it was hashed, or since then.
            _, now, found = self._take(source)
        except OSError as error:
            raise unreadable(source.path, error) from error
        if found.digest != digest:
            self.forget(source.path)
            raise changed(source.path)
        return now

    def _know(self, source: Source, digest: str) -> str:
        with self._mutex:
            self._known[source] = digest
            if digest != ABSENT and self._by_digest.setdefault(digest, source).known:
                # One that is there comes before one that need not be.
                self._by_digest[digest] = source
        return digest

    def believe(self, source: Source, digest: str) -> None:
        """Take it that a source has this digest, as somebody says who has read it: what is read of it is hashed all the same."""
        self._know(source, digest)

    def source(self, digest: str) -> Source:
        """The source that has this digest."""
        return self._by_digest[digest]

    def detail(self, digest: str) -> bytes | None:
        """What was found while reading the weights file of this digest; None for a source of another form."""
        source = self._by_digest.get(digest)
        if source is None or not source.is_weights:
            return None
        detail = self._stat_cache.detail(digest)
        if detail is None:
            # The store was cleaned meanwhile: look again.
            detail = self._digesters[source.form](source.path).detail
        return detail

    def weights(self) -> list[tuple[str, str]]:
        """(digest, path) of every weights file this build knows."""
        return [(digest, source.path) for digest, source in self._by_digest.items() if source.is_weights]

    def is_away(self, path: str) -> bool:
        """Whether a source is not there, and only its digest is known."""
        return any(source.path == path and source.known == digest for source, digest in self._known.items())

    def forget(self, path: str) -> None:
        """What the stat cache said of this file was wrong. Where the file is as it was then, the others are not believed either."""
        paths = [path]
        with contextlib.suppress(OSError):
            now = signature(os.stat(path))
            if any(seen == now for (known, _), (seen, _) in self._cached.items() if known == path):
                paths = [known for known, _ in self._cached]
        self._stat_cache.forget(paths)
        with self._mutex:
            self._known = {source: digest for source, digest in self._known.items() if source.path != path}


def unreadable(path: str, error: OSError) -> Error:
    """Say that a source cannot be read, and why."""
    return Error(f"cannot be read: {reason(error)}", path=path, hint=remedy(error))


def changed(path: str) -> Error:
    """Say that a source is no longer what its digest was taken of."""
    return Error(
        "source changed during the build",
        path=path,
        hint="nothing was recorded; build again when the file no longer changes",
    )

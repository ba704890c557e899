"""The sha256 of source files. The engine knows a source by xxh3, which is quick, and which somebody could make two files for."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable
from typing import Protocol

from modelbuild import interrupt, trace
from modelbuild.digest import CHUNK
from modelbuild.engine.build import LARGE, Event
from modelbuild.engine.graph import Source
from modelbuild.engine.stat_cache import Hashed, StatCache
from modelbuild.errors import Error
from modelbuild.files import open_plain, signature, young
from modelbuild.sharing.hashing import Hashing
from modelbuild.tensors.file_digest import RunningDigest

FORM = "sha256 of "
"""Begins the form under which the stat cache has both digests of a file, from one reading."""


class Running(Protocol):
    """Takes the engine's digest of a source whose bytes are given in their order."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None: ...

    def digest(self) -> str: ...


class Contents:
    """Knows the sha256 of sources; used by several threads at once.

    running  takes the engine's digest of a source anew. Raises Error for a file that is not of its form
    absent   the sha256 of a source that is not here, if anybody has said it
    tell     told an event `hashing` before a large file is read
    """

    def __init__(
        self,
        cache: StatCache,
        running: Callable[[Source], Running],
        absent: Callable[[Source], str | None],
        tell: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self._cache = cache
        self._running = running
        self._absent = absent
        self._tell = tell
        self._mutex = threading.Lock()
        self._tensors: dict[str, bytes] = {}
        self._known: dict[tuple[Source, str], str | None] = {}

    def sha256(self, source: Source, digest: str) -> str | None:
        """The sha256 of the file that has this digest for the engine; None if it no longer has it, or cannot be read.

        Both digests come from one reading: a file that changes between two readings would have a key that says one content
        and a result that was made of another.
        """
        key = (source, digest)
        with self._mutex:
            if key not in self._known:
                try:
                    self._known[key] = self._of(source, digest)
                except (Error, OSError):
                    self._known[key] = None
            return self._known[key]

    def _of(self, source: Source, digest: str) -> str | None:
        if source.is_away():
            return self._absent(source) if source.known == digest else None
        now = signature(os.stat(source.path))
        form = FORM + source.form
        seen, both = self._cache.digests([source.path]).get((source.path, form), ("", ""))
        if seen != now or not both:
            both = self._read(source, form)
        sha256, _, local = both.partition(" ")
        return sha256 if local == digest else None

    def _read(self, source: Source, form: str) -> str:
        running, started = self._running(source), time.time()
        # Of each tensor too: what other weights have in common with these is known by it.
        tensors = running.twin(Sha256) if isinstance(running, RunningDigest) else None
        with open_plain(source.path, buffering=0) as file, Hashing() as sha:
            before = os.fstat(file.fileno())
            if before.st_size > LARGE:
                self._tell({"event": "hashing", "files": 1, "bytes": before.st_size})
            with trace.span(f"sha256 of {os.path.basename(source.path)}", "io", bytes=before.st_size):
                while data := file.read(CHUNK):
                    interrupt.check()
                    sha.update(data)
                    running.update(data)
                    if tensors is not None:
                        tensors.update(data)
            after = os.stat(source.path)
            both = f"{sha.digest()} {running.digest()}"
        detail = None
        if tensors is not None and isinstance(running, RunningDigest):
            detail = json.dumps(dict(zip(running.regions(), tensors.regions(), strict=True))).encode()
            self._tensors[both.partition(" ")[2]] = detail
        seen = signature(after) if signature(before) == signature(after) and not young(after, started) else ""
        if seen:
            self._cache.remember([Hashed(source.path, form, seen, both, detail)])
        return both

    def tensors(self, source: Source, digest: str) -> dict[str, str]:
        """The sha256 of each tensor of a weights file that has this digest for the engine, by its xxh3; empty if they are not known."""
        sha256 = self.sha256(source, digest)
        detail = self._tensors.get(digest) or (self._cache.detail(f"{sha256} {digest}") if sha256 else None)
        try:
            found = json.loads(detail or b"{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


class Sha256:
    """A running sha256."""

    def __init__(self) -> None:
        self._state = hashlib.sha256()

    def update(self, data: bytes | bytearray | memoryview) -> None:
        self._state.update(data)

    def digest(self) -> str:
        return "sha256:" + self._state.hexdigest()

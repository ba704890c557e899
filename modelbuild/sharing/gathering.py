"""Tensors that other files of the remote have in common with one that is to be made: they come as ranges, and the rest is computed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from modelbuild import trace
from modelbuild.digest import CHUNK, Xxh3, sha256
from modelbuild.engine.action import Made, Range
from modelbuild.engine.build import Event
from modelbuild.engine.cache import LocalCache
from modelbuild.engine.graph import Source
from modelbuild.engine.store import Damaged
from modelbuild.files import Temporary
from modelbuild.remotes import BLOBS, RECORDS
from modelbuild.sharing import parts
from modelbuild.sharing.keys import Known
from modelbuild.sharing.line import Line, Lost
from modelbuild.sharing.parts import LEAST, Part
from modelbuild.sharing.record import LIMIT
from modelbuild.sharing.signing import Signer, Trust, Untrusted
from modelbuild.tensors.recipe import Recipe
from modelbuild.tuples import NamedTuple

NEAR = 64 << 10
"""Bytes between two tensors of a file that are fetched with them: a request of its own would take longer."""

RUN = 32 << 20
"""Bytes of neighbouring tensors that one request asks for."""

AT_ONCE = 16

Tensors = Callable[[Source, str], Mapping[str, str]]
"""The sha256 of each tensor of a weights file, by its xxh3."""


class Means(NamedTuple):
    """What is shared, and by whom records are signed and believed."""

    line: Line
    keys: Known
    tensors: Tensors
    signer: Signer | None
    trust: Trust | None
    tell: Callable[[Event], None]


class Gathering:
    """Brings tensors, and says where those lie that were made here; used by several threads at once."""

    def __init__(self, cache: LocalCache, means: Means) -> None:
        self._cache = cache
        self._store = cache.store
        self._means = means
        self._mutex = threading.Lock()
        self._there: set[str] = set()

    # What is made here

    def parts(self, action: str, made: Made) -> Iterator[Part]:
        """Where the tensors lie that an action has made, but those that the remote is known to have. Raises Damaged."""
        travelling = self._travelling(action)
        with self._store.open(made.result.artifact) as file:
            for local, at in made.tensors:
                key = travelling.get(local)
                if key is None or at.length < LEAST or key in self._there:
                    continue
                digest, left, position = hashlib.sha256(), at.length, at.offset
                while left:
                    data = os.pread(file.fileno(), min(CHUNK, left), position)
                    if not data:
                        raise Damaged(made.result.artifact)
                    digest.update(data)
                    left, position = left - len(data), position + len(data)
                seconds = made.seconds * at.length / max(1, made.result.size)
                yield Part(key, made.result.artifact, at.offset, at.length, "sha256:" + digest.hexdigest(), seconds)

    def send(self, action: str, made: Made) -> None:
        """Say to the remote where tensors lie. The artifact is there. Raises Lost and Damaged."""
        for part in self.parts(action, made):
            data = part.encode(self._means.signer)
            self._means.line.put(RECORDS, part.key, len(data), lambda data=data: [data])  # type: ignore[misc]
            with self._mutex:
                self._there.add(part.key)

    def _travelling(self, action: str) -> dict[str, str]:
        """The keys that travel of the tensors of an action's recipe, by their keys here."""
        artifact = self._means.keys.recipe(action)
        return self._keys_of(action, Recipe.decode(self._store.read(artifact))) if artifact else {}

    def _keys_of(self, action: str, recipe: Recipe) -> dict[str, str]:
        leaves = {local: sha256(data) for local, data in recipe.constants.items()}
        for digest, source in self._means.keys.weights(action).items():
            leaves.update(self._means.tensors(source, digest))
        expressions = [entry.expression for entry in recipe.tensors]
        return {x.key: found for x in expressions if (found := parts.key(x, leaves)) is not None}

    # What others made

    @contextlib.contextmanager
    def gathered(self, action: str, recipe: Recipe) -> Iterator[None]:
        """Within, tensors of a recipe that the remote has, and that are cheaper to fetch than to make, are at hand."""
        brought = None
        with contextlib.suppress(Lost, OSError, ValueError), trace.span("fetch tensors", "io"):
            brought = self._bring(action, recipe)
        try:
            yield
        finally:
            if brought is not None:
                self._store.forget(brought)

    def _bring(self, action: str, recipe: Recipe) -> str | None:
        """Fetch tensors into a file of the store; its digest, None where nothing was fetched."""
        large = {entry.expression.key for entry in recipe.tensors if entry.expression.size >= LEAST}
        known = self._cache.tensors(large)
        missing = large - {key for key, at in known.items() if self._store.path(at.blob) is not None}
        if not missing or not self._means.line.serves("read"):
            return None
        travelling = {local: key for local, key in self._keys_of(action, recipe).items() if local in missing}
        found = self._asked(travelling)
        sizes = {entry.expression.key: entry.expression.size for entry in recipe.tensors}
        found = {local: part for local, part in found.items() if part.length == sizes[local]}
        with self._mutex:
            self._there.update(part.key for part in found.values())
        if not found or not self._is_cheaper(found.values()):
            return None
        return self._fetched(action, found)

    def _asked(self, keys: Mapping[str, str]) -> dict[str, Part]:
        answers = self._means.line.together(self._part, [*keys.values()], AT_ONCE) if keys else ()
        return {local: part for local, part in zip(keys, answers, strict=True) if part is not None}

    def _part(self, key: str) -> Part | None:
        try:
            data = self._means.line.small(RECORDS, key, LIMIT)
            return Part.decode(data, key, self._means.trust) if data is not None else None
        except (Lost, Untrusted):
            return None

    def _is_cheaper(self, found: Iterable[Part]) -> bool:
        """Whether to fetch takes less time than to compute, as far as either was measured."""
        listed = list(found)
        rate = self._means.line.rate.bytes_a_second
        seconds = sum(part.seconds for part in listed)
        return rate is None or not seconds or sum(part.length for part in listed) / rate <= seconds

    def _fetched(self, action: str, found: Mapping[str, Part]) -> str | None:
        asked = 0
        with self._store.temporary() as file:
            made = _Made(file)
            for run in _runs(found):
                start, end = run[0][1].offset, run[-1][1].offset + run[-1][1].length
                asked += end - start
                with contextlib.suppress(Lost):
                    name = run[0][1].blob.removeprefix("sha256:")
                    made.take(run, self._means.line.large(BLOBS, name, start, end - start))
                made.drop()
            if made.wrong:
                self._means.line.wrong(BLOBS, "sent other bytes of a tensor than their digest says")
            if not made.tensors:
                return None
            artifact = "sha256:" + made.digest.hexdigest()
            self._store.adopt(file.path, artifact, None)
        tensors = made.tensors
        self._cache.note([(local, Range(artifact, at, length, hash)) for local, at, length, hash in tensors])
        step = self._means.keys.step(action)
        name = step.name if step is not None else ""
        self._means.tell({"event": "gathered", "step": name, "tensors": len(tensors), "bytes": asked})
        return artifact


class _Made:
    """A file of tensors one after the other. What of one does not come as it should is taken back.

    tensors  key here, offset, length, xxh3 of those that are whole
    digest   the running sha256 of the file
    wrong    whether one came with other bytes
    """

    def __init__(self, file: Temporary) -> None:
        self.tensors: list[tuple[str, int, int, str]] = []
        self.digest = hashlib.sha256()
        self.wrong = False
        self._file = file
        self._at = 0
        self._count = 0
        self._before, self._own, self._xxh3 = self.digest.copy(), hashlib.sha256(), Xxh3()

    def take(self, run: Sequence[tuple[str, Part]], pieces: Iterable[bytes]) -> None:
        """Take the tensors of a run out of its bytes, as they come."""
        left = list(reversed(run))
        position = run[0][1].offset
        for piece in pieces:
            at = 0
            while at < len(piece) and left:
                local, part = left[-1]
                if position < part.offset:
                    skipped = min(part.offset - position, len(piece) - at)
                    at, position = at + skipped, position + skipped
                    continue
                data = piece[at : at + part.length - self._count]
                self._add(data)
                at, position = at + len(data), position + len(data)
                if self._count == part.length:
                    self._end(local, part)
                    left.pop()

    def _add(self, data: bytes) -> None:
        self._file.write(data)
        self._count += len(data)
        for each in (self.digest, self._own, self._xxh3):
            each.update(data)

    def _end(self, local: str, part: Part) -> None:
        if "sha256:" + self._own.hexdigest() != part.sha256:
            self.wrong = True
            self.drop()
            return
        self.tensors.append((local, self._at, part.length, self._xxh3.digest()))
        self._at += part.length
        self._begin()

    def drop(self) -> None:
        """Take back what there is of a tensor that is not whole."""
        if self._count:
            os.ftruncate(self._file.fileno(), self._at)
            os.lseek(self._file.fileno(), self._at, os.SEEK_SET)
            self.digest = self._before
            self._begin()

    def _begin(self) -> None:
        self._count = 0
        self._before, self._own, self._xxh3 = self.digest.copy(), hashlib.sha256(), Xxh3()


def _runs(found: Mapping[str, Part]) -> Iterator[list[tuple[str, Part]]]:
    """Tensors that lie near one another in one file, in order."""
    run: list[tuple[str, Part]] = []
    for local, part in sorted(found.items(), key=lambda each: (each[1].blob, each[1].offset)):
        if run:
            last, first = run[-1][1], run[0][1]
            end = last.offset + last.length
            is_near = part.blob == last.blob and end <= part.offset <= end + NEAR
            if not is_near or part.offset + part.length - first.offset > RUN:
                yield run
                run = []
        run.append((local, part))
    if run:
        yield run

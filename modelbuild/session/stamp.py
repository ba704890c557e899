"""The stamp of a finished build: a stat of every file that it depends on. While no stat changes, there is nothing to do or to plan."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from modelbuild.files import signature, young
from modelbuild.machine import cores
from modelbuild.observed import Look
from modelbuild.tuples import NamedTuple

if TYPE_CHECKING:
    from modelbuild.engine.kept import Kept
    from modelbuild.engine.parts import Parts

try:
    _stats: Any = import_module("modelbuild._stats")
except ImportError:
    # Not built here: Python takes twice as long.
    _stats = None

CHUNK = 256
"""Files that are kept together, and the outputs whose files are."""

MOST = 100
"""Files that have changed, of which each is looked for; where more have, all is planned and looked up."""

FEW = 8
"""Outputs that are searched for one by one."""

HANDS = 4
"""Threads that look at files at most."""

EACH = 8
"""Values for each thread at least: for fewer it would not be worth its start."""

SEVERAL = 4
"""Outputs that may have a file together and each keep it as its own: it may go when they change."""

COMMON = ""
"""Owns the files that are of no output."""

_COMMON = "common "

Files = dict[str, str]
"""path -> signature of its stat; "" for what must not be there. A folder's signature stands for its listing"""

YOUNG = "young"
"""The signature of an output that was so young that a change right then would not show in its times: it always counts as changed."""


class Changes(NamedTuple):
    """What is not as it was: paths that are common, and outputs of which a file is not."""

    paths: Sequence[str]
    labels: Sequence[str]


class Told(NamedTuple):
    """What each build of some targets says again while nothing changes.

    stale   names in the models folder that are no longer declared; their manifests are among the files of the stamp
    folder  the models folder
    broken  labels of what was asked for and cannot be built; the plan says why
    owes    the modes of a remote cache ("": the project's own) in which a build has digests of weights to note in the lock
    """

    stale: Sequence[str] = ()
    folder: str = ""
    broken: Sequence[str] = ()
    owes: Sequence[str] = ()

    def event(self) -> Mapping[str, Sequence[str]]:
        """What is stale, as members of an event."""
        return {"names": self.stale, "files": ()} if self.stale else {}


NOTHING = Told()


class Chunk(NamedTuple):
    """Files that are kept together.

    owners  as JSON: [[an output, how many of the files are its own], …]
    files   path and signature of each in turn, with a NUL between
    """

    owners: bytes
    files: bytes

    @staticmethod
    def of(files: Iterable[tuple[str, Files]]) -> Chunk:
        listed = [*files]
        owners = [[owner, len(found)] for owner, found in listed]
        texts = (text for _, found in listed for pair in found.items() for text in pair)
        return Chunk(json.dumps(owners, separators=(",", ":")).encode(), "\0".join(texts).encode(*_UTF8))

    def taken_apart(self) -> Iterator[tuple[str, Files]]:
        """Each owner, and its files."""
        texts = iter(self.files.decode(*_UTF8).split("\0"))
        for owner, count in json.loads(self.owners):
            yield owner, {next(texts): next(texts) for _ in range(count)}

    def owned(self, owners: Collection[str]) -> set[str]:
        """Those of some owners of whom files are among these. All chunks are asked after an edit: for a few owners none is taken apart."""
        if len(owners) > FEW:
            return {owner for owner, _ in json.loads(self.owners) if owner in owners}
        return {owner for owner in owners if json.dumps([owner])[:-1].encode() + b"," in self.owners}

    def owner(self, number: int) -> str:
        """Whose file the one of this number is."""
        for owner, count in json.loads(self.owners):
            number -= count
            if number < 0:
                return str(owner)
        raise AssertionError(number)


_UTF8 = ("utf-8", "surrogateescape")


class Stamp:
    """How many models and steps are finished, and all that they hang on.

    plan         the id of the plan that was built
    environment  variable -> value; None for one that must not be set
    told         what is said again
    key          what it is kept under
    """

    def __init__(
        self,
        models: int,
        steps: int,
        plan: str,
        environment: Mapping[str, str | None],
        chunks: Mapping[str, Chunk],
        told: Told = NOTHING,
    ) -> None:
        self.models = models
        self.steps = steps
        self.plan = plan
        self.told = told
        self.key = ""
        self._environment = environment
        self._chunks = dict(chunks)
        self._id = ""

    def holds(self) -> bool:
        """Whether all is as it was: then there is nothing to do."""
        return self._as_started() and not any(_all_changed([chunk.files for chunk in self._chunks.values()]))

    def changes(self, among: Collection[str] | None = None) -> Changes | None:
        """What is not as it was, of all files or `among` some; None where that is too much to be told file by file."""
        if not self._as_started():
            return None
        paths: list[str] = []
        labels: dict[str, None] = {}
        some = None if among is None else [path.encode(*_UTF8) for path in among]
        looked = [chunk for chunk in self._chunks.values() if some is None or any(path in chunk.files for path in some)]
        for chunk, numbers in zip(looked, _all_changed([chunk.files for chunk in looked]), strict=True):
            for number in numbers:
                owner = chunk.owner(number)
                if owner == COMMON:
                    path = chunk.files.split(b"\0")[2 * number].decode(*_UTF8)
                    if among is None or path in among:
                        paths.append(path)
                else:
                    labels[owner] = None
                if len(paths) + len(labels) > MOST:
                    return None
        return Changes(paths, [*labels])

    def built(self, labels: Iterable[str]) -> set[str]:
        """Those of some outputs that were built."""
        wanted = {*labels}
        return {label for chunk in self._chunks.values() for label in chunk.owned(wanted)}

    def common(self) -> set[str]:
        """The files that are of no output."""
        chunks = (chunk for name, chunk in self._chunks.items() if name.startswith(_COMMON))
        return {path for chunk in chunks for path in chunk.files.decode(*_UTF8).split("\0")[::2]}

    def asks(self, looks: Iterable[Look]) -> bool:
        """Whether the variables of the environment at which these looks were are among its own."""
        return all(subject in self._environment for verb, subject, _ in looks if verb == "env")

    def _as_started(self) -> bool:
        return all(os.environ.get(name) == value for name, value in self._environment.items())

    # In the cache

    def keep(self, key: str, kept: Kept, parts: Parts) -> None:
        self._id = parts.replace({name: b"\n".join(chunk) for name, chunk in self._chunks.items()})
        head = [self._id, self.models, self.steps, self.plan, self._environment, self.told]
        kept.put(key, json.dumps(head).encode())
        self.key = key

    @staticmethod
    def read(key: str, kept: Kept, parts: Parts, known: Stamp | None = None) -> Stamp | None:
        """The stamp that is kept, which may be one that is known; None where there is none that is whole."""
        if (value := kept.get(key)) is None:
            return None
        id_, models, steps, plan, environment, told = json.loads(value)
        if known is not None and known._id == id_:
            return known
        chunks = {name: Chunk(*value.split(b"\n", 1)) for name, value in (parts.all(id_) or {}).items()}
        if not chunks:
            return None
        stamp = Stamp(models, steps, plan, environment, chunks, Told(*told))
        stamp._id, stamp.key = id_, key
        return stamp

    def change(self, parts: Parts, common: Files, outputs: Mapping[str, Files]) -> None:
        """Keep other signatures of some common files, and other files of some outputs."""
        touched: dict[str, Chunk] = {}
        for name, chunk in self._chunks.items():
            if name.startswith(_COMMON):
                is_touched = any(path.encode(*_UTF8) in chunk.files for path in common)
            else:
                is_touched = bool(chunk.owned(outputs.keys()))
            if is_touched:
                apart = [(owner, outputs.get(owner, files)) for owner, files in chunk.taken_apart()]
                touched[name] = Chunk.of(
                    (
                        owner,
                        {path: common.get(path, seen) for path, seen in files.items()} if owner == COMMON else files,
                    )
                    for owner, files in apart
                )
        parts.change(self._id, {name: b"\n".join(chunk) for name, chunk in touched.items()})
        self._chunks.update(touched)


def _all_changed(several: Sequence[bytes]) -> Sequence[Sequence[int]]:
    """`changed` of each of several, by some threads at once: most of the time is the kernel's, which waits for memory."""
    hands = min(HANDS, len(several) // EACH)
    hands = min(hands, cores()) if _stats is not None and hands > 1 else 1
    found: dict[int, Sequence[int]] = {}

    def look(first: int) -> None:
        for at in range(first, len(several), hands):
            found[at] = changed(several[at])

    others = [threading.Thread(target=look, args=(first,)) for first in range(1, hands)]
    for thread in others:
        thread.start()
    look(0)
    for thread in others:
        thread.join()
    return [found[at] for at in range(len(several))]


def changed(files: bytes) -> Sequence[int]:
    """The numbers of the files that are not as they were: paths and signatures in turn, with a NUL between."""
    if _stats is not None:
        found: Sequence[int] = _stats.changed(files)
        return found
    texts = files.decode(*_UTF8).split("\0") if files else []
    return [number for number in range(len(texts) // 2) if not _is_same(texts[2 * number], texts[2 * number + 1])]


def _is_same(path: str, seen: str) -> bool:
    try:
        return signature(os.stat(path)) == seen
    except OSError:
        return not seen and not os.path.lexists(path)


class Edit(NamedTuple):
    """What was changed since a build was finished."""

    stamp: Stamp
    changes: Changes


def take(
    models: int,
    steps: int,
    looks: Iterable[Look],
    sources: Iterable[str],
    outputs: Mapping[str, Mapping[str, os.stat_result]],
    plan: str = "",
    told: Told = NOTHING,
) -> Stamp | None:
    """Stamp the files that a plan looked at and those that a build read and wrote; the last by outputs, with the stats they were left with.

    None where one is so young that a change right now would not show in its times.
    """
    looks, now = [*looks], time.time()
    environment = {subject: seen[1:] if seen else None for verb, subject, seen in looks if verb == "env"}
    wanted = {*sources, *(subject for verb, subject, _ in looks if verb != "env")}
    common = signed(wanted)
    uses = Counter(path for found in outputs.values() for path in found)
    own: dict[str, Files] = {}
    if common is None:
        return None
    for label, found in _once(outputs):
        files = settled(found, now)
        if files is None:
            return None
        common.update((path, files.pop(path)) for path in found if uses[path] > SEVERAL or path in common)
        own[label] = files
    chunks: dict[str, Chunk] = {}
    listed = [*common.items()]
    for start in range(0, max(1, len(listed)), CHUNK):
        chunks[f"{_COMMON}{start // CHUNK:06}"] = Chunk.of([(COMMON, dict(listed[start : start + CHUNK]))])
    labels = [*own.items()]
    for start in range(0, len(labels), CHUNK):
        chunks[f"own {start // CHUNK:06}"] = Chunk.of(labels[start : start + CHUNK])
    return Stamp(models, steps, plan, environment, chunks, told)


def again(
    stamp: Stamp,
    changes: Changes,
    looks: Sequence[Look],
    sources: Iterable[str],
    outputs: Mapping[str, Mapping[str, os.stat_result]],
) -> tuple[Files, dict[str, Files]] | None:
    """What a stamp says otherwise after the outputs that changes reach were built: of common files, and of these outputs.

    None where that cannot be told.
    """
    now, known = time.time(), stamp.common()
    read = {*sources, *(subject for verb, subject, _ in looks if verb != "env")} - known
    common, more = signed(changes.paths), signed(read)
    if common is None or more is None or not stamp.asks(looks):
        return None
    own: dict[str, Files] = {}
    for label, found in _once(outputs):
        files = {
            path: YOUNG if young(info, now) else signature(info) for path, info in found.items() if path not in known
        }
        own[label] = {**more, **files}
    return common, own


def _once(
    outputs: Mapping[str, Mapping[str, os.stat_result]],
) -> Iterator[tuple[str, dict[str, os.stat_result]]]:
    """Each file only for the first output of a model: all of a model are planned and built together."""
    known: dict[str, set[str]] = {}
    for label, stats in outputs.items():
        before = known.setdefault(label.partition(":")[0], set())
        yield label, {path: info for path, info in stats.items() if path not in before}
        before.update(stats)


def signed(paths: Iterable[str]) -> Files | None:
    """The signatures of files as they are; None where one is too young, or cannot be told."""
    now, stats = time.time(), dict[str, os.stat_result]()
    files: Files = {}
    for path in paths:
        try:
            stats[path] = os.stat(path)
        except OSError:
            if os.path.lexists(path):
                return None
            files[path] = ""
    found = settled(stats, now)
    return None if found is None else {**files, **found}


def settled(stats: Mapping[str, os.stat_result], now: float) -> Files | None:
    """The signatures of files by their stats; None where one was too young at that time."""
    if any(young(info, now) for info in stats.values()):
        return None
    return {path: signature(info) for path, info in stats.items()}

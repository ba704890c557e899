"""The stamp of a finished build: a stat of every file that it depends on. While no stat changes, there is nothing to do or to plan."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from modelbuild.files import signature, young
from modelbuild.observed import Look

if TYPE_CHECKING:
    from modelbuild.engine.kept import Kept
    from modelbuild.engine.parts import Parts

CHUNK = 256
"""Files that are kept together, and the outputs whose files are."""

MOST = 100
"""Files that have changed, of which each is looked for; where more have, all is planned and looked up."""

SEVERAL = 4
"""Outputs that may have a file together and each keep it as its own: it may go when they change."""

COMMON = ""
"""Owns the files that are of no output."""

Files = dict[str, str]
"""path -> signature of its stat; "" for what must not be there. A folder's signature stands for its listing"""


class Changes(NamedTuple):
    """What is not as it was: paths that are common, and outputs of which a file is not."""

    paths: Sequence[str]
    labels: Sequence[str]


class Stamp:
    """How many models and steps are finished, and all that they hang on.

    plan         the id of the plan that was built
    environment  variable -> value; None for one that must not be set
    chunks       the files: of each owner in a row, a path and its signature in turn
    """

    def __init__(
        self,
        models: int,
        steps: int,
        plan: str,
        environment: Mapping[str, str | None],
        chunks: Mapping[str, Sequence[str]],
        owners: Mapping[str, Sequence[tuple[str, int]]],
    ) -> None:
        self.models = models
        self.steps = steps
        self.plan = plan
        self._environment = environment
        self._chunks = {name: [*chunk] for name, chunk in chunks.items()}
        self._owners = owners
        self._id = ""

    def holds(self) -> bool:
        """Whether all is as it was: then there is nothing to do."""
        return self._as_started() and next(self._changed(), None) is None

    def changes(self) -> Changes | None:
        """What is not as it was; None where that is too much to be told file by file."""
        if not self._as_started():
            return None
        paths: list[str] = []
        labels: dict[str, None] = {}
        for number, (name, at) in enumerate(self._changed()):
            owner = self._owner(name, at)
            if number >= MOST:
                return None
            if owner == COMMON:
                paths.append(self._chunks[name][at])
            else:
                labels[owner] = None
        return Changes(paths, [*labels])

    def labels(self) -> set[str]:
        """The outputs that were built."""
        return {owner for name in self._chunks for owner, _ in self._owners[name]} - {COMMON}

    def common(self) -> set[str]:
        """The files that are of no output."""
        owned = (name for name in self._chunks if any(owner == COMMON for owner, _ in self._owners[name]))
        return {path for name in owned for path in self._chunks[name][::2]}

    def asks(self, looks: Iterable[Look]) -> bool:
        """Whether the variables of the environment at which these looks were are among its own."""
        return all(subject in self._environment for verb, subject, _ in looks if verb == "env")

    def _as_started(self) -> bool:
        return all(os.environ.get(name) == value for name, value in self._environment.items())

    def _changed(self) -> Iterator[tuple[str, int]]:
        """The chunk, and the place in it, of each file that is not as it was."""
        stat = os.stat
        for name, chunk in self._chunks.items():
            for at in range(0, len(chunk), 2):
                path, seen = chunk[at], chunk[at + 1]
                try:
                    info = stat(path)
                    if f"{info.st_dev}:{info.st_ino}:{info.st_size}:{info.st_mtime_ns}:{info.st_ctime_ns}" != seen:
                        yield name, at
                except OSError:
                    if seen or os.path.lexists(path):
                        yield name, at

    def _owner(self, name: str, at: int) -> str:
        for owner, files in self._owners[name]:
            at -= 2 * files
            if at < 0:
                return owner
        raise AssertionError(name)

    # In the cache

    def keep(self, key: str, kept: Kept, parts: Parts) -> None:
        self._id = parts.replace({name: self._encoded(name) for name in self._chunks})
        kept.put(key, json.dumps([self._id, self.models, self.steps, self.plan, self._environment]).encode())

    @staticmethod
    def read(key: str, kept: Kept, parts: Parts) -> Stamp | None:
        """The stamp that is kept; None where there is none that is whole."""
        if (value := kept.get(key)) is None:
            return None
        id_, models, steps, plan, environment = json.loads(value)
        chunks: dict[str, Sequence[str]] = {}
        owners = _Owners()
        for name, value in (parts.all(id_) or {}).items():
            head, _, files = value.partition(b"\n")
            chunks[name] = files.decode("utf-8", "surrogateescape").split("\0") if files else []
            owners.heads[name] = head
        if not chunks:
            return None
        stamp = Stamp(models, steps, plan, environment, {}, owners)
        stamp._chunks, stamp._id = chunks, id_  # type: ignore[assignment]
        return stamp

    def change(self, parts: Parts, common: Files, outputs: Mapping[str, Files]) -> None:
        """Keep other signatures of some common files, and other files of some outputs."""
        touched: dict[str, bytes] = {}
        for name, chunk in self._chunks.items():
            owners = [*self._owners[name]]
            if not any(owner in outputs for owner, _ in owners) and common.keys().isdisjoint(chunk[::2]):
                continue
            new: list[str] = []
            counts: list[tuple[str, int]] = []
            at = 0
            for owner, files in owners:
                before = dict(zip(chunk[at : at + 2 * files : 2], chunk[at + 1 : at + 2 * files : 2], strict=True))
                at += 2 * files
                after = outputs.get(owner, {path: common.get(path, seen) for path, seen in before.items()})
                new += _flat(after)
                counts.append((owner, len(after)))
            self._chunks[name] = new
            touched[name] = _encoded(counts, new)
        parts.change(self._id, touched)

    def _encoded(self, name: str) -> bytes:
        return _encoded(self._owners[name], self._chunks[name])


class _Owners(dict[str, Sequence[tuple[str, int]]]):
    """The owners of each chunk, taken apart where they are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.heads: dict[str, bytes] = {}

    def __missing__(self, name: str) -> Sequence[tuple[str, int]]:
        found = self[name] = [(owner, files) for owner, files in json.loads(self.heads[name])]
        return found


class Edit(NamedTuple):
    """What was changed since a build was finished."""

    stamp: Stamp
    changes: Changes


def _encoded(owners: Sequence[tuple[str, int]], chunk: Sequence[str]) -> bytes:
    return (
        json.dumps(owners, separators=(",", ":")).encode() + b"\n" + "\0".join(chunk).encode("utf-8", "surrogateescape")
    )


def _flat(files: Files) -> list[str]:
    return [text for pair in files.items() for text in pair]


def take(
    models: int,
    steps: int,
    looks: Iterable[Look],
    sources: Iterable[str],
    outputs: Mapping[str, Mapping[str, os.stat_result]],
    plan: str = "",
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
    for label, found in outputs.items():
        files = settled(found, now)
        if files is None:
            return None
        common.update((path, files.pop(path)) for path in found if uses[path] > SEVERAL or path in common)
        own[label] = files
    chunks: dict[str, Sequence[str]] = {}
    owners: dict[str, Sequence[tuple[str, int]]] = {}
    listed = [*common.items()]
    for start in range(0, max(1, len(listed)), CHUNK):
        some = dict(listed[start : start + CHUNK])
        name = f"common {start // CHUNK:06}"
        chunks[name], owners[name] = _flat(some), [(COMMON, len(some))]
    labels = [*own]
    for start in range(0, len(labels), CHUNK):
        name = f"own {start // CHUNK:06}"
        chunks[name] = [text for label in labels[start : start + CHUNK] for text in _flat(own[label])]
        owners[name] = [(label, len(own[label])) for label in labels[start : start + CHUNK]]
    return Stamp(models, steps, plan, environment, chunks, owners)


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
    for label, found in outputs.items():
        files = settled({path: info for path, info in found.items() if path not in known}, now)
        if files is None:
            return None
        own[label] = {**more, **files}
    return common, own


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

"""The tensor index with millions of entries: what notes, look-ups and forgetting cost, beside the schema of before.

    python -m benchmarks.index 1000000 3000000

Each build notes a file of 300 tensors and looks one up, as a layer does. The last columns are the size of the
file, and the memory of a process that does nothing else. `old` is the schema with text in each row that the index had up to schema 5.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from modelbuild.engine.action import Made, Range
from modelbuild.engine.cache import LocalCache
from modelbuild.engine.database import Database
from modelbuild.engine.store import Store
from modelbuild.engine.tensor_index import TensorIndex, forgetting, noting

TENSORS = 300
"""Of a blob; a model of 8 billion weights has 291."""

FILLED = 100
"""Blobs that are noted at once before anything is measured."""

ROUNDS = 50

OLD = """
drop table tensor;
create table tensor (
    key text primary key, blob text not null, offset integer not null, length integer not null, xxh3 text not null
) without rowid;
create index tensor_blob on tensor (blob);
"""


def key(number: int) -> str:
    return f"xxh3:{hashlib.md5(b'%d' % number).hexdigest()}"


def blob(number: int) -> str:
    return "sha256:" + hashlib.sha256(b"%d" % number).hexdigest()


def tensors(number: int) -> list[tuple[str, Range]]:
    """What lies in one blob."""
    first = number * TENSORS
    return [(key(first + at), Range(blob(number), at << 24, 1 << 24, key(-first - at))) for at in range(TENSORS)]


class New:
    """The index as it is."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def note(self, entries: list[tuple[str, Range]]) -> None:
        self.database.change(*noting(entries))

    def find(self, keys: list[str]) -> int:
        return len(TensorIndex(self.database).find(keys))

    def forget(self, name: str) -> None:
        self.database.change(*forgetting([name]))


class Old:
    """The index of schema 5."""

    def __init__(self, database: Database) -> None:
        self.database = database
        for statement in OLD.split(";"):
            database.rows(statement)

    def note(self, entries: list[tuple[str, Range]]) -> None:
        self.database.change(
            ("insert or replace into tensor values (?, ?, ?, ?, ?)", [(each, *at) for each, at in entries])
        )

    def find(self, keys: list[str]) -> int:
        query = "select key, blob, offset, length, xxh3 from tensor where key in ({})"
        return len(list(self.database.rows_in(query, keys)))

    def forget(self, name: str) -> None:
        self.database.change(("delete from tensor where blob = ?", [(name,)]))


def measure(kind: str, count: int) -> None:
    """Fill an index in this process, and print a line."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(folder)
        index = New(database) if kind == "new" else Old(database)
        blobs = count // TENSORS
        for first in range(0, blobs, FILLED):
            index.note([entry for number in range(first, min(first + FILLED, blobs)) for entry in tensors(number)])
        noted = taken(lambda: [index.note(tensors(number)) for number in range(blobs, blobs + ROUNDS)])
        database.rows("pragma wal_checkpoint(truncate)")
        size = os.stat(os.path.join(folder, "state.sqlite")).st_size
        picked = random.Random(1).sample(range(blobs), ROUNDS)
        looked = taken(lambda: [index.find([each for each, _ in tensors(number)]) for number in picked])
        missed = taken(
            lambda: [
                index.find([key(-(number * TENSORS) - at - 1 << 40) for at in range(TENSORS)]) for number in picked
            ]
        )
        forgot = taken(lambda: index.forget(blob(picked[0])))
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        database.close()
    print(
        f"| {kind} | {count:,} | {1e3 * noted / ROUNDS:.1f} ms | {1e3 * looked / ROUNDS:.1f} ms "
        f"| {1e3 * missed / ROUNDS:.1f} ms | {1e3 * forgot:.0f} ms | {size / 1e6:.0f} MB | {memory:.0f} MiB |",
        flush=True,
    )


def recall(count: int) -> None:
    """Fill an index and its notes, lose the database, and print what it costs to learn them again."""
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(Store(folder)) as store:
        for number in range(count // TENSORS):
            artifact = store.put(b"%d" % number)
            ranges = [(each, Range(artifact.artifact, 0, 1, at.xxh3)) for each, at in tensors(number)]
            store.notes.write(artifact.artifact, Made(artifact, tuple(ranges)))
        notes = sum(entry.stat().st_size for entry in os.scandir(store.notes.folder))
        seconds = taken(lambda: LocalCache(store).tensors([key(0)]))
    print(f"{count:,} tensors in notes of {notes / 1e6:.0f} MB are learned in {seconds:.1f} s", flush=True)


def taken(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.index", description=__doc__.splitlines()[0])
    parser.add_argument("counts", nargs="*", type=int, default=[1_000_000])
    parser.add_argument("--kind", choices=("new", "old", "recall"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.kind:
        recall(asked.counts[0]) if asked.kind == "recall" else measure(asked.kind, asked.counts[0])
        return
    print("| schema | tensors | note 300 | find 300 | miss 300 | forget a blob | file | memory |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for kind in ("old", "new", "recall"):
        for count in asked.counts:
            # A process each, so that the memory is its own.
            subprocess.run([sys.executable, "-m", "benchmarks.index", "--kind", kind, str(count)], check=True)


if __name__ == "__main__":
    main()

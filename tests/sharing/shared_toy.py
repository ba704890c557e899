"""Toy machines that share a remote in memory, which fails as it is told to."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelbuild.digest import Xxh3
from modelbuild.engine.graph import Graph, Source, Step
from modelbuild.engine.stat_cache import StatCache
from modelbuild.errors import Error
from modelbuild.remotes import BLOBS, RECORDS, Missing, Pieces
from modelbuild.sharing.cache import SharedCache, Terms
from modelbuild.sharing.contents import Contents
from modelbuild.sharing.keys import Keys
from tests.engine.toy import Toy, join, model

TEXT = "".join(chr(97 + number % 26) for number in range(60_000))
"""Too large for a record."""


class Memory:
    """A remote in memory. `fault` is asked before each request, with its verb and kind; it may raise, or say what to do with the bytes."""

    name = "memory"

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], bytes] = {}
        self.asked: list[tuple[str, str]] = []
        self.fault: Any = lambda verb, kind: None
        self._mutex = threading.Lock()

    def _ask(self, verb: str, kind: str) -> Any:
        with self._mutex:
            self.asked.append((verb, kind))
        return self.fault(verb, kind)

    def size(self, kind: str, digest: str) -> int | None:
        self._ask("size", kind)
        data = self.kept.get((kind, digest))
        return None if data is None else len(data)

    def get(self, kind: str, digest: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        spoil = self._ask("get", kind)
        data = self.kept.get((kind, digest))
        if data is None:
            raise Missing
        data = data[start:] if length is None else data[start : start + length]
        half = len(data) // 2
        if spoil == "cut":
            yield data[:half]
        elif spoil == "break":
            yield data[:half]
            raise Error("the connection broke")
        elif spoil == "flip":
            yield data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :]
        else:
            yield data[:half]
            yield data[half:]

    def put(self, kind: str, digest: str, size: int, pieces: Pieces) -> None:
        spoil = self._ask("put", kind)
        data = b"".join(pieces())
        assert len(data) == size
        self.kept[kind, digest] = data[: size // 2] if spoil == "cut" else data

    def stop(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """There are no connections."""

    def names(self, kind: str) -> list[str]:
        return [digest for each, digest in self.kept if each == kind]

    def records(self) -> int:
        return len(self.names(RECORDS))

    def blobs(self) -> int:
        return len(self.names(BLOBS))


class Machine(Toy):
    """A toy with a store of its own that shares a remote."""

    def __init__(self, folder: Path, remote: Memory, reads: bool = True, writes: bool = True) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.remote = remote
        self.told: list[dict[str, Any]] = []
        self.terms = Terms(reads, writes, lambda step: bool(step.inputs) and step.name != "m/manifest")
        super().__init__(folder)

    def open(self) -> None:
        super().open()
        contents = Contents(StatCache(self.store.database), lambda source: Xxh3(), lambda source: None)
        keys = Keys(contents.sha256)
        self.shared = SharedCache(self.store, self.remote, keys, self.terms, lambda: None, self.told.append)
        self.cache = self.shared

    def built(self, text: str = TEXT) -> list[str]:
        """Build the chain and finish the uploads, as a process does that begins anew; returns the steps that ran."""
        self.open()
        self.told.clear()
        self.build(chain(self.write("a.txt", text)))
        self.shared.finish(lambda: None)
        self.store.close()
        return [name for name in self.ran if name != "m/manifest"]

    def layer(self) -> bytes:
        """The bytes of the model that is installed."""
        found = [path.read_bytes() for path in (self.folder / "models" / "blobs").iterdir()]
        return max(found, key=len)

    @property
    def brought(self) -> list[str]:
        return [event["step"] for event in self.told if event["event"] == "brought"]


def chain(source: Source) -> Graph:
    """Three steps, one after the other; what each makes is large."""
    steps = [("m/first", source, "1"), ("m/second", "m/first", "2"), ("m/layer", "m/second", "3")]
    made: list[Step] = [
        join(name, ref, pool="thread", text=text, cut=10**6, final=name == "m/layer") for name, ref, text in steps
    ]
    return model(made, ["m/layer"])


def at_random(seed: int, *spoils: Any, chance: float = 0.3) -> Any:
    """A fault that happens to some requests: one of `spoils`, which is returned, or raised if it is an exception."""
    chosen = random.Random(seed)

    def fault(verb: str, kind: str) -> Any:
        if chosen.random() >= chance:
            return None
        spoil = chosen.choice(spoils)
        if isinstance(spoil, Exception):
            raise spoil
        return spoil

    return fault

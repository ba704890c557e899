"""Earlier results by the digest of their action: all questions that the engine asks about them, and the answers."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Protocol

from modelbuild.engine.action import ActionResult, Made, Range
from modelbuild.engine.store import ARTIFACT, Store


class Cache(Protocol):
    """Answers for results of actions and the artifacts that they name, wherever these lie."""

    def results(self, actions: Iterable[str]) -> dict[str, ActionResult]:
        """What these actions made before, by digest. The artifacts need not be at hand any more."""

    def record(self, action: str, made: Made) -> None:
        """Note what an action has made."""

    def has(self, result: ActionResult) -> bool:
        """Whether an artifact is at hand, whole as far as its size tells."""

    def fetch(self, result: ActionResult) -> bool:
        """Bring an artifact to hand; False where it must be made again. What it holds is checked when it is read."""

    def lock(self, action: str) -> AbstractContextManager[None]:
        """Hold an action while it runs: of several builds one makes it, the others wait."""


class LocalCache:
    """The cache that lies in a store of this machine, with the index of where each tensor lies in its artifacts."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def results(self, actions: Iterable[str]) -> dict[str, ActionResult]:
        rows = self.store.database.rows_in("select digest, artifact, size from action where digest in ({})", actions)
        return {
            action: ActionResult(artifact, size)
            for action, artifact, size in rows
            if isinstance(size, int) and ARTIFACT.fullmatch(str(artifact))
        }

    def record(self, action: str, made: Made) -> None:
        self.store.database.change(
            ("insert or replace into action values (?, ?, ?)", [(action, *made.result)]),
            ("insert or replace into tensor values (?, ?, ?, ?, ?)", [(key, *at) for key, at in made.tensors]),
        )

    def has(self, result: ActionResult) -> bool:
        return self.store.has(result)

    def fetch(self, result: ActionResult) -> bool:
        return self.store.path(result.artifact) is not None

    def lock(self, action: str) -> AbstractContextManager[None]:
        return self.store.lock(action)

    def tensors(self, keys: Iterable[str]) -> dict[str, Range]:
        """Where tensors lie that were made before, by key. A blob that is named may be gone."""
        query = "select key, blob, offset, length, xxh3 from tensor where key in ({})"
        return {
            key: Range(blob, offset, length, xxh3)
            for key, blob, offset, length, xxh3 in self.store.database.rows_in(query, keys)
            if isinstance(offset, int) and isinstance(length, int) and min(offset, length) >= 0
        }

    def ranges(self, blob: str) -> dict[int, Range]:
        """Where tensors lie in a blob, by offset, as far as the index names this blob for them."""
        query = "select offset, length, xxh3 from tensor where blob = ?"
        rows = self.store.database.rows(query, (blob,))
        return {offset: Range(blob, offset, length, str(xxh3)) for offset, length, xxh3 in rows}

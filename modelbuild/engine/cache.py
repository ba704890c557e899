"""Earlier results by the digest of their action: all questions that the engine asks about them, and the answers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from modelbuild.engine.action import Action, ActionResult, Made, Range
from modelbuild.engine.graph import Step
from modelbuild.engine.notes import Note
from modelbuild.engine.store import ARTIFACT, Store
from modelbuild.engine.tensor_index import TensorIndex, noting

BATCH = 20_000
"""Tensors of notes that are entered at once."""

_COST = "insert or replace into cost values (?, ?, ?)"


class Cache(Protocol):
    """Answers for results of actions and the artifacts that they name, wherever these lie."""

    def expect(self, steps: Mapping[Step, Action]) -> None:
        """Hear what steps are before their results are asked for, those that they need first."""

    def results(self, actions: Iterable[str]) -> dict[str, ActionResult]:
        """What these actions made before, by digest. The artifacts need not be at hand any more."""

    def record(self, action: str, made: Made) -> None:
        """Note what an action has made."""

    def record_all(self, made: Mapping[str, Made]) -> None:
        """Note what actions have made, by digest: all of it or nothing."""

    def has(self, result: ActionResult) -> bool:
        """Whether an artifact is at hand, whole as far as its size tells."""

    def fetch(self, result: ActionResult) -> bool:
        """Bring an artifact to hand; False where it must be made again. What it holds is checked when it is read."""

    def offer(self, action: str) -> ActionResult | None:
        """What `bring` would bring, as far as that can be told without doing it."""

    def bring(self, action: str) -> ActionResult | None:
        """Bring the result of an action here from elsewhere, with its artifact; None where it must be made here."""

    def lock(self, action: str) -> AbstractContextManager[None]:
        """Hold an action while it runs: of several builds one makes it, the others wait."""


class LocalCache:
    """The cache that lies in a store of this machine, with the index of where each tensor lies in its artifacts."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.index = TensorIndex(store.database)
        self._is_recalled = False

    def expect(self, steps: Mapping[Step, Action]) -> None:
        """What is here is known by its digest alone."""

    @property
    def is_mutual(self) -> bool:
        """Whether results are both taken from a remote and sent there."""
        return False

    def hindrances(self) -> list[tuple[str, str]]:
        """Facts of an error for something that is not here: why others that may have it did not give it."""
        return []

    def results(self, actions: Iterable[str]) -> dict[str, ActionResult]:
        self._recall()
        rows = self.store.database.rows_in("select digest, artifact, size from action where digest in ({})", actions)
        return {
            action: ActionResult(artifact, size)
            for action, artifact, size in rows
            if isinstance(size, int) and ARTIFACT.fullmatch(str(artifact))
        }

    def record(self, action: str, made: Made) -> None:
        self.record_all({action: made})

    def record_all(self, made: Mapping[str, Made]) -> None:
        now = time.time()
        for action, each in made.items():
            self.store.notes.write(action, each)
        self.store.database.change(
            (
                "insert or replace into action values (?, ?, ?)",
                [(action, *each.result) for action, each in made.items()],
            ),
            (_COST, [(each.result.artifact, each.seconds, now) for each in made.values()]),
            *noting([entry for each in made.values() for entry in each.tensors]),
        )

    def has(self, result: ActionResult) -> bool:
        return self.store.has(result)

    def fetch(self, result: ActionResult) -> bool:
        return self.store.path(result.artifact) is not None

    def offer(self, action: str) -> ActionResult | None:
        return None

    def bring(self, action: str) -> ActionResult | None:
        return None

    def gathered(self, action: str, wanted: Any) -> AbstractContextManager[None]:
        """Within, tensors are at hand that lie elsewhere, of those that an action needs; `wanted` is for who knows tensors to read."""
        return nullcontext()

    def lock(self, action: str) -> AbstractContextManager[None]:
        return self.store.lock(action)

    def stop(self) -> None:
        """End what is under way elsewhere, since the build ends; safe in a handler of a signal."""

    def note(self, tensors: Sequence[tuple[str, Range]]) -> None:
        """Note where tensors lie, by key."""
        self.store.database.change(*noting(tensors))

    def tensors(self, keys: Iterable[str]) -> dict[str, Range]:
        """Where tensors lie that were made before, by key. A blob that is named may be gone."""
        self._recall()
        return self.index.find(keys)

    def _recall(self) -> None:
        """Enter what the notes beside artifacts say into a database that is new: what lies there need not be made again."""
        if self._is_recalled:
            return
        self._is_recalled = True
        database = self.store.database
        if database.rows("select 1 from recalled limit 1"):
            return
        batch: list[Note] = []
        for note in self.store.notes.all():
            if self.store.path(note.result.artifact) is not None or any(map(os.path.isfile, note.places)):
                batch.append(note)
            if sum(len(each.tensors) for each in batch) >= BATCH:
                self._learn(batch)
                batch = []
        self._learn(batch)
        database.change(("insert into recalled values (?)", [(time.time(),)]))

    def _learn(self, notes: Sequence[Note]) -> None:
        """Enter what notes say, where nothing newer is known. A place comes without a stat: it is hashed before it is believed."""
        self.store.database.change(
            ("insert or ignore into action values (?, ?, ?)", [(note.action, *note.result) for note in notes]),
            (
                "insert or ignore into place values (?, ?, '')",
                [(note.result.artifact, place) for note in notes for place in note.places],
            ),
            *noting([entry for note in notes for entry in note.tensors], "ignore"),
        )

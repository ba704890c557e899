"""The cache of this machine joined with a remote: what lies here first, then what others made, and what is made here goes there."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from modelbuild import direct, trace
from modelbuild.digest import sha256
from modelbuild.engine.action import Action, ActionResult, Made, Range
from modelbuild.engine.build import Event
from modelbuild.engine.cache import LocalCache
from modelbuild.engine.graph import Step
from modelbuild.engine.store import Store
from modelbuild.errors import Error
from modelbuild.remotes import BLOBS, RECORDS, Remote
from modelbuild.sharing.gathering import Gathering, Means, Tensors
from modelbuild.sharing.hashing import Hashing
from modelbuild.sharing.keys import Known
from modelbuild.sharing.line import Line, Lost
from modelbuild.sharing.record import INDEX_LIMIT, LIMIT, Record, decode_index
from modelbuild.sharing.signing import Signer, Trust, Untrusted
from modelbuild.sharing.uploads import Sent, Uploads
from modelbuild.tuples import NamedTuple

ASKED_AT_ONCE = 32
"""Records that are asked for at the same time: of many, what counts is how long one answer takes."""

LARGE = 64 << 20
"""Bytes from which on a file is written past the page cache."""


class Terms(NamedTuple):
    """What is shared.

    reads, writes  whether results are taken from the remote, and sent there
    shares         whether a step's results are asked for and sent at all
    signer, trust  what signs records, and by whom they must be signed to be believed
    """

    reads: bool
    writes: bool
    shares: Callable[[Step], bool]
    signer: Signer | None = None
    trust: Trust | None = None


class SharedCache(LocalCache):
    """Answers from the store, and from a remote for what the store does not know.

    scratch  the folder that large artifacts are made in; None means the store
    tensors  the sha256 of each tensor of weights; None: tensors are not shared one by one
    tell     told the events `remote-lost`, `unsigned`, `brought`, `gathered`, `shared` and `remote-fault`
    """

    def __init__(
        self,
        store: Store,
        remote: Remote,
        keys: Known,
        terms: Terms,
        scratch: Callable[[], str | None],
        tell: Callable[[Event], None],
        tensors: Tensors | None = None,
    ) -> None:
        super().__init__(store)
        self.keys = keys
        self._terms = terms
        self._scratch = scratch
        self._tell = tell
        self.line = Line(remote, tell)
        self._gathering: Gathering | None = None
        if tensors is not None:
            means = Means(self.line, keys, tensors, terms.signer, terms.trust, tell)
            self._gathering = Gathering(self, means)
        send_parts = self._gathering.send if self._gathering is not None else None
        self.uploads = Uploads(self.line, store, keys.key, lambda record: record.encode(terms.signer), send_parts)
        self._mutex = threading.Lock()
        self._records: dict[str, Record | None] = {}
        self._came: set[str] = set()
        self._bringing: dict[str, threading.Lock] = {}
        self._brought = [0, 0]
        self._is_told = False

    # The engine's questions

    def expect(self, steps: Mapping[Step, Action]) -> None:
        self.keys.learn(steps)

    def results(self, actions: Iterable[str]) -> dict[str, ActionResult]:
        wanted = list(actions)
        found = super().results(wanted)
        others = [action for action in wanted if action not in found]
        for action, record in self._ask(others).items():
            found[action] = record.result
        return found

    def record_all(self, made: Mapping[str, Made]) -> None:
        super().record_all(made)
        if self._terms.writes:
            for action, each in made.items():
                if self._is_shared(action) and action not in self._came:
                    self.uploads.add(action, each)

    def fetch(self, result: ActionResult) -> bool:
        return super().fetch(result) or self._bring(result, None)

    def offer(self, action: str) -> ActionResult | None:
        if not self._terms.reads:
            return None
        known = super().results([action]).get(action)
        if known is not None and self._is_shared(action) and self._has(known):
            return known
        record = self._ask([action]).get(action)
        return record.result if record is not None else None

    def bring(self, action: str) -> ActionResult | None:
        if not self._is_shared(action) or not self._terms.reads:
            return None
        record = self._ask([action]).get(action)
        known = record.result if record is not None else super().results([action]).get(action)
        if known is None or not self._bring(known, self.keys.step(action)):
            return None
        tensors = self._index(record) if record is not None else ()
        super().record_all({action: Made(known, tensors, seconds=record.seconds if record is not None else 0.0)})
        return known

    def gathered(self, action: str, wanted: Any) -> AbstractContextManager[None]:
        if self._gathering is None or not self._terms.reads or not self._is_shared(action):
            return super().gathered(action, wanted)
        return self._gathering.gathered(action, wanted)

    def finish(self, check: Callable[[], None]) -> Sent:
        """Wait for the uploads, and tell what was exchanged; also if `check` raises, since somebody does not want to wait."""
        try:
            self.uploads.finish(check)
        finally:
            sent = self._told()
        return sent

    def _told(self) -> Sent:
        sent = self.uploads.sent()
        count, size = self._brought
        if count or sent.results or sent.left:
            self._tell(
                {
                    "event": "shared",
                    "remote": self.line.remote.name,
                    "fetched": count,
                    "bytes_fetched": size,
                    "sent": sent.results,
                    "bytes_sent": sent.bytes,
                    "left": sent.left,
                }
            )
        return sent

    def stop(self) -> None:
        self.line.stop()

    def close(self) -> None:
        """End all that is under way."""
        self.line.stop()
        self.line.remote.close()

    def came(self, action: str) -> None:
        """A worker has made this and sent it there: it need not be sent from here."""
        self._came.add(action)

    def ask_again(self, action: str) -> None:
        """Somebody has made this since it was asked for."""
        with self._mutex:
            self._records.pop(action, None)

    @property
    def writes(self) -> bool:
        """Whether results are sent to the remote."""
        return self._terms.writes

    @property
    def is_mutual(self) -> bool:
        """Whether results are both taken from the remote and sent there."""
        return self._terms.reads and self._terms.writes

    def shares(self, step: Step) -> bool:
        """Whether a step's results are exchanged at all."""
        return self._terms.shares(step)

    def is_sent(self, action: str) -> bool | None:
        """Whether the remote has a record of an action that we believe; None where it does not say."""
        try:
            if (key := self.keys.key(action)) is None:
                return False
            if self._terms.trust is None:
                return self.line.size(RECORDS, key, "read") is not None
            data = self.line.small(RECORDS, key, LIMIT)
            return data is not None and Record.decode(data, key, self._terms.trust) is not None
        except Untrusted:
            self._passed_over()
            return False
        except Lost:
            return None

    def hindrances(self) -> list[tuple[str, str]]:
        # Other threads may meet their first fault meanwhile.
        found = [told(error) for error in tuple(self.line.first.values())]
        found += ["has results that no key of [cache] trust signed"] if self._is_told else []
        return [("the remote cache", "; ".join(dict.fromkeys(found)))] if found else []

    def tell_faults(self) -> None:
        """Tell of faults that were too few to give the remote up. An upload that succeeded at a later try is none."""
        left = self.uploads.left
        for direction, error in self.line.untold():
            if direction == "read" or left:
                name = self.line.remote.name
                self._tell({"event": "remote-fault", "remote": name, "direction": direction, "error": str(error)})

    # Records

    def _is_shared(self, action: str) -> bool:
        step = self.keys.step(action)
        return step is not None and self._terms.shares(step)

    def _ask(self, actions: Sequence[str]) -> dict[str, Record]:
        """The records of actions that the remote has and that can be believed. Small artifacts that stand in them are stored."""
        if not self._terms.reads:
            return {}
        with self._mutex:
            new = [each for each in actions if each not in self._records]
        new = [action for action in new if self._is_shared(action)]
        keys = {action: key for action in new if (key := self.keys.key(action)) is not None}
        if keys and self.line.serves("read"):
            with trace.span("ask the remote cache", "io", records=len(keys)):
                self._take(dict(zip(keys, self.records(list(keys.values())), strict=True)))
        with self._mutex:
            return {each: found for each in actions if (found := self._records.get(each)) is not None}

    def records(self, keys: Sequence[str]) -> Iterator[Record | None]:
        """The records of keys, in their order; None for what is not there, or cannot be believed."""
        if len(keys) == 1:
            yield self._record(keys[0])
            return
        yield from self.line.together(self._record, keys, ASKED_AT_ONCE)

    def _record(self, key: str) -> Record | None:
        try:
            data = self.line.small(RECORDS, key, LIMIT)
            if data is None:
                return None
            found = Record.decode(data, key, self._terms.trust)
        except Lost:
            return None
        except Untrusted:
            self._passed_over()
            return None
        if found is not None and self._is_wrong_here(found.result):
            self.line.wrong(RECORDS, "has records with a wrong size")
            return None
        if found is None:
            self.line.wrong(RECORDS, "has records that are none")
        else:
            self.line.right(RECORDS)
        return found

    def _passed_over(self) -> None:
        """Tell, once, that there is what none of the keys in `trust` signed."""
        with self._mutex:
            if self._is_told:
                return
            self._is_told = True
        self._tell({"event": "unsigned", "remote": self.line.remote.name})

    def _is_wrong_here(self, result: ActionResult) -> bool:
        """Whether an artifact that is at hand has another size than somebody says: else it would be dropped as damaged."""
        path = self.store.path(result.artifact)
        try:
            return path is not None and os.stat(path).st_size != result.size
        except OSError:
            return False

    def _take(self, found: Mapping[str, Record | None]) -> None:
        """Note records, so that a later build needs no remote to know what was made."""
        with self._mutex:
            self._records.update(found)
        new = {action: record for action, record in found.items() if record is not None}
        for record in new.values():
            if record.data is not None:
                self.store.put(record.data)
                self._count(record.result)
        rows = [(action, *record.result) for action, record in new.items()]
        self.store.database.change(("insert or replace into action values (?, ?, ?)", rows))

    def _index(self, record: Record) -> tuple[tuple[str, Range], ...]:
        """Where the tensors of an artifact lie; none where that is not to be had."""
        if record.ranges is None:
            return ()
        try:
            data = self.line.small(BLOBS, record.ranges.removeprefix("sha256:"), INDEX_LIMIT)
        except Lost:
            return ()
        if data is None:
            return ()
        if sha256(data) != record.ranges:
            self.uploads.distrust(record.ranges)
            return ()
        return decode_index(data, record.result)

    # Artifacts

    def _has(self, result: ActionResult) -> bool:
        """Whether the remote has an artifact."""
        try:
            return self.line.size(BLOBS, result.artifact.removeprefix("sha256:"), "read") == result.size
        except Lost:
            return False

    def _bring(self, result: ActionResult, step: Step | None) -> bool:
        """Bring an artifact here, once for all threads that ask for it; hashed before anybody sees it."""
        if not self._terms.reads or not self.line.serves("read"):
            return False
        with self._mutex:
            lock = self._bringing.setdefault(result.artifact, threading.Lock())
        with lock:
            if self.has(result):
                return True
            folder = self._scratch() if step is not None and step.final else None
            with trace.span(f"fetch {result.artifact[:19]}", "io", bytes=result.size):
                try:
                    return self._received(result, folder, step)
                except (Lost, OSError):
                    # A full disk is said by the step that makes it instead.
                    return False

    def _received(self, result: ActionResult, folder: str | None, step: Step | None) -> bool:
        count = 0
        with self.store.temporary(folder) as file, Hashing() as sha:
            with contextlib.ExitStack() as held:
                write: Callable[[bytes], None] = file.write
                growing: direct.Growing | None = None
                if result.size >= LARGE:
                    direct.reserve(file.fileno(), result.size)
                    growing = held.enter_context(direct.Growing(file.fileno()))
                    write = growing.write
                for piece in self.line.large(BLOBS, result.artifact.removeprefix("sha256:")):
                    count += len(piece)
                    if count > result.size:
                        break
                    sha.update(piece)
                    write(piece)
                    if step is not None:
                        self._tell({"event": "progress", "step": step.name, "done": count, "total": result.size})
                if growing is not None and count == result.size:
                    growing.finish()
            if count != result.size or sha.digest() != result.artifact:
                self.line.wrong(BLOBS, "sent other bytes than their digest says")
                self.uploads.distrust(result.artifact)
                return False
            self.line.right(BLOBS)
            self.store.adopt(file.path, result.artifact, folder)
        self._count(result, step)
        return True

    def _count(self, result: ActionResult, step: Step | None = None) -> None:
        with self._mutex:
            self._brought[0] += 1
            self._brought[1] += result.size
        if step is not None:
            self._tell({"event": "brought", "step": step.name, "digest": result.artifact, "bytes": result.size})


def told(error: Error) -> str:
    """A fault in one line."""
    reasons = [text for label, text in error.facts if label == "reason"]
    return ": ".join([*filter(None, [error.place]), error.what, *reasons])

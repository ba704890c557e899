"""Results on their way to a remote, in threads of their own: the bytes first, and the record that names them last."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from modelbuild.digest import sha256
from modelbuild.engine.action import ActionResult, Made
from modelbuild.engine.store import Damaged, Store
from modelbuild.files import open_plain
from modelbuild.remotes import BLOBS, CHUNK, RECORDS
from modelbuild.sharing.line import Line, Lost
from modelbuild.sharing.record import SMALL, Record, encode_index
from modelbuild.tuples import NamedTuple

THREADS = 4

TRIES = 3
"""Times that a result is sent while the remote is not given up."""

Sign = Callable[[Record], bytes]
"""Spells a record as it is kept."""


class Sent(NamedTuple):
    """What became of the uploads: results that are there now, bytes that were sent, results that are not there."""

    results: int
    bytes: int
    left: int


class Uploads:
    """Sends results; `add` never waits.

    key   the key of an action, which may take as long as its sources are to read; None if it has none
    sign  spells records
    parts says to the remote where the tensors of what an action made lie; None: nothing is said
    """

    def __init__(
        self,
        line: Line,
        store: Store,
        key: Callable[[str], str | None],
        sign: Sign = Record.encode,
        parts: Callable[[str, Made], None] | None = None,
    ) -> None:
        self._line = line
        self._store = store
        self._key = key
        self._sign = sign
        self._parts = parts
        self._mutex = threading.Lock()
        self._waiting: queue.SimpleQueue[tuple[str, Made] | None] = queue.SimpleQueue()
        self._left: dict[str, Made] = {}
        self._taken: set[str] = set()
        self._due = 0
        self._there: set[str] = set()
        self._wrong: set[str] = set()
        self._results = 0
        self._bytes = 0
        self._threads: list[threading.Thread] = []

    def add(self, action: str, made: Made) -> None:
        """Send what an action made, when there is time."""
        with self._mutex:
            if action in self._left:
                return
            self._left[action] = made
            self._taken.add(action)
            self._due += 1
            if len(self._threads) < THREADS:
                thread = threading.Thread(target=self._work, name="upload", daemon=True)
                self._threads.append(thread)
                thread.start()
        self._waiting.put((action, made))

    def took(self, action: str) -> bool:
        """Whether a result was given to be sent, be it sent or not."""
        with self._mutex:
            return action in self._taken

    @property
    def left(self) -> dict[str, Made]:
        """What is not there yet, by action."""
        with self._mutex:
            return dict(self._left)

    def sent(self) -> Sent:
        """What became of the uploads so far."""
        with self._mutex:
            return Sent(self._results, self._bytes, len(self._left))

    def finish(self, check: Callable[[], None]) -> None:
        """Wait until all is there or the remote is lost. `check` raises where the user no longer wants to wait."""
        while self._due and self._line.serves("write") and any(each.is_alive() for each in self._threads):
            check()
            time.sleep(0.02)
        for _ in self._threads:
            self._waiting.put(None)

    def _work(self) -> None:
        while (taken := self._waiting.get()) is not None:
            action, made = taken
            try:
                for failures in range(1, TRIES + 1):
                    with suppress(Lost):
                        self._sent(action, self.send(action, made))
                        break
                    if failures == TRIES or not self._waited(self._line.pause(failures)):
                        break
            except Exception:
                pass  # it stays among those that are left, and the next one is sent
            except BaseException:
                # An interrupt, which the thread that builds hears too.
                return
            finally:
                with self._mutex:
                    self._due -= 1

    def _waited(self, seconds: float) -> bool:
        """Wait before another try; returns whether it is still of use."""
        end = time.monotonic() + seconds
        while self._line.serves("write"):
            if (left := end - time.monotonic()) <= 0:
                return True
            time.sleep(min(left, 0.05))
        return False

    def _sent(self, action: str, is_new: bool) -> None:
        with self._mutex:
            self._left.pop(action, None)
            self._results += is_new

    def send(self, action: str, made: Made) -> bool:
        """Send one result, now; False if it has no key. Raises Lost, and Damaged where the artifact is not what it was."""
        if (key := self._key(action)) is None:
            return False
        result, data, index = made.result, None, None
        if result.size <= SMALL:
            data = self._store.read(result.artifact)
        else:
            self.send_blob(result)
        if made.tensors:
            spelled = encode_index(made.tensors)
            index = sha256(spelled)
            self._send(index, len(spelled), lambda: [spelled])
        record = self._sign(Record(key, result, made.seconds, index, data))
        self._line.put(RECORDS, key, len(record), lambda: [record])
        if self._parts is not None and made.tensors:
            self._parts(action, made)
        return True

    def send_blob(self, result: ActionResult, path: str | None = None) -> None:
        """Send a blob that is not there yet: an artifact, or the file at `path`. Raises Lost, OSError, Damaged if it is another one."""
        artifact, size = result
        with self._store.open(artifact) if path is None else open_plain(path, buffering=0) as file:
            if os.fstat(file.fileno()).st_size != size:
                raise Damaged(artifact)

            def pieces() -> Iterator[bytes]:
                file.seek(0)
                while data := file.read(CHUNK):
                    yield data

            # Hashed, unless this process has made it and nobody has touched it since.
            self._store.verify(artifact, file)

            self._send(artifact, size, pieces)

    def doubt(self, digest: str) -> None:
        """Somebody did not find there what was sent before."""
        with self._mutex:
            self._there.discard(digest)

    def distrust(self, digest: str) -> None:
        """What is there under this digest has other bytes: whoever has the right ones sends them, though the size is that."""
        with self._mutex:
            self._there.discard(digest)
            self._wrong.add(digest)

    def _send(self, digest: str, size: int, pieces: Callable[[], Iterator[bytes] | list[bytes]]) -> None:
        """Send bytes that are not there yet."""
        name = digest.removeprefix("sha256:")
        with self._mutex:
            if digest in self._there:
                return
            is_wrong = digest in self._wrong
        if is_wrong or self._line.size(BLOBS, name) != size:
            self._line.put(BLOBS, name, size, pieces)
            with self._mutex:
                self._bytes += size
        with self._mutex:
            self._wrong.discard(digest)
            self._there.add(digest)

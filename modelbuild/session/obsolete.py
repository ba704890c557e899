"""Watches what a build is made of while it runs, and ends it when that changes."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import TracebackType

from modelbuild import interrupt
from modelbuild.digest import xxh3
from modelbuild.files import open_plain
from modelbuild.observed import Look, unchanged
from modelbuild.session.watcher import Watcher

STEP = 0.02
"""Seconds between two looks at what was heard."""


class Obsolete:
    """While it is entered, another thread uses the watcher.

    looks    of the plan; what they see the same of need not be built anew, nor what is added to a folder
    passing  what may change: it changes all the time
    """

    def __init__(self, watcher: Watcher, looks: Iterable[Look], passing: Collection[str] = ()) -> None:
        self._watcher = watcher
        self._looks: Mapping[str, Sequence[Look]] = {}
        self._all = looks
        self._judged = set(passing)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Obsolete:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(STEP):
            new = self._watcher.look() - self._judged
            self._judged |= new
            if any(map(self._differs, new)):
                break
        # What cannot be ended yet can soon: the build has not begun, or is at its end.
        while not (interrupt.supersede() or self._over.wait(STEP)):
            pass

    def _differs(self, path: str) -> bool:
        """Whether a path is not what the plan saw, and so what is made of it. Weights, of which it saw the head, are taken to differ."""
        if not self._looks:
            found: dict[str, list[Look]] = {}
            for look in self._all:
                found.setdefault(look[1], []).append(look)
            self._looks = found
        looks = self._looks.get(path)
        return looks is None or not unchanged((look for look in looks if look[0] != "entries"), digest)


def digest(path: str) -> str:
    """The digest of a text that the plan has read, whatever is known of it."""
    with open_plain(path) as file:
        return xxh3(file.read())

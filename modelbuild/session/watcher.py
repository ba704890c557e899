"""Waits for changes of the files and folders that a plan and its sources name, and ignores all others.

A stat of each of them is the truth. Events of the file system say where to look at once; every few seconds all are looked at, since events
are not to be had everywhere: a limit may be reached, and network file systems do not report what other machines write.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from modelbuild.files import TICK
from modelbuild.observed import Listing, Look, entries
from modelbuild.session.file_events import Concern, FileEvents

QUIET = 0.1
"""Seconds without a change after which a wait ends: editors and downloads write in several steps."""

STEP = QUIET / 16
"""Seconds between two looks at what is changing."""

PATIENCE = 2.0
"""Seconds after which a wait ends although changes go on."""

LONGEST_PATIENCE = 16.0
"""The same where nothing changes but what was changing already when the last wait ended: a download, most likely."""

PERIOD = 2.0
"""Seconds between two looks at everything."""

SHARE = 0.009
"""The part of one core that looking at everything may take. With thousands of files the looks come less often."""

_RANK = {"kind": 0, "entries": 1, "file": 2}


def concerns(looks: Iterable[Look], sources: Iterable[str]) -> dict[str, Concern]:
    """What counts of each path that the looks of a plan or the sources of its graph name."""
    found: dict[str, Concern] = {}
    for verb, subject, _ in looks:
        if verb != "env":
            concern: Concern = "kind" if verb == "kind" else "entries" if verb == "entries" else "file"
            if subject not in found or _RANK[concern] > _RANK[found[subject]]:
                found[subject] = concern
    found.update(dict.fromkeys(sources, "file"))
    return found


class _Seen(NamedTuple):
    """What counts of a stat."""

    mode: int
    device: int
    inode: int
    size: int
    mtime: int
    ctime: int
    links: int


class Watcher:
    """Knows how everything that counts looked when it was looked at last.

    poll  ask for no events
    """

    def __init__(self, *, poll: bool = False) -> None:
        self.period = PERIOD
        self._concerns: Mapping[str, Concern] = {}
        self._seen: dict[str, _Seen | None] = {}
        self._listings: dict[str, Listing | None] = {}
        self._restless: set[str] = set()
        self._patience = PATIENCE
        self._events = FileEvents()
        if poll:
            self._events.give_up("")

    @property
    def watched(self) -> int:
        """How many folders are watched."""
        return len(self._events.folders)

    @property
    def polling(self) -> str | None:
        """Why files are polled: '' where that was asked for, None where events suffice."""
        return self._events.missing

    def watch(self, concerns: Mapping[str, Concern]) -> bool:
        """Watch these paths and no others; True where some were not watched before."""
        new = [path for path, concern in concerns.items() if self._concerns.get(path) != concern]
        self._concerns = dict(concerns)
        for gone in self._seen.keys() - concerns.keys():
            del self._seen[gone]
            self._listings.pop(gone, None)
        if new:
            self._remember(new)
            now = time.time_ns()
            if any(seen is not None and abs(now - seen.mtime) < TICK * 1e9 for seen in map(self._seen.get, new)):
                # Written again within a tick of the clock, they would look the same.
                time.sleep(TICK)
                self._remember(new)
            self._follow()
        return bool(new)

    def _remember(self, paths: Iterable[str]) -> None:
        for path in paths:
            self._seen[path] = _see(path)
            if self._concerns[path] == "entries":
                self._listings[path] = _listing(path)

    def wait(self) -> set[str]:
        """Block until something that counts has changed and come to rest, or for the longest time; returns the paths."""
        self._follow()
        while True:
            heard = self._events.wait(self.period)
            changed = self._changed(heard) if heard else self._patrol()
            if changed:
                return self._settle(changed)
            if heard or self._events.displaced():
                self._follow()

    def close(self) -> None:
        self._events.close()

    def _patrol(self) -> set[str]:
        """Look at everything."""
        begun = time.thread_time()
        changed = self._changed(self._concerns)
        self.period = max(PERIOD, (time.thread_time() - begun) / SHARE)
        return changed

    def _settle(self, changed: set[str]) -> set[str]:
        """Wait until nothing changes any more, or patience is at its end. Returns everything that has changed."""
        begun = time.monotonic()
        latest = dict.fromkeys(changed, begun)
        while True:
            time.sleep(max(0, min(STEP, max(latest.values()) + QUIET - time.monotonic())))
            now = time.monotonic()
            latest.update(dict.fromkeys(self._changed(latest.keys() | self._events.take()), now))
            restless = {path for path, changed_at in latest.items() if now < changed_at + QUIET}
            if not restless:
                self._restless, self._patience = restless, PATIENCE
                return set(latest)
            patience = self._patience if latest.keys() <= self._restless else PATIENCE
            if now - begun >= patience:
                self._restless, self._patience = restless, min(2 * patience, LONGEST_PATIENCE)
                for path in restless:
                    # The next write may leave the same times: it must not look as if it were this one.
                    self._seen.pop(path, None)
                return set(latest)

    def _changed(self, paths: Collection[str]) -> set[str]:
        """Those of the paths that look otherwise than before; how they look now is remembered."""
        found = set()
        known, concerns = self._seen, self._concerns
        for path in paths:
            now, is_known = _see(path), path in known
            if path not in concerns or (is_known and known[path] == now):
                continue
            if concerns[path] == "entries":
                before, self._listings[path] = self._listings.get(path), _listing(path)
                same = self._listings[path] == before
            else:
                same = is_known and _alike(concerns[path], known[path], now)
            known[path] = now
            if not same:
                found.add(path)
        return found

    def _follow(self) -> None:
        """Ask for events where what counts lies now."""
        self._events.follow(self._concerns)


def _see(path: str) -> _Seen | None:
    try:
        info = os.stat(path)
    except (OSError, ValueError):
        return None
    return _Seen(
        info.st_mode, info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_nlink
    )


def _listing(path: str) -> Listing | None:
    try:
        return entries(path)
    except OSError:
        return None


def _alike(concern: Concern, before: _Seen | None, now: _Seen | None) -> bool:
    """Whether nothing that counts differs."""
    if before is None or now is None:
        return before is now
    if concern == "kind" and not stat.S_ISREG(now.mode):
        return stat.S_IFMT(before.mode) == stat.S_IFMT(now.mode)
    # A hard link more or less (a build may make one) changes a file's ctime and nothing in it.
    return now._replace(ctime=before.ctime, links=before.links) == before and (
        now.ctime == before.ctime or now.links != before.links
    )

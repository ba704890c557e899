"""Waits for changes of the files and folders that a plan and its sources name, and ignores all others.

A stat of each of them is the truth. Events of the file system say where to look at once; every few seconds all are looked at, since events
are not to be had everywhere: a limit may be reached, and network file systems do not report what other machines write.
"""

from __future__ import annotations

import math
import os
import stat
import time
from collections.abc import Collection, Iterable, Mapping

from modelbuild.files import DAY, TICK
from modelbuild.observed import Listing, Look, entries
from modelbuild.session.file_events import Concern, FileEvents
from modelbuild.tuples import NamedTuple

SHORTEST = 0.002
"""Seconds without a change after which a wait ends, where events tell that a file is whole."""

QUIET = 0.1
"""The same at most, in a burst of changes, and where no events tell: editors and downloads write in several steps."""

RETURN = 0.03
"""The same at least where a file is missing: editors rename the old one before they write the new one."""

SOON = 0.5
"""Seconds after a wait within which another change belongs to the same burst."""

STEP = QUIET / 16
"""Seconds between two looks at what is changing, without events."""

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


def stronger(known: Mapping[str, Concern], concerns: Mapping[str, Concern]) -> dict[str, Concern]:
    """The concerns of which each asks for more than what is known to count of its path."""
    ranks = {path: _RANK[known[path]] for path in concerns if path in known}
    return {path: concern for path, concern in concerns.items() if _RANK[concern] > ranks.get(path, -1)}


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

    poll      ask for no events
    restless  what went on changing when the last wait ended
    told      what has changed by the last wait, path -> "changed", "added" or "removed"; of a folder, the entries
    """

    def __init__(self, *, poll: bool = False) -> None:
        self.period = PERIOD
        self.restless: set[str] = set()
        self.told: dict[str, str] = {}
        self._concerns: dict[str, Concern] = {}
        self._seen: dict[str, _Seen | None] = {}
        self._listings: dict[str, Listing | None] = {}
        self._unsure: set[str] = set()
        self._found: set[str] = set()
        self._stirred: set[str] = set()
        self._verbs: dict[str, str] = {}
        self._patience = PATIENCE
        self._quiet = SHORTEST
        self._settled = -math.inf
        self._looked = time.monotonic()
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

    def watch(self, concerns: Mapping[str, Concern]) -> list[str]:
        """Watch these paths and no others; returns those of which something counts that was not watched before."""
        gone = self._concerns.keys() - concerns.keys()
        for path in gone:
            del self._concerns[path]
            self._seen.pop(path, None)
            self._listings.pop(path, None)
            self._unsure.discard(path)
        return self._watch(concerns, gone)

    def watch_more(self, concerns: Mapping[str, Concern]) -> list[str]:
        """Watch these paths as well; returns those of which something counts that was not watched before."""
        return self._watch(stronger(self._concerns, concerns), ())

    def _watch(self, concerns: Mapping[str, Concern], gone: Collection[str]) -> list[str]:
        new = [path for path, concern in concerns.items() if self._concerns.get(path) != concern]
        self._concerns.update(concerns)
        self._events.follow(self._concerns, new, gone)
        if new:
            self._remember(new)
            if self.polling is not None and not self._unsure.isdisjoint(new):
                # Written again within a tick of the clock, they would look the same.
                time.sleep(TICK)
                self._remember(new)
        return new

    def _remember(self, paths: Iterable[str]) -> None:
        for path in paths:
            self._note(path, time.time_ns(), _see(path))
            if self._concerns[path] == "entries":
                self._listings[path] = _listing(path)

    def _note(self, path: str, asked: int, seen: _Seen | None) -> None:
        """Remember how a path looked at a time. One that was young then may look the same after another write."""
        self._seen[path] = seen
        if seen is not None and -DAY < (asked - max(seen.mtime, seen.ctime)) * 1e-9 < TICK:
            self._unsure.add(path)
        else:
            self._unsure.discard(path)

    def begin(self) -> None:
        """A plan begins: from now on it counts, for `stirred`, what is heard of."""
        self._stirred.clear()

    def stirred(self) -> set[str]:
        """What may have changed since, also if it was changed back: a plan may have seen it otherwise than it looks now."""
        self.look()
        if self.polling is not None:
            self._stirred.update(path for path, concern in self._concerns.items() if concern != "file")
        return self._stirred & self._concerns.keys()

    def again(self, path: str) -> None:
        """Take a path as changed."""
        self._found.add(path)

    def wait(self, seconds: float = math.inf) -> set[str]:
        """Block until something that counts has changed and come to rest, or for the longest time; returns the paths.

        None after so many seconds without a change.
        """
        end = time.monotonic() + seconds
        while not self.look(min(end, self._looked + self.period) - time.monotonic()):
            if time.monotonic() >= end:
                return set()
        changed = self._settle()
        self.told, self._verbs, self._found = self._verbs, {}, set()
        return changed

    def look(self, seconds: float = 0.0) -> set[str]:
        """What has changed since the last wait; where that is nothing, what is heard of first, within so many seconds."""
        heard = self._hear(0.0 if self._found else max(0.0, seconds))
        if heard:
            self._stirred |= heard
            self._found |= self._changed(heard, heard)
        if self._events.lost or time.monotonic() >= self._looked + self.period:
            self._found |= self._patrol()
        return set(self._found)

    def close(self) -> None:
        self._events.close()

    def _hear(self, seconds: float) -> set[str]:
        """The paths of the next events, to be looked at now: what happens on the way to them from now on is heard too."""
        heard = self._events.read(seconds)
        if heard:
            self._events.follow(self._concerns)
        return heard

    def _patrol(self) -> set[str]:
        """Look at everything."""
        begun = time.thread_time()
        is_deaf = self._events.lost or self._events.displaced()
        if is_deaf:
            self._stirred.update(path for path, concern in self._concerns.items() if concern != "file")
            self._events.follow_anew(self._concerns)
        changed = self._changed(self._concerns, self._concerns if is_deaf else ())
        self.period = max(PERIOD, (time.thread_time() - begun) / SHARE)
        self._looked = time.monotonic()
        return changed

    def _settle(self) -> set[str]:
        """Wait until nothing changes any more, or patience is at its end. Returns everything that has changed.

        A save is over when its file is closed or has its name, so the first quiet time is short. Each change that comes after it,
        or soon after the wait before, doubles it.
        """
        begun = last = time.monotonic()
        latest = dict.fromkeys(self._found, begun)
        self._quiet = self._longer() if begun < self._settled + SOON else SHORTEST
        while True:
            quiet = QUIET if self.polling is not None else self._quiet
            if any(self._seen.get(path) is None for path in latest):
                quiet = max(quiet, RETURN)
            rest = max(last + quiet, self._events.unfinished())
            heard = self._hear(max(0.0, min(STEP if self.polling is not None else quiet, rest - time.monotonic())))
            changed = self._changed(heard if self.polling is None else latest.keys() | heard, heard)
            now = time.monotonic()
            if changed:
                last = now
                latest.update(dict.fromkeys(changed, now))
                self._quiet = self._longer()
            elif now >= rest and now >= self._events.unfinished():
                self.restless, self._patience = set(), PATIENCE
                break
            patience = self._patience if latest.keys() <= self.restless else PATIENCE
            if now - begun >= patience:
                self.restless = {path for path, changed_at in latest.items() if now < changed_at + QUIET}
                self._patience = min(2 * patience, LONGEST_PATIENCE)
                for path in self.restless:
                    # The next write may leave the same times: it must not look as if it were this one.
                    self._seen.pop(path, None)
                break
        self._settled = time.monotonic()
        return latest.keys() | (self._patrol() if self._events.lost else set())

    def _longer(self) -> float:
        return min(2 * self._quiet, QUIET)

    def _changed(self, paths: Collection[str], heard: Collection[str] = ()) -> set[str]:
        """Those of the paths that look otherwise than before, or may be so; how they look now is remembered.

        heard  the paths of events, also of such as may have been lost: one that was young when it was looked at may have been
               written to since
        """
        found = set()
        seen, concerns = self._seen, self._concerns
        for path in paths:
            concern = concerns.get(path)
            if concern is None:
                continue
            asked, now, is_known = time.time_ns(), _see(path), path in seen
            before = seen.get(path)
            if is_known and before == now:
                if concern != "file" or path not in self._unsure or path not in heard:
                    continue
                same = False
            elif concern == "entries":
                same = self._is_listed_alike(path)
            else:
                same = is_known and _alike(concern, before, now)
            self._note(path, asked, now)
            if not same:
                found.add(path)
                if concern != "entries":
                    self._say(path, "added" if before is None and is_known else "removed" if now is None else "changed")
        return found

    def _is_listed_alike(self, path: str) -> bool:
        """Whether a folder has the same entries as before; those that differ are told."""
        before, now = self._listings.get(path) or (), _listing(path)
        same = now == self._listings.get(path)
        self._listings[path] = now
        names, names_now = {entry[0] for entry in before}, {entry[0] for entry in now or ()}
        for name in names ^ names_now:
            self._say(os.path.join(path, name), "added" if name in names_now else "removed")
        return same

    def _say(self, path: str, verb: str) -> None:
        before = self._verbs.get(path, verb)
        self._verbs[path] = verb if verb in (before, "removed") else "changed" if before == "removed" else before


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

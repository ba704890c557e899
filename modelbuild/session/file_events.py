"""Events of the file system for the paths that count: where to ask for them, and whether they can be relied on."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Literal

from modelbuild.session.events import Event, Listener, Missing, why
from modelbuild.session.file_systems import silent

Concern = Literal["kind", "entries", "file"]
"""What of a path counts: whether it is a file, a folder or nothing; a folder's listing; all that a stat tells of a file."""

COMING = 0.1
"""Seconds that a write may pause before we no longer wait for the file to be closed."""

STEADY = 8
"""Times that it is tried to listen along ways that change meanwhile."""

_UNKNOWN = (-1, -1)
"""Is the identity of no folder."""


class FileEvents:
    """Hears, where the system tells, of changes on the way to the paths that count.

    folders  the folders whose events are asked for: (device, inode) when that was done, and what the listener calls that
    missing  why events cannot be relied on, None where they can
    lost     whether anything may have changed without an event
    """

    def __init__(self) -> None:
        self.folders: dict[str, tuple[tuple[int, int], Any]] = {}
        self.missing: str | None = None
        self.lost = False
        self._listener: Listener | None = None
        self._given_up = False
        self._ways: dict[str, list[str]] = {}
        self._by_entry: dict[str, set[str]] = {}
        self._by_folder: dict[str, set[str]] = {}
        self._moved: set[str] = set()
        self._unfinished: dict[str, float] = {}

    # What was heard

    def read(self, seconds: float) -> set[str]:
        """The paths that count and may have changed; where there are none, those of the next events, after at most so long."""
        if self._listener is None:
            time.sleep(seconds)
            return set()
        heard: set[str] = set()
        end = time.monotonic() + seconds
        while True:
            for event in self._listener.read(seconds):
                heard |= self._heard(event)
            seconds = end - time.monotonic()
            if heard or self.lost or seconds <= 0:
                return heard

    def _heard(self, event: Event) -> set[str]:
        path = event.path
        if path is None:
            self.lost = True
            return set()
        counts = set(self._by_entry.get(path, ()))
        pending = self._unfinished.pop(path, None)
        if event.listing:
            # What leads there may be a link now, or no link any more.
            self._moved |= counts
            counts |= self._by_folder.get(os.path.dirname(path), set())
        if event.state == "coming" and (counts or pending):
            self._unfinished[path] = time.monotonic() + COMING
        return counts

    def unfinished(self) -> float:
        """Until when files that were not closed yet are likely to be written to; 0 where all are closed."""
        now = time.monotonic()
        self._unfinished = {path: end for path, end in self._unfinished.items() if end > now}
        return max(self._unfinished.values(), default=0.0)

    # Where to listen

    def follow(self, concerns: Mapping[str, Concern], new: Iterable[str] = (), gone: Iterable[str] = ()) -> None:
        """Listen in the folders where a change would change one of these paths, and in no others.

        new   those of the paths that were none before, or of which another thing counts
        gone  those that are none any more
        """
        if self._given_up:
            return
        wanted = {path for path in self._moved.union(new) if path in concerns}
        self._moved = set()
        for path in self._ways.keys() & gone:
            self._leave(path)
        try:
            for _ in range(STEADY):
                is_new, missed = self._listen(self._lead(concerns, wanted))
                if not is_new:
                    break
                # What came before we listened where it came was not heard: the ways may lead further now.
                wanted = {path for path, way in ways(wanted) if way != self._ways[path] or _passes(way, missed)}
            else:
                self.lost = True
        except Missing as missing:
            self.give_up(str(missing))
        if gone:
            self._drop_others()

    def follow_anew(self, concerns: Mapping[str, Concern]) -> None:
        """The same, whatever was known of the folders: one that was removed and made again may have the same identity."""
        self.lost = False
        self.folders = {folder: (_UNKNOWN, handle) for folder, (_, handle) in self.folders.items()}
        self.follow(concerns, concerns, self._ways.keys() - concerns.keys())
        self._drop_others()

    def _lead(self, concerns: Mapping[str, Concern], paths: Iterable[str]) -> Iterable[str]:
        """Note where paths lead now; returns the folders to listen in."""
        folders: dict[str, None] = {}
        for path, way in ways(paths):
            if path in self._ways:
                self._leave(path)
            self._ways[path] = way
            for entry in way:
                self._by_entry.setdefault(entry, set()).add(path)
                folders[os.path.dirname(entry)] = None
            if concerns[path] == "entries":
                self._by_folder.setdefault(way[-1], set()).add(path)
                if os.path.isdir(way[-1]):
                    folders[way[-1]] = None
        return folders

    def _leave(self, path: str) -> None:
        for entry in self._ways.pop(path):
            for by in (self._by_entry, self._by_folder):
                if entry in by:
                    by[entry].discard(path)
                    if not by[entry]:
                        del by[entry]

    def displaced(self) -> bool:
        """Whether a folder is no longer the one whose events are asked for."""
        return any(_identity(folder) != identity for folder, (identity, _) in self.folders.items())

    def _listen(self, folders: Iterable[str]) -> tuple[bool, set[str]]:
        """Listen in these folders, as they are now. Returns whether one is another than before, and those that have gone."""
        new, is_new, missed = [], False, set[str]()
        for folder in folders:
            identity = _identity(folder)
            known, handle = self.folders.get(folder, (None, None))
            is_new |= identity is None or identity != known
            if (identity == known and handle is not None) or (known is None and self._is_full()):
                continue
            if self._listener is None:
                self._listener = listener()
            made = None
            if identity is not None:
                try:
                    made = self._listener.listen(folder)
                except (FileNotFoundError, NotADirectoryError):
                    identity = None
                except OSError:
                    # Its events are not for us.
                    pass
            if known is not None and made != handle:
                self._drop(folder, handle)
            if identity is None:
                missed.add(folder)
            else:
                new.append(folder)
                self.folders[folder] = identity, made
        if self.missing is None and (found := silent(new)):
            self.missing = f"{found[1]} ({found[0]}) does not report every change"
        return is_new, missed

    def _is_full(self) -> bool:
        return self._listener is not None and len(self.folders) >= self._listener.most

    def _drop(self, folder: str, handle: Any) -> None:
        del self.folders[folder]
        if handle is not None and self._listener is not None:
            self._listener.drop(folder, handle)

    def _drop_others(self) -> None:
        """Listen no more where nothing counts any more."""
        wanted = {os.path.dirname(entry) for entry in self._by_entry} | self._by_folder.keys()
        for folder, (_, handle) in list(self.folders.items()):
            if folder not in wanted:
                self._drop(folder, handle)

    def give_up(self, why: str) -> None:
        """Ask for no more events, and drop those asked for."""
        self.missing, self._given_up = why, True
        self.close()

    def close(self) -> None:
        self.folders.clear()
        found, self._listener = self._listener, None
        if found is not None:
            found.close()


def listener() -> Listener:
    """The one of this system. Raises Missing."""
    try:
        try:
            from modelbuild.session.inotify import Inotify

            return Inotify()
        except ImportError:
            from modelbuild.session.observer import Observer

            return Observer()
    except (ImportError, OSError, RuntimeError) as fault:
        raise Missing(why(fault)) from fault


def ways(paths: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """(path, the entries of real folders that decide where it leads): the links on the way, and the last entry.

    Where there is nothing, the last entry is the first one that is missing.
    """
    known: dict[str, tuple[list[str], bool]] = {}
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in known:
            way = list(_way(folder))
            known[folder] = way, os.path.isdir(way[-1])
        way, is_folder = known[folder]
        if is_folder:
            *links, end = way
            entry = os.path.join(end, name)
            way = [*links, *(_way(entry) if os.path.islink(entry) else [entry])]
        yield path, way


def _way(path: str) -> Iterator[str]:
    at = os.sep
    todo = path.split(os.sep)[::-1]
    links = 0
    while todo:
        part = todo.pop()
        if part in ("", "."):
            continue
        if part == "..":
            at = os.path.dirname(at)
            continue
        step = os.path.join(at, part)
        try:
            target = os.readlink(step)
        except OSError:
            at = step
            if todo and not os.path.isdir(at):
                break
            continue
        yield step
        links += 1
        if links > 40:
            return
        todo += target.split(os.sep)[::-1]
        at = os.sep if os.path.isabs(target) else at
    yield at


def _passes(way: Iterable[str], folders: Collection[str]) -> bool:
    return bool(folders) and any(entry in folders or os.path.dirname(entry) in folders for entry in way)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        info = os.stat(path)
    except (OSError, ValueError):
        return None
    return info.st_dev, info.st_ino

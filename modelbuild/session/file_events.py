"""Events of the file system for the paths that count: where to ask for them, and whether they can be relied on."""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

from modelbuild.files import reason

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent, FileSystemEventHandler

EVENTS = 256
"""Folders whose events are asked for, a thread each. Files in others are looked at every `PERIOD` alone."""

SILENT = {
    "9p",
    "afs",
    "ceph",
    "cifs",
    "drvfs",
    "glusterfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "prl_fs",
    "smb3",
    "smbfs",
} | {
    "vboxsf",
    "virtiofs",
    "vmhgfs",
}
"""File systems that somebody else may write to without an event here; those named `fuse.…` as well."""

Concern = Literal["kind", "entries", "file"]
"""What of a path counts: whether it is a file, a folder or nothing; a folder's listing; all that a stat tells of a file."""


class _Missing(Exception):
    """No events are to be had."""


class FileEvents:
    """Hears, where the system tells, of changes on the way to the paths that count.

    folders  the folders whose events are asked for: (device, inode) when that was done, and what watchdog calls the watch
    missing  why events cannot be relied on, None where they can
    """

    def __init__(self) -> None:
        self.folders: dict[str, tuple[tuple[int, int], Any]] = {}
        self.missing: str | None = None
        self._observer: Any = None
        self._given_up = False
        self._by_entry: dict[str, list[str]] = {}
        self._by_folder: dict[str, list[str]] = {}
        self._lock = threading.Lock()
        self._heard: set[str] = set()
        self._rang = threading.Event()

    # What was heard

    def wait(self, seconds: float) -> set[str]:
        """The paths that count and may have changed; none after so many seconds."""
        self._rang.wait(seconds)
        return self.take()

    def take(self) -> set[str]:
        """The same, at once."""
        with self._lock:
            self._rang.clear()
            heard, self._heard = self._heard, set()
        return heard

    def dispatch(self, event: FileSystemEvent) -> None:
        """Hear an event; called by watchdog, in a thread of its own."""
        for name in (event.src_path, event.dest_path):
            path = os.fsdecode(name)
            counts = [self._by_entry.get(path, ())]
            if event.event_type != "modified":
                counts.append(self._by_folder.get(os.path.dirname(path), ()))
            if any(counts):
                with self._lock:
                    self._heard.update(*counts)
                    self._rang.set()

    # Where to listen

    def follow(self, concerns: Mapping[str, Concern]) -> None:
        """Listen in the folders where a change would change one of these paths, and in no others."""
        if self._given_up:
            return
        by_entry: dict[str, list[str]] = {}
        by_folder: dict[str, list[str]] = {}
        for path, way in ways(concerns):
            for entry in way:
                by_entry.setdefault(entry, []).append(path)
            if concerns[path] == "entries":
                by_folder.setdefault(way[-1], []).append(path)
        self._by_entry, self._by_folder = by_entry, by_folder
        wanted = dict.fromkeys([*map(os.path.dirname, by_entry), *(each for each in by_folder if os.path.isdir(each))])
        try:
            self._listen(list(wanted)[:EVENTS])
        except _Missing as missing:
            self.give_up(str(missing))

    def displaced(self) -> bool:
        """Whether a folder is no longer the one whose events are asked for."""
        return any(_identity(folder) != identity for folder, (identity, _) in self.folders.items())

    def _listen(self, wanted: list[str]) -> None:
        now = {folder: identity for folder in wanted if (identity := _identity(folder)) is not None}
        for folder, (identity, watch) in list(self.folders.items()):
            if now.get(folder) != identity:
                del self.folders[folder]
                if watch is not None:
                    self._observer.unschedule(watch)
        new = [folder for folder in now if folder not in self.folders]
        if not new:
            return
        self._open()
        for folder in new:
            self.folders[folder] = now[folder], self._schedule(folder)
        if self.missing is None and (silent := _silent(new)):
            self.missing = f"{silent[1]} ({silent[0]}) does not report every change"

    def _open(self) -> None:
        if self._observer is not None:
            return
        # Lost events are found by looking; nobody needs to read of them.
        logging.getLogger("watchdog").addHandler(logging.NullHandler())
        logging.getLogger("watchdog").propagate = False
        try:
            from watchdog.observers import Observer

            self._observer = Observer()
            self._observer.start()
        except (ImportError, OSError, RuntimeError) as fault:
            raise _Missing(_reason(fault)) from fault

    def _schedule(self, folder: str) -> Any:
        from watchdog import events

        kinds = [events.FileCreatedEvent, events.FileModifiedEvent, events.FileMovedEvent, events.FileDeletedEvent]
        kinds += [events.DirCreatedEvent, events.DirMovedEvent, events.DirDeletedEvent]
        try:
            return self._observer.schedule(cast("FileSystemEventHandler", self), folder, event_filter=kinds)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            # It has just gone (then it is displaced), or its events are not for us.
            return None
        except (OSError, RuntimeError) as fault:
            raise _Missing(_reason(fault)) from fault

    def give_up(self, why: str) -> None:
        """Ask for no more events, and drop those asked for."""
        self.missing, self._given_up = why, True
        self.close()

    def close(self) -> None:
        self.folders.clear()
        observer, self._observer = self._observer, None
        if observer is not None and observer.is_alive():
            observer.stop()


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


def _identity(path: str) -> tuple[int, int] | None:
    try:
        info = os.stat(path)
    except (OSError, ValueError):
        return None
    return info.st_dev, info.st_ino


def _reason(fault: Exception) -> str:
    number = fault.errno if isinstance(fault, OSError) else None
    if number == errno.ENOSPC:
        return "the inotify limit is reached; raise fs.inotify.max_user_watches"
    if number == errno.EMFILE:
        return "the inotify limit is reached; raise fs.inotify.max_user_instances"
    return f"the system reports no changes ({reason(fault) if isinstance(fault, OSError) else str(fault).lower()})"


def _silent(folders: Iterable[str]) -> tuple[str, str] | None:
    """(mount point, type) of a file system that one of the folders lies on and whose events cannot be relied on."""
    mounts = _mounts()
    for folder in folders:
        on = max((point for point in mounts if _lies_in(folder, point)), key=len, default=None)
        if on is not None and (mounts[on] in SILENT or mounts[on].startswith("fuse.")):
            return on, mounts[on]
    return None


def _lies_in(folder: str, point: str) -> bool:
    return folder == point or folder.startswith(point.rstrip(os.sep) + os.sep)


def _mounts() -> dict[str, str]:
    """The type of the file system at each mount point, where the system tells."""
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as file:
            lines = [line.split(" ") for line in file]
    except OSError:
        return {}
    escapes = {r"\040": " ", r"\011": "\t", r"\012": "\n", r"\134": "\\"}
    found = {}
    for _, point, kind, *_ in lines:
        for escape, char in escapes.items():
            point = point.replace(escape, char)
        found[point] = kind
    return found

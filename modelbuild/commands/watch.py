"""Build the targets, and again whenever something they are made of changes, until interrupted.

What is wrong is shown, and the next change is waited for.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

from modelbuild.cli import Invocation
from modelbuild.commands import build
from modelbuild.errors import Error, Errors
from modelbuild.files import signature
from modelbuild.report import plural

if TYPE_CHECKING:
    import click
    from watchdog.events import FileSystemEvent, FileSystemEventHandler

    from modelbuild.session import Session

QUIET = 0.1
"""Seconds without a change after which a build begins: editors and downloads write in several steps."""

_WRITTEN = ("blobs", "manifests", ".modelbuild")
"""What a build itself writes in the models folder."""


def parameters() -> list[click.Parameter]:
    return [parameter for parameter in build.parameters() if parameter.name not in ("dry_run", "watch")]


def run(call: Invocation, targets: Sequence[str] = (), **options: Any) -> int:
    from watchdog.observers import Observer

    report = call.report
    changes = _Changes(ignored=[call.session.store.root])
    observer = Observer()
    observer.start()
    watched: set[tuple[str, bool]] = set()
    before: object = None
    try:
        while True:
            again = Invocation(call.settings, report)
            places = {(os.path.dirname(call.session.file), True)}
            try:
                # Taken before the build: what changes while it runs is seen as a change afterwards.
                now = _fingerprint(again.session)
                changes.ignored.update(os.path.join(again.session.models.root, name) for name in _WRITTEN)
                places |= _places(again.session)
                if now != before:
                    before = now
                    report.begin()
                    build.run(again, targets=targets, **options)
            except (Error, Errors) as error:
                if str(error) != before:
                    before = str(error)
                    report.errors(error.errors if isinstance(error, Errors) else [error])
            finally:
                again.close()
            if new := places - watched:
                for folder, recursive in sorted(new):
                    observer.schedule(cast("FileSystemEventHandler", changes), folder, recursive=recursive)
                watched |= new
                report.note(f"watching {plural(len(watched), 'folder')}; Ctrl-C ends it")
            changes.wait()
    finally:
        observer.stop()
        observer.join()


def _fingerprint(session: Session) -> object:
    """What must differ for a build to come out otherwise: the plan, or a stat of a source."""
    stats = []
    for source in session.graph.sources():
        try:
            stats.append(signature(os.stat(source.path)))
        except OSError:
            stats.append("")
    return session.graph.encode(), stats


def _places(session: Session) -> set[tuple[str, bool]]:
    """(folder, with all below it) of every folder that sources lie in, but those below the project's own."""
    folders = {os.path.dirname(source.path) for source in session.graph.sources()}
    return {(folder, False) for folder in folders if os.path.isdir(folder) and not _inside(folder, session.root)}


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


class _Changes:
    """Hears of changes of files (as watchdog's handler), and waits until they come to rest."""

    def __init__(self, ignored: Iterable[str]) -> None:
        self.ignored = set(ignored)
        self._changed = threading.Event()

    def dispatch(self, event: FileSystemEvent) -> None:
        if event.event_type not in ("created", "modified", "moved", "deleted") or event.is_directory:
            return
        paths = (os.fsdecode(event.src_path), os.fsdecode(event.dest_path))
        if any(path and not self._is_ignored(path) for path in paths):
            self._changed.set()

    def _is_ignored(self, path: str) -> bool:
        return f"{os.sep}.git{os.sep}" in path or any(_inside(path, folder) for folder in self.ignored)

    def wait(self) -> None:
        """Block until something has changed and nothing has for a while."""
        self._changed.wait()
        while self._changed.is_set():
            self._changed.clear()
            self._changed.wait(QUIET)

"""Events of other systems than Linux, by watchdog: threads hear them and put them by."""

from __future__ import annotations

import logging
import os
import queue
import time
from typing import TYPE_CHECKING, Any, cast

from modelbuild.session.events import Event, Missing, State, why

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent, FileSystemEventHandler

MOST = 256
"""Folders whose events are asked for: each takes a thread."""

_STATES: dict[str, State] = {"created": "coming", "modified": "coming", "deleted": "gone"}


class Observer:
    """Listens by watchdog."""

    def __init__(self, most: int = MOST) -> None:
        from watchdog.observers import Observer as Threads

        # Lost events are found by looking; nobody needs to read of them.
        logging.getLogger("watchdog").addHandler(logging.NullHandler())
        logging.getLogger("watchdog").propagate = False
        self.most = most
        self._heard: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._watches: dict[str, Any] = {}
        self._threads: Any = Threads()
        self._threads.start()

    def listen(self, folder: str) -> Any:
        from watchdog import events

        kinds = [events.FileCreatedEvent, events.FileModifiedEvent, events.FileMovedEvent, events.FileDeletedEvent]
        kinds += [events.FileClosedEvent, events.DirCreatedEvent, events.DirMovedEvent, events.DirDeletedEvent]
        if folder in self._watches:
            # It would be left as it is, also where it listens in a folder that is gone.
            self.drop(folder, self._watches[folder])
        try:
            watch = self._threads.schedule(cast("FileSystemEventHandler", self), folder, event_filter=kinds)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            raise
        except (OSError, RuntimeError) as fault:
            raise Missing(why(fault)) from fault
        self._watches[folder] = watch
        return watch

    def drop(self, folder: str, handle: Any) -> None:
        if self._watches.pop(folder, None) is not None:
            self._threads.unschedule(handle)

    def dispatch(self, event: FileSystemEvent) -> None:
        """Hear an event; called by watchdog, in a thread of its own."""
        state: State = "whole" if event.is_directory else _STATES.get(event.event_type, "whole")
        listing = event.event_type not in ("modified", "closed")
        if event.event_type in ("moved", "deleted") and os.fsdecode(event.src_path) in self._watches:
            self._heard.put(Event(None))
        if event.event_type == "moved":
            self._heard.put(Event(os.fsdecode(event.src_path), "gone"))
            self._heard.put(Event(os.fsdecode(event.dest_path)))
        else:
            self._heard.put(Event(os.fsdecode(event.src_path), state, listing))

    def read(self, seconds: float) -> list[Event]:
        found: list[Event] = []
        end = time.monotonic() + seconds
        while True:
            try:
                left = 0.0 if found else max(0.0, end - time.monotonic())
                found.append(self._heard.get(timeout=left) if left else self._heard.get_nowait())
            except queue.Empty:
                return found

    def close(self) -> None:
        if self._threads.is_alive():
            self._threads.stop()

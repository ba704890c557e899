"""What each thread did when, as trace events that Perfetto and chrome://tracing show. Nothing is noted unless somebody records."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any


class Trace:
    """Spans of time, by thread. Safe for threads: each notes its own when they are over."""

    def __init__(self) -> None:
        self._begun = time.perf_counter_ns()
        self._events: list[dict[str, Any]] = []
        self._names: dict[int, str] = {}

    @contextmanager
    def span(self, name: str, category: str, args: dict[str, Any]) -> Iterator[None]:
        start = time.perf_counter_ns()
        try:
            yield
        finally:
            end = time.perf_counter_ns()
            thread = threading.get_native_id()
            if thread not in self._names:
                self._names[thread] = threading.current_thread().name
            self._events.append(
                {
                    "name": name,
                    "cat": category,
                    "ph": "X",
                    "ts": (start - self._begun) / 1000,
                    "dur": (end - start) / 1000,
                    "pid": os.getpid(),
                    "tid": thread,
                    "args": args,
                }
            )

    def data(self) -> dict[str, Any]:
        """All of it as JSON: the object format of the Trace Event Format."""
        pid = os.getpid()
        named: list[dict[str, Any]] = [_meta("process_name", pid, 0, "modelbuild")]
        named += [_meta("thread_name", pid, thread, name) for thread, name in list(self._names.items())]
        events = sorted(self._events, key=lambda event: event["ts"])
        return {"traceEvents": [*named, *events], "displayTimeUnit": "ms"}


_recording: Trace | None = None


@contextmanager
def recording() -> Iterator[Trace]:
    """Note all spans of this process from now on."""
    global _recording
    before, _recording = _recording, Trace()
    try:
        yield _recording
    finally:
        _recording = before


def span(name: str, category: str, **args: Any) -> AbstractContextManager[None]:
    """Note how long a block takes, in the thread that it runs in."""
    trace = _recording
    return nullcontext() if trace is None else trace.span(name, category, args)


def _meta(name: str, pid: int, thread: int, value: str) -> dict[str, Any]:
    return {"name": name, "ph": "M", "pid": pid, "tid": thread, "args": {"name": value}}

"""A watcher of paths for a test, and a wait for it that ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from modelbuild.session.file_events import Concern
from modelbuild.session.watcher import Watcher


@contextmanager
def watching(paths: Mapping[str, Concern], poll: bool = False) -> Iterator[Watcher]:
    found = Watcher(poll=poll)
    found.watch(paths)
    try:
        yield found
    finally:
        found.close()


def changed(found: Watcher, seconds: float = 30.0) -> set[str] | None:
    """What a wait returns; None where there is no change for so long."""
    return found.wait(seconds) or None

"""What is told to the kernel of a file that grows. That it helps is tested with a build, in tests/e2e/test_page_cache.py."""

from __future__ import annotations

import errno
import os

import pytest

from modelbuild import page_cache
from modelbuild.page_cache import WINDOW, Growing, forget


def test_a_growing_file_is_forgotten_window_by_window(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int, int]] = []
    monkeypatch.setattr(page_cache, "forget", lambda file, offset, length: told.append((file, offset, length)))
    growing = Growing(5)
    for end in (1, WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW, 5 * WINDOW):
        growing.reach(end)
    assert told == [(5, 0, WINDOW), (5, 0, 2 * WINDOW), (5, 0, 5 * WINDOW)]


def test_a_system_that_cannot_forget_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: int) -> None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    monkeypatch.setattr(os, "posix_fadvise", refuse, raising=False)
    forget(5)
    monkeypatch.delattr(os, "posix_fadvise")
    forget(5)

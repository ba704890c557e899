"""What the kernel is told of a file. That it helps is tested with a build, in tests/e2e/test_page_cache.py."""

from __future__ import annotations

import errno
import os

import pytest

from modelbuild.page_cache import forget


def test_a_system_that_cannot_forget_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: int) -> None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    monkeypatch.setattr(os, "posix_fadvise", refuse, raising=False)
    forget(5)
    monkeypatch.delattr(os, "posix_fadvise")
    forget(5)

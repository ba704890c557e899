"""Which listener a system has, and why it has none."""

from __future__ import annotations

import errno
import sys

import pytest

from modelbuild.session import events, inotify
from modelbuild.session.events import Missing, why
from modelbuild.session.observer import Observer


def test_without_inotify_there_is_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    found = events.listener()
    assert isinstance(found, inotify.Inotify)
    found.close()
    monkeypatch.setitem(sys.modules, "modelbuild.session.inotify", None)
    found = events.listener()
    assert isinstance(found, Observer)
    found.close()
    monkeypatch.setitem(sys.modules, "modelbuild.session.observer", None)
    with pytest.raises(Missing, match="the system reports no changes"):
        events.listener()


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (OSError(errno.ENOSPC, ""), "the inotify limit is reached; raise fs.inotify.max_user_watches"),
        (OSError(errno.EMFILE, ""), "the inotify limit is reached; raise fs.inotify.max_user_instances"),
        (OSError(errno.ENOSYS, "Not there"), "the system reports no changes (not there)"),
        (RuntimeError("can't start new thread"), "the system reports no changes (can't start new thread)"),
    ],
)
def test_why_there_are_no_events_is_said_with_what_to_do(fault: Exception, text: str) -> None:
    assert why(fault) == text

"""Why there are no events."""

from __future__ import annotations

import errno

import pytest

from modelbuild.session.events import why


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

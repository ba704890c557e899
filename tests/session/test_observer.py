"""What watchdog tells, where there is no inotify."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelbuild.session.events import Event
from modelbuild.session.observer import Observer


@pytest.fixture
def listener() -> Iterator[Observer]:
    found = Observer()
    yield found
    found.close()


def heard(listener: Observer) -> list[Event]:
    """All that is heard until it is quiet."""
    found: list[Event] = []
    while new := listener.read(0.7):
        found += new
    return found


def test_saves_renames_and_what_goes_are_heard(tmp_path: Path, listener: Observer) -> None:
    path = tmp_path / "file"
    handle = listener.listen(str(tmp_path))
    path.write_text("one")
    assert [event.state for event in heard(listener) if event.path == str(path)][0] == "coming"
    path.rename(tmp_path / "other")
    found = heard(listener)
    assert Event(str(path), "gone") in found
    assert Event(str(tmp_path / "other")) in found
    (tmp_path / "other").unlink()
    assert Event(str(tmp_path / "other"), "gone") in heard(listener)
    listener.drop(str(tmp_path), handle)
    path.write_text("two")
    begun = time.monotonic()
    assert listener.read(0.2) == []
    assert time.monotonic() - begun > 0.15


def test_what_is_no_folder_is_the_fault_of_that_one_alone(tmp_path: Path, listener: Observer) -> None:
    with pytest.raises(FileNotFoundError):
        listener.listen(str(tmp_path / "none"))

"""What inotify tells of a save, and of a folder that goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelbuild.session.events import Event
from modelbuild.session.inotify import Inotify


@pytest.fixture
def listener() -> Iterator[Inotify]:
    found = Inotify()
    yield found
    found.close()


def heard(listener: Inotify) -> list[Event]:
    """All that is heard until it is quiet."""
    found: list[Event] = []
    while new := listener.read(0.05):
        found += new
    return found


def test_a_save_is_whole_when_the_file_is_closed_or_has_its_name(tmp_path: Path, listener: Inotify) -> None:
    path = str(tmp_path / "file")
    listener.listen(str(tmp_path))
    with open(path, "w") as file:
        file.write("one")
        file.flush()
        before = heard(listener)
        assert before and {event.state for event in before} == {"coming"}
    assert heard(listener) == [Event(path, "whole", False)]
    (tmp_path / "new").write_text("two")
    heard(listener)
    (tmp_path / "new").replace(path)
    assert heard(listener) == [Event(str(tmp_path / "new"), "gone"), Event(path)]
    (tmp_path / "file").unlink()
    assert heard(listener) == [Event(path, "gone")]


def test_a_folder_or_a_link_that_comes_is_whole(tmp_path: Path, listener: Inotify) -> None:
    listener.listen(str(tmp_path))
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    assert heard(listener) == [Event(str(tmp_path / "folder")), Event(str(tmp_path / "link"))]


def test_a_folder_that_goes_and_one_that_is_not_listened_in(tmp_path: Path, listener: Inotify) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    handles = [listener.listen(str(folder)) for folder in folders]
    listener.drop(str(folders[1]), handles[1])
    (folders[1] / "file").touch()
    assert heard(listener) == []
    folders[0].rename(tmp_path / "away")
    assert Event(None) in heard(listener)
    (tmp_path / "away").rmdir()
    assert Event(None) in heard(listener)
    listener.drop(str(folders[0]), handles[0])


def test_a_folder_that_gets_another_name_is_still_listened_in_by_that(tmp_path: Path, listener: Inotify) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    handle = listener.listen(str(old))
    old.rename(new)
    listener.listen(str(new))
    listener.drop(str(old), handle)
    heard(listener)
    (new / "link").symlink_to("nothing")
    assert heard(listener) == [Event(str(new / "link"))]


def test_nothing_is_waited_for_after_the_time_is_up(tmp_path: Path, listener: Inotify) -> None:
    listener.listen(str(tmp_path))
    begun = time.monotonic()
    assert listener.read(0.05) == []
    assert 0.04 < time.monotonic() - begun < 5


def test_what_is_no_folder_is_the_fault_of_that_one_alone(tmp_path: Path, listener: Inotify) -> None:
    (tmp_path / "file").touch()
    for name in ("file", "none"):
        with pytest.raises(OSError):
            listener.listen(str(tmp_path / name))

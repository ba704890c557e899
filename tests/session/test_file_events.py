"""Where events are asked for, and where they cannot be relied on."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from pathlib import Path

import pytest

from modelbuild.session import file_events, file_systems, watcher
from modelbuild.session.events import Missing
from modelbuild.session.file_events import ways
from modelbuild.session.inotify import Inotify
from modelbuild.session.observer import Observer
from tests.session.watching import changed, watching


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at everything often, so that tests without events are quick."""
    monkeypatch.setattr(watcher, "PERIOD", 0.2)


def test_without_inotify_there_is_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    found = file_events.listener()
    assert isinstance(found, Inotify)
    found.close()
    monkeypatch.setitem(sys.modules, "modelbuild.session.inotify", None)
    found = file_events.listener()
    assert isinstance(found, Observer)
    found.close()
    monkeypatch.setitem(sys.modules, "modelbuild.session.observer", None)
    with pytest.raises(Missing, match="the system reports no changes"):
        file_events.listener()


def test_ways_name_links_and_the_first_that_is_missing(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (real / "file").write_text("")
    (tmp_path / "folder").symlink_to("real")
    (real / "link").symlink_to("../real/file")
    (real / "loop").symlink_to("loop")
    found = dict(
        ways(str(tmp_path / name) for name in ("folder/link", "real/file", "folder/no/such/file", "no", "real"))
    )
    assert {
        path.removeprefix(f"{tmp_path}/"): [e.removeprefix(f"{tmp_path}/") for e in way] for path, way in found.items()
    } == {
        "folder/link": ["folder", "real/link", "real/file"],
        "real/file": ["real/file"],
        "folder/no/such/file": ["folder", "real/no"],
        "no": ["no"],
        "real": ["real"],
    }
    assert list(ways([str(real / "loop")]))[0][1][0] == str(real / "loop")


@pytest.mark.parametrize(
    ("method", "fault", "why"),
    [
        ("__init__", OSError(errno.EMFILE, ""), "the inotify limit is reached; raise fs.inotify.max_user_instances"),
        ("listen", Missing("the inotify limit is reached"), "the inotify limit is reached"),
        ("__init__", OSError(errno.ENOSYS, "No inotify"), "the system reports no changes (no inotify)"),
    ],
)
def test_where_no_events_are_to_be_had_files_are_polled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, fault: Exception, why: str
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise fault

    monkeypatch.setattr(Inotify, method, fail)
    file = tmp_path / "file"
    with watching({str(file): "file"}) as found:
        assert (found.watched, found.polling) == (0, why)
        file.write_text("")
        assert changed(found) == {str(file)}


def test_folders_beyond_the_limit_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_events, "listener", lambda: Observer(most=3))
    files = [tmp_path / str(number) / "file" for number in range(8)]
    for file in files:
        file.parent.mkdir()
        file.write_text("one")
    with watching({str(file): "file" for file in files}) as found:
        assert (found.watched, found.polling) == (3, None)
        files[-1].write_text("two")
        assert changed(found) == {str(files[-1])}


def test_file_systems_that_do_not_report_every_change_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = {"/": "ext4", os.path.dirname(tmp_path): "fuse.sshfs", str(tmp_path / "local"): "tmpfs"}
    monkeypatch.setattr(file_systems, "_mounts", lambda: mounts)
    (tmp_path / "local").mkdir()
    with watching({str(tmp_path / "local" / "file"): "file"}) as found:
        assert found.polling is None
        found.watch({str(tmp_path / "local" / "file"): "file", str(tmp_path / "file"): "file"})
        assert found.polling == f"fuse.sshfs ({tmp_path.parent}) does not report every change"


def test_a_folder_that_is_removed_and_made_again_is_listened_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on ext4, where the new one gets the number of the old one.
    monkeypatch.setattr(file_events, "_identity", lambda path: (1, 1) if os.path.isdir(path) else None)
    monkeypatch.setattr(watcher, "PERIOD", 1e6)
    file = tmp_path / "folder" / "file"
    file.parent.mkdir()
    file.write_text("one")
    with watching({str(file): "file", str(tmp_path): "entries"}) as found:
        shutil.rmtree(file.parent)
        file.parent.mkdir()
        file.write_text("two")
        assert changed(found) == {str(file)}
        file.write_text("three")
        assert changed(found) == {str(file)}


def test_a_folder_that_was_away_just_when_it_was_to_be_listened_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "PERIOD", 1e6)
    file = tmp_path / "folder" / "file"
    file.parent.mkdir()
    listen = Inotify.listen

    def away(self: Inotify, folder: str) -> int:
        if folder == str(file.parent):
            monkeypatch.setattr(Inotify, "listen", listen)
            file.parent.rename(tmp_path / "away")
            try:
                return listen(self, folder)
            finally:
                (tmp_path / "away").rename(file.parent)
        return listen(self, folder)

    monkeypatch.setattr(Inotify, "listen", away)
    with watching({str(file): "file"}) as found:
        file.write_text("one")
        assert changed(found, 5) == {str(file)}


@pytest.mark.parametrize("came", ["folder", "file"])
def test_what_comes_before_its_folder_is_listened_in_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, came: str
) -> None:
    monkeypatch.setattr(watcher, "PERIOD", 1e6)
    file = tmp_path / "one" / "two" / "file"
    listen = Inotify.listen

    def late(self: Inotify, folder: str) -> int:
        if folder == str(file.parents[1]):
            file.parent.mkdir(exist_ok=True)
            if came == "file":
                file.write_text("one")
        return listen(self, folder)

    with watching({str(file): "file"}) as found:
        monkeypatch.setattr(Inotify, "listen", late)
        file.parents[1].mkdir()
        if came == "folder":
            assert changed(found, 0.3) is None
            file.write_text("one")
        assert changed(found, 5) == {str(file)}

"""Where events are asked for, and where they cannot be relied on."""

from __future__ import annotations

import errno
import os
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

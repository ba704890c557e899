"""The waiting by itself: what counts, how long it lasts, and that nothing piles up."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from modelbuild.errors import Error
from modelbuild.observed import unchanged
from modelbuild.session import watcher
from modelbuild.session.file_events import Concern
from modelbuild.session.watcher import concerns
from tests.e2e.test_watch import repeated
from tests.session.watching import changed, watching


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at everything often, so that tests without events are quick."""
    monkeypatch.setattr(watcher, "PERIOD", 0.2)


def test_the_strongest_concern_of_a_path_counts() -> None:
    looks = [
        ("kind", "/a", "file"),
        ("read", "/a", "…"),
        ("kind", "/b", ""),
        ("entries", "/c", "…"),
        ("env", "HOME", ""),
    ]
    found = concerns([*looks, ("kind", "/c", "folder"), ("stat", "/d", "…")], ["/b", "/e"])
    assert found == {"/a": "file", "/b": "file", "/c": "entries", "/d": "file", "/e": "file"}


@pytest.mark.parametrize("poll", [False, True])
def test_what_counts_and_what_does_not(tmp_path: Path, poll: bool) -> None:
    folder, file, missing = tmp_path / "folder", tmp_path / "file", tmp_path / "not" / "there"
    folder.mkdir()
    file.write_text("one")
    (folder / "old").write_text("")
    paths: dict[str, Concern] = {str(folder): "entries", str(file): "file", str(missing): "kind", str(tmp_path): "kind"}
    with watching(paths, poll) as found:
        (folder / "old").write_text("not a change of the listing")
        (tmp_path / "new").write_text("not a change of the kind of its folder")
        os.link(file, tmp_path / "link")
        (folder / "temporary").write_text("comes and goes")
        (folder / "temporary").unlink()
        assert changed(found, 0.5) is None
    with watching(paths, poll) as found:
        file.write_text("two")
        assert changed(found) == {str(file)}
        file.chmod(0o600)
        assert changed(found) == {str(file)}
        (folder / "new").write_text("")
        assert changed(found) == {str(folder)}
        missing.parent.mkdir()
        missing.write_text("")
        assert changed(found) == {str(missing)}
        file.unlink()
        assert changed(found) == {str(file)}


def test_only_paths_that_were_not_watched_are_new(tmp_path: Path) -> None:
    with watching({str(tmp_path): "kind"}) as found:
        assert not found.watch({str(tmp_path): "kind"})
        assert found.watch({str(tmp_path): "entries"})
        assert found.watch({str(tmp_path / "a"): "file"})
        assert found.watch({str(tmp_path): "entries"})


def test_a_change_between_two_calls_of_watch_is_not_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("one")
    with watching({str(file): "file"}) as found:
        file.write_text("two")
        found.watch({str(file): "file", str(tmp_path / "other"): "file"})
        assert changed(found) == {str(file)}


@pytest.mark.parametrize("poll", [False, True])
def test_what_was_changed_and_changed_back_has_stirred(tmp_path: Path, poll: bool) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with watching({str(folder): "kind", str(tmp_path): "entries"}, poll) as found:
        found.begin()
        assert poll or found.stirred() == set()
        folder.rename(tmp_path / "away")
        # Now a plan looks.
        (tmp_path / "away").rename(folder)
        assert found.stirred() == {str(folder), str(tmp_path)}
        assert changed(found, 0.3) is None


def test_patience_ends_and_grows_only_for_what_goes_on_changing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "PATIENCE", 0.3)
    download, text = tmp_path / "download", tmp_path / "text"
    with watching({str(download): "file", str(text): "file"}, poll=True) as found:
        with repeated(lambda number: download.write_text("x" * number), 0.02):
            assert found.wait() == {str(download)}
            begun = time.monotonic()
            assert found.wait() == {str(download)}
            assert time.monotonic() - begun > 0.55  # twice as long
            begun = time.monotonic()
            text.write_text("edited")
            assert found.wait() == {str(download), str(text)}
            assert time.monotonic() - begun < 5
        assert found.wait() == {str(download)}  # the last write may have left the same times as the one before


def test_nothing_piles_up_while_folders_are_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with watching({str(folder / "file"): "file"}) as found:
        threads = threading.active_count()
        for number in range(6):
            other = tmp_path / str(number)
            other.mkdir()
            (other / "file").write_text(str(number))
            folder.rename(tmp_path / f"old{number}")
            other.rename(folder)
            assert changed(found) == {str(folder / "file")}
            found.watch({str(folder / "file"): "file"})
        assert changed(found, 0.3) is None
        assert found.watched == 1
        assert threading.active_count() <= threads
        begun = time.monotonic()
        (folder / "file").write_text("heard, in the newest folder")
        assert changed(found) is not None
        assert time.monotonic() - begun < 10


def test_looking_at_thousands_of_files_takes_a_small_part_of_a_core(tmp_path: Path) -> None:
    files = [tmp_path / str(number) for number in range(3000)]
    for file in files:
        file.touch()
    with watching({str(file): "file" for file in files}, poll=True) as found:
        begun = time.thread_time()
        assert found._patrol() == set()
        took = time.thread_time() - begun
    assert found.period >= min(took, 0.5) / 0.02


def test_a_look_at_a_file_that_changes_meanwhile_does_not_see_the_same(tmp_path: Path) -> None:
    def changing(path: str) -> str:
        raise Error("source changed during the build", path=path)

    assert not unchanged([("read", str(tmp_path / "file"), "xxh3:1")], changing)


def test_what_is_watched_as_well_counts_no_less_than_before(tmp_path: Path) -> None:
    with watching({str(tmp_path): "entries"}) as found:
        assert not found.watch_more({str(tmp_path): "kind"})
        (tmp_path / "new").touch()
        assert changed(found) == {str(tmp_path)}


@pytest.mark.parametrize("is_young", [True, False])
def test_a_young_file_may_have_changed_where_events_were_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_young: bool
) -> None:
    monkeypatch.setattr(watcher, "PERIOD", 1e6)
    file = tmp_path / "file"
    file.write_text("one")
    look = watcher._see(str(file))
    assert look is not None
    look = look._replace(mtime=time.time_ns() + 10**12 if is_young else 1, ctime=1)
    monkeypatch.setattr(watcher, "_see", lambda path: look)
    with watching({str(file): "file"}) as found:
        found._events.lost = True
        assert changed(found, 0.3) == ({str(file)} if is_young else None)

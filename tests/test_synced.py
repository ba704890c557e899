"""Small files are written whole, and many files are on the disk when it is said so."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from modelbuild import interrupt, synced


def files(folder: Path, count: int) -> list[str]:
    paths = [folder / str(number) for number in range(count)]
    for path in paths:
        path.write_text(path.name)
    return list(map(str, paths))


@pytest.mark.parametrize("count", [0, 1, 100])
def test_every_file_is_synced_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    seen: list[str] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (seen.append(os.readlink(f"/proc/self/fd/{file}")), fsync(file)))
    paths = files(tmp_path, count)
    assert synced.sync_files(paths) == {}
    assert sorted(seen) == sorted(paths)


def test_what_goes_wrong_is_told_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = files(tmp_path, 40)
    os.unlink(paths[7])
    fsync = os.fsync

    def failing(file: int) -> None:
        if os.readlink(f"/proc/self/fd/{file}") == paths[30]:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(file)

    monkeypatch.setattr(os, "fsync", failing)
    wrong = synced.sync_files(paths)
    assert {path: error.errno for path, error in wrong.items()} == {paths[7]: errno.ENOENT, paths[30]: errno.EIO}


def test_a_folder_that_went_needs_no_sync_and_one_that_fails_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced.sync_folders([str(tmp_path), str(tmp_path / "gone")])
    monkeypatch.setattr("modelbuild.synced.sync_folder", lambda path: os.stat(path))
    with pytest.raises(FileNotFoundError):
        synced.sync_folders([str(tmp_path), str(tmp_path / "gone")])


def test_an_interrupt_ends_the_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    held = threading.Event()
    monkeypatch.setattr(os, "fsync", lambda file: held.wait(0.5))

    def check() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(interrupt, "check", check)
    with pytest.raises(KeyboardInterrupt):
        synced.sync_files(files(tmp_path, 100))


def test_a_new_file_is_readable_whatever_the_umask_and_replaces_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new"
    before = os.umask(0o077)
    try:
        synced.write_new(str(path), b"text")
    finally:
        os.umask(before)
    assert path.read_bytes() == b"text"
    assert path.stat().st_mode & 0o777 == 0o644
    with pytest.raises(FileExistsError):
        synced.write_new(str(path), b"other")
    assert path.read_bytes() == b"text"

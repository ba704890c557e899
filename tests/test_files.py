"""Temporary files, locks and reads, in folders that others change and fill with other things than files."""

from __future__ import annotations

import errno
import fcntl
import os
import pwd
import threading
from pathlib import Path

import pytest

from modelbuild import files
from modelbuild.errors import Error
from modelbuild.files import (
    Temporary,
    clear_temporaries,
    expand,
    first_bytes,
    lock_file,
    open_plain,
    read_plain,
    sync_folder,
)


def test_temporary_file_is_there_until_it_is_closed(tmp_path: Path) -> None:
    file = Temporary(str(tmp_path / "deep/er/.tmp-1"))
    file.write(b"text")
    clear_temporaries(str(tmp_path / "deep/er"))
    assert Path(file.path).read_bytes() == b"text"
    file.close()
    assert list((tmp_path / "deep/er").iterdir()) == []


def test_temporary_file_does_not_ask_for_more_rights_than_it_gets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: int, mode: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), file)

    monkeypatch.setattr(os, "chmod", refuse)
    Temporary(str(tmp_path / ".tmp-1")).close()


def test_closing_never_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = Temporary(str(tmp_path / ".tmp-1"))

    def fail(path: str) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    monkeypatch.setattr(os, "unlink", fail)
    file.close()
    with lock_file(str(tmp_path / "lock")):
        pass


def test_what_is_left_of_killed_builds_is_cleared_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".tmp-left").write_text("x")
    (tmp_path / "mine").write_text("x")
    os.mkfifo(tmp_path / ".tmp-fifo")
    (tmp_path / ".tmp-link").symlink_to(tmp_path / "nowhere")
    (tmp_path / ".tmp-to-mine").symlink_to(tmp_path / "mine")
    clear_temporaries(str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".tmp-fifo", ".tmp-link", ".tmp-to-mine", "mine"]
    clear_temporaries(str(tmp_path / "none"))


@pytest.mark.parametrize("fault", [FileNotFoundError, FileExistsError])
def test_a_folder_is_made_that_others_remove_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: type[OSError]
) -> None:
    real, faults = os.makedirs, [fault(), fault()]

    def makedirs(path: str, exist_ok: bool = False) -> None:
        if faults:
            raise faults.pop()
        real(path, exist_ok=exist_ok)

    monkeypatch.setattr(os, "makedirs", makedirs)
    files.make_folder(str(tmp_path / "one/two"))
    assert (tmp_path / "one/two").is_dir() and not faults


def test_no_folder_is_made_in_the_place_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("file", "link"):
        with pytest.raises(FileExistsError):
            files.make_folder(str(tmp_path / name))


def test_lock_is_waited_for_and_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PATIENCE", 0.01)
    path = str(tmp_path / "lock")
    told: list[str] = []
    over = threading.Event()

    def wait() -> None:
        with lock_file(path, told.append):
            over.set()

    with lock_file(path):
        thread = threading.Thread(target=wait)
        thread.start()
        assert not over.wait(0.2)
    thread.join(10)
    assert over.is_set() and told == [path]
    assert not os.path.exists(path)


def test_release_leaves_the_lock_of_another_alone(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with lock_file(str(path)):
        path.unlink()
        path.write_text("another's")
    assert path.read_text() == "another's"


def test_lock_file_that_another_user_left_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock"
    path.touch()
    opened = os.open

    def refuse(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse)
    with lock_file(str(path)):
        monkeypatch.undo()
        with open(path) as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_lock_that_cannot_be_made_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, flags: int, mode: int = 0o777) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError), lock_file(str(tmp_path / "lock")):
        pass


@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_what_stands_in_the_place_of_a_lock_is_an_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "lock"
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path / "nowhere/else")
    with pytest.raises(OSError, match="the lock file is"), lock_file(str(path)):
        pass


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to("file")
    for name in ("fifo", "none", "."):
        with pytest.raises(OSError):
            read_plain(str(tmp_path / name), 10)
    assert read_plain(str(tmp_path / "link"), 4)[0] == b"text"
    with pytest.raises(OSError, match="large"):
        read_plain(str(tmp_path / "file"), 3)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        open_plain(str(tmp_path / "pipe"))


def test_folders_that_cannot_be_synced_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync_folder(str(tmp_path / "gone"))

    def fail(number: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    code = errno.EINVAL
    sync_folder(str(tmp_path))
    code = errno.EIO
    with pytest.raises(OSError):
        sync_folder(str(tmp_path))


def test_paths_expand_as_in_ollama(tmp_path: Path) -> None:
    home = pwd.getpwuid(os.getuid()).pw_dir
    assert expand("~", "/m") == home
    assert expand("~/a", "/m") == os.path.join(home, "a")
    assert expand("~root/d", "/m") == os.path.join(pwd.getpwnam("root").pw_dir, "d")
    assert expand("rel", "/m") == "/m/rel"
    assert expand("./a/../b/", "/m") == "/m/b"
    assert expand(".", "/m") == "/m"
    assert expand("/abs//x/..", "/m") == "/abs"
    assert expand("x", "sub") == os.path.join(os.getcwd(), "sub", "x")


def test_home_comes_from_the_list_of_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/elsewhere")
    assert expand("~/a", "/m") == os.path.join(pwd.getpwuid(os.getuid()).pw_dir, "a")


def test_an_unknown_user_is_an_error() -> None:
    with pytest.raises(Error, match="no user 'nobody-of-that-name'"):
        expand("~nobody-of-that-name/f", "/m")


def test_how_a_file_begins_and_that_nothing_waits_for_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"GGUF and more")
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    assert first_bytes(str(tmp_path / "file"), 4) == b"GGUF"
    assert first_bytes(str(tmp_path / "empty"), 4) == b""
    for name in ("pipe", ".", "missing"):
        with pytest.raises(OSError):
            first_bytes(str(tmp_path / name), 4)

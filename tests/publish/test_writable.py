"""Whether a models folder can be written: what is told before any work, and what is told of faults."""

from __future__ import annotations

import errno
import os
import pwd
from pathlib import Path

import pytest

from modelbuild.engine.graph import Output
from modelbuild.errors import Error
from modelbuild.ollama.library import Library
from modelbuild.publish.writable import check_apart, check_writable, denied, misplaced, named, refused


def test_names_that_cannot_be_written_are_told(tmp_path: Path) -> None:
    def told(name: str) -> str:
        return "".join(map(str, misplaced(Library(str(tmp_path)), Output("x", (name,), "m", ()))))

    assert told("h/n/one/latest") == ""
    manifests = tmp_path / "manifests/h/n"
    (manifests / "one").mkdir(parents=True)
    (manifests / "one/latest").write_text("{}")
    assert told("h/n/one/latest") == ""
    (manifests / "two/latest").mkdir(parents=True)
    assert "a folder is in the place of the manifest of 'h/n/two/latest'" in told("h/n/two/latest")
    (manifests / "three").write_text("in the way")
    assert "manifests/h/n/three: a file is in the place of a folder" in told("h/n/three/latest")
    os.mkfifo(manifests / "one/fifo")
    assert "something that is not a file is in" in told("h/n/one/fifo")
    assert "a part of 300 bytes" in told(f"{'h' * 300}/n/one/latest")


def test_a_folder_that_is_the_cache_is_refused(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    check_apart(Library(str(tmp_path)), str(tmp_path / "cache"))
    for folder in (tmp_path, tmp_path / "not there yet"):
        with pytest.raises(Error, match="share a 'blobs' folder"):
            check_apart(Library(str(folder)), str(folder))


def test_a_file_in_the_place_of_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("")
    with pytest.raises(Error, match="cannot be written: not a folder"):
        check_writable(Library(str(tmp_path / "models/below")))


def test_a_link_to_nowhere_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "blobs").symlink_to("nowhere")
    with pytest.raises(Error, match="'blobs' is a link to 'nowhere', which does not exist") as caught:
        check_writable(Library(str(tmp_path)))
    assert caught.value.hint == "make that folder, or remove the link"


def test_a_link_to_nowhere_below_the_manifests_is_told_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests/registry.ollama.ai").symlink_to("/nowhere")
    output = Output("m", ("registry.ollama.ai/library/m/latest",), "m/manifest", ())
    (error,) = misplaced(Library(str(tmp_path)), output)
    assert "'registry.ollama.ai' is a link to '/nowhere', which does not exist" in error.what


def test_a_read_only_file_system_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    error = denied(str(tmp_path))
    assert error is not None and error.errno == errno.EACCES
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result((1,) * 8 + (os.ST_RDONLY, 255)))
    with pytest.raises(Error, match="read-only file system"):
        check_writable(Library(str(tmp_path)))


def test_error_that_names_a_descriptor_is_an_error() -> None:
    assert refused("/models", OSError(errno.EIO, os.strerror(errno.EIO), 7)).place == "/models"


def test_full_disk_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    error = refused(str(tmp_path / "none"), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert error.facts[0][0] == "free"


@pytest.mark.parametrize("below", ["", "none/yet"])
def test_whoever_may_not_write_is_told_what_to_do(tmp_path: Path, below: str, monkeypatch: pytest.MonkeyPatch) -> None:
    denied = PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(tmp_path))
    assert (refused(str(tmp_path / below), denied).hint or "").startswith("name your own folder with --models")
    monkeypatch.setattr(os, "geteuid", lambda: os.stat(tmp_path).st_uid + 1)
    monkeypatch.setattr(pwd, "getpwuid", lambda user: pwd.struct_passwd(("ollama", "", 1, 1, "", "", "")))
    monkeypatch.setattr(os, "stat", lambda path: os.stat_result((0o40755, 0, 0, 0, 77, 77, 0, 0, 0, 0)))
    hint = refused(str(tmp_path / below), denied).hint or ""
    assert hint.startswith("the folder belongs to 'ollama': run as that user (`sudo -u ollama modelbuild …`), or name")


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("/m/blobs/sha256-1", None, "/m/blobs/sha256-1"),
        ("/m/.modelbuild/.tmp-1", "/m/blobs/sha256-1", "/m/blobs/sha256-1"),
        ("/m/.modelbuild/.tmp-1", None, "/m"),
        ("/cache/blobs/.tmp-1.link", None, "/m"),
        ("/m/.modelbuild/lock", None, "/m"),
        (None, None, "/m"),
    ],
)
def test_no_error_names_a_temporary_file(first: str | None, second: str | None, expected: str) -> None:
    error = OSError(errno.EIO, "input/output error", first, None, second)
    assert named(error, "/m") == expected
    assert refused("/m", error).path == expected


def test_a_folder_in_the_place_of_a_blob_is_to_be_moved_away(tmp_path: Path) -> None:
    place = str(tmp_path / "blobs/sha256-0")
    told = refused(str(tmp_path), IsADirectoryError(errno.EISDIR, "Is a directory", "x", None, place))
    assert told.path == place and "move this folder away" in str(told)

"""Root in somebody else's folder: what it makes there is theirs."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from modelbuild import ownership
from modelbuild.files import Temporary, make_folder

NOBODY = 65534

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files for others")


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o755)
    os.chmod(folder, 0o755)
    os.chown(folder, NOBODY, NOBODY)
    return folder


def owner(path: Path) -> tuple[int, int]:
    info = path.lstat()
    return info.st_uid, info.st_gid


@as_root
@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_folders_and_files_are_theirs_and_as_readable_as_the_rest(theirs: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        make_folder(str(theirs / "a/b"))
        file = Temporary(str(theirs / "a/b/c/.tmp-1"))
        os.rename(file.path, theirs / "a/b/c/file")
        file.close()
    finally:
        os.umask(before)
    made = [theirs / "a", theirs / "a/b", theirs / "a/b/c", theirs / "a/b/c/file"]
    assert {owner(path) for path in made} == {(NOBODY, NOBODY)}
    assert [stat.S_IMODE(path.stat().st_mode) for path in made] == [0o755, 0o755, 0o755, 0o644]


@as_root
def test_a_file_of_roots_is_neither_linked_nor_given_away(theirs: Path, tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    ours.write_text("x")
    file = Temporary(str(theirs / ".tmp-1"))
    assert not file.link(str(ours))
    file.close()
    assert owner(ours) == (0, os.stat(tmp_path).st_gid)
    os.chown(ours, NOBODY, NOBODY)
    file = Temporary(str(theirs / ".tmp-2"))
    assert file.link(str(ours))
    file.close()


@as_root
def test_a_link_in_the_way_leads_nowhere(theirs: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (theirs / "a").symlink_to(elsewhere)
    make_folder(str(theirs / "a/b"))
    assert owner(elsewhere) == owner(elsewhere / "b") == (0, os.stat(tmp_path).st_gid)


@as_root
def test_a_link_of_theirs_has_to_lead_to_what_is_theirs(theirs: Path, tmp_path: Path) -> None:
    elsewhere, link = tmp_path / "elsewhere", theirs / "blobs"
    elsewhere.mkdir()
    link.symlink_to(elsewhere)
    stray = [str(link), None]
    for user, expected in zip((NOBODY, 0), stray, strict=True):
        os.chown(link, user, user, follow_symlinks=False)
        assert ownership.stray_link(str(link / "below/it"), str(theirs)) == expected
        assert ownership.stray_link(str(link), str(tmp_path)) is None, "a folder of root's"
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
    os.chown(elsewhere, NOBODY, NOBODY)
    assert ownership.stray_link(str(link), str(theirs)) is None


@as_root
def test_a_file_where_a_folder_belongs_is_refused(theirs: Path) -> None:
    (theirs / "a").write_text("x")
    with pytest.raises(FileExistsError):
        ownership.make_folders(str(theirs / "a"))


def test_a_folder_of_ones_own_is_made_as_always(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.chdir(tmp_path)
    ownership.make_folders("a/b")
    assert ownership.heir("a/b") is None
    assert (tmp_path / "a/b").is_dir()

"""Models folders of other users, and such as span several disks."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.in_process import InProcess
from tests.e2e.project import Project
from tests.faults.scenarios import other_file_system

NOBODY = 65534

TOML = """
[model.made]
from = "./weights"
quantize = "q8_0"
system = "You are made."
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = InProcess(tmp_path)
    project.write("ModelBuild.toml", TOML)
    project.checkpoint()
    return project


def entries(folder: Path) -> list[Path]:
    return [folder, *folder.rglob("*")]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can build for others")
@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_what_root_puts_into_a_folder_of_another_user_is_theirs(project: Project, mask: int) -> None:
    project.models.mkdir()
    os.chmod(project.models, 0o755)
    os.chown(project.models, NOBODY, NOBODY)
    before = os.umask(mask)
    try:
        project.run()
    finally:
        os.umask(before)
    for path in entries(project.models):
        assert (path.stat().st_uid, path.stat().st_gid) == (NOBODY, NOBODY), path
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path
        assert path.is_dir() or path.stat().st_nlink == 1, "a file of the cache was given away"
    assert {path.stat().st_uid for path in entries(project.cache)} == {0}
    project.run()
    assert project.errors.startswith("nothing to do")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can build for others")
@pytest.mark.parametrize(
    "part", [".modelbuild", "blobs", "blobs/.modelbuild", "manifests", "manifests/registry.ollama.ai"]
)
def test_root_follows_no_link_to_what_is_not_the_owners(project: Project, tmp_path: Path, part: str) -> None:
    elsewhere, link = tmp_path / "elsewhere", project.models / part
    elsewhere.mkdir()
    (elsewhere / ".tmp-0011223344556677").write_text("of the system")
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    for path in entries(project.models):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    project.run(code=None)
    assert f"{part}: root does not follow this link of '" in project.errors
    assert f"chown -h root {link}" in project.errors
    assert [path.name for path in elsewhere.iterdir()] == [".tmp-0011223344556677"]
    os.chown(link, 0, 0, follow_symlinks=False)
    project.run()
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
    os.chown(elsewhere, NOBODY, NOBODY)
    project.run("--force")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on another disk."""
    place = other_file_system(tmp_path)
    if place is None:
        pytest.skip("there is one file system alone")
    folder = Path(tempfile.mkdtemp(dir=place))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("parts", [("blobs",), ("manifests",), (".modelbuild",), ("blobs", "manifests", ".modelbuild")])
def test_part_of_the_folder_lies_on_another_disk(project: Project, disk: Path, parts: tuple[str, ...]) -> None:
    project.models.mkdir()
    for part in parts:
        (disk / part).mkdir()
        (project.models / part).symlink_to(disk / part)
    project.run()
    project.check()
    project.run()
    assert project.errors.startswith("nothing to do")
    project.write("ModelBuild.toml", TOML.replace("q8_0", "q4_K_M"))
    project.run()
    project.check()
    project.run("clean")
    for part in ("blobs", "manifests"):
        assert (project.models / part).is_symlink() == (part in parts)
    left = [path for path in entries(project.models) + entries(disk) if path.is_file()]
    assert left == []


def test_a_disk_that_is_full_is_said_without_a_name_of_ours(project: Project) -> None:
    """A limit of file sizes stands for any fault of the system on a temporary file."""
    command = ["bash", "-c", 'ulimit -f 150; trap "" XFSZ; exec "$@"', "bash", *project.command()]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "file too large" in done.stderr
    assert ".tmp-" not in done.stderr

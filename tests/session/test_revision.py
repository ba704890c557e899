"""A project as it was at a git revision: what is copied, what is linked, and that the checkout stays as it is."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelbuild.engine.store import Store
from modelbuild.errors import Error
from modelbuild.session import revision

LARGE = b"x" * (revision.SMALL + 1)


def git(folder: Path, *words: str) -> str:
    command = [
        "git",
        "-C",
        str(folder),
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b",
        "-c",
        "protocol.file.allow=always",
        *words,
    ]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def write(folder: Path, files: dict[str, str | bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(str(tmp_path / "cache"))
    yield made
    made.close()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository with a tag `v1`."""
    folder = tmp_path / "repo"
    write(folder, {"ModelBuild.toml": "# one\n", "big.bin": LARGE, "gone.bin": LARGE, "old/Modelfile": "FROM x\n"})
    write(folder, {".gitignore": "/weights\n*.gguf\n"})
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "one")
    git(folder, "tag", "v1")
    return folder


def test_small_files_are_copied_and_large_ones_linked(repo: Path, store: Store) -> None:
    write(repo, {"ModelBuild.toml": "# two\n", "big.bin": LARGE + b"!", "new/Modelfile": "FROM y\n"})
    write(repo, {"weights/config.json": "{}", "weights/Modelfile.txt": "", "a.gguf": b"gguf", "note.txt": "new"})
    for name in ("gone.bin", "old/Modelfile"):
        (repo / name).unlink()
    status, index = git(repo, "status", "--porcelain"), (repo / ".git/index").stat().st_mtime_ns
    with revision.of("v1", str(repo / "ModelBuild.toml"), store) as found:
        folder = Path(found.folder)
        assert folder.name == "repo"
        assert found.commit == git(repo, "rev-parse", "v1").strip()
        assert (folder / "ModelBuild.toml").read_text() == "# one\n"
        assert (folder / "old/Modelfile").read_text() == "FROM x\n"
        assert (folder / "big.bin").resolve() == repo / "big.bin"
        assert str(repo / "big.bin") in found.changed and found.differs(str(repo / "big.bin"))
        assert not found.differs(str(repo / "weights/config.json"))
        assert (folder / "gone.bin").read_bytes() == LARGE, "only git has it"
        assert (folder / "weights/config.json").read_text() == "{}"
        assert (folder / "a.gguf").resolve() == repo / "a.gguf"
        assert not (folder / "weights/Modelfile.txt").exists()
        assert not (folder / "new").exists() and not (folder / "note.txt").exists(), "they are new"
        assert found.path(str(repo / "old/Modelfile")) == str(folder / "old/Modelfile")
    assert not folder.exists()
    assert (repo / ".git/index").stat().st_mtime_ns == index
    assert git(repo, "status", "--porcelain") == status
    assert (repo / "big.bin").read_bytes() == LARGE + b"!"


def test_unchanged_large_files_are_as_they_were(repo: Path, store: Store) -> None:
    with revision.of("v1", str(repo / "ModelBuild.toml"), store) as found:
        assert found.changed == frozenset()


def test_a_pointer_of_git_lfs_stands_for_the_file_of_today(repo: Path, store: Store) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 9\n"
    write(repo, {"w/model.safetensors": pointer, "w/absent.safetensors": pointer})
    git(repo, "add", "-A", "w")
    git(repo, "commit", "-qm", "lfs")
    write(repo, {"w/model.safetensors": b"real data"})
    git(repo, "rm", "-q", "--cached", "w/absent.safetensors")
    (repo / "w/absent.safetensors").unlink()
    with revision.of("HEAD", str(repo / "ModelBuild.toml"), store) as found:
        assert (Path(found.folder) / "w/model.safetensors").read_bytes() == b"real data"
        assert found.differs(str(repo / "w/model.safetensors"))
        assert not (Path(found.folder) / "w/absent.safetensors").exists()


def test_links_are_links_and_nothing_is_written_through_one(repo: Path, store: Store, tmp_path: Path) -> None:
    os.symlink("big.bin", repo / "link.bin")
    os.symlink(str(tmp_path / "outside"), repo / "out")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "links")
    with revision.of("HEAD", str(repo / "ModelBuild.toml"), store) as found:
        assert os.readlink(Path(found.folder) / "link.bin") == "big.bin"
    assert not (tmp_path / "outside").exists()


@pytest.fixture
def submodule(repo: Path, tmp_path: Path) -> Path:
    write(tmp_path / "sub", {"x.txt": "x", "y.txt": "y", "w.bin": LARGE})
    git(tmp_path / "sub", "init", "-q")
    git(tmp_path / "sub", "add", "-A")
    git(tmp_path / "sub", "commit", "-qm", "x")
    git(repo, "submodule", "add", "-q", str(tmp_path / "sub"), "sub")
    git(repo, "commit", "-qm", "sub")
    return repo / "sub"


@pytest.mark.parametrize("committed", [False, True])
def test_submodules_are_as_they_were(repo: Path, submodule: Path, store: Store, committed: bool) -> None:
    write(submodule, {"x.txt": "new", "w.bin": LARGE + b"!"})
    if committed:
        git(submodule, "commit", "-qam", "new")
    with revision.of("HEAD", str(repo / "ModelBuild.toml"), store) as found:
        assert (Path(found.folder) / "sub/x.txt").read_text() == "x"
        assert found.differs(str(submodule / "w.bin"))
        assert not found.differs(str(submodule / "y.txt"))


def test_all_of_a_submodule_has_changed_whose_commit_is_not_there(repo: Path, submodule: Path, store: Store) -> None:
    git(submodule, "checkout", "-q", "--orphan", "other")
    git(submodule, "commit", "-qam", "other")
    head = "160000,0123456789012345678901234567890123456789,sub"
    git(repo, "update-index", "--cacheinfo", head)
    git(repo, "commit", "-qm", "gone")
    git(repo, "add", "sub")
    with revision.of("HEAD", str(repo / "ModelBuild.toml"), store) as found:
        assert (Path(found.folder) / "sub/y.txt").read_text() == "y"
        assert found.differs(str(submodule / "y.txt"))


def test_a_file_that_is_a_folder_today_is_the_file(repo: Path, store: Store) -> None:
    for name in ("big.bin", "ModelBuild.toml"):
        (repo / name).unlink()
        write(repo, {f"{name}/inner.gguf": "x"})
    with revision.of("v1", str(repo / "m"), store) as found:
        assert (Path(found.folder) / "big.bin").read_bytes() == LARGE
        assert (Path(found.folder) / "ModelBuild.toml").read_text() == "# one\n"


def test_a_path_out_of_the_checkout_leads_to_the_same_file(repo: Path, store: Store, tmp_path: Path) -> None:
    write(tmp_path, {"beside/a": "a"})
    with revision.of("v1", str(repo / "m"), store) as found:
        for path in ("../beside/a", f"../../{tmp_path.name}/beside/a"):
            assert os.path.realpath(os.path.normpath(os.path.join(found.folder, path))) == str(tmp_path / "beside/a")


def test_what_a_hook_is_given_names_no_other_repository(
    repo: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "-q", "other")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other/.git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "other"))
    monkeypatch.setenv("GIT_INDEX_FILE", ".git/index.lock")
    monkeypatch.setenv("GIT_PREFIX", "old/")
    with revision.of("v1", str(repo / "m"), store) as found:
        assert found.root == str(repo) and not found.changed


def test_files_that_git_converts_are_as_in_the_checkout(repo: Path, store: Store) -> None:
    write(repo, {".gitattributes": "*.txt eol=crlf\n", "a.txt": "a\r\nb\r\n"})
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "crlf")
    with revision.of("HEAD", str(repo / "m"), store) as found:
        assert (Path(found.folder) / "a.txt").read_bytes() == b"a\r\nb\r\n" and not found.changed


@pytest.mark.parametrize("name", ["nope", "", "^HEAD", "-x", "--exec=ls", "v1\nv2", "v1:ModelBuild.toml"])
def test_an_unknown_revision_is_an_error(repo: Path, store: Store, name: str) -> None:
    with pytest.raises(Error, match="git knows no revision") as error, revision.of(name, str(repo / "m"), store):
        pass
    assert "git branch" in str(error.value)


def test_a_shallow_clone_is_told_how_to_get_more(repo: Path, store: Store, tmp_path: Path) -> None:
    git(repo, "commit", "-qm", "two", "--allow-empty")
    git(tmp_path, "clone", "-q", "--depth=1", "--no-tags", f"file://{repo}", "shallow")
    with (
        pytest.raises(Error, match="no revision 'HEAD~1'") as error,
        revision.of("HEAD~1", str(tmp_path / "shallow/m"), store),
    ):
        pass
    assert "--unshallow" in str(error.value)


def test_what_is_no_repository_and_a_machine_without_git_are_errors(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(Error, match="not in a git repository"), revision.of("HEAD", str(tmp_path / "m"), store):
        pass
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Error, match="git is not installed"), revision.of("HEAD", str(tmp_path / "m"), store):
        pass


@pytest.mark.parametrize("digits", [40, 64])
def test_before_the_first_commit_there_is_nothing(repo: Path, store: Store, digits: int) -> None:
    with revision.of("0" * digits, str(repo / "ModelBuild.toml"), store) as found:
        assert not Path(found.path(str(repo / "ModelBuild.toml"))).exists()
        assert found.changed == frozenset()

"""Files of their own: written whole, left alone where they stand, and never over what is somebody's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelbuild.engine.action import ActionResult
from modelbuild.engine.graph import Output
from modelbuild.engine.store import Damaged, Store
from modelbuild.errors import Error
from modelbuild.publish.exported import Exported, is_gguf

GGUF = b"GGUF and so on"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "cache"))


def output(path: Path) -> Output:
    return Output("m", (), "manifest", ("model",), ((str(path), "model"),))


def put(exported: Exported, path: Path, blob: ActionResult) -> bool:
    return exported.put(output(path), {"model": blob}) == [str(path)]


def test_a_file_is_a_copy_of_its_own(store: Store, tmp_path: Path) -> None:
    blob, path = store.put(GGUF), tmp_path / "a/out.gguf"
    exported = Exported(store, "project")
    assert put(exported, path, blob)
    assert path.read_bytes() == GGUF and path.stat().st_nlink == 1
    assert not os.path.samefile(path, store.path(blob.artifact) or "")
    assert os.listdir(path.parent) == ["out.gguf"]
    assert not put(exported, path, blob)
    assert not put(Exported(store, "another"), path, blob)


def test_what_was_touched_does_not_stand(store: Store, tmp_path: Path) -> None:
    blob, path = store.put(GGUF), tmp_path / "out.gguf"
    exported, results = Exported(store, "project", "gguf"), {"model": blob}
    assert exported.finished(output(path), results) is None
    put(exported, path, blob)
    assert exported.stands(str(path), blob.artifact)
    assert exported.finished(output(path), results) == {str(path): path.stat()}
    path.write_bytes(b"GGUF edited")
    assert not exported.stands(str(path), blob.artifact)
    assert exported.finished(output(path), results) is None
    assert put(exported, path, blob)
    os.utime(path)
    assert not exported.stands(str(path), blob.artifact)
    assert not put(exported, path, blob), "the same bytes are not written once more"
    assert exported.stands(str(path), blob.artifact)


@pytest.mark.parametrize(
    ("replaces", "there", "refused"),
    [
        ("own", GGUF, "modelbuild did not write it"),
        ("own", b"text", "modelbuild did not write it"),
        ("gguf", GGUF, None),
        ("gguf", b"", None),
        ("gguf", b"text", "modelbuild did not write it"),
        ("all", b"text", None),
    ],
)
def test_which_files_may_be_written_over(
    store: Store, tmp_path: Path, replaces: str, there: bytes, refused: str | None
) -> None:
    path = tmp_path / "out.gguf"
    path.write_bytes(there)
    exported = Exported(store, "", replaces)  # type: ignore[arg-type]
    blob = store.put(GGUF + b"!")
    if refused:
        with pytest.raises(Error, match=refused):
            put(exported, path, blob)
        assert path.read_bytes() == there
    else:
        assert put(exported, path, blob)


def test_the_file_of_another_owner_is_told_of(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "out.gguf"
    owner = str(tmp_path / "ModelBuild.toml")
    Path(owner).write_text("")
    put(Exported(store, owner), path, store.put(GGUF))
    with pytest.raises(Error, match="another project or export wrote it") as caught:
        put(Exported(store, "/y/ModelBuild.toml", "gguf"), path, store.put(GGUF + b"2"))
    assert caught.value.facts == (("written by", owner),)
    assert put(Exported(store, "", "gguf"), path, store.put(GGUF + b"2")), "asked for by hand"
    put(Exported(store, "/gone/ModelBuild.toml", "all"), path, store.put(GGUF + b"3"))
    assert put(Exported(store, owner, "gguf"), path, store.put(GGUF)), "who wrote it is gone"


def test_only_what_is_ours_and_unchanged_is_removed(store: Store, tmp_path: Path) -> None:
    exported, blob = Exported(store, "project"), store.put(GGUF)
    paths = [tmp_path / name for name in ("a.gguf", "b.gguf", "c.gguf")]
    for path in paths:
        put(exported, path, blob)
    put(Exported(store, ""), tmp_path / "theirs.gguf", blob)
    paths[0].write_bytes(b"GGUF edited")
    assert exported.stale({str(paths[1])}) == [str(paths[2])]
    assert exported.remove(map(str, [*paths, tmp_path / "theirs.gguf"])) == [str(paths[1]), str(paths[2])]
    assert sorted(path.name for path in tmp_path.glob("*.gguf")) == ["a.gguf", "theirs.gguf"]
    assert exported.remove([]) == []


def test_a_damaged_artifact_is_never_written(store: Store, tmp_path: Path) -> None:
    blob = store.put(GGUF)
    Path(store.path(blob.artifact) or "").write_bytes(b"GGUF and so oM")
    with pytest.raises(Damaged):
        put(Exported(store, ""), tmp_path / "out.gguf", blob)
    assert not (tmp_path / "out.gguf").exists()


def test_what_the_system_refuses_is_said_of_the_file(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str, target: str) -> None:
        raise OSError(28, "No space left on device", path)

    blob = store.put(GGUF)
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(Error, match="no space left") as caught:
        put(Exported(store, ""), tmp_path / "out.gguf", blob)
    assert caught.value.path == str(tmp_path / "out.gguf")
    assert not list(tmp_path.glob(".modelbuild-*"))


def test_small_files(store: Store, tmp_path: Path) -> None:
    path, exported = tmp_path / "Modelfile", Exported(store, "export")
    assert exported.may_write(str(path), b"FROM x")
    path.write_bytes(b"FROM x")
    assert not exported.may_write(str(path), b"FROM x"), "it stands already"
    with pytest.raises(Error):
        Exported(store, "another").may_write(str(path), b"FROM z")
    assert exported.may_write(str(path), b"FROM y")


def test_a_look_before_the_work(store: Store, tmp_path: Path) -> None:
    (tmp_path / "folder.gguf").mkdir()
    (tmp_path / "text.gguf").write_text("text")
    (tmp_path / "model.gguf").write_bytes(GGUF)
    exported = Exported(store, "")

    def said(name: str) -> str:
        found = exported.misplaced(output(tmp_path / name), {str(tmp_path / "source.gguf")}, [str(tmp_path / "cache")])
        return "".join(error.what for error in found)

    assert said("new/model.gguf") == said("model.gguf") == said("cached.gguf") == ""
    assert said("source.gguf").startswith("is an input of this build")
    assert said("new/../source.gguf").startswith("is an input of this build")
    assert said("cache/blobs/x.gguf").startswith("an output file cannot be inside a folder that belongs")
    assert said("folder.gguf") == "is a folder, expected a file"
    assert said("text.gguf") == "already exists and is not a GGUF file"
    assert said("text.gguf/x.gguf") == "is a file, expected a folder"
    assert "too long" in said("x" * 300 + ".gguf")


def test_what_begins_as_gguf_files_do(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(GGUF)
    (tmp_path / "b").write_bytes(b"GGU")
    assert is_gguf(str(tmp_path / "a")) and not is_gguf(str(tmp_path / "b")) and not is_gguf(str(tmp_path / "none"))

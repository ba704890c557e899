"""Trees of files: all there or none new, put together of artifacts, and never over what is somebody's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelbuild.engine.store import Damaged, Store
from modelbuild.errors import Error
from modelbuild.publish.exported import Exported, is_there
from modelbuild.publish.exported_tree import ExportedTree
from modelbuild.shapes._finished import Copy, Entry, Range, Spliced, Text
from modelbuild.shapes._seal import sealed

DATA = b"GGUF and so on"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "cache"))


def parts(store: Store, count: int, data: bytes = DATA) -> list[Entry]:
    """A split artifact: the later parts first, and then the one that opens them."""
    made = store.put(data)
    step = -(-made.size // count)
    ranges = [Range(made.artifact, at, min(step, made.size - at)) for at in range(0, made.size, step)]
    entries = [Entry(f"m-{n}-of-{len(ranges)}.gguf", Spliced((b"GGUF", each))) for n, each in enumerate(ranges, 1)]
    return [*entries[1:], entries[0]._replace(opens=True)]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_tree_is_written_and_stands(store: Store, tmp_path: Path) -> None:
    made = store.put(DATA)
    entries = [Entry("a/b.gguf", Copy(*made)), Entry("README", Text(b"text\n")), *parts(store, 2)]
    tree, root = ExportedTree(store, "project", "gguf"), tmp_path / "out"
    assert tree.standing(str(root), entries) is None
    laid = tree.lay(str(root), entries)
    assert [(os.path.relpath(each.path, root), each.size, each.changed) for each in laid] == [
        (entry.path, entry.content.size, True) for entry in entries
    ]
    assert files(root) == {
        "README": b"text\n", "a/b.gguf": DATA, "m-1-of-2.gguf": b"GGUF" + DATA[:7], "m-2-of-2.gguf": b"GGUF" + DATA[7:],
    }  # fmt: skip
    standing = tree.standing(str(root), entries)
    assert standing is not None and set(standing) == {each.path for each in laid}
    assert not any(each.changed for each in tree.lay(str(root), entries))
    os.utime(root / "m-2-of-2.gguf")
    assert tree.standing(str(root), entries) is None
    assert not any(each.changed for each in tree.lay(str(root), entries)), "the same bytes are not written once more"
    (root / "a/b.gguf").unlink()
    assert [each.path for each in tree.lay(str(root), entries) if each.changed] == [str(root / "a/b.gguf")]


@pytest.mark.parametrize("at", range(6))
def test_a_killed_export_leaves_no_half_set(
    store: Store, tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree, root = ExportedTree(store, "project", "gguf"), tmp_path / "out"
    tree.lay(str(root), parts(store, 3))
    old, new = files(root), parts(store, 3, DATA[::-1] + b"!")
    left = [at]
    replace = os.replace

    def killed(source: str, target: str) -> None:
        if target.startswith(str(root)):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
        replace(source, target)

    monkeypatch.setattr(os, "replace", killed)
    try:
        tree.lay(str(root), new)
    except KeyboardInterrupt:
        now = files(root)
        assert "m-1-of-3.gguf" not in now, "nobody begins with a set that is half old"
        assert not [name for name in now if name.startswith(".modelbuild")]
    monkeypatch.undo()
    tree.lay(str(root), new)
    assert files(root).keys() == old.keys() and not files(root).items() & old.items()


def test_nothing_new_is_there_if_a_part_cannot_be_made(store: Store, tmp_path: Path) -> None:
    tree, root = ExportedTree(store, "project", "gguf"), tmp_path / "out"
    gone = Entry("z.gguf", Copy("sha256:" + "1" * 64, 4))
    with pytest.raises(Damaged):
        tree.lay(str(root), [*parts(store, 2), gone])
    assert files(root) == {}
    made = store.put(DATA)
    Path(store.path(made.artifact) or "").write_bytes(DATA[::-1])
    with pytest.raises(Damaged):
        tree.lay(str(root), [Entry("x.gguf", Spliced((Range(made.artifact, 0, 4),)))])
    assert files(root) == {}


@pytest.mark.parametrize(
    ("there", "refused"),
    [
        (b"mine", "modelbuild did not write it"),
        (b"GGUF mine", None),
        (sealed("ours\n", "# {}"), None),
        (sealed("ours\n", "# {}") + b"mine\n", "modelbuild did not write it"),
    ],
)
def test_which_texts_are_written_over(store: Store, tmp_path: Path, there: bytes, refused: str | None) -> None:
    (tmp_path / "x").write_bytes(there)
    entries = [Entry("x", Text(b"new"))]
    tree = ExportedTree(store, "project", "gguf")
    if refused is None:
        assert tree.obstacles(str(tmp_path), entries, (), ()) == []
        tree.lay(str(tmp_path), entries)
        assert (tmp_path / "x").read_bytes() == b"new"
        return
    (told,) = tree.obstacles(str(tmp_path), entries, (), ())
    assert refused in told.what
    with pytest.raises(Error, match=refused):
        tree.lay(str(tmp_path), entries)
    assert (tmp_path / "x").read_bytes() == there


def test_a_text_that_was_edited_stays(store: Store, tmp_path: Path) -> None:
    tree = ExportedTree(store, "project", "gguf")
    tree.lay(str(tmp_path), [Entry("x", Text(b"one"))])
    (tmp_path / "x").write_bytes(b"edited")
    with pytest.raises(Error, match="was edited since modelbuild wrote it"):
        tree.lay(str(tmp_path), [Entry("x", Text(b"two", certain=False))])
    (told,) = tree.obstacles(str(tmp_path), [Entry("x", Text(b"", certain=False))], (), ())
    assert "was edited" in told.what


def test_what_stands_against_it_is_told_before_the_work(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "taken.gguf").mkdir()
    tree, copy = ExportedTree(store, "project"), Copy("sha256:" + "0" * 64, 0)

    def said(path: str) -> str:
        found = tree.obstacles(
            str(tmp_path), [Entry(path, copy)], {str(tmp_path / "source.gguf")}, [str(tmp_path / "cache")]
        )
        return "".join(error.what for error in found)

    assert said("new/model.gguf") == said("blobs/sha256/0") == ""
    assert said("source.gguf").startswith("is an input of this build")
    assert said("cache/x").startswith("an output file cannot be inside a folder that belongs")
    assert said("file/x.gguf") == "is a file, expected a folder"
    assert said("taken.gguf") == "is a folder, expected a file"


def test_hard_links_are_links_and_their_artifacts_are_still_believed(store: Store, tmp_path: Path) -> None:
    made = store.put(DATA)
    entries = [Entry("x.gguf", Copy(*made)), Entry("y", Text(b"text"))]
    ExportedTree(store, "project", links=True).lay(str(tmp_path / "out"), entries)
    assert os.path.samefile(tmp_path / "out/x.gguf", store.path(made.artifact) or "")
    assert (tmp_path / "out/y").stat().st_nlink == 1
    mode = os.stat(store.path(made.artifact) or "").st_mode
    ExportedTree(store, "project", links=True).lay(str(tmp_path / "out"), entries)
    assert os.stat(store.path(made.artifact) or "").st_mode == mode
    assert store.read(made.artifact) == DATA


def test_only_own_files_go_and_empty_folders_with_them(store: Store, tmp_path: Path) -> None:
    tree = ExportedTree(store, "a exports folder x", "gguf")
    tree.lay(str(tmp_path / "out"), [Entry("a/b/x", Text(b"1")), Entry("y", Text(b"2"))])
    (tmp_path / "out/y").write_bytes(b"mine")
    ExportedTree(store, "another").lay(str(tmp_path / "out"), [Entry("z", Text(b"3"))])
    paths = [str(tmp_path / "out" / name) for name in ("a/b/x", "y", "z")]
    assert tree.remove_own(paths) == paths[:1]
    assert sorted(files(tmp_path / "out")) == ["y", "z"] and not (tmp_path / "out/a/b").exists()
    assert Exported(store, "a").of_exports() == [tree.owner] == ["a exports folder x"]
    assert Exported(store, "another").of_exports() == []


def test_whose_project_is_still_there(tmp_path: Path) -> None:
    project = tmp_path / "my exports of/ModelBuild.toml"
    assert not is_there(f"{project} exports oci /x")
    project.parent.mkdir()
    project.write_text("")
    for owner in (f"{project}", f"{project} exports oci /x", f"{project} export m as oci"):
        assert is_there(owner)

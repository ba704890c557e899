"""Where tensors lie that were made before: in blobs, and in files that are not finished."""

from __future__ import annotations

from pathlib import Path

from modelbuild.digest import xxh3
from modelbuild.engine.action import Range
from modelbuild.engine.cache import LocalCache
from modelbuild.engine.store import Store
from modelbuild.files import UNFINISHED
from modelbuild.session.leaves import absent, at_hand


def test_tensors_of_blobs_and_of_unfinished_files_are_at_hand_while_those_are_there(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "cache"))
    cache = LocalCache(store)
    blob = store.put(b"a whole blob").artifact
    near, far = UNFINISHED + "near", UNFINISHED + "far"
    (Path(store.scratch) / near).write_bytes(b"a part")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (scratch / far).write_bytes(b"another")
    where = {xxh3(name.encode()): name for name in (blob, near, far, UNFINISHED + "gone", UNFINISHED + "/../x")}
    cache.note([(key, Range(name, 2, 3, key)) for key, name in where.items()])
    blobs: dict[str, str] = {}
    found = at_hand(cache, [*where, xxh3(b"never")], blobs, str(scratch))
    assert {where[key] for key in found} == set(blobs.values()) == {blob, near, far}
    assert found[xxh3(far.encode())][0][:3] == (str(scratch / far), 2, 3)
    assert {where[key] for key in at_hand(cache, where, {}, None)} == {blob, near}


def test_git_lfs_is_named_for_its_pointers_alone(tmp_path: Path) -> None:
    pointer, link = tmp_path / "pointer.gguf", tmp_path / "link.gguf"
    pointer.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 1000\n")
    link.symlink_to("gone")
    assert "git lfs pull" in str(absent(None, str(pointer)))
    assert "get the file" in str(absent(None, str(link)))

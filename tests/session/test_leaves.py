"""Where tensors lie that were made before: in blobs, and in files that are not finished."""

from __future__ import annotations

from pathlib import Path

from modelbuild.engine.action import Range
from modelbuild.engine.cache import LocalCache
from modelbuild.engine.store import Store
from modelbuild.files import UNFINISHED
from modelbuild.session.leaves import at_hand


def test_tensors_of_blobs_and_of_unfinished_files_are_at_hand_while_those_are_there(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "cache"))
    cache = LocalCache(store)
    blob = store.put(b"a whole blob").artifact
    near, far = UNFINISHED + "near", UNFINISHED + "far"
    (Path(store.scratch) / near).write_bytes(b"a part")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (scratch / far).write_bytes(b"another")
    where = {"whole": blob, "near": near, "far": far, "gone": UNFINISHED + "gone", "lie": UNFINISHED + "/../x"}
    cache.note((key, Range(name, 2, 3, "xxh3:0")) for key, name in where.items())
    blobs: dict[str, str] = {}
    found = at_hand(cache, [*where, "never"], blobs, str(scratch))
    assert set(found) == {"whole", "near", "far"}
    assert set(blobs.values()) == {blob, near, far}
    assert found["far"][0][:3] == (str(scratch / far), 2, 3)
    assert set(at_hand(cache, where, {}, None)) == {"whole", "near"}

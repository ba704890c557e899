"""Room is made without the database, of what is known to be the cache's own."""

from __future__ import annotations

from pathlib import Path

from modelbuild.engine import room
from modelbuild.engine.action import Made, Range
from modelbuild.engine.cache import LocalCache
from modelbuild.engine.store import Store
from tests.engine.test_store import ACTION, keep


def test_room_is_made_without_the_database(tmp_path: Path) -> None:
    cache = Store(str(tmp_path / "cache"))
    data = bytes(1000)
    kept, foreign = cache.put(data), Path(cache.root) / "blobs" / ("sha256-" + "3" * 64)
    foreign.write_bytes(b"mine")
    key = "xxh3:" + "b" * 32
    LocalCache(cache).record(ACTION, Made(kept, ((key, Range(kept.artifact, 0, 9, key)),)))
    keep(cache, b"no tensors", "sha256:" + "b" * 64)
    cache.database.rows("pragma wal_checkpoint(truncate)")
    later = cache.put(b"nobody knows of it")
    assert room.make_room(cache.root) == (2, 1010)
    assert not cache.has(kept) and cache.has(later) and foreign.exists()

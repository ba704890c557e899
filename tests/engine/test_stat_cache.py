"""The stat cache: what is known of files that were hashed."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.engine.database import Database
from modelbuild.engine.stat_cache import Hashed, StatCache


def test_digests_are_known_by_path_and_form(tmp_path: Path) -> None:
    cache = StatCache(Database(str(tmp_path)))
    cache.remember([Hashed("/w", "bytes", "1", "xxh3:1", None)])
    cache.remember([Hashed("/w", "gguf", "1", "xxh3:2", b"detail")])
    assert cache.digests(["/w", "/x"]) == {("/w", "bytes"): ("1", "xxh3:1"), ("/w", "gguf"): ("1", "xxh3:2")}
    assert cache.detail("xxh3:2") == b"detail" and cache.detail("xxh3:1") is None
    cache.forget(["/w"])
    assert cache.digests(["/w"]) == {}


def test_a_path_that_is_not_utf_8_is_not_kept(tmp_path: Path) -> None:
    cache = StatCache(Database(str(tmp_path)))
    cache.remember([Hashed("/w\udcff", "bytes", "1", "xxh3:1", b"detail")])
    cache.remember([Hashed("/w", "bytes", "1", "xxh3:2", None)])
    assert cache.digests(["/w\udcff", "/w"]) == {("/w", "bytes"): ("1", "xxh3:2")}
    assert cache.detail("xxh3:1") == b"detail"
    cache.forget(["/w\udcff", "/w"])
    assert cache.digests(["/w"]) == {}


@pytest.mark.parametrize("damage", ["cast(replace(detail, 'detail', 'detaiL') as blob)", "'text'"])
def test_what_was_found_in_a_weights_file_is_checked_when_it_is_read(tmp_path: Path, damage: str) -> None:
    database = Database(str(tmp_path))
    cache = StatCache(database)
    cache.remember([Hashed("/w", "safetensors", "1", "xxh3:1", b"detail")])
    assert cache.detail("xxh3:1") == b"detail"
    database.change((f"update survey set detail = {damage}", [()]))
    assert cache.detail("xxh3:1") is None

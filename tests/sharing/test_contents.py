"""The sha256 of a source goes with the digest of the same reading."""

from __future__ import annotations

import os
from pathlib import Path

from modelbuild.digest import Xxh3, sha256, xxh3
from modelbuild.engine.database import Database
from modelbuild.engine.graph import Source
from modelbuild.engine.stat_cache import StatCache
from modelbuild.sharing.contents import Contents


def old(path: Path, data: bytes) -> Source:
    path.write_bytes(data)
    os.utime(path, ns=(0, 10**18))
    return Source(str(path), "bytes")


def test_a_file_is_read_once_and_believed_only_as_what_it_was(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "cache"))
    reads: list[str] = []

    def running(source: Source) -> Xxh3:
        reads.append(source.path)
        return Xxh3()

    def contents() -> Contents:
        return Contents(StatCache(database), running, lambda source: None)

    source = old(tmp_path / "a", b"one")
    os.utime(source.path, ns=(0, 10**18))
    assert contents().sha256(source, xxh3(b"one")) == sha256(b"one")
    # Changed behind the engine's back: what the engine knows is no longer there.
    old(tmp_path / "a", b"two")
    assert contents().sha256(source, xxh3(b"one")) is None
    assert contents().sha256(source, xxh3(b"two")) == sha256(b"two")
    os.mkfifo(tmp_path / "pipe")
    assert contents().sha256(Source(str(tmp_path / "pipe"), "bytes"), xxh3(b"")) is None


def test_of_a_file_that_is_away_somebody_has_to_say_it(tmp_path: Path) -> None:
    contents = Contents(StatCache(Database(str(tmp_path))), lambda source: Xxh3(), lambda source: "sha256:said")
    away = Source(str(tmp_path / "away"), "bytes", "xxh3:known")
    assert contents.sha256(away, "xxh3:known") == "sha256:said"
    assert contents.sha256(away._replace(known=""), "xxh3:known") is None

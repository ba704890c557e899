"""Digests and the one spelling of JSON that they are taken over."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild import digest
from modelbuild.digest import Xxh3, canonical, file_name, file_xxh3, sha256, xxh3


def test_digests_name_their_algorithm() -> None:
    assert sha256(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert xxh3(b"") == "xxh3:99aa06d3014798d86001c324468d497f"
    assert file_name(sha256(b"a")) == sha256(b"a").replace(":", "-")


def test_a_running_digest_is_that_of_the_whole() -> None:
    state = Xxh3()
    for part in (b"ab", b"", b"c"):
        state.update(part)
    assert state.digest() == xxh3(b"abc")


def test_a_file_is_digested_chunk_by_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "CHUNK", 7)
    for size in (0, 6, 7, 50):
        path = tmp_path / str(size)
        path.write_bytes(bytes(range(size)))
        assert file_xxh3(str(path)) == xxh3(bytes(range(size)))


def test_equal_values_have_one_spelling() -> None:
    assert canonical({"b": [1, 2.5, None], "a": "ä"}) == '{"a":"ä","b":[1,2.5,null]}'.encode()
    assert canonical((1, "x")) == canonical([1, "x"])
    with pytest.raises(ValueError):
        canonical(float("nan"))

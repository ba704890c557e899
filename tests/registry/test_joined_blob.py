from __future__ import annotations

import threading
from pathlib import Path

import pytest

from modelbuild.digest import sha256
from modelbuild.errors import Error
from modelbuild.registry.joined_blob import FileRange, JoinedBlob

DATA = bytes(range(256)) * 40


def blob(tmp_path: Path) -> tuple[JoinedBlob, bytes]:
    """Two ranges of one file between bytes."""
    path = tmp_path / "blob"
    path.write_bytes(DATA)
    parts = [b"head", FileRange(str(path), 100, 3000), bytes(7), FileRange(str(path), 9000, 50), b"", b"end"]
    whole = b"head" + DATA[100:3100] + bytes(7) + DATA[9000:9050] + b"end"
    return JoinedBlob(sha256(whole), parts), whole


def test_its_bytes_come_in_pieces_from_anywhere(tmp_path: Path) -> None:
    found, whole = blob(tmp_path)
    assert found.size == len(whole) and found.read() == whole
    for start, end in ((0, len(whole)), (2, 5), (4, 4), (3, 3020), (3003, 3010), (3060, len(whole)), (3004, 3004)):
        pieces = list(found.pieces(start, end, 64))
        assert b"".join(pieces) == whole[start:end] and all(0 < len(each) <= 64 for each in pieces)
    found.check(threading.Event())


def test_damage_and_a_file_that_became_shorter_show(tmp_path: Path) -> None:
    found, _ = blob(tmp_path)
    (tmp_path / "blob").write_bytes(DATA[::-1])
    with pytest.raises(Error, match="this blob is damaged") as damaged:
        found.check(threading.Event())
    assert damaged.value.path == str(tmp_path / "blob")
    (tmp_path / "blob").write_bytes(DATA[:9010])
    with pytest.raises(Error, match="became shorter"):
        found.read()
    (tmp_path / "blob").unlink()
    with pytest.raises(Error, match="cannot be read"):
        found.read()

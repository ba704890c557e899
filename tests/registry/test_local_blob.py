from __future__ import annotations

import threading
from pathlib import Path

import pytest

from modelbuild.errors import Error, Stopped
from modelbuild.registry import local_blob
from modelbuild.registry.local_blob import LocalBlob
from tests.registry.models import Models, check_golden
from tests.registry.standin import digest

DATA = bytes(range(256)) * 5000


def blob(tmp_path: Path, data: bytes = DATA) -> LocalBlob:
    models = Models(tmp_path / "models")
    return LocalBlob(str(models.path(models.blob(data))), digest(data), len(data))


def test_its_bytes_come_in_pieces_from_anywhere(tmp_path: Path) -> None:
    found = blob(tmp_path)
    assert b"".join(found.pieces(0, found.size)) == found.read() == DATA
    assert b"".join(found.pieces(7, 600_000)) == DATA[7:600_000]
    assert max(map(len, found.pieces(0, found.size))) == local_blob.PIECE
    found.check(threading.Event())


def test_a_blob_that_is_not_there_or_has_another_size_is_refused_at_once(tmp_path: Path) -> None:
    found = blob(tmp_path)
    with pytest.raises(Error) as missing:
        LocalBlob(found.path + "0", found.digest, found.size)
    check_golden("blob-missing", missing.value, "HOST", tmp_path / "models")
    with pytest.raises(Error) as wrong:
        LocalBlob(found.path, found.digest, found.size + 1)
    check_golden("blob-size", wrong.value, "HOST", tmp_path / "models")


def test_damage_shows(tmp_path: Path) -> None:
    found = blob(tmp_path)
    Path(found.path).write_bytes(DATA[:-1] + b"x")
    with pytest.raises(Error) as damaged:
        found.check(threading.Event())
    check_golden("blob-damaged", damaged.value, "HOST", tmp_path / "models")
    with pytest.raises(Error, match="damaged"):
        found.read()
    Path(found.path).write_bytes(DATA[:1000])
    with pytest.raises(Error, match="became shorter while it was sent"):
        found.read()


def test_a_check_stops_when_it_is_told_to(tmp_path: Path) -> None:
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(Stopped):
        blob(tmp_path).check(stopped)

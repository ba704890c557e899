"""The database: whatever happens to its file, it costs time and nothing else."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelbuild.engine import database
from modelbuild.engine.action import Range
from modelbuild.engine.database import Database
from modelbuild.engine.tensor_index import TensorIndex, noting
from modelbuild.errors import Error

KEEP = "insert or replace into kept values (?, ?)"


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Database]:
    found = Database(str(tmp_path))
    yield found
    found.close()


def keep(kept: Database, value: bytes, key: str = "key") -> None:
    kept.change((KEEP, [(key, value)]))


def values(kept: Database) -> list[bytes]:
    return [value for (value,) in kept.rows("select value from kept order by key")]


def spoil(path: Path, offset: int, data: bytes) -> None:
    with sqlite3.connect(path) as db:
        db.execute("pragma wal_checkpoint(truncate)")
    db.close()
    whole = bytearray(path.read_bytes())
    whole[offset : offset + len(data)] = data
    path.write_bytes(whole)


def test_database_that_is_deleted_in_the_middle_is_made_again(opened: Database) -> None:
    keep(opened, b"one")
    shutil.rmtree(opened.root)
    assert values(opened) == []
    keep(opened, b"two")
    # Another process sees it too: it is the new database that was written.
    assert values(Database(opened.root)) == [b"two"]


def test_a_new_database_appears_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def replace(new: str, path: str, real: Callable[[str, str], None] = os.replace) -> None:
        with contextlib.closing(sqlite3.connect(new)) as db:
            tables = db.execute("select count(*) from sqlite_master where type = 'table'").fetchone()[0]
            seen.append((os.path.exists(path), tables, db.execute("pragma user_version").fetchone()[0]))
        real(new, path)

    monkeypatch.setattr(os, "replace", replace)
    made = Database(str(tmp_path))
    assert seen == [(False, 19, database.SCHEMA)]
    assert made.rows("pragma journal_mode") == [("wal",)]
    made.close()


def test_database_that_another_process_replaced_is_opened_again(opened: Database) -> None:
    for suffix in ("", "-wal", "-shm"):
        os.unlink(f"{opened.root}/state.sqlite{suffix}")
    keep(Database(opened.root), b"one")
    assert values(opened) == [b"one"]


def test_folders_are_there_whenever_the_database_is(tmp_path: Path) -> None:
    folder = tmp_path / "cache/blobs"
    opened = Database(str(tmp_path / "cache"), [str(folder)])
    assert folder.is_dir()
    shutil.rmtree(tmp_path / "cache")
    keep(opened, b"one")
    assert folder.is_dir()


@pytest.mark.parametrize("offset", [100, 4096, 3 * 4096])
def test_damaged_database_is_made_anew(tmp_path: Path, offset: int) -> None:
    opened = Database(str(tmp_path))
    keep(opened, b"x" * 10_000)
    keep(opened, b"one", "other")
    opened.close()
    spoil(tmp_path / "state.sqlite", offset, os.urandom(2000))
    opened = Database(str(tmp_path))
    values(opened)
    keep(opened, b"two")
    assert b"two" in values(opened)
    for table in ("action", "last", "tensor", "file", "survey", "place", "wrote", "wrote_blob", "loose"):
        opened.rows(f"select * from {table}")


def test_names_of_tables_that_are_no_text_are_damage(tmp_path: Path) -> None:
    Database(str(tmp_path)).close()
    path = tmp_path / "state.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("pragma wal_checkpoint(truncate)")
    db.close()
    data = bytearray(path.read_bytes())
    data[data.find(b"tabletensortensor") + 6] = 0xF9
    data[data.find(b"CREATE TABLE tensor") + 3] = 0x21
    path.write_bytes(data)
    opened = Database(str(tmp_path))
    opened.rows("select * from tensor")
    keep(opened, b"one")
    assert values(opened) == [b"one"]


def test_older_database_loses_nothing(tmp_path: Path) -> None:
    opened = Database(str(tmp_path))
    keep(opened, b"one")
    opened.close()
    with sqlite3.connect(tmp_path / "state.sqlite") as db:
        db.execute("drop table loose")
        db.execute("pragma user_version = 2")
    db.close()
    opened = Database(str(tmp_path))
    assert values(opened) == [b"one"]
    assert opened.rows("select * from loose") == []


OLD = """
drop table tensor; drop table holder; drop table cost; drop table recalled;
create table tensor (
    key text primary key, blob text not null, offset integer not null, length integer not null, xxh3 text not null
) without rowid;
create index tensor_blob on tensor (blob);
pragma user_version = 5;
"""


def test_tensors_of_an_older_database_are_kept(tmp_path: Path) -> None:
    Database(str(tmp_path)).close()
    ours = {
        f"xxh3:{number:032x}": Range(f"sha256:{number % 3:064x}", number, 7, f"xxh3:{number:032x}")
        for number in range(50)
    }
    with contextlib.closing(sqlite3.connect(tmp_path / "state.sqlite")) as db:
        db.executescript(OLD)
        db.executemany("insert into tensor values (?, ?, ?, ?, ?)", [(key, *at) for key, at in ours.items()])
        db.execute("insert into tensor values ('odd', 'sha256:0', 1, 2, 'x')")
        db.commit()
    opened = Database(str(tmp_path))
    assert TensorIndex(opened).find([*ours, "xxh3:" + "f" * 32]) == ours
    assert opened.rows("select count(*) from tensor") == [(50,)]
    assert opened.rows("select name from sqlite_master where name = 'entry'") == []


def test_a_database_without_parts_keeps_its_tensors_as_they_are(tmp_path: Path) -> None:
    ours = {f"xxh3:{7:032x}": Range(f"sha256:{1:064x}", 7, 7, f"xxh3:{7:032x}")}
    before = Database(str(tmp_path))
    before.change(*noting([*ours.items()]))
    before.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "state.sqlite")) as db:
        db.executescript("drop table part; drop table mark; pragma user_version = 6;")
    opened = Database(str(tmp_path))
    assert TensorIndex(opened).find(ours) == ours
    assert opened.rows("select * from part") == opened.rows("select * from mark") == []


def test_failed_change_changes_nothing_and_keeps_its_reason(opened: Database) -> None:
    keep(opened, b"one")
    with pytest.raises(Error, match="NOT NULL"):
        opened.change(("delete from kept", [()]), ("insert into kept values ('x', null)", [()]))
    assert values(opened) == [b"one"]


def test_all_is_forgotten_but_what_was_written_into_models_folders(opened: Database) -> None:
    keep(opened, b"one")
    opened.change(("insert into wrote values ('/m', 'name', 'project', 'sha256:0')", [()]))
    opened.clear()
    assert values(opened) == []
    assert len(opened.rows("select * from wrote")) == 1


def test_any_number_of_values_is_asked_for(opened: Database) -> None:
    opened.change((KEEP, [(str(number), b"") for number in range(2000)]))
    found = opened.rows_in("select key from kept where key in ({})", map(str, range(1500, 4000)))
    assert sorted(int(key) for (key,) in found) == list(range(1500, 2000))


def test_database_that_is_held_is_waited_for(opened: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    opened.waiting = told.append
    opened.rows("pragma busy_timeout = 20")
    other = sqlite3.connect(f"{opened.root}/state.sqlite", isolation_level=None, check_same_thread=False)
    other.execute("begin immediate")
    timer = threading.Timer(0.3, lambda: other.execute("commit"))
    timer.start()
    keep(opened, b"one")
    timer.join()
    assert told == [f"{opened.root}/state.sqlite"]
    other.execute("begin immediate")
    monkeypatch.setattr(database, "BUSY", 0.05)
    with pytest.raises(Error, match="in use by another process"):
        keep(opened, b"two")
    other.close()

"""Values in parts: read and replaced one by one, found by marks, and never parts of two values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelbuild.engine.database import Database
from modelbuild.engine.parts import Parts


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = Database(str(tmp_path))
    yield found
    found.close()


def test_parts_are_read_and_replaced_one_by_one(database: Database) -> None:
    parts, other = Parts(database, "plan:a"), Parts(database, "plan:ab")
    id_ = parts.replace({"x": b"1", "y": b"2"}, [("file:1", "x"), ("file:1", "y"), ("file:2", "x")])
    apart = other.replace({"x": b"other"})
    assert parts.get(id_, ["y", "none"]) == {"y": b"2"}
    assert parts.all(id_) == {"x": b"1", "y": b"2"}
    assert parts.marked(id_, ["file:1", "file:2", "file:3"]) == {"file:1": ["x", "y"], "file:2": ["x"]}
    parts.change(id_, {"x": b"3"}, [("file:2", "x")], [("file:3", "x"), ("file:3", "x")])
    assert parts.all(id_) == {"x": b"3", "y": b"2"}
    assert parts.marked(id_, ["file:2", "file:3"]) == {"file:3": ["x"]}
    assert other.all(apart) == {"x": b"other"}


def test_a_whole_value_takes_the_place_of_another(database: Database) -> None:
    parts = Parts(database, "plan:a")
    old = parts.replace({"x": b"1"}, [("file:1", "x")])
    new = parts.replace({"y": b"2"})
    assert (parts.all(old), parts.marked(old, ["file:1"])) == ({}, {})
    # Whoever read the old value before changes nothing of the new one.
    parts.change(old, {"x": b"late"}, [], [("file:1", "x")])
    assert parts.all(new) == {"y": b"2"} and parts.marked(new, ["file:1"]) == {}
    assert parts.all(parts.replace({})) == {}
    assert database.rows("select count(*) from part") == [(0,)]


def test_a_damaged_part_counts_as_none(database: Database) -> None:
    parts = Parts(database, "plan:a")
    id_ = parts.replace({"x": b"1", "y": b"2"})
    database.change(("update part set value = ? where name = ?", [(b"damaged", "x")]))
    assert parts.get(id_, ["x", "y"]) == {"y": b"2"} and parts.all(id_) is None


def test_many_parts_are_asked_for_at_once(database: Database) -> None:
    parts = Parts(database, "plan:a")
    values = {f"{number}": b"%d" % number for number in range(2000)}
    id_ = parts.replace(values, [(f"mark:{name}", name) for name in values])
    assert parts.get(id_, values) == values
    assert parts.marked(id_, (f"mark:{name}" for name in values)) == {f"mark:{name}": [name] for name in values}

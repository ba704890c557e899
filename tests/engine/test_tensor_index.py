"""The tensor index: what is noted is found, what is forgotten is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelbuild.engine.action import Range
from modelbuild.engine.database import Database
from modelbuild.engine.tensor_index import TensorIndex, forgetting, noting

ONE, TWO = (f"sha256:{digit * 64}" for digit in "12")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = Database(str(tmp_path))
    yield found
    found.close()


def key(number: int) -> str:
    return f"xxh3:{number:032x}"


def entries(blob: str, numbers: range) -> list[tuple[str, Range]]:
    return [(key(number), Range(blob, number, 10, key(number + 1))) for number in numbers]


def test_any_number_of_tensors_is_found(database: Database) -> None:
    found = entries(ONE, range(2000)) + entries(TWO, range(2000, 2500))
    database.change(*noting(found))
    index = TensorIndex(database)
    assert index.find(key(number) for number in range(5000)) == dict(found)
    assert index.holders() == [ONE, TWO]


def test_the_latest_place_of_a_tensor_counts_unless_it_is_ignored(database: Database) -> None:
    database.change(*noting(entries(ONE, range(3))))
    database.change(*noting(entries(TWO, range(1))))
    database.change(*noting(entries(TWO, range(3)), "ignore"))
    found = TensorIndex(database).find(map(key, range(3)))
    assert [found[key(number)].blob for number in range(3)] == [TWO, ONE, ONE]


def test_what_is_forgotten_is_not_found_and_takes_no_space(database: Database) -> None:
    index = TensorIndex(database)
    database.change(*noting(entries(ONE, range(3))))
    database.change(*noting(entries(TWO, range(2, 6))))
    database.change(*forgetting([ONE, "sha256:unknown"]))
    assert set(index.find(map(key, range(9)))) == {key(number) for number in range(2, 6)}
    assert database.rows("select count(*) from tensor") == [(4,)]
    assert index.holders() == [TWO]


def test_a_blob_whose_tensors_are_all_found_elsewhere_holds_none(database: Database) -> None:
    index = TensorIndex(database)
    database.change(*noting(entries(ONE, range(3))))
    database.change(*noting(entries(TWO, range(3))))
    assert index.holders() == [TWO]
    index.sweep()
    assert database.rows("select blob from holder") == [(TWO,)]


def test_altered_rows_are_none(database: Database) -> None:
    database.change(*noting(entries(ONE, range(3))))
    database.change(
        ("update tensor set offset = -1 where offset = 0", [()]),
        ("update tensor set length = 'far' where offset = 1", [()]),
        ("update tensor set xxh3 = 'text' where offset = 2", [()]),
    )
    assert TensorIndex(database).find(map(key, range(3))) == {}

"""A value kept in parts that are read and replaced one by one, and found by marks; valid only for the code that made it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

from modelbuild.digest import checked, unchecked
from modelbuild.engine.database import Database

Marks = Iterable[tuple[str, str]]
"""(mark, name of a part that it stands for)"""


class Parts:
    """The parts of the value of a key.

    A whole value gets an id, which whoever keeps the value must keep too: with another id there are no parts, so that nobody sees
    parts of two values. A damaged part counts as none.
    """

    def __init__(self, database: Database, key: str) -> None:
        self._database = database
        self._key = key

    def replace(self, parts: Mapping[str, bytes], marks: Marks = ()) -> str:
        """Keep a whole value in place of any other of this key. Returns its id."""
        made = os.urandom(8).hex()
        of_key = (self._key + ":", self._key + ";")
        self._database.change(
            ("delete from part where key >= ? and key < ?", [of_key]),
            ("delete from mark where key >= ? and key < ?", [of_key]),
            _put(self._whole(made), parts),
            _mark(self._whole(made), marks),
        )
        return made

    def change(self, id: str, parts: Mapping[str, bytes], unmarked: Marks = (), marked: Marks = ()) -> None:
        """Replace some parts and their marks."""
        whole = self._whole(id)
        gone = [(whole, mark, name) for mark, name in unmarked]
        self._database.change(
            ("delete from mark where key = ? and mark = ? and name = ?", gone),
            _put(whole, parts),
            _mark(whole, marked),
        )

    def get(self, id: str, names: Iterable[str]) -> dict[str, bytes]:
        """Some parts, as far as they are there."""
        wanted = list(names)
        query = "select name, value from part where key = ? and name in ({})"
        found = [row for some in _some(wanted) for row in self._in(query, id, some)]
        return {name: value for name, kept in found if (value := _told(kept)) is not None}

    def all(self, id: str) -> dict[str, bytes] | None:
        """All parts, in the order of their names; None where one is damaged."""
        rows = self._database.rows("select name, value from part where key = ? order by name", (self._whole(id),))
        found = {name: value for name, kept in rows if (value := _told(kept)) is not None}
        return found if len(found) == len(rows) else None

    def marked(self, id: str, marks: Iterable[str]) -> dict[str, list[str]]:
        """Mark -> the names of the parts that it stands for."""
        query = "select mark, name from mark where key = ? and mark in ({})"
        found: dict[str, list[str]] = {}
        for some in _some(list(marks)):
            for mark, name in self._in(query, id, some):
                found.setdefault(mark, []).append(name)
        return found

    def _in(self, query: str, id: str, values: Sequence[str]) -> list[tuple[str, str]]:
        return self._database.rows(query.format(",".join("?" * len(values))), (self._whole(id), *values))

    def _whole(self, id: str) -> str:
        return f"{self._key}:{id}"


def _put(whole: str, parts: Mapping[str, bytes]) -> tuple[str, list[tuple[str, str, bytes]]]:
    return (
        "insert or replace into part values (?, ?, ?)",
        [(whole, name, checked(value)) for name, value in parts.items()],
    )


def _mark(whole: str, marks: Marks) -> tuple[str, list[tuple[str, str, str]]]:
    return "insert or ignore into mark values (?, ?, ?)", [(whole, mark, name) for mark, name in marks]


def _told(kept: object) -> bytes | None:
    return unchecked(kept) if isinstance(kept, bytes) else None


def _some(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """As many as one query takes."""
    return (values[start : start + 900] for start in range(0, len(values), 900))

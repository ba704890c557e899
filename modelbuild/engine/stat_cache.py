"""Digests of files, each with the stat at the time of hashing: while the stat is the same, the file is not read again."""

from __future__ import annotations

from collections.abc import Iterable

from modelbuild.digest import checked, unchecked
from modelbuild.engine.database import Database
from modelbuild.tuples import NamedTuple


class Hashed(NamedTuple):
    """A file whose digest was taken in some form, the signature of its stat, and what was found in it."""

    path: str
    form: str
    signature: str
    digest: str
    detail: bytes | None


class StatCache:
    """The digests of files by path and form, and what was found in weights files by digest."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def digests(self, paths: Iterable[str]) -> dict[tuple[str, str], tuple[str, str]]:
        """(path, form) -> (signature of the file when it was hashed, digest)"""
        rows = self._database.rows_in(
            "select path, form, stat, digest from file where path in ({})", [path for path in paths if _is_text(path)]
        )
        return {(path, form): (stat, digest) for path, form, stat, digest in rows}

    def detail(self, digest: str) -> bytes | None:
        """What was found in a weights file of this digest. A damaged one counts as none."""
        rows = self._database.rows("select detail from survey where digest = ?", (digest,))
        return unchecked(rows[0][0]) if rows and isinstance(rows[0][0], bytes) else None

    def remember(self, files: Iterable[Hashed]) -> None:
        """Note the digests of files; an empty signature fits no file, and only the detail is of use then."""
        listed = [*files]
        self._database.change(
            ("insert or replace into file values (?, ?, ?, ?)", [each[:4] for each in listed if _is_text(each.path)]),
            (
                "insert or replace into survey values (?, ?)",
                [(each.digest, checked(each.detail)) for each in listed if each.detail is not None],
            ),
        )

    def forget(self, paths: Iterable[str]) -> None:
        self._database.change(("delete from file where path = ?", [(path,) for path in paths if _is_text(path)]))


def _is_text(path: str) -> bool:
    """Whether SQLite can have a path as text. A file whose path is not UTF-8 is read each time."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True

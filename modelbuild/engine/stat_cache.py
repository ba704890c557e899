"""Digests of files, each with the stat at the time of hashing: while the stat is the same, the file is not read again."""

from __future__ import annotations

from collections.abc import Iterable

from modelbuild.digest import checked, unchecked
from modelbuild.engine.database import Database


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

    def remember(self, path: str, form: str, signature: str, digest: str, detail: bytes | None) -> None:
        """Note a file's digest; an empty signature fits no file, and only the detail is of use then."""
        found = [] if detail is None else [(digest, checked(detail))]
        self._database.change(
            (
                "insert or replace into file values (?, ?, ?, ?)",
                [(path, form, signature, digest)] if _is_text(path) else [],
            ),
            ("insert or replace into survey values (?, ?)", found),
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

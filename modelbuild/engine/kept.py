"""Values kept by key between runs, valid only for the code that made them."""

from __future__ import annotations

from modelbuild.code import fingerprint
from modelbuild.digest import checked, unchecked
from modelbuild.engine.database import Database


class Kept:
    """Plans, validated projects, stamps, figures. One that is damaged, or of other code, counts as none."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: str) -> bytes | None:
        """The value of a key; None where there is none that can be believed."""
        rows = self._database.rows("select value from kept where key = ?", (key,))
        kept = rows[0][0] if rows else None
        data = unchecked(kept) if isinstance(kept, bytes) else None
        head, _, value = (data or b"").partition(b"\n")
        return value if head == self._head(key) else None

    def put(self, key: str, value: bytes) -> None:
        kept = checked(self._head(key) + b"\n" + value)
        self._database.change(("insert or replace into kept values (?, ?)", [(key, kept)]))

    def drop(self, prefix: str) -> None:
        """Forget the values of all keys that begin so."""
        self._database.change(("delete from kept where substr(key, 1, ?) = ?", [(len(prefix), prefix)]))

    @staticmethod
    def _head(key: str) -> bytes:
        """What stands before a value: whose it is, and by which code."""
        return f"{fingerprint()}\t{key}".encode("utf-8", "surrogateescape")

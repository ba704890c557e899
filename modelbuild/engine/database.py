"""The cache's database: opened, replaced if it is damaged or gone, and waited for while another process holds it."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from modelbuild import interrupt, ownership
from modelbuild.errors import Error
from modelbuild.files import PATIENCE, Waiting, existing, free, lock_file, make_folder, reason

T = TypeVar("T")

NAME = "state.sqlite"
SCHEMA = 7
BUSY = 60.0
"""Seconds for which another process may hold the database before we give up."""

NO_SPACE = "no space left for the cache"

_NEEDED = 1 << 20
"""Bytes that are free where SQLite has what it needs beside a database."""

TRIES = 5
"""Times that the cache is opened while somebody deletes it."""

_TABLES = """
create table if not exists action (digest text primary key, artifact text not null, size integer not null) without rowid;
create table if not exists last (
    project text, step text, digest text not null, action text not null, primary key (project, step)
) without rowid;
create table if not exists holder (id integer primary key, blob text not null unique);
create table if not exists earlier (
    project text, step text, at real not null, action text not null, primary key (project, step)
) without rowid;
create table if not exists built (
    project text, at real, record text not null, primary key (project, at)
) without rowid;
create table if not exists tensor (
    key blob primary key, blob integer not null, offset integer not null, length integer not null, xxh3 blob not null
) without rowid;
create index if not exists tensor_blob on tensor (blob);
create table if not exists cost (artifact text primary key, seconds real not null, used real not null) without rowid;
create table if not exists recalled (at real not null);
create table if not exists file (
    path text, form text, stat text not null, digest text not null, primary key (path, form)
) without rowid;
create table if not exists survey (digest text primary key, detail blob not null);
create table if not exists place (blob text, path text, stat text not null, primary key (blob, path)) without rowid;
create table if not exists kept (key text primary key, value blob not null);
create table if not exists part (key text, name text, value blob not null, primary key (key, name));
create table if not exists mark (key text, mark text, name text, primary key (key, mark, name)) without rowid;
create table if not exists wrote (
    folder text, name text, project text not null, manifest text not null, primary key (folder, name)
) without rowid;
create table if not exists putting (
    folder text, name text, project text not null, manifest text not null, primary key (folder, name)
) without rowid;
create table if not exists wrote_blob (folder text, blob text, primary key (folder, blob)) without rowid;
create table if not exists loose (folder text, blob text, primary key (folder, blob)) without rowid;
create table if not exists exported (path text primary key, owner text not null, blob text not null, stat text not null);
"""
_CLEARED = (
    "action", "last", "earlier", "built", "tensor", "holder", "cost", "file", "survey", "kept", "part", "mark", "place",
)  # fmt: skip
"""The tables that cost only time to lose. Without the others a later clean-up would not know what is ours."""

_MIGRATED = (2, 3, 4, 5, 6)
"""Older schemas, which lack tables alone, but for the tensor index: before 6 it has digests and blobs as text."""

_BEFORE_6 = "alter table tensor rename to entry; drop index if exists tensor_blob;"
_SINCE_6 = """
insert into holder (blob) select distinct blob from entry;
insert or ignore into tensor select packed(key), id, offset, length, packed(xxh3) from entry join holder using (blob)
    where packed(key) is not null and packed(xxh3) is not null order by key;
drop table entry;
"""

_DAMAGED = ("malformed", "not a database", "no such table", "no such column", "has no column", "could not decode")
"""What SQLite says of a file that is no longer what we wrote."""

Statement = tuple[str, Iterable[Sequence[Any]]]
"""SQL, and the values of each time that it is run."""


class Database:
    """Opens (and makes) `state.sqlite` in the folder `root`. Safe for threads and for several processes at once.

    folders  those that are to be there whenever the database is
    """

    def __init__(self, root: str, folders: Sequence[str] = (), waiting: Waiting | None = None) -> None:
        self.root = root
        self.waiting = waiting
        """Told of a lock or a database that another process holds for longer than a moment."""
        self.locks = os.path.join(root, "locks")
        self._folders = (*folders, self.locks)
        self._state = os.path.join(root, NAME)
        self._mutex = threading.RLock()
        self._dead: Error | None = None
        for left in reversed(range(TRIES)):
            try:
                self._db, self._inode = self._connect()
                break
            except (OSError, sqlite3.Error) as error:
                # Somebody may be deleting the cache right now.
                if not left or not (isinstance(error, FileNotFoundError) or _is_gone(error)):
                    raise unusable(root, error) from error

    def _connect(self, damaged: tuple[int, int] | None = None) -> tuple[sqlite3.Connection, tuple[int, int]]:
        """The database, made where there is none that can be used; one that was found damaged is made anew."""
        for folder in self._folders:
            make_folder(folder)
        db = None if damaged else self._opened()
        if db is None:
            # One process at a time makes it anew: another one may have done so while we waited.
            with lock_file(os.path.join(self.locks, "state"), self.waiting):
                db = None if damaged and damaged == _inode(self._state) else self._opened()
                if db is None:
                    self._create()
                    db = self._opened()
            if db is None:
                raise sqlite3.OperationalError("unable to open the database that was just made")
        # From here on we wait by ourselves, and say so.
        db.execute(f"pragma busy_timeout = {int(1000 * PATIENCE)}")
        return db, _inode(self._state)

    def _opened(self) -> sqlite3.Connection | None:
        """The database as it is; None where there is none that we can use."""
        if not os.path.exists(self._state):
            return None
        db = _database(self._state)
        try:
            db.execute("pragma synchronous = normal")
            version = db.execute("pragma user_version").fetchone()[0]
            if version in _MIGRATED:
                version = _migrated(db)
            if version == SCHEMA:
                return db
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            if not _is_damage(error):
                raise
        db.close()
        return None

    def _create(self) -> None:
        """Put a new database in place, whole by one rename: whoever opens one that is being made gets faults of all kinds from SQLite."""
        new = self._state + ".new"
        _remove_database(new)
        db = _database(new)
        try:
            db.executescript(f"begin immediate; {_TABLES} pragma user_version = {SCHEMA}; commit;")
            db.execute("pragma journal_mode = wal")
        finally:
            db.close()
        # SQLite gives the files that it makes beside a database to whoever that belongs to.
        with open(new, "rb") as file:
            ownership.hand_over(file.fileno(), self.root)
        # What another version kept, or what is no database: nothing is lost with it but time.
        _remove_database(self._state)
        os.replace(new, self._state)

    def close(self) -> None:
        with self._mutex:
            self._db.close()

    def change(self, *statements: Statement) -> None:
        """One change of state, whole or not at all."""
        listed = [(sql, list(values)) for sql, values in statements]

        def apply(db: sqlite3.Connection) -> None:
            db.execute("begin immediate")
            try:
                for sql, values in listed:
                    db.executemany(sql, values)
                db.execute("commit")
            except BaseException:
                # A full disk may have rolled back by itself.
                with contextlib.suppress(sqlite3.Error):
                    db.execute("rollback")
                raise

        self._use(apply)

    def rows(self, query: str, values: Sequence[str | int | bytes] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        return self._use(lambda db: db.execute(query, values).fetchall())

    def clear(self) -> None:
        """Forget everything but what was written into models folders."""
        self.change(*((f"delete from {table}", [()]) for table in _CLEARED))

    def _use(self, use: Callable[[sqlite3.Connection], T]) -> T:
        """Use the database. One that is damaged or was deleted is made anew: that costs time. One that is held is waited for."""
        begun, told, mended = time.monotonic(), self.waiting is None, False
        with self._mutex:
            if self._dead is not None:
                raise self._dead
            while True:
                try:
                    if _inode(self._state) != self._inode:
                        self._reopen(None)
                    return use(self._db)
                except (sqlite3.Error, UnicodeDecodeError) as error:
                    waited = time.monotonic() - begun
                    if _is_held(error) and waited < BUSY:
                        interrupt.check()
                        if not told and self.waiting is not None:
                            told = True
                            self.waiting(self._state)
                    elif _is_damage(error) and not mended:
                        mended = True
                        self._reopen(self._inode)
                    elif _is_gone(error) and _inode(self._state) != self._inode:
                        continue
                    else:
                        wrong = unusable(self.root, error)
                        if "locking protocol" in str(error):
                            # SQLite tried for ten seconds, and would at each further use.
                            self._dead = wrong
                        raise wrong from error

    def _reopen(self, damaged: tuple[int, int] | None) -> None:
        self._db.close()
        try:
            self._db, self._inode = self._connect(damaged)
        except OSError as error:
            raise unusable(self.root, error) from error

    def rows_in(
        self, query: str, values: Iterable[str | bytes], before: Sequence[str] = ()
    ) -> Iterator[tuple[Any, ...]]:
        """The rows of a query with `in ({})`, for any number of values; `before` are those of the `?` before it."""
        wanted = list(values)
        for start in range(0, len(wanted), 900):
            part = wanted[start : start + 900]
            yield from self.rows(query.format(",".join("?" * len(part))), [*before, *part])


def unusable(root: str, error: Exception) -> Error:
    """Say why the store cannot be used; an OSError or sqlite3 error in, an Error out."""
    if is_full(root, error):
        return Error(
            NO_SPACE,
            path=root,
            hint="free some space (`modelbuild clean --cache` empties the cache), or name another folder with --cache or $MODELBUILD_CACHE",
        )
    if isinstance(error, sqlite3.Error) and _is_held(error):
        return Error(
            f"the cache has been in use by another process for {BUSY:.0f} seconds",
            path=root,
            hint="end the other build if it hangs, or name another folder with --cache or $MODELBUILD_CACHE",
        )
    if isinstance(error, NotADirectoryError | FileExistsError):
        place = error.filename if isinstance(error.filename, str) else root
        hint = "name another folder with --cache or $MODELBUILD_CACHE"
        return Error("the cache cannot be used: a file is in its place", path=existing(place), hint=hint)
    why = reason(error) if isinstance(error, OSError) else str(error)
    return Error(
        f"the cache cannot be used: {why[:1].lower() + why[1:] if why[1:2].islower() else why}",
        path=root,
        hint="delete this folder, make it writable, or name another one with --cache or $MODELBUILD_CACHE",
    )


def at_rest(root: str, query: str) -> list[tuple[Any, ...]]:
    """The rows of a query as far as they stand in the database's own file: SQLite needs no file beside it for that, so no space."""
    from urllib.parse import quote

    place = f"file:{quote(os.path.join(root, NAME))}?mode=ro&immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(place, uri=True)) as db:
            return db.execute(query).fetchall()
    except (sqlite3.Error, UnicodeDecodeError):
        return []


def is_full(root: str, error: Exception) -> bool:
    """Whether an error comes of a full disk. SQLite speaks of I/O where it cannot make the files beside a database larger."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT) or "disk is full" in str(error):
        return True
    left = free(root) if isinstance(error, sqlite3.Error) and _is_gone(error) else None
    return left is not None and left < _NEEDED


def _migrated(db: sqlite3.Connection) -> int:
    """Bring an older database to the schema of now. Another process may have done so since its version was read."""
    db.create_function("packed", 1, _packed, deterministic=True)
    db.execute("begin immediate")
    try:
        if (version := db.execute("pragma user_version").fetchone()[0]) in _MIGRATED:
            changes = f"{_BEFORE_6} {_TABLES} {_SINCE_6}" if version < 6 else _TABLES
            for statement in f"{changes} pragma user_version = {SCHEMA}".split(";"):
                db.execute(statement)
        db.execute("commit")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            db.execute("rollback")
        raise
    return int(db.execute("pragma user_version").fetchone()[0])


def _packed(digest: object) -> bytes | None:
    """The bytes of an xxh3 that was kept as text; None for what is none."""
    try:
        data = bytes.fromhex(str(digest).removeprefix("xxh3:"))
    except ValueError:
        return None
    return data if len(data) == 16 else None


def _database(path: str) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY, check_same_thread=False, isolation_level=None)


def _inode(path: str) -> tuple[int, int]:
    try:
        info = os.stat(path)
    except OSError:
        return 0, 0
    return info.st_dev, info.st_ino


def _is_damage(error: Exception) -> bool:
    # Names of tables that are no text come through sqlite3 as they are.
    return isinstance(error, UnicodeDecodeError) or any(sign in str(error).lower() for sign in _DAMAGED)


def _is_gone(error: Exception) -> bool:
    """What SQLite says when files are deleted under its hands; also of a disk that fails."""
    return "unable to open" in str(error) or "disk I/O error" in str(error) or "readonly database" in str(error)


def _is_held(error: Exception) -> bool:
    return "locked" in str(error) or "busy" in str(error)


def _remove_database(path: str) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path + suffix)

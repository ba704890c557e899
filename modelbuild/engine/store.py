"""The store: artifacts by digest, and what is known about actions, tensors and files. It can be deleted at any time."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple, TypeVar

from modelbuild import digest as digests
from modelbuild import interrupt
from modelbuild.code import fingerprint
from modelbuild.engine.action import Action, ActionResult
from modelbuild.errors import Error
from modelbuild.files import PATIENCE, TEMPORARY, Temporary, Waiting, lock_file, reason, remove_temporary, signature

T = TypeVar("T")

SCHEMA = 3
BUSY = 60.0
"""Seconds for which another process may hold the database before we give up."""

TRIES = 5
"""Times that the cache is opened while somebody deletes it."""

SMALL = 1 << 20
"""Bytes of an artifact that is always read and checked before it is published."""

_ARTIFACT = re.compile("sha256[:-][0-9a-f]{64}")
_TABLES = """
create table if not exists action (digest text primary key, artifact text not null, size integer not null) without rowid;
create table if not exists last (
    project text, step text, digest text not null, action text not null, primary key (project, step)
) without rowid;
create table if not exists tensor (
    key text primary key, blob text not null, offset integer not null, length integer not null, xxh3 text not null
) without rowid;
create index if not exists tensor_blob on tensor (blob);
create table if not exists file (
    path text, form text, stat text not null, digest text not null, primary key (path, form)
) without rowid;
create table if not exists survey (digest text primary key, detail blob not null);
create table if not exists place (blob text, path text, stat text not null, primary key (blob, path)) without rowid;
create table if not exists kept (key text primary key, value blob not null);
create table if not exists wrote (
    folder text, name text, project text not null, manifest text not null, primary key (folder, name)
) without rowid;
create table if not exists wrote_blob (folder text, blob text, primary key (folder, blob)) without rowid;
create table if not exists loose (folder text, blob text, primary key (folder, blob)) without rowid;
"""
_MIGRATED = (2,)
"""Older schemas that lack tables alone."""

_DAMAGED = ("malformed", "not a database", "no such table", "no such column", "has no column", "could not decode")
"""What SQLite says of a file that is no longer what we wrote."""

Statement = tuple[str, Iterable[Sequence[Any]]]
"""SQL, and the values of each time that it is run."""


class Range(NamedTuple):
    """Where a tensor's bytes lie: in which blob, from where, how many, and their xxh3."""

    blob: str
    offset: int
    length: int
    xxh3: str


class Damaged(Exception):
    """An artifact's bytes are not those of its digest."""

    def __init__(self, artifact: str) -> None:
        super().__init__(artifact)
        self.artifact = artifact


class Store:
    """Opens (and makes) the store in the folder `root`. Safe for threads and for several processes at once."""

    def __init__(self, root: str, waiting: Waiting | None = None) -> None:
        self.root = root
        self.waiting = waiting
        """Told of a lock or a database that another process holds for longer than a moment."""
        self._blobs = os.path.join(root, "blobs")
        self._locks = os.path.join(root, "locks")
        self._state = os.path.join(root, "state.sqlite")
        self._mutex = threading.RLock()
        self._made: dict[str, str] = {}
        self._unfinished: set[str] = set()
        self._refuse_models()
        self._dead: Error | None = None
        for left in reversed(range(TRIES)):
            try:
                self._db, self._inode = self._connect()
                break
            except (OSError, sqlite3.Error) as error:
                # Somebody may be deleting the cache right now.
                if not left or not (isinstance(error, FileNotFoundError) or _is_gone(error)):
                    raise unusable(root, error) from error

    def _refuse_models(self) -> None:
        """Raise an Error where the cache would lie in a models folder: its blobs are somebody's models, not ours to drop."""
        for folder in _parents(os.path.realpath(self._blobs)):
            beside = os.path.join(os.path.dirname(folder), "manifests")
            if os.path.basename(folder) not in ("blobs", "manifests") or not os.path.isdir(beside):
                continue
            raise Error(
                "the cache cannot be a models folder, nor lie in one's blobs or manifests",
                path=self.root,
                facts=[("found", beside)],
                hint="name a folder of its own with --cache or $MODELBUILD_CACHE",
            )

    # The database

    def _connect(self, damaged: tuple[int, int] | None = None) -> tuple[sqlite3.Connection, tuple[int, int]]:
        """The database, made where there is none that can be used; one that was found damaged is made anew."""
        for folder in (self._blobs, self._locks):
            os.makedirs(folder, exist_ok=True)
        db = None if damaged else self._opened()
        if db is None:
            # SQLite does not wait for others while the journal's mode changes: one process at a time makes the tables.
            with lock_file(os.path.join(self._locks, "state"), self.waiting):
                db = None if damaged and damaged == _inode(self._state) else self._opened()
                db = db or self._created()
        # From here on we wait by ourselves, and say so.
        db.execute(f"pragma busy_timeout = {int(1000 * PATIENCE)}")
        return db, _inode(self._state)

    def _opened(self) -> sqlite3.Connection | None:
        """The database as it is; None where there is none that we can use."""
        db = _database(self._state)
        try:
            db.execute("pragma synchronous = normal")
            version = db.execute("pragma user_version").fetchone()[0]
            if version in _MIGRATED:
                db.executescript(f"begin immediate; {_TABLES} pragma user_version = {SCHEMA}; commit;")
                version = SCHEMA
            if version == SCHEMA:
                return db
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            if not _is_damage(error):
                raise
        db.close()
        return None

    def _created(self) -> sqlite3.Connection:
        # What another version kept, or what is no database: nothing is lost with it but time.
        _remove_database(self._state)
        db = _database(self._state)
        db.execute("pragma synchronous = normal")
        db.execute("pragma journal_mode = wal")
        db.executescript(f"begin immediate; {_TABLES} pragma user_version = {SCHEMA}; commit;")
        return db

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

    def rows(self, query: str, values: Sequence[str | int] = ()) -> list[tuple[Any, ...]]:
        return self._use(lambda db: db.execute(query, values).fetchall())

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

    def _rows_in(self, query: str, values: Iterable[str]) -> Iterator[tuple[Any, ...]]:
        wanted = list(values)
        for start in range(0, len(wanted), 900):
            part = wanted[start : start + 900]
            yield from self.rows(query.format(",".join("?" * len(part))), part)

    # Artifacts

    def has(self, result: ActionResult) -> bool:
        """Whether an artifact is at hand, by its size. One that isn't whole is forgotten."""
        path = self.path(result.artifact)
        if path is None:
            return False
        try:
            whole = os.stat(path).st_size == result.size
        except FileNotFoundError:
            return False
        if not whole:
            self.forget(result.artifact)
        return whole

    def verify(self, artifact: str, file: BinaryIO) -> None:
        """Hash an open artifact, unless this process made it and nobody has touched it since.

        Raises Damaged (and forgets it) where the bytes are wrong.
        """
        info = os.fstat(file.fileno())
        if info.st_size > SMALL and self._made.get(artifact) == signature(info):
            return
        sha = hashlib.sha256()
        while data := file.read(digests.CHUNK):
            interrupt.check()
            sha.update(data)
        if "sha256:" + sha.hexdigest() != artifact:
            self.forget(artifact)
            raise Damaged(artifact)
        file.seek(0)

    def touched(self, artifact: str, file: int, before: os.stat_result) -> None:
        """We have just linked an open artifact or set its times; `before` is its stat from before that.

        Whatever was believed of the file then is noted anew: of this process, and of each models folder it stands in.
        """
        after = os.fstat(file)
        if self._made.get(artifact) == signature(before):
            self._made[artifact] = signature(after)
        if _unwritten(before, after):
            noted = (standing(after), artifact, standing(before))
            self.change(("update place set stat = ? where blob = ? and stat = ?", [noted]))

    def path(self, artifact: str) -> str | None:
        """A file that holds the artifact: in the store, else in a models folder where it was put."""
        own = self._own_path(artifact)
        if os.path.isfile(own):
            return own
        for (place,) in self.rows("select path from place where blob = ?", (artifact,)):
            if os.path.isfile(place):
                return str(place)
        return None

    def _own_path(self, artifact: str) -> str:
        return os.path.join(self._blobs, digests.file_name(artifact))

    def open(self, artifact: str) -> BinaryIO:
        """Open an artifact, unbuffered and unchecked. Raises Damaged where it is not at hand."""
        for _ in range(3):
            path = self.path(artifact)
            if path is None:
                break
            # Between the look and the opening another build may move it into its models folder.
            with contextlib.suppress(FileNotFoundError):
                return open(path, "rb", buffering=0)
        raise Damaged(artifact)

    def read(self, artifact: str) -> bytes:
        """A small artifact's bytes, checked. Raises Damaged (and forgets it) where they are wrong or missing."""
        with self.open(artifact) as file:
            data = file.read()
        if digests.sha256(data) != artifact:
            self.forget(artifact)
            raise Damaged(artifact)
        return data

    def put(self, data: bytes) -> ActionResult:
        """Store a small artifact."""
        artifact = digests.sha256(data)
        own = self._own_path(artifact)
        if not _holds(own, data):
            with self.temporary() as file:
                file.write(data)
                os.replace(file.path, own)
        return ActionResult(artifact, len(data))

    @property
    def scratch(self) -> str:
        """The folder of temporary files."""
        return self._blobs

    @contextlib.contextmanager
    def temporary(self, folder: str | None = None) -> Iterator[Temporary]:
        """A file to write, in the store or in `folder`; what is still there afterwards is removed."""
        path = os.path.join(folder or self._blobs, TEMPORARY + os.urandom(8).hex())
        self._unfinished.add(path)
        file = Temporary(path)
        try:
            yield file
        finally:
            file.close()
            self._unfinished.discard(path)

    def drop_unfinished(self) -> None:
        """Remove temporary files that nobody writes any more: an interrupt can fall between making one and caring for it."""
        while self._unfinished:
            remove_temporary(self._unfinished.pop())

    def place(self, path: str, artifact: str, folder: str | None) -> None:
        """Take in a finished temporary file that lies in the store or in `folder`, and stays there."""
        target = self._own_path(artifact) if folder is None else os.path.join(folder, digests.file_name(artifact))
        # Noted first: what a build leaves that is killed now is still known as ours.
        self._note(artifact, target, standing(os.stat(path)))
        os.replace(path, target)
        self._made[artifact] = signature(os.stat(target))

    def places(self, folder: str) -> dict[str, str]:
        """artifact -> what `standing` said of it, of those known to be whole directly in `folder`."""
        prefix = folder + os.sep
        rows = self.rows("select blob, path, stat from place where substr(path, 1, ?) = ?", (len(prefix), prefix))
        return {blob: stat for blob, path, stat in rows if os.path.dirname(path) == folder and isinstance(stat, str)}

    def note_place(self, artifact: str, path: str) -> str:
        """Note that an artifact lies whole at `path` too; returns what was noted of its stat."""
        try:
            seen = standing(os.stat(path))
        except FileNotFoundError:  # another build has moved it on, and noted where to
            return ""
        self._note(artifact, path, seen)
        return seen

    def _note(self, artifact: str, path: str, seen: str) -> None:
        self.change(("insert or replace into place values (?, ?, ?)", [(artifact, path, seen)]))

    def forget_place(self, artifact: str, path: str) -> None:
        self.change(("delete from place where blob = ? and path = ?", [(artifact, path)]))

    def forget(self, artifact: str) -> None:
        """Drop a damaged or lost artifact and everything that is looked up through it."""
        with contextlib.suppress(OSError):
            os.unlink(self._own_path(artifact))
        self._made.pop(artifact, None)
        self.change(
            ("delete from tensor where blob = ?", [(artifact,)]), ("delete from place where blob = ?", [(artifact,)])
        )

    def evict(self, limit: int) -> int:
        """Bring the store under `limit` bytes, least recently used artifacts first. Returns the bytes freed."""
        # With a second link the bytes are a models folder's as well: dropping ours would free nothing.
        own = {path: info for path, info in self._files().items() if info.st_nlink == 1}
        total = sum(info.st_size for info in own.values())
        if total <= limit:
            return 0
        known = self._known()
        used = {path: max(own[path].st_atime, own[path].st_mtime) for path in own if _artifact(path) in known}
        freed = 0
        for path in sorted(used, key=used.__getitem__):
            if total - freed <= limit:
                break
            with contextlib.suppress(OSError):
                os.unlink(path)
                freed += own[path].st_size
        return freed

    def contents(self) -> dict[str, os.stat_result]:
        """The files of the store's artifacts. A file that we do not know is not one of them, whatever its name."""
        known = self._known()
        return {path: info for path, info in self._files().items() if _artifact(path) in known}

    def strangers(self) -> list[str]:
        """Names of what else lies among the artifacts: of a database that was lost, or somebody's own."""
        known = {os.path.basename(path) for path in self.contents()}
        return sorted(name for name in os.listdir(self._blobs) if name not in known and not name.startswith(TEMPORARY))

    def _files(self) -> dict[str, os.stat_result]:
        found = {}
        with contextlib.suppress(FileNotFoundError), os.scandir(self._blobs) as scan:
            for entry in scan:
                with contextlib.suppress(OSError):
                    if _ARTIFACT.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                        found[entry.path] = entry.stat(follow_symlinks=False)
        return found

    def _known(self) -> set[str]:
        return {blob for (blob,) in self.rows("select artifact from action union select blob from place")}

    def clear(self) -> int:
        """Forget everything but what was written into models folders: else a later clean-up would not know its own.

        Returns how many artifacts could not be removed.
        """
        contents = self.contents()
        self.change(
            *(
                (f"delete from {table}", [()])
                for table in ("action", "last", "tensor", "file", "survey", "kept", "place")
            )
        )
        left = 0
        for path in contents:
            try:
                os.unlink(path)
            except FileNotFoundError:
                continue
            except OSError:
                left += 1
        return left

    # Actions

    def results(self, actions: Iterable[str]) -> dict[str, ActionResult]:
        rows = self._rows_in("select digest, artifact, size from action where digest in ({})", actions)
        return {
            action: ActionResult(artifact, size)
            for action, artifact, size in rows
            if isinstance(size, int) and _ARTIFACT.fullmatch(str(artifact))
        }

    def record(self, action: str, result: ActionResult, tensors: Iterable[tuple[str, Range]] = ()) -> None:
        """Note what an action made, and where in it each tensor lies."""
        self.change(
            ("insert or replace into action values (?, ?, ?)", [(action, *result)]),
            ("insert or replace into tensor values (?, ?, ?, ?, ?)", [(key, *at) for key, at in tensors]),
        )

    def last(self, project: str, step: str) -> Action | None:
        """The action that a step of a project was in the last build. A damaged one counts as none."""
        rows = self.rows("select action from last where project = ? and step = ?", (project, step))
        with contextlib.suppress(ValueError, TypeError):
            return Action.decode(rows[0][0]) if rows else None
        return None

    def remember_last(self, project: str, actions: Mapping[str, Action]) -> None:
        known = dict(self.rows("select step, digest from last where project = ?", (project,)))
        new = [(step, action) for step, action in actions.items() if known.get(step) != action.digest]
        if new:
            rows = ((project, step, action.digest, action.encode()) for step, action in new)
            self.change(("insert or replace into last values (?, ?, ?, ?)", rows))

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold a lock that every process of this store sees; any death frees it."""
        path = os.path.join(self._locks, digests.file_name(name))
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(lock_file(path, self.waiting))
            except OSError as error:
                raise unusable(self.root, error) from error
            yield

    # Tensors

    def tensors(self, keys: Iterable[str]) -> dict[str, Range]:
        rows = self._rows_in("select key, blob, offset, length, xxh3 from tensor where key in ({})", keys)
        return {
            key: Range(blob, offset, length, xxh3)
            for key, blob, offset, length, xxh3 in rows
            if isinstance(offset, int) and isinstance(length, int) and min(offset, length) >= 0
        }

    # Files

    def files(self, paths: Iterable[str]) -> dict[tuple[str, str], tuple[str, str]]:
        """(path, form) -> (what stat said when it was hashed, digest)."""
        rows = self._rows_in("select path, form, stat, digest from file where path in ({})", paths)
        return {(path, form): (stat, digest) for path, form, stat, digest in rows}

    def remember_file(self, path: str, form: str, stat: str, digest: str, detail: bytes | None) -> None:
        found = [] if detail is None else [(digest, _checked(detail))]
        self.change(
            ("insert or replace into file values (?, ?, ?, ?)", [(path, form, stat, digest)]),
            ("insert or replace into survey values (?, ?)", found),
        )

    def forget_files(self, paths: Iterable[str]) -> None:
        self.change(("delete from file where path = ?", [(path,) for path in paths]))

    def survey(self, digest: str) -> bytes | None:
        """What was found in a weights file of this digest. A damaged one counts as none."""
        rows = self.rows("select detail from survey where digest = ?", (digest,))
        return _unchecked(rows[0][0]) if rows and isinstance(rows[0][0], bytes) else None

    # What we wrote into models folders

    def written(self, folder: str) -> dict[str, tuple[str, str]]:
        """name -> (project, manifest digest)"""
        rows = self.rows("select name, project, manifest from wrote where folder = ?", (folder,))
        return {name: (project, manifest) for name, project, manifest in rows}

    def blobs_written(self, folder: str) -> set[str]:
        return {blob for (blob,) in self.rows("select blob from wrote_blob where folder = ?", (folder,))}

    def note_written(self, folder: str, name: str, project: str, manifest: str) -> None:
        self.change(("insert or replace into wrote values (?, ?, ?, ?)", [(folder, name, project, manifest)]))

    def note_blobs(self, folder: str, blobs: Iterable[str]) -> None:
        """These blobs of a models folder are ours."""
        self.change(("insert or ignore into wrote_blob values (?, ?)", [(folder, blob) for blob in blobs]))

    def note_loose(self, folder: str, blobs: Iterable[str], ours: bool = False) -> None:
        """Soon no manifest may name these blobs, or none does yet; noted before that, so that no death of ours leaks them."""
        rows = [(folder, blob) for blob in blobs]
        self.change(
            ("insert or ignore into wrote_blob values (?, ?)", rows if ours else []),
            ("insert or ignore into loose values (?, ?)", rows),
        )

    def loose(self, folder: str) -> set[str]:
        return {blob for (blob,) in self.rows("select blob from loose where folder = ?", (folder,))}

    def forget_loose(self, folder: str, blobs: Iterable[str]) -> None:
        self.change(("delete from loose where folder = ? and blob = ?", [(folder, blob) for blob in blobs]))

    def forget_written(self, folder: str, names: Iterable[str] = (), blobs: Iterable[str] = ()) -> None:
        self.change(
            ("delete from wrote where folder = ? and name = ?", [(folder, name) for name in names]),
            ("delete from wrote_blob where folder = ? and blob = ?", [(folder, blob) for blob in blobs]),
        )


class Kept:
    """Values kept by key between runs: plans, validated projects, stamps. One that is damaged, or of other code, counts as none."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, key: str) -> bytes | None:
        rows = self._store.rows("select value from kept where key = ?", (key,))
        kept = rows[0][0] if rows else None
        data = _unchecked(kept) if isinstance(kept, bytes) else None
        head, _, value = (data or b"").partition(b"\n")
        return value if head == self._head(key) else None

    def put(self, key: str, value: bytes) -> None:
        kept = _checked(self._head(key) + b"\n" + value)
        self._store.change(("insert or replace into kept values (?, ?)", [(key, kept)]))

    @staticmethod
    def _head(key: str) -> bytes:
        """What stands before a value: whose it is, and by which code."""
        return f"{fingerprint()}\t{key}".encode("utf-8", "surrogateescape")


def _checked(value: bytes) -> bytes:
    return digests.xxh3(value).encode() + b"\n" + value


def _unchecked(data: bytes) -> bytes | None:
    check, _, value = data.partition(b"\n")
    return value if check == digests.xxh3(value).encode() else None


def standing(info: os.stat_result) -> str:
    """What is noted of a blob's stat. A link that we make or remove changes its change time: then it is noted again."""
    return signature(info)


def _unwritten(before: os.stat_result, after: os.stat_result) -> bool:
    """Whether two stats are of one file that nobody wrote to between them."""
    return all(getattr(before, part) == getattr(after, part) for part in ("st_dev", "st_ino", "st_size", "st_mtime_ns"))


def _holds(path: str, data: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read() == data
    except OSError:
        return False


def unusable(root: str, error: Exception) -> Error:
    """Say why the store cannot be used; an OSError or sqlite3 error in, an Error out."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or "disk is full" in str(error):
        return Error(
            "no space left for the cache",
            path=root,
            hint="free some space, or name another folder with --cache or $MODELBUILD_CACHE",
        )
    if isinstance(error, sqlite3.Error) and _is_held(error):
        return Error(
            f"the cache has been in use by another process for {BUSY:.0f} seconds",
            path=root,
            hint="end the other build if it is stopped, or name another folder with --cache or $MODELBUILD_CACHE",
        )
    why = reason(error) if isinstance(error, OSError) else str(error)
    return Error(
        f"the cache cannot be used: {why[:1].lower() + why[1:] if why[1:2].islower() else why}",
        path=root,
        hint="delete this folder, make it writable, or name another one with --cache or $MODELBUILD_CACHE",
    )


def _parents(path: str) -> Iterator[str]:
    """A path, and every folder above it."""
    while True:
        yield path
        above = os.path.dirname(path)
        if above == path:
            return
        path = above


def _artifact(path: str) -> str:
    return os.path.basename(path).replace("-", ":", 1)


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

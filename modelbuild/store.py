"""The store: artifacts by digest, and what is known about actions, tensors and files. It can be deleted at any time."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

from modelbuild import digest as digests
from modelbuild import interrupt
from modelbuild.action import Action, ActionResult
from modelbuild.errors import Error

SCHEMA = 2
TEMPORARY = ".tmp-"
_LINK = ".link"
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
"""


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


class Temporary:
    """A new file in a folder, locked while it is written: nobody takes it for what a killed build left."""

    def __init__(self, path: str) -> None:
        import fcntl

        self.path = path
        while True:
            self._descriptor = _create(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC)
            os.chmod(self._descriptor, 0o644)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            # Somebody who clears up may have been quicker than the lock.
            with contextlib.suppress(FileNotFoundError):
                if os.stat(self.path).st_ino == os.fstat(self._descriptor).st_ino:
                    return
            os.close(self._descriptor)

    def fileno(self) -> int:
        return self._descriptor

    def write(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def link(self, source: str) -> bool:
        """Become a hard link to another file; False where that cannot be."""
        import fcntl

        descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        try:
            os.link(source, self.path + _LINK)
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
                return False
            raise
        os.replace(self.path + _LINK, self.path)
        os.close(self._descriptor)
        self._descriptor = descriptor
        return True

    def close(self) -> None:
        """Remove the file, unless it has been renamed."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        os.close(self._descriptor)


class Store:
    """Opens (and makes) the store in the folder `root`. Safe for threads and for several processes at once."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._blobs = os.path.join(root, "blobs")
        self._locks = os.path.join(root, "locks")
        self._mutex = threading.RLock()
        self._made: set[str] = set()
        self._unfinished: set[str] = set()
        try:
            for folder in (self._blobs, self._locks):
                os.makedirs(folder, exist_ok=True)
            self._db = self._connect(os.path.join(root, "state.sqlite"))
        except (OSError, sqlite3.Error) as error:
            raise unusable(root, error) from error

    def _connect(self, path: str) -> sqlite3.Connection:
        db = self._opened(path)
        if db is None:
            # SQLite does not wait for others while the journal's mode changes: one process at a time makes the tables.
            with lock_file(os.path.join(self._locks, "state")):
                db = self._opened(path) or self._created(path)
        db.execute("pragma synchronous = normal")
        return db

    @staticmethod
    def _opened(path: str) -> sqlite3.Connection | None:
        """The state as it is; None where there is none that we can use."""
        db = sqlite3.connect(path, timeout=60, check_same_thread=False, isolation_level=None)
        try:
            if db.execute("pragma user_version").fetchone()[0] == SCHEMA:
                return db
        except sqlite3.DatabaseError as error:
            if "not a database" not in str(error) and "malformed" not in str(error):
                raise
        db.close()
        return None

    @staticmethod
    def _created(path: str) -> sqlite3.Connection:
        # What an older version kept, or what is no database: nothing is lost with it but time.
        _remove_database(path)
        db = sqlite3.connect(path, timeout=60, check_same_thread=False, isolation_level=None)
        db.execute("pragma journal_mode = wal")
        db.executescript(f"begin immediate; {_TABLES} pragma user_version = {SCHEMA}; commit;")
        return db

    def close(self) -> None:
        with self._mutex:
            self._db.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One change of state, whole or not at all."""
        with self._mutex:
            try:
                self._db.execute("begin immediate")
                try:
                    yield self._db
                except BaseException:
                    self._db.execute("rollback")
                    raise
                self._db.execute("commit")
            except sqlite3.Error as error:
                raise unusable(self.root, error) from error

    def rows(self, query: str, values: Sequence[str | int] = ()) -> list[tuple[Any, ...]]:
        with self._mutex:
            try:
                return self._db.execute(query, values).fetchall()
            except sqlite3.Error as error:
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
        """Hash an artifact, unless this process made it. Raises Damaged (and forgets it) where the bytes are wrong."""
        if artifact not in self._made:
            sha = hashlib.sha256()
            while data := file.read(digests.CHUNK):
                interrupt.check()
                sha.update(data)
            if "sha256:" + sha.hexdigest() != artifact:
                self.forget(artifact)
                raise Damaged(artifact)
            file.seek(0)

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
        return os.path.join(self._blobs, artifact.replace(":", "-"))

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
            self._made.add(artifact)
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
            path = self._unfinished.pop()
            for name in (path, path + _LINK):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name)

    def place(self, path: str, artifact: str, folder: str | None) -> None:
        """Take in a finished temporary file that lies in the store or in `folder`, and stays there."""
        target = self._own_path(artifact) if folder is None else os.path.join(folder, artifact.replace(":", "-"))
        os.replace(path, target)
        self._made.add(artifact)
        if folder is not None:
            self.note_place(artifact, target)

    def places(self, folder: str) -> dict[str, str]:
        """artifact -> what `standing` said of it, of those known to be whole directly in `folder`."""
        prefix = folder + os.sep
        rows = self.rows("select blob, path, stat from place where substr(path, 1, ?) = ?", (len(prefix), prefix))
        return {blob: stat for blob, path, stat in rows if os.path.dirname(path) == folder}

    def note_place(self, artifact: str, path: str) -> None:
        try:
            stat = standing(os.stat(path))
        except FileNotFoundError:  # another build has moved it on, and noted where to
            return
        with self.transaction() as db:
            db.execute("insert or replace into place values (?, ?, ?)", (artifact, path, stat))

    def forget_place(self, artifact: str, path: str) -> None:
        with self.transaction() as db:
            db.execute("delete from place where blob = ? and path = ?", (artifact, path))

    def forget(self, artifact: str) -> None:
        """Drop a damaged or lost artifact and everything that is looked up through it."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._own_path(artifact))
        with self.transaction() as db:
            db.execute("delete from tensor where blob = ?", (artifact,))
            db.execute("delete from place where blob = ?", (artifact,))

    def evict(self, limit: int) -> int:
        """Bring the store under `limit` bytes, least recently used artifacts first. Returns the bytes freed."""
        # With a second link the bytes are a models folder's as well: dropping ours would free nothing.
        own = [(path, info) for path, info in self.contents() if info.st_nlink == 1]
        files = [(max(info.st_atime, info.st_mtime), info.st_size, path) for path, info in own]
        total = sum(size for _, size, _ in files)
        freed = 0
        for _, size, path in sorted(files):
            if total - freed <= limit:
                break
            with contextlib.suppress(OSError):
                os.unlink(path)
                freed += size
        return freed

    def contents(self) -> list[tuple[str, os.stat_result]]:
        """The files of the store's artifacts."""
        found = []
        with os.scandir(self._blobs) as scan:
            for entry in scan:
                with contextlib.suppress(FileNotFoundError):
                    if not entry.name.startswith(TEMPORARY):
                        found.append((entry.path, entry.stat()))
        return found

    def clear(self) -> None:
        """Forget everything but what was written into models folders: else a later clean-up would not know its own."""
        with self.transaction() as db:
            for table in ("action", "last", "tensor", "file", "survey", "kept", "place"):
                db.execute(f"delete from {table}")
        for path, _ in self.contents():
            with contextlib.suppress(OSError):
                os.unlink(path)

    # Actions

    def result(self, action: str) -> ActionResult | None:
        rows = self.rows("select artifact, size from action where digest = ?", (action,))
        return ActionResult(rows[0][0], int(rows[0][1])) if rows else None

    def results(self, actions: Iterable[str]) -> dict[str, ActionResult]:
        rows = self._rows_in("select digest, artifact, size from action where digest in ({})", actions)
        return {action: ActionResult(artifact, int(size)) for action, artifact, size in rows}

    def record(self, action: str, result: ActionResult, tensors: Iterable[tuple[str, Range]] = ()) -> None:
        """Note what an action made, and where in it each tensor lies."""
        with self.transaction() as db:
            db.execute("insert or replace into action values (?, ?, ?)", (action, *result))
            db.executemany("insert or replace into tensor values (?, ?, ?, ?, ?)", ((key, *at) for key, at in tensors))

    def last(self, project: str, step: str) -> Action | None:
        """The action that a step of a project was in the last build."""
        rows = self.rows("select action from last where project = ? and step = ?", (project, step))
        return Action.decode(rows[0][0]) if rows else None

    def remember_last(self, project: str, actions: Mapping[str, Action]) -> None:
        known = dict(self.rows("select step, digest from last where project = ?", (project,)))
        new = [(step, action) for step, action in actions.items() if known.get(step) != action.digest]
        if new:
            with self.transaction() as db:
                db.executemany(
                    "insert or replace into last values (?, ?, ?, ?)",
                    ((project, step, action.digest, action.encode()) for step, action in new),
                )

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold a lock that every process of this store sees; any death frees it."""
        path = os.path.join(self._locks, name.replace(":", "-"))
        try:
            descriptor = _acquire(path)
        except OSError as error:
            raise unusable(self.root, error) from error
        try:
            yield
        finally:
            _release(path, descriptor)

    # Tensors

    def tensors(self, keys: Iterable[str]) -> dict[str, Range]:
        rows = self._rows_in("select key, blob, offset, length, xxh3 from tensor where key in ({})", keys)
        return {key: Range(blob, int(offset), int(length), xxh3) for key, blob, offset, length, xxh3 in rows}

    # Files

    def files(self, paths: Iterable[str]) -> dict[tuple[str, str], tuple[str, str]]:
        """(path, form) -> (what stat said when it was hashed, digest)."""
        rows = self._rows_in("select path, form, stat, digest from file where path in ({})", paths)
        return {(path, form): (stat, digest) for path, form, stat, digest in rows}

    def remember_file(self, path: str, form: str, stat: str, digest: str, detail: bytes | None) -> None:
        with self.transaction() as db:
            db.execute("insert or replace into file values (?, ?, ?, ?)", (path, form, stat, digest))
            if detail is not None:
                db.execute("insert or replace into survey values (?, ?)", (digest, _checked(detail)))

    def forget_file(self, path: str) -> None:
        with self.transaction() as db:
            db.execute("delete from file where path = ?", (path,))

    def survey(self, digest: str) -> bytes | None:
        """What was found in a weights file of this digest. A damaged one counts as none."""
        rows = self.rows("select detail from survey where digest = ?", (digest,))
        return _unchecked(bytes(rows[0][0])) if rows else None

    # What we wrote into models folders

    def written(self, folder: str) -> dict[str, tuple[str, str]]:
        """name -> (project, manifest digest)"""
        rows = self.rows("select name, project, manifest from wrote where folder = ?", (folder,))
        return {name: (project, manifest) for name, project, manifest in rows}

    def blobs_written(self, folder: str) -> set[str]:
        return {blob for (blob,) in self.rows("select blob from wrote_blob where folder = ?", (folder,))}

    def note_written(self, folder: str, name: str, project: str, manifest: str) -> None:
        with self.transaction() as db:
            db.execute("insert or replace into wrote values (?, ?, ?, ?)", (folder, name, project, manifest))

    def note_blob(self, folder: str, blob: str) -> None:
        with self.transaction() as db:
            db.execute("insert or ignore into wrote_blob values (?, ?)", (folder, blob))

    def forget_written(self, folder: str, names: Iterable[str] = (), blobs: Iterable[str] = ()) -> None:
        with self.transaction() as db:
            db.executemany("delete from wrote where folder = ? and name = ?", ((folder, name) for name in names))
            db.executemany("delete from wrote_blob where folder = ? and blob = ?", ((folder, blob) for blob in blobs))


class Kept:
    """Values kept by key between runs: plans, validated projects, stamps. A damaged one counts as none."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, key: str) -> bytes | None:
        rows = self._store.rows("select value from kept where key = ?", (key,))
        return _unchecked(bytes(rows[0][0])) if rows else None

    def put(self, key: str, value: bytes) -> None:
        with self._store.transaction() as db:
            db.execute("insert or replace into kept values (?, ?)", (key, _checked(value)))


def _checked(value: bytes) -> bytes:
    return digests.xxh3(value).encode() + b"\n" + value


def _unchecked(data: bytes) -> bytes | None:
    check, _, value = data.partition(b"\n")
    return value if check == digests.xxh3(value).encode() else None


def standing(info: os.stat_result) -> str:
    """What of a blob's stat stays while nobody writes to it; a further link changes its ctime, and no byte."""
    return f"{info.st_dev}:{info.st_ino}:{info.st_size}:{info.st_mtime_ns}"


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
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return Error(
        f"the cache cannot be used: {reason[:1].lower() + reason[1:]}",
        path=root,
        hint="name another folder with --cache or $MODELBUILD_CACHE, or make this one writable",
    )


def _remove_database(path: str) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path + suffix)


def clear_temporaries(folder: str) -> None:
    """Remove the temporary files that killed builds left in a folder."""
    import fcntl

    with os.scandir(folder) as scan:
        for entry in scan:
            if entry.name.startswith(TEMPORARY):
                with contextlib.suppress(OSError), open(entry.path, "rb") as file:
                    fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(entry.path)


@contextlib.contextmanager
def lock_file(path: str) -> Iterator[None]:
    """Hold an exclusive lock on a file that is there only while somebody holds it."""
    descriptor = _acquire(path)
    try:
        yield
    finally:
        _release(path, descriptor)


def _acquire(path: str) -> int:
    import fcntl

    while True:
        descriptor = _create(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Whoever held the lock before may have removed the file: then ours is a lock on nothing.
        with contextlib.suppress(FileNotFoundError):
            if os.stat(path).st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        os.close(descriptor)


def _create(path: str, flags: int) -> int:
    while True:
        try:
            return os.open(path, flags, 0o644)
        except FileNotFoundError:
            # A build that ends removes the folder of temporary files when it is empty.
            os.makedirs(os.path.dirname(path), exist_ok=True)


def _release(path: str, descriptor: int) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
    os.close(descriptor)

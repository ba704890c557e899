"""The store: artifacts by digest, as files. It can be deleted at any time: only time is lost."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from modelbuild import digest as digests
from modelbuild import interrupt, ownership
from modelbuild.engine.action import ActionResult
from modelbuild.engine.database import NO_SPACE, Database, unusable
from modelbuild.engine.notes import Notes
from modelbuild.engine.tensor_index import forgetting
from modelbuild.errors import Error
from modelbuild.files import (
    TEMPORARY,
    UNFINISHED,
    Temporary,
    Waiting,
    clear_temporaries,
    lock_file,
    make_folder,
    open_plain,
    read_plain,
    remove_temporary,
    signature,
    unwritten,
)
from modelbuild.synced import write_new
from modelbuild.tuples import NamedTuple

SMALL = 1 << 20
"""Bytes of an artifact that is always read and checked before it is published."""

TRIES = 3
"""Times that a small artifact is written whose file somebody removes meanwhile."""

DAMAGED = "damaged"
"""The folder of blobs that were set aside because their bytes were wrong."""

KNOWN = "select artifact from action union select blob from place"
"""The artifacts that are ours. A file that we do not know is not one of them."""

ARTIFACT = re.compile("sha256[:-][0-9a-f]{64}")


class Damaged(Exception):
    """An artifact's bytes are not those of its digest."""

    def __init__(self, artifact: str) -> None:
        super().__init__(artifact)
        self.artifact = artifact


class Cleared(NamedTuple):
    """What became of an emptied store.

    left           artifacts that could not be removed
    has_forgotten  False if the disk is too full for the database to be changed; all that it knows can be made again
    """

    left: int
    has_forgotten: bool


class Store:
    """Opens (and makes) the store in the folder `root`, and its database. Safe for threads and for several processes at once."""

    def __init__(self, root: str, waiting: Waiting | None = None) -> None:
        self.root = root
        self._blobs = os.path.join(root, "blobs")
        self._made: dict[str, str] = {}
        self._unfinished: set[str] = set()
        self._refuse_models()
        self.notes = Notes(os.path.join(root, "notes"), self.temporary)
        self.database = Database(root, [self._blobs, self.notes.folder], waiting)

    def _refuse_models(self) -> None:
        """Raise an Error where the cache would lie in a models folder: its blobs are somebody's models, not ours to drop."""
        for folder in _parents(os.path.realpath(self._blobs)):
            beside = os.path.join(os.path.dirname(folder), "manifests")
            if os.path.basename(folder) not in ("blobs", "manifests") or not os.path.isdir(beside):
                continue
            raise Error(
                "the cache cannot be a models folder, or inside its blobs or manifests",
                path=self.root,
                facts=[("found", beside)],
                hint="name a separate folder with --cache or $MODELBUILD_CACHE",
            )

    def close(self) -> None:
        self.database.close()

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold a lock that every process of this store sees; any death frees it."""
        path = os.path.join(self.database.locks, digests.file_name(name))
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(lock_file(path, self.database.waiting))
            except OSError as error:
                raise unusable(self.root, error) from error
            yield

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
        import hashlib

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
        if unwritten(before, after):
            noted = (signature(after), artifact, signature(before))
            self.database.change(("update place set stat = ? where blob = ? and stat = ?", [noted]))

    def path(self, artifact: str) -> str | None:
        """A file that holds the artifact: in the store, else in a models folder where it was put."""
        own = self._own_path(artifact)
        if os.path.isfile(own):
            return own
        for (known,) in self.database.rows("select path from place where blob = ?", (artifact,)):
            if os.path.isfile(known):
                return str(known)
        return None

    def linkable(self, artifact: str, folder: str) -> str | None:
        """The store's own file of an artifact, if it can have another name in `folder`."""
        path = self._own_path(artifact)
        try:
            info = os.stat(path)
        except FileNotFoundError:
            return None
        if info.st_dev != os.stat(folder).st_dev or not stat.S_ISREG(info.st_mode):
            return None
        return path if ownership.may_link(info, folder) else None

    def _own_path(self, artifact: str) -> str:
        return f"{self._blobs}{os.sep}{digests.file_name(artifact)}"

    def open(self, artifact: str) -> BinaryIO:
        """Open an artifact, unbuffered and unchecked. Raises Damaged where it is not at hand."""
        for _ in range(3):
            path = self.path(artifact)
            if path is None:
                break
            # Between the look and the opening another build may move it into its models folder.
            with contextlib.suppress(FileNotFoundError):
                return open_plain(path, buffering=0)
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
        for left in reversed(range(TRIES)):
            if _holds(own, data):
                break
            new = os.path.join(self._blobs, TEMPORARY + os.urandom(8).hex())
            try:
                write_new(new, data)
                self._place(new, own)
                break
            except FileNotFoundError:
                # Another build that has just begun takes it for what a killed one left: this file has no lock.
                if not left:
                    raise
                make_folder(self._blobs)
            except BaseException:
                remove_temporary(new)
                raise
        return ActionResult(artifact, len(data))

    @property
    def scratch(self) -> str:
        """The folder of temporary files."""
        return self._blobs

    @contextlib.contextmanager
    def temporary(self, folder: str | None = None, mark: str = TEMPORARY) -> Iterator[Temporary]:
        """A file to write, in the store or in `folder`; what is still there afterwards is removed. `mark` begins its name."""
        path = os.path.join(folder or self._blobs, mark + os.urandom(8).hex())
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

    def adopt(self, path: str, artifact: str, folder: str | None) -> None:
        """Take in a finished temporary file that lies in the store or in `folder`, and stays there."""
        target = self._own_path(artifact) if folder is None else os.path.join(folder, digests.file_name(artifact))
        # Noted first: what a build leaves that is killed now is still known as ours.
        self._note(artifact, target, signature(os.stat(path)))
        self._place(path, target)
        self._made[artifact] = signature(os.stat(target))

    def _place(self, path: str, target: str) -> None:
        """Rename a file to an artifact's place. A folder that somebody put into the cache instead is set aside."""
        try:
            os.replace(path, target)
        except IsADirectoryError:
            if os.path.dirname(target) != self._blobs:
                raise
            aside = os.path.join(self.root, DAMAGED)
            os.makedirs(aside, exist_ok=True)
            os.rename(target, os.path.join(aside, f"{os.path.basename(target)}.{os.urandom(4).hex()}"))
            os.replace(path, target)

    def located(self, folder: str) -> dict[str, str]:
        """artifact -> signature, as it was noted, of those known to be whole directly in `folder`."""
        prefix = folder + os.sep
        rows = self.database.rows(
            "select blob, path, stat from place where substr(path, 1, ?) = ?", (len(prefix), prefix)
        )
        return {blob: stat for blob, path, stat in rows if os.path.dirname(path) == folder and isinstance(stat, str)}

    def located_at(self, artifact: str, path: str) -> str | None:
        """The signature that was noted of an artifact that lies whole at a path."""
        rows = self.database.rows("select stat from place where blob = ? and path = ?", (artifact, path))
        return rows[0][0] if rows and isinstance(rows[0][0], str) else None

    def note_location(self, artifact: str, path: str) -> str:
        """Note that an artifact lies whole at `path` too; returns the signature that was noted."""
        try:
            seen = signature(os.stat(path))
        except FileNotFoundError:  # another build has moved it on, and noted where to
            return ""
        self._note(artifact, path, seen)
        if not os.path.isfile(self._own_path(artifact)):
            self.notes.placed(artifact, path)
        return seen

    def _note(self, artifact: str, path: str, seen: str) -> None:
        self.database.change(("insert or replace into place values (?, ?, ?)", [(artifact, path, seen)]))

    def note_links(self, links: Sequence[tuple[str, str, os.stat_result, os.stat_result]]) -> None:
        """Note files of the store that have just got another name: artifact, path, and the stats before and after."""
        moved = [(signature(after), artifact, signature(before)) for artifact, _, before, after in links]
        places = [(artifact, path, signature(after)) for artifact, path, _, after in links]
        self.database.change(
            ("update place set stat = ? where blob = ? and stat = ?", moved),
            ("insert or replace into place values (?, ?, ?)", places),
        )

    def forget_location(self, artifact: str, path: str) -> None:
        self.database.change(("delete from place where blob = ? and path = ?", [(artifact, path)]))

    def forget(self, artifact: str) -> None:
        """Drop a damaged or lost artifact and everything that is looked up through it."""
        with contextlib.suppress(OSError):
            os.unlink(self._own_path(artifact))
        self._made.pop(artifact, None)
        self.forget_all([artifact])

    def forget_all(self, artifacts: Sequence[str]) -> None:
        """Drop what is looked up through artifacts that are gone."""
        self.notes.remove(artifacts)
        rows = [(artifact,) for artifact in artifacts]
        self.database.change(
            *forgetting(artifacts),
            ("delete from place where blob = ?", rows),
            ("delete from cost where artifact = ?", rows),
        )

    def contents(self) -> dict[str, os.stat_result]:
        """The files of the store's artifacts. A file that we do not know is not one of them, whatever its name."""
        known = self._known()
        return {path: info for path, info in self._files().items() if _artifact(path) in known}

    def strangers(self) -> list[str]:
        """Names of what else lies among the artifacts: of a database that was lost, or somebody's own."""
        known = {os.path.basename(path) for path in self.contents()}
        return sorted(
            name
            for name in os.listdir(self._blobs)
            if name not in known and not name.startswith((TEMPORARY, UNFINISHED))
        )

    @property
    def own_size(self) -> int:
        """Bytes of the artifacts that take space of their own. With a second link they are a models folder's as well."""
        return sum(info.st_size for info in self._files().values() if info.st_nlink == 1)

    def aside(self) -> dict[str, os.stat_result]:
        """The files that were set aside because they were damaged."""
        with contextlib.suppress(OSError), os.scandir(os.path.join(self.root, DAMAGED)) as scan:
            return {
                entry.path: entry.stat(follow_symlinks=False) for entry in scan if entry.is_file(follow_symlinks=False)
            }
        return {}

    def _files(self) -> dict[str, os.stat_result]:
        found = {}
        with contextlib.suppress(FileNotFoundError), os.scandir(self._blobs) as scan:
            for entry in scan:
                with contextlib.suppress(OSError):
                    if ARTIFACT.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                        found[entry.path] = entry.stat(follow_symlinks=False)
        return found

    def _known(self) -> set[str]:
        return {blob for (blob,) in self.database.rows(KNOWN)}

    def clear(self) -> Cleared:
        """Forget everything but what was written into models folders: else a later clean-up would not know its own."""
        contents = self.contents()
        # The files first: on a full disk the database has no room to forget them.
        self.notes.remove(self.notes.names())
        clear_temporaries(self._blobs, UNFINISHED)
        left = 0
        for path in (*contents, *self.aside()):
            try:
                os.unlink(path)
            except FileNotFoundError:
                continue
            except OSError:
                left += 1
        try:
            self.database.clear()
        except Error as error:
            if error.what != NO_SPACE:
                raise
            return Cleared(left, has_forgotten=False)
        return Cleared(left, has_forgotten=True)


def _holds(path: str, data: bytes) -> bool:
    try:
        return os.path.lexists(path) and read_plain(path, len(data))[0] == data
    except OSError:
        return False


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

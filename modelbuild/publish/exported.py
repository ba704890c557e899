"""Finished models as files outside the models folder: put by one rename, written again if they are gone, never over files of others."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Literal

from modelbuild import page_cache
from modelbuild.digest import sha256
from modelbuild.engine.action import ActionResult
from modelbuild.engine.graph import Output
from modelbuild.engine.store import Store
from modelbuild.errors import Error
from modelbuild.files import (
    GUEST,
    Temporary,
    clear_temporaries,
    existing,
    first_bytes,
    make_folder,
    reason,
    reflink,
    signature,
    sync_folder,
)
from modelbuild.publish.blobs import sha256_of
from modelbuild.publish.scratch import copy
from modelbuild.publish.writable import LONGEST, denied, named
from modelbuild.tuples import NamedTuple

Replaces = Literal["own", "gguf", "all"]
"""Which files may be replaced: those that the same owner wrote; any GGUF that no other owner wrote (for a declared output
whose cache was deleted); or all."""


class Noted(NamedTuple):
    """What is known of a file that we wrote: for whom, what it holds, and its signature as we left it."""

    owner: str
    blob: str
    stat: str


class Exported:
    """Writes files for one owner, and remembers in the store what it wrote.

    owner    the project's file, or another text that identifies the writer; "" claims no files
    way_out  the hint if another file is in the way
    """

    way_out = "move it away, or name another file"

    def __init__(self, store: Store, owner: str, replaces: Replaces = "own") -> None:
        self._store = store
        self._owner = owner
        self._replaces = replaces
        self._mode = 0o666 & ~_umask()
        self._cleared: set[str] = set()

    # Before the work

    def misplaced(self, output: Output, sources: Collection[str], ours: Iterable[str]) -> list[Error]:
        """What stands against writing an output's files, as far as a look tells.

        `sources` are paths without links, `ours` are the folders of blobs, of manifests and of the cache.
        """
        found = []
        folders = [os.path.realpath(folder) for folder in ours] if output.files else []
        for path, _ in output.files:
            error = self._misplaced(path, sources, folders)
            if error is not None:
                found.append(error)
        return found

    def _misplaced(
        self, path: str, sources: Collection[str], ours: Sequence[str], any_file: bool = False
    ) -> Error | None:
        real = os.path.realpath(path)
        if real in sources:
            return _is_input(path)
        for folder in ours:
            if real.startswith(folder.rstrip(os.sep) + os.sep):
                what = "an output file cannot be inside a folder that belongs to Ollama or modelbuild"
                return Error(what, path=path, facts=[("folder", folder)], hint="name a file in another folder")
        if len(os.path.basename(path).encode()) > LONGEST:
            return Error(f"the name is longer than {LONGEST} bytes, too long for a file's name", path=path)
        try:
            # Not of `real`: /dev/stdout may lead to a pipe, which has no path.
            info = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return _unwritable(os.path.dirname(real))
        except OSError as error:
            return Error(f"cannot be written: {reason(error)}", path=path)
        if not stat.S_ISREG(info.st_mode):
            what = "is a folder, expected a file" if stat.S_ISDIR(info.st_mode) else "is not a regular file"
            return Error(what, path=path, hint="name a file")
        if self._replaces != "all" and not any_file and not is_gguf(real):
            return Error("already exists and is not a GGUF file", path=path, hint=self.way_out)
        return _unwritable(os.path.dirname(real))

    # Writing

    def put(self, output: Output, results: Mapping[str, ActionResult]) -> list[str]:
        """Write an output's files, those that do not stand already. Returns the paths of those that changed.

        `results` are by blob. Raises Error, and Damaged for an artifact that has to be made again.
        """
        return [path for path, blob in output.files if self._put(path, results[blob])]

    def _put(self, path: str, blob: ActionResult) -> bool:
        if self.stands(path, blob.artifact) or self._is(path, blob):
            return False
        self._check_owner(path)
        with self._store.open(blob.artifact) as source:
            self._store.verify(blob.artifact, source)
            with self._new(path) as file:
                if reflink(source.fileno(), file.fileno()):
                    os.fsync(file.fileno())
                else:
                    copy(source, file)
                page_cache.forget(source.fileno())
                self._move(file, path)
        self._note(path, blob.artifact)
        return True

    def may_write(self, path: str, data: bytes) -> bool:
        """Whether a small file is to be written: False where it stands already. Raises Error where it must not be."""
        if self._is(path, ActionResult(sha256(data), len(data))):
            return False
        self._check_owner(path)
        return True

    @contextlib.contextmanager
    def _new(self, path: str) -> Iterator[Temporary]:
        """A temporary file beside the file to be; what the system refuses is said of that one."""
        folder = os.path.dirname(os.path.realpath(path))
        try:
            make_folder(folder)
            if folder not in self._cleared:
                self._cleared.add(folder)
                clear_temporaries(folder, GUEST)
            with self._store.temporary(folder, GUEST) as file:
                yield file
        except FileNotFoundError as error:
            if os.path.isdir(folder):
                raise Error(f"cannot be written: {reason(error)}", path=path, hint="name another folder") from error
            what = "the folder of the file was removed while it was written"
            raise Error(what, path=path, hint="build again") from error
        except OSError as error:
            raise Error(f"cannot be written: {reason(error)}", path=named(error, path)) from error

    def _move(self, file: Temporary, path: str) -> None:
        with contextlib.suppress(OSError):
            os.fchmod(file.fileno(), self._mode)
        self._replace(file, path)

    @staticmethod
    def _replace(file: Temporary, path: str) -> None:
        real = os.path.realpath(path)
        os.replace(file.path, real)
        sync_folder(os.path.dirname(real))

    # What stands

    def stands(self, path: str, artifact: str) -> bool:
        """Whether a file holds an artifact, told by a stat: nobody has touched it since we wrote it."""
        noted = self._noted(path)
        try:
            return noted is not None and noted.blob == artifact and noted.stat == signature(os.stat(path))
        except OSError:
            return False

    def finished(self, output: Output, results: Mapping[str, ActionResult]) -> dict[str, os.stat_result] | None:
        """The files that an output stands in, and their stats; None where one is not as we left it."""
        found = {}
        for path, blob in output.files:
            if not self.stands(path, results[blob].artifact):
                return None
            found[path] = os.stat(path)
        return found

    def _is(self, path: str, blob: ActionResult) -> bool:
        """Whether a file holds an artifact, told by its bytes; one that does is noted, since we need not write it."""
        try:
            if os.stat(path).st_size != blob.size or not os.path.isfile(path) or sha256_of(path) != blob.artifact:
                return False
        except OSError:
            return False
        noted = self._noted(path)
        self._note(path, blob.artifact, noted.owner if noted else self._owner)
        return True

    def _check_owner(self, path: str) -> None:
        if self._replaces == "all" or not os.path.exists(path):
            return
        noted = self._noted(path)
        is_ours = noted is not None and noted.owner in ("", self._owner)
        is_free = noted is None or not self._owner or not is_there(noted.owner)
        keeps_edits = self._replaces == "own" or not self._is_ours_by_sight(path)
        if noted is not None and is_ours and keeps_edits and not _holds(path, noted):
            raise Error("was edited since modelbuild wrote it", path=path, hint=self.way_out)
        if not is_ours and not (self._replaces == "gguf" and is_free and self._is_ours_by_sight(path)):
            facts = [("written by", noted.owner)] if noted is not None else []
            what = (
                "already exists; another project or export wrote it"
                if noted
                else "already exists; modelbuild did not write it"
            )
            raise Error(what, path=path, facts=facts, hint=self.way_out)

    def _is_ours_by_sight(self, path: str) -> bool:
        """Whether a file that was never noted may be replaced: nothing of anybody's would be lost."""
        return is_gguf(path)

    @property
    def owner(self) -> str:
        return self._owner

    # What is ours to remove

    def stale(self, declared: Collection[str]) -> list[str]:
        """Files that this owner wrote, has not declared, and that nobody has changed since."""
        rows = self._store.database.rows(
            "select path, blob from exported where owner = ? order by path", (self._owner,)
        )
        return [path for path, blob in rows if path not in declared and self.stands(path, blob)]

    def of_exports(self) -> list[str]:
        """The owners of what this one has exported: its own text, and more."""
        start = f"{self._owner} exports "
        rows = self._store.database.rows(
            "select distinct owner from exported where substr(owner, 1, ?) = ? order by owner", (len(start), start)
        )
        return [owner for (owner,) in rows]

    def remove(self, paths: Iterable[str]) -> list[str]:
        """Remove files that nobody has changed since we wrote them; returns which. Raises Error."""
        removed = []
        for path in self.stale(()) if (wanted := set(paths)) else ():
            if path in wanted:
                try:
                    os.unlink(path)
                except OSError as error:
                    raise Error(f"cannot be removed: {reason(error)}", path=path) from error
                removed.append(path)
        self._store.database.change(("delete from exported where path = ?", [(path,) for path in removed]))
        return removed

    def written(self, paths: Iterable[str]) -> set[str]:
        """Those of some files that any owner wrote and nobody has changed since, however links lead to them."""
        by_name: dict[str, list[tuple[str, Noted]]] = {}
        for path, *noted in self._store.database.rows("select path, owner, blob, stat from exported"):
            by_name.setdefault(os.path.basename(path), []).append((os.path.realpath(path), Noted(*noted)))
        return {
            path
            for path in paths
            for real, noted in by_name.get(os.path.basename(path), ())
            if real == os.path.realpath(path) and _holds(path, noted)
        }

    def _noted(self, path: str) -> Noted | None:
        for row in self._store.database.rows("select owner, blob, stat from exported where path = ?", (path,)):
            return Noted(*row)
        return None

    def _note(self, path: str, artifact: str, owner: str | None = None) -> None:
        try:
            seen = signature(os.stat(path))
        except OSError:
            return
        row = (path, self._owner if owner is None else owner, artifact, seen)
        self._store.database.change(("insert or replace into exported values (?, ?, ?, ?)", [row]))


def is_there(owner: str) -> bool:
    """Whether the project of an owner is still there; what a project exports has its file, and then more, for an owner."""
    ends = [found.start() for found in re.finditer(r" exports? ", owner)]
    return any(os.path.exists(owner[:end]) for end in (*ends, len(owner)))


def _holds(path: str, noted: Noted) -> bool:
    """Whether a file still holds what we wrote."""
    try:
        return noted.stat == signature(os.stat(path)) or sha256_of(path) == noted.blob
    except OSError:
        return False


def is_gguf(path: str) -> bool:
    """Whether a file begins as GGUF files do, or is empty, so that nothing is lost with it."""
    try:
        return first_bytes(path, 4) in (b"GGUF", b"")
    except OSError:
        return False


def _unwritable(folder: str) -> Error | None:
    """What stands against writing into a folder that need not be there yet."""
    above = existing(folder)
    if not os.path.isdir(above):
        return Error("is a file, expected a folder", path=above, hint="name another folder, or move it away")
    if (error := denied(above)) is not None:
        hint = "name a file in your own folder"
        return Error(f"the folder cannot be written: {reason(error)}", path=above, hint=hint)
    return None


def _is_input(path: str) -> Error:
    return Error("is an input of this build and would be overwritten", path=path, hint="name another file")


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask

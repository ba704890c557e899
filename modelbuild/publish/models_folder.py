"""The models folder: Ollama's blobs and manifests, written so that a server (or a second build) beside us never sees half of anything.

A server takes no lock of ours: it removes empty folders, and with a model the blobs that no manifest names at that moment. So what
a build relies on is looked at under our lock, looked at again when the manifest stands, and once more when the build ends.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import BinaryIO, TypeVar

from modelbuild import digest as digests
from modelbuild import interrupt, page_cache
from modelbuild.engine.action import ActionResult
from modelbuild.engine.graph import Output
from modelbuild.engine.store import Damaged, Store, standing
from modelbuild.errors import Error
from modelbuild.files import (
    AGAIN,
    LARGEST,
    TEMPORARY,
    Temporary,
    clear_temporaries,
    existing,
    free,
    lock_file,
    read_plain,
    reason,
    remove_temporary,
    signature,
    sync_folder,
)
from modelbuild.ollama.library import SCRATCH, Library, Users, named_blobs

T = TypeVar("T")

SERVICE_FOLDER = "/usr/share/ollama/.ollama/models"

LONGEST = 255
"""Bytes of the longest name of a file."""

PRUNED = 1800.0
"""Seconds after which a blob is made young again before a manifest names it: a server's start deletes blobs that no manifest
names, unless they are younger than an hour."""


TIDYING = 0.5
"""Seconds that we wait for another build's lock only to tidy up."""


def default_folder(env: str | None, home: str) -> str:
    """Where Ollama keeps its models: `$OLLAMA_MODELS` (spaces and quotes trimmed, as Ollama does), else in the home folder."""
    named = (env or "").strip(" \"'")
    return named or os.path.join(home, ".ollama", "models")


class ModelsFolder:
    """Writes models for one project, and remembers in the store what it wrote."""

    def __init__(self, root: str, store: Store, project: str) -> None:
        self.root = root
        self.library = Library(root)
        self._blobs = self.library.blobs
        self._manifests = self.library.manifests
        self._scratch = os.path.join(root, SCRATCH)
        self._store = store
        self._project = project
        self._users = Users(self.library.manifests)
        self._written: dict[str, tuple[str, str]] | None = None
        self._noted: dict[str, str] | None = None
        self._published: dict[str, str] = {}
        self._nearer: dict[str, str] = {}
        self._cleared = False
        self.taken: dict[str, str] = {}
        """Names that another project wrote last and that now say something else -> that project's file."""

    @property
    def written(self) -> dict[str, tuple[str, str]]:
        """name path -> (project, manifest digest) of every manifest we wrote into this folder."""
        if self._written is None:
            self._written = self._store.written(self.root)
        return self._written

    def scratch(self) -> str | None:
        """The folder to make large artifacts in, where the store lies on another file system; None means the store."""
        self._make(self._blobs)
        if os.stat(self._blobs).st_dev == os.stat(existing(self._store.root)).st_dev:
            return None
        folder = self._near(self._blobs)
        self._make(folder)
        return folder

    def doubt(self) -> None:
        """Believe no blob unhashed, however untouched it looks."""
        self._noted = {}

    # Before the work

    def check_writable(self) -> None:
        """Raise an Error that says what to do where this folder cannot be written, or is where the cache lies."""
        for folder in map(existing, (self.root, self._blobs, self._manifests)):
            if not os.path.isdir(folder):
                raise self._refused(NotADirectoryError(errno.ENOTDIR, "not a folder", folder))
            if not os.access(folder, os.W_OK | os.X_OK):
                raise self._refused(PermissionError(errno.EACCES, "permission denied", folder))
        if _same_file(self._blobs, os.path.join(self._store.root, "blobs")):
            raise Error(
                "the cache and the models folder have the same 'blobs' folder",
                path=self.root,
                hint="name a cache folder of its own with --cache or $MODELBUILD_CACHE",
            )

    def misplaced(self, output: Output) -> list[Error]:
        """What stands against writing the manifests of an output, as far as a look at its names tells."""
        return [error for name in output.names if (error := self._misplaced(name)) is not None]

    def _misplaced(self, name: str) -> Error | None:
        for part in name.split("/"):
            if len(part.encode()) > LONGEST:
                return Error(
                    f"the name '{name[:60]}…' has a part of {len(part.encode())} bytes, too long for a file's name",
                    path=self.root,
                    hint=f"give each part of the name at most {LONGEST} bytes",
                )
        path = self.library.manifest_path(name)
        try:
            info = os.stat(path)
        except FileNotFoundError:
            return None
        except NotADirectoryError:
            return Error(
                "a file stands where a folder of manifests belongs", path=_first_file(path), hint="move it away"
            )
        except OSError as error:
            return self._refused(error)
        if stat.S_ISREG(info.st_mode):
            return None
        what = "a folder" if stat.S_ISDIR(info.st_mode) else "something that is not a file"
        return Error(f"{what} stands where the manifest of '{name}' belongs", path=path, hint="move it away")

    # Publishing

    def publish_all(self, output: Output, manifest: ActionResult, blobs: Sequence[ActionResult]) -> bool:
        """Publish an output under each of its names. Returns whether anything changed."""
        changed = [self.publish(name, manifest, blobs) for name in output.names]
        return any(changed)

    def publish(self, name: str, manifest: ActionResult, blobs: Sequence[ActionResult]) -> bool:
        """Put the blobs, then the manifest `name` (`host/namespace/model/tag`). Returns whether anything changed.

        A blob is complete and on disk before a manifest names it; the manifest changes at once or not at all. Raises Error, and
        Damaged for an artifact that has to be made again.
        """
        path = self.library.manifest_path(name)
        if self._same(path, manifest) and all(self._has(blob) for blob in blobs):
            if self.written.get(name) != (self._project, manifest.artifact):
                # The store was lost since we wrote this, or the folder moved: it is ours all the same.
                self._store.note_blobs(self.root, (blob.artifact for blob in blobs))
                self._note(name, manifest)
            return False
        owner = self._other_owner(name, path, manifest)

        def put() -> None:
            with self._locked():
                self._put_missing(blobs)
                self._replace(path, manifest)
                self._note(name, manifest)
                # A server may have taken one away between our look and the manifest; from now on it does not.
                self._put_missing(blobs)

        self._despite_removals(put)
        if owner is not None:
            self.taken[name] = owner
        return True

    def restore(self, output: Output, manifest: ActionResult, blobs: Sequence[ActionResult]) -> bool:
        """Put again the blobs of an output that somebody took away although its manifest names them. Returns whether any was gone.

        Raises as `publish` does.
        """
        if all(self._has(blob) for blob in blobs):
            return False
        if not any(self._same(self.library.manifest_path(name), manifest) for name in output.names):
            return False

        def put() -> None:
            with self._locked():
                self._put_missing(blobs)

        self._despite_removals(put)
        return True

    def _despite_removals(self, put: Callable[[], T]) -> T:
        """Do it again where a folder went meanwhile; any other fault of the system is an Error."""
        for left in reversed(range(AGAIN)):
            try:
                return put()
            except FileNotFoundError as error:
                if not left:
                    raise self._refused(error) from error
            except OSError as error:
                raise self._refused(error) from error
        raise AssertionError

    def finished(
        self, output: Output, manifest: ActionResult, blobs: Sequence[ActionResult]
    ) -> dict[str, os.stat_result] | None:
        """The files that a published output stands in, and their stats; None where one is not as we left it."""
        found = {}
        try:
            for name in output.names:
                path = self.library.manifest_path(name)
                found[path] = os.stat(path)
                if signature(found[path]) != self._published.get(path):
                    return None
            for blob in blobs:
                path = self.library.blob_path(blob.artifact)
                found[path] = os.stat(path)
                if standing(found[path]) != self._places.get(blob.artifact):
                    return None
        except OSError:
            return None
        return found

    def _other_owner(self, name: str, path: str, new: ActionResult) -> str | None:
        """The file of another project, still there, whose manifest stands under a name and says something else."""
        project, manifest = self.written.get(name, (self._project, ""))
        owner = _file_of(project)
        if owner == _file_of(self._project) or manifest == new.artifact or not os.path.exists(owner):
            return None
        return owner if self._same(path, ActionResult(manifest, 0)) else None

    def _note(self, name: str, manifest: ActionResult) -> None:
        self._store.note_written(self.root, name, self._project, manifest.artifact)
        self.written[name] = (self._project, manifest.artifact)

    def _same(self, path: str, manifest: ActionResult) -> bool:
        try:
            data, info = read_plain(path, LARGEST)
        except OSError:
            return False
        if digests.sha256(data) != manifest.artifact:
            return False
        self._published[path] = signature(info)
        return True

    @property
    def _places(self) -> dict[str, str]:
        """Digest -> what was noted of the stat of each blob here that is known to be whole."""
        if self._noted is None:
            self._noted = self._store.places(self._blobs)
        return self._noted

    def _has(self, blob: ActionResult) -> bool:
        """Whether the blob stands here now, whole. One that is not as we put it is hashed before it is believed."""
        path = self.library.blob_path(blob.artifact)
        try:
            info = os.stat(path)
            if info.st_size != blob.size:
                return False
            if standing(info) != self._places.get(blob.artifact):
                if not stat.S_ISREG(info.st_mode) or _sha256(path) != blob.artifact:
                    self._places.pop(blob.artifact, None)
                    return False
                self._places[blob.artifact] = self._store.note_place(blob.artifact, path)
        except OSError:
            return False
        return True

    def _put_missing(self, blobs: Sequence[ActionResult]) -> None:
        """See each blob here, now, or put it; a few times where somebody removes them meanwhile."""
        for _ in range(AGAIN):
            missing = [blob for blob in blobs if not self._has(blob)]
            if not missing:
                return
            for blob in missing:
                self._put(blob)
        raise Error("another program removes blobs as fast as they are put", path=self._blobs, hint="build again")

    def _put(self, blob: ActionResult) -> None:
        self._make(self._blobs)
        target = self.library.blob_path(blob.artifact)
        # Noted first: what a killed build leaves is still known as ours.
        self._store.note_loose(self.root, [blob.artifact], ours=True)
        with self._store.open(blob.artifact) as source:
            self._store.verify(blob.artifact, source)
            self._persist(blob, source)
            page_cache.forget(source.fileno())
            before = os.fstat(source.fileno())
            if before.st_mtime < time.time() - PRUNED:
                with contextlib.suppress(OSError):
                    os.utime(source.fileno())
            near = self._near(self._blobs)
            if os.path.dirname(source.name) == near:
                self._move(source.name, target)
                self._store.forget_place(blob.artifact, source.name)
            else:
                self._link(source, target, near, blob)
            self._store.touched(blob.artifact, source.fileno(), before)
        sync_folder(self._blobs)
        self._places[blob.artifact] = self._store.note_place(blob.artifact, target)

    def _persist(self, blob: ActionResult, source: BinaryIO) -> None:
        try:
            os.fsync(source.fileno())
        except OSError:
            # The kernel tells of a page that it could not write once: the next call would say that all is well.
            remove_temporary(source.name)
            self._store.forget(blob.artifact)
            raise

    def _link(self, source: BinaryIO, target: str, near: str, blob: ActionResult) -> None:
        """Put an artifact of the store: by a hard link where that can be, else by a copy."""
        self._make(near)
        with self._store.temporary(near) as file:
            try:
                linked = file.link(source.name)
            except FileNotFoundError:
                if os.path.exists(source.name):
                    raise
                # Somebody cleared the cache: it is made again.
                raise Damaged(blob.artifact) from None
            if not linked:
                _copy(source, file)
            self._move(file.path, target)

    def _replace(self, path: str, manifest: ActionResult) -> None:
        self._note_loose(path)
        data = self._store.read(manifest.artifact)
        folder = os.path.dirname(path)
        self._make(folder)
        near = self._near(folder)
        self._make(near)
        with self._store.temporary(near) as file:
            file.write(data)
            os.fsync(file.fileno())
            self._move(file.path, path)
            info = os.fstat(file.fileno())
        if info.st_nlink and os.path.exists(path) and os.path.samestat(info, os.stat(path)):
            self._published[path] = signature(info)
        sync_folder(folder)

    def _note_loose(self, path: str) -> None:
        """Note what a manifest names before it goes: an end of ours between that and the sweep leaks nothing."""
        with contextlib.suppress(OSError, ValueError):
            if loose := named_blobs(read_plain(path, LARGEST)[0]):
                self._store.note_loose(self.root, loose)

    def _near(self, folder: str) -> str:
        """The folder for temporary files that are to be renamed into a folder: one on its file system.

        `blobs`, `manifests` or a folder below may be a link to another disk, or another mount.
        """
        known = self._nearer.get(folder)
        if known is None:
            far = os.stat(folder).st_dev != os.stat(self.root).st_dev
            known = self._nearer[folder] = os.path.join(folder, SCRATCH) if far else self._scratch
        return known

    def _move(self, path: str, target: str) -> None:
        """Rename a temporary file to a place whose folder a server may remove at any moment."""
        folder = os.path.dirname(target)
        for left in reversed(range(AGAIN)):
            try:
                os.replace(path, target)
                return
            except FileNotFoundError:
                if not left or not os.path.lexists(path):
                    raise
                with contextlib.suppress(FileNotFoundError):
                    os.makedirs(folder, exist_ok=True)
            except OSError as error:
                if error.errno != errno.EXDEV or self._near(folder) != self._scratch:
                    raise
                break
        # Two mounts of one file system: no stat tells them apart.
        near = self._nearer[folder] = os.path.join(folder, SCRATCH)
        self._make(near)
        with open(path, "rb", buffering=0) as source, self._store.temporary(near) as file:
            _copy(source, file)
            os.replace(file.path, target)

    # Tidying

    def sweep(self) -> list[str]:
        """Remove the blobs that we wrote and that no manifest names since one was replaced; returns their digests.

        Raises Error, and OSError also where another build keeps the lock: the next build sweeps the same.
        """
        return self._sweep(self._store.loose(self.root), TIDYING)

    def _sweep(self, candidates: Collection[str], at_most: float = math.inf) -> list[str]:
        ours = self._store.blobs_written(self.root) if candidates else set()
        if ours.isdisjoint(candidates):
            self._store.forget_loose(self.root, candidates)
            return []
        with self._locked(at_most):
            used = self._users.used()
            if used is None:
                # As Ollama does: delete nothing.
                return []
            removed = self._remove_unused(sorted(ours.intersection(candidates) - used))
            self._store.forget_written(self.root, blobs=removed)
            self._store.forget_loose(self.root, candidates)
        return removed

    def _remove_unused(self, blobs: Sequence[str]) -> list[str]:
        """Remove blobs, but those that a manifest names after all: a server may have put one while we looked at the others."""
        away: dict[str, str] = {}
        for blob in blobs:
            with contextlib.suppress(FileNotFoundError):
                away[blob] = self._put_aside(self.library.blob_path(blob))
        used = self._users.used() if away else set()
        kept = set(away) if used is None else used.intersection(away)
        for blob, path in away.items():
            if blob in kept:
                os.replace(path, self.library.blob_path(blob))
            else:
                os.unlink(path)
        return [blob for blob in blobs if blob not in kept]

    def _put_aside(self, path: str) -> str:
        near = self._near(self._blobs)
        self._make(near)
        aside = os.path.join(near, TEMPORARY + os.urandom(8).hex())
        try:
            os.replace(path, aside)
        except OSError as error:
            if error.errno != errno.EXDEV or near != self._scratch:
                raise
            self._nearer[self._blobs] = os.path.join(self._blobs, SCRATCH)
            return self._put_aside(path)
        return aside

    def stale(self, declared: Collection[str]) -> list[str]:
        """Names that this project wrote, has not declared, and that nobody has changed since."""
        return [
            name
            for name, (project, manifest) in sorted(self.written.items())
            if project == self._project
            and name not in declared
            and self._same(self.library.manifest_path(name), ActionResult(manifest, 0))
        ]

    def remove(self, names: Iterable[str]) -> tuple[list[str], list[str]]:
        """Remove manifests, as far as they are still those that we wrote, then every blob that we wrote and no manifest names.

        Returns the names and the blobs' digests. Somebody else may write a name while we wait for the lock.
        """
        removed: list[str] = []
        try:
            with self._locked():
                written = self._store.written(self.root)
                for name in names:
                    project, manifest = written.get(name, ("", ""))
                    path = self.library.manifest_path(name)
                    if project == self._project and self._same(path, ActionResult(manifest, 0)):
                        self._note_loose(path)
                        self._unlink(path)
                        removed.append(name)
                self._store.forget_written(self.root, names=removed)
            for name in removed:
                self.written.pop(name, None)
            return removed, self._sweep(self._store.blobs_written(self.root)) if removed else []
        except OSError as error:
            raise self._refused(error) from error

    def _unlink(self, path: str) -> None:
        """Remove a manifest, and the folders that are empty without it."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        with contextlib.suppress(OSError):
            while (path := os.path.dirname(path)) != self.root:
                os.rmdir(path)

    def tidy(self) -> bool:
        """Leave nothing behind but blobs and manifests, and what a failed build made for the next one.

        Never raises; returns whether nothing else is left.
        """
        folders = dict.fromkeys([*self._nearer.values(), *self._scratches()])
        if any(map(os.path.isdir, folders)):
            # A killed build's lock and temporary files go with ours.
            with contextlib.suppress(OSError, Error), self._locked(TIDYING):
                for folder in filter(os.path.isdir, folders):
                    self._drop_doubles(folder)
        for folder in folders:
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        return not any(os.path.lexists(folder) for folder in folders)

    def _scratches(self) -> list[str]:
        """Where killed builds may have left something."""
        return [self._scratch, os.path.join(self._blobs, SCRATCH)]

    def _drop_doubles(self, folder: str) -> None:
        """Remove large artifacts that were made once more, though they stand among the blobs already."""
        for name in os.listdir(folder):
            artifact, path = name.replace("-", ":", 1), os.path.join(folder, name)
            if artifact in self._places and self._has(ActionResult(artifact, os.stat(path).st_size)):
                os.unlink(path)
                self._store.forget_place(artifact, path)

    @contextlib.contextmanager
    def _locked(self, at_most: float = math.inf) -> Iterator[None]:
        self._make(self._scratch)
        with lock_file(os.path.join(self._scratch, "lock"), self._store.waiting, at_most):
            if not self._cleared:
                self._cleared = True
                for folder in self._scratches():
                    clear_temporaries(folder)
            yield

    def _make(self, folder: str) -> None:
        for left in reversed(range(AGAIN)):
            try:
                os.makedirs(folder, exist_ok=True)
                return
            except FileNotFoundError as error:  # a folder above it went meanwhile
                if not left:
                    raise self._refused(error) from error
            except OSError as error:
                raise self._refused(error) from error

    def _refused(self, error: OSError) -> Error:
        place = error.filename if isinstance(error.filename, str) else self.root
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            left = free(self.root)
            return Error(
                "no space left for the models folder",
                path=self.root,
                facts=[("free", f"{left:,} bytes")] if left is not None else [],
                hint="free some space, or name another folder with --models; what is finished stays and is used again",
            )
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            hint = "name a folder of your own with --models, $OLLAMA_MODELS or `models` in [project]"
            if os.path.abspath(self.root) == SERVICE_FOLDER:
                hint = f"this folder belongs to the Ollama service: run as its user (sudo -u ollama), or {hint}"
            why = "read-only file system" if error.errno == errno.EROFS else "permission denied"
            return Error(f"the models folder cannot be written: {why}", path=self.root, hint=hint)
        return Error(f"the models folder cannot be written: {reason(error)}", path=place)


def _same_file(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _first_file(path: str) -> str:
    """Of a path that leads through a file, that file."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def _file_of(project: str) -> str:
    """The ModelBuild.toml or Modelfile of a project as it is noted: a name given by -t stands behind it."""
    return project if os.path.exists(project) else project.rpartition(" -t ")[0] or project


def _copy(source: BinaryIO, file: Temporary) -> None:
    while data := source.read(digests.CHUNK):
        interrupt.check()
        file.write(data)
    os.fsync(file.fileno())
    page_cache.forget(file.fileno())


def _sha256(path: str) -> str:
    import hashlib

    with open(path, "rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()

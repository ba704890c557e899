"""The models folder: Ollama's blobs and manifests, written so that a server (or a second build) beside us never sees half of anything.

A server takes no lock of ours: it removes empty folders, and with a model the blobs that no manifest names at that moment. So what
a build relies on is looked at under our lock, looked at again when the manifest stands, and once more when the build ends.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TypeVar

from modelbuild import digest as digests
from modelbuild import ownership
from modelbuild.engine.action import ActionResult
from modelbuild.engine.graph import Output
from modelbuild.engine.store import SMALL, Damaged, Store
from modelbuild.errors import Error
from modelbuild.files import AGAIN, LARGEST, existing, read_plain, signature
from modelbuild.ollama.library import Library, Users, named_blobs
from modelbuild.publish import writable
from modelbuild.publish.blobs import Blobs
from modelbuild.publish.one_by_one import OneByOne
from modelbuild.publish.removal import Removal
from modelbuild.publish.scratch import Scratch, litter
from modelbuild.publish.spares import Spares
from modelbuild.publish.writable import refused
from modelbuild.publish.written import Owner, Written

T = TypeVar("T")

SHARE, MANY = 10, 250
"""Of more than a hundred names, those for each of which a small blob that nobody needs may stay; and how many of these may."""

SEVERAL = 3
"""Names from which on they are put together."""

PUT, WHOLE = "put", "whole"

TIDYING = 0.5
"""Seconds that we wait for another build's lock only to tidy up."""


class ModelsFolder:
    """Writes models for one owner, and remembers in the store what it wrote."""

    def __init__(self, root: str, store: Store, owner: Owner) -> None:
        self.root = root
        self.library = Library(root)
        self._store = store
        self._owner = owner
        self.written = Written(store.database, root)
        self._scratch = Scratch(self.library, store)
        self.spares = Spares(self.library, store, self._scratch)
        self._blobs = Blobs(self.library, store, self.written, self._scratch, self.spares)
        self._users = Users(self.library.manifests)
        self._removal = Removal(self.library, self._scratch, self._users)
        self._published: dict[str, str] = {}
        self._ahead: dict[str, str] = {}
        """Names that were put together with others -> how far that went."""
        self.taken: dict[str, str] = {}
        """Names that another project wrote last and that now say something else -> that project's file."""

    @cached_property
    def _names(self) -> OneByOne[tuple[Owner, str]]:
        """name -> (who wrote it, manifest digest) of every manifest we wrote into this folder."""
        return OneByOne(lambda name: self._noted(name).get(name), self._noted)

    def _noted(self, only: str | None = None) -> dict[str, tuple[Owner, str]]:
        """What is noted of names, or `only` of one; of one whose writer died in the middle, what it says."""
        found = self.written.names(only)
        for name, (owner, manifest) in self.written.putting(only).items():
            if self._same(self.library.manifest_path(name), ActionResult(manifest, 0)):
                found[name] = owner, manifest
        return found

    def scratch(self) -> str | None:
        """The folder to make large artifacts in, where none of the store can be linked to; None means the store."""
        blobs, store = self.library.blobs, existing(self._store.root)
        self._scratch.make(blobs)
        if os.stat(blobs).st_dev == os.stat(store).st_dev and ownership.heir(blobs) in (None, ownership.heir(store)):
            return None
        return self.landing()

    def scratch_folders(self) -> list[str]:
        """Every folder that large artifacts may have been made in."""
        return self._scratch.folders()

    def landing(self) -> str:
        """The folder for files that are to be renamed into `blobs`; it is made."""
        self._scratch.make(self.library.blobs)
        folder = self._scratch.near(self.library.blobs)
        self._scratch.make(folder)
        return folder

    def has(self, blob: ActionResult) -> bool:
        """Whether a blob stands here, whole. One that is not as we put it is hashed before it is believed."""
        return self._blobs.has(blob)

    @property
    def replaced(self) -> list[str]:
        """Digests of damaged blobs that were put again."""
        return list(self._blobs.replaced)

    def unchecked(self, blobs: Iterable[ActionResult]) -> list[ActionResult]:
        """Those of some blobs that `has` is going to hash."""
        return self._blobs.unchecked(blobs)

    def doubt(self) -> None:
        """Believe no blob unhashed, however untouched it looks."""
        self._blobs.doubt()

    # Before the work

    def check_writable(self) -> None:
        """Raise an Error that says what to do where this folder cannot be written."""
        writable.check_writable(self.library)

    def check_apart(self) -> None:
        """Raise an Error where this folder is where the cache lies."""
        writable.check_apart(self.library, self._store.root)

    def misplaced(self, output: Output) -> list[Error]:
        """What stands against writing the manifests of an output, as far as a look at its names tells."""
        return writable.misplaced(self.library, output)

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
        ahead = self._ahead.pop(name, None)
        if ahead == WHOLE:
            return True
        if self._same(path, manifest) and all(self._blobs.has(blob) for blob in blobs):
            if self._names.get(name) != (self._owner, manifest.artifact):
                # The store was lost since we wrote this, or the folder moved: it is ours all the same.
                self.written.note_blobs(blob.artifact for blob in blobs)
                self._note(name, manifest)
            return ahead is not None
        other = self._other_file(name, path, manifest)

        def put() -> None:
            with self._scratch.locked():
                self._blobs.put_missing(blobs)
                self.written.note_putting({name: manifest.artifact}, self._owner)
                self._replace(path, manifest)
                self._note(name, manifest)
                # A server may have taken one away between our look and the manifest; from now on it does not.
                self._blobs.put_missing(blobs)

        self._despite_removals(put)
        if other is not None:
            self.taken[name] = other
        return True

    def publish_together(self, models: Iterable[tuple[Output, ActionResult, Sequence[ActionResult]]]) -> None:
        """Publish many models before `publish` is asked for each: the lock is taken once, and the disk is waited for once.

        What cannot be put this way is left to `publish`, which says why.
        """
        wanted: dict[str, ActionResult] = {}
        needed: dict[ActionResult, None] = {}
        for output, manifest, blobs in models:
            for name in output.names:
                if not self._same(self.library.manifest_path(name), manifest):
                    wanted[name] = manifest
                    needed.update(dict.fromkeys(blobs))
        if len(wanted) < SEVERAL:
            return
        with contextlib.suppress(OSError, Error, Damaged), self._scratch.locked():
            self._put_together(wanted, needed)

    def _put_together(self, wanted: Mapping[str, ActionResult], blobs: Collection[ActionResult]) -> None:
        paths = {self.library.manifest_path(name): name for name in wanted}
        taken = {
            name: other
            for path, name in paths.items()
            if (other := self._other_file(name, path, wanted[name])) is not None
        }
        self._blobs.put_together(blobs)
        self._blobs.put_missing(tuple(blobs))
        data = {path: self._store.read(wanted[name].artifact) for path, name in paths.items()}
        loose = set[str]().union(*(self._loosened(path, new) for path, new in data.items()))
        if loose:
            self.written.note_loose(loose)
        said = {name: manifest.artifact for name, manifest in wanted.items()}
        self.written.note_putting(said, self._owner)
        for path, info in self._scratch.put_together(data):
            self._published[path] = signature(info)
            self._ahead[paths[path]] = PUT
        self.written.note(said, self._owner)
        for name, manifest in said.items():
            self._names.set(name, (self._owner, manifest))
        self._blobs.put_missing(tuple(blobs))
        self._ahead.update(dict.fromkeys(said, WHOLE))
        self.taken.update(taken)

    def restore(self, output: Output, manifest: ActionResult, blobs: Sequence[ActionResult]) -> bool:
        """Put again the blobs of an output that somebody took away although its manifest names them. Returns whether any was gone.

        Raises as `publish` does.
        """
        is_named = any(self._same(self.library.manifest_path(name), manifest) for name in output.names)
        if not is_named or all(self._blobs.has(blob) for blob in blobs):
            return False

        def put() -> None:
            with self._scratch.locked():
                self._blobs.put_missing(blobs)

        self._despite_removals(put)
        return True

    def _despite_removals(self, put: Callable[[], T]) -> T:
        """Do it again where a folder went meanwhile; any other fault of the system is an Error."""
        for left in reversed(range(AGAIN)):
            try:
                return put()
            except FileNotFoundError as error:
                if not left:
                    raise refused(self.root, error) from error
            except OSError as error:
                raise refused(self.root, error) from error
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
                if signature(found[path]) != self._blobs.noted.get(blob.artifact):
                    return None
        except OSError:
            return None
        return found

    def _other_file(self, name: str, path: str, new: ActionResult) -> str | None:
        """The file of another project, still there, whose manifest stands under a name and says something else."""
        owner, manifest = self._names.get(name) or (self._owner, "")
        file = owner.file
        if file == self._owner.file or manifest == new.artifact or not os.path.exists(file):
            return None
        if self._owner.file.endswith(".toml") and os.path.join(os.path.dirname(self._owner.file), "Modelfile") == file:
            # Beside a ModelBuild.toml it is a project no more.
            return None
        return file if self._same(path, ActionResult(manifest, 0)) else None

    def _note(self, name: str, manifest: ActionResult) -> None:
        self.written.note({name: manifest.artifact}, self._owner)
        self._names.set(name, (self._owner, manifest.artifact))

    def _same(self, path: str, manifest: ActionResult) -> bool:
        try:
            data, info = read_plain(path, LARGEST)
        except OSError:
            return False
        if digests.sha256(data) != manifest.artifact:
            return False
        self._published[path] = signature(info)
        return True

    def _replace(self, path: str, manifest: ActionResult) -> None:
        data = self._store.read(manifest.artifact)
        self._note_loose(path, data)
        info = self._scratch.put(path, data)
        if info.st_nlink and os.path.exists(path) and os.path.samestat(info, os.stat(path)):
            self._published[path] = signature(info)

    def _note_loose(self, path: str, new: bytes | None = None) -> None:
        """Note what a manifest names, and the new one does not, before it goes: an end of ours between that and the sweep leaks nothing."""
        if loose := self._loosened(path, new):
            self.written.note_loose(loose)

    def _loosened(self, path: str, new: bytes | None) -> set[str]:
        with contextlib.suppress(OSError, ValueError):
            return named_blobs(read_plain(path, LARGEST)[0]) - (named_blobs(new) if new is not None else set())
        return set()

    # Tidying

    def sweep(self, spare: bool = True) -> list[str]:
        """Remove the blobs that we wrote and that no manifest names since one was replaced; returns their digests.

        spare  keep those with tensors that the cache has not got for a revert

        Raises Error, and OSError also where another build keeps the lock: the next build sweeps the same.
        """
        return self._sweep(self.written.loose(), TIDYING, spare)

    def sweep_when_due(self) -> list[str]:
        """Sweep, where what goes is worth its cost: each manifest is looked at. A large blob is; so are many small ones.

        Raises as `sweep` does.
        """
        loose = self.written.loose()
        few = len(loose) < MANY and self.written.are_more(max(100, SHARE * len(loose)))
        return [] if few and not any(map(self._is_large, loose)) else self.sweep()

    def _is_large(self, blob: str) -> bool:
        return (self.library.size(blob) or 0) > SMALL

    def release(self, blobs: Collection[str]) -> list[str]:
        """Remove those of a replaced model's blobs that no manifest names any more, whoever put them; returns their digests.

        Only for a model that the user asked to replace as Ollama does it. Raises as `sweep` does.
        """
        used = self._users.used() if blobs else None
        if used is None:
            return []
        self.written.note_loose(set(blobs) - used, ours=True)
        return self.sweep()

    def _sweep(self, candidates: Collection[str], at_most: float = math.inf, spare: bool = False) -> list[str]:
        ours = self.written.ours(candidates)
        if not ours:
            self.written.forget_loose(candidates)
            return []
        with self._scratch.locked(at_most):
            removed = self._removal.unused(ours, self.spares.take if spare else None)
            if removed is None:
                return []
            self.written.forget(blobs=removed)
            self.written.forget_loose(candidates)
        return removed

    def wrote(self, name: str) -> bool:
        """Whether a build of ours, of any project, wrote this name last."""
        return self._names.get(name) is not None

    def stale(self, declared: Collection[str]) -> list[str]:
        """Names that this project wrote, has not declared, and that nobody has changed since."""
        return [
            name
            for name, (owner, manifest) in sorted(self._names.whole().items())
            if owner == self._owner
            and name not in declared
            and self._same(self.library.manifest_path(name), ActionResult(manifest, 0))
        ]

    def remove(self, names: Iterable[str]) -> tuple[list[str], list[str]]:
        """Remove manifests, as far as they are still those that we wrote, then every blob that we wrote and no manifest names.

        Returns the names and the blobs' digests. Somebody else may write a name while we wait for the lock.
        """
        removed: list[str] = []
        try:
            with self._scratch.locked():
                written = self._noted()
                for name in names:
                    owner, manifest = written.get(name, (None, ""))
                    path = self.library.manifest_path(name)
                    if owner == self._owner and self._same(path, ActionResult(manifest, 0)):
                        self._note_loose(path)
                        self._removal.unlink(path)
                        removed.append(name)
                self.written.forget(names=removed)
            for name in removed:
                self._names.set(name, None)
            return removed, self._sweep(self.written.blobs()) if removed else []
        except OSError as error:
            raise refused(self.root, error) from error

    def tidy(self) -> bool:
        """Leave nothing behind but blobs and manifests, and what a failed build made for the next one.

        Never raises; returns whether nothing else is left, unfinished downloads and artifacts not counted.
        """
        folders = [*self.spares.folders(), *self._scratch.folders()]
        if any(map(os.path.isdir, folders)):
            # A killed build's lock and temporary files go with ours.
            with contextlib.suppress(OSError, Error), self._scratch.locked(TIDYING):
                for folder in filter(os.path.isdir, folders):
                    self._blobs.drop_doubles(folder)
        for folder in folders:
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        return not any(map(litter, self._scratch.folders()))

"""The models of a models folder, whoever put them there: given another name, or removed."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection

from modelbuild.digest import sha256
from modelbuild.engine.store import Store
from modelbuild.errors import Error
from modelbuild.files import LARGEST, read_plain, reason
from modelbuild.ollama.library import Library, Users, named_blobs
from modelbuild.ollama.manifest import Manifest
from modelbuild.ollama.name import Name, displayed
from modelbuild.publish import writable
from modelbuild.publish.removal import Removal
from modelbuild.publish.scratch import Scratch
from modelbuild.publish.writable import refused
from modelbuild.publish.written import Written
from modelbuild.tuples import NamedTuple
from modelbuild.words import did_you_mean, listed

_DIGEST = re.compile("sha256:[0-9a-f]{64}")


class Removed(NamedTuple):
    """What was removed: digest -> bytes of the blobs, and whether any had to stay because a manifest cannot be read."""

    blobs: dict[str, int]
    kept: bool


class InstalledModels:
    """Copies and removes models of one models folder."""

    def __init__(self, root: str, store: Store) -> None:
        self.library = Library(root)
        self._written = Written(store.database, root)
        self._scratch = Scratch(self.library, store)
        self._removal = Removal(self.library, self._scratch, Users(self.library.manifests))

    def find(self, text: str) -> Name:
        """The name of an installed model. Raises Error."""
        name = Name.parse(text)
        if os.path.lexists(self.library.manifest_path(name.path())):
            return name
        raise absent(self.library, text, "`modelbuild list --installed` lists its models")

    def copy(self, source: Name, target: Name, *, replace: bool) -> bool:
        """Give a model another name too: the same manifest, byte for byte, over the same blobs. Returns whether anything changed.

        Raises Error for a model with a missing blob, and for a name that another model has unless it may `replace` that.
        """
        path = self.library.manifest_path(target.path())
        data = self._read(source)
        self._check_whole(source, data)
        if (before := self._digest(path)) == sha256(data):
            return False
        if before is not None and not replace:
            raise Error(
                f"another model has the name '{target.display()}'",
                path=path,
                hint="choose another name, or replace that model with --force",
            )
        writable.check_writable(self.library)
        try:
            with self._scratch.locked():
                loose = self._note_loose(path) if before is not None else set()
                self._scratch.put(path, data)
                self._written.forget(names=[target.path()])
                self._written.forget(blobs=self._removal.unused(loose) or () if loose else ())
        except OSError as error:
            raise refused(self.library.root, error) from error
        return True

    def remove(self, names: Collection[Name]) -> Removed:
        """Remove manifests, then each blob that they named and that no other manifest names. Raises Error."""
        writable.check_writable(self.library)
        paths = [self.library.manifest_path(name.path()) for name in names]
        try:
            with self._scratch.locked():
                candidates = {blob for path in paths for blob in self._note_loose(path)}
                for path in paths:
                    self._removal.unlink(path)
                self._written.forget(names=[name.path() for name in names])
                sizes = {blob: self.library.size(blob) for blob in candidates}
                removed = self._removal.unused(candidates)
                self._written.forget(blobs=removed or ())
        except OSError as error:
            raise refused(self.library.root, error) from error
        return Removed({blob: size for blob in removed or () if (size := sizes[blob]) is not None}, removed is None)

    def would_remove(self, names: Collection[Name]) -> Removed:
        """What `remove` would remove."""
        paths = [self.library.manifest_path(name.path()) for name in names]
        used = Users(self.library.manifests).used(without=paths)
        if used is None:
            return Removed({}, True)
        mine = {blob for path in paths for blob in self._named(path)}
        sizes = {blob: self.library.size(blob) for blob in sorted(mine - used)}
        return Removed({blob: size for blob, size in sizes.items() if size is not None}, False)

    def owners(self, names: Collection[Name]) -> dict[Name, str]:
        """The names that a project built last -> the file of that project."""
        written = self._written.names()
        found = {name: written[name.path()] for name in names if name.path() in written}
        return {name: owner.file for name, (owner, _) in found.items() if os.path.exists(owner.file)}

    def _read(self, name: Name) -> bytes:
        path = self.library.manifest_path(name.path())
        try:
            return read_plain(path, LARGEST)[0]
        except OSError as error:
            what = f"the manifest of '{name.display()}' cannot be read: {reason(error)}"
            raise Error(what, path=path, hint="pull or build the model again") from error

    def _check_whole(self, name: Name, data: bytes) -> None:
        path = self.library.manifest_path(name.path())
        manifest = Manifest.parse(data, path)
        for layer in (manifest.config, *manifest.layers):
            blob = self.library.blob_path(layer.digest)
            if not os.path.exists(blob):
                facts = [("manifest", path), ("missing", blob)]
                raise Error(f"'{name.display()}' lacks a blob", facts=facts, hint="pull or build it again")

    def _digest(self, path: str) -> str | None:
        """The digest of what stands at a path: of nothing where that cannot be read."""
        if not os.path.lexists(path):
            return None
        try:
            return sha256(read_plain(path, LARGEST)[0])
        except OSError:
            return sha256(b"")

    def _named(self, path: str) -> set[str]:
        """The blobs that a manifest names; none where it cannot be read."""
        try:
            return set(filter(_DIGEST.fullmatch, named_blobs(read_plain(path, LARGEST)[0])))
        except (OSError, ValueError):
            return set()

    def _note_loose(self, path: str) -> set[str]:
        """Note the blobs of a manifest that is about to go: if we end before they are removed, a later build removes ours."""
        blobs = self._named(path)
        self._written.note_loose(blobs)
        return blobs

    def tidy(self) -> None:
        """Remove our own folders where nothing is in them. Never raises."""
        for folder in self._scratch.folders():
            with contextlib.suppress(OSError):
                os.rmdir(folder)


def absent(library: Library, text: str, otherwise: str | None = None) -> Error:
    """The error for a name that is not installed; `otherwise` is its hint where no installed name is near."""
    known = [each.display() for each in library.names()]
    known += [each.removesuffix(":latest") for each in known]
    same = next((each for each in known if each.lower() == text.lower()), None)
    return Error(
        f"no model '{Name.parse(text).display()}' in this models folder",
        facts=[("looked in", library.root)],
        hint=(f"did you mean '{same}'?" if same else did_you_mean(text, known)) or otherwise,
    )


def alike(library: Library, name: Name) -> Error | None:
    """A warning for a new name from which other installed ones differ only in case."""
    others = [displayed(path) for path in library.alike([name.path()]).get(name.path(), ())]
    if not others:
        return None
    shown = listed(f"'{each}'" for each in others)
    what = f"'{name.display()}' differs from {shown} only in case: to Ollama they are one model"
    return Error(what, hint=f"`modelbuild rm {name.display()}` removes the new name")

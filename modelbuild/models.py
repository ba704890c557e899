"""The models folder: Ollama's blobs and manifests, written so that a server (or a second build) beside us never sees half of anything."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence

from modelbuild import digest as digests
from modelbuild import interrupt, page_cache
from modelbuild.action import ActionResult
from modelbuild.errors import Error
from modelbuild.graph import Output
from modelbuild.store import Store, clear_temporaries, lock_file, standing

SERVICE_FOLDER = "/usr/share/ollama/.ollama/models"


def default_folder(env: str | None, home: str) -> str:
    """Where Ollama keeps its models: `$OLLAMA_MODELS` (spaces and quotes trimmed, as Ollama does), else in the home folder."""
    named = (env or "").strip(" \"'")
    return named or os.path.join(home, ".ollama", "models")


class ModelsFolder:
    """Writes models for one project, and remembers in the store what it wrote."""

    def __init__(self, root: str, store: Store, project: str) -> None:
        self.root = root
        self._blobs = os.path.join(root, "blobs")
        self._manifests = os.path.join(root, "manifests")
        self._scratch = os.path.join(root, ".modelbuild")
        self._store = store
        self._project = project
        self._written: dict[str, tuple[str, str]] | None = None
        self._places: dict[str, str] | None = None
        self._present: set[str] = set()
        self._replaced: set[str] = set()
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
        self._make(self.root)
        if os.stat(self.root).st_dev == os.stat(self._store.root).st_dev:
            return None
        self._make(self._scratch)
        return self._scratch

    def doubt(self) -> None:
        """Believe no blob unhashed, however untouched it looks."""
        self._places = {}

    def check_writable(self) -> None:
        """Raise an Error that says what to do where this folder cannot be written."""
        folder = self.root
        while not os.path.lexists(folder):
            folder = os.path.dirname(folder)
        if not os.path.isdir(folder):
            raise self._refused(NotADirectoryError(errno.ENOTDIR, "not a folder", folder))
        if not os.access(folder, os.W_OK | os.X_OK):
            raise self._refused(PermissionError(errno.EACCES, "permission denied"))

    def publish_all(self, output: Output, manifest: ActionResult, blobs: Sequence[ActionResult]) -> bool:
        """Publish an output under each of its names. Returns whether anything changed."""
        changed = [self.publish(name, manifest, blobs) for name in output.names]
        return any(changed)

    def files_of(self, output: Output, blobs: Iterable[str]) -> list[str]:
        """The files that an output with these blobs stands in."""
        manifests = [os.path.join(self._manifests, *name.split("/")) for name in output.names]
        return [*manifests, *(self._blob_path(blob) for blob in blobs)]

    def publish(self, name: str, manifest: ActionResult, blobs: Sequence[ActionResult]) -> bool:
        """Put the blobs, then the manifest `name` (`host/namespace/model/tag`). Returns whether anything changed.

        A blob is complete and on disk before a manifest names it; the manifest changes at once or not at all.
        """
        path = os.path.join(self._manifests, *name.split("/"))
        if self._same(path, manifest) and all(self._has(blob) for blob in blobs):
            if self.written.get(name) != (self._project, manifest.artifact):
                # The store was lost since we wrote this, or the folder moved: it is ours all the same.
                for blob in blobs:
                    self._store.note_blob(self.root, blob.artifact)
                self._note(name, manifest)
            return False
        owner = self._other_owner(name, path, manifest)
        try:
            with self._locked():
                for blob in blobs:
                    if not self._has(blob):
                        self._put(blob)
                self._replace(path, manifest)
                self._note(name, manifest)
        except OSError as error:
            raise self._refused(error) from error
        if owner is not None:
            self.taken[name] = owner
        return True

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

    @staticmethod
    def _same(path: str, manifest: ActionResult) -> bool:
        try:
            with open(path, "rb") as file:
                return digests.sha256(file.read()) == manifest.artifact
        except OSError:
            return False

    def _has(self, blob: ActionResult) -> bool:
        """Whether the blob stands here, whole. One that is not as we put it is hashed before it is believed."""
        if blob.artifact in self._present:
            return True
        path = self._blob_path(blob.artifact)
        try:
            info = os.stat(path)
            if info.st_size != blob.size:
                return False
            if self._places is None:
                self._places = self._store.places(self._blobs)
            if self._places.get(blob.artifact) != standing(info):
                if _sha256(path) != blob.artifact:
                    return False
                self._store.note_place(blob.artifact, path)
        except OSError:
            return False
        self._present.add(blob.artifact)
        return True

    def _blob_path(self, artifact: str) -> str:
        return os.path.join(self._blobs, artifact.replace(":", "-"))

    def _put(self, blob: ActionResult) -> None:
        self._make(self._blobs)
        target = self._blob_path(blob.artifact)
        # Noted first: what a killed build leaves is still known as ours.
        self._store.note_blob(self.root, blob.artifact)
        with self._store.open(blob.artifact) as source:
            self._store.verify(blob.artifact, source)
            os.fsync(source.fileno())
            page_cache.forget(source.fileno())
            with contextlib.suppress(PermissionError):
                # A server deletes blobs without a manifest at its start, unless they are young.
                os.utime(source.name)
            if os.path.dirname(source.name) == self._scratch:
                os.replace(source.name, target)
                self._store.forget_place(blob.artifact, source.name)
            else:
                self._make(self._scratch)
                with self._store.temporary(self._scratch) as file:
                    if not file.link(source.name):
                        while data := source.read(digests.CHUNK):
                            interrupt.check()
                            file.write(data)
                        os.fsync(file.fileno())
                        page_cache.forget(file.fileno())
                    os.replace(file.path, target)
        _sync_folder(self._blobs)
        self._store.note_place(blob.artifact, target)
        self._present.add(blob.artifact)

    def _replace(self, path: str, manifest: ActionResult) -> None:
        with contextlib.suppress(OSError, ValueError), open(path, "rb") as file:
            self._replaced |= named_blobs(file.read())
        self._make(self._scratch)
        self._make(os.path.dirname(path))
        data = self._store.read(manifest.artifact)
        with self._store.temporary(self._scratch) as file:
            file.write(data)
            os.fsync(file.fileno())
            os.replace(file.path, path)
        _sync_folder(os.path.dirname(path))

    def sweep(self) -> list[str]:
        """Remove the blobs that only replaced manifests named and that we wrote; returns their digests."""
        return self._sweep(self._replaced) if self._replaced else []

    def _sweep(self, candidates: Collection[str]) -> list[str]:
        ours = self._store.blobs_written(self.root)
        candidates = [blob for blob in candidates if blob in ours]
        if not candidates:
            return []
        removed = []
        with self._locked():
            used = self._used()
            for blob in candidates:
                if blob not in used:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(self._blob_path(blob))
                    removed.append(blob)
            self._store.forget_written(self.root, blobs=removed)
        self._present.difference_update(removed)
        return removed

    def _used(self) -> set[str]:
        used: set[str] = set()
        for path in self._manifest_files():
            try:
                with open(path, "rb") as file:
                    used |= named_blobs(file.read())
            except (OSError, ValueError):
                # A manifest that cannot be read may name anything: as Ollama does, delete nothing then.
                return {*self._store.blobs_written(self.root)}
        return used

    def _manifest_files(self) -> Iterator[str]:
        for folder, _, files in os.walk(self._manifests):
            for file in files:
                yield os.path.join(folder, file)

    def stale(self, declared: Collection[str]) -> list[str]:
        """Names that this project wrote, has not declared, and that nobody has changed since."""
        found = []
        for name, (project, manifest) in sorted(self.written.items()):
            if project == self._project and name not in declared:
                path = os.path.join(self._manifests, *name.split("/"))
                if self._same(path, ActionResult(manifest, 0)):
                    found.append(name)
        return found

    def remove(self, names: Iterable[str]) -> list[str]:
        """Remove manifests, then every blob that we wrote and no manifest names; returns the blobs' digests."""
        names = list(names)
        try:
            with self._locked():
                for name in names:
                    path = os.path.join(self._manifests, *name.split("/"))
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(path)
                    folder = os.path.dirname(path)
                    while folder != self.root:
                        try:
                            os.rmdir(folder)
                        except OSError:
                            break
                        folder = os.path.dirname(folder)
                self._store.forget_written(self.root, names=names)
            for name in names:
                self.written.pop(name, None)
            return self._sweep(self._store.blobs_written(self.root))
        except OSError as error:
            raise self._refused(error) from error

    def tidy(self) -> None:
        """Leave nothing behind but blobs and manifests, and what a failed build made for the next one."""
        if not os.path.isdir(self._scratch):
            return
        # A killed build's lock and temporary files go with ours.
        with contextlib.suppress(OSError, Error), self._locked():
            made = {name.replace("-", ":", 1) for name in os.listdir(self._scratch)} & self._present
            for artifact in made:
                # Made once more, though it stands among the blobs already.
                path = os.path.join(self._scratch, artifact.replace(":", "-"))
                os.unlink(path)
                self._store.forget_place(artifact, path)
        with contextlib.suppress(OSError):
            os.rmdir(self._scratch)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self._make(self._scratch)
        with lock_file(os.path.join(self._scratch, "lock")):
            if not self._cleared:
                self._cleared = True
                clear_temporaries(self._scratch)
            yield

    def _make(self, folder: str) -> None:
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> Error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(self.root).free
            return Error(
                "no space left for the models folder",
                path=self.root,
                facts=[("free", f"{free:,} bytes")],
                hint="free some space, or name another folder with --models; what is finished stays and is used again",
            )
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            hint = "name a folder of your own with --models, $OLLAMA_MODELS or `models` in [project]"
            if os.path.abspath(self.root) == SERVICE_FOLDER:
                hint = f"this folder belongs to the Ollama service: run as its user (sudo -u ollama), or {hint}"
            return Error("the models folder cannot be written: permission denied", path=self.root, hint=hint)
        reason = (error.strerror or str(error)).lower()
        return Error(f"the models folder cannot be written: {reason}", path=error.filename or self.root)


def named_blobs(manifest: bytes) -> set[str]:
    """Digests of the config and layers of a manifest, however it was written. Raises ValueError for what is none."""
    value = json.loads(manifest)
    if not isinstance(value, dict):
        raise ValueError("not a manifest")
    layers = [value.get("config"), *(value.get("layers") or [])]
    return {str(layer.get("digest")).replace("sha256-", "sha256:") for layer in layers if isinstance(layer, dict)}


def _file_of(project: str) -> str:
    """The ModelBuild.toml or Modelfile of a project as it is noted: a name given by -t stands behind it."""
    return project if os.path.exists(project) else project.rpartition(" -t ")[0] or project


def _sha256(path: str) -> str:
    import hashlib

    with open(path, "rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


__all__ = ["ModelsFolder", "default_folder", "named_blobs"]

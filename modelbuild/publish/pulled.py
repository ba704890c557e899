"""A model of a registry goes into a models folder: its blobs are downloaded beside it, and appear together with its manifest."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import Any

from modelbuild import interrupt
from modelbuild.digest import file_name, sha256
from modelbuild.engine.action import ActionResult
from modelbuild.engine.store import Damaged, Store
from modelbuild.errors import Error
from modelbuild.files import LARGEST, PARTIAL, free, read_plain
from modelbuild.ollama.go_json import parse_object
from modelbuild.ollama.library import named_blobs
from modelbuild.ollama.manifest import Layer, Manifest
from modelbuild.ollama.name import Name
from modelbuild.publish import writable
from modelbuild.publish.models_folder import ModelsFolder
from modelbuild.publish.written import Owner
from modelbuild.registry.download import Download, Hear
from modelbuild.registry.partial import Blob, Partial, clear_old
from modelbuild.registry.repository import DIGEST, Repository
from modelbuild.registry.transport import Transport
from modelbuild.tuples import NamedTuple
from modelbuild.words import shown, size

PULLED = Owner("pulled from a registry")
"""Who wrote the names of pulled models: no project, so that none calls them stale."""

BATCH = 32
"""Blobs that are open at once: models of safetensors have a blob for each tensor."""

LARGEST_BLOB = 1 << 44

LAYERS = "application/vnd.ollama.image."
"""Begins the types of the layers of Ollama's models."""

OTHERS = ("application/vnd.docker.ai.", "application/vnd.cncf.model.")
"""Begin the types of the layers of other runners' models."""

TRIES = 3
"""Of a pull whose blobs somebody keeps removing from the cache."""


class Pulled(NamedTuple):
    """What a pull did.

    digest    of the manifest
    size      bytes of all that it names
    received  bytes that came over the network
    changed   whether the models folder did not have it so before
    taken     the file of a project that built the name before, if its model was replaced
    """

    name: Name
    digest: str
    size: int
    received: int
    changed: bool
    taken: str | None


def ignore(event: dict[str, Any]) -> None:
    """Hear nothing."""


def pull(
    name: Name, root: str, store: Store, transport: Transport, *, hear: Hear = ignore, digest: str | None = None
) -> Pulled:
    """Have a model of a registry in the models folder `root`, under its name. Raises Error and Stopped.

    digest  of the manifest to pull, in place of the one that the tag names now

    Events: `manifest` (digest, size), `checking` (files, bytes), `present` (blobs, bytes), `download` (done, total: bytes),
    `progress` (done, total) from any thread. What was downloaded before an error or a death is kept beside the blobs, and a
    later pull goes on with it.
    """
    repository = Repository(transport, name)
    data = repository.manifest(digest or name.tag)
    blobs = checked(data, name)
    found = ActionResult(sha256(data), len(data))
    total = sum(blob.size for blob in blobs)
    hear({"event": "manifest", "digest": found.artifact, "size": total})
    models = ModelsFolder(root, store, PULLED)
    models.check_writable()
    models.check_apart()
    writable.check_name(models.library, name.path())
    pulling = _Pull(models, store, repository, hear)
    try:
        # Ctrl-C is heard when nothing is half done.
        with interrupt.deferred(transport.stop):
            changed = pulling.run(name.path(), data, blobs)
    except OSError as error:
        raise writable.refused(root, error) from error
    finally:
        with interrupt.put_off():
            models.tidy()
    return Pulled(name, found.artifact, total, pulling.received, changed, models.taken.get(name.path()))


class _Pull:
    """One pull: what it needs at every turn, and the bytes that it has received."""

    def __init__(self, models: ModelsFolder, store: Store, repository: Repository, hear: Hear) -> None:
        self._models = models
        self._store = store
        self._repository = repository
        self._hear = hear
        self.received = 0

    def run(self, name: str, data: bytes, blobs: Sequence[ActionResult]) -> bool:
        """Download and install; again where somebody cleared the cache meanwhile. Returns whether anything changed."""
        for _ in range(TRIES):
            with contextlib.suppress(Damaged), contextlib.ExitStack() as locks:
                self.download(blobs, locks)
                return self.install(name, data, blobs)
        raise Error("downloaded blobs keep disappearing", path=self._models.root, hint="pull again")

    def download(self, blobs: Sequence[ActionResult], locks: contextlib.ExitStack) -> None:
        """Have each blob in the models folder or at hand for it. Raises Error, OSError and Stopped.

        locks  keeps those who wait for the same blobs waiting until it ends: to another cache they are not at hand before they are
               installed. Of more blobs than may be open at once they wait only for the download.
        """
        missing = self._missing(blobs)
        landing = self._models.landing()
        clear_old(landing)
        if not missing:
            return
        total = sum(blob.size for blob in missing)
        done = sum(min(_allocated(_partial(landing, blob)), blob.size) for blob in missing)
        self._check_space(landing, total - done)
        self._hear({"event": "download", "done": done, "total": total})
        before = 0
        # Of one order for all: two pulls that wait for each other's blobs never do so in a circle.
        ordered = sorted(missing)
        for at in range(0, len(ordered), BATCH):
            batch = ordered[at : at + BATCH]
            with contextlib.ExitStack() as own:
                self._download(landing, batch, before, total, locks if len(ordered) <= BATCH else own)
            before += sum(blob.size for blob in batch)

    def _download(
        self, landing: str, blobs: Sequence[ActionResult], before: int, total: int, locks: contextlib.ExitStack
    ) -> None:
        def hear(event: dict[str, Any]) -> None:
            self._hear({**event, "done": before + passed + event["done"], "total": total})

        waiting = self._store.database.waiting
        partials = [locks.enter_context(Partial(landing, Blob(*blob), waiting)) for blob in blobs]
        # Whoever had the lock before may have finished the download.
        wanted = [each for each in partials if not self._at_hand(ActionResult(*each.blob))]
        passed = sum(each.blob.size for each in partials if each not in wanted)
        # Small ones first: a few seconds show that all is well.
        wanted.sort(key=lambda each: each.blob.size)
        if wanted:
            download = Download(self._repository, wanted, hear)
            try:
                download.run()
            finally:
                self.received += download.received
        for each in wanted:
            self._store.adopt(each.path, each.blob.digest, landing)
        for each in partials:
            each.discard()

    def _missing(self, blobs: Sequence[ActionResult]) -> list[ActionResult]:
        if unchecked := self._models.unchecked(blobs):
            bytes_ = sum(blob.size for blob in unchecked)
            self._hear({"event": "checking", "files": len(unchecked), "bytes": bytes_})
        missing = [blob for blob in blobs if not self._at_hand(blob)]
        present = set(blobs).difference(missing)
        bytes_ = sum(blob.size for blob in present)
        self._hear({"event": "present", "blobs": len(present), "bytes": bytes_})
        return missing

    def _at_hand(self, blob: ActionResult) -> bool:
        return self._models.has(blob) or self._store.has(blob)

    def _check_space(self, landing: str, needed: int) -> None:
        left = free(landing)
        if left is not None and needed > left:
            raise Error(
                f"no space for the download: it needs {size(needed)}, and {size(left)} are free",
                path=landing,
                hint="free some space, or name another folder with --models",
            )

    def install(self, name: str, data: bytes, blobs: Sequence[ActionResult]) -> bool:
        """Put the blobs and the manifest; remove what only the replaced manifest named. Returns whether anything changed.

        Raises Error and Damaged.
        """
        replaced: set[str] = set()
        with contextlib.suppress(OSError, ValueError):
            former, _ = read_plain(self._models.library.manifest_path(name), LARGEST)
            if former == data and all(map(self._models.has, blobs)):
                # Whoever built it: it stays theirs.
                return False
            replaced = named_blobs(former)
        changed = self._models.publish(name, self._store.put(data), blobs)
        # It may name a blob by what is no digest.
        gone = {blob for blob in replaced if DIGEST.fullmatch(blob)} - {blob.artifact for blob in blobs}
        with contextlib.suppress(OSError, Error):
            self._models.release(gone)
        return changed


def _partial(landing: str, blob: ActionResult) -> str:
    return os.path.join(landing, PARTIAL + file_name(blob.artifact))


def _allocated(path: str) -> int:
    """Bytes that a file takes on the disk, which are fewer than its size where it has holes."""
    try:
        return os.stat(path, follow_symlinks=False).st_blocks * 512
    except OSError:
        return 0


def checked(data: bytes, name: Name) -> list[ActionResult]:
    """The blobs that a pulled manifest names, each once. Raises Error for what is no manifest of a model, or not ours to trust."""
    subject = f"'{name.namespace}/{name.model}:{name.tag}'"
    hint = "check the name, or ask its owner to push it again"
    try:
        value = parse_object(data, "manifest", None)
        if "manifests" in value:
            raise Error("an index of several manifests, expected one manifest")
        manifest = Manifest.parse(data)
        layers = [manifest.config, *manifest.layers]
        written = [value["config"], *(value.get("layers") or [])]
        for layer, spelled in zip(layers, written, strict=True):
            _check_layer(layer, spelled["digest"])
        types = [layer.media_type for layer in manifest.layers]
        if types and not any(each.startswith(LAYERS) for each in types):
            hint = _FOR_OTHERS if types[0].startswith(OTHERS) else hint
            raise Error(f"its layers are of the type '{shown(types[0])}'")
        sizes = {layer.digest: layer.size for layer in layers}
        if any(sizes[layer.digest] != layer.size for layer in layers):
            raise Error("it gives one blob two sizes")
    except Error as error:
        what = f"{subject} on '{name.host}' is not a model for Ollama: {error.what}"
        raise Error(what, facts=error.facts, hint=hint) from None
    return [ActionResult(digest, size) for digest, size in sizes.items()]


_FOR_OTHERS = "it was pushed for another runner, as with `push --as`; push it without --as to pull it"


def _check_layer(layer: Layer, spelled: str) -> None:
    # Ollama looks a blob up by the digest as it is written.
    if not DIGEST.fullmatch(spelled):
        raise Error(f"expected digests as 'sha256:' and 64 lower-case digits, got '{shown(spelled)}'")
    if layer.size > LARGEST_BLOB:
        raise Error(f"a blob of {layer.size:,} bytes is too large")

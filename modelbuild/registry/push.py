"""Push a model to a name: what the repository lacks of its blobs, and then exactly the bytes of its manifest.

Source: the OCI distribution specification 1.1, "Push"; Ollama's server/images.go, PushModel.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from modelbuild import interrupt
from modelbuild.digest import sha256
from modelbuild.errors import Error, Stopped
from modelbuild.ollama.library import Library
from modelbuild.ollama.manifest import MANIFEST, Layer, Manifest
from modelbuild.ollama.name import Name
from modelbuild.registry.faults import Unreachable
from modelbuild.registry.local_blob import Blob, LocalBlob
from modelbuild.registry.origin import Origin
from modelbuild.registry.refusals import refusal
from modelbuild.registry.repository import ACCEPT, Repository
from modelbuild.registry.transport import Answer, Transport
from modelbuild.registry.upload import Upload, denied
from modelbuild.tuples import NamedTuple

CONNECTIONS = 4
"""Blobs that are looked for, or sent, at once."""

LEAVE = 2.0
"""Seconds that uploads get to end once another one has failed."""

Hear = Callable[[dict[str, Any]], None]
"""Told events: `progress` (done, total: bytes) and `blob` (digest, size, state) from any thread."""


class Pushed(NamedTuple):
    """What a push did.

    manifest  its digest
    changed   whether the name stands for another model than before
    uploaded  bytes of the blobs that were sent
    mounted   blobs that the registry took from another repository of its own
    """

    manifest: str
    changed: bool
    uploaded: int = 0
    mounted: int = 0


class Remembered(Protocol):
    """What earlier commands knew of registries. It may be wrong by now."""

    def find(self, origin: Origin, digest: str) -> str | None:
        """The repository, `namespace/model`, that had a blob."""

    def note(self, origin: Origin, repository: str, digests: Iterable[str]) -> None:
        """A repository has some blobs."""

    def forget(self, origin: Origin, repository: str, digest: str) -> None:
        """A repository has a blob no more."""


class Pusher:
    """Pushes models of a models folder. One for all that a command does, since it knows what it has sent where."""

    def __init__(
        self, transport: Transport, library: Library, hear: Hear, remembered: Remembered | None = None
    ) -> None:
        self.transport = transport
        self._remembered = remembered
        self._library = library
        self._hear = hear
        self._held: dict[tuple[Origin, str], list[str]] = {}
        self._named: Sequence[tuple[Name, frozenset[str]]] | None = None
        self._mutex = threading.Lock()

    def push(self, data: bytes, name: Name, made: Mapping[str, Blob] | None = None) -> Pushed:
        """Push a manifest, byte for byte, and its blobs: those that were `made` for it, by digest, and files of the models folder.

        Raises Error, Unreachable and Stopped; then the name stands for what it did before.
        """
        manifest, digest = Manifest.parse(data), sha256(data)
        # Before any request: a model that is not whole here must not be begun there.
        blobs = self._blobs(manifest, made or {})
        repository = Repository(self.transport, name, "pull,push")
        if self._stands(repository, name.tag, digest):
            self._note(repository, blobs)
            return Pushed(digest, changed=False)
        sources = {layer.digest: layer.from_ for layer in manifest.layers}
        transfer = Transfer(
            repository, blobs, self._hear, lambda digest: self._source(repository, digest, sources), self._not_there
        )
        transfer.run([digest for digest in blobs if repository.path not in self._known(repository, digest)])
        self._note(repository, blobs)
        self._put(repository, name.tag, data)
        return Pushed(digest, True, transfer.uploaded, transfer.mounted)

    def serves_by_itself(self, data: bytes, name: Name) -> bool:
        """Whether a registry answers for the blobs of a manifest itself, without sending us to a storage: Ollama cannot pull such a blob.

        (server/download.go: the answer must have a Location.)
        """
        repository = Repository(self.transport, name, "pull,push")
        url = f"{repository.url}/blobs/{Manifest.parse(data).config.digest}"
        with self.transport.request("GET", url, scope=repository.scope) as answer:
            return answer.status == 200 and answer.url == url and "Location" not in answer.headers

    def _blobs(self, manifest: Manifest, made: Mapping[str, Blob]) -> Mapping[str, Blob]:
        """Each blob once, the largest first. Raises Error where one is not there, or has another size."""
        layers: dict[str, Layer] = {}
        for layer in (manifest.config, *manifest.layers):
            if layers.setdefault(layer.digest, layer).size != layer.size:
                raise Error(
                    "the manifest gives one blob two sizes",
                    facts=[("blob", layer.digest)],
                    hint="build or pull it again",
                )
        ordered = sorted(layers.values(), key=lambda layer: -layer.size)
        return {
            each.digest: made.get(each.digest)
            or LocalBlob(self._library.blob_path(each.digest), each.digest, each.size)
            for each in ordered
        }

    # What is where

    def _known(self, repository: Repository, digest: str) -> list[str]:
        """The repositories of a registry that are known to have a blob."""
        return self._held.setdefault((repository.origin, digest), [])

    def _note(self, repository: Repository, digests: Iterable[str]) -> None:
        for digest in digests:
            if repository.path not in (known := self._known(repository, digest)):
                known.append(repository.path)
        if self._remembered is not None:
            self._remembered.note(repository.origin, repository.path, digests)

    def _not_there(self, repository: Repository, source: str, digest: str) -> None:
        """A blob was to be taken from another repository, and was not."""
        if self._remembered is not None:
            with self._mutex:
                self._remembered.forget(repository.origin, source, digest)

    def _source(self, repository: Repository, digest: str, named: Mapping[str, str | None]) -> str | None:
        """Another repository of the same registry that probably has a blob: `namespace/model`."""
        candidates = list(self._known(repository, digest))
        if self._remembered is not None and (found := self._remembered.find(repository.origin, digest)) is not None:
            candidates.append(found)
        with suppress(Error):
            candidates += self._beside(repository, [Name.parse(named.get(digest) or "")])
        candidates += self._beside(repository, [name for name, digests in self._library_names() if digest in digests])
        return next((each for each in candidates if each != repository.path), None)

    def _beside(self, repository: Repository, names: Sequence[Name]) -> Iterator[str]:
        """The repositories of those names that are of the same registry."""
        for name in names:
            with suppress(Error):
                if self.transport.origin(name.host) == repository.origin:
                    yield f"{name.namespace}/{name.model}"

    def _library_names(self) -> Sequence[tuple[Name, frozenset[str]]]:
        """The names of the models folder with the digests of their layers; looked up once."""
        with self._mutex:
            if self._named is None:
                self._named = [*self._looked_up()]
            return self._named

    def _looked_up(self) -> Iterator[tuple[Name, frozenset[str]]]:
        with suppress(Error):
            for name in self._library.names():
                if (served := self._library.served(name.path())) is not None:
                    yield name, frozenset(layer.digest for layer in served.layers)

    # The manifest

    def _stands(self, repository: Repository, tag: str, digest: str) -> bool:
        """Whether a name is known to stand for a manifest already."""
        url = f"{repository.url}/manifests/{tag}"
        with self.transport.request("HEAD", url, headers={"Accept": ACCEPT}, scope=repository.scope) as answer:
            if answer.status in (401, 403):
                raise denied(repository, answer)
            return answer.status == 200 and answer.headers.get("Docker-Content-Digest") == digest

    def _put(self, repository: Repository, tag: str, data: bytes) -> None:
        url, failures, patience = f"{repository.url}/manifests/{tag}", 0, self.transport.patience
        headers = {"Content-Type": _media_type(data)}
        while True:
            try:
                with self.transport.request("PUT", url, headers=headers, body=data, scope=repository.scope) as answer:
                    if not 200 <= answer.status < 300:
                        raise _refused(repository, tag, answer)
                    self._verify(repository, tag, data, answer.headers.get("Docker-Content-Digest"))
                    return
            except Unreachable:
                failures += 1
                if failures >= patience.tries:
                    raise
                self.transport.wait(patience.before(failures))

    def _verify(self, repository: Repository, tag: str, data: bytes, told: str | None) -> None:
        """Raise an Error where a registry has made another manifest of ours: its digest is what others pin."""
        got = told or sha256(repository.manifest(tag))
        if got != sha256(data):
            what = f"'{repository.origin}' stores another manifest than the one that was pushed"
            raise Error(
                what, facts=[("expected", sha256(data)), ("got", got[:80])], hint="this is a fault of the registry"
            )


class Transfer:
    """The blobs of one model on their way into one repository, several at once."""

    def __init__(
        self,
        repository: Repository,
        blobs: Mapping[str, Blob],
        hear: Hear,
        source: Callable[[str], str | None],
        not_there: Callable[[Repository, str, str], None],
    ) -> None:
        self.uploaded = self.mounted = 0
        self._repository = repository
        self._blobs = blobs
        self._hear = hear
        self._source = source
        self._not_there = not_there
        self._mutex = threading.Lock()
        self._stopped = threading.Event()
        self._fault: BaseException | None = None
        self._sent: dict[str, int] = {}
        self._total = 0

    def run(self, digests: Sequence[str]) -> None:
        """Return once the repository has all of them. Raises Error, Unreachable and Stopped."""
        missing: list[str] = []

        def look(digest: str) -> None:
            if not self._repository.has(digest):
                missing.append(digest)
            else:
                self._tell(digest, "exists")

        self._each(look, digests)
        missing.sort(key=digests.index)
        self._total = sum(self._blobs[digest].size for digest in missing)
        self._each(self._send, missing)

    def _send(self, digest: str) -> None:
        blob = self._blobs[digest]
        upload = Upload(
            self._repository, blob, self._repository.scope, lambda count: self._count(digest, count), self._stopped
        )
        source = self._source(digest)
        was_sent = upload.run(source)
        if was_sent and source is not None:
            self._not_there(self._repository, source, digest)
        self._count(digest, blob.size)
        with self._mutex:
            self.uploaded += blob.size if was_sent else 0
            self.mounted += 0 if was_sent else 1
        self._tell(digest, "uploaded" if was_sent else "mounted")

    def _each(self, work: Callable[[str], None], digests: Sequence[str]) -> None:
        """Do the work for each, several at once. Raises the first fault."""
        left = deque(digests)
        threads = [
            threading.Thread(target=self._work_off, args=[work, left], daemon=True)
            for _ in range(min(CONNECTIONS, len(digests)))
        ]
        try:
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                interrupt.check()
                if self._stopped.is_set():
                    break
                next(each for each in threads if each.is_alive() or each is threads[-1]).join(timeout=0.1)
        except BaseException:
            self._stopped.set()
            raise
        if self._fault is not None:
            # Their connections are left to end by themselves: nobody waits for a server that says nothing.
            end = time.monotonic() + LEAVE
            for thread in threads:
                thread.join(timeout=max(0.0, end - time.monotonic()))
            raise self._fault

    def _work_off(self, work: Callable[[str], None], left: deque[str]) -> None:
        try:
            while not self._stopped.is_set():
                with self._mutex:
                    if not left:
                        return
                    digest = left.popleft()
                work(digest)
        except BaseException as fault:
            with self._mutex:
                # What others say once they were stopped is no reason.
                if self._fault is None or isinstance(self._fault, Stopped):
                    self._fault = fault
            self._stopped.set()

    def _count(self, digest: str, sent: int) -> None:
        with self._mutex:
            self._sent[digest] = sent
            done = sum(self._sent.values())
        self._hear({"event": "progress", "done": done, "total": self._total})

    def _tell(self, digest: str, state: str) -> None:
        self._hear({"event": "blob", "digest": digest, "size": self._blobs[digest].size, "state": state})


def _media_type(data: bytes) -> str:
    """What a manifest says that it is; Ollama's own where it says nothing."""
    import json

    found = json.loads(data).get("mediaType")
    return found if isinstance(found, str) and found in ACCEPT.split(", ") else MANIFEST


def _refused(repository: Repository, tag: str, answer: Answer) -> Error:
    if answer.status in (401, 403):
        return denied(repository, answer)
    return refusal(
        answer, f"the manifest of '{repository.path}:{tag}'", "the registry has lost a blob of it: push again"
    )

"""One repository of a registry, `host/namespace/model`: its manifests by tag or digest, and its blobs.

Source: the OCI distribution specification 1.1, "Pull"; and docs/registries.md for what registries do besides.
"""

from __future__ import annotations

import contextlib
import re
import threading

from modelbuild.digest import sha256
from modelbuild.errors import Error
from modelbuild.ollama.manifest import MANIFEST
from modelbuild.ollama.name import Name
from modelbuild.registry.faults import Unreachable
from modelbuild.registry.refusals import refusal
from modelbuild.registry.transport import Answer, Transport
from modelbuild.words import shown

ACCEPT = f"{MANIFEST}, application/vnd.oci.image.manifest.v1+json"

LARGEST = 4 << 20
"""Bytes of the largest manifest: what registries have to take. Real ones have some hundred."""

DIGEST = re.compile("sha256:[0-9a-f]{64}")

_GONE = (400, 401, 403, 404, 410)
"""What a storage says when a link that it was reached by has expired."""


class Repository:
    """A repository, reached anonymously or with what the transport knows. Used by several threads at once.

    actions  what is to be done there, as in a scope: `pull`, or `pull,push`
    """

    def __init__(self, transport: Transport, name: Name, actions: str = "pull") -> None:
        self.transport = transport
        self.path = f"{name.namespace}/{name.model}"
        self.origin = transport.origin(name.host)
        self.url = f"{self.origin.url}/v2/{self.path}"
        self.scope = f"repository:{self.path}:{actions}"
        self._moved: dict[str, str] = {}
        self._mutex = threading.Lock()

    def manifest(self, reference: str) -> bytes:
        """The bytes of a manifest by its tag or digest. Raises Error where there is none, or where they are not those of the digest."""
        subject = f"'{self.path}{'@' if ':' in reference else ':'}{reference}'"
        url = f"{self.url}/manifests/{reference}"
        with self.transport.request("GET", url, headers={"Accept": ACCEPT}, scope=self.scope) as answer:
            if answer.status != 200:
                raise refusal(answer, subject)
            data = answer.body(LARGEST, "manifest")
            told = answer.headers.get("Docker-Content-Digest", "")
        got = sha256(data)
        expected = reference if DIGEST.fullmatch(reference) else told if DIGEST.fullmatch(told) else got
        if got != expected:
            facts = [("expected", expected), ("got", got)]
            raise Error(
                f"the manifest of {subject} from '{self.origin}' has another digest than it should",
                facts=facts, hint="try again; if it stays so, the registry or a proxy changes what it sends",
            )  # fmt: skip
        return data

    def has(self, digest: str) -> bool:
        """Whether the repository holds a blob. Raises Error."""
        url = f"{self.url}/blobs/{digest}"
        with self.transport.request("HEAD", url, scope=self.scope) as answer:
            if answer.status in (200, 404):
                return answer.status == 200
            raise refusal(answer, f"blob {digest}")

    def open(self, digest: str, size: int, first: int, end: int) -> tuple[Answer, int]:
        """Ask for the bytes [first, end) of a blob of `size` bytes. Returns the answer, and the offset that its body begins at.

        That is 0 where the server knows no ranges and sends all. Raises Error, also where the blob has another size.
        Where a registry sends us to a storage, what follows is asked for there, until the link expires.
        """
        headers = {} if (first, end) == (0, size) else {"Range": f"bytes={first}-{end - 1}"}
        with self._mutex:
            moved = self._moved.get(digest)
        if moved is not None:
            # Where it cannot be reached, the registry may send us to another one.
            with contextlib.suppress(Unreachable):
                answer = self.transport.request("GET", moved, headers=headers)
                if answer.status not in _GONE:
                    return answer, self._begins(answer, digest, size, first, end)
                answer.close()
            self._forget(digest, moved)
        url = f"{self.url}/blobs/{digest}"
        answer = self.transport.request("GET", url, headers=headers, scope=self.scope)
        if answer.url != url and answer.status in (200, 206):
            with self._mutex:
                self._moved[digest] = answer.url
        return answer, self._begins(answer, digest, size, first, end)

    def _forget(self, digest: str, moved: str) -> None:
        with self._mutex:
            if self._moved.get(digest) == moved:
                del self._moved[digest]

    def _begins(self, answer: Answer, digest: str, size: int, first: int, end: int) -> int:
        try:
            return begins(answer, digest, size, first, end)
        except BaseException:
            answer.close()
            raise


def begins(answer: Answer, digest: str, size: int, first: int, end: int) -> int:
    """The offset at which the body of an answer begins, which was to be the bytes [first, end) of a blob. Raises Error."""
    if answer.is_compressed:
        what = f"'{answer.origin}' sends blobs compressed, which was not asked for"
        raise Error(what, hint="this may be a proxy's doing: reach the registry without it")
    if answer.status == 200:
        if answer.length is not None and answer.length != size:
            raise _other_size(answer, digest, size, answer.length)
        return 0
    if answer.status == 206:
        told = answer.headers.get("Content-Range", "")
        found = re.fullmatch(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)", told)
        if found and found[3] not in ("*", str(size)):
            raise _other_size(answer, digest, size, int(found[3]))
        if not found or (int(found[1]), int(found[2])) != (first, end - 1):
            what = f"'{answer.origin}' answers with another range of a blob than it was asked for"
            facts = [("expected", f"bytes {first}-{end - 1}/{size}"), ("got", shown(told) or "none")]
            raise Error(what, facts=facts, hint="this is a fault of the registry")
        return first
    if answer.status == 416:
        raise _other_size(answer, digest, size, None)
    raise refusal(answer, f"blob {digest}", "the registry has lost a part of this model: its owner can push it again")


def _other_size(answer: Answer, digest: str, size: int, got: int | None) -> Error:
    facts = [("blob", digest), ("manifest", f"{size:,} bytes")]
    facts += [("got", f"{got:,} bytes")] if got is not None else []
    what = f"a blob from '{answer.origin}' has another size than the manifest says"
    return Error(
        what, facts=facts, hint="the registry or the manifest is wrong: the owner of the model can push it again"
    )

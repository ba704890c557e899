"""Which repository of a registry was last known to have a blob, from one push to the next, so that the next one need not send it."""

from __future__ import annotations

import json
from collections.abc import Iterable

from modelbuild.engine.kept import Kept
from modelbuild.registry.origin import Origin

MOST = 1000
"""Blobs of a registry that are remembered, the last ones."""


class Holdings:
    """A hint that may be wrong: a registry that has the blob there no more is sent it, and the hint is forgotten."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept

    def find(self, origin: Origin, digest: str) -> str | None:
        """The repository, `namespace/model`, that had a blob."""
        return self._read(origin).get(digest)

    def note(self, origin: Origin, repository: str, digests: Iterable[str]) -> None:
        """A repository has some blobs."""
        known = self._read(origin)
        for digest in digests:
            # Those that were met last come last, and stay longest.
            known.pop(digest, None)
            known[digest] = repository
        self._write(origin, known)

    def forget(self, origin: Origin, repository: str, digest: str) -> None:
        """It has not, or does not let us have it."""
        known = self._read(origin)
        if known.get(digest) == repository:
            del known[digest]
            self._write(origin, known)

    def _read(self, origin: Origin) -> dict[str, str]:
        data = self._kept.get(_key(origin))
        return json.loads(data) if data else {}

    def _write(self, origin: Origin, known: dict[str, str]) -> None:
        self._kept.put(_key(origin), json.dumps(dict(list(known.items())[-MOST:])).encode())


def _key(origin: Origin) -> str:
    return f"holdings:{origin.url}"

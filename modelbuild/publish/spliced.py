"""Files that are put together of bytes and of ranges of artifacts: their bytes, and their digests, which are taken once."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

from modelbuild import digest as digests
from modelbuild import interrupt, page_cache
from modelbuild.digest import canonical, sha256
from modelbuild.engine.kept import Kept
from modelbuild.engine.store import Damaged, Store
from modelbuild.shapes._finished import Copy, Finished, Spliced


def pieces(content: Spliced, store: Store) -> Iterator[bytes]:
    """The bytes of a file, in bounded pieces. Raises Damaged for an artifact that is gone, or not what its digest says."""
    with contextlib.ExitStack() as stack:
        sources: dict[str, BinaryIO] = {}
        for piece in content.pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            if piece.digest not in sources:
                sources[piece.digest] = stack.enter_context(_verified(piece.digest, store))
            file = sources[piece.digest].fileno()
            at, end = piece.offset, piece.offset + piece.length
            while at < end:
                interrupt.check()
                data = os.pread(file, min(digests.CHUNK, end - at), at)
                if not data:
                    raise Damaged(piece.digest)
                yield data
                at += len(data)
        for source in sources.values():
            page_cache.forget(source.fileno())


def _verified(artifact: str, store: Store) -> BinaryIO:
    file = store.open(artifact)
    try:
        store.verify(artifact, file)
    except BaseException:
        file.close()
        raise
    return file


def known(content: Spliced, kept: Kept) -> str | None:
    """The digest of a file; None for one that was never put together."""
    found = kept.get(_key(content))
    return found.decode() if found else None


def note(content: Spliced, kept: Kept, digest: str) -> None:
    """Keep the digest of a file."""
    kept.put(_key(content), digest.encode())


def hashed(model: Finished, kept: Kept, store: Store) -> Finished:
    """A model with the digests of the parts that its layers are split into. Raises Damaged."""

    def of(part: Copy | Spliced) -> Copy | Spliced:
        if isinstance(part, Copy):
            return part
        digest = known(part, kept)
        if digest is None:
            sha = hashlib.sha256()
            for data in pieces(part, store):
                sha.update(data)
            digest = "sha256:" + sha.hexdigest()
            note(part, kept, digest)
        return part._replace(digest=digest)

    layers = (replace(layer, parts=tuple(map(of, layer.parts))) if layer.parts else layer for layer in model.layers)
    return replace(model, layers=tuple(layers))


def _key(content: Spliced) -> str:
    parts = [sha256(each) if isinstance(each, bytes) else list(each) for each in content.pieces]
    return "spliced:" + sha256(canonical(parts))

"""A blob on its way out that is no file: bytes, and ranges of the blobs of a models folder, which are read where they lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modelbuild.registry.local_blob import PIECE, Blob, pieces_of
from modelbuild.tuples import NamedTuple


class FileRange(NamedTuple):
    """Some bytes of a file."""

    path: str
    start: int
    length: int


class JoinedBlob(Blob):
    """Bytes and ranges of files, one after the other."""

    def __init__(self, digest: str, parts: Sequence[bytes | FileRange]) -> None:
        first = next((part.path for part in parts if isinstance(part, FileRange)), None)
        super().__init__(digest, sum(map(_length, parts)), first)
        self._parts = tuple(parts)

    def pieces(self, start: int, end: int, stride: int = PIECE) -> Iterator[bytes]:
        at = 0
        for part in self._parts:
            first, last = max(start - at, 0), min(end - at, _length(part))
            at += _length(part)
            if first >= last:
                continue
            if isinstance(part, FileRange):
                yield from pieces_of(part.path, part.start + first, part.start + last, stride)
            else:
                for place in range(first, last, stride):
                    yield part[place : min(place + stride, last)]


def _length(part: bytes | FileRange) -> int:
    return part.length if isinstance(part, FileRange) else len(part)

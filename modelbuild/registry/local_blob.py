"""A blob of a models folder on its way out: read in pieces, and hashed while it is sent."""

from __future__ import annotations

import hashlib
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator

from modelbuild.errors import Error, Stopped
from modelbuild.files import open_plain, reason

PIECE = 256 << 10
"""Bytes that are read and sent at once."""

STRIDE = 1 << 20
"""Bytes that are hashed at once."""


class Blob(ABC):
    """Bytes of this machine that should have a digest. Their number is known when it is made, they are checked by `check`."""

    def __init__(self, digest: str, size: int, path: str | None = None) -> None:
        self.digest = digest
        self.size = size
        self.path = path

    @abstractmethod
    def pieces(self, start: int, end: int, stride: int = PIECE) -> Iterator[bytes]:
        """The bytes [start, end), at most `stride` at once. Raises Error where they cannot be read, or end early."""

    def read(self) -> bytes:
        """All its bytes, checked. Raises Error."""
        data = b"".join(self.pieces(0, self.size))
        self._compare(hashlib.sha256(data).hexdigest())
        return data

    def check(self, stopped: threading.Event) -> None:
        """Hash all bytes, in bounded memory. Raises Error where they are not what the digest says, and Stopped."""
        state = hashlib.sha256()
        for data in self.pieces(0, self.size, STRIDE):
            if stopped.is_set():
                raise Stopped
            state.update(data)
        self._compare(state.hexdigest())

    def _compare(self, got: str) -> None:
        if f"sha256:{got}" != self.digest:
            facts = [("expected", self.digest), ("got", f"sha256:{got}")]
            what = "this blob is damaged: its bytes are not those of its name"
            raise Error(what, path=self.path, facts=facts, hint=_REMEDY)


class LocalBlob(Blob):
    """A file of a models folder that should have the bytes of a digest. Its size is checked when it is made."""

    def __init__(self, path: str, digest: str, size: int) -> None:
        super().__init__(digest, size, path)
        found = size_of(path)
        if found != size:
            facts = [("manifest", f"{size:,} bytes"), ("file", f"{found:,} bytes")]
            what = "this blob has the wrong size: the manifest names another"
            raise Error(what, path=path, facts=facts, hint=_REMEDY)

    def pieces(self, start: int, end: int, stride: int = PIECE) -> Iterator[bytes]:
        assert self.path is not None
        return pieces_of(self.path, start, end, stride)


def size_of(path: str) -> int:
    """Bytes of a blob. Raises Error where it cannot be opened."""
    try:
        with open_plain(path) as file:
            return os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        raise Error("this blob is missing", path=path, hint="build or pull the model again") from None
    except OSError as error:
        raise _unreadable(path, error) from None


def pieces_of(path: str, start: int, end: int, stride: int) -> Iterator[bytes]:
    """The bytes [start, end) of a file. Raises Error where it has become shorter."""
    try:
        with open_plain(path) as file:
            file.seek(start)
            while start < end:
                if not (data := file.read(min(stride, end - start))):
                    raise Error("this blob became shorter while it was sent", path=path, hint=_REMEDY)
                start += len(data)
                yield data
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: str, error: OSError) -> Error:
    return Error(f"this blob cannot be read: {reason(error)}", path=path, hint="make it readable for your user")


_REMEDY = "`modelbuild --force` builds the model again; one that was pulled can be pulled again"

"""A blob of a models folder on its way out: read in pieces, and hashed while it is sent."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator

from modelbuild.errors import Error, Stopped
from modelbuild.files import open_plain, reason

PIECE = 256 << 10
"""Bytes that are read and sent at once."""

STRIDE = 1 << 20
"""Bytes that are hashed at once."""


class LocalBlob:
    """A file that should have the bytes of a digest. Its size is checked when it is made, its bytes by `check`."""

    def __init__(self, path: str, digest: str, size: int) -> None:
        self.path = path
        self.digest = digest
        self.size = size
        try:
            with open_plain(path) as file:
                found = os.fstat(file.fileno()).st_size
        except FileNotFoundError:
            raise Error("this blob is missing", path=path, hint="build or pull the model again") from None
        except OSError as error:
            raise self._unreadable(error) from None
        if found != size:
            facts = [("manifest", f"{size:,} bytes"), ("file", f"{found:,} bytes")]
            raise Error(
                "this blob has the wrong size: the manifest names another", path=path, facts=facts, hint=_REMEDY
            )

    def read(self) -> bytes:
        """All its bytes, checked. Raises Error."""
        data = b"".join(self.pieces(0, self.size))
        self._compare(hashlib.sha256(data).hexdigest())
        return data

    def pieces(self, start: int, end: int) -> Iterator[bytes]:
        """The bytes [start, end). Raises Error where the file has become shorter."""
        try:
            with open_plain(self.path) as file:
                file.seek(start)
                while start < end:
                    if not (data := file.read(min(PIECE, end - start))):
                        raise Error("this blob became shorter while it was sent", path=self.path, hint=_REMEDY)
                    start += len(data)
                    yield data
        except OSError as error:
            raise self._unreadable(error) from None

    def check(self, stopped: threading.Event) -> None:
        """Hash the whole file, in bounded memory. Raises Error where it is not what its name says, and Stopped."""
        state = hashlib.sha256()
        try:
            with open_plain(self.path) as file:
                while data := file.read(STRIDE):
                    if stopped.is_set():
                        raise Stopped
                    state.update(data)
        except OSError as error:
            raise self._unreadable(error) from None
        self._compare(state.hexdigest())

    def _compare(self, got: str) -> None:
        if f"sha256:{got}" != self.digest:
            facts = [("expected", self.digest), ("got", f"sha256:{got}")]
            raise Error(
                "this blob is damaged: its bytes are not those of its name", path=self.path, facts=facts, hint=_REMEDY
            )

    def _unreadable(self, error: OSError) -> Error:
        return Error(
            f"this blob cannot be read: {reason(error)}", path=self.path, hint="make it readable for your user"
        )


_REMEDY = "`modelbuild --force` builds the model again; one that was pulled can be pulled again"

"""A folder that several machines see, such as a network share: `ac/` and `cas/`, each file named by its sha256.

This is the layout of Bazel's caches over HTTP, so that a web server can serve the same folder to those who cannot mount it.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from modelbuild.errors import Error, Stopped
from modelbuild.files import DAY, TEMPORARY, free, make_folder, open_plain, reason
from modelbuild.interrupt import Stop
from modelbuild.remotes import CHUNK, Missing, Pieces, checked_name
from modelbuild.words import shown

SCHEMES = ("file",)

ABANDONED = DAY
"""Seconds after which a file that nobody finished is removed. Locks tell nothing of the machines that share a folder."""


def connect(url: str) -> Folder:
    """The folder of a URL `file:///path`. Whether it is there is seen when it is asked."""
    parts = urlsplit(url)
    path = unquote(parts.path)
    if (
        parts.netloc not in ("", "localhost")
        or not os.path.normpath(path).strip("/")
        or not path.startswith("/")
        or parts.query
        or parts.fragment
        or "\0" in path
    ):
        hint = "write the absolute path of a folder: file:///mnt/share/modelbuild"
        # A user, a password or a query is not shown.
        told = f"file://{parts.netloc.rpartition('@')[2]}{parts.path}"
        raise Error(f"'{shown(told)}' is not the URL of a folder", hint=hint)
    return Folder(os.path.normpath(path))


class Folder:
    """The remote in a folder."""

    def __init__(self, root: str) -> None:
        self.name = root
        self._root = root
        self._stop = Stop()
        self._swept: set[str] = set()

    def size(self, kind: str, digest: str) -> int | None:
        self._check()
        try:
            info = os.stat(self._path(kind, digest))
        except FileNotFoundError:
            self._reach()
            return None
        except OSError as error:
            raise self._fault(error) from None
        return info.st_size if stat.S_ISREG(info.st_mode) else None

    def get(self, kind: str, digest: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        try:
            with open_plain(self._path(kind, digest), buffering=0) as file:
                if start:
                    file.seek(start)
                left = length
                while left is None or left > 0:
                    self._check()
                    data = file.read(CHUNK if left is None else min(CHUNK, left))
                    if not data:
                        return
                    left = None if left is None else left - len(data)
                    yield data
        except FileNotFoundError:
            self._reach()
            raise Missing from None
        except OSError as error:
            raise self._fault(error) from None

    def put(self, kind: str, digest: str, size: int, pieces: Pieces) -> None:
        path = self._path(kind, digest)
        folder = os.path.dirname(path)
        new = os.path.join(folder, TEMPORARY + os.urandom(8).hex())
        try:
            os.stat(self._root)  # made by whoever shares it: below a share that is not mounted, nobody would find it
            make_folder(folder)
            self._sweep(folder)
            try:
                with open(new, "xb", buffering=0) as file:
                    for piece in pieces():
                        self._check()
                        view = memoryview(piece)
                        while view:
                            view = view[file.write(view) :]
                os.replace(new, path)
            finally:
                with contextlib.suppress(OSError):
                    os.unlink(new)
        except OSError as error:
            raise self._fault(error) from None

    def stop(self) -> None:
        self._stop.set()

    def close(self) -> None:
        """A folder has no connections."""

    def _path(self, kind: str, digest: str) -> str:
        return os.path.join(self._root, checked_name(kind, digest))

    def _check(self) -> None:
        if self._stop.is_set:
            raise Stopped

    def _reach(self) -> None:
        """Raise an Error if the folder cannot be looked into: a share that is not mounted is not an empty one."""
        try:
            os.stat(self._root)
        except OSError as error:
            raise self._fault(error) from None

    def _sweep(self, folder: str) -> None:
        """Remove what killed builds left, once."""
        if folder in self._swept:
            return
        self._swept.add(folder)
        with contextlib.suppress(OSError), os.scandir(folder) as scan:
            now = os.stat(folder).st_mtime  # by the clock of the machine that has the disk
            for entry in scan:
                if entry.name.startswith(TEMPORARY) and now - entry.stat(follow_symlinks=False).st_mtime > ABANDONED:
                    os.unlink(entry.path)

    def _fault(self, error: OSError) -> Error:
        left = free(self._root)
        facts = [("free", f"{left:,} bytes")] if left is not None and left < CHUNK else []
        hint = "make the folder, or mount what it lies on" if isinstance(error, FileNotFoundError) else None
        return Error(f"the remote cache cannot be used: {reason(error)}", path=self._root, facts=facts, hint=hint)

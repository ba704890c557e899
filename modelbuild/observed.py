"""The file system and the environment as planning sees them: every look is written down, so that a kept plan can be checked."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, BinaryIO, Literal

from modelbuild.digest import xxh3
from modelbuild.errors import Error
from modelbuild.files import open_plain, signature

if TYPE_CHECKING:
    from modelbuild.misspelled import Wanted

LIMIT = 64 << 20
"""Bytes of a file that is read whole; the largest real ones, the index of a checkpoint, have some 23 million."""

Kind = Literal["file", "folder"]
Look = tuple[str, str, str]
"""(verb, path or variable, what was seen); of a look that failed, '!' and the number of the system's error"""


def kind(path: str) -> Kind | None:
    """What stands at `path`, links followed; None for nothing and for anything that is neither file nor folder."""
    if os.path.isdir(path):
        return "folder"
    return "file" if os.path.isfile(path) else None


Listing = tuple[tuple[str, Kind, bool], ...]
"""(name, kind, is a link) of each entry of a folder"""


def entries(path: str) -> Listing:
    """(name, kind, is a link) of a folder's files and folders, by name; what is neither (a dangling link too) is left out."""
    found: list[tuple[str, Kind, bool]] = []
    with os.scandir(path) as scan:
        for entry in scan:
            link = entry.is_symlink()
            try:
                if entry.is_dir():
                    found.append((entry.name, "folder", link))
                elif entry.is_file():
                    found.append((entry.name, "file", link))
            except OSError:
                continue
    return tuple(sorted(found))


class Observed:
    """Looks at files for the planner. Paths are absolute; OSError comes through as it is.

    ours  folders that builds write: nothing of a project is looked for in them
    """

    def __init__(self, ours: Iterable[str] = ()) -> None:
        self.ours = frozenset(ours)
        self._looks: dict[tuple[str, str], str] = {}

    def read(self, path: str) -> bytes:
        """The bytes of a small text file."""
        try:
            with _opened(path) as file:
                data = file.read()
        except OSError as error:
            self._looks["read", path] = _failed(error)
            raise
        self._looks["read", path] = xxh3(data)
        return data

    def kind(self, path: str) -> Kind | None:
        """What stands at a path; see `kind`."""
        seen = kind(path)
        self._looks["kind", path] = seen or ""
        return seen

    def entries(self, path: str) -> Listing:
        """What a folder holds; see `entries`."""
        try:
            seen = entries(path)
        except OSError as error:
            self._looks["entries", path] = _failed(error)
            raise
        self._looks["entries", path] = _listing(seen)
        return seen

    def stat(self, path: str) -> str:
        """Note a file whose head the planner reads itself: the same stat stands for the same head."""
        try:
            seen = signature(os.stat(path))
        except OSError as error:
            self._looks["stat", path] = _failed(error)
            raise
        self._looks["stat", path] = seen
        return seen

    def env(self, name: str) -> str | None:
        """A variable of the environment, None where it is not set."""
        seen = os.environ.get(name)
        self._looks["env", name] = "" if seen is None else "=" + seen
        return seen

    def meant(self, text: str, folder: str, wanted: Wanted | None = None) -> str | None:
        """The path that a misspelled one was meant for; `wanted` is a file unless said otherwise.

        Of the looks that this takes only that at what was found is written down: an error must not be told anew whenever
        anything near it changes.
        """
        from modelbuild import misspelled

        near = misspelled.path(text, folder, wanted or misspelled.FILE)
        if near is not None:
            self.kind(os.path.abspath(os.path.join(folder, os.path.expanduser(near))))
        return near

    def looks(self) -> list[Look]:
        """Every look so far, the last one at each thing."""
        return [(verb, subject, seen) for (verb, subject), seen in self._looks.items()]


def unchanged(looks: Iterable[Look], file_digest: Callable[[str], str]) -> bool:
    """Whether every look would see the same again; `file_digest` answers for files read (from a stat cache)."""
    for verb, subject, seen in looks:
        try:
            if verb == "read":
                now = _unread(subject) if seen.startswith("!") else file_digest(subject)
            elif verb == "kind":
                now = kind(subject) or ""
            elif verb == "stat":
                now = signature(os.stat(subject))
            elif verb == "entries":
                now = _listing(entries(subject))
            else:
                value = os.environ.get(subject)
                now = "" if value is None else "=" + value
        except OSError as error:
            now = _failed(error)
        except Error:
            return False
        if now != seen:
            return False
    return True


def _opened(path: str) -> BinaryIO:
    """A text file that is small enough to be read whole. Raises OSError."""
    file = open_plain(path)
    if os.fstat(file.fileno()).st_size > LIMIT:
        file.close()
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
    return file


def _unread(path: str) -> str:
    """How a read that failed would fail again; "" where it would not."""
    try:
        _opened(path).close()
    except OSError as error:
        return _failed(error)
    return ""


def _failed(error: OSError) -> str:
    return f"!{error.errno}"


def _listing(found: Listing) -> str:
    return xxh3("\0".join(f"{name}\0{what}\0{link}" for name, what, link in found).encode("utf-8", "surrogateescape"))

"""Files that root makes in another user's folder belong to that user, and are as readable as the rest of the folder."""

from __future__ import annotations

import contextlib
import os

from modelbuild.tuples import NamedTuple

FOLDER_BITS = 0o2775
"""The bits of its parent's mode that a new folder gets."""


class Owner(NamedTuple):
    """A user and a group, by number."""

    user: int
    group: int


def heir(folder: str) -> Owner | None:
    """The owner of a new file in a folder; None for the user who makes it, as always without root."""
    if os.geteuid() != 0:
        return None
    try:
        info = os.stat(folder)
    except OSError:
        return None
    return Owner(info.st_uid, info.st_gid) if info.st_uid != 0 else None


def may_link(source: os.stat_result, folder: str) -> bool:
    """Whether a file can have a name in a folder as well: one of root's would stay root's there, or be given away."""
    owner = heir(folder)
    return owner is None or source.st_uid == owner.user


def stray_link(path: str, folder: str) -> str | None:
    """The link, at a path or above it within somebody else's folder, that root must not follow; None if there is none.

    They may have made it to have root write where they cannot: it has to lead to what is theirs, or be root's own.
    """
    owner = heir(folder)
    while owner is not None and len(path) > len(folder):
        with contextlib.suppress(OSError):
            if os.path.islink(path) and os.lstat(path).st_uid != 0 and os.stat(path).st_uid != owner.user:
                return path
        path = os.path.dirname(path)
    return None


def hand_over(descriptor: int, folder: str) -> None:
    """Give a new file to whoever the folder that it lies in belongs to. Some file systems know no owners."""
    if (owner := heir(folder)) is not None:
        with contextlib.suppress(OSError):
            os.fchown(descriptor, *owner)


def make_folders(path: str) -> None:
    """Make a folder and those above it, as `os.makedirs` does; those in somebody else's folder are theirs. Raises OSError."""
    above, name = os.path.split(path)
    if os.geteuid() != 0 or os.path.isdir(path) or not name:
        os.makedirs(path, exist_ok=True)
        return
    if above:
        make_folders(above)
    if heir(above) is None:
        os.makedirs(path, exist_ok=True)
    else:
        _make_theirs(above, name)


def _make_theirs(above: str, name: str) -> None:
    # By descriptors: whoever owns the folder may put a link in the way at any moment.
    folder = os.open(above, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        around = os.fstat(folder)
        os.mkdir(name, dir_fd=folder)
        made = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            with contextlib.suppress(OSError):
                os.fchmod(made, around.st_mode & FOLDER_BITS)
                os.fchown(made, around.st_uid, around.st_gid)
        finally:
            os.close(made)
    except FileExistsError:
        if not os.path.isdir(os.path.join(above, name)):
            raise
    finally:
        os.close(folder)

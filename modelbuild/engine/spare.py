"""Spare artifacts: layers in a folder of their own beside a models folder, which no model names any more.

They are the cache's, though it lies on another file system: without them a revert would compute their tensors again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator

from modelbuild.engine.store import ARTIFACT

FOLDER = "spare"
"""The folder of spare artifacts in a folder for temporary files."""


def files(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    """The spare artifacts below a folder for temporary files, and their stats. Never raises."""
    with contextlib.suppress(OSError), os.scandir(os.path.join(folder, FOLDER)) as scan:
        for entry in scan:
            with contextlib.suppress(OSError):
                if ARTIFACT.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    yield entry.path, entry.stat(follow_symlinks=False)


def held(folders: Iterable[str]) -> int:
    """Bytes that spare artifacts take, which a build can have: it uses them, or removes them."""
    return sum(512 * info.st_blocks for folder in folders for _, info in files(folder))


def remove(path: str) -> None:
    """Remove a spare artifact, and the folders that are empty without it. Never raises."""
    with contextlib.suppress(OSError):
        os.unlink(path)
        os.rmdir(os.path.dirname(path))
        os.rmdir(os.path.dirname(os.path.dirname(path)))


def clear(folder: str, size: int) -> None:
    """Remove spare artifacts until `size` bytes are freed, those first that have lain there longest. Never raises."""
    for path, info in sorted(files(folder), key=lambda each: each[1].st_ctime):
        if size <= 0:
            break
        with contextlib.suppress(OSError):
            os.unlink(path)
            size -= 512 * info.st_blocks

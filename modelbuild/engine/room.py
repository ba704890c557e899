"""Room on a disk that is so full that the database of the cache cannot be used."""

from __future__ import annotations

import contextlib
import os
import stat

from modelbuild import digest as digests
from modelbuild.engine.database import at_rest
from modelbuild.engine.notes import Note
from modelbuild.engine.store import ARTIFACT, KNOWN
from modelbuild.files import LARGEST, UNFINISHED, clear_temporaries, read_plain


def make_room(root: str) -> tuple[int, int]:
    """Remove the artifacts that are known without changing anything, for a disk so full that the database cannot be used.

    Returns how many artifacts those were, and their bytes.
    """
    blobs, notes = os.path.join(root, "blobs"), os.path.join(root, "notes")
    with contextlib.suppress(OSError):
        clear_temporaries(blobs, UNFINISHED)
        clear_temporaries(blobs)
    known = {digests.file_name(artifact) for (artifact,) in at_rest(root, KNOWN) if isinstance(artifact, str)}
    count = freed = 0
    for name in os.listdir(blobs) if os.path.isdir(blobs) else ():
        path, beside = os.path.join(blobs, name), os.path.join(notes, name)
        with contextlib.suppress(OSError):
            if not ARTIFACT.fullmatch(name) or not (name in known or _is_noted(beside, name)):
                continue
            info = os.lstat(path)
            if stat.S_ISREG(info.st_mode):
                os.unlink(path)
                count, freed = count + 1, freed + (info.st_size if info.st_nlink == 1 else 0)
                os.unlink(beside)
    return count, freed


def _is_noted(path: str, name: str) -> bool:
    note = Note.decode(read_plain(path, LARGEST)[0])
    return note is not None and digests.file_name(note.result.artifact) == name

"""Pointers that Git LFS leaves in a checkout where it has not fetched the files."""

from __future__ import annotations

import os

HEAD = b"version https://git-lfs"
"""Begins every pointer: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md"""

LONGEST = 1023
"""Bytes of the longest pointer, by that specification."""


def pointed(path: str) -> str | None:
    """The `sha256:…` of the file that a pointer stands for; None for what is no pointer, or not there."""
    try:
        if not 0 < os.stat(path).st_size <= LONGEST:
            return None
        with open(path, "rb", buffering=0) as file:
            data = file.read(LONGEST)
    except OSError:
        return None
    if data.startswith(HEAD):
        for line in data.splitlines():
            if line.startswith(b"oid sha256:"):
                return line[4:].decode("ascii", "replace")
    return None


def is_here(path: str) -> bool:
    """Whether a file is there, and not only a pointer to it."""
    return os.path.exists(path) and pointed(path) is None

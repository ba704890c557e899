"""File systems that do not report every change."""

from __future__ import annotations

import os
from collections.abc import Iterable

SILENT = {
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "coda",
    "drvfs",
    "fuse",
    "glusterfs",
    "gpfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "orangefs",
    "prl_fs",
    "smb3",
    "smbfs",
    "vboxsf",
    "virtiofs",
    "vmhgfs",
}
"""File systems that somebody else may write to without an event here; those named `fuse.…` as well."""


def silent(folders: Iterable[str]) -> tuple[str, str] | None:
    """(mount point, type) of a file system that one of the folders lies on and whose events cannot be relied on."""
    mounts = _mounts()
    if not any(map(_is_silent, mounts.values())):
        return None
    for folder in folders:
        on = max((point for point in mounts if _lies_in(folder, point)), key=len, default=None)
        if on is not None and _is_silent(mounts[on]):
            return on, mounts[on]
    return None


def _is_silent(kind: str) -> bool:
    return kind in SILENT or kind.startswith("fuse.")


def _lies_in(folder: str, point: str) -> bool:
    return folder == point or folder.startswith(point.rstrip(os.sep) + os.sep)


def _mounts() -> dict[str, str]:
    """The type of the file system at each mount point, where the system tells."""
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as file:
            lines = [line.split(" ") for line in file]
    except OSError:
        return {}
    escapes = {r"\040": " ", r"\011": "\t", r"\012": "\n", r"\134": "\\"}
    found = {}
    for _, point, kind, *_ in lines:
        for escape, char in escapes.items():
            point = point.replace(escape, char)
        found[point] = kind
    return found

"""Which file systems are known to keep changes to themselves."""

from __future__ import annotations

import pytest

from modelbuild.session import file_systems

MOUNTS = {
    "/": "ext4",
    "/mnt": "9p",
    "/mnt/local": "tmpfs",
    "/home/share": "fuse.sshfs",
    "/vm": "vboxsf",
    "/pool": "fuseblk",
}


@pytest.mark.parametrize(
    ("folder", "found"),
    [
        ("/", None),
        ("/mnt/c/project", ("/mnt", "9p")),
        ("/mnt/local/project", None),
        ("/mnt", ("/mnt", "9p")),
        ("/mnts", None),
        ("/home/share/project", ("/home/share", "fuse.sshfs")),
        ("/vm/project", ("/vm", "vboxsf")),
        ("/pool/project", None),
    ],
)
def test_the_innermost_mount_counts(
    monkeypatch: pytest.MonkeyPatch, folder: str, found: tuple[str, str] | None
) -> None:
    monkeypatch.setattr(file_systems, "_mounts", lambda: MOUNTS)
    assert file_systems.silent(["/tmp", folder]) == found


def test_where_the_system_does_not_tell_of_mounts_none_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_systems, "_mounts", dict)
    assert file_systems.silent(["/mnt/c"]) is None

"""A models folder as it is read: where a name's manifest and a blob lie, and which blobs the manifests name."""

from __future__ import annotations

import json
import os
import stat

from modelbuild.files import read_plain, signature

SCRATCH = ".modelbuild"
"""Folders of temporary files and of the lock, in a models folder and, where one spans file systems, in the folders below it."""

LARGEST = 64 << 20
"""Bytes of the largest manifest that is read. Real ones have some thousand."""


def blob_path(root: str, digest: str) -> str:
    """Where the blob of a digest (`sha256:<hex>`) lies in a models folder."""
    return os.path.join(root, "blobs", digest.replace(":", "-", 1))


def manifest_path(root: str, name: str) -> str:
    """Where the manifest of a name (`host/namespace/model/tag`) lies in a models folder."""
    return os.path.join(root, "manifests", *name.split("/"))


def named_blobs(manifest: bytes) -> set[str]:
    """Digests of the config and layers of a manifest, however it was written. Raises ValueError for what is none."""
    try:
        value = json.loads(manifest)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict) or not isinstance(value.get("layers") or [], list):
        raise ValueError("not a manifest")
    layers = [value.get("config"), *(value.get("layers") or [])]
    return {str(layer.get("digest")).replace("sha256-", "sha256:") for layer in layers if isinstance(layer, dict)}


class Users:
    """Who uses which blob: the manifests of a models folder, walked again at each question and read again where they changed."""

    def __init__(self, root: str) -> None:
        self._manifests = os.path.join(root, "manifests")
        self._read: dict[str, tuple[str, set[str]]] = {}

    def used(self) -> set[str] | None:
        """The digests that some manifest names; None where one of them, or a folder, cannot be read: it may name anything.

        Links are followed, as Ollama follows them, and a link that leads nowhere counts as what cannot be read: the disk
        behind it may be back tomorrow.
        """
        used: set[str] = set()
        seen: set[tuple[int, int]] = set()
        folders = [self._manifests]
        while folders:
            folder = folders.pop()
            try:
                info = os.stat(folder)
                if (info.st_dev, info.st_ino) in seen:
                    continue
                seen.add((info.st_dev, info.st_ino))
                with os.scandir(folder) as scan:
                    entries = [entry for entry in scan if entry.name != SCRATCH]
            except FileNotFoundError:
                if os.path.islink(folder):
                    return None
                continue
            except OSError:
                return None
            for entry in entries:
                found = self._of(entry, folders)
                if found is None:
                    return None
                used |= found
        return used

    def _of(self, entry: os.DirEntry[str], folders: list[str]) -> set[str] | None:
        """What one entry names; a folder is put with the `folders` to walk."""
        try:
            info = entry.stat()
            if stat.S_ISDIR(info.st_mode):
                folders.append(entry.path)
                return set()
            known = self._read.get(entry.path)
            if known is None or known[0] != signature(info):
                data, info = read_plain(entry.path, LARGEST)
                known = self._read[entry.path] = signature(info), named_blobs(data)
            return known[1]
        except FileNotFoundError:
            return None if entry.is_symlink() else set()
        except (OSError, ValueError):
            return None

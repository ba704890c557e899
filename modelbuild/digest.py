"""Digests: `sha256:<hex>` of artifacts, `xxh3:<hex>` (xxh3-128) of sources, tensors and recipe keys."""

from __future__ import annotations

import json
import os
from typing import Any

import xxhash

from modelbuild import interrupt

CHUNK = 4 << 20


def sha256(data: bytes | bytearray | memoryview) -> str:
    """`sha256:` and 64 hex digits."""
    # A build with nothing to do needs none of it, and OpenSSL is slow to load.
    import hashlib

    return "sha256:" + hashlib.sha256(data).hexdigest()


def xxh3(data: bytes | bytearray | memoryview) -> str:
    """`xxh3:` and 32 hex digits."""
    return "xxh3:" + xxhash.xxh3_128_hexdigest(data)


class Xxh3:
    """A running xxh3-128."""

    def __init__(self) -> None:
        self._state = xxhash.xxh3_128()

    def update(self, data: bytes | bytearray | memoryview) -> None:
        self._state.update(data)

    def digest(self) -> str:
        return "xxh3:" + self._state.hexdigest()


def canonical(value: Any) -> bytes:
    """The one JSON spelling of a value: sorted keys, no spaces, UTF-8. What digests of structures are taken over."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def file_xxh3(path: str) -> str:
    """Digest a whole file in bounded memory."""
    state = Xxh3()
    with open(path, "rb", buffering=0) as file:
        # Most files are texts: a buffer is made of zeros, which takes longer than to read one.
        buffer = bytearray(min(CHUNK, os.fstat(file.fileno()).st_size + 1))
        view = memoryview(buffer)
        while count := file.readinto(buffer):
            interrupt.check()
            state.update(view[:count])
    return state.digest()


def checked(value: bytes) -> bytes:
    """A value behind its own xxh3, so that damage shows."""
    return xxh3(value).encode() + b"\n" + value


def unchecked(data: bytes) -> bytes | None:
    """The value that was `checked`; None where it is no longer what it was."""
    check, _, value = data.partition(b"\n")
    return value if check == xxh3(value).encode() else None


def file_name(digest: str) -> str:
    """What the file of a digest is called: not every file system takes a colon."""
    return digest.replace(":", "-", 1)

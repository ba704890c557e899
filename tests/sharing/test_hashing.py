"""The sha256 of what arrives is that of all of it, however it is cut into pieces."""

from __future__ import annotations

import hashlib

import pytest

from modelbuild.sharing.hashing import LATER, Hashing


@pytest.mark.parametrize("piece", [1 << 10, 1 << 20])
@pytest.mark.parametrize("size", [0, 5, LATER + 1, 2 * LATER])
def test_it_is_that_of_all_pieces(size: int, piece: int) -> None:
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    with Hashing() as sha:
        for at in range(0, size, piece):
            sha.update(data[at : at + piece])
        assert sha.digest() == "sha256:" + hashlib.sha256(data).hexdigest()

"""Pointers of Git LFS."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild import lfs

OID = f"sha256:{'5' * 64}"
POINTER = f"version https://git-lfs.github.com/spec/v1\noid {OID}\nsize 12345\n"


def test_a_pointer_names_the_file_that_it_stands_for(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_text(POINTER)
    assert lfs.pointed(str(path)) == OID
    assert not lfs.is_here(str(path))


@pytest.mark.parametrize("text", ["", "words", POINTER.replace("oid", "old"), POINTER + "x" * 1000])
def test_what_is_no_pointer_is_a_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_text(text)
    assert lfs.pointed(str(path)) is None
    assert lfs.is_here(str(path))


def test_nothing_and_a_folder(tmp_path: Path) -> None:
    assert not lfs.is_here(str(tmp_path / "none"))
    assert lfs.is_here(str(tmp_path))
    assert lfs.pointed(str(tmp_path)) is None

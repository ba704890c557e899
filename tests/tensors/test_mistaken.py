"""Files that are not the weights they are named for."""

from __future__ import annotations

import pytest

from modelbuild.errors import Error
from modelbuild.tensors.mistaken import refuse_other, refuse_pointer

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


@pytest.mark.parametrize(
    ("head", "expected", "message"),
    [
        (b"", "GGUF", "is empty, expected a GGUF file"),
        (b"PK\x03\x04", "safetensors", r"is a zip archive \(a PyTorch checkpoint\), expected safetensors"),
        (b"\x80\x04\x95", "safetensors", "is a pickle, expected safetensors"),
        (b"<!DOCTYPE html>", "GGUF", "is an HTML page, expected GGUF"),
        (b"GGUF\x03", "safetensors", "is a GGUF file, expected safetensors"),
        (POINTER, "GGUF", "is a Git LFS pointer, not the weights it stands for"),
    ],
)
def test_what_is_often_found_in_place_of_weights_is_refused(head: bytes, expected: str, message: str) -> None:
    with pytest.raises(Error, match=message):
        refuse_other(head, "weights", expected)


def test_what_was_expected_passes() -> None:
    refuse_other(b"GGUF\x03\0\0\0", "weights", "GGUF")
    refuse_other(b"\x40\0\0\0\0\0\0\0{", "weights", "safetensors")
    refuse_pointer(b"{}", "config.json", "file")


def test_a_pointer_says_what_it_points_to() -> None:
    with pytest.raises(Error) as caught:
        refuse_pointer(POINTER, "config.json", "file")
    assert caught.value.facts == (("oid", "sha256:4d7a2146"), ("size", "12345"))

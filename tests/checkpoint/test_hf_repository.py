"""Repositories as they are named: every spelling of one has one key, and a model of a registry is none."""

from __future__ import annotations

import pytest

from modelbuild.checkpoint import hf_repository
from modelbuild.checkpoint.hf_repository import parse


@pytest.mark.parametrize(
    ("text", "key", "explicit"),
    [
        ("hf.co/Org/Tiny-1B", "hf.co/Org/Tiny-1B", False),
        ("huggingface.co/Org/Tiny", "hf.co/Org/Tiny", False),
        ("https://huggingface.co/Org/Tiny/", "hf.co/Org/Tiny", False),
        ("hf://Org/Tiny", "hf.co/Org/Tiny", True),
        ("HF.co/Org/Tiny@refs/pr/3", "hf.co/Org/Tiny@refs/pr/3", True),
    ],
)
def test_a_repository(text: str, key: str, explicit: bool) -> None:
    found = parse(text)
    assert found is not None and (found.key, found.explicit) == (key, explicit)
    assert hf_repository.is_key(key) and hf_repository.is_key(text) is (text == key)


@pytest.mark.parametrize(
    "text",
    ["hf.co/Org/Tiny:Q4_K_M", "Org/Tiny", "hf.co/Tiny", "hf.co/a/b/c", "hf://../x", "hf.co/a/..", "hf.co/a/b@../../x",
     "hf.co/a/b@-x", "hf.co/a/b@x\n", "evil.example/a/b", "xhf.co/a/b", ""],
)  # fmt: skip
def test_anything_else(text: str) -> None:
    assert parse(text) is None

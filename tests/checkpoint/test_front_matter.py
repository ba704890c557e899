"""The front matter of a model card, and what stands where one should be."""

from __future__ import annotations

from typing import Any

import pytest

from modelbuild.checkpoint import front_matter
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.errors import Error


def read(text: str) -> dict[str, Any]:
    return front_matter.read(Checkpoint({"README.md": text.encode()}.get))


def test_front_matter() -> None:
    assert read("---\nname: x\nlanguage:\n- no\n---\ntext") == {"name": "x", "language": ["no"]}
    assert read("---\r\nname: x\r\n---\r\n") == {"name": "x"}
    assert read("---\ntags:\n\t- a\n---\n") == {"tags": ["a"]}
    assert read("---\nname: never closed") == {"name": "never closed"}
    for text in ("", "# Title\n", "\ufeff---\nname: x\n---\n", "---\n- a\n---\n", "---\n---\n"):
        assert read(text) == {}


def test_front_matter_that_is_no_yaml_is_said_with_its_line() -> None:
    with pytest.raises(Error) as caught:
        read("---\nname: x\nbad: [1\n---\n")
    assert str(caught.value).startswith("error: README.md:4:1: the front matter is not YAML")


@pytest.mark.parametrize(
    "front", ("a: " + "[" * 5000 + "]" * 5000, "\n".join(" " * depth + "a:" for depth in range(1200)))
)
def test_front_matter_without_end_in_depth_is_said(front: str) -> None:
    with pytest.raises(Error) as caught:
        read(f"---\n{front}\n---\n")
    assert caught.value.what == "the front matter is not YAML: it is nested too deeply"

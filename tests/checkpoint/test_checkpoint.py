"""The small files of a folder of weights: read once, within bounds, and told by their names."""

from __future__ import annotations

import json

import pytest

from modelbuild.checkpoint.checkpoint import SIZE_LIMIT, SIZE_LIMITS, Checkpoint
from modelbuild.errors import Error


def test_small_files_have_a_size() -> None:
    with pytest.raises(Error, match=r"is 16,777,217 bytes long"):
        Checkpoint({"config.json": b"{" + bytes(SIZE_LIMIT)}.get).json("config.json")
    assert SIZE_LIMITS["tokenizer.json"] > 3 * 35_000_000


def test_a_file_is_parsed_once() -> None:
    reads = []

    def read(name: str) -> bytes | None:
        reads.append(name)
        return b'{"a": 1}' if name == "config.json" else None

    checkpoint = Checkpoint(read)
    assert checkpoint.json("config.json") == checkpoint.config == {"a": 1}
    assert checkpoint.json("other.json") is None and checkpoint.json("other.json") is None
    assert reads == ["config.json", "other.json"]


def test_lines_end_as_in_python() -> None:
    assert Checkpoint({"a.txt": "x\r\ny\rz é".encode()}.get).text("a.txt") == "x\ny\nz é"
    with pytest.raises(Error) as caught:
        Checkpoint({"a.txt": b"\xff"}.get).text("a.txt")
    assert caught.value.path == "a.txt"


def test_json_holds_an_object() -> None:
    with pytest.raises(Error, match="expected a JSON object, got a list"):
        Checkpoint({"config.json": json.dumps([1]).encode()}.get).json("config.json")


def test_a_folder_of_weights_has_a_configuration() -> None:
    with pytest.raises(Error, match="a folder of weights needs its config.json"):
        Checkpoint({}.get).config  # noqa: B018
    assert Checkpoint({}.get).tokenizer_config == {}

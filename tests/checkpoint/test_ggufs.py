"""What GGUF files hold, by their heads, and which files are parts of one."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest

from modelbuild.checkpoint import ggufs
from modelbuild.checkpoint.chat import Chat
from modelbuild.checkpoint.ggufs import Contents
from modelbuild.errors import Error
from modelbuild.tensors.formats import gguf
from modelbuild.tensors.formats.gguf import encode_value


def metadata(**values: object) -> dict[str, bytes]:
    """Encoded values, dots written as '__'."""
    return {
        key.replace("__", "."): encode_value("str" if isinstance(value, str) else "u32", value)
        for key, value in values.items()
    }


@pytest.mark.parametrize(
    ("values", "role"),
    [
        ({"general__architecture": "llama", "llama__block_count": 2}, "model"),
        ({}, "model"),
        ({"general__type": "adapter", "general__architecture": "llama"}, "adapter"),
        ({"general__architecture": "clip"}, "projector"),
        ({"general__type": "mmproj", "general__architecture": "any"}, "projector"),
        ({"general__architecture": "m", "m__vision__block_count": 2}, "projector"),
        ({"general__architecture": "m", "m__vision__block_count": 2, "m__block_count": 2}, "model"),
    ],
)
def test_what_a_file_is_for(values: dict[str, object], role: str) -> None:
    assert ggufs.role(metadata(**values)) == role


@pytest.mark.parametrize(("dtype", "unquantized"), [("f32", True), ("bf16", True), ("q8_0", False)])
def test_a_file_of_floats_is_unquantized(dtype: str, unquantized: bool, tmp_path: Path) -> None:
    head = gguf.header(
        metadata(general__architecture="llama", llama__block_count=1), [("a", dtype, (2, 32)), ("b", "f32", (32,))]
    )
    path = tmp_path / "m.gguf"
    path.write_bytes(head + bytes({"f32": 256, "bf16": 128, "q8_0": 96}[dtype] + 128))
    assert ggufs.classify(str(path)) == ("model", unquantized, "llama", None, True, False)


def test_the_parts_of_a_file() -> None:
    parts = [f"m-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    assert ggufs.parts("m.gguf", ["m.gguf", *parts]) == ["m.gguf"]
    assert ggufs.parts(parts[1], ["other.gguf", *parts]) == parts
    with pytest.raises(Error, match="the split GGUF file 'm-00001-of-00003.gguf' lacks parts") as caught:
        ggufs.parts(parts[0], parts[:2])
    assert caught.value.facts == (("missing", parts[2]),)


def test_what_a_file_beside_a_model_says_of_itself(tmp_path: Path) -> None:
    path = tmp_path / "p.gguf"
    for values, expected in (
        ({"general__file_type": 1, "clip__projector_type": "gemma3"}, "f16 gemma3"),
        (
            {"general__file_type": 7, "clip__vision__projector_type": "a", "clip__audio__projector_type": "b"},
            "q8_0 a b",
        ),
        ({"clip__projector_type": 3}, ""),
    ):
        path.write_bytes(gguf.header(metadata(general__architecture="clip", **values), []))
        assert ggufs.told(str(path)).words == expected
    path.write_bytes(b"GGUF")
    assert ggufs.told(str(path)) == ggufs.told(str(tmp_path / "none")) == ggufs.Told()


@pytest.mark.parametrize("chat", [None, Chat("{{ a }}", "x.gguf"), Chat("{{ a }}\r\n", "x.gguf", "<s>", "")])
def test_what_a_file_holds_is_spelled_and_recalled(chat: Chat | None) -> None:
    for unquantized, talks, embeds in product([True, False], repeat=3):
        found = Contents("model", unquantized, "llama", chat, talks, embeds)
        assert Contents.recalled(json.loads(json.dumps(found.spelled())), "x.gguf") == found

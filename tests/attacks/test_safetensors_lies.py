"""safetensors files that lie: one error for each way a header can be wrong, and an error or a table for any damage."""

from __future__ import annotations

import json
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelbuild.errors import Error, render
from modelbuild.tensors.formats import safetensors
from tests.at_length import examples
from tests.tensors.formats import golden


def raw(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def entry(dtype: Any = "F32", shape: Any = (2, 2), offsets: Any = (0, 16)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def file(tensors: Any, data: int = 16) -> bytes:
    return raw(json.dumps(tensors).encode(), bytes(data))


TWO = '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}'
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 12345\n"

LIES = {
    "empty": b"",
    "short": b"\x02\0\0\0",
    "git-lfs": POINTER,
    "zip": b"PK\x03\x04" + bytes(100),
    "pickle": b"\x80\x02}q\0." + bytes(100),
    "html": b"<!DOCTYPE html><html>" + bytes(100),
    "gguf": b"GGUF\x03\0\0\0" + bytes(100),
    "header-longer-than-file": raw(b"{}", length=1000),
    "header-huge": raw(b"{}", length=1 << 60),
    "header-over-limit": raw(b"{}", length=100_000_001),
    "not-an-object": raw(b"[1]"),
    "not-utf8": raw(b'{"\xff": 1}'),
    "not-json": raw(b'{"a": '),
    "deep": raw(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "name-twice": raw(TWO.encode(), bytes(8)),
    "key-twice": raw(b'{"a":{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]}}', bytes(4)),
    "metadata-no-texts": file({"__metadata__": {"a": 1}, "a": entry()}),
    "metadata-no-object": file({"__metadata__": [], "a": entry()}),
    "entry-no-object": file({"a": 1}),
    "entry-lacks-dtype": file({"a": {"shape": [2, 2], "data_offsets": [0, 16]}}),
    "entry-has-more": file({"a": {**entry(), "stride": 1}}),
    "dtype-unknown": file({"a": entry(dtype="F99")}),
    "dtype-no-text": file({"a": entry(dtype=[])}),
    "shape-negative": file({"a": entry(shape=[-2, -2])}),
    "shape-fraction": file({"a": entry(shape=[2.0, 2])}),
    "shape-bool": file({"a": entry(shape=[True, 4])}),
    "shape-huge": file({"a": entry(shape=[1 << 40, 1 << 40])}),
    "shape-beyond-u64": file({"a": entry(shape=[1 << 80])}),
    "number-too-long": raw(b'{"a":{"dtype":"F32","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,4]}}'),
    "offsets-reversed": file({"a": entry(offsets=[16, 0])}),
    "offsets-three": file({"a": entry(offsets=[0, 8, 16])}),
    "offsets-negative": file({"a": entry(offsets=[-16, 0])}),
    "size-wrong": file({"a": entry(offsets=[0, 12])}, 12),
    "size-wrong-4-bit": file({"a": entry(dtype="F4", shape=[3], offsets=[0, 1])}, 1),
    "overlap": file({"a": entry(), "b": entry(offsets=[8, 24])}, 24),
    "same-place": file({"a": entry(), "b": entry()}),
    "gap": file({"a": entry(), "b": entry(offsets=[20, 36])}, 36),
    "gap-at-the-start": file({"a": entry(offsets=[4, 20])}, 20),
    "cut-short": file({"a": entry()}, 15),
    "out-of-range": file({"a": entry(), "b": entry(offsets=[1 << 50, (1 << 50) + 16])}, 16),
    "goes-on": file({"a": entry()}, 17),
    "terminal-codes": file({"\x1b[2J\u202e" + "x" * 200: entry(dtype="\x07")}),
}


@pytest.mark.parametrize("lie", LIES)
def test_complaint_is_the_golden_one(lie: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model.safetensors").write_bytes(LIES[lie])
    text = golden.complaint(lambda: safetensors.table("model.safetensors"))
    golden.check(f"safetensors-{lie}", text)
    assert text == golden.complaint(lambda: safetensors.survey("model.safetensors"))
    assert text.isascii() or "…" in text
    assert "\x1b" not in text


def test_every_golden_has_its_case() -> None:
    assert golden.unused("safetensors-", {f"safetensors-{lie}" for lie in LIES}) == set()


def test_memory_is_not_taken_by_a_number_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    for data in (raw(b"{}", length=99_000_000), raw(b"{}", length=1 << 62)):
        path.write_bytes(data)
        tracemalloc.start()
        with pytest.raises(Error):
            safetensors.table(str(path))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()


GOOD = file(
    {
        "__metadata__": {"format": "pt"},
        "a": entry(),
        "bb": entry("BF16", [2], [16, 20]),
        "c": entry("I64", [], [20, 28]),
    },
    28,
)


def look(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    try:
        table = safetensors.table(str(path))
    except Error as error:
        assert render(error)
        return
    assert sum(tensor.length for tensor in table.tensors.values()) <= len(data)
    assert type(table).decode(table.encode()) == table
    assert safetensors.survey(str(path)).table.tensors.keys() == table.tensors.keys()


@settings(max_examples=examples(300), deadline=None)
@given(st.data())
def test_damage_gives_a_table_or_an_error(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content)))
        cut = data.draw(st.sampled_from([0, 1, 1, 3, 50]))
        put = data.draw(
            st.sampled_from([b"", b"0", b"9", b"{", b"[", b'"', b",", b"-", b"\xff", b"null", b"1e9", b"\0"])
        )
        content[at : at + cut] = put
    if data.draw(st.booleans()):
        end = content.rfind(b"}") + 1
        content[:8] = struct.pack("<Q", max(end - 8, 0))
    look(tmp_path_factory.getbasetemp() / "damaged.safetensors", bytes(content))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["F32", "BF16", "a", ""]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["dtype", "shape", "data_offsets", "a"]), inner)
    ),
    max_leaves=12,
)


@settings(max_examples=examples(200), deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "b", "__metadata__"]), JSON), st.integers(0, 40))
def test_any_header_gives_a_table_or_an_error(tmp_path_factory: pytest.TempPathFactory, header: Any, size: int) -> None:
    look(tmp_path_factory.getbasetemp() / "any.safetensors", file(header, size))


@settings(max_examples=examples(100), deadline=None)
@given(st.binary(max_size=100))
def test_any_bytes_give_a_table_or_an_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    look(tmp_path_factory.getbasetemp() / "bytes.safetensors", data)
    look(tmp_path_factory.getbasetemp() / "bytes.safetensors", raw(data))

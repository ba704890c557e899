"""GGUF files that lie: one error for each way a header can be wrong, and an error or a table for any damage."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelbuild.errors import Error, render
from modelbuild.steps import import_
from modelbuild.tensors.formats import gguf
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.tensor import TensorTable
from tests.at_length import examples
from tests.tensors.formats import golden


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def info(name: str | bytes = "a.weight", dims: tuple[int, ...] = (4,), kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)


def raw(
    values: Sequence[bytes] = (),
    tensors: Sequence[bytes] = (),
    *,
    value_count: int | None = None,
    tensor_count: int | None = None,
    version: int = 3,
    data: int = 64,
    magic: bytes = b"GGUF",
) -> bytes:
    """A file of metadata values and tensor infos; the counts are theirs where none are given."""
    counts = (
        len(tensors) if tensor_count is None else tensor_count,
        len(values) if value_count is None else value_count,
    )
    body = magic + struct.pack("<IQQ", version, *counts) + b"".join([*values, *tensors])
    return body + bytes(-len(body) % 32) + bytes(data)


def pair(key: str | bytes, value: bytes) -> bytes:
    return text(key) + value


U32 = encode_value("u32", 1)

LIES = {
    "empty": b"",
    "git-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:00ff\nsize 5\n",
    "zip": b"PK\x03\x04" + bytes(100),
    "other-magic": raw(magic=b"GGLA"),
    "magic-alone": b"GGUF",
    "version-0": raw(version=0),
    "version-1": raw(version=1),
    "version-4": raw(version=4),
    "big-endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 0) + bytes(32),
    "tensors-absurd": raw(tensor_count=1 << 62),
    "tensors-negative": raw(tensor_count=(1 << 64) - 1),
    "values-absurd": raw(value_count=1 << 40),
    "values-more-than-there": raw([pair("a", U32)], value_count=3, data=0),
    "key-empty": raw([pair("", U32)]),
    "key-twice": raw([pair("a", U32), pair("a", U32)]),
    "key-longer-than-file": raw([struct.pack("<Q", 1 << 50) + b"a"]),
    "key-not-utf8": raw([pair(b"\xff\xfe", U32)]),
    "type-unknown": raw([pair("a", struct.pack("<II", 13, 0))]),
    "array-of-arrays": raw([pair("a", struct.pack("<IIQ", 9, 9, 1))]),
    "array-absurd": raw([pair("a", struct.pack("<IIQ", 9, 4, 1 << 61))]),
    "array-overflowing": raw([pair("a", struct.pack("<IIQ", 9, 12, (1 << 64) - 1))]),
    "texts-absurd": raw([pair("a", struct.pack("<IIQ", 9, 8, 1 << 61) + text("x"))]),
    "text-absurd": raw([pair("a", struct.pack("<IQ", 8, (1 << 64) - 1))]),
    "bool-of-2": raw([pair("a", struct.pack("<IB", 7, 2))]),
    "alignment-of-another-type": raw([pair("general.alignment", encode_value("u64", 32))]),
    "alignment-zero": raw([pair("general.alignment", encode_value("u32", 0))]),
    "alignment-48": raw([pair("general.alignment", encode_value("u32", 48))]),
    "name-too-long": raw(tensors=[info("x" * 64)]),
    "name-not-utf8": raw(tensors=[info(b"\xc3\x28")]),
    "name-twice": raw(tensors=[info("a", (4,), 0, 0), info("a", (4,), 0, 32)]),
    "dimensions-5": raw(tensors=[info("a", (1, 1, 1, 1, 1))]),
    "dimensions-absurd": raw(tensors=[text("a") + struct.pack("<I", 1 << 31)]),
    "shape-negative": raw(tensors=[info("a", ((1 << 64) - 4,))]),
    "shape-huge": raw(tensors=[info("a", (1 << 40, 1 << 40))]),
    "tensor-type-unknown": raw(tensors=[info("a", (4,), 99)]),
    "tensor-type-retired": raw(tensors=[info("a", (32,), 4)]),
    "row-no-block": raw(tensors=[info("a", (33, 2), 8)]),
    "offset-gap": raw(tensors=[info("a", (4,), 0, 0), info("b", (4,), 0, 64)], data=128),
    "offset-overlap": raw(tensors=[info("a", (4,), 0, 0), info("b", (4,), 0, 16)]),
    "offset-order": raw(tensors=[info("a", (4,), 0, 32), info("b", (4,), 0, 0)]),
    "offset-first": raw(tensors=[info("a", (4,), 0, 32)]),
    "data-cut-short": raw(tensors=[info("a", (64,))], data=255),
    "data-missing": raw(tensors=[info("a", (1 << 40,))]),
    "infos-cut-short": raw(tensors=[info("a")])[:40],
}


@pytest.mark.parametrize("lie", LIES)
def test_complaint_is_the_golden_one(lie: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model.gguf").write_bytes(LIES[lie])
    said = golden.complaint(lambda: gguf.read_header("model.gguf"))
    golden.check(f"gguf-{lie}", said)
    assert said == golden.complaint(lambda: gguf.survey("model.gguf"))


def part(number: int, count: int, total: int, *names: str) -> TensorTable:
    values = {
        "general.architecture": encode_value("str", "llama"),
        "split.no": encode_value("u16", number),
        "split.count": encode_value("u16", count),
        "split.tensors.count": encode_value("i32", total),
    }
    tensors = {name: gguf.Tensor(name, "f32", (4,), 0, 16) for name in names}
    return TensorTable(values, tensors)


SPLITS = {
    "missing-part": [("m-00001-of-00003.gguf", part(0, 3, 3, "a")), ("m-00003-of-00003.gguf", part(2, 3, 3, "c"))],
    "one-part": [("m-00002-of-00002.gguf", part(1, 2, 2, "b"))],
    "part-twice": [("m.gguf", part(0, 2, 2, "a")), ("n.gguf", part(0, 2, 2, "b"))],
    "part-of-another": [("m.gguf", part(0, 2, 2, "a")), ("n.gguf", part(1, 3, 2, "b"))],
    "no-part": [("m.gguf", part(0, 2, 2, "a")), ("n.gguf", TensorTable({}, {}))],
    "tensor-twice": [("m.gguf", part(0, 2, 2, "a")), ("n.gguf", part(1, 2, 2, "a"))],
    "tensors-missing": [("m.gguf", part(0, 2, 3, "a")), ("n.gguf", part(1, 2, 3, "b"))],
    "too-many-parts": [("m.gguf", part(0, 1, 2, "a")), ("n.gguf", part(1, 1, 2, "b"))],
    "absurd-count": [("m.gguf", part(0, 65535, 2, "a")), ("n.gguf", part(1, 65535, 2, "b"))],
}


class Tables:
    def __init__(self, tables: list[tuple[str, TensorTable]]) -> None:
        self._tables = tables

    def tables(self) -> list[tuple[str, TensorTable]]:
        return self._tables


@pytest.mark.parametrize("lie", SPLITS)
def test_complaint_about_parts_is_the_golden_one(lie: str) -> None:
    golden.check(f"gguf-split-{lie}", golden.complaint(lambda: import_.run({}, Tables(SPLITS[lie]))))


def test_every_golden_has_its_case() -> None:
    cases = {f"gguf-{lie}" for lie in LIES} | {f"gguf-split-{lie}" for lie in SPLITS}
    assert golden.unused("gguf-", cases) == set()


def test_memory_is_not_taken_by_a_number_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    for lie in (
        "tensors-absurd",
        "values-absurd",
        "array-absurd",
        "array-overflowing",
        "texts-absurd",
        "text-absurd",
        "data-missing",
    ):
        path.write_bytes(LIES[lie])
        tracemalloc.start()
        with pytest.raises(Error):
            gguf.read_header(str(path))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20, lie
        tracemalloc.stop()


def test_a_large_file_is_not_read_for_a_small_header(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(raw(tensors=[info("a", (1 << 28,), 24)]))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + (1 << 28))
    tracemalloc.start()
    assert gguf.read_header(str(path)).table.tensors["a"].length == 1 << 28
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


GOOD = raw(
    [
        pair("general.architecture", encode_value("str", "llama")),
        pair("x.list", encode_value("[str]", ["a", "", "ccc"])),
        pair("x.numbers", encode_value("[i32]", [1, -2, 3])),
        pair("x.flag", encode_value("bool", True)),
        pair("x.float", encode_value("f64", 0.5)),
    ],
    [info("token_embd.weight", (32, 2), 8, 0), info("b.weight", (3,), 0, 96)],
    data=128,
)


def look(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    try:
        header = gguf.read_header(str(path))
    except Error as error:
        assert render(error)
        return
    for value in header.table.metadata.values():
        gguf.decode_value(value)
    assert sum(t.length for t in header.table.tensors.values()) <= len(data)
    assert TensorTable.decode(header.table.encode()) == header.table
    assert gguf.survey(str(path)).table.metadata == header.table.metadata


def test_the_undamaged_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(GOOD)
    table = gguf.read_header(str(tmp_path / "m.gguf")).table
    assert {key: gguf.decode_value(value) for key, value in table.metadata.items()} == {
        "general.architecture": "llama", "x.list": ["a", "", "ccc"], "x.numbers": [1, -2, 3], "x.flag": True, "x.float": 0.5,
    }  # fmt: skip
    assert [(t.name, t.dtype, t.shape) for t in table.tensors.values()] == [
        ("token_embd.weight", "q8_0", (2, 32)),
        ("b.weight", "f32", (3,)),
    ]


@settings(max_examples=examples(400), deadline=None)
@given(st.data())
def test_damage_gives_a_table_or_an_error(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(content)))
        cut = data.draw(st.sampled_from([0, 1, 1, 4, 8, 60]))
        put = data.draw(
            st.sampled_from([b"", b"\0", b"\1", b"\xff", b"\x08", b"\x09", b"\xff" * 8, b"\0" * 8, b"\0\0\0\x80"])
        )
        content[at : at + cut] = put
    look(tmp_path_factory.getbasetemp() / "damaged.gguf", bytes(content))


@settings(max_examples=examples(150), deadline=None)
@given(st.binary(max_size=120), st.integers(0, 3), st.integers(0, 3))
def test_any_bytes_give_a_table_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, tensors: int, values: int
) -> None:
    look(tmp_path_factory.getbasetemp() / "bytes.gguf", b"GGUF" + struct.pack("<IQQ", 3, tensors, values) + data)

"""Importance matrices that lie: one error for each way, and an error or a matrix for any damage."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelbuild.errors import Error, render
from modelbuild.tensors.formats import imatrix
from modelbuild.tensors.formats.gguf import encode_value, header
from tests.at_length import examples
from tests.tensors.formats import golden
from tests.tensors.formats.test_imatrix import older

F32 = np.float32
ONES = np.ones(2, F32)
KEYS = {
    "general.type": encode_value("str", "imatrix"),
    "imatrix.datasets": encode_value("[str]", ["wiki.txt"]),
    "imatrix.chunk_count": encode_value("u32", 7),
    "imatrix.chunk_size": encode_value("u32", 512),
}


def file(keys: dict[str, bytes | None] | None = None, **tensors: object) -> bytes:
    """A GGUF file of KEYS, changed by `keys`, and tensors of f32 values, or (dtype, shape, bytes), with _ for a dot."""
    metadata = {key: value for key, value in {**KEYS, **(keys or {})}.items() if value is not None}
    parts = []
    for name, content in tensors.items():
        whole = content if isinstance(content, tuple) else ("f32", (len(content), 1), np.array(content, F32))  # type: ignore[arg-type]
        dtype, shape, data = whole
        parts.append((name.replace("__", "."), dtype, shape, bytes(data)))
    front = header(metadata, [part[:3] for part in parts])
    return front + b"".join(data + bytes(-len(data) % 32) for *_, data in parts)


def i32(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}i", *numbers)


GOOD = file(a__in_sum2=[1, 2, 3, 4], a__counts=[2, 5], b__in_sum2=[1], b__counts=[1])
OLD = older([("a.weight", 3, np.arange(5, dtype=F32)), ("b.weight", 1, ONES)], i32(9, 8) + b"wiki.txt")

LIES = {
    "empty": b"",
    "git-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:00ff\nsize 5\n",
    "zip": b"PK\x03\x04" + bytes(100),
    "web-page": b"<!DOCTYPE html><html></html>",
    "one-byte": b"\1",
    "text": b"blk.0.attn_q.weight 1.0 2.0 3.0\n" * 4,
    "zeros": bytes(100),
    # GGUF
    "model": file({"general.type": encode_value("str", "model")}, a__in_sum2=[1], a__counts=[1]),
    "type-no-text": file({"general.type": encode_value("u32", 5)}, a__in_sum2=[1], a__counts=[1]),
    "no-metadata": file(dict.fromkeys(KEYS), a__in_sum2=[1], a__counts=[1]),
    "no-datasets": file({"imatrix.datasets": None}, a__in_sum2=[1], a__counts=[1]),
    "no-chunk-size": file({"imatrix.chunk_size": None}, a__in_sum2=[1], a__counts=[1]),
    "chunk-count-u64": file({"imatrix.chunk_count": encode_value("u64", 7)}, a__in_sum2=[1], a__counts=[1]),
    "datasets-of-numbers": file({"imatrix.datasets": encode_value("[i32]", [1])}, a__in_sum2=[1], a__counts=[1]),
    "no-tensors": file(),
    "no-tensors-of-one": file(token_embd=[1, 2]),
    "no-counts": file(a__in_sum2=[1]),
    "no-sums": file(a__counts=[1]),
    "no-name": file(__in_sum2=[1], __counts=[1]),
    "sums-f16": file(a__in_sum2=("f16", (2,), bytes(4)), a__counts=[1]),
    "counts-i32": file(a__in_sum2=[1], a__counts=("i32", (1,), bytes(4))),
    "counts-do-not-divide": file(a__in_sum2=[1, 2, 3], a__counts=[1, 1]),
    "more-counts-than-sums": file(a__in_sum2=[1], a__counts=[1, 1]),
    "no-sums-at-all": file(a__in_sum2=("f32", (0, 4), b""), a__counts=[1]),
    "no-counts-at-all": file(a__in_sum2=[1], a__counts=("f32", (0, 1), b"")),
    "sum-nan": file(a__in_sum2=[1, 2, float("nan")], a__counts=[1]),
    "sum-infinite": file(a__in_sum2=[float("-inf")], a__counts=[1]),
    "count-infinite": file(a__in_sum2=[1], a__counts=[float("inf")]),
    "count-negative": file(a__in_sum2=[1], a__counts=[-1]),
    "count-absurd": file(a__in_sum2=[1], a__counts=[1e30]),
    "cut-short": GOOD[:-40],
    "header-cut-short": GOOD[:100],
    # the older form
    "old-entries-absurd": i32(2**31 - 1) + OLD[4:],
    "old-entries-negative": i32(-1) + OLD[4:],
    "old-entries-more-than-there": i32(3) + OLD[4:],
    "old-name-negative": i32(1, -5) + OLD[8:],
    "old-name-absurd": i32(1, 2**31 - 1) + OLD[8:],
    "old-name-not-utf8": i32(1, 2) + b"\xff\xfe" + i32(1, 1) + bytes(4),
    "old-name-with-zero": i32(1, 2) + b"a\0" + i32(1, 1) + bytes(4),
    "old-calls-negative": older([("a", -1, ONES)]),
    "old-values-none": i32(1, 1) + b"a" + i32(1, 0) + bytes(4),
    "old-values-absurd": i32(1, 1) + b"a" + i32(1, 2**31 - 1) + bytes(4),
    "old-values-cut-short": older([("a", 1, ONES)])[:-1],
    "old-value-nan": older([("a", 1, np.array([0, np.nan], F32))]),
    "old-twice": older([("a", 1, ONES), ("a", 1, ONES)]),
    "old-cut-after-chunks": OLD[:-10],
    "old-cut-in-dataset": OLD[:-1],
    "old-longer": OLD + b"x",
    "old-chunks-cut-short": older([("a", 1, ONES)], b"\1\0"),
    "old-dataset-negative": older([("a", 1, ONES)], i32(1, -1)),
}


@pytest.mark.parametrize("lie", LIES)
def test_complaint_is_the_golden_one(lie: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("imatrix.gguf").write_bytes(LIES[lie])
    said = golden.complaint(lambda: imatrix.read("imatrix.gguf"))
    golden.check(f"imatrix-{lie}", said)
    assert said == golden.complaint(lambda: imatrix.parse(LIES[lie], "imatrix.gguf"))


def test_every_golden_has_its_case() -> None:
    assert golden.unused("imatrix-", {f"imatrix-{lie}" for lie in LIES}) == set()


def test_memory_is_not_taken_by_a_number_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "imatrix.dat"
    imatrix.parse(OLD, "warm.dat")
    for lie in ("old-entries-absurd", "old-name-absurd", "old-values-absurd"):
        path.write_bytes(LIES[lie])
        tracemalloc.start()
        with pytest.raises(Error):
            imatrix.read(str(path))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20, lie
        tracemalloc.stop()


def test_a_large_file_that_is_none_is_not_read(tmp_path: Path) -> None:
    model = file({"general.type": encode_value("str", "model")}, a__in_sum2=[1])
    for start in (model, bytes(4096), b"\xff" * 4096):
        path = tmp_path / "model"
        path.write_bytes(start)
        with path.open("r+b") as opened:
            opened.truncate(1 << 28)
        tracemalloc.start()
        with pytest.raises(Error):
            imatrix.read(str(path))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()


def test_a_file_that_is_cut_while_it_is_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "imatrix"
    for data in (GOOD, OLD):
        path.write_bytes(data)
        size = path.stat().st_size
        path.write_bytes(data[:-40])
        with path.open("rb") as opened, pytest.raises(Error, match="ends early|ends within"):
            imatrix._read(opened, size, "imatrix")


def look(data: bytes) -> None:
    try:
        read = imatrix.parse(data, "imatrix")
    except Error as error:
        assert render(error)
        return
    assert sum(map(len, read.entries.values())) <= len(data)
    for values in read.entries.values():
        assert np.isfinite(np.frombuffer(values, "<f4")).all()
    for text in read.datasets:
        assert encode_value("str", text.encode("utf-8", "surrogateescape"))


def test_undamaged_files_are_read() -> None:
    assert imatrix.parse(GOOD, "imatrix").entries == {
        "a": np.array([0.5, 1, 3 / 5, 4 / 5], F32).tobytes(),
        "b": np.ones(1, F32).tobytes(),
    }
    assert list(imatrix.parse(OLD, "imatrix").entries) == ["a.weight", "b.weight"]


@settings(max_examples=examples(400), deadline=None)
@given(st.data())
def test_damage_gives_a_matrix_or_an_error(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from([GOOD, OLD])))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content)))
        cut = data.draw(st.sampled_from([0, 1, 1, 4, 4, 8, 60]))
        put = data.draw(
            st.sampled_from([b"", b"\0", b"\1", b"\xff", b"\0\0\x80\x7f", b"\xff" * 4, b"\0" * 4, b"\0\0\0\x80"])
        )
        content[at : at + cut] = put
    look(bytes(content))


@settings(max_examples=examples(200), deadline=None)
@given(st.binary(max_size=80), st.integers(1, 3))
def test_any_bytes_give_a_matrix_or_an_error(data: bytes, entries: int) -> None:
    look(data)
    look(i32(entries, 1) + b"a" + i32(1, 1) + data)

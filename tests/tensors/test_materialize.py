"""Recipes to bytes: the right ones, in bounded memory, and none from sources that are not what they were."""

from __future__ import annotations

import hashlib
import os
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from modelbuild.digest import xxh3
from modelbuild.errors import Error
from modelbuild.tensors import evaluate, packing, quants
from modelbuild.tensors.evaluate import Mismatch, Region
from modelbuild.tensors.materialize import layout
from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.operations.quantize import quantize
from modelbuild.tensors.operations.transpose import transpose
from modelbuild.tensors.recipe import Entry, Recipe
from tests.tensors.made import ARCHITECTURE, Weights, bf16


def packed(quant: str, data: bytes, dtype: str = "bf16") -> bytes:
    count = len(data) // quants.get(dtype).bytes
    out = bytearray(count // quants.get(quant).block * quants.get(quant).bytes)
    packing.quantize(quant, dtype, data, out)
    return bytes(out)


@pytest.mark.parametrize("memory", [1 << 16, 64 << 20])
@pytest.mark.parametrize("jobs", [1, 4])
def test_file_is_header_and_padded_tensors(weights: Weights, tmp_path: Path, jobs: int, memory: int) -> None:
    weights.jobs, weights.memory = jobs, memory
    shapes = {"a": (300, 256), "b": (7,), "c": (64, 512)}
    data = {name: bf16(shape, seed) for seed, (name, shape) in enumerate(shapes.items())}
    leaves = {name: weights.add("bf16", shapes[name], data[name]) for name in shapes}
    entries = [("a", quantize("q4_k", leaves["a"])), ("b", cast("f32", leaves["b"])), ("c", leaves["c"])]
    made = weights.make(tmp_path / "out", *entries)
    header, offsets, size = layout(Recipe(ARCHITECTURE, [Entry(name, x.shape, x) for name, x in entries]))
    wanted = [packed("q4_k", data["a"]), packed("f32", data["b"]), data["c"]]
    expected = header + b"".join(part + bytes(-len(part) % 32) for part in wanted)
    assert (tmp_path / "out").read_bytes() == expected
    assert size == made.size == len(expected)
    assert made.digest == "sha256:" + hashlib.sha256(expected).hexdigest()
    for span, part, offset in zip(made.spans, wanted, offsets, strict=True):
        assert (span.offset, span.length, span.xxh3) == (offset, len(part), xxh3(part))


def test_indexed_tensor_is_copied_not_computed(weights: Weights, tmp_path: Path) -> None:
    quantized = quantize("q8_0", weights.add("bf16", (512, 512), bf16((512, 512))))
    first = weights.make(tmp_path / "one", ("x", quantized))
    (span,) = first.spans
    weights.found[span.key] = (Region(str(tmp_path / "one"), span.offset, span.length, "one"), span.xxh3)
    weights.regions.clear()
    again = weights.make(tmp_path / "two", ("x", quantized))
    assert (again.digest, again.computed, again.reused) == (first.digest, 0, 1)


def test_damaged_indexed_tensor_is_noticed(weights: Weights, tmp_path: Path) -> None:
    quantized = quantize("q8_0", weights.add("bf16", (512, 512), bf16((512, 512))))
    (span,) = weights.make(tmp_path / "one", ("x", quantized)).spans
    with (tmp_path / "one").open("r+b") as file:
        file.seek(span.offset + 1000)
        file.write(bytes([file.read(1)[0] ^ 1]))
    weights.found[span.key] = (Region(str(tmp_path / "one"), span.offset, span.length, "one"), span.xxh3)
    with pytest.raises(Mismatch):
        weights.make(tmp_path / "two", ("x", quantized))


@pytest.mark.parametrize("cut", [0, 1])
def test_changed_source_is_noticed(weights: Weights, tmp_path: Path, cut: int) -> None:
    leaf = weights.add("bf16", (4096, 1024), bf16((4096, 1024)))
    with weights.path.open("r+b") as file:
        if cut:
            file.truncate(1 << 20)
        else:
            file.seek(5_000_001)
            file.write(b"\x01")
    with pytest.raises(Mismatch):
        weights.make(tmp_path / "out", ("x", quantize("q4_k", leaf)))


@pytest.mark.parametrize(("dtype", "pattern"), [("bf16", 0x7FC0), ("bf16", 0xFF80), ("f16", 0x7C00), ("f16", 0xFE01)])
@pytest.mark.parametrize("quant", ["q4_k", "q8_0", "f32", None])
def test_value_that_is_not_finite_is_an_error_with_its_place(
    weights: Weights, tmp_path: Path, dtype: str, pattern: int, quant: str | None
) -> None:
    values = np.full((3, 1024), 0x3C00, np.uint16)
    values[2, 777] = pattern
    leaf = weights.add(dtype, (3, 1024), values.tobytes())
    with pytest.raises(Error, match=r"tensor 'x' contains a value that is not finite") as caught:
        weights.make(tmp_path / "out", ("x", quantize(quant, leaf) if quant else leaf))
    assert ("at", "[2, 777]") in caught.value.facts
    assert caught.value.path == str(weights.path)


def test_overflow_is_an_error(weights: Weights, tmp_path: Path) -> None:
    values = np.full((2, 256), 1e30, np.float32)
    leaf = weights.add("f32", (2, 256), values.tobytes())
    with pytest.raises(Error, match="too large for q4_k"):
        weights.make(tmp_path / "out", ("x", quantize("q4_k", leaf)))
    with pytest.raises(Error, match="too large for f16"):
        weights.make(tmp_path / "out", ("x", cast("f16", leaf)))


def test_memory_stays_bounded(weights: Weights, tmp_path: Path) -> None:
    weights.memory = 16 << 20
    leaf = weights.add("bf16", (16384, 4096), bf16((16384, 4096)))
    peak = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, resident())

    thread = threading.Thread(target=watch)
    thread.start()
    before = resident()
    weights.make(tmp_path / "out", ("x", quantize("q8_0", leaf)))
    done.set()
    thread.join()
    assert peak - before < 40 << 20


@pytest.mark.parametrize("memory", [1 << 10, 48 << 20])
def test_large_units_under_way_are_bounded_by_memory(weights: Weights, tmp_path: Path, memory: int) -> None:
    """A transposed matrix is made whole: 4 MiB of source and 8 as f32, then 8 that lie the other way, and 2 of result."""
    weights.jobs, weights.memory = 8, memory
    entries = []
    for rows in (1024, 992, 960, 928):
        wide = cast("f32", weights.add("bf16", (3, rows, 2048), bf16((3, rows, 2048))))
        entries.append((f"x{rows}", quantize("q8_0", transpose(wide))))
    tracemalloc.start()
    weights.make(tmp_path / "out", *entries)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < max(memory, 22 << 20) + (2 << 20)


@pytest.mark.parametrize("passing", [True, False])
def test_passing_region_leaves_the_page_cache(weights: Weights, tmp_path: Path, passing: bool) -> None:
    quantized = quantize("q8_0", weights.add("bf16", (512, 4096), bf16((512, 4096))))
    (span,) = weights.make(tmp_path / "one", ("x", quantized)).spans
    leave_cache(tmp_path / "one")
    weights.found[span.key] = (Region(str(tmp_path / "one"), span.offset, span.length, "one", passing), span.xxh3)
    weights.make(tmp_path / "two", ("x", quantized))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    for _ in range(5):  # a page that the kernel has in hand at that moment stays
        leave_cache(tmp_path / "one")
        weights.make(tmp_path / "two", ("x", quantized))
        stays = cached(tmp_path / "one", span.offset + span.length // 2)
        if stays != passing:
            break
    assert stays != passing


def leave_cache(path: Path) -> None:
    """Put a file on the disk and out of the page cache; skip the test where that cannot be or cannot be seen."""
    if not hasattr(os, "RWF_NOWAIT"):
        pytest.skip("this system does not say what is in the page cache")
    with path.open("rb") as file:
        os.fdatasync(file.fileno())
        for _ in range(5):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            if not cached(path, path.stat().st_size // 2):
                return
            time.sleep(0.01)
    pytest.skip("the file system keeps its files in memory")


def cached(path: Path, offset: int) -> bool:
    """Whether a byte of a file is in the page cache."""
    with path.open("rb") as file:
        try:
            return os.preadv(file.fileno(), [bytearray(1)], offset, os.RWF_NOWAIT) == 1
        except BlockingIOError:
            return False


def resident() -> int:
    """Resident set of this process in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_the_fault_is_raised_and_not_that_others_gave_up_for_it(
    weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first tensor's chunk waits until the second one's has failed."""
    failed = threading.Event()
    chunk = evaluate.Reader.chunk

    def later(reader: evaluate.Reader, task: evaluate.Chunk) -> evaluate.Buffer:
        if task.entry.name == "a":
            assert failed.wait(10)
        return chunk(reader, task)

    def abort(reader: evaluate.Reader, cause: BaseException) -> None:
        give_up(reader, cause)
        failed.set()

    give_up = evaluate.Reader.abort
    monkeypatch.setattr(evaluate.Reader, "chunk", later)
    monkeypatch.setattr(evaluate.Reader, "abort", abort)
    a, b = weights.add("bf16", (4, 32), bf16((4, 32))), weights.add("bf16", (4, 32), bf16((4, 32), 1))
    weights.found[b.key] = (Region(str(tmp_path / "gone"), 0, b.size, "gone"), b.digest)
    with pytest.raises(evaluate.Gone):
        weights.make(tmp_path / "out", ("a", a), ("b", b))

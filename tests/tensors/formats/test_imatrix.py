"""Importance matrices of both forms, written by gguf-py or by hand, and read as llama-quantize reads them."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from gguf import GGUFReader, GGUFWriter

from modelbuild.tensors import packing
from modelbuild.tensors.formats import imatrix
from modelbuild.tensors.formats.imatrix import Imatrix
from tests import checkpoints, recipes

Floats = npt.NDArray[np.float32]


def write(path: Path, sums: Mapping[str, Floats], counts: Mapping[str, Floats], **changes: object) -> Path:
    """The GGUF form: sums `[matrices, columns]` and counts `[matrices, 1]` of each weight."""
    values = {"type": "imatrix", "datasets": ["wiki.txt", "code.txt"], "chunk_count": 7, "chunk_size": 512, **changes}
    writer = GGUFWriter(path, "")
    if values["type"]:
        writer.add_type(str(values["type"]))
    if values["datasets"] is not None:
        writer.add_array("imatrix.datasets", values["datasets"])  # type: ignore[arg-type]
    for key in ("chunk_count", "chunk_size"):
        if values[key] is not None:
            writer.add_uint32(f"imatrix.{key}", values[key])  # type: ignore[arg-type]
    for name in sorted(sums):
        writer.add_tensor(f"{name}.in_sum2", sums[name])
        writer.add_tensor(f"{name}.counts", counts[name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def older(entries: Sequence[tuple[str, int, Floats]], end: bytes = b"") -> bytes:
    """The form before GGUF: (name, calls, values) of each weight."""
    parts = [struct.pack("<i", len(entries))]
    for name, calls, values in entries:
        parts += [struct.pack("<i", len(name.encode())), name.encode()]
        parts += [struct.pack("<ii", calls, values.size), values.astype("<f4").tobytes()]
    return b"".join(parts) + end


def floats(matrix: Imatrix, name: str) -> Floats:
    return np.frombuffer(matrix.entries[name], "<f4")


def squares(*shape: int, seed: int = 0) -> Floats:
    return (np.random.default_rng(seed).standard_normal(shape) ** 2 * 1000).astype(np.float32)


def test_sums_are_divided_by_the_counts_of_their_matrices(tmp_path: Path) -> None:
    sums = {"a.weight": squares(1, 32), "experts.weight": squares(4, 64)}
    counts = {
        "a.weight": np.array([[1031]], np.float32),
        "experts.weight": np.array([[3], [0], [77], [1e7]], np.float32),
    }
    read = imatrix.read(str(write(tmp_path / "m.gguf", sums, counts)))
    assert floats(read, "a.weight").tolist() == (sums["a.weight"] / np.float32(1031)).ravel().tolist()
    experts = sums["experts.weight"] / np.array([[3], [1], [77], [1e7]], np.float32)
    experts[1] = 1  # an expert that was never asked
    assert floats(read, "experts.weight").tolist() == experts.ravel().tolist()
    assert (read.datasets, read.chunks) == (("wiki.txt", "code.txt"), 7)
    assert imatrix.parse((tmp_path / "m.gguf").read_bytes(), "m.gguf") == read


def test_counts_are_rounded_as_llama_quantize_rounds_them(tmp_path: Path) -> None:
    counts = {"a": np.array([[2.5], [0.4], [0.5], [3.4999998]], np.float32)}
    read = imatrix.read(str(write(tmp_path / "m.gguf", {"a": np.full((4, 1), 6, np.float32)}, counts)))
    assert floats(read, "a").tolist() == [2, 1, 6, 2]


@pytest.mark.parametrize(("chunks", "kept"), [(0, None), (1, 1), ((1 << 31) - 1, (1 << 31) - 1), (1 << 31, None)])
def test_chunks_are_what_fits_a_positive_int(chunks: int, kept: int | None, tmp_path: Path) -> None:
    ones = {"a": np.ones((1, 1), np.float32)}
    assert imatrix.read(str(write(tmp_path / "m.gguf", ones, ones, chunk_count=chunks))).chunks == kept
    (tmp_path / "m.dat").write_bytes(older([("a", 1, ones["a"])], struct.pack("<I", chunks)))
    assert imatrix.read(str(tmp_path / "m.dat")).chunks == kept


def test_datasets_keep_bytes_that_are_no_text_and_end_at_a_zero(tmp_path: Path) -> None:
    ones = {"a": np.ones((1, 1), np.float32)}
    path = write(tmp_path / "m.gguf", ones, ones, datasets=["gr\u00fc\u00df.txt", "0123"])
    data = path.read_bytes().replace("gr\u00fc\u00df".encode(), b"gr\xfc.\xdf.").replace(b"0123", b"01\x003")
    assert imatrix.parse(data, "m.gguf").datasets == ("gr\udcfc.\udcdf..txt", "01")
    legacy = older([("a", 1, ones["a"])], struct.pack("<ii", 3, 4) + b"\xff.tx")
    assert imatrix.parse(legacy, "m.dat").datasets == ("\udcff.tx",)


def test_without_a_type_it_is_read_all_the_same(tmp_path: Path) -> None:
    ones = {"a": np.ones((1, 1), np.float32)}
    assert imatrix.read(str(write(tmp_path / "m.gguf", ones, ones, type=""))).entries


def test_other_tensors_are_passed_over(tmp_path: Path) -> None:
    ones = {"a": np.ones((1, 1), np.float32)}
    data = write(tmp_path / "m.gguf", {**ones, "bb": ones["a"]}, {**ones, "bb": ones["a"]}).read_bytes()
    data = data.replace(b"bb.counts", b"bb.other1").replace(b"bb.in_sum2", b"bb.others1")
    assert list(imatrix.parse(data, "m.gguf").entries) == ["a"]


@pytest.mark.parametrize(
    ("end", "datasets", "chunks"),
    [
        (b"", (), None),
        (struct.pack("<i", 40), (), 40),
        (struct.pack("<ii", 40, 0), (), 40),
        (struct.pack("<ii", 40, 8) + b"wiki.txt", ("wiki.txt",), 40),
        (struct.pack("<ii", -3, 8) + b"wiki.txt", ("wiki.txt",), None),
    ],
)
def test_the_older_form_says_its_calls_and_maybe_its_text(
    end: bytes, datasets: tuple[str, ...], chunks: int | None
) -> None:
    values = squares(2, 48)
    read = imatrix.parse(older([("b.weight", 7, values[0]), ("a.weight", 0, values[1])], end), "m.dat")
    assert floats(read, "b.weight").tolist() == (values[0] / np.float32(7)).tolist()
    assert floats(read, "a.weight").tolist() == values[1].tolist()  # as llama-quantize has it, without ones
    assert list(read.entries) == ["b.weight", "a.weight"]
    assert (read.datasets, read.chunks) == (datasets, chunks)


@pytest.mark.peer
@pytest.mark.parametrize("form", ["gguf", "older"])
@pytest.mark.parametrize("ftype", ["q4_K_M", "q2_K", "q5_1", "iq4_xs"])
def test_llama_quantize_reads_the_same(ftype: str, form: str, tmp_path: Path) -> None:
    """Its tensors are those that our kernels make with the weights that we read."""
    from tests.tensors.quants.ggml_oracle import build

    quantizer = next(build().rglob("bin/llama-quantize"))
    folder = checkpoints.write(tmp_path / "m", "f32")
    source = tmp_path / "m.gguf"
    source.write_bytes(recipes.file_of(recipes.converted(folder), recipes.Folder(folder).leaves()))
    tensors = {t.name: t for t in GGUFReader(source).tensors}
    skipped = ("blk.0.ffn_up.weight", "token_embd.weight")
    columns = {name: int(t.shape[0]) for name, t in tensors.items() if len(t.shape) == 2 and name not in skipped}
    sums = {name: squares(1, size, seed=number) for number, (name, size) in enumerate(columns.items())}
    matrix = tmp_path / "m.imatrix"
    if form == "gguf":
        counts = {name: np.array([[number * 100]], np.float32) for number, name in enumerate(sums)}
        write(matrix, sums, counts)
    else:
        entries = [(name, number, values.ravel()) for number, (name, values) in enumerate(sums.items())]
        matrix.write_bytes(older(entries, struct.pack("<ii", 5, 5) + b"a.txt"))
    run = [quantizer, "--imatrix", matrix, source, tmp_path / "out.gguf", ftype]
    subprocess.run(run, check=True, capture_output=True)
    read = imatrix.read(str(matrix))
    made = GGUFReader(tmp_path / "out.gguf")
    text = made.fields["quantize.imatrix.dataset"].contents()
    assert [text, made.fields["quantize.imatrix.entries_count"].contents()] == [read.datasets[0], len(read.entries)]
    assert made.fields["quantize.imatrix.chunks_count"].contents() == read.chunks
    for tensor in made.tensors:
        quant = tensor.tensor_type.name.lower()
        values = np.ascontiguousarray(tensors[tensor.name].data)
        out = np.zeros(tensor.n_bytes, np.uint8)
        weights = read.entries.get(tensor.name)
        packing.quantize(quant, "f32", values, out, weights, int(tensor.shape[0]))
        assert out.tobytes() == tensor.data.tobytes(), tensor.name

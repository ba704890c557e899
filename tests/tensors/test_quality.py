"""Quantization error: sums over known values, their independence of threads and memory, and the page that shows them."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from modelbuild.digest import xxh3
from modelbuild.errors import Stopped
from modelbuild.tensors import packing, quants
from modelbuild.tensors.evaluate import Mismatch, Region
from modelbuild.tensors.materialize import Resources
from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.operations.leaf import leaf
from modelbuild.tensors.operations.permute import permute
from modelbuild.tensors.operations.quantize import quantize
from modelbuild.tensors.quality import (
    MEASURES,
    Comparison,
    Figures,
    MeasuredModel,
    MeasuredTensor,
    Stored,
    Sums,
    compare,
    is_exact,
    key,
    origin,
    place,
    shown,
    worst,
)
from modelbuild.tensors.recipe import Expression
from tests.checkpoints import values

GGUF_TYPES = {quant: gguf.GGMLQuantizationType(quants.get(quant).ggml_type) for quant in quants.names()}
READABLE = [quant for quant in quants.names() if quant not in ("f32", "f16", "bf16")]

Floats = np.ndarray[Any, np.dtype[np.float32]]


def weights(data: bytes, dtype: str = "f32", shape: tuple[int, ...] | None = None) -> Expression:
    return leaf(xxh3(data), dtype, shape or (len(data) // quants.get(dtype).bytes,))


def stored(folder: Path, expression: Expression, data: bytes, before: bytes = b"\1\2\3") -> Stored:
    """Bytes of a tensor in the middle of a file."""
    path = folder / f"{expression.dtype}-{xxh3(data)[5:]}"
    path.write_bytes(before + data + b"\4\5\6")
    return Stored(expression, Region(str(path), len(before), len(data), "sha256:blob"), xxh3(data))


def sums_of(
    source: Expression, leaf: bytes, *forms: Stored, jobs: int = 1, memory: int = 1 << 24, region: Region | None = None
) -> list[Sums]:
    def open_leaf(digest: str) -> Region:
        assert region is not None and digest == source.digest
        return region

    constants = {} if region else {next(source.leaves()).digest: leaf}
    with ThreadPoolExecutor(jobs) as pool:
        resources = Resources(pool, jobs, memory, threading.Event())
        ((comparison, found),) = compare(
            [Comparison(source, forms)], constants=constants, open_leaf=open_leaf, resources=resources
        )
    assert comparison.stored == forms
    return found


def packed(quant: str, floats: Floats) -> bytes:
    out = bytearray(floats.size // quants.get(quant).block * quants.get(quant).bytes)
    packing.quantize(quant, "f32", floats.tobytes(), out)
    return bytes(out)


# Sums and figures


def test_sums_of_four_values(tmp_path: Path) -> None:
    leaf = np.array([1.0, -2.0, 3.0, 0.5], "<f4").tobytes()
    x = cast("f16", weights(leaf))
    data = np.array([1.0, -2.25, 3.5, 0.5], "<f2").tobytes()
    (sums,) = sums_of(origin(x), leaf, stored(tmp_path, x, data))
    assert sums == Sums(signal=1 + 4 + 9 + 0.25, noise=0.0625 + 0.25, largest=0.5)
    figures = Figures(4, sums)
    assert figures.rms_error == math.sqrt(0.3125 / 4)
    assert figures.max_error == 0.5
    assert figures.source_rms == math.sqrt(14.25 / 4)
    assert figures.snr_db == pytest.approx(10 * math.log10(14.25 / 0.3125), rel=1e-15)


@pytest.mark.parametrize("quant", READABLE)
def test_figures_are_those_of_gguf_dequantization(tmp_path: Path, quant: str) -> None:
    floats = values(256 * 700, 1)
    data = packed(quant, floats)
    x = quantize(quant, weights(floats.tobytes(), shape=(700, 256)))
    (sums,) = sums_of(origin(x), floats.tobytes(), stored(tmp_path, x, data))
    theirs = gguf.quants.dequantize(np.frombuffer(data, np.uint8), GGUF_TYPES[quant]).astype(np.float64)
    errors = theirs.reshape(-1) - floats.astype(np.float64)
    figures = Figures(floats.size, sums)
    # gguf-py multiplies in another order than ggml here and there: the last bit of an f32.
    assert figures.rms_error == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-6)
    assert figures.max_error == pytest.approx(np.abs(errors).max(), rel=1e-5)
    expected = 10 * np.log10(np.sum(floats.astype(np.float64) ** 2) / np.sum(errors**2))
    assert figures.snr_db == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("jobs", [1, 4])
@pytest.mark.parametrize("memory", [1, 1 << 22, 1 << 28])
def test_figures_depend_on_neither_threads_nor_memory(tmp_path: Path, jobs: int, memory: int) -> None:
    floats = values(576 * 1024, 2)
    leaf = packed("bf16", floats)
    x = permute(weights(leaf, "bf16", (576, 1024)), heads=9)
    forms = [quantize(quant, x) for quant in ("q8_0", "q4_k")]
    held = [stored(tmp_path, form, packed(form.dtype, floats)) for form in forms]
    together = sums_of(x, leaf, *held, jobs=jobs, memory=memory)
    alone = [sums_of(x, leaf, each)[0] for each in held]
    assert together == alone


def test_permuted_weights_are_compared_in_their_new_order(tmp_path: Path) -> None:
    floats = values(8 * 32, 3).reshape(8, 32)
    x = permute(weights(floats.tobytes(), shape=(8, 32)), heads=2)
    rows = floats.reshape(2, 2, 2, 32).swapaxes(1, 2).reshape(8, 32)
    form = quantize("q8_0", x)
    data = packed("q8_0", np.ascontiguousarray(rows).reshape(-1))
    (sums,) = sums_of(x, floats.tobytes(), stored(tmp_path, form, data))
    snr = Figures(256, sums).snr_db
    assert snr is not None and snr > 40


def test_weights_at_the_ends_of_f32_do_not_overflow(tmp_path: Path) -> None:
    leaf = np.array([3e38, -3e38, 1e-40, 0], "<f4").tobytes()
    x = cast("bf16", weights(leaf))
    data = np.array([-3e38, 3e38, 0, 0], "<f4").view(np.uint32) >> 16
    (sums,) = sums_of(origin(x), leaf, stored(tmp_path, x, data.astype("<u2").tobytes()))
    assert sums.largest == pytest.approx(6e38, rel=1e-2)
    assert Figures(4, sums).rms_error == pytest.approx(6e38 / math.sqrt(2), rel=1e-2)


def test_a_copy_and_a_widened_tensor_are_exact_and_never_read(tmp_path: Path) -> None:
    floats = values(512, 4)
    leaf = packed("bf16", floats)
    source = weights(leaf, "bf16")
    gone = Region(str(tmp_path / "none"), 0, 0, "")
    found = sums_of(source, leaf, Stored(source, gone, ""), Stored(cast("f32", source), gone, ""))
    assert found[0] == found[1]
    assert (found[0].noise, found[0].largest) == (0, 0)
    assert Figures(512, found[0]).snr_db is None
    assert Figures(512, found[0]).source_rms == pytest.approx(
        np.sqrt(np.mean(floats.astype(np.float64) ** 2)), rel=1e-2
    )


@pytest.mark.parametrize(("dtype", "data"), [("u8", bytes([1, 2, 3, 4])), ("f8_e5m2", bytes([0x3C, 0x40, 0x42, 0x44]))])
def test_weights_of_a_type_that_only_checkpoints_have_are_read(tmp_path: Path, dtype: str, data: bytes) -> None:
    # 1, 2, 3 and 4 in both.
    x = cast("f32", weights(data, dtype))
    y = Expression("quantize", (), "f16", x.shape, (x,))
    (sums,) = sums_of(origin(y), data, stored(tmp_path, y, np.array([1.0, 2.0, 3.0, 4.5], "<f2").tobytes()))
    assert sums == Sums(signal=30, noise=0.25, largest=0.5)


def test_a_type_that_cannot_be_read_has_no_signal(tmp_path: Path) -> None:
    leaf = bytes(66 * 2)
    source = weights(leaf, "iq2_xxs", (2, 256))
    (sums,) = sums_of(source, leaf, Stored(source, Region(str(tmp_path / "none"), 0, 0, ""), ""))
    assert sums == Sums(None, 0, 0)
    assert Figures(512, sums).data() == {"rms_error": 0, "max_error": 0, "snr_db": None, "source_rms": None}


def test_zeros_have_no_signal_to_noise(tmp_path: Path) -> None:
    leaf = bytes(4 * 256)
    x = quantize("q4_k", weights(leaf, shape=(1, 256)))
    (sums,) = sums_of(origin(x), leaf, stored(tmp_path, x, bytes(144)))
    assert sums == Sums(0, 0, 0)
    assert Figures(256, sums).snr_db is None


def test_sums_survive_being_kept() -> None:
    for sums in (Sums(1 / 3, 2 / 7, 0.1), Sums(None, 0.0, 0.0)):
        assert Sums.decode(sums.encode()) == sums


# Bytes are not believed


@pytest.mark.parametrize("harm", ["flipped", "cut"])
def test_stored_bytes_that_are_not_what_they_were_are_refused(tmp_path: Path, harm: str) -> None:
    floats = values(256 * 8, 5)
    x = quantize("q8_0", weights(floats.tobytes(), shape=(8, 256)))
    form = stored(tmp_path, x, packed("q8_0", floats))
    path = Path(form.region.path)
    data = bytearray(path.read_bytes())
    if harm == "flipped":
        data[100] ^= 1
    path.write_bytes(data if harm == "flipped" else data[:-10])
    with pytest.raises(Mismatch) as caught:
        sums_of(origin(x), floats.tobytes(), form)
    assert caught.value.region == form.region


def test_weights_that_are_not_what_they_were_are_refused(tmp_path: Path) -> None:
    floats = values(256 * 8, 6)
    x = quantize("q8_0", weights(floats.tobytes(), shape=(8, 256)))
    path = tmp_path / "weights"
    path.write_bytes(bytes(floats.nbytes))
    region = Region(str(path), 0, floats.nbytes, "some.weight")
    with pytest.raises(Mismatch) as caught:
        sums_of(origin(x), b"", stored(tmp_path, x, packed("q8_0", floats)), region=region)
    assert caught.value.region == region


def test_a_comparison_that_fails_stops_the_others(tmp_path: Path) -> None:
    comparisons = []
    constants = {}
    for seed in range(6):
        floats = values(1 << 18, seed)
        leaf = floats.tobytes()
        constants[xxh3(leaf)] = leaf
        x = quantize("q8_0", weights(leaf, shape=(1 << 10, 1 << 8)))
        form = stored(tmp_path, x, packed("q8_0", floats))
        comparisons.append(Comparison(origin(x), (form._replace(xxh3="xxh3:other") if seed == 0 else form,)))
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool, pytest.raises(Mismatch):
        list(
            compare(
                comparisons,
                constants=constants,
                open_leaf=lambda digest: pytest.fail(digest),
                resources=Resources(pool, 1, 1 << 24, stop),
            )
        )
    assert stop.is_set()


def test_an_interrupted_comparison_gives_up(tmp_path: Path) -> None:
    floats = values(1 << 16, 7)
    x = quantize("q8_0", weights(floats.tobytes(), shape=(1 << 8, 1 << 8)))
    form = stored(tmp_path, x, packed("q8_0", floats))
    stop = threading.Event()
    stop.set()
    with ThreadPoolExecutor(1) as pool, pytest.raises(Stopped):
        resources = Resources(pool, 1, 1 << 24, stop)
        constants = {origin(x).digest: floats.tobytes()}
        list(compare([Comparison(origin(x), (form,))], constants=constants, open_leaf=pytest.fail, resources=resources))


# Expressions


def test_the_origin_stands_below_all_roundings() -> None:
    x = leaf("xxh3:0", "bf16", (8, 256))
    moved = permute(x, 2)
    assert origin(x) is x
    assert origin(quantize("q4_k", cast("f16", moved))) is moved
    unpacked = Expression("dequantize", (), "f32", (8, 256), (quantize("q8_0", moved),))
    assert origin(quantize("q4_k", unpacked)) is moved


@pytest.mark.parametrize(
    ("types", "exact"),
    [
        ((), True),
        (("f32",), True),
        (("f16",), False),
        (("q8_0",), False),
        (("f16", "f32"), False),
        (("f32", "q4_k"), False),
    ],
)
def test_only_widening_is_exact(types: Sequence[str], exact: bool) -> None:
    x = leaf("xxh3:0", "bf16", (8, 256))
    for dtype in types:
        x = quantize(dtype, x)
    assert is_exact(x) is exact


def test_figures_are_kept_by_weights_and_stored_form() -> None:
    one, other = (leaf(f"xxh3:{n}", "bf16", (8, 256)) for n in (0, 1))
    keys = {key(origin(x), x) for x in (quantize("q8_0", one), quantize("q4_k", one), one)}
    keys.add(key(other, quantize("q8_0", other)))
    assert len(keys) == 4
    assert keys == {key(origin(x), x) for x in (quantize("q8_0", one), quantize("q4_k", one), one)} | {
        key(other, quantize("q8_0", other))
    }


@pytest.mark.parametrize(
    ("name", "block", "kind"),
    [
        ("blk.0.attn_q.weight", 0, "attn_q"),
        ("blk.31.ffn_down_exps.weight", 31, "ffn_down_exps"),
        ("blk.7.attn_q.bias", 7, "attn_q.bias"),
        ("enc.blk.3.attn_q.weight", 3, "enc.attn_q"),
        ("token_embd.weight", None, "token_embd"),
        ("rope_freqs.weight", None, "rope_freqs"),
        ("odd", None, "odd"),
    ],
)
def test_place_of_a_tensor(name: str, block: int | None, kind: str) -> None:
    assert place(name) == (block, kind)


# A model as a whole


def a_model(name: str = "m:q8_0", quant: str = "q8_0", names: Sequence[str] = ()) -> MeasuredModel:
    def tensor(name: str, shape: tuple[int, ...], dtype: str, sums: Sums) -> MeasuredTensor:
        x = leaf(xxh3(name.encode()), "bf16", shape)
        return MeasuredTensor(name, shape, quantize(dtype, x), sums)

    tensors = [
        tensor("output_norm.weight", (256,), "f32", Sums(256.0, 0.0, 0.0)),
        tensor("output.weight", (4, 256), "bf16", Sums(40.0, 0.0, 0.0)),
        *(
            tensor(f"blk.{n}.{kind}.weight", (2, 256), quant, Sums(20.0 + n, 0.02 * (n + 1), 0.01 * (n + 1)))
            for n in range(3)
            for kind in ("attn_q", "ffn_down")
        ),
        *(tensor(name, (2, 256), quant, Sums(1 / 3, 1 / 7, 1 / 9)) for name in names),
    ]
    return MeasuredModel(name, (name, "m:latest"), quant, "sha256:" + "0" * 64, 12345, tuple(tensors))


def test_a_whole_model_counts_each_weight_once_and_no_vectors() -> None:
    model = a_model()
    data = model.data()
    weights, noise, signal = 4 * 256 + 6 * 512, 2 * 0.02 * 6, 40 + 2 * (20 + 21 + 22)
    assert data["rms_error"] == pytest.approx(math.sqrt(noise / weights), rel=1e-14)
    assert data["snr_db"] == pytest.approx(10 * math.log10(signal / noise), rel=1e-14)
    assert data["max_error"] == 0.03
    assert data["weights"] == 256 + weights
    assert data["tensor_bytes"] == 4 * 256 + 2 * 4 * 256 + 6 * 544
    assert data["bits_per_weight"] == 8 * data["tensor_bytes"] / data["weights"]
    assert data["model_bytes"] == 12345
    assert [tensor["exact"] for tensor in data["tensors"]] == [True, True, *[False] * 6]
    assert data["tensors"][2]["bits_per_weight"] == 8.5
    json.dumps(data, allow_nan=False)


def test_figures_as_people_read_them() -> None:
    lossy = {"max_error": 0.5, "snr_db": 12.345, "rms_error": 0.000123456, "bits_per_weight": 4.5}
    assert [shown(lossy, measure) for measure in MEASURES] == ["12.35", "1.235e-04", "5.000e-01", "4.50"]
    exact = {"max_error": 0.0, "snr_db": None, "rms_error": 0.0, "bits_per_weight": 16.0}
    assert [shown(exact, measure) for measure in MEASURES] == ["exact", "exact", "exact", "16.00"]


def test_the_worst_come_first_and_exact_ones_last() -> None:
    tensors = worst(a_model().data()["tensors"])
    assert [tensor["name"] for tensor in tensors[:2]] == ["blk.2.attn_q.weight", "blk.2.ffn_down.weight"]
    assert [tensor["name"] for tensor in tensors[-2:]] == ["output_norm.weight", "output.weight"]

"""Random sizes, alignments and contents through every kernel, against numpy: `python -m tests.tensors.quants.fuzz SECONDS [SEED]`.

Buffers are allocated exactly, so that under AddressSanitizer (sanitize.sh) one byte too far is a finding.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import numpy.typing as npt

from modelbuild.tensors import quants
from modelbuild.tensors.quants import _numpy
from tests.tensors.quants.quant_data import families, importances
from tests.tensors.quants.ways import BLOCKS, NATIVE, WEIGHTED, native, pack, unpack

FAMILIES = [values for _, values in families(1 << 15, seed=21)]
IMPORTANCES = [weights for _, weights in importances(1 << 12, seed=22)]
DTYPES = {"f32": 4, "f16": 2, "bf16": 2}


def exact(size: int, shift: int) -> npt.NDArray[np.uint8]:
    """`size` bytes at the very end of an allocation, `shift` bytes into it."""
    return np.empty(size + shift, np.uint8)[shift:]


def contents(random: np.random.Generator, count: int, dtype: str) -> npt.NDArray[np.uint8]:
    """Values of a family, some replaced by random bits; every tenth time bits alone."""
    if random.random() < 0.1:
        return random.integers(0, 256, count * DTYPES[dtype], np.uint8)
    family = FAMILIES[random.integers(len(FAMILIES))]
    start = random.integers(0, family.size - count + 1)
    values = family[start : start + count].copy()
    if count and random.random() < 0.2:
        values.view(np.uint32)[random.integers(0, count, 3)] = random.integers(0, 2**32, 3, np.uint32)
    if dtype == "f32":
        return values.view(np.uint8)
    with np.errstate(all="ignore"):
        half = values.astype(np.float16) if dtype == "f16" else (values.view(np.uint32) >> 16).astype(np.uint16)
    return half.view(np.uint8)


def weights_and_columns(
    random: np.random.Generator, quant: str, count: int
) -> tuple[npt.NDArray[np.uint8] | None, int]:
    """Weights for rows of such a length that `count` values are whole rows, half the time; else none."""
    blocks = count // quants.get(quant).block
    lengths = [n for n in range(1, blocks + 1) if blocks % n == 0 and n * quants.get(quant).block <= 1 << 12]
    if quant not in WEIGHTED or not lengths or random.random() < 0.5:
        return None, 0
    columns = int(random.choice(lengths)) * quants.get(quant).block
    of = IMPORTANCES[random.integers(len(IMPORTANCES))]
    start = random.integers(0, of.size - columns + 1)
    weights = exact(columns * 4, int(random.integers(0, 65)))
    weights[:] = of[start : start + columns].view(np.uint8)
    return weights, columns


def attempt(random: np.random.Generator) -> None:
    way = str(random.choice(NATIVE))
    quant = str(random.choice([*BLOCKS, "f32", "f16", "bf16"]))
    dtype = str(random.choice(list(DTYPES)))
    form = quants.get(quant)
    count = (
        int(random.integers(0, 3000) if random.random() < 0.9 else random.integers(0, 30000)) // form.block * form.block
    )
    data = contents(random, count, dtype)
    source, out = (
        exact(data.size, int(random.integers(0, 65))),
        exact(count // form.block * form.bytes, int(random.integers(0, 65))),
    )
    source[:] = data
    out[:] = 0xAA
    weights, columns = weights_and_columns(random, quant, count)
    found = native.quantize(way, form.ggml_type, quants.get(dtype).ggml_type, source, out, weights, columns)
    expected, expected_found = pack("numpy", quant, dtype, data, weights, columns)
    where = f"{way} {quant} from {dtype}, {count} values, weights of {columns} columns"
    assert found == expected_found, (where, found, expected_found)
    if found[0] < 0:
        assert np.array_equal(out, expected), where
    bits = random.integers(0, 256, out.size, np.uint8) if random.random() < 0.5 else expected
    packed, floats = exact(bits.size, int(random.integers(0, 65))), exact(count * 4, int(random.integers(0, 65)))
    packed[:] = bits
    native.dequantize(way, form.ggml_type, packed, floats)
    with np.errstate(all="ignore"):
        same = floats.view(np.float32), unpack("numpy", quant, bits)
    assert np.array_equal(*same, equal_nan=True), where
    checked = quants.get(dtype)
    assert native.first_nonfinite(way, checked.ggml_type, source) == _numpy.first_nonfinite(dtype, data), where


def main() -> None:
    seconds, seed = float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    random = np.random.default_rng(seed)
    end, rounds = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        attempt(random)
        rounds += 1
    print(f"{rounds} rounds on {', '.join(NATIVE)}: nothing found")


if __name__ == "__main__":
    main()

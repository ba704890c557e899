"""Random sizes, alignments and contents through every kernel, against numpy: `python -m tests.quants.fuzz SECONDS [SEED]`.

Buffers are allocated exactly, so that under AddressSanitizer (sanitize.sh) one byte too far is a finding.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import numpy.typing as npt

from modelbuild import quants
from tests.quants.quant_data import families
from tests.quants.ways import BLOCKS, NATIVE, native, pack, unpack

FAMILIES = [values for _, values in families(1 << 15, seed=21)]
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
    found = native.quantize(way, form.ggml_type, quants.get(dtype).ggml_type, source, out)
    expected, expected_found = pack("numpy", quant, dtype, data)
    where = f"{way} {quant} from {dtype}, {count} values"
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
    assert native.first_nonfinite(way, checked.ggml_type, source) == quants._numpy.first_nonfinite(dtype, data), where  # type: ignore[attr-defined]


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

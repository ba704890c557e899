"""Unpacking, against gguf-py."""

from __future__ import annotations

import gguf
import gguf.quants
import numpy as np
import pytest

from modelbuild.tensors import packing, quants
from tests.tensors.quants.quant_data import families
from tests.tensors.quants.ways import BLOCKS, WAYS, pack, unpack


@pytest.mark.parametrize("quant", BLOCKS)
def test_every_way_unpacks_as_gguf_py_does(quant):
    form = quants.get(quant)
    for name, values in families(4096):
        packed, (_, overflow) = pack("numpy", quant, "f32", values)
        if overflow >= 0:
            continue
        with np.errstate(all="ignore"):
            expected = gguf.quants.dequantize(packed.reshape(-1, form.bytes), gguf.GGMLQuantizationType(form.ggml_type))
        for way in WAYS:
            assert unpack(way, quant, packed).tobytes() == expected.astype(np.float32).tobytes(), (name, way)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("quant", BLOCKS)
def test_every_way_unpacks_blocks_of_random_bytes_alike(quant, way):
    form = quants.get(quant)
    blocks = np.random.default_rng(1).integers(0, 256, (64, form.bytes), np.uint8)
    for at in quants.module(quant).HALVES:
        blocks[:, at + 1] &= 0xBB  # finite scales
    with np.errstate(all="ignore"):
        expected = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType(form.ggml_type)).astype(np.float32)
    assert np.array_equal(unpack(way, quant, blocks.reshape(-1)), expected.reshape(-1))


@pytest.mark.parametrize("quant", BLOCKS)
def test_unpacking_checks_sizes(quant):
    form = quants.get(quant)
    with pytest.raises(ValueError, match="not a whole number"):
        packing.dequantize(quant, bytes(form.bytes - 1), bytearray(form.block * 4))
    with pytest.raises(ValueError, match=f"{form.block} values take {form.block * 4} bytes as f32, got 4"):
        packing.dequantize(quant, bytes(form.bytes), bytearray(4))

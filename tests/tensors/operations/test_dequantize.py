"""Blocks unpacked into floats."""

from __future__ import annotations

from modelbuild.tensors.operations.dequantize import dequantize
from modelbuild.tensors.operations.quantize import quantize
from tests.tensors.made import Made


def test_quantized_and_back(made: Made) -> None:
    x = made.leaf(24, 256, dtype="bf16")
    for quant in ("q8_0", "q4_k", "q6_k", "iq4_nl"):
        packed = quantize(quant, x)
        made.check(packed, dequantize(packed), quantize("q4_0", dequantize(packed)))

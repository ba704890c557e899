"""MXFP4 packed as ggml has it."""

from __future__ import annotations

from modelbuild.tensors.operations.mxfp4 import mxfp4
from modelbuild.tensors.operations.slice import slice_
from tests.tensors.made import Made


def test_blocks_are_packed_whole_and_in_slices(made: Made) -> None:
    blocks, scales = made.leaf(4, 10, 6, 16, dtype="u8"), made.leaf(4, 10, 6, dtype="u8")
    whole = mxfp4(blocks, scales)
    halves = [mxfp4(slice_(blocks, 1, n, 10, 2), slice_(scales, 1, n, 10, 2)) for n in (0, 1)]
    made.check(whole, *halves, slice_(whole, 0, 1, 3), *(slice_(whole, 1, n, 10, 2) for n in (0, 1)))

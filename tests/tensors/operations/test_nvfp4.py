"""NVFP4 packed as ggml has it."""

from __future__ import annotations

import pytest

from modelbuild.tensors.operations.nvfp4 import nvfp4
from modelbuild.tensors.operations.permute import permute
from modelbuild.tensors.operations.stack import stack
from tests.tensors.made import Made


def test_blocks_are_packed_and_moved(made: Made) -> None:
    experts = [nvfp4(made.leaf(16, 64, dtype="u8"), made.leaf(16, 8, dtype="f8_e4m3")) for _ in range(3)]
    made.check(experts[0], permute(experts[0], 2), stack(experts))


def test_what_does_not_fit_is_refused(made: Made) -> None:
    for blocks, scales in (((4, 32), (4, 5)), ((4, 32), (3, 4)), ((4, 24), (4, 3)), ((2, 4, 32), (2, 4, 4))):
        with pytest.raises(ValueError, match="NVFP4"):
            nvfp4(made.leaf(*blocks, dtype="u8"), made.leaf(*scales, dtype="f8_e4m3"))
    with pytest.raises(ValueError, match="got u8 and f32"):
        nvfp4(made.leaf(4, 32, dtype="u8"), made.leaf(4, 4))

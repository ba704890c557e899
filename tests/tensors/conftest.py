"""Weights in a file, made with several numbers of threads and limits of memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tensors.made import Made, Weights


@pytest.fixture
def weights(tmp_path: Path) -> Weights:
    return Weights(tmp_path / "weights")


@pytest.fixture(
    params=[(1, 1 << 12), (4, 1 << 12), (4, 1 << 16), (1, 64 << 20), (4, 64 << 20)],
    ids=lambda p: f"{p[0]} jobs, {p[1]} bytes",
)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Made:
    return Made(tmp_path, *request.param)

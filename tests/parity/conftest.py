"""One process of the peers for all tests of parity: it takes long to start. The table that closes a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.peft import Apart

from .peers import Peers

ROWS: list[tuple[str, int, float, float]] = []
"""Checkpoint, positions compared, percent of them with the same likeliest token, largest difference of log probabilities."""


@pytest.fixture(scope="session")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    peers = Peers(tmp_path_factory.mktemp("peers"))
    yield peers
    peers.close()


MERGES: list[tuple[str, Apart]] = []
"""What was merged, and how far our merge and PEFT's lie apart."""
LAYERS: list[tuple[str, dict[str, Any]]] = []
"""What was compared, and positions, those with the same likeliest token, and the largest difference of log probabilities."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for what, apart in MERGES:
        found = f"{apart.share:.4%} of {apart.count} differ by {apart.units} units, {apart.nothing} of nothing"
        terminalreporter.write_line(f"{what:30}  {found if apart.count else f'{apart.error:.1e}'}")
    for what, row in LAYERS:
        terminalreporter.write_line(
            f"{what:50}  {row['same']} of {row['positions']} the same top-1  {row['difference']:.1e} nats"
        )
    if not ROWS:
        return
    terminalreporter.section("llama.cpp's runtime and transformers, f32")
    width = max(len(row[0]) for row in ROWS)
    terminalreporter.write_line(f"{'checkpoint':{width}}  positions  same top-1  largest difference (nats)")
    for name, positions, percent, difference in ROWS:
        terminalreporter.write_line(f"{name:{width}}  {positions:9}  {percent:9.1f}%  {difference:.1e}")

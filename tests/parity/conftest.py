"""One process of the peers for all tests of parity: it takes long to start. The table that closes a run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .peers import Peers

ROWS: list[tuple[str, int, float, float]] = []
"""Checkpoint, positions compared, percent of them with the same likeliest token, largest difference of log probabilities."""


@pytest.fixture(scope="session")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    peers = Peers(tmp_path_factory.mktemp("peers"))
    yield peers
    peers.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not ROWS:
        return
    terminalreporter.section("llama.cpp's runtime and transformers, f32")
    width = max(len(row[0]) for row in ROWS)
    terminalreporter.write_line(f"{'checkpoint':{width}}  positions  same top-1  largest difference (nats)")
    for name, positions, percent, difference in ROWS:
        terminalreporter.write_line(f"{name:{width}}  {positions:9}  {percent:9.1f}%  {difference:.1e}")

"""One process of the peers for all tests of parity: it takes long to start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .peers import Peers


@pytest.fixture(scope="session")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    peers = Peers(tmp_path_factory.mktemp("peers"))
    yield peers
    peers.close()

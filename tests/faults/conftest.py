"""What takes minutes runs where it is asked for by its marker."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "peer" in config.getoption("-m"):
        return
    for item in items:
        if item.get_closest_marker("peer") and "tests/faults/" in item.path.as_posix():
            item.add_marker(pytest.mark.skip(reason="takes minutes: run with -m peer"))

"""What holds for every test."""

from __future__ import annotations

import os
import signal

import pytest

# The command is run hundreds of times: the first run may keep its bytecode for the others.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A server of whoever runs the tests is asked nothing.
os.environ["OLLAMA_HOST"] = "http://none.invalid"

# Whoever starts the tests in the background may have them ignore Ctrl-C, and all that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

LONG = ("tests/attacks/", "tests/faults/", "tests/parity/test_runtime")
"""Where tests marked `peer` need no peer, but minutes."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "peer" in config.getoption("-m"):
        return
    for item in items:
        if item.get_closest_marker("peer") and any(folder in item.path.as_posix() for folder in LONG):
            item.add_marker(pytest.mark.skip(reason="takes minutes: run with -m peer"))

"""What holds for every test."""

from __future__ import annotations

import gc
import os
import signal
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

# The command is run hundreds of times: the first run may keep its bytecode for the others. So may the tests, whose asserts
# pytest rewrites: without, that is an eighth of the time that all of them take.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A server of whoever runs the tests is asked nothing.
os.environ["OLLAMA_HOST"] = "http://none.invalid"

# Whoever starts the tests in the background may have them ignore Ctrl-C, and all that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Nobody here pulls the plug, and a kill loses nothing that was written: a slow disk would only have the tests wait for it.
os.fsync = os.fstat  # type: ignore[assignment]


def pytest_sessionstart(session: pytest.Session) -> None:
    """Have the second worker import the modules of tests from the last on, before it collects them.

    Each worker imports all of them, and the first begins with the first: in a new clone each then compiles one half, and
    finds the other compiled.
    """
    worker = getattr(session.config, "workerinput", {}).get("workerid")
    if worker != "gw1" or session.config.args != session.config.getini("testpaths"):
        return
    from pytest import skip

    root = session.config.rootpath
    for path in sorted(Path(__file__).parent.rglob("test_*.py"), reverse=True):
        # What cannot be imported, or skips itself, says so when it is collected.
        with suppress(Exception, skip.Exception):
            import_module(".".join(path.relative_to(root).with_suffix("").parts))


def pytest_collection() -> None:
    """What is collected stays to the end: to look through it for garbage again and again takes a quarter of the collection."""
    gc.disable()


def pytest_collection_finish() -> None:
    gc.enable()
    gc.freeze()

"""Whatever a file holds, it is built or refused by an error, in bounded time and memory: each by the command, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from . import driver, hostile

ROOT = Path(__file__).parents[2]
PEAK = 600 << 20

QUICK = (
    "card-merged-wide", "card-hexadecimal-of-5000-digits", "config-vocab-size-16777216", "config-900-deep",
    "generation-top-k-of-400-digits", "gguf-split-count-a-text", "gguf-type-a-list", "imatrix-claims-values",
    "index-of-20000-missing-files", "safetensors-shape-960-deep", "safetensors-shape-of-100000-dimensions",
    "template-doubling", "tokenizer-length-0", "tokenizer-regex-pluses", "tokenizer-replace-by-a-thousand-four-times",
    "tokenizer-template-of-a-missing-token", "tokenizer-unk-missing", "toml-hexadecimal-variable",
    "toml-metadata-of-400-digits",
)  # fmt: skip
"""One or two of each kind, for every run of the tests; all others are run with the peers."""


class Drivers:
    """Processes that run cases, as many as there are cores; what they run is asked for ahead."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        count = min(os.cpu_count() or 1, 4)
        self._free: SimpleQueue[tuple[Path, subprocess.Popen[str]]] = SimpleQueue()
        self._all = [self._start(folder / str(number)) for number in range(min(count, len(names)))]
        for each in self._all:
            self._free.put(each)
        self._pool = ThreadPoolExecutor(max(1, len(self._all)))
        self.told: dict[str, Future[list[dict[str, Any]]]] = {
            name: self._pool.submit(self._run, name) for name in names
        }

    @staticmethod
    def _start(folder: Path) -> tuple[Path, subprocess.Popen[str]]:
        environment = {**os.environ, "RUST_BACKTRACE": "0"}
        command = [sys.executable, "-m", "tests.attacks.driver"]
        pipe = subprocess.PIPE
        return folder, subprocess.Popen(command, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, text=True)

    def _run(self, name: str) -> list[dict[str, Any]]:
        folder, process = self._free.get()
        try:
            assert process.stdin is not None and process.stdout is not None
            asked = {"case": name, "folder": str(folder), "real": hostile.cases()[name].heavy}
            process.stdin.write(json.dumps(asked) + "\n")
            process.stdin.flush()
            return list(json.loads(process.stdout.readline()))
        finally:
            self._free.put((folder, process))

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        for _, process in self._all:
            process.communicate()


@pytest.fixture(scope="module")
def drivers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drivers]:
    mine = [item for item in request.session.items if item.path == request.path and isinstance(item, pytest.Function)]
    names = [item.callspec.params["name"] for item in mine if hasattr(item, "callspec")]
    drivers = Drivers(tmp_path_factory.mktemp("hostile"), names)
    yield drivers
    drivers.close()


def check(drivers: Drivers, name: str) -> None:
    for told in drivers.told[name].result():
        where = f"{told['command']}: {told}"
        assert told["code"] in (0, 1, 2), where
        assert "Traceback" not in told["errors"] and "internal error" not in told["errors"], where
        assert told["seconds"] <= driver.SECONDS, where
        assert told["peak"] <= PEAK, where
        # A build whose project cannot be read says so with 2, one with a failed step with 1; both say why.
        assert told["code"] == 0 or "error: " in told["errors"], where
    codes = {told["command"]: told["code"] for told in drivers.told[name].result()}
    assert codes["check"] or not codes["build"], "what a build refuses, check refuses"


@pytest.mark.parametrize("name", QUICK)
def test_hostile(drivers: Drivers, name: str) -> None:
    check(drivers, name)


@pytest.mark.peer
@pytest.mark.parametrize("name", [name for name in hostile.cases() if name not in QUICK])
def test_hostile_at_length(drivers: Drivers, name: str) -> None:
    check(drivers, name)

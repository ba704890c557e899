"""A Dask scheduler and workers in processes of their own, on this machine."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

START = 60.0
"""Seconds that a process has to begin."""


class Machines:
    """A scheduler and `count` workers, each with a store of its own, and the folder that they share."""

    def __init__(
        self, folder: Path, count: int = 4, *, protocol: str = "tcp", env: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.share = folder / "share"
        self.share.mkdir(parents=True)
        self.env = {**os.environ, **(env or {})}
        scheduler = ["-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
        self.scheduler = self.start("scheduler", [*scheduler, "--protocol", protocol])
        self.address = self._said("scheduler", rf"Scheduler at:\s+({protocol}://\S+)")
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        for number in range(count):
            self.begin(f"worker{number}")
        for number in range(count):
            self.awaited(f"worker{number}")

    @property
    def url(self) -> str:
        """What --executor is told."""
        return "dask://" + self.address.removeprefix("tcp://")

    def begin(self, name: str) -> None:
        words = ["-m", "modelbuild", "--cache", str(self.folder / name), "-v", "worker", self.address]
        self.workers[name] = self.start(name, [*words, "--remote", f"file://{self.share}"])

    def awaited(self, name: str) -> None:
        self._said(name, "working for (.*)")

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def kill(self, name: str) -> None:
        """As a machine that loses its power."""
        self.workers[name].send_signal(signal.SIGKILL)
        self.workers[name].wait()

    def end(self) -> None:
        for process in (*self.workers.values(), self.scheduler):
            process.kill()
            process.wait()

    def start(self, name: str, words: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, *words], stdout=log, stderr=subprocess.STDOUT, cwd=self.folder, env=self.env
            )

    def _said(self, name: str, pattern: str) -> str:
        end = time.monotonic() + START
        while time.monotonic() < end:
            if found := re.search(pattern, self.log(name)):
                return found[1]
            time.sleep(0.05)
        raise AssertionError(f"{name} did not begin: {self.log(name)}")

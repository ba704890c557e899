"""Time `ollama create -q q4_K_M` beside modelbuild, both sides in turn, each ending with `sync -f`.

    python benchmarks/ollama.py                     from safetensors of 1.3 GB in bf16: cold, and edit
    python benchmarks/ollama.py --from gguf         from an f16 GGUF of the same weights; says whether the bytes are the same
    python benchmarks/ollama.py --weights FOLDER    from a checkpoint of yours

`cold` keeps nothing from before; `edit` changes one PARAMETER and creates the model again. The `ollama` on the PATH is used, by a server
of its own on a loopback port, with a models folder and a home of its own in --work: those of the user are not touched. The `modelbuild`
that is timed is the one of the Python that runs this script.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import NamedTuple

import synthetic
from build import MIB, MODELBUILD, in_turn, made

MISSING = """\
ollama is not on the PATH, so there is nothing to compare with.
Install it as its own documentation says (its download page, or a package of your system: `brew install ollama`, `pacman -S ollama`),
then run this again. No server has to run. benchmarks/README.md has the figures of a recorded run."""

READY = 60.0
"""Seconds that a server may take until it answers."""


class Run(NamedTuple):
    """Wall seconds, the largest resident set of a process, and the most that the side's folder took on the disk, in bytes."""

    seconds: float
    peak: int
    disk: int


class Disk:
    """Looks at what a folder takes on the disk, again and again, while a command runs."""

    def __init__(self, folder: Path) -> None:
        self.most = 0
        self._folder = folder
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Disk:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self.most = max(self.most, taken(self._folder))

    def _look(self) -> None:
        while not self._done.wait(0.2):
            self.most = max(self.most, taken(self._folder))


def taken(folder: Path) -> int:
    """Bytes that the files below a folder take on the disk, each once."""
    found = {}
    for path in folder.rglob("*"):
        try:
            info = path.lstat()
        except OSError:
            continue
        found[info.st_dev, info.st_ino] = info.st_blocks * 512
    return sum(found.values())


def ended(process: subprocess.Popen[bytes], what: str, log: Path, code: int | None = 0) -> int:
    """Wait for a process; the largest resident set, in bytes, of it and of those that it waited for."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if code is not None and process.returncode != code:
        sys.exit(f"{what} exited with {process.returncode}:\n{log.read_text(errors='replace')[-3000:]}")
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class Ollama:
    """A server of its own, and `ollama create` with it."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._log = folder / "log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._host = f"127.0.0.1:{free.getsockname()[1]}"
        self.models = folder / "models"
        self._env = {
            **os.environ,
            "OLLAMA_HOST": self._host,
            "OLLAMA_MODELS": str(self.models),
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "tmp"),
        }

    def clear(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        for name in ("home", "tmp", "models"):
            (self._folder / name).mkdir(parents=True)

    def version(self) -> str:
        """What the program says of itself: 'ollama version is X', or 'Warning: client version is X' where no server runs."""
        command = [self._program, "--version"]
        told = subprocess.run(command, capture_output=True, text=True, check=True, env=self._env)
        return (told.stdout + told.stderr).split()[-1]

    def create(self, modelfile: str) -> Run:
        """Create `bench` from a Modelfile. The server is started before and ended after the time is taken."""
        file = self._folder / "Modelfile"
        file.write_text(modelfile)
        command = [self._program, "create", "bench", "-f", str(file), "-q", "q4_K_M"]
        peaks: list[int] = []
        with self._log.open("ab") as log, self._server(peaks), Disk(self._folder) as disk:
            begun = time.perf_counter()
            client = subprocess.Popen(command, env=self._env, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
            peaks.append(ended(client, " ".join(command), self._log))
            subprocess.run(["sync", "-f", str(self._folder)], check=True)
            seconds = time.perf_counter() - begun
        return Run(seconds, max(peaks), disk.most)

    @contextmanager
    def _server(self, peaks: list[int]) -> Iterator[None]:
        with self._log.open("ab") as log:
            server = subprocess.Popen([self._program, "serve"], env=self._env, stdout=log, stderr=log)
        try:
            self._wait(server)
            yield
        finally:
            # Not by Popen, which would take the end of a server that has ended from the wait.
            os.kill(server.pid, signal.SIGTERM)
            peaks.append(ended(server, "ollama serve", self._log, code=None))

    def _wait(self, server: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + READY
        while (
            time.monotonic() < until and os.waitid(os.P_PID, server.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        ):
            try:
                server_at = http.client.HTTPConnection(self._host, timeout=5)
                server_at.request("GET", "/api/version")
                if server_at.getresponse().status == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.05)
        sys.exit(f"ollama serve does not answer at {self._host}:\n{self._log.read_text(errors='replace')[-3000:]}")


class Modelbuild:
    """The same with `modelbuild -q q4_K_M`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.models = folder / "models"

    def clear(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        (self._folder / "bench").mkdir(parents=True)

    def create(self, modelfile: str) -> Run:
        file = self._folder / "bench" / "Modelfile"
        file.write_text(modelfile)
        places = ["--models", str(self.models), "--cache", str(self._folder / "cache")]
        command = [*MODELBUILD, "-C", str(file.parent), *places, "-q", "q4_K_M"]
        log = self._folder / "log"
        with log.open("ab") as output, Disk(self._folder) as disk:
            begun = time.perf_counter()
            process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
            peak = ended(process, " ".join(command), log)
            subprocess.run(["sync", "-f", str(self._folder)], check=True)
            seconds = time.perf_counter() - begun
        return Run(seconds, peak, disk.most)


Side = Ollama | Modelbuild


def model_digest(side: Side) -> str:
    """The digest of the model's GGUF, by the manifest that the side has written."""
    (path,) = (path for path in side.models.glob("manifests/*/*/*/*") if path.is_file())
    layers = json.loads(path.read_bytes())["layers"]
    return str(next(layer["digest"] for layer in layers if layer["mediaType"] == "application/vnd.ollama.image.model"))


def described(run: Run) -> str:
    return f"{run.seconds:9.2f} s  peak memory {run.peak / MIB:9.1f} MiB  disk on the way {run.disk / MIB:9.1f} MiB"


def summary(runs: dict[str, list[Run]]) -> None:
    for name, all_ in runs.items():
        seconds = statistics.median(run.seconds for run in all_)
        print(
            f"  {name:<10} {described(Run(seconds, max(r.peak for r in all_), max(r.disk for r in all_)))}  (median, most)"
        )
    theirs, ours = runs.values()
    pairs = sorted(a.seconds / b.seconds for a, b in zip(theirs, ours, strict=True))
    print(f"  ollama / modelbuild: median {statistics.median(pairs):.1f} (from {pairs[0]:.1f} to {pairs[-1]:.1f})")


def f16_gguf(work: Path, weights: Path) -> Path:
    """The weights as an f16 GGUF, made by modelbuild once for each run of this script."""
    side = Modelbuild(work / "f16")
    side.clear()
    project = work / "f16" / "bench"
    (project / "Modelfile").write_text(f"FROM {weights}\n")
    places = ["--models", str(side.models), "--cache", str(work / "f16" / "cache")]
    subprocess.run([*MODELBUILD, "-C", str(project), *places, "-q", "f16"], check=True, capture_output=True)
    return side.models / "blobs" / model_digest(side).replace(":", "-")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="*", choices=["cold", "edit", []], help="default: both")
    parser.add_argument("--from", dest="source", choices=["safetensors", "gguf"], default="safetensors")
    parser.add_argument("--weights", type=Path, help="a checkpoint folder (default: a synthetic Llama of 1.3 GB)")
    parser.add_argument("--work", type=Path, default=Path("build/benchmarks"), help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    asked = parser.parse_args()
    program = shutil.which("ollama")
    if program is None:
        sys.exit(MISSING)
    work = asked.work.resolve() / "ollama"
    work.mkdir(parents=True, exist_ok=True)
    weights = asked.weights.resolve() if asked.weights else made(asked.work.resolve(), "large", synthetic.LARGE)
    source = f16_gguf(work, weights) if asked.source == "gguf" else weights
    theirs = Ollama(program, work / "theirs")
    sides: dict[str, Side] = {"ollama": theirs, "modelbuild": Modelbuild(work / "ours")}
    print(f"ollama {theirs.version()}, from {source}")
    numbers = count(1)

    def modelfile() -> str:
        return f"FROM {source}\nSYSTEM You are a benchmark.\nPARAMETER temperature 0.{next(numbers):03}\n"

    def cold(side: Side) -> Run:
        side.clear()
        return side.create(modelfile())

    if "cold" in asked.which or not asked.which:
        print("cold: nothing kept from before")
        summary(in_turn(asked.rounds, {name: lambda side=side: cold(side) for name, side in sides.items()}, described))
    if "edit" in asked.which or not asked.which:
        for side in sides.values():
            cold(side)
        print("edit: one PARAMETER changed")
        summary(
            in_turn(
                asked.rounds,
                {name: lambda side=side: side.create(modelfile()) for name, side in sides.items()},
                described,
            )
        )
    if asked.source == "gguf":
        print(f"  same bytes: {len({model_digest(side) for side in sides.values()}) == 1}")


if __name__ == "__main__":
    main()

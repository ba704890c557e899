"""A watched project under random edits, compared with clean builds; and what its process takes meanwhile.

    python -m tests.e2e.random_edits --rounds 1000
    python -m tests.e2e.random_edits --minutes 60
    python -m tests.e2e.random_edits --minutes 10 --slow 0.5

Nothing is found by looking at everything: only events tell of a change.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.e2e.in_process import InProcess

TOML = """
[project]
modelfiles = ["models.d/**/Modelfile", "*.Modelfile"]
[defaults]
parameters = { seed = %d }
[model.base]
from = "./weights"
[model.base.matrix]
quantize = ["q8_0", "q4_K_M"]
"""
TABLE = '[model.table-%d]\nfrom = "base:q8_0"\nsystem = "%s"\n'

PROGRAM = """
import random
import sys
import time
from modelbuild.cli.main import main
from modelbuild.project import loader
from modelbuild.session import building, file_events, watcher

watcher.PERIOD = 1e6
seconds = float(sys.argv.pop(1))

def slowly(owner, name, share=1):
    def wait():
        if random.random() < share:
            time.sleep(seconds * random.random() ** 2)

    def run(*args, **kwargs):
        wait()
        try:
            return function(*args, **kwargs)
        finally:
            wait()

    function = getattr(owner, name)
    setattr(owner, name, run)

if seconds:
    slowly(loader, "load")
    slowly(loader, "load_models")
    slowly(building, "_build")
    slowly(building._Building, "_put", 0.3)
    slowly(building._Building, "stamp")
    slowly(file_events.FileEvents, "follow", 0.05)
    slowly(watcher.Watcher, "_settle", 0.2)
sys.exit(main(sys.argv[1:]))
"""
"""Watches, and takes its time over all that edits may fall into."""

LIMIT = 60.0
"""Seconds after which a round has failed: far more than is needed, since machines are busy."""


class Use(NamedTuple):
    """What a process takes."""

    seconds: float
    kib: int
    descriptors: int


class Edits:
    """A project in git, a process that watches it, and edits of all kinds."""

    def __init__(self, folder: Path, seed: int, slow: float = 0.0) -> None:
        self.slow = slow
        self.random = random.Random(seed)
        self.project = InProcess(folder / "project")
        self.project.folder.mkdir(parents=True)
        self.project.cache, self.project.models = folder / "cache", folder / "models"
        self.log = folder / "log"
        self.begun = time.monotonic()
        self.uses: list[Use] = []
        self._clean = folder / "clean"
        self._count = 0
        self._tables: dict[int, str] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self.project.checkpoint(layers=1)
        self._write_toml()
        for number in range(6):
            self._path(number).parent.mkdir(parents=True, exist_ok=True)
            self._path(number).write_text(self._text())
        self._git("init", "-q", "-b", "main")
        self._commit()
        self._git("branch", "other")

    @property
    def folder(self) -> Path:
        return self.project.folder

    def _git(self, *words: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "gc.auto=0"]
        subprocess.run(["git", *identity, *words], cwd=self.folder, check=True, capture_output=True, timeout=60)

    def _commit(self) -> None:
        self._git("add", "-A")
        self._git("commit", "-q", "--allow-empty", "-m", "all")

    def _path(self, number: int) -> Path:
        return self.folder / (f"models.d/m{number}/Modelfile" if number % 3 else f"m{number}.Modelfile")

    def _text(self) -> str:
        self._count += 1
        return f"FROM base:{self.random.choice(['q8_0', 'q4_K_M'])}\nSYSTEM take {self._count}\n"

    def _write_toml(self) -> None:
        tables = "".join(TABLE % table for table in self._tables.items())
        (self.folder / "ModelBuild.toml").write_text(TOML % self.random.randrange(4) + tables)

    def _modelfiles(self) -> list[Path]:
        return sorted([*self.folder.glob("models.d/**/Modelfile"), *self.folder.glob("*.Modelfile")])

    # Edits

    def create(self) -> None:
        path = self._path(self.random.randrange(12))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._text())

    def write_slowly(self) -> None:
        with self.random.choice(self._modelfiles()).open("w") as file:
            for line in self._text().splitlines(keepends=True):
                file.write(line)
                file.flush()
                time.sleep(self.random.random() * 0.01)

    def replace(self) -> None:
        path = self.random.choice(self._modelfiles())
        new = path.with_name("." + path.name + ".new")
        new.write_text(self._text())
        new.replace(path)

    def replace_as_vim(self) -> None:
        path = self.random.choice(self._modelfiles())
        path.rename(path.with_name(path.name + "~"))
        path.write_text(self._text())
        path.with_name(path.name + "~").unlink()

    def delete(self) -> None:
        if len(found := self._modelfiles()) > 3:
            path = self.random.choice(found)
            path.unlink()
            if path.parent != self.folder and self.random.random() < 0.5:
                shutil.rmtree(path.parent)

    def make_again(self) -> None:
        """As a tool does that writes a whole folder."""
        path = self.random.choice(self._modelfiles())
        if path.parent != self.folder:
            shutil.rmtree(path.parent)
            path.parent.mkdir()
        path.write_text(self._text())

    def misspell(self) -> None:
        """A model is broken, and mended at once, later or never."""
        path = self.random.choice(self._modelfiles())
        path.write_text(self.random.choice(["FROM bass\n", "FROM base:q8_0\nSISTEM x\n"]))
        time.sleep(self.random.random() * 0.3)
        if self.random.random() < 0.8:
            path.write_text(self._text())

    def move(self) -> None:
        path, new = self.random.choice(self._modelfiles()), self._path(self.random.randrange(12))
        if path.parent != self.folder and new.parent != self.folder and not new.parent.exists():
            path.parent.rename(new.parent)
        else:
            new.parent.mkdir(parents=True, exist_ok=True)
            path.rename(new)

    def move_all(self) -> None:
        folder = self.folder / "models.d"
        if folder.exists():
            folder.rename(self.folder / "away")
            time.sleep(self.random.random() * 0.05)
            (self.folder / "away").rename(folder)

    def tables(self) -> None:
        self._count += 1
        number = self.random.randrange(3)
        if self.random.random() < 0.3:
            self._tables.pop(number, None)
        else:
            self._tables[number] = f"take {self._count}"
        self._write_toml()

    def mend(self) -> None:
        path = self.folder / "ModelBuild.toml"
        path.write_text("[project")
        time.sleep(self.random.random() * 0.2)
        self._write_toml()

    def checkout(self) -> None:
        self._commit()
        self._git("checkout", "-q", self.random.choice(["main", "other"]))

    def edit(self) -> str:
        """Some edits, one soon after another; returns their names."""
        edits: list[Callable[[], None]] = [self.create, self.write_slowly, self.replace, self.replace_as_vim]
        edits += [
            self.delete,
            self.make_again,
            self.misspell,
            self.move,
            self.move_all,
            self.tables,
            self.mend,
            self.checkout,
        ]
        names = []
        for _ in range(self.random.randrange(1, 5)):
            edit = self.random.choice(edits)
            names.append(edit.__name__)
            edit()
            time.sleep(self.random.choice([0, 0.002, 0.02, 0.1]) * self.random.random())
        return ", ".join(names)

    # What is right

    @contextmanager
    def watched(self) -> Iterator[None]:
        words = self.project.command("watch")[3:]
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        with self.log.open("w") as out:
            command = [sys.executable, "-c", PROGRAM, str(self.slow), *words]
            self._process = subprocess.Popen(command, cwd=self.folder, env=env, stdout=out, stderr=out)
        try:
            self.agree("start")
            yield
            assert self._process.poll() is None, self.log.read_text()
        finally:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(LIMIT)

    def agree(self, edits: str) -> float:
        """Wait until the watch has made what a clean build makes; returns how long that took."""
        begun = time.monotonic()
        shutil.rmtree(self._clean, ignore_errors=True)
        models = self._clean / "models"
        self.project.run("-q", "-k", code=None, models=models, cache=self._clean / "cache")
        wanted = manifests(models)
        while any(manifests(self.project.models).get(name) != data for name, data in wanted.items()):
            if time.monotonic() > begun + LIMIT:
                have = manifests(self.project.models)
                missing = [str(name) for name in wanted if have.get(name) != wanted[name]]
                raise AssertionError(f"after {edits}: {missing}\n{self.log.read_text()[-3000:]}")
            time.sleep(0.01)
        return time.monotonic() - begun

    def measure(self) -> None:
        """Note what the watching process takes."""
        assert self._process is not None
        process = Path("/proc") / str(self._process.pid)
        (kib,) = (line.split()[1] for line in (process / "status").read_text().splitlines() if line[:6] == "VmRSS:")
        self.uses.append(Use(time.monotonic() - self.begun, int(kib), len(list((process / "fd").iterdir()))))

    def slope(self) -> tuple[float, float]:
        """What is taken more with each minute: MiB, and descriptors, by a straight line through all measurements."""
        minutes = [use.seconds / 60 for use in self.uses]
        mean = sum(minutes) / len(minutes)
        spread = sum((minute - mean) ** 2 for minute in minutes)

        def of(values: list[float]) -> float:
            return sum((minute - mean) * value for minute, value in zip(minutes, values, strict=True)) / spread

        return of([use.kib / 1024 for use in self.uses]), of([float(use.descriptors) for use in self.uses])


def manifests(models: Path) -> dict[Path, bytes]:
    """The manifests of a models folder."""
    root = models / "manifests"
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            try:
                found[path.relative_to(root)] = path.read_bytes()
            except OSError:
                continue
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--slow", type=float, default=0.0, help="seconds that parts of a build take longer, at most")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="modelbuild-") as folder:
        edits = Edits(Path(folder), given.seed, given.slow)
        done, waits = 0, 0.0
        with edits.watched():
            end = time.monotonic() + 60 * given.minutes
            while done < given.rounds or time.monotonic() < end:
                waits += edits.agree(edits.edit())
                edits.measure()
                done += 1
                if done % 100 == 0:
                    print(f"{done} rounds: {edits.uses[-1]}", flush=True)
        half = edits.uses[len(edits.uses) // 2]
        print(f"{done} rounds, none lost; a round agrees after {1000 * waits / max(done, 1):.0f} ms on average")
        print(f"at half time {half}, at the end {edits.uses[-1]}; first 20 rounds left out, each minute takes")
        edits.uses = edits.uses[20:] or edits.uses
        print("{:.3f} MiB and {:.3f} descriptors more".format(*edits.slope()))


if __name__ == "__main__":
    main()

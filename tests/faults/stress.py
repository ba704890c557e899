"""Builds, cleans and signals at once over one cache and one models folder, and a checker at quiet moments.

    python -m tests.faults.stress --seconds 600 --seed 3

Run from the root of the repository. Two loops edit and build a project each, which share weights and texts; a third cleans,
collects garbage and verifies; a fourth kills commands, or stops them for a while. Every few seconds all of them rest: then no
manifest may name a missing or wrong blob, nothing foreign may lie there, the models of others stand as they stood, and one more
build of each project leaves what clean builds leave. A command that nobody killed must have ended well. The exit code is 1 where
that did not hold.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from tests import checkpoints
from tests.faults import folder as models_folder
from tests.faults import fork
from tests.faults.cases import sound
from tests.faults.folder import Theirs
from tests.faults.scenarios import CHECKPOINT, SHARED, make_old

TEXT = """
[model.{project}]
from = "{weights}"
quantize = "{quantize}"
system = "{system}"
[model.{project}-f16]
from = "{weights}"
quantize = "f16"
system = "{shared}"
"""

QUANTIZE = ("q8_0", "q4_0", "q5_0")
SYSTEM = (SHARED, "You are stressed.")
CARE = (
    ("clean",),
    ("clean", "--stale"),
    ("clean", "--cache"),
    ("gc", "--older-than", "0d", "--max-size", "0"),
    ("verify",),
)
QUIET = 4.0
"""Seconds from one quiet moment to the next."""


class Running:
    """A command under way in one of the loops."""

    def __init__(self, words: list[str], output: Path) -> None:
        self.words = words
        self.child = fork.Child(words, output)
        self.stopped_until: float | None = None
        self.killed = False


class Stress:
    """The loops, the folders they share, and what was seen."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.folder = folder
        self.cache = folder / "cache"
        self.models = folder / "models"
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.texts: dict[str, str] = {}
        weights = checkpoints.write(folder / "weights", **CHECKPOINT)
        for path in weights.iterdir():
            make_old(path)
        self.projects = ("red", "blue")
        for project in self.projects:
            (folder / project).mkdir()
            self._edit(project)
        warming = folder / "warming"
        fork.import_what_it_imports(
            self._words("red", "build", models=warming, cache=folder / "warming-cache"), folder / "output"
        )
        self.expected: dict[tuple[str, str], dict[str, bytes]] = {}
        self.theirs = [
            Theirs(self.models, "theirs", [b"{}", b"their weights"]),
            Theirs(self.models, "", [b"half pulled"]),
        ]
        for theirs in self.theirs:
            theirs.put()
        self.before = models_folder.look(path for theirs in self.theirs for path in theirs.paths())
        self.running: dict[str, Running] = {}

    def _words(self, project: str, *command: str, models: Path | None = None, cache: Path | None = None) -> list[str]:
        places = ["--cache", str(cache or self.cache), "--models", str(models or self.models)]
        return ["-C", str(self.folder / project), *places, *command]

    def _edit(self, project: str) -> None:
        """Put another text of a project in place, at once: a clean may be reading it."""
        quantize, system = self.random.choice(QUANTIZE), self.random.choice(SYSTEM)
        text = TEXT.format(
            project=project, weights=self.folder / "weights", quantize=quantize, system=system, shared=SHARED
        )
        if self.random.random() < 0.3:
            # One name fewer: the other is stale.
            text = text[: text.index(f"[model.{project}-f16]")]
        new = self.folder / "new.toml"
        new.write_text(text)
        os.replace(new, self.folder / project / "ModelBuild.toml")
        self.texts[project] = text

    def run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and len(self.wrong) < 20:
            quiet = min(end, time.monotonic() + QUIET)
            while time.monotonic() < quiet:
                self._start()
                self._signal()
                self._reap(0.004)
            self._rest()
            self._check()

    def _start(self) -> None:
        """Whatever loop has nothing under way begins its next command."""
        for project in self.projects:
            if project not in self.running:
                if self.random.random() < 0.6:
                    self._edit(project)
                self._command(project, self._words(project, "build", f"-j{self.random.choice((1, 2))}"))
        if "clean" not in self.running and self.random.random() < 0.05:
            command = self.random.choices(CARE, (5, 4, 1, 5, 5))[0]
            self._command("clean", self._words(self.random.choice(self.projects), *command))

    def _command(self, loop: str, words: list[str]) -> None:
        self.counts["commands"] += 1
        self.running[loop] = Running(words, self.folder / f"output-{loop}")

    def _signal(self) -> None:
        now = time.monotonic()
        for each in self.running.values():
            if each.stopped_until is not None and each.stopped_until < now:
                os.kill(each.child.pid, signal.SIGCONT)
                each.stopped_until = None
        if self.running and self.random.random() < 0.03:
            each = self.random.choice(list(self.running.values()))
            if self.random.random() < 0.5:
                self.counts["kills"] += 1
                os.kill(each.child.pid, signal.SIGKILL)
                each.killed = True
            elif each.stopped_until is None:
                self.counts["stops"] += 1
                os.kill(each.child.pid, signal.SIGSTOP)
                each.stopped_until = now + self.random.uniform(0.02, 0.8)

    def _reap(self, seconds: float) -> None:
        for loop, each in list(self.running.items()):
            each.child.wait(seconds / len(self.running))
            if each.child.code is None and time.monotonic() > each.child.begun + fork.LIMIT:
                os.kill(each.child.pid, signal.SIGKILL)
                self._note(f"hangs: {self._shown(each)}")
            if each.child.code is not None:
                del self.running[loop]
                self._judge(each)

    def _judge(self, each: Running) -> None:
        done = each.child.end()
        if each.killed and done.code == -9:
            return
        for what in sound(done):
            self._note(f"{what}: {self._shown(each)}\n{done.text}")
        # We edit a project while it is being cleaned.
        if done.code != 0 and "source changed during the build" not in done.text:
            self._note(f"exit code {done.code}: {self._shown(each)}\n{done.text}")

    def _shown(self, each: Running) -> str:
        return " ".join(each.words).replace(str(self.folder), "")

    def _note(self, what: str) -> None:
        self.wrong.append(what)
        print(f"wrong: {what}", flush=True)

    def _rest(self) -> None:
        """Let everything that is under way end."""
        for each in self.running.values():
            if each.stopped_until is not None:
                os.kill(each.child.pid, signal.SIGCONT)
                each.stopped_until = None
        while self.running:
            self._reap(0.02)

    def _check(self) -> None:
        self.counts["checks"] += 1
        for what in models_folder.examine(self.models) + self._touched():
            self._note(f"at rest, {what}")
        for project in self.projects:
            for command in (("build",), ("clean", "--stale")):
                done = fork.run(self._words(project, *command), self.folder / "output")
                if done.code != 0:
                    self._note(f"at rest, {' '.join(command)} of {project}: exit code {done.code}\n{done.text}")
        for what in models_folder.examine(self.models) + self._touched():
            self._note(f"after a build, {what}")
        expected = {path: data for project in self.projects for path, data in self._clean(project).items()}
        theirs = {str(path.relative_to(self.models)) for each in self.theirs for path in each.paths()}
        found = {path: data for path, data in models_folder.tree(self.models).items() if path not in theirs}
        for path in sorted({*expected, *found}):
            if expected.get(path) != found.get(path):
                how = "left over" if path not in expected else "not there" if path not in found else "another"
                self._note(f"after a build, not as clean builds: {how}: {path}")
        if lies := models_folder.scratch(self.models):
            self._note(f"after a build, left lying: {lies}")

    def _touched(self) -> list[str]:
        after = models_folder.look(map(Path, self.before))
        return [f"of others: {path} was touched" for path, seen in self.before.items() if after[path] != seen]

    def _clean(self, project: str) -> dict[str, bytes]:
        """What a clean build of a project leaves, as its text is now."""
        text = self.texts[project]
        if (project, text) not in self.expected:
            models, cache = self.folder / "clean-models", self.folder / "clean-cache"
            done = fork.run(self._words(project, "build", models=models, cache=cache), self.folder / "output")
            if done.code:
                raise RuntimeError(f"a clean build failed: {done.text}")
            self.expected[project, text] = models_folder.tree(models)
            shutil.rmtree(models)
            shutil.rmtree(cache)
        return self.expected[project, text]

    def close(self) -> None:
        """End what is still under way."""
        for each in self.running.values():
            with suppress(ProcessLookupError):
                os.kill(each.child.pid, signal.SIGKILL)
                each.child.wait(10)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.stress", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where it runs; default: the usual place of temporary files")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        stress = Stress(Path(folder), asked.seed)
        try:
            stress.run(asked.seconds)
        finally:
            stress.close()
    counts = ", ".join(f"{number:,} {what}" for what, number in stress.counts.items())
    print(f"{counts}; {len(stress.wrong)} wrong")
    return 1 if stress.wrong else 0


if __name__ == "__main__":
    sys.exit(main())

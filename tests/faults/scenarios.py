"""The commands that faults are put into, each with the project before it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests import checkpoints
from tests.faults import fork
from tests.faults.folder import Theirs, tree

CHECKPOINT: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2,
}  # fmt: skip

SHARED = "You are shared."

WEIGHTS = f"""
[model.chat]
from = "./weights"
quantize = "q8_0"
system = "You are {{mood}}."
[model.other]
from = "./weights"
quantize = "f16"
system = "{SHARED}"
parameters = {{{{ temperature = 0.5 }}}}
"""

EDITED = WEIGHTS.replace('"q8_0"', '"q4_0"')

GGUF = f"""
[model.taken]
from = "./taken.gguf"
quantize = "none"
system = "{SHARED}"
{{link}}
[model.again]
from = "./taken.gguf"
quantize = "none"
system = "You are taken again."
"""

OUTPUT = WEIGHTS.replace('quantize = "q8_0"', 'quantize = "q8_0"\noutput = "dist/chat.gguf"')

MANY = "".join(
    f"""
[model.m{number}]
from = "./weights"
system = "You are {{mood}} {number}."
"""
    for number in range(3)
)

STALE = """
[model.gone]
from = "./weights"
quantize = "q5_0"
system = "You are gone."
"""


class Scenario(NamedTuple):
    """A command, and the texts of ModelBuild.toml that were built one after the other before; the last is built after it."""

    words: tuple[str, ...]
    before: tuple[str, ...]
    text: str
    apart: bool = False
    """The models folder lies on another file system than the cache."""
    damaged: bool = False
    """The largest blob of the models folder, and what is linked to it, is damaged: the command finds it, and ends with 1."""


_CALM = WEIGHTS.format(mood="calm")
_GGUF = GGUF.format(link="")
_HARD = GGUF.format(link='link = "hard"')

SCENARIOS: Mapping[str, Scenario] = {
    "cold": Scenario((), (), _CALM),
    "warm": Scenario((), (_CALM,), EDITED.format(mood="quick")),
    "apart": Scenario((), (), _CALM, apart=True),
    "apart-warm": Scenario((), (_CALM,), EDITED.format(mood="quick"), apart=True),
    "gguf": Scenario((), (), _GGUF),
    "output": Scenario((), (OUTPUT.format(mood="calm"),), OUTPUT.replace('"q8_0"', '"q4_0"').format(mood="calm")),
    "hard": Scenario((), (), _HARD),
    "many": Scenario((), (MANY.format(mood="calm"),), MANY.format(mood="quick")),
    "stale": Scenario(("clean", "--stale"), (_CALM + STALE, _CALM), _CALM),
    "gc": Scenario(("gc", "--older-than", "0d"), (_CALM, EDITED.format(mood="quick")), EDITED.format(mood="quick")),
    "verify": Scenario(("verify",), (_CALM,), _CALM, damaged=True),
}


def other_file_system(folder: Path) -> Path | None:
    """A folder on another file system than this one; None where there is none to write to."""
    for place in ("/dev/shm", tempfile.gettempdir(), "/var/tmp"):
        if os.path.isdir(place) and os.access(place, os.W_OK) and os.stat(place).st_dev != os.stat(folder).st_dev:
            return Path(place)
    return None


class Place:
    """Where the cases of one worker run: a project, its cache and its models folder."""

    def __init__(self, folder: Path, scenario: Scenario, elsewhere: Path | None) -> None:
        self.scenario = scenario
        self.root = folder
        self.project = folder / "project"
        self.cache = folder / "cache"
        self.models = (elsewhere or folder) / "models"
        self._fresh_models = (elsewhere or folder) / "clean"
        self.output = folder / "output"
        self.dist = self.project / "dist"
        self.damaged: str | None = None
        """The blob that is damaged before the command: until the next build it may be wrong, or missing."""
        self.project.mkdir(parents=True)
        checkpoints.write(self.project / "weights", **CHECKPOINT)
        self.write(WEIGHTS.format(mood="warm"))
        warming = self.root / "warming"
        fork.import_what_it_imports(self.words(models=warming / "models", cache=warming / "cache"), self.output)
        self._gguf()
        for path in self.project.rglob("*"):
            make_old(path)
        sources = [path for path in self.project.rglob("*") if path.is_file() and path.name != "ModelBuild.toml"]
        self.sources = {str(path): path.read_bytes() for path in sources}
        self.texts = [*scenario.before, scenario.text]
        self.expected = {text: self._clean(text) for text in dict.fromkeys(self.texts)}
        """text of ModelBuild.toml -> what a clean build of it leaves"""

    def words(self, *command: str, models: Path | None = None, cache: Path | None = None) -> list[str]:
        places = ["--cache", str(cache or self.cache), "--models", str(models or self.models)]
        return ["-C", str(self.project), *places, *(command or ("build", "-j1"))]

    def write(self, text: str) -> None:
        """Write ModelBuild.toml, as it was an hour ago."""
        path = self.project / "ModelBuild.toml"
        path.write_text(text)
        make_old(path)

    def _gguf(self) -> None:
        """Take a model's weights, made while the modules were imported, for the GGUF file of the project."""
        blobs = (self.root / "warming/models/blobs").iterdir()
        shutil.copyfile(max(blobs, key=lambda path: path.stat().st_size), self.project / "taken.gguf")
        shutil.rmtree(self.root / "warming")

    def tree(self) -> dict[str, bytes]:
        """All that builds have left: in the models folder, and as files of their own."""
        return tree(self.models) | self._outputs()

    def _outputs(self) -> dict[str, bytes]:
        return {f"dist/{path.name}": path.read_bytes() for path in self.dist.glob("*")}

    def _clean(self, text: str) -> dict[str, bytes]:
        cache = self.root / "clean-cache"
        self.write(text)
        done = fork.run(self.words(models=self._fresh_models, cache=cache), self.output)
        if done.code:
            raise RuntimeError(f"a clean build failed: {done.text}")
        found = tree(self._fresh_models) | self._outputs()
        shutil.rmtree(self.dist, ignore_errors=True)
        shutil.rmtree(self._fresh_models)
        shutil.rmtree(cache)
        return found

    def theirs(self) -> list[Theirs]:
        """Models of others that stand here: one with blobs of its own, one that shares a text with ours, a blob without a name."""
        return [
            Theirs(self.models, "theirs", [b"{}", b"their weights"]),
            Theirs(self.models, "sharing", [b'{"theirs": 1}', SHARED.encode()]),
            Theirs(self.models, "", [b"half pulled"]),
        ]

    def sharing(self) -> Theirs:
        """A model of somebody else that has every blob of ours."""
        built = self.expected[self.scenario.text]
        return Theirs(self.models, "same", [built[path] for path in sorted(built) if path.startswith("blobs/")])

    def begin(self) -> None:
        """Leave nothing of the case before, and build what was there before."""
        for folder in (self.models, self.cache, self.dist):
            shutil.rmtree(folder, ignore_errors=True)
        for theirs in self.theirs():
            theirs.put()
        for text in self.scenario.before:
            self.write(text)
            done = fork.run(self.words(), self.output)
            if done.code:
                raise RuntimeError(f"the build before failed: {done.text}")
        self.write(self.scenario.text)
        if self.scenario.damaged:
            blob = max((self.models / "blobs").iterdir(), key=lambda path: path.stat().st_size)
            self.damaged = blob.name
            with open(blob, "r+b") as file:
                file.seek(-1, os.SEEK_END)
                file.write(b"\xa5")

    def end(self) -> None:
        shutil.rmtree(self.models, ignore_errors=True)
        shutil.rmtree(self.root, ignore_errors=True)


def make_old(path: Path) -> None:
    info = path.stat()
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns - 3600 * 10**9))

"""The one property that matters most: whatever was edited, an incremental build (and `clean --stale`) equals a clean one.

Of a project with broken models that holds for all others, and nothing is lost of what was built of those before.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import shutil
from collections.abc import Collection
from pathlib import Path

import pytest

from modelbuild.cli.main import main
from tests.e2e.project import Project, flip

FTYPES = ["none", "f16", "q8_0", "q4_K_M", "q6_K"]
FAULTS = {
    "key": ['systm = "s"'],
    "shape": ["tag = 3"],
    "value": ['renderer = "${nope}"'],
    "file": ['license = { file = "persona.txt" }'],
}
"""What may be wrong with a table; of the last only where the file is not there, or is no text."""
SIZE = {"layers": 1, "hidden": 256, "intermediate": 256, "vocabulary": 270}


class Random:
    """A project that changes at random; every state is a valid project, but for models that are `broken`."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.errors = ""
        self.talks_from = ""
        self.project = Project(folder)
        self.random = random.Random(seed)
        self.models: dict[str, dict[str, object]] = {}
        self.weights = ["w0"]
        self.project.checkpoint("w0", **SIZE)
        for _ in range(3):
            self.add_model()
        self.write()

    def add_model(self) -> None:
        name = f"m{self.random.randrange(30)}"
        if name not in self.models:
            self.models[name] = {"from": self.source(), "system": self.word(), "ftypes": self.ftypes()}

    def source(self) -> str:
        """Weights, or a model that derives from weights itself."""
        first = [name for name, model in self.models.items() if str(model["from"]).startswith("./")]
        return self.random.choice([f"./{weights}" for weights in self.weights] + first)

    def ftypes(self) -> list[str]:
        return self.random.sample(FTYPES, self.random.randint(1, 3))

    def word(self) -> str:
        return self.random.choice(["be kind", "be terse", "be <bold> & \u2028 odd", "Zoë", ""])

    def remove_model(self) -> None:
        used = {model["from"] for model in self.models.values()} | {self.talks_from}
        free = [name for name in self.models if name not in used]
        if len(self.models) > 1 and free:
            del self.models[self.random.choice(free)]

    def edit_text(self) -> None:
        model = self.random.choice(list(self.models.values()))
        model[self.random.choice(["system", "template"])] = self.word()
        model["temperature"] = self.random.choice([0.1, 0.5, 1e-7, 3])

    def edit_ftypes(self) -> None:
        model = self.random.choice(list(self.models.values()))
        model["ftypes"] = self.ftypes()

    def edit_weight(self) -> None:
        path = self.project.folder / self.random.choice(self.weights) / "model.safetensors"
        if not path.exists():
            return
        # Low bits of a mantissa: the value stays finite.
        flip(path, path.stat().st_size - 2 * self.random.randrange(1, 100_000), self.random.choice([1, 2, 4]))

    def add_weights(self) -> None:
        if len(self.weights) < 3 and (self.project.folder / self.weights[0]).exists():
            name = f"w{len(self.weights)}"
            shutil.copytree(self.project.folder / self.weights[0], self.project.folder / name)
            self.weights.append(name)

    def add_card(self) -> None:
        folder = self.project.folder / self.random.choice(self.weights)
        if not folder.exists():
            return
        folder.joinpath("README.md").write_text(f"---\nlicense: {self.random.choice(['mit', 'apache-2.0'])}\n---\n")

    def drop_cache(self) -> None:
        if self.random.random() < 0.3:
            for path in (self.project.cache / "blobs").glob("*"):
                path.unlink()

    def break_or_mend(self) -> None:
        model = self.random.choice(list(self.models.values()))
        fault = self.random.choice(list(FAULTS))
        model["fault"] = None if model.get("fault") else fault

    def hide_or_show_weights(self) -> None:
        folder = self.project.folder / self.random.choice(self.weights)
        hidden = folder.with_suffix(".hidden")
        (hidden if hidden.exists() else folder).rename(folder if hidden.exists() else hidden)

    def hide_or_show_text(self) -> None:
        file = self.project.folder / "persona.txt"
        if file.exists() and self.random.random() < 0.5:
            file.unlink()
        else:
            file.write_bytes(self.random.choice([b"be kind", b"be odd", b"\xff"]))

    def edit_modelfile(self) -> None:
        texts = [
            "FROM ../w0\nSYSTEM s\n",
            "FORM ../w0\n",
            "FROM ../nowhere\n",
            "FROM tlak\n",
            f"FROM {self.talks_from}\nSYSTEM t\n",
        ]
        self.project.write("talk/Modelfile", self.random.choice(texts))

    def mend(self) -> None:
        """Leave nothing broken."""
        for model in self.models.values():
            model["fault"] = None
        for weights in self.weights:
            folder = self.project.folder / weights
            if not folder.exists():
                folder.with_suffix(".hidden").rename(folder)
        self.project.write("persona.txt", "be mended")
        if (self.project.folder / "talk").exists():
            self.project.write("talk/Modelfile", "FROM ../w0\nSYSTEM mended\n")
        self.write()

    def touch(self) -> None:
        self.project.folder.joinpath("ModelBuild.toml").touch()

    def edit(self) -> None:
        edits = [
            self.add_model, self.remove_model, self.edit_text, self.edit_text, self.edit_ftypes, self.edit_weight,
            self.add_weights, self.add_card, self.drop_cache, self.touch,
        ]  # fmt: skip
        self.random.choice(edits)()
        self.write()

    def break_something(self) -> None:
        """Break or mend something."""
        faults = [self.break_or_mend, self.hide_or_show_weights, self.hide_or_show_text, self.edit_modelfile]
        self.random.choice(faults)()
        self.write()

    def write(self) -> None:
        lines = ['[project]\nmodelfiles = ["*/Modelfile"]']
        for name, model in self.models.items():
            lines.append(f'[model.{name}]\nfrom = "{model["from"]}"')
            for key in ("system", "template"):
                if model.get(key):
                    lines.append(f"{key} = {quoted(str(model[key]))}")
            if fault := model.get("fault"):
                lines += FAULTS[str(fault)]
            if "temperature" in model:
                lines.append(f"parameters = {{ temperature = {model['temperature']} }}")
            ftypes = model["ftypes"]
            assert isinstance(ftypes, list)
            listed = ", ".join(f'"{ftype}"' for ftype in ftypes)
            lines.append(
                f'[model.{name}.matrix]\nquantize = [{listed}]\n[model.{name}.default]\nquantize = "{ftypes[0]}"'
            )
        self.project.write("ModelBuild.toml", "\n".join(lines) + "\n")

    def modelbuild(self, *words: str, clean: bool = False, codes: Collection[int] = (0,)) -> int:
        """Run the command in this process: a hundred builds are wanted."""
        places = {"models": self.project.models, "cache": self.project.cache}
        if clean:
            places = {name: self.project.folder / f"clean-{name}" for name in places}
        options = [part for name, path in places.items() for part in (f"--{name}", str(path))]
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            code = main(["-C", str(self.project.folder), *options, *words])
        self.errors = errors.getvalue()
        assert code in codes, self.errors
        return code

    def broken(self) -> set[str]:
        """Models of which something cannot be built, as `list` tells."""
        rows = io.StringIO()
        places = ["--models", str(self.project.models), "--cache", str(self.project.cache)]
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(rows):
            assert main(["-C", str(self.project.folder), *places, "list", "--json"]) == 0
        return {row["model"] for row in json.loads(rows.getvalue()) if row["built"] == "broken"}


def quoted(text: str) -> str:
    return '"' + text.replace("\u2028", "\\u2028") + '"'


SEEDS = [seed if seed < 3 else pytest.param(seed, marks=pytest.mark.peer) for seed in range(8)]


@pytest.mark.parametrize("seed", SEEDS)
def test_incremental_build_equals_a_clean_one(tmp_path: Path, seed: int) -> None:
    state = Random(tmp_path, seed)
    state.modelbuild()
    for _ in range(4):
        for _ in range(state.random.randint(1, 3)):
            state.edit()
        state.modelbuild()
        state.modelbuild("clean", "--stale")
        for name in ("clean-models", "clean-cache"):
            shutil.rmtree(tmp_path / name, ignore_errors=True)
        state.modelbuild(clean=True)
        assert state.project.tree() == state.project.tree(tmp_path / "clean-models")
        state.project.check()


@pytest.mark.parametrize("seed", SEEDS)
def test_broken_models_change_nothing_of_the_others(tmp_path: Path, seed: int) -> None:
    state = Random(tmp_path, seed)
    state.edit_modelfile()
    before: dict[str, bytes] = {}
    for round in range(7):
        for _ in range(2 if round else 0):
            state.break_something()
            if state.random.random() < 0.5:
                state.edit()
        if round == 6:
            state.mend()
        code = state.modelbuild("-k", codes=(0, 1))
        broken = state.broken()
        assert code == (1 if broken else 0), state.errors
        swept = state.modelbuild("clean", "--stale", codes=(0, 2)) == 0
        for name in ("clean-models", "clean-cache"):
            shutil.rmtree(tmp_path / name, ignore_errors=True)
        assert state.modelbuild("-k", clean=True, codes=(0, 1)) == code
        now, clean = state.project.tree(), state.project.tree(tmp_path / "clean-models")
        assert {path: now.get(path) for path in clean} == clean
        others = {path.split("/")[-2] for path in now if path.startswith("manifests") and path not in clean}
        assert not swept or others <= broken
        assert all(now.get(path) == data for path, data in before.items() if path.split("/")[-2] in broken)
        before = {path: data for path, data in now.items() if path.startswith("manifests")}
        state.project.check()
    assert not broken and now == clean

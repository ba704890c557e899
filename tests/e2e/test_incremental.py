"""The one property that matters most: whatever was edited, an incremental build (and `clean --stale`) equals a clean one."""

from __future__ import annotations

import contextlib
import io
import random
import shutil
from pathlib import Path

import pytest

from modelbuild.cli.main import main
from tests.e2e.project import Project, flip

FTYPES = ["none", "f16", "q8_0", "q4_K_M", "q6_K"]
SIZE = {"layers": 1, "hidden": 256, "intermediate": 256, "vocabulary": 270}


class Random:
    """A project that changes at random; every state is a valid project."""

    def __init__(self, folder: Path, seed: int) -> None:
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
        used = {model["from"] for model in self.models.values()}
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
        # Low bits of a mantissa: the value stays finite.
        flip(path, path.stat().st_size - 2 * self.random.randrange(1, 100_000), self.random.choice([1, 2, 4]))

    def add_weights(self) -> None:
        if len(self.weights) < 3:
            name = f"w{len(self.weights)}"
            shutil.copytree(self.project.folder / self.weights[0], self.project.folder / name)
            self.weights.append(name)

    def add_card(self) -> None:
        folder = self.project.folder / self.random.choice(self.weights)
        folder.joinpath("README.md").write_text(f"---\nlicense: {self.random.choice(['mit', 'apache-2.0'])}\n---\n")

    def drop_cache(self) -> None:
        if self.random.random() < 0.3:
            for path in (self.project.cache / "blobs").iterdir():
                path.unlink()

    def touch(self) -> None:
        self.project.folder.joinpath("ModelBuild.toml").touch()

    def edit(self) -> None:
        edits = [
            self.add_model, self.remove_model, self.edit_text, self.edit_text, self.edit_ftypes, self.edit_weight,
            self.add_weights, self.add_card, self.drop_cache, self.touch,
        ]  # fmt: skip
        self.random.choice(edits)()
        self.write()

    def write(self) -> None:
        lines = []
        for name, model in self.models.items():
            lines.append(f'[model.{name}]\nfrom = "{model["from"]}"')
            for key in ("system", "template"):
                if model.get(key):
                    lines.append(f"{key} = {quoted(str(model[key]))}")
            if "temperature" in model:
                lines.append(f"parameters = {{ temperature = {model['temperature']} }}")
            ftypes = model["ftypes"]
            assert isinstance(ftypes, list)
            listed = ", ".join(f'"{ftype}"' for ftype in ftypes)
            lines.append(
                f'[model.{name}.matrix]\nquantize = [{listed}]\n[model.{name}.default]\nquantize = "{ftypes[0]}"'
            )
        self.project.write("ModelBuild.toml", "\n".join(lines) + "\n")

    def modelbuild(self, *words: str, clean: bool = False) -> int:
        """Run the command in this process: a hundred builds are wanted."""
        places = {"models": self.project.models, "cache": self.project.cache}
        if clean:
            places = {name: self.project.folder / f"clean-{name}" for name in places}
        options = [part for name, path in places.items() for part in (f"--{name}", str(path))]
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            code = main(["-C", str(self.project.folder), *options, *words])
        assert code == 0, errors.getvalue()
        return code


def quoted(text: str) -> str:
    return '"' + text.replace("\u2028", "\\u2028") + '"'


@pytest.mark.parametrize("seed", range(6))
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

"""The example package of examples/extending, installed beside us: an architecture from outside."""

from __future__ import annotations

import json
import re
import textwrap
import tomllib
from pathlib import Path

import gguf
import pytest

from tests import checkpoints
from tests.e2e.project import Project, old

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/extending"
MODULE = (EXAMPLE / "modelbuild_starling.py").read_text()


class Installed:
    """A folder of packages on the path of every command, as pip would fill it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        folder.mkdir()
        monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{folder}")

    def install(self, version: str | None = None, module: str = MODULE, name: str = "modelbuild-starling") -> None:
        declared = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
        self.remove(name)
        info = self.folder / f"{name.replace('-', '_')}-{version or declared['version']}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version or declared['version']}\n"
        )
        lines = []
        for group, entries in declared["entry-points"].items():
            lines += [f"[{group}]", *(f"{key} = {value}" for key, value in entries.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        (self.folder / "modelbuild_starling.py").write_text(module)

    def remove(self, name: str = "modelbuild-starling") -> None:
        for info in self.folder.glob(f"{name.replace('-', '_')}-*.dist-info"):
            for file in info.iterdir():
                file.unlink()
            info.rmdir()


def starling(folder: Path) -> Path:
    """A checkpoint of the example's class, with a Llama's weights."""
    namespace: dict[str, dict[str, str]] = {}
    exec(re.search(r"^STEMS = \{.*?^\}", MODULE, re.DOTALL | re.MULTILINE)[0], namespace)  # type: ignore[index]
    ours = {theirs: own for own, theirs in namespace["STEMS"].items()}

    def renamed(name: str) -> str:
        block = re.match(r"model\.layers\.(\d+)\.", name)
        stem = name[block.end() :] if block else name
        return (f"blocks.{block[1]}." if block else "") + ours[stem.removesuffix(".weight")] + ".weight"

    checkpoints.write(folder)
    weights = checkpoints.tensors(checkpoints.CONFIG, "bf16")
    checkpoints.save(folder / "model.safetensors", {renamed(name): value for name, value in weights.items()})
    config = {**checkpoints.CONFIG, "architectures": ["StarlingForCausalLM"], "model_type": "starling"}
    config |= {"width": config.pop("hidden_size"), "depth": config.pop("num_hidden_layers")}
    (folder / "config.json").write_text(json.dumps(config))
    for path in folder.iterdir():
        old(path)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path / "project")
    starling(tmp_path / "project/own/weights")
    made.write("ModelBuild.toml", '[model.a]\nfrom = "./own/weights"\n')
    return made


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installed:
    return Installed(tmp_path / "site", monkeypatch)


def test_the_package_reads_what_is_none_of_ours(project: Project, installed: Installed) -> None:
    installed.install()
    checkpoints.write(project.folder / "llama/weights")
    project.write("ModelBuild.toml", '[model.a]\nfrom = "./own/weights"\n[model.b]\nfrom = "./llama/weights"\n')
    project.build()
    ours, theirs = (contents(project, f"{name}:latest") for name in "ab")
    assert ours == theirs


def contents(project: Project, name: str) -> dict[str, bytes]:
    """Metadata and tensors of a model's GGUF file as bytes; their order follows the checkpoint's names."""
    file = project.folder / f"{name.partition(':')[0]}.gguf"
    file.write_bytes(project.blob(name, "model"))
    read = gguf.GGUFReader(file)
    values = {key: b"".join(part.tobytes() for part in field.parts) for key, field in read.fields.items()}
    return values | {tensor.name: tensor.data.tobytes() for tensor in read.tensors}


def test_a_new_version_of_the_package_converts_again(project: Project, installed: Installed) -> None:
    installed.install()
    assert "a/convert" in project.ran()
    assert project.ran() == []
    installed.install("0.2")
    assert "plugin changed (modelbuild-starling 0.1 -> modelbuild-starling 0.2)" in project.run("explain")
    assert project.ran() == ["a/convert"]
    installed.install()
    assert project.ran() == []


def test_a_package_that_comes_later_is_found(project: Project, installed: Installed) -> None:
    project.build(code=1)
    assert "architecture 'StarlingForCausalLM' is not supported yet" in project.run("check", code=1) + project.errors
    installed.install()
    project.build()


def test_a_package_that_went_is_missed_only_where_it_is_needed(project: Project, installed: Installed) -> None:
    installed.install()
    project.build()
    installed.remove()
    project.build(code=1)
    installed.install()
    assert project.ran() == []


@pytest.mark.parametrize(
    ("module", "what"),
    [
        ("import nowhere_at_all", "'StarlingForCausalLM' of the package 'modelbuild-starling 0.1' cannot be imported: ModuleNotFoundError"),
        ("Starling = 5", "expects a subclass of Architecture with a NAME, got 5"),
        ("from modelbuild.extend import Architecture as Starling", "expects a subclass of Architecture with a NAME"),
        ("def f(:", "SyntaxError"),
    ],
)  # fmt: skip
def test_a_package_that_is_broken_is_named(project: Project, installed: Installed, module: str, what: str) -> None:
    installed.install(module=module)
    project.run("check", code=1)
    assert what in project.errors


def test_two_packages_for_one_class_are_an_error(project: Project, installed: Installed) -> None:
    installed.install()
    installed.install("3", name="another")
    project.run("build", code=2)
    assert "2 packages provide 'StarlingForCausalLM', expected one" in project.errors
    assert "another 3, modelbuild-starling 0.1" in project.errors


def test_the_page_shows_the_package_as_it_is() -> None:
    page = (ROOT / "docs/extending.md").read_text()
    assert textwrap.indent(MODULE, "    ") in page
    assert textwrap.indent((EXAMPLE / "pyproject.toml").read_text(), "    ") in page

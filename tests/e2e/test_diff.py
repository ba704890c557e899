"""`modelbuild diff` as users run it: variants, installed names and files; goldens of what it prints."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.project import Project, flip
from tests.e2e.test_commands import golden, make, run

TOML_KEY = 'description = "what the others derive from"'


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = make(tmp_path_factory.mktemp("diff"))
    assert run(project)[0] == 0
    project.models = project.folder / "out"
    for name in ("one", "other"):
        (project.folder / f"{name}.gguf").write_bytes(project.blob("base:q8_0", "model"))
    flip(project.folder / "other.gguf", (project.folder / "other.gguf").stat().st_size - 40)
    return project


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("diff_types", ["diff", "base:q8_0", "chat"]),
        ("diff_texts", ["diff", "base", "chat"]),
        ("diff_equal", ["diff", "base", "base:latest"]),
        ("diff_files", ["diff", "one.gguf", "./other.gguf"]),
        ("diff_file_and_name", ["diff", "one.gguf", "base:q8_0"]),
        ("diff_no_file", ["diff", "none.gguf", "chat"]),
        ("diff_folder", ["diff", "./weights", "chat"]),
        ("diff_unknown", ["diff", "chat", "chatt"]),
        ("diff_several", ["diff", "base*", "chat"]),
    ],
)
def test_it_prints(built: Project, name: str, words: list[str]) -> None:
    golden(name, built, *words)


def test_texts_of_several_lines_are_compared_by_line(built: Project, tmp_path: Path) -> None:
    project = make(tmp_path)
    text = "You are kind.\n\nYou are brief.\nYou are a cat.\n"
    for name, system in (("one", text), ("other", text.replace("cat", "dog"))):
        project.write(f"models/{name}/Modelfile", f'FROM base\nSYSTEM """{system}"""\n')
    golden("diff_not_built", project, "diff", "one", "other")
    assert run(project)[0] == 0
    golden("diff_lines", project, "diff", "one", "other")


def test_json_says_all(built: Project) -> None:
    code, out, _ = run(built, "diff", "--json", "base:q8_0", "chat")
    found = json.loads(out)
    assert code == 1 and found["equal"] is False
    assert list(found) == ["before", "after", "equal", "layers", "values", "tensors"]
    assert {each["kind"] for each in found["layers"]} >= {"config", "model", "template", "system"}
    assert found["tensors"]["equal"] == 5 and len(found["tensors"]["different"]) == 16
    code, out, _ = run(built, "diff", "--json", "base", "base:latest")
    assert code == 0 and json.loads(out)["equal"] is True


def test_it_loads_no_numpy(built: Project) -> None:
    script = "import sys; from modelbuild.cli.main import main; main(sys.argv[1:]); print({'numpy', 'pydantic'} & {*sys.modules})"
    command = [sys.executable, "-c", script, *built.command("diff", "base:q8_0", "chat")[3:]]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1] == "set()"

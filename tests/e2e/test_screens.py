"""What stands on terminals of 80 and 120 columns: no line of a table or of a bar is wrapped, and 200 models are not 200 lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelbuild.cli.tables import columns
from tests.e2e.project import Project

pytest.importorskip("pty")

from tests.cli.screen import Screen, run  # noqa: E402

LONG = "a-name-that-nobody-would-type-but-that-a-script-makes-out-of-everything-it-knows"
TOML = f"""
[model.base]
from = "./weights"
[model.base.matrix]
quantize = ["q8_0", "q4_K_M"]
[model.base.default]
quantize = "q4_K_M"

[model.many]
from = "base"
description = "one of two hundred"
system = "You are ${{matrix.voice}}, and ${{matrix.size}}."
[model.many.matrix]
voice = [{", ".join(f'"voice-{number}"' for number in range(100))}]
size = ["small", "large"]

[model.{LONG}]
name = "registry.example.com/a-team/{LONG}"
from = "base"
system = "{"你是一个讲故事的人。" * 12}"
parameters = {{ stop = ["<|end_of_turn|>", "<|start_of_turn|>", "你好"], temperature = 0.25 }}
metadata = {{ "general.description" = "{"words and more words " * 20}" }}
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, Screen]]:
    """A project of two hundred variants, built on a terminal of 80 columns from an empty cache."""
    project = Project(tmp_path_factory.mktemp("screens"))
    project.checkpoint(layers=10)
    project.write("ModelBuild.toml", TOML)
    code, screen = run(project.command(), 80)
    assert code == 0, "\n".join(screen.text())
    yield project, screen


def test_a_cold_build_of_two_hundred_models_is_at_most_thirty_lines(built: tuple[Project, Screen]) -> None:
    _, screen = built
    text = screen.text()
    assert len(text) <= 31, "thirty lines and the cursor's own"
    assert not screen.wrapped
    assert sum(line.startswith("built") for line in text) == 20
    assert any(re.fullmatch(r"…          18\d more models", line) for line in text)
    assert any(line.startswith("203 models built (") for line in text[-12:])


def test_the_picture_of_a_build_has_a_bar_over_all_bytes_and_the_latest_models(built: tuple[Project, Screen]) -> None:
    _, screen = built
    assert screen.drawn, "the build takes longer than the delay"
    lines = [line for picture in screen.drawn for line in picture]
    assert any(re.search(r"^\d+ of 203 models, \d+ of \d+ steps, 0:\d\d", line) for line in lines)
    assert any("━" in line and re.search(r"[\d.]+ [kM]?B of [\d.]+ MB", line) for line in lines)
    assert any(re.fullmatch(r"…          [\d,]+ more models?", line) for line in lines)


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(
    "words",
    [
        *(["list"], ["check"], ["-v", "check", "base"], ["quality", "base"], ["-v", "quality", "base"], ["show", LONG]),
        *(["show", "base"], ["graph"], ["graph", "--steps", LONG], ["--dry-run", "--force"], ["--dry-run"]),
        *(["--force", "--explain", LONG], ["explain", LONG], ["-v"]),
    ],
    ids=" ".join,
)
def test_no_line_is_wrapped(built: tuple[Project, Screen], words: list[str], width: int) -> None:
    project, _ = built
    code, screen = run(project.command(*words), width)
    assert code == 0, "\n".join(screen.text())
    whole = ("note: ", "  hint", "file  ")  # what is copied stays in one piece
    assert not [line for line in screen.wrapped if not line.startswith(whole) and "blobs/" not in line]
    if words[0] == "show":
        path = json.loads(project.run("--json", *words))["path"]
        assert f" {path}" in "".join(f" {line}" if line.startswith("file ") else line for line in screen.text())
    assert max(columns(line) for line in screen.text()) <= width
    if words[0] == "graph":
        assert LONG in re.sub(r"\s+", "", "".join(screen.text())), "a long name is wrapped, and whole"


def test_a_pipe_gets_everything_in_full(built: tuple[Project, Screen], tmp_path: Path) -> None:
    project, _ = built
    assert any(len(line) > 120 for line in project.run("show", LONG).splitlines())
    assert len(project.run("list").splitlines()) == 204
    project.run(cache=tmp_path / "cache", models=tmp_path / "models")
    lines = project.errors.splitlines()
    assert len(lines) <= 210
    assert sum(line.startswith("built") for line in lines) == 203
    assert any(line.startswith("203 models built (") for line in lines)
    assert not [line for line in lines if line.startswith("run ")], "steps only with --verbose"


def test_a_build_that_fails_names_the_models(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.checkpoint()
    project.write("cut/config.json", (tmp_path / "weights/config.json").read_text().replace("LlamaFor", "WonderFor"))
    for name in ("tokenizer.model", "model.safetensors"):
        (tmp_path / "cut" / name).symlink_to(tmp_path / "weights" / name)
    project.write(
        "ModelBuild.toml",
        "".join(
            f'[model.{name}]\nfrom = "./{folder}"\n' for name, folder in (("a", "weights"), ("b", "cut"), ("c", "cut"))
        ),
    )
    code, screen = run(project.command("-k"), 80)
    assert code == 1
    assert any(line.startswith("1 built, 2 failed: b, c (") for line in screen.text()), screen.text()

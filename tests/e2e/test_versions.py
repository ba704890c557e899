"""A new version of an operation, of a step or of the code reaches what was finished before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelbuild import code
from modelbuild.cli import main
from modelbuild.engine import kept
from modelbuild.steps import layer
from modelbuild.tensors import operations, packing
from tests.e2e.project import Project

TOML = '[model.chat]\nfrom = "./weights"\nquantize = "q8_0"\nsystem = "Hello."\n'


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path / "project")
    project.write("ModelBuild.toml", TOML)
    project.checkpoint()
    return project


def build(project: Project, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Build in this process; returns the steps that ran."""
    places = ["-C", str(project.folder), "--cache", str(project.cache), "--models", str(project.models)]
    assert main.main([*places, "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [event["step"] for event in events if event["event"] == "step" and event["state"] == "ran"]


def test_next_version_of_each_operation_makes_files_again(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    build(project, capsys)
    assert build(project, capsys) == []
    for operation in operations.names():
        with monkeypatch.context() as patch:
            patch.setattr(operations.get(operation), "VERSION", 99)
            patch.setattr(kept, "fingerprint", lambda operation=operation: f"the next {operation}")
            assert build(project, capsys) == ["chat/model"], operation


def test_other_bytes_reach_a_finished_model(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    build(project, capsys)
    before = project.blob("chat:latest", "model")
    made = packing.quantize

    def otherwise(quant: str, dtype: str, source: Any, out: Any, **options: Any) -> None:
        made(quant, dtype, source, out, **options)
        out[0] ^= 1

    monkeypatch.setattr(packing, "quantize", otherwise)
    monkeypatch.setattr(operations.get("quantize"), "VERSION", 99)
    monkeypatch.setattr(kept, "fingerprint", lambda: "the next code")
    assert "chat/model" in build(project, capsys)
    after = project.blob("chat:latest", "model")
    assert len(after) == len(before) and after != before


def test_next_version_of_a_step_reaches_a_kept_plan(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    build(project, capsys)
    monkeypatch.setattr(layer, "VERSION", layer.VERSION + 1)
    assert build(project, capsys) == []
    monkeypatch.setattr(kept, "fingerprint", lambda: "the next code")
    assert sorted(build(project, capsys)) == ["chat/model", "chat/system"]


def test_code_of_a_checkout_is_known_by_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package"
    (package / "inner").mkdir(parents=True)
    for name in ("code.py", "inner/step.py"):
        (package / name).write_text("VERSION = 1\n")
    monkeypatch.setattr(code, "__file__", str(package / "code.py"))
    fingerprint = code.fingerprint.__wrapped__
    assert fingerprint() == code.__version__
    (tmp_path / "pyproject.toml").touch()
    before = fingerprint()
    assert before != code.__version__ and before == fingerprint()
    (package / "inner/step.py").write_text("VERSION = 20\n")
    assert fingerprint() != before

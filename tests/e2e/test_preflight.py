"""A build that cannot succeed ends before it begins: nothing is read, nothing is made, and everything wrong is said at once."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from .project import Project

TOML = """
[model.good]
from = "./good"
[model.bad]
from = "./bad"
quantize = "q8_0"
[model.child]
from = "bad"
system = "hi"
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    project.checkpoint("good")
    project.checkpoint("bad")
    config = project.folder / "bad/config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "intermediate_size": 250, "vocab_size": 301}))
    project.write("ModelBuild.toml", TOML)
    return project


def test_nothing_starts_where_something_is_wrong(project: Project) -> None:
    states = project.build(code=1)
    assert set(states.values()) == {"failed", "skipped"}
    assert states["bad/convert"] == "failed"
    assert not list(project.models.rglob("*")) or not (project.models / "blobs").exists()
    assert project.summary["ran"] == 0
    assert "Traceback" not in project.errors
    assert "bad/config.json: " in project.errors
    assert "'bad', 'child'" in project.errors


def test_with_keep_going_what_is_right_is_built(project: Project) -> None:
    project.build("-k", code=1)
    assert [event["name"] for event in project.events if event["event"] == "variant"] == ["good:latest"]
    assert project.summary["failed"] == 1
    project.check()


def test_check_and_build_say_the_same(project: Project) -> None:
    project.run("check", code=1)
    said = project.errors
    project.run(code=1)
    assert said.strip() in project.errors


def test_several_faults_of_one_checkpoint_are_said_together(project: Project) -> None:
    (project.folder / "bad/tokenizer.model").unlink()
    project.run("bad", code=1)
    assert project.errors.count("error: ") >= 2
    assert "the tokenizer is missing" in project.errors


def test_a_size_in_config_json_that_is_put_right_is_built(project: Project) -> None:
    config = project.folder / "bad/config.json"
    config.write_text((project.folder / "good/config.json").read_text())
    project.build()
    assert project.summary["failed"] == 0


def test_check_tells_how_much_would_be_written(project: Project) -> None:
    project.run("check", "good")
    assert "1 model checked, nothing wrong, 1." in project.errors and "MB to be written" in project.errors
    project.build("good")
    project.run("check", "good")
    assert project.errors == "1 model checked, nothing wrong\n"
    told = json.loads(project.run("--json", "check", "good"))
    assert told["bytes_to_write"] == 0


def test_errors_have_a_place_and_a_hint(project: Project) -> None:
    told = json.loads(project.run("--json", "check", code=1))
    assert told["errors"]
    for error in told["errors"]:
        assert error["place"].endswith("bad/config.json")
        assert "  hint " in error["text"]


@pytest.mark.parametrize(
    "fault", ["a folder for the lock", "models that lead nowhere", "a file for the blobs", "a pipe for the card"]
)
def test_what_a_build_refuses_check_refuses(project: Project, fault: str) -> None:
    match fault:
        case "a folder for the lock":
            (project.models / ".modelbuild/lock").mkdir(parents=True)
        case "models that lead nowhere":
            project.models.symlink_to("/nonexistent/models")
        case "a file for the blobs":
            project.models.mkdir()
            (project.models / "blobs").write_text("x")
        case _:
            os.mkfifo(project.folder / "good/README.md")
    project.run("check", "good", code=1)
    assert "error: " in project.errors
    project.run("good", code=1)
    assert "error: " in project.errors and "run  " not in project.errors

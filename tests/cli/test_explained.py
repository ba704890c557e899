"""The events of a build say why models change, also those that need no step."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.in_process import InProcess

TOML = '[model.chat]\nfrom = "./weights"\nsystem = "{}"\n'


def test_a_revert_has_causes_though_nothing_runs(tmp_path: Path) -> None:
    project = InProcess(tmp_path)
    project.checkpoint()
    for text in ("one", "two", "one"):
        project.write("ModelBuild.toml", TOML.format(text))
        events = [json.loads(line) for line in project.run("--json", "--explain").splitlines()]
    assert not [event for event in events if event["event"] == "start"]
    (variant,) = [event for event in events if event["event"] == "variant"]
    (cause,) = variant["causes"]
    assert (cause["what"], cause["verb"], cause["before"], cause["after"]) == ("system", "changed", "two", "one")


def test_what_a_step_explains_is_not_explained_again(tmp_path: Path) -> None:
    project = InProcess(tmp_path)
    project.checkpoint()
    project.write("ModelBuild.toml", TOML.format("one"))
    events = [json.loads(line) for line in project.run("--json", "--explain").splitlines()]
    assert all(event["causes"] for event in events if event["event"] == "start")
    assert not [event for event in events if event["event"] == "variant" and "causes" in event]

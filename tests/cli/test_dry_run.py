"""A build that runs nothing. Its texts are goldens of tests/e2e/test_commands.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelbuild.cli.dry_run import forecast
from modelbuild.cli.invocation import FAILED, GOOD, Invocation
from modelbuild.engine.graph import Source
from modelbuild.engine.sources import Sources
from modelbuild.errors import Error
from modelbuild.session.settings import Settings
from tests import checkpoints
from tests.cli.streams import Streams

TOML = """
[model.chat]
from = "./weights"
[model.other]
from = "./others/weights"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "ModelBuild.toml").write_text(TOML)
    checkpoints.write(tmp_path / "weights")
    checkpoints.write(tmp_path / "others/weights")
    return tmp_path


class Looked:
    """A forecast of all models, and what it printed."""

    def __init__(self, folder: Path, **options: bool) -> None:
        streams = Streams(as_json=True)
        settings = Settings(folder=str(folder), cache=str(folder / "cache"), models=str(folder / "models"))
        call = Invocation(settings, streams.report)
        try:
            self.code = forecast(call, call.session.everything(), **{"explain": False, **options})
        finally:
            call.close()
        self.events: list[dict[str, Any]] = [json.loads(line) for line in streams.out.splitlines()]
        self.err = streams.err
        assert not (folder / "models").exists()

    def of(self, kind: str) -> Iterator[dict[str, Any]]:
        return (event for event in self.events if event["event"] == kind)


def test_every_step_of_a_new_project_would_run_and_every_model_is_forecast(project: Path) -> None:
    looked = Looked(project)
    assert looked.code == GOOD
    steps = {event["step"]: event["state"] for event in looked.of("step")}
    assert steps["chat/convert"] == "would-run"
    assert all("because" not in event for event in looked.of("step"))
    assert {event["label"] for event in looked.of("forecast")} == {"chat", "other"}
    assert looked.events[-1]["event"] == "summary" and looked.events[-1]["failed"] == 0


def test_reasons_without_models(project: Path) -> None:
    looked = Looked(project, explain=True, models=False)
    assert all(event["because"] for event in looked.of("step"))
    assert list(looked.of("forecast")) == []


def test_a_file_that_cannot_be_read_fails_what_needs_it_and_nothing_else(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = Sources.digest

    def refuse(self: Sources, source: Source) -> str:
        if source.path.endswith("others/weights/config.json"):
            raise Error("cannot be read", path=source.path)
        return digest(self, source)

    monkeypatch.setattr(Sources, "digest", refuse)
    looked = Looked(project)
    assert looked.code == FAILED
    assert [event["label"] for event in looked.of("forecast")] == ["chat"]
    assert looked.err.count("error:") == 1
    assert "used by  'other'" in looked.err
    assert looked.events[-1]["failed"] > 0

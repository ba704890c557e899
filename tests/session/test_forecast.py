"""What a build would do: the steps, the models to be, and what is wrong with files, with nothing run."""

from __future__ import annotations

import os
from pathlib import Path

from modelbuild.engine.build import BuildOptions
from modelbuild.engine.sources import ALL, BUILD
from modelbuild.session.building import build
from modelbuild.session.forecast import look_ahead, models_ahead
from tests.e2e.project import Project
from tests.session.conftest import Open


def test_a_forecast_of_a_model_is_the_size_that_it_gets(start: Open, project: Project) -> None:
    session = start()
    ahead = look_ahead(session, session.graph, BUILD)
    assert [each.step.name for each in ahead.due] == list(session.graph.steps)
    assert ahead.due[0].because[0]["after"] == "not read yet"
    assert not any(Path(project.cache, "blobs").iterdir())
    forecasts, disk, wrong = models_ahead(session, ahead)
    assert disk == forecasts[0].size, "both models have the same file"
    assert not wrong
    assert [(each.label, each.name) for each in forecasts] == [("base", "base:latest"), ("chat", "chat:latest")]
    assert not build(session, session.select(()), BuildOptions(), lambda event: None)
    assert forecasts[0].size == len(project.blob("base:latest", "model"))
    assert {dtype for _, dtype, _ in forecasts[0].tensors()} == {"q8_0", "f32"}
    assert look_ahead(start(), session.graph, BUILD).due == []


def test_weights_are_read_where_the_reason_is_asked_for(start: Open, project: Project) -> None:
    session = start()
    assert not build(session, session.select(()), BuildOptions(), lambda event: None)
    weights = next(project.folder.glob("weights/*.safetensors"))
    os.utime(weights)
    session = start()
    assert [each.step.name for each in look_ahead(session, session.graph, BUILD).due if each.sure] == ["base/convert"]
    assert look_ahead(session, session.graph, ALL).due == []


def test_what_needs_a_file_that_cannot_be_read_is_left_out(start: Open, project: Project) -> None:
    toml = (project.folder / "ModelBuild.toml").read_text()
    project.write("ModelBuild.toml", toml + '[model.other]\nfrom = "./others"\n')
    project.checkpoint("others", layers=1)
    session = start()
    graph = session.graph
    card = next(source.path for source in graph.sources() if source.path.endswith("others/config.json"))
    os.unlink(card)
    os.mkdir(card)
    ahead = look_ahead(session, graph, BUILD)
    assert [output.label for output in ahead.graph.outputs] == ["base", "chat"]
    assert list(ahead.wrong) == ["other/convert"]
    (error,) = ahead.wrong["other/convert"]
    assert str(error) == f"error: {card}: cannot be read: is a directory\n  used by  'other'"

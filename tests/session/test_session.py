"""A session: which project it finds, when its plan is kept, and what targets mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.errors import Error, Errors
from modelbuild.plan import plan
from modelbuild.publish.written import Owner
from tests.e2e.project import Project
from tests.session.conftest import Open


def test_a_plan_is_made_again_only_where_a_look_sees_something_else(
    start: Open, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    plan_ = plan.plan
    monkeypatch.setattr(plan, "plan", lambda *values: made.append(1) or plan_(*values))
    first = start().graph.encode()
    assert start().graph.encode() == first and len(made) == 1
    project.write("notes.txt", "nothing that the plan looks at")
    start().select(())
    assert len(made) == 1
    project.write("ModelBuild.toml", '[model.base]\nfrom = "./weights"\n')
    assert start().graph.encode() != first and len(made) == 2


def test_a_plan_is_kept_by_what_was_asked_for(start: Open) -> None:
    keys = {start(**options)._key for options in ({}, {"models": "elsewhere"}, {"name": "n"}, {"quantize": "q4_0"})}
    assert len(keys) == 4
    assert start().stamp_key(["a", "b"]) == start().stamp_key(["b", "a"]) != start().stamp_key([])


def test_targets_are_variants_names_and_globs(start: Open) -> None:
    session = start()
    everything = [output.label for output in session.graph.outputs]
    assert [output.label for output in session.select(["chat"]).outputs] == ["chat"]
    assert [output.label for output in session.select(["*"]).outputs] == everything
    with pytest.raises(Errors, match="chatt"):
        session.select(["chatt"])


def test_a_project_is_looked_for_in_the_folder_and_above(start: Open, project: Project, tmp_path: Path) -> None:
    inside = project.write("deep/inside/text", "").parent
    assert start(folder=str(inside)).file == str(project.folder / "ModelBuild.toml")
    with pytest.raises(Error, match="no such folder"):
        start(folder=str(tmp_path / "none"))
    with pytest.raises(Error, match="no ModelBuild.toml here or above"):
        start(folder=str(tmp_path))
    with pytest.raises(Error, match="is a folder"):
        start(file="deep")
    weights = str(project.folder / "weights")
    for spelled in ("weights", "./weights/", "weights/.", "deep/../weights"):
        assert start(file=spelled).file == weights
    assert start(folder=weights, file=".").file == weights


def test_a_name_of_the_command_line_is_a_project_of_its_own(start: Open, project: Project) -> None:
    modelfile = project.write("one/Modelfile", "FROM ../weights\n")
    named = start(file=str(modelfile), name="mine")
    assert [output.names for output in named.graph.outputs] != [
        output.names for output in start(file=str(modelfile)).graph.outputs
    ]
    assert named.models._owner == Owner.of(str(modelfile), "mine")

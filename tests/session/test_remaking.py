"""Steps that are run once more give what they gave, and leave nothing behind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from modelbuild.engine.build import BuildOptions
from modelbuild.errors import Error
from modelbuild.session.building import build
from modelbuild.session.remaking import remake
from modelbuild.session.worker import Worker
from tests.e2e.project import Project
from tests.session.conftest import Open


def built(start: Open) -> Any:
    session = start()
    assert not build(session, session.select(()), BuildOptions(), lambda event: None)
    return start()


def test_all_steps_give_the_same_again_and_the_store_stays_as_it_was(start: Open, project: Project) -> None:
    session = built(start)
    before = {path: path.stat() for path in (project.cache / "blobs").iterdir()}
    found = remake(session, 100, 2, lambda event: None)
    assert {each.step for each in found} == set(session.graph.steps)
    assert all(each.before == each.now for each in found)
    assert {path: path.stat() for path in before} == before
    assert not [name for name in os.listdir(project.cache) if name.startswith(".remade")]
    assert len(remake(session, 2, 2, lambda event: None)) == 2


def test_a_step_whose_inputs_are_gone_is_left_out(start: Open, project: Project) -> None:
    session = built(start)
    for path in (project.cache / "blobs").iterdir():
        if path.read_bytes().startswith(b"modelbuild recipe"):
            path.unlink()
    found = {each.step for each in remake(session, 100, 2, lambda event: None)}
    assert found == {
        name for name, step in session.graph.steps.items() if step.kind in ("layer", "convert", "manifest")
    } - {name for name, step in session.graph.steps.items() if name.endswith("/model")}


def test_a_step_that_fails_is_named(start: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    session = built(start)

    def fail(*_: object) -> None:
        raise Error("no luck", path="weights", hint="try again")

    monkeypatch.setattr(Worker, "run", fail)
    with pytest.raises(Error, match=r"step '.*' failed: no luck") as raised:
        remake(session, 1, 1, lambda event: None)
    assert ("file", "weights") in raised.value.facts


def test_nothing_was_built_nothing_is_built_again(start: Open, tmp_path: Path) -> None:
    assert remake(start(), 5, 1, lambda event: None) == []

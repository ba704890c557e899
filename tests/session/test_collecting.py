"""What gc keeps: what models and projects need."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.engine.garbage import Limits
from modelbuild.session import collecting
from modelbuild.session.settings import CACHE_LIMIT, Settings
from tests.e2e.in_process import InProcess
from tests.session.conftest import Open


def test_limits_are_those_that_were_asked_for_or_the_usual_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODELBUILD_CACHE_LIMIT", raising=False)
    assert collecting.limits(5, None) == Limits(5, None)
    assert collecting.limits(None, 0.0) == Limits(None, 0.0)
    assert collecting.limits(None, None) == Limits(CACHE_LIMIT, 30 * 86400)


def collect(start: Open) -> set[str]:
    session = start()
    collecting.retain(session.settings, session.store)
    found = collecting.collect(session.store, Limits(age=0.0), dry_run=True)
    return {each.artifact or "" for each in found.removed}


def test_every_project_keeps_what_it_still_has(start: Open, project: InProcess, tmp_path: Path) -> None:
    other = InProcess(tmp_path / "other")
    other.cache, other.models = project.cache, project.models
    other.checkpoint(layers=1)
    for number, quant in enumerate(("q8_0", "q5_0")):
        other.write("ModelBuild.toml", f'[model.other]\nfrom = "./weights"\nquantize = "{quant}"\n')
        other.build()
        if not number:
            first = {path.name.replace("-", ":") for path in (project.cache / "blobs").iterdir()}
    InProcess(project.folder).build()
    removed = collect(start)
    # The steps of q8_0 have other names than those of q5_0: the other project was asked for them.
    assert removed and removed <= first
    (other.folder / "ModelBuild.toml").write_text("[model")
    assert collect(start) == removed
    (other.folder / "ModelBuild.toml").unlink()
    assert collect(start) > removed


def test_a_folder_without_a_project_collects_too(start: Open, tmp_path: Path) -> None:
    session = start()
    collecting.retain(Settings(folder=str(tmp_path), cache=session.store.root), session.store)
    assert collecting.collect(session.store, Limits(age=0.0), dry_run=False).removed == []

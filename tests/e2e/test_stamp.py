"""The stamp of a finished build: it holds while nothing changed, and no longer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.project import Project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("stamped"))
    project.write("ModelBuild.toml", '[project]\nmodelfiles = ["m/**/Modelfile"]\n[defaults]\nquantize = "q8_0"\n')
    project.write("m/a/Modelfile", "FROM ../../weights\nSYSTEM A\n")
    project.write("m/b/Modelfile", "FROM a\nSYSTEM B\n")
    project.checkpoint()
    return project


def stamped(project: Project) -> bool:
    """Whether a build now goes by the stamp alone."""
    from modelbuild.session import stamps
    from modelbuild.session.session import Session
    from modelbuild.session.settings import Settings

    session = Session(Settings(folder=str(project.folder), models=str(project.models), cache=str(project.cache)))
    try:
        return stamps.up_to_date(session, ()) is not None
    finally:
        session.close()


def settle(project: Project) -> None:
    """Build until the stamp is taken: what was written a moment ago is not stamped yet."""
    project.run()
    time.sleep(0.1)
    project.run()
    assert stamped(project), project.errors
    project.run()
    assert project.errors.startswith("nothing to do")


def blob(project: Project) -> Path:
    return max((project.models / "blobs").iterdir(), key=lambda path: path.stat().st_size)


def rewrite(path: Path, text: str | None = None) -> None:
    path.write_text(path.read_text() + "\n# changed\n" if text is None else text)


CHANGES: dict[str, Callable[[Project], object]] = {
    "toml": lambda p: rewrite(p.folder / "ModelBuild.toml"),
    "modelfile": lambda p: rewrite(p.folder / "m/b/Modelfile", "FROM a\nSYSTEM C\n"),
    "touched modelfile": lambda p: (p.folder / "m/b/Modelfile").touch(),
    "new modelfile": lambda p: p.write("m/c/Modelfile", "FROM a\n"),
    "removed modelfile": lambda p: (p.folder / "m/c/Modelfile").unlink(),
    "new readme": lambda p: p.write("weights/README.md", "---\nlicense: mit\n---\n"),
    "weights": lambda p: (p.folder / "weights/model.safetensors").touch(),
    "lost blob": lambda p: blob(p).unlink(),
    "short blob": lambda p: os.truncate(blob(p), 100),
    "lost manifest": lambda p: (p.models / "manifests/registry.ollama.ai/library/a/latest").unlink(),
    "foreign manifest": lambda p: (p.models / "manifests/registry.ollama.ai/library/a/latest").write_text("{}"),
    "folder that FROM could mean": lambda p: p.write("m/b/a/x", ""),
}


def test_stamp_holds_only_while_nothing_changed(project: Project) -> None:
    for name, change in CHANGES.items():
        settle(project)
        change(project)
        assert not stamped(project), name
        project.run(code=None)
        (project.folder / "m/b/a/x").unlink(missing_ok=True)
        if (project.folder / "m/b/a").exists():
            (project.folder / "m/b/a").rmdir()
        project.run("clean", "--stale")
    project.build()
    project.check()


def test_a_stale_name_is_told_while_the_stamp_holds(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.checkpoint()
    tables = '[model.a]\nfrom = "./weights"\nsystem = "A"\n[model.b]\nfrom = "a"\nsystem = "B"\n'
    project.write("ModelBuild.toml", tables)
    project.run()
    project.write("ModelBuild.toml", tables.partition("[model.b]")[0])
    for _ in range(3):
        project.run()
        time.sleep(0.1)
    assert stamped(project)
    said = project.errors.splitlines()
    assert said[0].startswith("no longer declared: 'b:latest'; `modelbuild ")
    assert said[1].startswith("nothing to do: 1 model unchanged")
    project.write("ModelBuild.toml", tables.partition("[model.b]")[0].replace('"A"', '"C"'))
    project.run()
    assert said[0] in project.errors and "1 model built" in project.errors
    project.run()
    time.sleep(0.1)
    project.run()
    assert stamped(project)
    project.run("clean", "--stale")
    assert not stamped(project)
    project.run()
    assert project.errors.startswith("nothing to do")


def test_a_stale_name_that_another_project_takes_over_is_not_told(tmp_path: Path) -> None:
    one, two = Project(tmp_path / "one"), Project(tmp_path / "two")
    one.checkpoint("../weights")
    tables = '[model.a]\nfrom = "../weights"\n[model.b]\nfrom = "a"\nsystem = "B"\n'
    for project in (one, two):
        project.models, project.cache = tmp_path / "models", tmp_path / "cache"
        project.write("ModelBuild.toml", tables)
    one.run()
    one.write("ModelBuild.toml", tables.partition("[model.b]")[0])
    for _ in range(3):
        one.run()
        time.sleep(0.1)
    assert "no longer declared: 'b:latest'" in one.errors and stamped(one)
    two.run()
    one.run()
    assert "no longer declared" not in one.errors


def test_other_environment_breaks_the_stamp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(tmp_path)
    project.checkpoint()
    project.write("ModelBuild.toml", '[vars]\nword = "x"\n[model.a]\nfrom = "./weights"\nsystem = "${word}"\n')
    settle(project)
    monkeypatch.setenv("MODELBUILD_VAR_word", "y")
    assert not stamped(project)
    project.run()
    assert project.blob("a:latest", "system") == b"y"

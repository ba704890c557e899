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
    from modelbuild.session.session import Session
    from modelbuild.session.settings import Settings

    session = Session(Settings(folder=str(project.folder), models=str(project.models), cache=str(project.cache)))
    try:
        return session.up_to_date(()) is not None
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


def test_other_environment_breaks_the_stamp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(tmp_path)
    project.checkpoint()
    project.write("ModelBuild.toml", '[vars]\nword = "x"\n[model.a]\nfrom = "./weights"\nsystem = "${word}"\n')
    settle(project)
    monkeypatch.setenv("MODELBUILD_VAR_word", "y")
    assert not stamped(project)
    project.run()
    assert project.blob("a:latest", "system") == b"y"

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


def test_stamp_is_not_taken_for_what_is_younger_than_a_tick(tmp_path: Path) -> None:
    from modelbuild.session.stamp import take

    (tmp_path / "young").write_text("x")
    assert take(1, 1, [], [str(tmp_path / "young")], {}) is None
    os.utime(tmp_path / "young", ns=(1, 1))
    assert take(1, 1, [], [str(tmp_path / "young")], {}) is None
    time.sleep(0.05)
    stamp = take(1, 1, [("env", "SOME_VARIABLE", "")], [str(tmp_path / "young"), str(tmp_path / "absent")], {})
    assert stamp is not None
    assert stamp.holds()
    (tmp_path / "absent").write_text("x")
    assert not stamp.holds()


def test_an_edit_during_the_build_is_not_stamped_as_built(tmp_path: Path) -> None:
    from modelbuild.engine.build import BuildOptions
    from modelbuild.session.building import build
    from modelbuild.session.session import Session
    from modelbuild.session.settings import Settings

    project = Project(tmp_path)
    project.write("ModelBuild.toml", '[project]\nmodelfiles = ["m/*/Modelfile"]\n')
    project.checkpoint()
    project.write("m/a/Modelfile", "FROM ../../weights\nSYSTEM A\n")
    time.sleep(0.1)
    session = Session(Settings(folder=str(tmp_path), models=str(project.models), cache=str(project.cache)))
    try:
        outputs = session.select(())
        project.write("m/a/Modelfile", "FROM ../../weights\nSYSTEM Another\n")
        assert build(session, outputs, BuildOptions(jobs=1), lambda event: time.sleep(0.02)) == []
    finally:
        session.close()
    assert project.blob("a:latest", "system") == b"A"
    time.sleep(0.1)
    project.run()
    assert project.blob("a:latest", "system") == b"Another"

"""Where a build's models go: a models folder and files besides, or files alone."""

from __future__ import annotations

import os
from pathlib import Path

from modelbuild.engine.action import ActionResult
from modelbuild.session.destination import Everywhere, Files
from modelbuild.session.session import Session
from tests.e2e.project import Project
from tests.session.conftest import Open


def results(session: Session, blobs: tuple[str, ...]) -> list[ActionResult]:
    return [session.store.put(f"GGUF {name}".encode()) for name in blobs]


def test_files_alone_need_no_models_folder(start: Open, project: Project) -> None:
    session = start()
    output = session.graph.outputs[0]
    path = str(project.folder / "out.gguf")
    output = output._replace(names=(), files=((path, output.blobs[-1]),))
    files = Files(session, session.exported(""))
    files.check([output])
    blobs = results(session, output.blobs)
    assert files.finished(output, blobs[0], blobs) is None
    assert files.put(output, blobs[0], blobs) and not files.put(output, blobs[0], blobs)
    assert files.finished(output, blobs[0], blobs) == {path: os.stat(path)}
    (event,) = files.events(output, blobs)
    assert (event["path"], event["changed"], event["bytes"]) == (path, True, blobs[-1].size)
    assert files.scratch() is None and files.stale() == {} and files.tidy()
    assert not files.restore(output, blobs[0], blobs)
    assert not project.models.exists()


def test_a_build_looks_at_both(start: Open, project: Project) -> None:
    project.write("ModelBuild.toml", '[model.base]\nfrom = "./weights"\noutput = "models/blobs/x.gguf"\n')
    session = start()
    (output,) = session.graph.outputs
    both = Everywhere(session)
    (error,) = both.misplaced(output)
    assert error.what == "an output file cannot be inside a folder that belongs to Ollama or modelbuild"
    assert both.folder == str(project.models)


def test_a_file_may_lie_beside_the_blobs(start: Open, project: Project) -> None:
    project.write("ModelBuild.toml", '[model.base]\nfrom = "./weights"\noutput = "models/x.gguf"\n')
    session = start()
    (output,) = session.graph.outputs
    assert Everywhere(session).misplaced(output) == Files(session, session.exported("")).misplaced(output) == []


def test_what_is_no_longer_declared_is_told_of(start: Open, project: Project) -> None:
    toml = '[model.base]\nfrom = "./weights"\noutput = "{}.gguf"\n'
    project.write("ModelBuild.toml", toml.format("a"))
    project.run()
    assert Everywhere(start()).stale() == {}
    project.write("ModelBuild.toml", toml.format("b"))
    assert Everywhere(start()).stale() == {"names": [], "files": [str(Path(project.folder, "a.gguf"))]}

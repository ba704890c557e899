"""A build of a project: what is stamped, what is tidied up, what is believed again."""

from __future__ import annotations

import time
from pathlib import Path

from modelbuild.engine.build import BuildOptions, Event
from modelbuild.session import stamps
from modelbuild.session.building import build
from modelbuild.session.session import Session
from modelbuild.session.settings import Settings
from tests.e2e.project import Project
from tests.session.conftest import Open


def test_an_edit_during_the_build_is_not_stamped_as_built(tmp_path: Path) -> None:
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


def run(session: Session, *targets: str, **options: bool) -> list[Event]:
    """Build; returns the events."""
    events: list[Event] = []
    assert build(session, session.select(targets), BuildOptions(jobs=2, **options), events.append) == []
    return events


def states(events: list[Event]) -> dict[str, str]:
    return {event["step"]: event["state"] for event in events if event["event"] == "step"}


def test_a_stamp_is_taken_where_nothing_is_left_to_do(start: Open, project: Project) -> None:
    time.sleep(0.1)
    assert set(states(run(start())).values()) == {"ran"}
    time.sleep(0.1)  # what was written a moment ago is not stamped yet
    assert set(states(run(start())).values()) == {"hit"}
    stamp = stamps.up_to_date(start(), ())
    assert stamp is not None and stamp.models == 2
    assert stamps.up_to_date(start(), ("chat",)) is None
    assert not (project.models / ".modelbuild").exists()


def test_a_stamp_says_again_which_names_are_stale(start: Open, project: Project) -> None:
    run(start())
    project.write("ModelBuild.toml", '[model.base]\nfrom = "./weights"\nquantize = "q8_0"\n')
    time.sleep(0.1)
    events = run(start())
    assert [event["names"] for event in events if event["event"] == "stale"] == [
        ["registry.ollama.ai/library/chat/latest"]
    ]
    stamp = stamps.up_to_date(start(), ())
    assert stamp is not None and stamp.told.stale == ["registry.ollama.ai/library/chat/latest"]
    (project.models / "manifests/registry.ollama.ai/library/chat/latest").unlink()
    assert stamps.up_to_date(start(), ()) is None
    run(start())
    stamp = stamps.up_to_date(start(), ())
    assert stamp is not None and not stamp.told.stale


def test_records_that_are_wrong_are_made_again(start: Open, project: Project) -> None:
    run(start())
    expected = project.tree()
    session = start()
    ((artifact, size),) = session.store.database.rows("select artifact, size from action order by size limit 1")
    session.store.database.change(("update action set artifact = ?, size = ?", [(artifact, size)]))
    for path in (project.cache / "blobs").iterdir():
        path.unlink()
    for path in (project.models / "manifests").rglob("latest"):
        path.unlink()
    events = run(session)
    assert [event["path"] for event in events if event["event"] == "distrust"] == [str(project.cache)]
    assert project.tree() == expected

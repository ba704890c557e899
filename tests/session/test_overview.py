"""How all of a project stands."""

from __future__ import annotations

from modelbuild.engine.build import BuildOptions
from modelbuild.session import overview
from modelbuild.session.building import build
from tests.e2e.project import Project
from tests.session.conftest import Open


def test_variants_are_told_by_how_they_stand(project: Project, start: Open) -> None:
    before = overview.look(start())
    assert [each.label for each in before.missing] == ["base", "chat"] and before.last is None
    assert before.steps > 0 and not before.built
    session = start()
    assert build(session, session.everything(), BuildOptions(), lambda event: None) == []
    after = overview.look(start())
    assert [each.label for each in after.built] == ["base", "chat"] and after.steps == 0
    assert after.last is not None and after.last["changed"] == ["base", "chat"]
    text = (project.folder / "ModelBuild.toml").read_text()
    more = '[model.bad]\nfrom = "./none"\n[model.far]\nfrom = "llama3.2"\n'
    project.write(
        "ModelBuild.toml", text.replace("Hello.", "Bye.").replace("model.base]", "model.first]\n[model.base]") + more
    )
    found = overview.look(start())
    assert [each.label for each in found.changed] == ["chat"]
    assert [each.label for each in found.broken] == ["first", "bad"] and [each.label for each in found.awaited] == [
        "far"
    ]
    assert found.steps == 2
    assert found.data()["changed"] == ["chat"]


def test_what_is_no_longer_declared_is_told(project: Project, start: Open) -> None:
    session = start()
    assert build(session, session.everything(), BuildOptions(), lambda event: None) == []
    text = (project.folder / "ModelBuild.toml").read_text()
    project.write("ModelBuild.toml", text.replace("model.chat", "model.other"))
    found = overview.look(start())
    assert found.data()["stale"] == {"names": ["chat:latest"], "files": []}
    assert found.data()["not_built"] == ["other"]


def test_what_is_installed_and_not_recorded_is_told(project: Project, start: Open) -> None:
    session = start()
    assert build(session, session.everything(), BuildOptions(), lambda event: None) == []
    assert overview.look(start()).unrecorded == 0
    project.write("ModelBuild.toml", (project.folder / "ModelBuild.toml").read_text().replace("Hello.", "Bye."))
    assert overview.look(start()).unrecorded == 0
    found = overview.look(start(cache=str(project.folder / "another")))
    assert [each.label for each in found.changed] == ["base", "chat"] and found.unrecorded == 2

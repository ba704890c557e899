"""Whether variants are built: in the models folder, and wherever else they are wanted."""

from __future__ import annotations

from modelbuild.engine.build import BuildOptions
from modelbuild.session import state
from modelbuild.session.building import build
from modelbuild.session.session import Session
from tests.e2e.project import Project
from tests.session.conftest import Open


def states(session: Session) -> dict[str, str]:
    standing = session.standing(session.graph)
    return {each.label: state.state(session, each, standing) for each in session.graph.outputs}


def test_a_variant_is_built_changed_or_not_there(start: Open, project: Project) -> None:
    session = start()
    assert states(session) == {"base": "no", "chat": "no"}
    assert not build(session, session.select(()), BuildOptions(), lambda event: None)
    assert states(start()) == {"base": "yes", "chat": "yes"}
    project.write("ModelBuild.toml", (project.folder / "ModelBuild.toml").read_text().replace("Hello", "Bye"))
    assert states(start()) == {"base": "yes", "chat": "changed"}
    blob = max((project.models / "blobs").iterdir(), key=lambda path: path.stat().st_size)
    blob.unlink()
    assert states(start()) == {"base": "changed", "chat": "changed"}

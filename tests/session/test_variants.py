"""What variants are made of, and whether they are built."""

from __future__ import annotations

import pytest

from modelbuild.engine.build import BuildOptions
from modelbuild.engine.graph import Output
from modelbuild.session import variants
from modelbuild.session.building import build
from modelbuild.session.session import Session
from tests.e2e.project import Project
from tests.session.conftest import Open


def output(session: Session, label: str) -> Output:
    return next(each for each in session.graph.outputs if each.label == label)


def states(session: Session) -> dict[str, str]:
    standing = session.standing(session.graph)
    return {each.label: variants.state(session, each, standing) for each in session.graph.outputs}


def test_layers_and_the_steps_that_decide_the_model(start: Open) -> None:
    session = start()
    chat = output(session, "chat")
    kinds = [layer.kind for layer in variants.layers(session.graph, chat)]
    assert kinds[0] == "model" and "system" in kinds
    assert variants.layers(session.graph, chat)[0].origin == "base:latest"
    recipe = variants.recipe_step(session.graph, chat)
    assert recipe is not None and (recipe.name, recipe.kind) == ("base/quantize", "quantize")
    assert variants.typing_step(session.graph, chat) == recipe
    assert variants.mixed(session, chat) is None


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


@pytest.mark.parametrize(("said", "expected"), [("q8_0", "q8_0"), ("none", "bf16")])
def test_the_type_is_as_it_was_asked_for_or_as_the_file_says(
    start: Open, project: Project, said: str, expected: str
) -> None:
    project.write("ModelBuild.toml", f'[model.base]\nfrom = "./weights"\nquantize = "{said}"\n')
    session = start()
    assert not build(session, session.select(()), BuildOptions(), lambda event: None)
    base = output(session, "base")
    served = session.models.library.served(base.names[0])
    assert (variants.ftype(session, base, served) or "").lower() == expected

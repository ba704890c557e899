"""Which types the models of variants have."""

from __future__ import annotations

import pytest

from modelbuild.engine.build import BuildOptions
from modelbuild.engine.graph import Output
from modelbuild.session import finishing, variants
from modelbuild.session.building import build
from modelbuild.session.session import Session
from tests.e2e.project import Project
from tests.session.conftest import Open


def output(session: Session, label: str) -> Output:
    return next(each for each in session.graph.outputs if each.label == label)


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


def test_a_mix_is_called_as_the_project_calls_it(start: Open, project: Project) -> None:
    project.write(
        "ModelBuild.toml",
        '[ftype.mine]\nbase = "q4_0"\ntensors = { "attn_v" = "q8_0" }\n'
        '[model.base]\nfrom = "./weights"\nquantize = "mine"\n[model.chat]\nfrom = "base"\nsystem = "x"\n',
    )
    session = start()
    for label in ("base", "chat"):
        variant = variants.mixed(session, output(session, label))
        assert variant is not None and variant.label == "base"
        assert variants.ftype(session, output(session, label), None) == "mine"


def test_a_type_that_only_checkpoints_have(start: Open, project: Project) -> None:
    from tests import zoo

    zoo.write(project.folder / "packed", zoo.cases("packed")["Llama, modelopt NVFP4"])
    project.write("ModelBuild.toml", '[model.packed]\nfrom = "./packed"\n')
    session = start()
    assert not build(session, session.select(()), BuildOptions(), lambda event: None)
    packed = output(session, "packed")
    for served in (None, session.models.library.served(packed.names[0])):
        assert variants.ftype(session, packed, served) == "nvfp4"
    assert finishing.ahead(session, packed, "packed").ftype == "NVFP4"

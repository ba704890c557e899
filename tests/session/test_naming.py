"""What is said of names: those that differ in case alone, those that lose the type they had, and models that nobody would find."""

from __future__ import annotations

from modelbuild.engine.build import BuildOptions
from modelbuild.errors import Error
from modelbuild.session import naming
from modelbuild.session.building import build
from modelbuild.session.session import Session
from tests.e2e.project import Project
from tests.session.conftest import Open

ROWS = '[model.chat.matrix]\nquantize = ["q8_0", "f16"]\n'


def built(session: Session) -> Session:
    assert not build(session, session.select(()), BuildOptions(), lambda event: None)
    return session


def of_build(session: Session) -> list[Error]:
    return naming.of_build(session, session.graph.outputs)


def untagged(session: Session) -> list[str]:
    found = naming.untagged(session, session.graph.outputs)
    return [str(naming.untagged_warning(found))] if found else []


def test_a_name_that_differs_in_case_alone_is_said_before_its_first_build_and_in_each_check(
    start: Open, project: Project
) -> None:
    built(start())
    project.write("ModelBuild.toml", '[model.Base]\nfrom = "./weights"\n[model.new]\nfrom = "./weights"\n')
    (warning,) = of_build(start())
    assert warning.what == (
        "'Base:latest' differs only in case from 'base:latest' in the models folder: Ollama may confuse them"
    )
    assert warning.facts == (("models", str(project.models)),)
    assert warning.hint == "give the model another `name` or `tag`, or remove the other one"
    session = built(start())
    assert of_build(session) == []
    assert [each.what for each in naming.of_check(session, session.graph.outputs)] == [warning.what]


def test_the_same_name_and_other_names_are_no_twins(start: Open, project: Project) -> None:
    session = built(start())
    assert naming.of_check(session, session.graph.outputs) == []


def test_a_build_without_q_of_what_was_built_with_it_is_said(start: Open, project: Project) -> None:
    file = str(project.write("one/Modelfile", "FROM ../weights\n"))
    built(start(file=file, quantize="q8_0"))
    assert of_build(start(file=file, quantize="q4_K_M")) == []
    assert of_build(start(file=file, name="other")) == []
    (warning,) = of_build(start(file=file))
    assert warning.what == "'one:latest' was built with -q q8_0; without -q it gets the type of its weights"
    assert warning.hint == "-q q8_0 keeps the type; `quantize` in a ModelBuild.toml keeps it for good"
    # Once that is what was wanted there is nothing to say any more.
    assert of_build(built(start(file=file))) == []


def test_what_a_toml_no_longer_quantizes_is_what_it_says(start: Open, project: Project) -> None:
    built(start())
    project.write("ModelBuild.toml", '[model.base]\nfrom = "./weights"\n')
    assert of_build(start()) == []


def test_a_model_of_several_rows_without_a_default_one_is_said(start: Open, project: Project) -> None:
    project.write("ModelBuild.toml", '[model.chat]\nfrom = "./weights"\n' + ROWS)
    session = start()
    assert untagged(session) == [
        "error: no row of 'chat' is chat:latest, so `ollama run chat` does not find it\n"
        "  hint  name the default row in [model.chat.default]"
    ]
    of_part = naming.Untagged("support/many", "support/many", ())
    assert naming.untagged_warning([of_part]).hint == "name the default row in [model.many.default]"
    found = naming.untagged(session, session.graph.outputs)
    assert naming.newly_untagged(session, session.graph.outputs) == found
    assert naming.newly_untagged(built(session), session.graph.outputs) == []
    assert naming.untagged(session, session.graph.outputs) == found


def test_models_that_are_found_otherwise_need_no_default_row(start: Open, project: Project) -> None:
    for toml in (
        '[model.chat]\nfrom = "./weights"\n' + ROWS + '[model.chat.default]\nquantize = "f16"\n',
        '[model.chat]\nfrom = "./weights"\ntag = "v1"\n',
        '[model.chat]\nfrom = "./weights"\nname = "chat-${matrix.quantize}"\n' + ROWS,
        '[model.chat]\nfrom = "./weights"\ntag = "latest"\nname = "chat-${matrix.quantize}"\n' + ROWS,
        '[model.chat]\nfrom = "./weights"\n' + ROWS + '[model.other]\nfrom = "chat:f16"\nsystem = "x"\n',
    ):
        project.write("ModelBuild.toml", toml)
        assert untagged(start()) == [], toml

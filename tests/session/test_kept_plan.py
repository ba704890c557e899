"""A kept plan is the plan that was made, to the last word of its warnings."""

from __future__ import annotations

from modelbuild.engine.parts import Parts
from modelbuild.errors import Error
from modelbuild.observed import unchanged
from modelbuild.project.lock import Outside
from modelbuild.session.kept_plan import BROKEN, Head, KeptPlan, KeptPlans
from modelbuild.session.session import Session
from tests.e2e.project import Project
from tests.session.conftest import Open


def read(session: Session) -> KeptPlan:
    found = KeptPlans(session.key, session.kept, session.store.database).current(lambda plan: True)
    assert found is not None
    return found


def test_kept_plan_is_the_same_plan(start: Open) -> None:
    made = start()._plan
    again = read(start())
    assert (again.values, again.head) == (made.values, made.head)
    assert {model: part.encode() for model, part in again.divided.parts.items()}.items() <= made.values.items()
    assert again.graph.encode() == made.graph.encode()
    assert [(each.labels, str(each.error), each.minor) for each in again.remarks] == [
        (each.labels, str(each.error), each.minor) for each in made.remarks
    ]
    assert sorted(again.looks) == sorted(made.looks)
    assert again.words.select(["chat"]) == made.words.select(["chat"])
    assert unchanged(again.looks, start().sources.file_digest)


def test_kept_warnings_read_the_same(start: Open, project: Project) -> None:
    error = Error(
        "odd", path="Modelfile", line=2, column=7, source="FROM x", width=1, facts=[("got", "x")], hint="do otherwise"
    )
    head = start()._plan.head._replace(warnings=[error])
    assert str(Head.decode(head.encode()).warnings[0]) == str(error)


def test_kept_broken_models_are_the_same(start: Open, project: Project) -> None:
    project.write(
        "ModelBuild.toml",
        '[model.base]\nfrom = "./weights"\n[model.one]\nfrom = "./x"\nmatrix.system = ["a", "b"]\nmatrix.quantize = ["f16"]\n'
        'default = { system = "a" }\n[model.two]\nfrom = "one:a-f16"\nfrm = 1\n[group]\ng = ["nope"]\n',
    )
    made = start()._plan
    again = read(start())
    assert [(each.model, each.label) for each in again.broken] == [
        ("one", "one:a-f16"), ("one", "one:b-f16"), ("two", "two"), ("", "[group.g]"),
    ]  # fmt: skip
    for each, before in zip(again.broken, made.broken, strict=True):
        assert (each.names, each.row, each.is_default) == (before.names, before.row, before.is_default)
        assert [str(error) for error in each.errors] == [str(error) for error in before.errors]
    assert again.words.untold == made.words.untold and again.words.resolve("two:x") == {"two"}
    assert list(again.words.default) == list(made.words.default)
    assert again.graph.encode() == made.graph.encode()


def test_what_is_of_elsewhere_is_kept(start: Open, project: Project) -> None:
    project.write("ModelBuild.toml", '[model.one]\nfrom = "llama3.2"\n[model.two]\nfrom = "./weights"\n')
    made = start()._plan
    head = made.head._replace(outside={"two": Outside("hf.co/org/repo", "c" * 40)})
    again = Head.decode(head.encode())
    assert again.outside == head.outside
    assert [(each.label, each.wanted) for each in again.broken] == [("one", Outside("llama3.2:latest", None))]


def test_a_plan_with_something_broken_is_kept_beside_the_last_one_without(start: Open, project: Project) -> None:
    good = '[model.base]\nfrom = "./weights"\n'
    project.write("ModelBuild.toml", good)
    whole = start()._plan.id
    project.write("ModelBuild.toml", good + '[model.two]\nfrom = "./none"\n')
    session = start()
    assert session._plan.broken
    assert start()._plan.id == session._plan.id
    project.write("ModelBuild.toml", good)
    assert start()._plan.id == whole
    # It is of no more use.
    assert start().kept.get(BROKEN + session.key) is None
    assert Parts(start().store.database, BROKEN + session.key).all(session._plan.id) == {}

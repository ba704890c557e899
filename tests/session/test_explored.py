"""What a page shows of a graph: every file, step and model, how each stands, and what is made of what."""

from __future__ import annotations

from modelbuild.engine.build import BuildOptions
from modelbuild.session.building import build
from modelbuild.session.explored import Explored, Node, explore
from tests.e2e.project import Project
from tests.session.conftest import Open


def of(found: Explored, kind: str) -> dict[str, Node]:
    return {node.name: node for node in found.nodes if node.kind == kind}


def test_nodes_and_what_is_made_of_what(project: Project, start: Open) -> None:
    session = start()
    found = explore(session, session.everything())
    assert {node.state for node in of(found, "step").values()} == {"to run"}
    assert {name: node.state for name, node in of(found, "model").items()} == {"base": "not built", "chat": "not built"}
    assert of(found, "file")["weights/config.json"].bytes == (project.folder / "weights/config.json").stat().st_size
    named = {(found.nodes[a].name, found.nodes[b].name) for a, b in found.edges}
    assert {
        ("weights/config.json", "base/convert"),
        ("base/convert", "base/quantize"),
        ("chat/manifest", "chat"),
    } <= named
    assert ("ModelBuild.toml", "chat/system") in named and ("ModelBuild.toml", "base/quantize") in named
    assert all(a < b for a, b in found.edges), "a node comes after all that it is made from"


def test_states_sizes_and_times_after_a_build_and_an_edit(project: Project, start: Open) -> None:
    session = start()
    assert build(session, session.everything(), BuildOptions(), lambda event: None) == []
    text = (project.folder / "ModelBuild.toml").read_text()
    bad = '[model.bad]\nfrom = "./none"\n[model.far]\nfrom = "llama3.2"\n'
    project.write("ModelBuild.toml", text.replace("Hello.", "Bye.") + bad)
    session = start()
    found = explore(session, session.everything())
    models = of(found, "model")
    assert {name: node.state for name, node in models.items()} == {
        "base": "built", "chat": "changed", "bad": "broken", "far": "not pulled",
    }  # fmt: skip
    assert (models["base"].bytes or 0) > 900_000 and models["base"].at and models["base"].notes == ("base:latest",)
    steps = of(found, "step")
    assert steps["base/model"].state == "cached" and steps["chat/system"].state == "to run"
    assert steps["base/model"].seconds is not None and (steps["base/model"].bytes or 0) > 900_000
    assert "seconds" not in found.data()["nodes"][0] and found.data()["project"] == project.folder.name


def test_a_modelfile_reaches_what_it_declares_and_what_is_based_on_it(project: Project, start: Open) -> None:
    project.write("a/Modelfile", "FROM base\nSYSTEM a\n")
    project.write("b/Modelfile", "FROM a\nPARAMETER top_k 1\n")
    text = (project.folder / "ModelBuild.toml").read_text()
    project.write("ModelBuild.toml", '[project]\nmodelfiles = ["*/Modelfile"]\n' + text)
    session = start()
    found = explore(session, session.everything())
    number = next(at for at, node in enumerate(found.nodes) if node.name == "a/Modelfile")
    reached = {number}
    for source, made in sorted(found.edges):
        if source in reached:
            reached.add(made)
    assert {found.nodes[each].name for each in reached if found.nodes[each].kind == "model"} == {"a", "b"}

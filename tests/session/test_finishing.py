"""Models as shapes are given them: before the work as far as the plan knows, and after it whole."""

from __future__ import annotations

import json

from modelbuild.engine.build import BuildOptions
from modelbuild.session import finishing
from modelbuild.session.building import build
from modelbuild.session.session import Session
from modelbuild.shapes._finished import AHEAD, Spliced
from modelbuild.tensors.formats.limit import Limit
from tests.e2e.project import Project
from tests.session.conftest import Open

TOML = """
[model.base]
from = "./weights"
quantize = "q8_0"
metadata = { "general.license" = "mit", "general.author" = "A" }
[model.chat]
from = "base"
name = "acme/chat"
system = "Hello."
license = "L"
parameters = { num_ctx = 512 }
"""


def made(start: Open, project: Project) -> Session:
    project.write("ModelBuild.toml", TOML)
    session = start()
    assert not build(session, session.select(()), BuildOptions(), lambda event: None)
    return start()


def test_what_is_known_before_the_work_stays(start: Open, project: Project) -> None:
    project.write("ModelBuild.toml", TOML)
    session = start()
    output = session.graph.outputs[1]
    before = finishing.ahead(session, output, "chat")
    assert not before.is_made and {each.digest for each in before.layers} == {AHEAD}
    assert (before.label, before.name.display(), before.ftype) == ("chat", "acme/chat:latest", "Q8_0")
    assert before.parameters == {"num_ctx": 512}
    assert sorted(each.name for each in before.commands) == ["license", "parameter", "system"]
    assert before.history == ("converted from weights", "metadata set", "quantized to q8_0")
    session = made(start, project)
    standing = session.standing(session.graph)
    after = finishing.finished(session, output, before, standing.results[output.manifest], standing.results)
    assert after.is_made and after.commands == before.commands and after.history == before.history
    assert json.loads(after.manifest)["layers"][0]["digest"] == after.model.digest
    assert after.metadata["general.license"] == "mit" and after.facts["model_family"] == "llama"
    assert [each.text for each in after.of("system", "license")] == [
        each.text for each in before.of("system", "license")
    ]
    assert after.model.files == (after.model.copy,)


def test_a_split_model_has_parts_that_are_together_its_tensors(start: Open, project: Project) -> None:
    session = made(start, project)
    output, standing = session.graph.outputs[0], session.standing(session.graph)
    before = finishing.ahead(session, output, "base")
    manifest, results = standing.results[output.manifest], standing.results
    after = finishing.finished(session, output, before, manifest, results, Limit(0, 6))
    files = after.model.files
    assert len(files) > 2 and all(isinstance(each, Spliced) for each in files)
    assert sum(each.size for each in files) > after.model.size - 64 * len(files)
    whole = finishing.finished(session, output, before, manifest, results, Limit(1 << 40, 0))
    assert whole.model.files == (whole.model.copy,), "one that fits stays whole"


def test_phrases_name_no_folder_of_this_machine(start: Open, project: Project) -> None:
    project.write("ModelBuild.toml", f'[model.m]\nfrom = "{project.folder}/weights"\n')
    session = start()
    (phrase,) = finishing.ahead(session, session.graph.outputs[0], "m").history
    assert phrase == "converted from weights" and str(project.folder) not in phrase


def test_hosts_that_nobody_else_knows_are_not_told() -> None:
    for host in ("localhost:5000", "127.0.0.1:5000", "10.1.2.3", "registry", "models.corp", "hub.example.com:5000"):
        assert finishing._public(f"{host}/team/bot:q8") == "team/bot:q8"
    for name in ("hf.co/team/bot:q8", "llama3.2:latest", "ghcr.io/team/bot:q8"):
        assert finishing._public(name) == name


def test_what_the_file_makes_is_told(start: Open, project: Project) -> None:
    from tests import zoo

    zoo.write(project.folder / "embedder", zoo.cases("gemma_embedding")["pooled"])
    project.write("ModelBuild.toml", '[model.embedder]\nfrom = "./embedder"\n')
    session = start()
    assert not build(session, session.select(()), BuildOptions(), lambda event: None)
    (output,) = session.graph.outputs
    standing = session.standing(session.graph)
    before = finishing.ahead(session, output, "embedder")
    after = finishing.finished(session, output, before, standing.results[output.manifest], standing.results)
    assert after.answers == "embeddings"
